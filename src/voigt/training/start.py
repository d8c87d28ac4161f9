"""Where training starts: fresh weights with per-element references from the data, or a trained model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from voigt.errors import RecipeError
from voigt.graphs import CrystalGraph
from voigt.models.checkpoint import load_model
from voigt.models.elements import NUM_ELEMENTS, nearest_elements
from voigt.models.equivariant.trunk import Trunk
from voigt.models.methods import build_network
from voigt.models.network import Network
from voigt.models.readout import unbounded
from voigt.tensors.properties import PROPERTIES
from voigt.training.graph_store import all_numbers, all_targets
from voigt.training.recipe import Recipe


def initial_network(recipe: Recipe, graphs: Sequence[CrystalGraph]) -> Network:
    """A network ready to train on `graphs`.

    Raises
    ------
    RecipeError
        The model to fine-tune from has other hyper-parameters than the recipe, or fewer blocks than are to be frozen.
    """
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.model)
    fit_references(network, graphs)
    network.prepare_training(graphs)
    if recipe.finetune is not None:
        _copy_weights(recipe, network, {int(z) for numbers in all_numbers(graphs) for z in numbers.unique()})
    freeze(network, recipe.frozen)
    return network.double() if recipe.precision == "64" else network


def freeze(network: Network, blocks: int) -> None:
    """Keep the weights of the first blocks of message passing, and of everything before them, out of training.

    Raises
    ------
    RecipeError
        The network has no message passing, or fewer blocks.
    """
    if not blocks:
        return
    trunk = network.trunk
    have = 0 if trunk is None else len(trunk.interactions)
    if trunk is None or blocks > have:
        raise RecipeError(f"the network has {have} blocks of message passing: {blocks} cannot be frozen; lower frozen")
    for part in (trunk.embedding, trunk.functional, trunk.input, *trunk.interactions[:blocks]):
        if part is not None:
            part.requires_grad_(False)


def _copy_weights(recipe: Recipe, network: Network, elements: Collection[int]) -> None:
    """All weights from a network of the same method, or the message passing alone from one of another method.

    Elements that the trained model has not seen start as their neighbors in the periodic table.
    """
    loaded = load_model(recipe.finetune or "")
    if recipe.member >= len(loaded.members):
        raise RecipeError(f"{recipe.finetune} has {len(loaded.members)} members, there is no member {recipe.member}")
    source = loaded.members[recipe.member]
    given, hypers = source.hypers, network.hypers
    parts: tuple[nn.Module, nn.Module] = source, network
    trunks = source.trunk, network.trunk
    if given.method != hypers.method:
        if trunks[0] is None or trunks[1] is None:
            raise RecipeError(f"{recipe.finetune} is of method {given.method}, the recipe of {hypers.method}")
        given, hypers, parts = trunks[0].hypers, trunks[1].hypers, (trunks[0], trunks[1])
    free = {"properties", "sum_rule", "frame", "members", "ionic"}
    free |= set() if trunks[1] is None else {"functionals", "method"}
    old, new = given.model_dump(), hypers.model_dump()
    changed = [key for key in new if key in old and old[key] != new[key] and key not in free]
    if changed:
        listing = ", ".join(f"{key} = {old[key]!r}" for key in changed)
        raise RecipeError(f"to fine-tune from {recipe.finetune} the recipe's model must have {listing}")
    parameters = dict(parts[1].named_parameters())
    with torch.no_grad():
        for name, value in parts[0].named_parameters():
            by_name = trunks[0] is not None and name.endswith("functional.weight")
            if name in parameters and not by_name:
                _fill(parameters[name], value)
        if trunks[0] is not None and trunks[1] is not None:
            _copy_functionals(trunks[0], trunks[1], recipe.start_functionals)
        known = set(loaded.card.elements)
        if known:
            _fill_elements(parts[1], set(elements) - known, known)


def _fill_elements(part: nn.Module, new: Collection[int], known: Collection[int]) -> None:
    """Rows of embeddings by element: those of new elements become the mean of their neighbors' rows."""
    for layer in part.modules():
        if isinstance(layer, nn.Embedding) and layer.num_embeddings == NUM_ELEMENTS:
            for z in new:
                layer.weight[z] = layer.weight[list(nearest_elements(z, known))].mean(dim=0)


def _fill(parameter: Tensor, value: Tensor) -> None:
    """Copy a trained value: every readout of several starts from the only one of the trained model, and one alone from
    the mean of several.
    """
    if parameter.shape == value.shape:
        parameter.copy_(value)
        return
    own, given = parameter.shape[-1], value.shape[-1]
    if parameter.ndim > value.ndim:
        value = value[..., None]
    elif parameter.ndim < value.ndim:
        value = value.mean(dim=-1)
    elif own > given:  # references: readouts run fastest
        value = value.repeat_interleave(own // given, dim=-1)
    elif own < given:
        value = value.unflatten(-1, (own, given // own)).mean(dim=-1)
    parameter.copy_(value.expand_as(parameter))


def _copy_functionals(source: Trunk, network: Trunk, starts: Mapping[str, str]) -> None:
    """Functionals by name; a new one starts as `starts` says, or like a network without any as the model's default.

    RecipeError: `starts` names a functional that the trained model does not have.
    """
    known = source.hypers.functionals
    rows = network.input.bias.new_zeros(1, 1) if source.functional is None else source.functional.weight
    if network.functional is None:
        network.input.bias.add_(rows[0])
        return
    for k, name in enumerate(network.hypers.functionals):
        start = name if name in known else starts.get(name)
        if start is not None and start not in known:
            raise RecipeError(
                f"start_functionals: the trained model has no functional '{start}'; it has {', '.join(known) or 'none'}"
            )
        network.functional.weight[k] = rows[0 if start is None else known.index(start)]


def fit_references(network: Network, graphs: Sequence[CrystalGraph]) -> None:
    """Start from the trivial prediction: per-element means for atoms, the mean for crystals; small weights elsewhere.

    Only training crystals may be given. A property that none of them has keeps its random weights.
    """
    for name in network.readouts:
        readout = network.readout(name)
        if "0e" not in readout.kinds or not readout.starts_from_data or name not in graphs[0].targets:
            continue
        prop = PROPERTIES[name]
        labels = all_targets(graphs, name)
        present = torch.isfinite(labels.reshape(len(labels), -1)).all(dim=1)
        if readout.positive_only:
            present &= labels.reshape(len(labels), -1).amax(dim=1) > 0
        if not bool(present.any()):
            continue
        fitted = labels[present] if readout.positive_only else unbounded(labels[present], prop)
        scalars = readout.scalar_components(fitted)
        with torch.no_grad():
            readout.weight.mul_(0.1)
            readout.bias.copy_(_for_heads(scalars.mean(dim=0), readout.heads).view_as(readout.bias))
            if readout.reference is None:
                continue
            rows = readout.reference.num_embeddings
            if prop.per == "atom":
                numbers = torch.cat(all_numbers(graphs))[present]
                readout.reference.weight.copy_(_for_heads(_element_means(scalars, numbers, rows), readout.heads))
                readout.bias.zero_()
            else:
                chosen = [z for z, has in zip(all_numbers(graphs), present.tolist(), strict=True) if has]
                fractions = _fractions(chosen, rows)
                fitted = _composition_fit(scalars - scalars.mean(dim=0), fractions)
                readout.reference.weight.copy_(_for_heads(fitted, readout.heads))
                scalars = scalars - (fractions @ fitted.double()).to(scalars)
            if readout.scale is not None:
                readout.scale.copy_(scalars.std(correction=0).clamp(min=1e-6))


def _for_heads(values: Tensor, heads: int) -> Tensor:
    """(..., components) -> (..., components x heads), the same for all heads."""
    return values.repeat_interleave(heads, dim=-1)


def _fractions(numbers: Sequence[Tensor], rows: int) -> Tensor:
    """Atomic fractions of each crystal, (n_crystals, rows), in double precision."""
    counts = torch.zeros(len(numbers), rows, dtype=torch.float64)
    crystal = torch.repeat_interleave(torch.arange(len(numbers)), torch.tensor([len(z) for z in numbers]))
    counts.index_put_((crystal, torch.cat(list(numbers))), torch.ones((), dtype=torch.float64), accumulate=True)
    return counts / counts.sum(dim=1, keepdim=True)


def _composition_fit(values: Tensor, fractions: Tensor, ridge: float = 1.0) -> Tensor:
    """Ridge regression of per-crystal values on atomic fractions, (rows, components)."""
    normal = fractions.T @ fractions + ridge * torch.eye(fractions.shape[1], dtype=torch.float64)
    solution: Tensor = torch.linalg.solve(normal, fractions.T @ values.double())
    return solution.to(values)


def _element_means(values: Tensor, numbers: Tensor, rows: int) -> Tensor:
    total = values.new_zeros(rows, values.shape[1]).index_add(0, numbers, values)
    count = torch.bincount(numbers, minlength=rows).clamp(min=1)
    return total / count[:, None]

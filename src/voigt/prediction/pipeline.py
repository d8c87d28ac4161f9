"""From checked crystals to predicted tensors with their diagnostics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import ase
import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from voigt.errors import DomainError
from voigt.graphs.batch import CrystalBatch, CrystalGraph, build_graph, collate, pack, with_frames
from voigt.models.checkpoint import LoadedModel
from voigt.prediction.result import Prediction, Settings
from voigt.structures.domain import metal_reason
from voigt.structures.symmetry import Symmetry, find_symmetry
from voigt.tensors.projection import project_atoms, project_crystal, residual
from voigt.tensors.properties import PROPERTIES, Property
from voigt.tensors.sum_rule import acoustic_sum_rule

SPREAD_WARNING = 0.2
"""Root mean square over an atom's nine components, e: beyond it the members of an ensemble disagree."""

ROUNDING = 1e-5
"""Norm, in a property's unit, up to which a raw tensor is the rounding of single precision and has no residual."""


@dataclass(frozen=True)
class Prepared:
    """One crystal ready for the network."""

    id: str
    atoms: ase.Atoms
    symmetry: Symmetry
    graph: CrystalGraph
    warnings: tuple[str, ...]


@dataclass
class Crystal:
    """What several models share of one crystal: each thing is made once, when the first of them needs it.

    Attributes
    ----------
    atoms
        A checked crystal.
    symprec
        Tolerance of its space group, Angstrom.
    """

    atoms: ase.Atoms
    symprec: float
    _symmetry: Symmetry | None = None
    _graphs: dict[tuple[float, bool, bool], CrystalGraph] = field(default_factory=dict)

    def symmetry(self) -> Symmetry:
        """Space group; InputError if there is none."""
        if self._symmetry is None:
            self._symmetry = find_symmetry(self.atoms, self.symprec)
        return self._symmetry

    def graph(self, cutoff: float, mic: bool, reduce: bool) -> CrystalGraph:
        """Graph without frames, reduced to the asymmetric unit or not."""
        key = (cutoff, mic, reduce)
        if key not in self._graphs:
            self._graphs[key] = build_graph(self.atoms, cutoff, mic, self.symmetry() if reduce else None)
        return self._graphs[key]


def prepare(
    model: LoadedModel, atoms: ase.Atoms, name: str, settings: Settings, crystal: Crystal | None = None
) -> Prepared:
    """Check a crystal against the model's domain and build its graph, from what `crystal` already has of it.

    Raises
    ------
    DomainError
        An element outside the training set without `allow_unseen`; an unknown functional.
    InputError
        No space group can be found.
    """
    warnings = []
    unseen = sorted({int(z) for z in atoms.numbers} - set(model.card.elements))
    if unseen:
        names = ", ".join(chemical_symbols[z] for z in unseen)
        if not settings.allow_unseen:
            raise DomainError(
                f"{name}: {names} not among the {len(model.card.elements)} elements that model '{model.name}' was "
                "trained on; use --allow-unseen to predict all the same"
            )
        warnings.append(f"{names} not in the training set of model '{model.name}': do not trust this prediction")
    functionals = model.hypers.functionals or model.card.functionals
    if settings.functional is not None and settings.functional not in functionals:
        known = ", ".join(functionals) or "none"
        raise DomainError(f"model '{model.name}' knows no functional {settings.functional}; it knows {known}")
    crystal = Crystal(atoms, settings.symprec) if crystal is None else crystal
    symmetry = crystal.symmetry()
    asked = settings.properties or model.hypers.properties
    delicate = any(PROPERTIES[entry].insulators_only for entry in asked if entry in PROPERTIES)
    reason = metal_reason(atoms, symmetry) if delicate else None
    if reason is not None:
        warnings.append(
            f"probably a metal ({reason}): charges, permittivities and piezoelectricity are defined for insulators only"
        )
    options = model.hypers.frame_options
    reduce = settings.symmetrize and (options is None or options.reduce)
    graph = crystal.graph(model.hypers.cutoff, model.hypers.neighbors == "mic", reduce)
    if options is not None:
        group = symmetry if settings.symmetrize else None
        graph = with_frames(graph, atoms, replace(options, symprec=settings.symprec), group)
    graph = replace(
        graph,
        functional=settings.functional if model.hypers.functionals else None,
        space_group=symmetry.number if settings.symmetrize else 0,
    )
    return Prepared(name, atoms, symmetry, graph, (*warnings, *graph.warnings))


def predict_prepared(
    model: LoadedModel, prepared: Sequence[Prepared], settings: Settings
) -> list[Prediction | str]:
    """Predict for any number of crystals, batch by batch, in the given order; instead of a prediction the reason why
    there is none: not enough memory for this crystal alone, or values that are not finite.

    Raises
    ------
    TargetError, DomainError
        A property that the model does not predict.
    """
    names = settings.properties or model.hypers.properties
    absent = [name for name in names if name not in model.hypers.properties]
    if absent:
        raise DomainError(
            f"model '{model.name}' does not predict {', '.join(absent)}; "
            f"it predicts {', '.join(model.hypers.properties)}"
        )
    results: list[Prediction | str] = []
    for indices in pack([entry.graph.num_edges for entry in prepared], settings.max_edges):
        results += _predict_batch(model, [prepared[i] for i in indices], names, settings)
    return results


def _predict_batch(
    model: LoadedModel, chosen: Sequence[Prepared], names: Sequence[str], settings: Settings
) -> list[Prediction | str]:
    """One batch; in halves if it does not fit into memory."""
    try:
        batch = collate([entry.graph for entry in chosen]).to(model.device)
        means, corrected, spreads, members = _ensemble(model, batch, names, settings.sum_rule)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        exhausted = True
    else:
        exhausted = False
    if exhausted:  # outside the handler, whose traceback keeps the tensors of the failed attempt alive
        if len(chosen) == 1:
            size = chosen[0].graph
            return [
                f"{chosen[0].id}: not enough memory for its {size.num_atoms} atoms and {size.num_edges} neighbours; "
                "use a machine with more, or a smaller cell"
            ]
        half = len(chosen) // 2
        parts = (chosen[:half], chosen[half:])
        return [result for part in parts for result in _predict_batch(model, part, names, settings)]
    starts = np.concatenate([[0], np.cumsum([entry.graph.num_atoms for entry in chosen])])
    results: list[Prediction | str] = []
    for k, entry in enumerate(chosen):
        atoms_rows = slice(int(starts[k]), int(starts[k + 1]))
        raw = {n: _rows(v, n, k, atoms_rows) for n, v in means.items()}
        spread = {n: _rows(v, n, k, atoms_rows) for n, v in spreads.items()}
        neutral = {n: _rows(v, n, k, atoms_rows) for n, v in corrected.items()}
        wild = [name for name, value in raw.items() if not np.isfinite(value).all()]
        if wild:
            results.append(
                f"{entry.id}: model '{model.name}' gives {', '.join(wild)} that is not finite; "
                "the crystal is too far from its training set"
            )
        else:
            own = {n: _finished(v[:, k], entry, n, settings) for n, v in members.items()}
            results.append(replace(_finish(model, entry, raw, neutral, spread, settings), members=own))
    return results


def _out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Accelerators raise a class of their own, the processor's allocator a RuntimeError that says so."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return "DefaultCPUAllocator" in text or "out of memory" in text or "not enough memory" in text


def _ensemble(
    model: LoadedModel, batch: CrystalBatch, names: Sequence[str], sum_rule: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Mean over the members before and after their own sum rule, the standard deviation of what is delivered, and
    what each member says of properties per crystal.
    """
    with torch.no_grad():
        outputs = [member.forward_raw(batch) for member in model.members]
    means, neutral, spreads, members = {}, {}, {}, {}
    for name in names:
        raws = torch.stack([raw[name] for raw, _ in outputs]).cpu().double()
        means[name] = raws.mean(dim=0)
        stack = torch.stack([own[name] for _, own in outputs]).cpu().double()
        neutral[name] = stack.mean(dim=0)
        if len(outputs) > 1:
            spreads[name] = (stack if sum_rule else raws).std(dim=0)
            if PROPERTIES[name].per == "crystal":
                members[name] = stack
    return means, neutral, spreads, members


def _projected(tensor: Tensor, prop: Property, symmetry: Symmetry) -> Tensor:
    rotations = torch.as_tensor(symmetry.rotations)
    if prop.per == "atom":
        return project_atoms(tensor, rotations, torch.as_tensor(symmetry.permutations))
    return project_crystal(tensor, rotations, prop.rank)


def _finished(members: Tensor, entry: Prepared, name: str, settings: Settings) -> NDArray[np.float64]:
    """Tensors of one crystal, (n_members, ...), symmetrized if the prediction is."""
    prop = PROPERTIES[name]
    if not (settings.symmetrize and prop.rank):
        return members.numpy()
    return np.stack([_projected(member, prop, entry.symmetry).numpy() for member in members])


def _largest_rms(spread: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(spread).mean(axis=(1, 2))).max())


def _rows(value: Tensor, name: str, crystal: int, atoms: slice) -> NDArray[np.float64]:
    chosen = value[atoms] if PROPERTIES[name].per == "atom" else value[crystal]
    return chosen.numpy()


def _finish(
    model: LoadedModel,
    entry: Prepared,
    raw: dict[str, NDArray[np.float64]],
    neutral: dict[str, NDArray[np.float64]],
    spread: dict[str, NDArray[np.float64]],
    settings: Settings,
) -> Prediction:
    warnings = entry.warnings
    if "born_charges" in spread and (disagreement := _largest_rms(spread["born_charges"])) > SPREAD_WARNING:
        warnings += (f"the members of the ensemble disagree by up to {disagreement:.2f} e on an atom's Born charges",)
    values, residuals, drift = {}, {}, None
    for name, array in raw.items():
        prop = PROPERTIES[name]
        tensor = torch.as_tensor(neutral[name] if settings.sum_rule else array)
        if prop.rank:
            before = torch.as_tensor(array)
            residuals[name] = float(residual(before, _projected(before, prop, entry.symmetry), ROUNDING))
            tensor = _projected(tensor, prop, entry.symmetry) if settings.symmetrize else tensor
        if name == "born_charges":
            drift = array.sum(axis=0)
            if settings.sum_rule:
                zero = torch.zeros(len(tensor), dtype=torch.int64)
                charge = torch.tensor([settings.total_charge], dtype=tensor.dtype)
                tensor = acoustic_sum_rule(tensor, zero, 1, charge, None)
        values[name] = tensor.numpy()
    functional = settings.functional or next(iter(model.hypers.functionals or model.card.functionals), None)
    return Prediction(
        id=entry.id,
        atoms=entry.atoms,
        values=values,
        raw=raw,
        spread=spread,
        units={name: PROPERTIES[name].unit for name in values},
        drift=drift,
        residual=residuals,
        symmetry=entry.symmetry,
        symmetrized=settings.symmetrize,
        models=dict.fromkeys(values, model.name),
        functionals=dict.fromkeys(values, functional),
        warnings=warnings,
    )

"""From checked crystals to predicted tensors with their diagnostics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import ase
import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from voigt.errors import DomainError, InputError
from voigt.graphs import CrystalBatch, CrystalGraph, build_graph, collate, pack, with_axes
from voigt.models.checkpoint import LoadedModel
from voigt.models.devices import edge_budget
from voigt.models.ensemble import outputs_of
from voigt.models.network import ROUNDING
from voigt.notes import Failure, Note
from voigt.prediction.clock import Clock
from voigt.prediction.corrections import batch_symmetry, norms, project_batch
from voigt.prediction.intervals import intervals_of
from voigt.prediction.result import Prediction, Settings, charge_of
from voigt.prediction.training_range import load_range, relative_spread, unlike_training
from voigt.structures import InputStructure
from voigt.structures.domain import stated_charge
from voigt.structures.symmetry import Symmetry, find_symmetry
from voigt.tensors.properties import PROPERTIES
from voigt.tensors.sum_rule import acoustic_sum_rule

SPREAD_WARNING = 0.2
"""Root mean square over an atom's nine components, e: beyond it the members of an ensemble disagree."""


@dataclass(frozen=True)
class Prepared:
    """One crystal ready for the network."""

    structure: InputStructure
    symmetry: Symmetry
    graph: CrystalGraph
    notes: tuple[Note, ...]


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

    def __getstate__(self) -> dict[str, Any]:
        """For another process: arrays, since each tensor would travel as a file of its own."""
        graphs = {
            key: {name: value.numpy() if isinstance(value, Tensor) else value for name, value in vars(graph).items()}
            for key, graph in self._graphs.items()
        }
        return {**vars(self), "_graphs": graphs}

    def __setstate__(self, state: dict[str, Any]) -> None:
        graphs: dict[tuple[float, bool, bool], CrystalGraph] = {}
        for key, own in state["_graphs"].items():
            fields: dict[str, Any] = {
                name: torch.as_tensor(value) if isinstance(value, np.ndarray) else value for name, value in own.items()
            }
            graphs[key] = CrystalGraph(**fields)
        vars(self).update({**state, "_graphs": graphs})

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
    model: LoadedModel,
    structure: InputStructure,
    settings: Settings,
    crystal: Crystal | None = None,
    clock: Clock | None = None,
) -> Prepared | Failure:
    """Check a crystal against the model's domain and build its graph, from what `crystal` already has of it.

    A failure says that an element is outside the training set (without `allow_unseen`), that the functional is unknown,
    or that no space group or canonical axes can be found.
    """
    atoms, names = structure.atoms, settings.properties or model.hypers.properties
    notes = []
    unseen = tuple(chemical_symbols[z] for z in sorted({int(z) for z in atoms.numbers} - set(model.card.elements)))
    if unseen and not settings.allow_unseen:
        known = len(model.card.elements)
        problem = f"{', '.join(unseen)} not among the {known} elements that model '{model.name}' was trained on"
        remedy = "use Settings(allow_unseen=True) to predict all the same"
        return replace(structure.failure("unseen_elements", problem, unseen), remedy=remedy).lacking(names)
    if unseen:
        text = f"{', '.join(unseen)} not in the training set of model '{model.name}': do not trust this prediction"
        notes.append(Note("unseen_elements", text, names, unseen))
    functionals = functionals_of(model)
    if settings.functional is not None and settings.functional not in functionals:
        listed = ", ".join(functionals) or "none"
        problem = f"model '{model.name}' knows no functional {settings.functional}; it knows {listed}"
        return structure.failure("unknown_functional", problem).lacking(names)
    crystal = Crystal(atoms, settings.symprec) if crystal is None else crystal
    clock = Clock() if clock is None else clock
    try:
        with clock.measure("symmetry"):
            symmetry = crystal.symmetry()
        graph = _graph(model, crystal, settings, clock)
    except InputError as error:
        return structure.failure("no_symmetry", str(error)).lacking(names)
    charge = stated_charge(atoms)
    if settings.total_charge is None and charge and "born_charges" in names:
        text = f"the structure states a charge of {charge:+g} e per cell: Born charges sum to it"
        notes.append(Note("charged", text, ("born_charges",)))
    return Prepared(structure, symmetry, graph, (*notes, *graph.notes))


def _graph(model: LoadedModel, crystal: Crystal, settings: Settings, clock: Clock) -> CrystalGraph:
    """The graph as the model's network wants it."""
    options, symmetry = model.hypers.axes_options, crystal.symmetry()
    reduce = settings.symmetrize and (options is None or options.reduce)
    with clock.measure("graph"):
        graph = crystal.graph(model.hypers.cutoff, model.hypers.neighbors == "mic", reduce)
    if options is not None:
        group = symmetry if settings.symmetrize else None
        with clock.measure("axes"):
            graph = with_axes(graph, crystal.atoms, replace(options, symprec=settings.symprec), group)
    return replace(
        graph,
        functional=settings.functional if model.hypers.functionals else None,
        space_group=symmetry.number if settings.symmetrize else 0,
    )


def functionals_of(model: LoadedModel) -> tuple[str, ...]:
    """Functionals that a model can predict for, the default first; empty if its training data stated none."""
    return tuple(model.hypers.functionals or model.card.functionals)


def predict_prepared(
    model: LoadedModel, prepared: Sequence[Prepared], settings: Settings, clock: Clock | None = None
) -> list[Prediction | Failure]:
    """Predict for any number of crystals, batch by batch, in the given order; a failure is a crystal that alone does
    not fit into memory, or whose values are not finite.

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
    results: list[Prediction | Failure] = []
    budget = edge_budget(model.device, settings.max_edges, len(model.members))
    for indices in pack([entry.graph.num_edges for entry in prepared], budget):
        results += _predict_batch(model, [prepared[i] for i in indices], names, settings, clock or Clock())
    return results


def _predict_batch(
    model: LoadedModel, chosen: Sequence[Prepared], names: Sequence[str], settings: Settings, clock: Clock
) -> list[Prediction | Failure]:
    """One batch; in halves if it does not fit into memory."""
    try:
        with clock.measure("network"):
            output = _ensemble(model, collate([entry.graph for entry in chosen]), names, settings.sum_rule)
        with clock.measure("corrections"):
            corrected = _corrected(chosen, output, settings)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        exhausted = True
    else:
        exhausted = False
    if exhausted:  # outside the handler, whose traceback keeps the tensors of the failed attempt alive
        if len(chosen) == 1:
            size = chosen[0].graph
            problem = (
                f"not enough memory for its {size.num_atoms} atoms and {size.num_edges} neighbors; "
                "use a machine with more, or a smaller cell"
            )
            return [chosen[0].structure.failure("memory", problem).lacking(tuple(names))]
        half = len(chosen) // 2
        parts = (chosen[:half], chosen[half:])
        return [result for part in parts for result in _predict_batch(model, part, names, settings, clock)]
    with clock.measure("corrections"):
        ends = np.cumsum([entry.graph.num_atoms for entry in chosen]).tolist()
        rows = [slice(end - entry.graph.num_atoms, end) for end, entry in zip(ends, chosen, strict=True)]
        return [
            _result(model, entry, corrected.of(k, atoms), settings)
            for k, (entry, atoms) in enumerate(zip(chosen, rows, strict=True))
        ]


def _out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Accelerators raise their own exception, the allocator of the processor a RuntimeError with these words."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    words = ("DefaultCPUAllocator", "out of memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return any(one in text for one in words)


@dataclass(frozen=True)
class _Output:
    """What an ensemble gives for a batch, by property, in double precision.

    Attributes
    ----------
    raw, neutral
        Mean over the members before and after the network's sum rule.
    spread
        Standard deviation of what is delivered.
    members
        (n_members, n_crystals, ...) each member's value of properties per crystal.
    """

    raw: dict[str, Tensor]
    neutral: dict[str, Tensor]
    spread: dict[str, Tensor]
    members: dict[str, Tensor]


def _ensemble(model: LoadedModel, batch: CrystalBatch, names: Sequence[str], sum_rule: bool) -> _Output:
    with torch.no_grad():
        outputs = outputs_of(model, batch)
    result = _Output({}, {}, {}, {})
    for name in names:
        raw = _double(torch.stack([before[name] for before, _ in outputs]))
        of_crystal = PROPERTIES[name].per == "crystal"
        # The sum rule of a network changes Born charges alone.
        neutral = raw if of_crystal else _double(torch.stack([after[name] for _, after in outputs]))
        result.raw[name] = raw.mean(dim=0)
        result.neutral[name] = result.raw[name] if of_crystal else neutral.mean(dim=0)
        if len(outputs) > 1:
            result.spread[name] = (neutral if sum_rule else raw).std(dim=0)
            if of_crystal:
                result.members[name] = raw
    return result


def _double(tensor: Tensor) -> Tensor:
    """In double precision; on the CPU if the device may not know it."""
    return tensor.double() if tensor.is_cuda else tensor.cpu().double()


Arrays: TypeAlias = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class _Corrected:
    """What is delivered, by property, of a batch or of one crystal: `_Output` as arrays, and

    Attributes
    ----------
    values
        After sum rule and projection.
    residual
        (n_crystals,) or (): share of the raw tensor that symmetry forbids.
    """

    raw: Arrays
    neutral: Arrays
    spread: Arrays
    members: Arrays
    values: Arrays
    residual: Arrays

    def of(self, crystal: int, atoms: slice) -> _Corrected:
        """The part of one crystal of a batch."""

        def cut(values: Arrays) -> Arrays:
            return {
                name: value[atoms] if PROPERTIES[name].per == "atom" else value[crystal]
                for name, value in values.items()
            }

        members = {name: value[:, crystal] for name, value in self.members.items()}
        residuals = {name: value[crystal] for name, value in self.residual.items()}
        return _Corrected(cut(self.raw), cut(self.neutral), cut(self.spread), members, cut(self.values), residuals)


def _corrected(chosen: Sequence[Prepared], output: _Output, settings: Settings) -> _Corrected:
    """Sum rule and projection of all crystals of a batch."""
    device, count = next(iter(output.raw.values())).device, len(chosen)
    sizes = torch.tensor([entry.graph.num_atoms for entry in chosen], device=device)
    atom_crystal = torch.repeat_interleave(torch.arange(count, device=device), sizes)
    of_atoms = any(PROPERTIES[name].per == "atom" for name in output.raw)
    symmetry = batch_symmetry([entry.symmetry for entry in chosen], device, of_atoms)
    values, members, residuals = {}, dict(output.members), {}
    for name, raw in output.raw.items():
        prop = PROPERTIES[name]
        value = output.neutral[name] if settings.sum_rule else raw
        if prop.rank:
            if name in members:  # a projection is linear: the mean of the projected is the projection of the mean
                symmetric_members = project_batch(members[name].transpose(0, 1), prop, symmetry)
                projected = symmetric = symmetric_members.mean(dim=1)
                members[name] = symmetric_members.transpose(0, 1) if settings.symmetrize else members[name]
            else:
                projected, symmetric = project_batch(torch.stack([raw, value], dim=1), prop, symmetry).unbind(1)
            size = norms(raw, prop, atom_crystal, count)
            missed = norms(raw - projected, prop, atom_crystal, count)
            residuals[name] = torch.where(size > ROUNDING, missed / size.clamp(min=ROUNDING), 0.0)
            value = symmetric if settings.symmetrize else value
        if name == "born_charges" and settings.sum_rule:
            charges = torch.tensor([charge_of(entry.structure.atoms, settings) for entry in chosen])
            value = acoustic_sum_rule(value, atom_crystal, count, charges.to(value), None)
        values[name] = value + 0.0  # no negative zeros
    parts = (output.raw, output.neutral, output.spread, members, values, residuals)
    return _Corrected(*({name: value.cpu().numpy() for name, value in part.items()} for part in parts))


def _result(model: LoadedModel, entry: Prepared, output: _Corrected, settings: Settings) -> Prediction | Failure:
    """One crystal's prediction from its corrected tensors."""
    nonfinite = [name for name, value in output.raw.items() if not np.isfinite(value).all()]
    if nonfinite:
        problem = (
            f"model '{model.name}' gives {', '.join(nonfinite)} that is not finite; "
            "the crystal is too far from its training set"
        )
        return entry.structure.failure("not_finite", problem).lacking(tuple(output.raw))
    notes = entry.notes
    if "born_charges" in output.spread and (rms := _largest_rms(output.spread["born_charges"])) > SPREAD_WARNING:
        text = f"the members of the ensemble disagree by up to {rms:.2f} e on an atom's Born charges"
        notes += (Note("disagreement", text, ("born_charges",)),)
    notes += _unlike_training(model, entry, output, settings)
    charges = output.raw.get("born_charges")
    functional = settings.functional or next(iter(functionals_of(model)), None)
    prediction = Prediction(
        id=entry.structure.id,
        atoms=entry.structure.atoms,
        values=output.values,
        raw=output.raw,
        spread=output.spread,
        units={name: PROPERTIES[name].unit for name in output.values},
        drift=None if charges is None else charges.sum(axis=0),
        residual={name: float(value) for name, value in output.residual.items()},
        symmetry=entry.symmetry,
        symmetrized=settings.symmetrize,
        models=dict.fromkeys(output.values, model.name),
        functionals=dict.fromkeys(output.values, functional),
        notes=notes,
        members=output.members,
    )
    # Rules are fitted to what is delivered with all corrections.
    return replace(prediction, interval=intervals_of(prediction, model.intervals)) if settings.sum_rule else prediction


def _unlike_training(model: LoadedModel, entry: Prepared, output: _Corrected, settings: Settings) -> tuple[Note, ...]:
    """A note on a crystal that is far from the training set, if the model file comes with its range."""
    known = load_range(model.path) if settings.check_domain and model.path is not None else None
    if known is None:
        return ()
    # Of a tensor that symmetry forbids nobody is uncertain, however the networks scatter around zero.
    spread = {
        name: relative_spread(output.spread[name], output.neutral[name])
        for name in known.spread
        if name in output.spread and float(np.abs(output.values[name]).max()) > ROUNDING
    }
    found = unlike_training(entry.graph, spread, known)
    if found is None:
        return ()
    text = f"unlike the crystals that model '{model.name}' was trained on ({found[0]}): expect large errors"
    return (Note("far_from_training", text, found[1] or tuple(output.raw)),)


def _largest_rms(spread: NDArray[np.float64]) -> float:
    """Largest root mean square over the nine components of an atom."""
    return float(np.sqrt(np.square(spread).mean(axis=(1, 2)).max()))

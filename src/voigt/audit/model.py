"""Labels against what the models that ship predict: outliers, units, signs, exchanged indices, metals.

A model does not know a label better than a calculation. But what it says of hundreds of crystals tells a unit or a sign
that is wrong in all of them, and a label many times farther off than nine tenths of such crystals are is worth a look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from voigt.audit.finding import Finding, Severity
from voigt.audit.frames import Frame, quantity
from voigt.data.tensor_symmetry import NOISE
from voigt.errors import DomainError
from voigt.models.checkpoint import LoadedModel, load_model
from voigt.notes import Note
from voigt.prediction import Prediction, Settings, predict_structures
from voigt.prediction.intervals import forbidden
from voigt.prediction.plan import cover, shipped_properties
from voigt.structures import InputStructure
from voigt.tensors.layout import norm
from voigt.tensors.properties import PROPERTIES, Property

Array = NDArray[np.float64]

OUTLIER = 5.0
"""Half-widths of the 90 % interval beyond which a label is an outlier."""
FEWEST = 10
"""Crystals, of fewer nothing is said on a file."""
MOST_OF_FILE = 0.8
"""Share of crystals that must agree on a statement about the file."""
USUAL = 1.6
"""Factor between labels and predictions, in the median, that needs no explanation."""
NEAR_FACTOR = 1.25
"""How far the median may be from the factor of a unit."""
UNITS: Mapping[str, Mapping[float, str]] = MappingProxyType(
    {
        "GPa": {10.0: "kBar, as VASP prints", 0.1: "values divided by 10 once too often", 0.01: "Mbar",
                1 / 160.21766: "eV/Angstrom^3", 1 / 29421.02: "atomic units", 1e3: "MPa"},
        "C/m^2": {1 / 16.021766: "e/Angstrom^2", 1 / 57.214766: "atomic units", 100.0: "microcoulomb/cm^2"},
        "e": {4.80320: "Debye/Angstrom", 1.602177: "1e-19 C"},
        "1": {4 * np.pi: "values multiplied by 4 pi", 1 / (4 * np.pi): "susceptibility without the factor 4 pi"},
        "eV": {1 / 27.211386: "Hartree", 1 / 13.605693: "Rydberg", 1e3: "meV", 96.48533: "kJ/mol"},
        "eV/atom": {1 / 27.211386: "Hartree", 1 / 13.605693: "Rydberg", 1e3: "meV", 96.48533: "kJ/mol"},
    }
)  # fmt: skip
"""Unit of a property -> factor on its values if they are in another unit, and which."""


@dataclass(frozen=True, eq=False)
class Compared:
    """A frame, what a model predicts for it, and the property in question."""

    frame: Frame
    prediction: Prediction
    label: Array
    value: Array


def predicted_names(frames: Sequence[Frame]) -> dict[str, tuple[str, ...]]:
    """Model that ships -> labels of the frames that it predicts."""
    offers = shipped_properties()
    known = {name for offer in offers.values() for name in offer}
    names = [name for name in PROPERTIES if name in known and any(name in f.crystal.targets for f in frames)]
    return cover(names, offers)


def check_models(
    frames: Sequence[Frame], symprec: float, advance: Callable[[], None] | None = None
) -> tuple[list[Finding], dict[str, dict[int, Array]]]:
    """All that models say of the labels, and for each property what they predict, by the place of the frame.

    Parameters
    ----------
    frames
        All frames.
    symprec
        Tolerance of the space group, Angstrom.
    advance
        Called after every prediction.
    """
    findings: list[Finding] = []
    predicted: dict[str, dict[int, Array]] = {}
    for model, names in predicted_names(frames).items():
        chosen = [frame for frame in frames if any(name in frame.crystal.targets for name in names)]
        results: list[tuple[Frame, Prediction]] = []
        failed = 0
        for frame, result in _predictions(load_model(model), chosen, names, symprec):
            if isinstance(result, Prediction):
                results.append((frame, result))
            else:
                failed += 1
            if advance is not None:
                advance()
        if failed:
            text = f"model '{model}' has no prediction for {failed:,} of {len(chosen):,} frames"
            findings.append(Finding(-1, "", "not_compared", "info", "", float(failed), text))
        for frame, prediction in results:
            findings += _notes(frame, prediction.notes)
        for name in names:
            predicted[name] = {f.index: p.values[name] for f, p in results if name in p.values}
            compared = [
                Compared(frame, prediction, frame.crystal.targets[name], prediction.values[name])
                for frame, prediction in results
                if name in frame.crystal.targets and name in prediction.values and not forbidden(prediction, name)
            ]
            findings += check_property(PROPERTIES[name], compared)
    return findings, predicted


def _predictions(
    model: LoadedModel, frames: Sequence[Frame], names: tuple[str, ...], symprec: float
) -> Iterator[tuple[Frame, object]]:
    """Predictions for the functional of each label, one functional after the other."""
    for functional in dict.fromkeys(frame.crystal.functional for frame in frames):
        part = [frame for frame in frames if frame.crystal.functional == functional]
        inputs = (InputStructure(f.crystal.source, k, f.crystal.id, f.crystal.atoms) for k, f in enumerate(part))
        requested = functional if functional in model.hypers.functionals else None
        settings = Settings(properties=names, functional=requested, symprec=symprec)
        try:
            yield from zip(part, predict_structures(inputs, model, settings), strict=True)
        except DomainError:
            yield from ((frame, None) for frame in part)


def _notes(frame: Frame, notes: Sequence[Note]) -> Iterator[Finding]:
    for note in notes:
        if note.kind == "likely_metal":
            yield frame.finding("metal", "warning", "", float("nan"), note.text, "leave the crystal out")
        elif note.kind == "small_gap":
            yield frame.finding("metal", "info", "", float("nan"), note.text)
        elif note.kind in ("vacuum", "far_from_training"):
            yield frame.finding("unlike_training", "info", "", float("nan"), note.text)


def check_property(prop: Property, compared: Sequence[Compared]) -> list[Finding]:
    """Labels of one property against predictions: statements on the file, then on single frames."""
    findings = list(_units(prop, compared))
    factor = 1.0 if not findings else _median_ratio(prop, compared)
    if prop.rank >= 2:
        findings += _signs(prop, compared)
    if prop.per == "atom":
        findings += _exchanged(prop, compared)
    for entry in compared:
        findings += _outlier(prop, entry, factor)
    return findings


def _ratios(prop: Property, compared: Sequence[Compared]) -> Array:
    """Size of label over size of prediction, where neither is about zero."""
    floor = NOISE.get(prop.unit, 0.1)
    pairs = [(_size(prop, entry.label), _size(prop, entry.value)) for entry in compared]
    return np.array([label / value for label, value in pairs if value > 3 * floor and label > 0])


def _size(prop: Property, tensor: Array) -> float:
    return float(np.sqrt(np.square(norm(prop, tensor)).mean()))


def _median_ratio(prop: Property, compared: Sequence[Compared]) -> float:
    return float(np.median(_ratios(prop, compared)))


def _units(prop: Property, compared: Sequence[Compared]) -> Iterator[Finding]:
    ratios = _ratios(prop, compared)
    if len(ratios) < FEWEST:
        return
    median = float(np.median(ratios))
    if 1 / USUAL < median < USUAL:
        return
    known = UNITS.get(prop.unit, {})
    factor = min(known, key=lambda value: abs(np.log(median / value)), default=1.0)
    alike = factor in known and abs(np.log(median / factor)) < np.log(NEAR_FACTOR)
    text = (
        f"{prop.name}: labels are {median:.3g} times what the model predicts, in the median of {len(ratios):,} crystals"
    )
    fix = "look up the unit and the quantity"
    if alike:
        text += f", as if they were {known[factor]} (factor {factor:.4g})"
        fix = f"divide the labels by {factor:.6g} if that is so"
    yield Finding(-1, "", "units", "error" if alike else "warning", prop.name, median, text, fix)


def _signs(prop: Property, compared: Sequence[Compared]) -> Iterator[Finding]:
    floor = NOISE[prop.unit]
    cosines = [
        float(np.sum(entry.label * entry.value) / (np.linalg.norm(entry.label) * np.linalg.norm(entry.value)))
        for entry in compared
        if _size(prop, entry.label) > 2 * floor and _size(prop, entry.value) > 2 * floor
    ]
    clear = np.array([cosine for cosine in cosines if abs(cosine) > 0.5])
    if len(clear) < FEWEST:
        return
    negative = float((clear < 0).mean())
    if negative >= MOST_OF_FILE:
        text = f"{prop.name}: {negative:.0%} of {len(clear):,} labels have the sign opposite to that of the model"
        severity: Severity = "warning" if prop.rank % 2 else "error"
        fix = "compare the polar axes of structures and tensors" if prop.rank % 2 else "look up the sign of the charge"
        yield Finding(-1, "", "reversed", severity, prop.name, negative, text, fix)


def _exchanged(prop: Property, compared: Sequence[Compared]) -> Iterator[Finding]:
    """Exchanging the indices of Born charges reverses their antisymmetric part, which symmetry and sum rule keep."""
    floor = NOISE[prop.unit] / 2
    cosines = []
    for entry in compared:
        parts = [tensor - tensor.transpose(0, 2, 1) for tensor in (entry.label, entry.value)]
        sizes = [_size(prop, part) for part in parts]
        if min(sizes) > floor:
            cosines.append(float(np.sum(parts[0] * parts[1])) / float(np.prod([np.linalg.norm(p) for p in parts])))
    clear = np.array([cosine for cosine in cosines if abs(cosine) > 0.3])
    if len(clear) < FEWEST:
        return
    negative = float((clear < 0).mean())
    if negative >= MOST_OF_FILE:
        text = (
            f"{prop.name}: the antisymmetric part of {negative:.0%} of {len(clear):,} labels is opposite to that of "
            "the model, as if rows and columns were exchanged"
        )
        yield Finding(-1, "", "transposed", "error", prop.name, negative, text,
                      "look up which index of the source is the field; here it is the first")  # fmt: skip


def _outlier(prop: Property, entry: Compared, factor: float) -> Iterator[Finding]:
    interval = entry.prediction.interval.get(prop.name)
    if interval is None:
        return
    error = np.atleast_1d(norm(prop, entry.label / factor - entry.value))
    ratio = error / np.maximum(np.atleast_1d(interval), NOISE.get(prop.unit, 0.1))
    worst = float(ratio.max())
    if worst <= OUTLIER:
        return
    atom = f" of atom {int(ratio.argmax())}" if prop.per == "atom" else ""
    text = (
        f"{prop.name}{atom} is {quantity(float(error[ratio.argmax()]), prop.unit)} from the prediction, {worst:.1f} "
        "times the half-width of its 90 % interval"
    )
    yield entry.frame.finding("outlier", "warning", prop.name, worst, text,
                              "look at convergence, magnetism and instabilities of this calculation")  # fmt: skip

"""Checks of labels one by one: zeros, index symmetry, bounds, sums of parts, and the sum rule of Born charges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from voigt.audit.finding import Finding, Repair, Severity
from voigt.audit.frames import Frame, quantity
from voigt.data.tensor_symmetry import allowed_components
from voigt.structures.domain import stated_charge
from voigt.tensors.properties import PROPERTIES, Property
from voigt.tensors.voigt import elastic_to_mandel

Array = NDArray[np.float64]

SLACK: Mapping[str, float] = MappingProxyType({"1": 0.05, "GPa": 0.0, "eV": 1e-3})
"""By unit: how far eigenvalues may be below their bound, as calculations are converged."""
LARGEST: Mapping[str, float] = MappingProxyType({"e": 15.0, "1": 200.0, "C/m^2": 25.0, "GPa": 2500.0, "eV": 25.0})
"""By unit: component beyond which a label is hardly one of a crystal. Diamond has 1,100 GPa, LiF a gap of 14 eV."""
ASYMMETRY = 0.01
"""Relative antisymmetric part of a tensor that has none, from which on it is no rounding."""
DRIFT = 0.1
"""Sum of the Born charges of a cell, e per direction, from which on a calculation is not converged."""
WORST_DRIFT = 1.0
PARTS = 0.02
"""Relative difference between eps_total and the sum of its parts, from which on one of them is another's."""
RULE = "Gonze and Lee, Phys. Rev. B 55, 10355 (1997), Eq. 49"


def check_labels(frame: Frame) -> tuple[list[Finding], list[Repair]]:
    """What is wrong with the labels of a frame by themselves."""
    findings: list[Finding] = []
    repairs: list[Repair] = []
    for name, tensor in frame.crystal.targets.items():
        prop = PROPERTIES[name]
        if prop.rank and not np.any(tensor):
            findings += _zero(frame, prop)
            continue
        broken = [*_index_symmetry(frame, prop), *_bounds(frame, prop, tensor)]
        findings += broken
        repairs += [
            Repair(frame.index, name, "drop", f"{name} dropped: {finding.text}")
            for finding in broken
            if finding.severity == "error"
        ]
    findings += _sums(frame)
    if "born_charges" in frame.crystal.targets:
        findings += _sum_rule(frame)
    return findings, repairs


def _zero(frame: Frame, prop: Property) -> Iterator[Finding]:
    symmetry = frame.symmetry
    if symmetry is None or not allowed_components(prop, symmetry):
        return
    if not prop.minimum and len(set(frame.crystal.atoms.numbers.tolist())) == 1 and prop.rank == 2:
        return  # atoms of an element carry no charges, and give nothing to the permittivity
    severity: Severity = "error" if prop.minimum else "warning"
    text = f"{prop.name} is exactly zero, which symmetry {symmetry.international} does not ask for"
    yield frame.finding("zero_tensor", severity, prop.name, 0.0, text,
                        "remove the label if zero stands for a tensor that was not calculated")  # fmt: skip


def _index_symmetry(frame: Frame, prop: Property) -> Iterator[Finding]:
    """Permittivities are symmetric, stiffness is in its two pairs of indices."""
    tensor = frame.crystal.targets[prop.name]
    swapped = {"ij=ji": (1, 0), "ijkl=jikl=klij": (2, 3, 0, 1)}.get(prop.formula)
    if swapped is None:
        return
    missed = float(np.linalg.norm(tensor - tensor.transpose(swapped)) / 2 / np.linalg.norm(tensor))
    if missed > ASYMMETRY:
        text = f"{prop.name} is not symmetric: {missed:.1%} of its norm is antisymmetric"
        severity: Severity = "error" if missed > 10 * ASYMMETRY else "warning"
        yield frame.finding("not_symmetric", severity, prop.name, missed, text, "read it again from the calculation")


def _bounds(frame: Frame, prop: Property, tensor: Array) -> Iterator[Finding]:
    largest = float(np.abs(tensor).max())
    limit = LARGEST.get(prop.unit)
    if limit is not None and largest > limit:
        text = f"{prop.name} has a component of {quantity(largest, prop.unit)}"
        yield frame.finding("implausible", "warning", prop.name, largest, text,
                            "check unit and convergence; near an instability leave the crystal out")  # fmt: skip
    if prop.minimum is None:
        return
    lowest = _lowest(prop, tensor)
    if lowest < prop.minimum - SLACK[prop.unit]:
        what = "an eigenvalue" if prop.rank else "the value"
        text = f"{prop.name}: {what} is {quantity(lowest, prop.unit)}, below the bound {prop.minimum:g}"
        yield frame.finding("bound", "error", prop.name, lowest, text, "remove the label: the crystal is unstable, or "
                            "the calculation did not converge, or it is another quantity")  # fmt: skip


def _lowest(prop: Property, tensor: Array) -> float:
    if prop.rank == 0:
        return float(tensor)
    matrix = elastic_to_mandel(tensor) if prop.rank == 4 else tensor
    return float(np.linalg.eigvalsh((matrix + matrix.T) / 2).min())


def _sums(frame: Frame) -> Iterator[Finding]:
    targets = frame.crystal.targets
    for name in targets:
        parts = PROPERTIES[name].sum_of
        if not parts or not set(parts) <= targets.keys():
            continue
        missed = targets[name] - sum(targets[part] for part in parts)
        relative = float(np.linalg.norm(missed) / max(float(np.linalg.norm(targets[name])), 1e-12))
        if relative > PARTS:
            text = f"{name} differs from {' + '.join(parts)} by {relative:.1%} of its norm"
            yield frame.finding("sum_of_parts", "error", name, relative, text,
                                "look which of them is named wrongly or was calculated differently")  # fmt: skip


def _sum_rule(frame: Frame) -> Iterator[Finding]:
    drift = frame.crystal.targets["born_charges"].sum(axis=0) - stated_charge(frame.crystal.atoms) * np.eye(3)
    worst = float(np.abs(drift).max())
    if worst <= DRIFT:
        return
    text = f"Born charges sum to up to {worst:.3f} e instead of the charge of the cell"
    severity: Severity = "error" if worst > WORST_DRIFT else "warning"
    fix = f"redistribute the sum over the atoms ({RULE}), or state the charge of the cell as info['charge']"
    if severity == "error":
        fix = "look for atoms left out or in another order, and for a charged cell, which info['charge'] states"
    yield frame.finding("sum_rule", severity, "born_charges", worst, text, fix)

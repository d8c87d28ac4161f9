"""Frames of an audit: crystals with those of their labels that can be read, and their symmetry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan

import numpy as np

from voigt.audit.finding import Finding, Repair, Severity, Turn
from voigt.data.labeled import LabeledCrystal
from voigt.data.reading import label_of
from voigt.errors import InputError, TargetError
from voigt.structures.symmetry import Symmetry, find_symmetry
from voigt.tensors.properties import PROPERTIES, Property
from voigt.writers.markdown import unit_symbol


@dataclass(frozen=True, eq=False)
class Frame:
    """One crystal of the file.

    Attributes
    ----------
    index
        Place in the file, from 0.
    crystal
        Its structure and the labels that can be read.
    symmetry
        Its space group; None where none is found.
    """

    index: int
    crystal: LabeledCrystal
    symmetry: Symmetry | None

    def finding(
        self, kind: str, severity: Severity, name: str, value: float, text: str, fix: str = "", rotation: Turn = ()
    ) -> Finding:
        """A finding on this frame; `name` of the property or ""."""
        return Finding(self.index, self.crystal.id, kind, severity, name, value, text, fix, rotation)


def read_frame(index: int, crystal: LabeledCrystal, symprec: float) -> tuple[Frame, list[Finding], list[Repair]]:
    """A frame with its labels, and what is wrong with labels that cannot be read.

    Parameters
    ----------
    index
        Place in the file.
    crystal
        Without targets, as `voigt.data.frames.read_frames` gives it.
    symprec
        Tolerance of the space group, Angstrom.
    """
    targets = {}
    findings, repairs = [], []
    for name, prop in PROPERTIES.items():
        try:
            value = label_of(crystal.atoms, prop)
        except TargetError as error:
            kind = "not_finite" if _is_numbers(crystal, prop) else "wrong_shape"
            text = str(error)
            findings.append(Finding(index, crystal.id, kind, "error", name, nan, text, "remove the label"))
            repairs.append(Repair(index, name, "drop", f"{name} dropped: {text}"))
            continue
        if value is not None:
            targets[name] = value
    try:
        symmetry = find_symmetry(crystal.atoms, symprec)
    except InputError:
        symmetry = None
    return Frame(index, replace(crystal, targets=targets), symmetry), findings, repairs


def _is_numbers(crystal: LabeledCrystal, prop: Property) -> bool:
    """Whether a label that cannot be used holds numbers in the right shape, so that some are not finite."""
    home = crystal.atoms.arrays if prop.per == "atom" else crystal.atoms.info
    try:
        values = np.asarray(home[prop.name], dtype=np.float64)
    except (TypeError, ValueError):
        return False
    count = len(crystal.atoms) if prop.per == "atom" else 1
    return values.size == count * int(np.prod(prop.stored_shape)) and not np.isfinite(values).all()


def quantity(value: float, unit: str) -> str:
    """A value with its unit.

    Examples
    --------
    >>> quantity(12.3456, "GPa"), quantity(0.5, "1")
    ('12.35 GPa', '0.5')
    """
    return f"{value:.4g} {unit_symbol(unit)}".strip()

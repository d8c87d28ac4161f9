"""What a CIF says of its own contents, held against the atoms that were built: formula, formula units, density."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import ase
from ase.data import atomic_masses, atomic_numbers
from ase.units import _amu

from voigt.errors import InputError
from voigt.structures.readers.cif_syntax import Block, is_null, number, shortened

_FORMULA = "_chemical_formula_sum"
_UNITS = "_cell_formula_units_z"
_DENSITY, _MEASURED = "_exptl_crystal_density_diffrn", "_exptl_crystal_density_meas"
_HYDROGENS = "_atom_site_attached_hydrogens"
_DENSITY_RANGE = (0.8, 1.25)
"""Computed from the cell by the authors: agrees to rounding, but for deuterium."""
_MEASURED_RANGE = (0.6, 1.6)
"""Of a sample with pores and impurities."""
_RATIO_TOLERANCE = 0.02
_DEUTERIUM = 2.014
_PART = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)")


@dataclass(frozen=True)
class Evidence:
    """The comparison of a file's statements with atoms.

    Attributes
    ----------
    contradictions
        One sentence each; empty if nothing speaks against the atoms.
    is_amount_confirmed
        Whether formula units or density say that the number of atoms is right.
    """

    contradictions: tuple[str, ...]
    is_amount_confirmed: bool


def stated_formula(block: Block) -> dict[str, float]:
    """Atoms of `_chemical_formula_sum` by symbol, {} if it is absent or cannot be read; deuterium counts as hydrogen.

    Examples
    --------
    >>> stated_formula(Block("x", {"_chemical_formula_sum": ["Cl H4 N"]}))
    {'Cl': 1.0, 'H': 4.0, 'N': 1.0}
    """
    try:
        text = re.sub(r"[\s,'_]", "", block.value(_FORMULA))
    except InputError:
        return {}
    counts: dict[str, float] = {}
    if not text or "".join(symbol + amount for symbol, amount in _PART.findall(text)) != text:
        return {}
    for symbol, amount in _PART.findall(text):
        name = "H" if symbol in ("D", "T") else symbol
        if name not in atomic_numbers or name == "X" or amount == ".":
            return {}
        counts[name] = counts.get(name, 0.0) + (float(amount) if amount else 1.0)
    return {symbol: count for symbol, count in counts.items() if count > 0.0}


def weigh(block: Block, atoms: ase.Atoms, n_deuterium: int) -> Evidence:
    """Compare formula, formula units and density of a block with the atoms of its cell, all of them whole.

    Parameters
    ----------
    block
        Of the atoms.
    atoms
        All atoms of the cell.
    n_deuterium
        How many of the hydrogen atoms are deuterium.
    """
    counts = _counts(atoms)
    formula = stated_formula(block)
    units = math.gcd(*counts.values())
    contradictions = []
    if formula:
        ratio = sum(counts.values()) / sum(formula.values())
        if set(formula) != set(counts) or any(
            abs(counts[symbol] - ratio * share) > max(_RATIO_TOLERANCE * counts[symbol], 0.01 * ratio)
            for symbol, share in formula.items()
        ):
            contradictions.append(_other_formula(block, formula, counts))
    elif hydrogens := _attached_hydrogens(block):
        contradictions.append(
            f"declares {hydrogens:g} H at its sites ({_HYDROGENS}) that have no position; add them as sites"
        )
    stated = _number(block, _UNITS)
    confirmed, units_fault = False, ""
    if stated and stated > 0 and not contradictions:
        possible = {units / factor for factor in range(1, units + 1) if units % factor == 0}
        if formula:
            ratio = sum(counts.values()) / sum(formula.values())
            possible = {ratio, ratio * _common(formula)}
        confirmed = any(abs(stated - value) <= 0.02 * value for value in possible)
        if not confirmed:
            written = formula or {symbol: count / units for symbol, count in counts.items()}
            units_fault = (
                f"{block.written[_UNITS]} is {stated:g}, but the cell has {_hill(counts)}, "
                f"{max(possible):g} times {_hill(written)}; complete the operations, or correct the number"
            )
    density = _density(atoms, n_deuterium)
    for tag, (low, high) in ((_DENSITY, _DENSITY_RANGE), (_MEASURED, _MEASURED_RANGE)):
        given = _number(block, tag)
        if given is None or not 0.05 < given < 30.0 or contradictions:  # otherwise not in g/cm^3
            continue
        if low <= density / given <= high:
            confirmed = True
        elif not confirmed or tag == _DENSITY:
            contradictions.append(
                f"{block.written[tag]} is {given:g}, but cell and atoms ({_hill(counts)}) give {density:.3g} g/cm^3; "
                "complete the operations, or correct the cell"
            )
    if units_fault and not confirmed:
        contradictions.append(units_fault)
    return Evidence(tuple(contradictions), confirmed and not contradictions)


def _counts(atoms: ase.Atoms) -> dict[str, int]:
    return {symbol: atoms.numbers.tolist().count(atomic_numbers[symbol]) for symbol in sorted(set(atoms.symbols))}


def _other_formula(block: Block, formula: Mapping[str, float], counts: Mapping[str, int]) -> str:
    units = math.gcd(*counts.values())
    reduced = {symbol: count / units for symbol, count in counts.items()}
    sentence = (
        f"{block.written[_FORMULA]} ({shortened(block.value(_FORMULA))}) and the atoms ({_hill(reduced)}) disagree"
    )
    others = {symbol: count for symbol, count in formula.items() if symbol != "H"}
    if "H" in formula and formula["H"] > 0 and set(others) == set(counts) - {"H"} and others:
        ratio = sum(counts[symbol] for symbol in others) / sum(others.values())
        lacking = formula["H"] - counts.get("H", 0) / ratio
        if lacking > 0.01 and all(abs(counts[s] - ratio * n) <= 0.02 * counts[s] + 1e-6 for s, n in others.items()):
            return f"{sentence}: {lacking:g} H are declared but have no position; add them as sites"
    return f"{sentence}; complete the sites and operations, or correct the formula"


def _hill(counts: Mapping[str, float]) -> str:
    """A formula in Hill's order.

    Examples
    --------
    >>> _hill({"N": 1, "H": 4, "Cl": 1})
    'Cl H4 N'
    """
    first = [symbol for symbol in ("C", "H") if "C" in counts and symbol in counts]
    order = first + sorted(set(counts) - set(first))
    return " ".join(symbol + (f"{counts[symbol]:g}" if counts[symbol] != 1 else "") for symbol in order)


def _common(formula: Mapping[str, float]) -> float:
    whole = [round(count) for count in formula.values()]
    if any(abs(count - near) > 1e-3 or near < 1 for count, near in zip(formula.values(), whole, strict=True)):
        return 1.0
    return float(reduce(math.gcd, whole))


def _density(atoms: ase.Atoms, n_deuterium: int) -> float:
    mass = atomic_masses[atoms.numbers].sum() + n_deuterium * (_DEUTERIUM - atomic_masses[1])
    return float(mass * _amu * 1e3 / (atoms.cell.volume * 1e-24))


def _number(block: Block, tag: str) -> float | None:
    """The value of an item that does not decide anything where it cannot be read."""
    try:
        text = block.value(tag)
        return number(text, tag) if text else None
    except InputError:
        return None


def _attached_hydrogens(block: Block) -> float:
    total = 0.0
    for value in block.columns.get(_HYDROGENS, []):
        try:
            total += 0.0 if is_null(value) else number(value, _HYDROGENS)
        except InputError:
            continue
    return total

"""Inputs and outputs of Quantum ESPRESSO (pw.x): ASE parses the cards; lattices that have a number are made here."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.inputs import Input
from voigt.structures.readers.by_ase import EXPONENT, charged, crystal

_CARDS = re.compile(r"^[ \t]*(ATOMIC_POSITIONS|ATOMIC_SPECIES|CELL_PARAMETERS)\b", re.MULTILINE | re.IGNORECASE)
_SEPARATOR = re.compile(r"(?<=[^\s,])[ \t]+(?=[A-Za-z_]\w*(?:\(\d+\))?[ \t]*=)")
"""Blanks between two variables of a namelist, which Fortran takes for a comma and ASE for a part of the value."""

_ROW = re.compile(r"[A-Za-z]\w*[-_]?\w*(?:\s+[-+.\d(]\S*){3}")
_MOST_LETTERS = 100
"""Of an expression for a coordinate."""


def read_espresso_input(text: str) -> Iterator[Input]:
    """The structure of an input of pw.x with ibrav 0, or of one of the lattices without free angles."""

    def build() -> ase.Atoms:
        from ase.io.espresso import get_cell_parameters, label_to_symbol, read_fortran_namelist

        plain = _SEPARATOR.sub(", ", _CARDS.sub(lambda match: match[0].upper().strip(), text))
        data, cards = read_fortran_namelist(io.StringIO(EXPONENT.sub("e", plain)))
        cards = [card for line in cards if (card := re.split("[!#]", line)[0].strip())]
        system = {str(key).lower(): value for key, value in dict(data.get("system", {})).items()}
        missing = [name for name in ("ibrav", "nat") if not isinstance(system.get(name), int)]
        if missing:
            raise InputError(f"does not say {', '.join(missing)} in &SYSTEM; add it")
        alat = _lattice_parameter(system)
        if system["ibrav"] == 0:
            cell, in_card = get_cell_parameters(cards, alat=alat)
            alat = alat if in_card is None else in_card
        elif alat is None:
            raise InputError("has neither celldm(1) nor A in &SYSTEM; give the lattice parameter")
        else:
            cell = alat * _lattice(system["ibrav"], *_ratios(system, alat))
        if cell is None:
            raise InputError("has no CELL_PARAMETERS, which ibrav = 0 needs; add them")
        if any("crystal_sg" in line.lower() for line in cards):
            raise InputError("lists only the atoms that differ by symmetry (crystal_sg); write all atoms")
        unit, rows = _positions(cards)
        if len(rows) != system["nat"]:
            raise InputError(f"says nat = {system['nat']}, but {len(rows)} atoms follow; make them agree")
        places = np.array([[_value(word) for word in row[1:4]] for row in rows], dtype=float)
        if unit == "crystal":
            places = places @ cell
        elif unit != "angstrom":  # pw.x counts in the length of the first vector where no other is given
            places *= _bohr() if unit == "bohr" else np.linalg.norm(cell[0]) if alat is None else alat
        charge = float(system.get("tot_charge", 0.0))
        return charged(ase.Atoms([label_to_symbol(row[0]) for row in rows], places, cell=cell, pbc=True), charge)

    yield crystal(build, "Quantum ESPRESSO input")


def read_espresso_output(text: str) -> Iterator[Input]:
    """The last structure of the last run in an output of pw.x, whatever else is in it."""

    def build() -> ase.Atoms:
        from ase.io.espresso import get_atomic_positions, get_cell_parameters, label_to_symbol, parse_pwo_start

        lines = text[text.rfind("Program PWSCF") :].splitlines()
        if not any("positions (alat units)" in line for line in lines):
            raise InputError("holds no structure; give the output of a pw.x that has started, or its input")
        start = parse_pwo_start(lines)
        atoms: ase.Atoms = start["atoms"]
        changes = [number for number, line in enumerate(lines) if line.startswith("ATOMIC_POSITIONS")]
        if not changes:
            return atoms
        cells = [number for number, line in enumerate(lines[: changes[-1]]) if line.startswith("CELL_PARAMETERS")]
        cell = get_cell_parameters(lines[cells[-1] : cells[-1] + 4])[0] if cells else atoms.cell.array
        block = lines[changes[-1] : changes[-1] + len(atoms) + 1]
        rows = get_atomic_positions(block, n_atoms=len(atoms), cell=cell, alat=start["alat"])
        return ase.Atoms([label_to_symbol(row[0]) for row in rows], [row[1] for row in rows], cell=cell, pbc=True)

    yield crystal(build, "Quantum ESPRESSO output")


def _positions(cards: list[str]) -> tuple[str, list[list[str]]]:
    """The unit of ATOMIC_POSITIONS and the words of each atom.

    Raises
    ------
    InputError
        The card is missing, there twice, or in an unknown unit.
    """
    starts = [number for number, card in enumerate(cards) if card.startswith("ATOMIC_POSITIONS")]
    if len(starts) != 1:
        raise InputError("has ATOMIC_POSITIONS twice; remove one" if starts else "has no ATOMIC_POSITIONS; add them")
    unit = (cards[starts[0]].removeprefix("ATOMIC_POSITIONS").strip("{}() \t").lower()) or "alat"
    if unit not in ("alat", "bohr", "angstrom", "crystal"):
        raise InputError(f"gives ATOMIC_POSITIONS in '{unit[:60]}'; write alat, bohr, angstrom or crystal")
    return unit, [card.split() for card in takewhile(_ROW.match, cards[starts[0] + 1 :])]


def _value(text: str) -> float:
    """A coordinate, which pw.x lets be an expression such as 1/2*3^(-1/2).

    Raises
    ------
    InputError
        It is neither.
    """
    try:
        return float(text)
    except ValueError:
        pass
    try:
        value = _computed(ast.parse(text[: _MOST_LETTERS + 1].replace("^", "**"), mode="eval").body)
        if len(text) > _MOST_LETTERS:
            raise ValueError(text)
        return value
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError) as error:
        raise InputError(f"has '{text[:60]}' where a coordinate belongs; correct it") from error


def _computed(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() as sign, operand=operand):
            return -_computed(operand) if isinstance(sign, ast.USub) else _computed(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _computed(left) + _computed(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _computed(left) - _computed(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _computed(left) * _computed(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _computed(left) / _computed(right)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            value = _computed(left) ** _computed(right)
            if isinstance(value, float):  # not complex, as roots of negative numbers are
                return value
    raise ValueError("no number")


def _bohr() -> float:
    from ase.units import create_units

    return float(create_units("2006")["Bohr"])


def _lattice_parameter(system: Mapping[str, Any]) -> float | None:
    """Angstrom."""
    if "celldm(1)" in system:
        return float(system["celldm(1)"]) * _bohr()
    return float(system["a"]) if "a" in system else None


def _ratios(system: Mapping[str, Any], alat: float) -> tuple[float, float]:
    """b/a and c/a."""
    if "celldm(1)" in system:
        return float(system.get("celldm(2)", 0.0)), float(system.get("celldm(3)", 0.0))
    return float(system.get("b", 0.0)) / alat, float(system.get("c", 0.0)) / alat


def _lattice(ibrav: int, b: float, c: float) -> NDArray[np.float64]:
    """Lattice vectors in units of a, as pw.x defines them."""
    vectors: dict[int, list[list[float]]] = {
        1: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        2: [[-0.5, 0, 0.5], [0, 0.5, 0.5], [-0.5, 0.5, 0]],
        3: [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [-0.5, -0.5, 0.5]],
        -3: [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]],
        4: [[1, 0, 0], [-0.5, 0.75**0.5, 0], [0, 0, c]],
        6: [[1, 0, 0], [0, 1, 0], [0, 0, c]],
        7: [[0.5, -0.5, c / 2], [0.5, 0.5, c / 2], [-0.5, -0.5, c / 2]],
        8: [[1, 0, 0], [0, b, 0], [0, 0, c]],
    }
    if ibrav not in vectors:
        raise InputError(f"has ibrav = {ibrav}, which is not read; write ibrav = 0 and CELL_PARAMETERS")
    if np.linalg.det(vectors[ibrav]) == 0.0:
        raise InputError(f"does not give all lattice parameters of ibrav = {ibrav}; add celldm or B and C")
    return np.array(vectors[ibrav])

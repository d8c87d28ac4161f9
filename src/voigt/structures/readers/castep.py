"""Inputs of CASTEP (.cell), read without ASE's calculator, which would look for CASTEP on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import ase
import numpy as np

from voigt.errors import InputError
from voigt.structures.inputs import Input
from voigt.structures.readers.by_ase import charged, crystal, number, vectors

_BLOCK = re.compile(
    r"^[ \t]*%block[ \t]+(\w+)[^\n]*\n(.*?)^[ \t]*%endblock\b", re.MULTILINE | re.IGNORECASE | re.DOTALL
)
_CHARGE = re.compile(r"^[ \t]*charge[ \t]*[:= \t][ \t]*(\S+)", re.MULTILINE | re.IGNORECASE)
_UNITS = {"ang": 1.0, "m": 1e10, "cm": 1e8, "nm": 10.0, "pm": 1e-2}


def read_castep_cell(text: str) -> Iterator[Input]:
    """The structure of a .cell file."""

    def build() -> ase.Atoms:
        plain = re.sub("[#!;][^\n]*", "", text).replace(",", " ") + "\n"
        blocks = {match[1].lower(): _rows(match[2]) for match in _BLOCK.finditer(plain)}
        atoms = ase.Atoms(cell=_cell(blocks), pbc=True)
        if {"positions_frac", "positions_abs"} <= blocks.keys():
            raise InputError("has both blocks positions_frac and positions_abs; remove one")
        fractional = "positions_frac" in blocks
        unit, rows = _unit(blocks.get("positions_frac") or blocks.get("positions_abs") or [])
        if not rows:
            raise InputError("has no block positions_frac or positions_abs; complete it")
        if any(len(row) < 4 for row in rows):
            raise InputError("has an atom without three coordinates; complete the block of positions")
        mixed = next((row for row in rows if re.search(r"\bMIXTURE\b", " ".join(row), re.IGNORECASE)), None)
        if mixed is not None:
            raise InputError(f"has mixed atoms ({' '.join(mixed)}); choose an ordered structure")
        labels = [row[0].split(":")[0].capitalize() for row in rows]
        # CASTEP takes atomic numbers as well.
        symbols = [_symbol(int(label)) if label.isdecimal() else label for label in labels]
        places = vectors(row[1:4] for row in rows)
        atoms += ase.Atoms(symbols, places @ atoms.cell.array if fractional else places * unit)
        charge = _CHARGE.search(_BLOCK.sub("", plain))
        return charged(atoms, number(charge[1]) if charge else 0.0)

    yield crystal(build, "CASTEP .cell file")


def _symbol(atomic_number: int) -> str:
    from ase.data import chemical_symbols

    if not 0 < atomic_number < len(chemical_symbols):
        raise InputError(f"has an atom of the atomic number {atomic_number}; write the symbol of an element")
    return chemical_symbols[atomic_number]


def _rows(block: str) -> list[list[str]]:
    return [words for line in block.splitlines() if (words := line.split())]


def _unit(rows: list[list[str]]) -> tuple[float, list[list[str]]]:
    """Angstrom per unit that the first row of a block may name, and the other rows."""
    from ase.units import Bohr

    if not rows or len(rows[0]) != 1:
        return 1.0, rows
    unit = {**_UNITS, "bohr": float(Bohr), "a0": float(Bohr)}.get(rows[0][0].lower())
    if unit is None:
        raise InputError(f"has a block in '{rows[0][0]}'; write ang or bohr")
    return unit, rows[1:]


def _cell(blocks: Mapping[str, list[list[str]]]) -> np.ndarray:
    from ase.geometry import cellpar_to_cell

    unit, rows = _unit(blocks.get("lattice_cart", []))
    if len(rows) == 3:
        return vectors(row[:3] for row in rows) * unit
    unit, rows = _unit(blocks.get("lattice_abc", []))
    if len(rows) == 2:
        lengths, angles = vectors(row[:3] for row in rows)
        return np.asarray(cellpar_to_cell([*(lengths * unit), *angles]))
    raise InputError("has no complete block lattice_cart or lattice_abc; give one of them")

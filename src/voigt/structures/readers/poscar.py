"""POSCAR and CONTCAR files of VASP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import ase
import numpy as np
from ase.data import atomic_numbers

from voigt.errors import InputError
from voigt.structures.inputs import Input
from voigt.structures.readers.failures import attempt


class _NamedText(io.StringIO):
    """ASE looks for a POTCAR beside the POSCAR whose elements it lacks, and needs the name for that."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


def read_poscar(text: str, name: str) -> Iterator[Input]:
    """The one structure of a POSCAR or CONTCAR; `name` is its path, beside which a POTCAR may lie."""

    def build() -> ase.Atoms:
        lines = text.splitlines()
        if len(lines) < 8:
            raise InputError("is cut short: a POSCAR has at least 8 lines; complete it")
        symbols, counts = lines[5].split(), lines[6].split("!")[0].split()
        if not symbols or not counts:
            raise InputError("has no elements or numbers in lines 6 and 7; give both, as VASP 5 does")
        if not symbols[0].isdigit() and len(symbols) != len(counts):
            numbers = f"{len(symbols)} elements in line 6 but {len(counts)} numbers in line 7"
            raise InputError(f"names {numbers}; make them agree")
        if symbols[0].isdigit() and not Path(name).parent.is_dir():
            raise InputError("names no elements; write them in line 6, before the numbers of atoms")
        return _simple(lines, symbols, counts) or _by_ase(text, name)

    yield attempt(build, "POSCAR")


def _simple(lines: list[str], symbols: list[str], counts: list[str]) -> ase.Atoms | None:
    """What most files are: one scaling factor, elements, positions and nothing else; None: it is not that simple."""
    kind = lines[7].strip()[:1].lower()
    if not set(symbols) <= atomic_numbers.keys() or not all(map(str.isdecimal, counts)) or kind not in tuple("dck"):
        return None
    try:
        repeats = [int(count) for count in counts]
        rows, rest = lines[8 : 8 + sum(repeats)], lines[8 + sum(repeats) :]
        scale = float(lines[1])
        cell = np.array([line.split()[:3] for line in lines[2:5]], dtype=float)
        positions = np.array([line.split()[:3] for line in rows], dtype=float)
    except ValueError:
        return None
    # A negative factor is the volume of the cell; what follows the positions are velocities.
    if scale <= 0.0 or positions.shape != (sum(repeats), 3) or any(line.strip() for line in rest):
        return None
    numbers = np.repeat([atomic_numbers[symbol] for symbol in symbols], repeats)
    if kind == "d":
        return ase.Atoms(numbers=numbers, cell=cell * scale, pbc=True, scaled_positions=positions)
    return ase.Atoms(numbers=numbers, cell=cell * scale, pbc=True, positions=positions * scale)


def _by_ase(text: str, name: str) -> ase.Atoms:
    from ase.io.vasp import read_vasp  # half a second, most of it for scipy.integrate

    atoms: ase.Atoms = read_vasp(_NamedText(text, name))
    return atoms

"""Inputs and outputs of SIESTA: .fdf, .STRUCT_OUT and .XV."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.inputs import Input
from voigt.structures.readers.by_ase import charged, crystal, number, vectors

_SYNTHETIC = 200
"""Above this number a species of SIESTA is mixed from several elements."""


def read_struct_out(text: str) -> Iterator[Input]:
    """The structure of a .STRUCT_OUT file."""
    yield crystal(lambda: _table(text, frame=3, places=slice(2, 5)), "SIESTA .STRUCT_OUT file")


def read_xv(text: str) -> Iterator[Input]:
    """The structure of an .XV file, whose lengths are in Bohr."""
    yield crystal(lambda: _table(text, frame=6, places=slice(2, 5)), "SIESTA .XV file")


def _table(text: str, frame: int, places: slice) -> ase.Atoms:
    """Three lattice vectors, the number of atoms, and a line for each; `frame` numbers in the lines of the vectors."""
    from ase.units import Bohr

    rows = [words for line in text.splitlines() if (words := line.split())]
    if len(rows) < 5 or any(len(row) < frame for row in rows[:3]) or not rows[3][0].isdecimal():
        raise InputError("does not begin with three lattice vectors and the number of atoms; correct it")
    count = rows[3][0]
    if count.lstrip("0") != str(len(rows) - 4):
        raise InputError(
            f"promises {count[:20]} atoms, but {len(rows) - 4} follow; correct the number or complete the file"
        )
    cell = vectors(row[:3] for row in rows[:3])
    kept = [row for row in rows[4:] if len(row) < 5 or _is_atom(row[1])]
    numbers = [int(row[1]) for row in kept]
    coordinates = vectors(row[places] for row in kept)
    if frame == 6:
        return ase.Atoms(numbers, coordinates * Bohr, cell=cell * Bohr, pbc=True)
    return ase.Atoms(numbers, scaled_positions=coordinates, cell=cell, pbc=True)


def _is_atom(number: str) -> bool:
    """Whether a species has nuclei; a negative number is for orbitals alone, at the place of a ghost.

    Raises
    ------
    InputError
        It stands for several elements.
    """
    value = int(number)
    if value > _SYNTHETIC:
        raise InputError(f"has mixed atoms (the synthetic species {value}); choose an ordered structure")
    return value >= 0


def read_fdf(text: str) -> Iterator[Input]:
    """The structure of an .fdf file that includes no other file."""
    yield crystal(lambda: _atoms(text), "SIESTA .fdf file")


def _atoms(text: str) -> ase.Atoms:
    values, blocks = _parse(text)
    for name in ("zmatrix", "supercell"):
        if name in blocks:
            raise InputError(f"uses the block '{name}', which is not read; write all atoms, or give the .XV file")
    constant = _constant(values)
    if constant is None:
        raise InputError("does not say LatticeConstant; add it")
    cell = _cell(blocks, constant)
    rows = blocks.get("atomiccoordinatesandatomicspecies")
    if not rows:
        raise InputError("has no block AtomicCoordinatesAndAtomicSpecies; add it, or give the .XV file")
    count = values.get("numberofatoms", [str(len(rows))])[0]
    if count != str(len(rows)):
        raise InputError(f"promises {count[:20]} atoms, but {len(rows)} follow; make them agree")
    kinds = {row[0]: row[1] for row in blocks.get("chemicalspecieslabel", []) if len(row) > 1}
    unknown = sorted({row[3] for row in rows if len(row) > 3} - kinds.keys())
    if unknown or any(len(row) < 4 for row in rows):
        raise InputError("has atoms whose species is not in the block ChemicalSpeciesLabel; make them agree")
    rows = [row for row in rows if _is_atom(kinds[row[3]])]
    places = vectors(row[:3] for row in rows)
    numbers = [int(kinds[row[3]]) for row in rows]
    name = "".join(values.get("atomiccoordinatesformat", ["bohr"])).lower()
    kind = re.sub(r"notscaledcartesian", "", name) or "bohr"
    if "atomiccoordinatesorigin" in blocks and kind in ("fractional", "scaledbylatticevectors"):
        places = places + vectors([blocks["atomiccoordinatesorigin"][0][:3]])  # a shift of the whole crystal
    charge = number((values.get("netcharge") or ["0"])[0])
    if kind in ("fractional", "scaledbylatticevectors"):
        return charged(ase.Atoms(numbers, scaled_positions=places, cell=cell, pbc=True), charge)
    units = {"ang": 1.0, "bohr": _bohr(), "scaledcartesian": constant}
    if kind not in units:
        raise InputError(f"gives atoms as '{name}'; write Fractional, Ang or Bohr")
    return charged(ase.Atoms(numbers, places * units[kind], cell=cell, pbc=True), charge)


def _parse(text: str) -> tuple[dict[str, list[str]], dict[str, list[list[str]]]]:
    """Words after each keyword, rows of each block; the first mention counts, and letters' case and -_. do not."""
    values: dict[str, list[str]] = {}
    blocks: dict[str, list[list[str]]] = {}
    rows: list[list[str]] | None = None
    for raw in text.splitlines():
        words = re.split("[#!;]", raw)[0].replace(",", " ").replace("=", " ").split()
        if not words:
            continue
        key = words[0].lower()
        if key == "%endblock":
            rows = None
        elif rows is not None:
            rows.append(words)
        elif key == "%include" or "<" in words:
            raise InputError("includes another file; write what it holds into this one, or give the .XV file")
        elif key == "%block" and len(words) > 1:
            rows = []
            blocks.setdefault(_plain(words[1]), rows)
        else:
            values.setdefault(_plain(key), words[1:])
    return values, blocks


def _plain(key: str) -> str:
    return re.sub("[-_.]", "", key.lower())


def _bohr() -> float:
    from ase.units import Bohr

    return float(Bohr)


def _constant(values: Mapping[str, list[str]]) -> float | None:
    words = values.get("latticeconstant")
    if not words:
        return None
    unit = words[1].lower() if len(words) > 1 else "bohr"
    lengths = {"ang": 1.0, "bohr": _bohr(), "nm": 10.0, "pm": 0.01, "cm": 1e8, "m": 1e10}
    if unit not in lengths:
        raise InputError(f"gives LatticeConstant in '{unit}'; write Ang or Bohr")
    return number(words[0]) * lengths[unit]


def _cell(blocks: Mapping[str, list[list[str]]], constant: float) -> NDArray[np.float64]:
    from ase.geometry import cellpar_to_cell

    if "latticeparameters" in blocks:
        edges, angles = vectors([blocks["latticeparameters"][0][:3], blocks["latticeparameters"][0][3:6]])
        return np.asarray(cellpar_to_cell([*(edges * constant), *angles]))
    rows = blocks.get("latticevectors", [["1", "0", "0"], ["0", "1", "0"], ["0", "0", "1"]])
    return vectors(row[:3] for row in rows[:3]) * constant

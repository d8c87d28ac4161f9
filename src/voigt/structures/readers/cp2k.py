"""Inputs and restart files of CP2K: the sections CELL, COORD and KIND, which ASE reads without their units."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.inputs import Input
from voigt.structures.readers.by_ase import charged, crystal, number, vectors

_MOST_DEPTH = 50
_UNIT = re.compile(r"\[\s*([A-Za-z]+)\s*\]")
_YES = ("T", ".T.", "TRUE", ".TRUE.", "Y", "YES", "ON", "1")
_NO = ("F", ".F.", "FALSE", ".FALSE.", "N", "NO", "OFF", "0")


@dataclass
class _Section:
    """What stands between &NAME and &END."""

    title: str = ""
    words: list[list[str]] = field(default_factory=list)
    sections: dict[str, list[_Section]] = field(default_factory=dict)

    def first(self, *path: str) -> _Section:
        """The section at the end of a path; an empty one if it is not there."""
        if not path:
            return self
        inner = self.sections.get(path[0])
        return inner[0].first(*path[1:]) if inner else _Section()

    def line(self, *names: str) -> list[str]:
        """The words after a keyword, which may have several names; none if it is not there."""
        return next((words[1:] for words in self.words if words[0].upper() in names), [])

    def says(self, keyword: str) -> bool:
        """Whether a keyword is there and not switched off."""
        rows = [words[1:] for words in self.words if words[0].upper() == keyword]
        value = (rows[0] or ["T"])[0].upper() if rows else "F"
        if value not in _YES + _NO:
            raise InputError(f"has '{value[:60]}' after {keyword}; write T or F")
        return value in _YES


def read_cp2k(text: str) -> Iterator[Input]:
    """The structure of the first FORCE_EVAL."""

    def build() -> ase.Atoms:
        force = _parse(text).first("FORCE_EVAL")
        subsystem = force.first("SUBSYS")
        copies = {
            word for section in ("CELL", "TOPOLOGY") for word in subsystem.first(section).line("MULTIPLE_UNIT_CELL")
        }
        if not copies <= {"1"}:
            raise InputError("repeats its cell (MULTIPLE_UNIT_CELL); write out the cell that is meant")
        cell_section, coordinates = subsystem.first("CELL"), subsystem.first("COORD")
        rows = [words for words in coordinates.words if words[0].upper() not in ("SCALED", "UNIT")]
        if not rows:
            raise InputError("has no atoms in &COORD; write them there instead of naming a file with them")
        if any(len(row) < 4 for row in rows):
            raise InputError("has an atom without three coordinates in &COORD; complete it")
        kinds = subsystem.sections.get("KIND", [])
        ghosts = {kind.title.upper() for kind in kinds if kind.says("GHOST")}  # basis functions without a nucleus
        rows = [row for row in rows if row[0].upper() not in ghosts]
        named = {kind.title.upper(): kind.line("ELEMENT", "ELEMENT_SYMBOL") for kind in kinds}
        elements = {title: words[0] for title, words in named.items() if words}
        symbols = [elements.get(row[0].upper(), re.sub(r"[^A-Za-z].*", "", row[0])).capitalize() for row in rows]
        places = vectors(row[1:4] for row in rows)
        cell = _cell(cell_section)
        unit = " ".join(coordinates.line("UNIT")).strip("[] ")
        places = places @ cell if coordinates.says("SCALED") else places * _length(unit or "angstrom")
        periodic = (cell_section.line("PERIODIC") or ["XYZ"])[0].upper()
        charge = number((force.first("DFT").line("CHARGE") or ["0"])[0])
        return charged(ase.Atoms(symbols, places, cell=cell, pbc=[axis in periodic for axis in "XYZ"]), charge)

    yield crystal(build, "CP2K input")


def _parse(text: str) -> _Section:
    stack = [_Section()]
    for raw in text.splitlines():
        words = raw.split("!")[0].split("#")[0].split()
        if not words:
            continue
        name = words[0].upper()
        if name.startswith("@"):
            raise InputError(f"uses the preprocessor of CP2K ({words[0]}); give the restart file or write it out")
        if name.startswith("&END"):
            if len(stack) == 1:
                raise InputError("has an &END too many; correct it")
            stack.pop()
        elif name.startswith("&"):
            if len(stack) > _MOST_DEPTH:
                raise InputError("has sections nested too deeply; correct it")
            section = _Section(title=words[1] if len(words) > 1 else "")
            stack[-1].sections.setdefault(name[1:], []).append(section)
            stack.append(section)
        else:
            stack[-1].words.append(words)
    return stack[0]


def _cell(section: _Section) -> NDArray[np.float64]:
    from ase.geometry import cellpar_to_cell

    vectors = [section.line(axis) for axis in "ABC"]
    if all(vectors):
        return np.array([_lengths(words) for words in vectors])
    if section.line("ABC"):
        angles = section.line("ALPHA_BETA_GAMMA", "ANGLES") or ["90"] * 3
        if any("[" in word for word in angles):
            raise InputError("gives angles with a unit; write them in degrees")
        return np.asarray(cellpar_to_cell([*_lengths(section.line("ABC")), *map(number, angles[:3])]))
    raise InputError("has no vectors A, B, C and no ABC in &CELL; write them there")


def _lengths(words: list[str]) -> NDArray[np.float64]:
    text = " ".join(words)
    unit = _UNIT.search(text)
    words = _UNIT.sub("", text).split()[:3]
    if len(words) != 3:
        raise InputError("has a line with less than three numbers in &CELL; complete it")
    return np.asarray(vectors([words])[0] * _length(unit[1] if unit else "angstrom"))


def _length(unit: str) -> float:
    """Angstrom per unit."""
    from ase.units import Bohr

    units = {"angstrom": 1.0, "bohr": float(Bohr), "nm": 10.0, "pm": 0.01, "m": 1e10}
    if unit.lower() not in units:
        raise InputError(f"uses the unit '{unit}' for a length; write angstrom or bohr")
    return units[unit.lower()]

"""Inputs (geometry.in) and outputs of FHI-aims."""

from __future__ import annotations

import re
from collections.abc import Iterator

import ase
import numpy as np
from ase.data import atomic_numbers

from voigt.errors import InputError
from voigt.structures.checks import unknown_element
from voigt.structures.inputs import Input
from voigt.structures.readers.by_ase import charged, crystal, number

_LATER = re.compile(
    r"^[ \t]*(?:Updated atomic structure|Final atomic structure|Atomic structure \(and velocities\) as used in the"
    r" preceding|Atomic structure that was used in the preceding)[^\n]*$",
    re.MULTILINE,
)
_CHARGE = re.compile(r"^[ \t]*Charge[ \t]*=[ \t]*(\S+?):?[ \t]+Charged system requested", re.MULTILINE)
_END = re.compile(
    r"Next atomic structure|Writing the current geometry|Fractional coordinates:|^[ \t]*-{20,}\s*$", re.MULTILINE
)
_FIRST_CELL = re.compile(r"^[ \t]*\| Unit cell:[ \t]*$((?:\n[ \t]*\|.*){3})", re.MULTILINE)
_FIRST_ATOMS = re.compile(r"^[ \t]*\| Atomic structure:[ \t]*$\n.*((?:\n[ \t]*\|[ \t]*\d+: Species .*)+)", re.MULTILINE)


def read_aims(text: str) -> Iterator[Input]:
    """The structure of a geometry.in."""
    yield crystal(lambda: _geometry(text), "FHI-aims geometry")


def _geometry(text: str) -> ase.Atoms:
    from ase.io.aims import parse_geometry_lines

    # Lines that tie atoms to parameters hold expressions, and change nothing.
    lines = [line.split("#")[0] for line in text.splitlines() if not line.lstrip().startswith("symmetry_")]
    vectors = sum(line.split()[:1] == ["lattice_vector"] for line in lines)
    if vectors not in (0, 3):
        raise InputError(f"has {vectors} lattice vectors; give three of a crystal")
    for line in lines:
        words = line.split()
        if words[:1] in (["atom"], ["atom_frac"]) and len(words) > 4 and words[4] not in atomic_numbers:
            raise InputError(unknown_element(words[4]))
    atoms: ase.Atoms = parse_geometry_lines(lines, apply_constraints=False)
    return atoms


def read_aims_output(text: str) -> Iterator[Input]:
    """The last structure of an output, that is updated or the first one."""

    def build() -> ase.Atoms:
        charges = _CHARGE.findall(text)
        charge = number(charges[-1]) if charges else 0.0
        later = [match.end() for match in _LATER.finditer(text)]
        if later:
            rest = _END.split(text[later[-1] :], maxsplit=1)[0]
            kept = [line for line in rest.splitlines() if re.match(r"\s*(?:lattice_vector|atom|atom_frac)\s", line)]
            return charged(_geometry("\n".join(kept)), charge)
        cell, sites = _FIRST_CELL.search(text), _FIRST_ATOMS.search(text)
        if cell is None or sites is None:
            raise InputError("holds no structure with a unit cell; give geometry.in")
        rows = [line.split("Species", 1)[1].split() for line in sites[1].strip().splitlines()]
        unknown = next((row[0] for row in rows if row[0] not in atomic_numbers), None)
        if unknown is not None:
            raise InputError(unknown_element(unknown))
        vectors = np.array([line.split()[1:4] for line in cell[1].strip().splitlines()], dtype=float)
        places = np.array([row[1:4] for row in rows], dtype=float)
        return charged(ase.Atoms([row[0] for row in rows], places, cell=vectors, pbc=True), charge)

    yield crystal(build, "FHI-aims output")

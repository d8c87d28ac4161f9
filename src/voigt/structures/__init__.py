"""Structures: reading and checking them; their symmetry is in `voigt.structures.symmetry`."""

from __future__ import annotations

from voigt.structures.checks import problems
from voigt.structures.domain import metal_reason
from voigt.structures.inputs import Input, InputStructure
from voigt.structures.reading import Inputs, only_structure, read, read_one
from voigt.structures.rows import atoms_from_row, structure_from_row

__all__ = [
    "Input",
    "InputStructure",
    "Inputs",
    "atoms_from_row",
    "metal_reason",
    "only_structure",
    "problems",
    "read",
    "read_one",
    "structure_from_row",
]

"""Space groups: operations with atom permutations, orbits, and the standard lattice."""

from __future__ import annotations

from voigt.structures.symmetry.lattices import lattice_operations, standard_lattice
from voigt.structures.symmetry.space_group import Symmetry, crystal_system, find_symmetry

__all__ = ["Symmetry", "crystal_system", "find_symmetry", "lattice_operations", "standard_lattice"]

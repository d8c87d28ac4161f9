"""Where atoms of large cells are: a tree that tells which atom is at a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voigt.structures.symmetry.matching import squared_distances


def in_box(fractional: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractional coordinates inside the cell, times the lengths of its edges."""
    inside = fractional - np.floor(fractional)
    inside[inside >= 1] = 0
    return inside * lengths


@dataclass(frozen=True)
class Places:
    """A tree of atoms in a periodic box, with axes as if they were orthogonal: what is near zero is so in any axes.

    Attributes
    ----------
    cell
        (3, 3) rows are short vectors of the lattice, Angstrom.
    fractional, numbers
        (n_atoms, 3) positions and (n_atoms,) kinds.
    lengths
        (3,) of the edges, Angstrom.
    tree
        scipy's, of the atoms in the box.
    """

    cell: NDArray[np.float64]
    fractional: NDArray[np.float64]
    numbers: NDArray[np.int64]
    lengths: NDArray[np.float64]
    tree: Any

    @classmethod
    def of(cls, cell: NDArray[np.float64], fractional: NDArray[np.float64], numbers: NDArray[np.int64]) -> Places:
        from scipy.spatial import cKDTree

        lengths = np.sqrt(np.square(cell).sum(axis=1))
        return cls(cell, fractional, numbers, lengths, cKDTree(in_box(fractional, lengths), boxsize=lengths))

    def land(
        self, moved: NDArray[np.float64], kinds: NDArray[np.int64], limit: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which positions (n, 3) are within a limit of an atom of their kind, and the nearest atom of any."""
        target = self.tree.query(in_box(moved, self.lengths))[1]
        near = squared_distances(moved - self.fractional[target], self.cell) < limit**2
        return near & (self.numbers[target] == kinds), target

    def rare(self) -> NDArray[np.int64]:
        """Atoms of the kind that has fewest."""
        kinds, counts = np.unique(self.numbers, return_counts=True)
        return np.flatnonzero(self.numbers == kinds[counts.argmin()])

"""Fingerprints of crystals: for every atom the distances to its nearest neighbors, whatever the cell and its axes.

The mean over the atoms of an element is its average minimum distance, the rows themselves are the pointwise distance
distribution (Widdowson et al., MATCH 87, 529 (2022); Widdowson and Kurlin, NeurIPS 2022). Moving every atom by at most
x changes neither by more than 2 x, and neither depends on the choice of the cell. Distances are in units of the cube
root of the volume per atom, so that a strain of all lengths changes nothing: the same crystal by two functionals is
found.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.structures.pairs import periodic_pairs

NEIGHBORS = 24
"""Distances of every atom: two or three shells of most crystals."""
MOST_COPIES = 600
"""Atoms of one element, in cells of equal size, up to which they are paired one by one."""
_FIRST_REACH = 2.2
"""Radius, in units of the cube root of the volume per atom, of a sphere that holds 45 atoms on average."""
_GROWTH = 1.35
_MOST_ROUNDS = 12


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Distances of one crystal.

    Attributes
    ----------
    elements
        (n_elements,) atomic numbers, ascending.
    rows
        For each element (n_atoms_of_it, NEIGHBORS): distances to the nearest neighbors of any element, ascending, in
        units of `edge`.
    edge
        Cube root of the volume per atom, Angstrom.
    """

    elements: tuple[int, ...]
    rows: tuple[NDArray[np.float64], ...]
    edge: float

    @property
    def means(self) -> NDArray[np.float64]:
        """(n_elements, NEIGHBORS) mean over the atoms of each element."""
        return np.stack([rows.mean(axis=0) for rows in self.rows])

    @property
    def mean(self) -> NDArray[np.float64]:
        """(NEIGHBORS,) mean over all atoms, which knows no elements."""
        return np.asarray(np.concatenate(self.rows).mean(axis=0))


def fingerprint(atoms: ase.Atoms) -> Fingerprint:
    """Fingerprint of a crystal.

    Raises
    ------
    InputError
        The cell or a position is out of the bounds of `voigt.structures.cells`.

    Examples
    --------
    >>> salt = ase.Atoms("CsCl", scaled_positions=[[0, 0, 0], [0.5] * 3], cell=[4.0] * 3, pbc=True)
    >>> first = fingerprint(salt)
    >>> first.elements, round(float(first.edge * first.means[0, 0]), 4)
    ((17, 55), 3.4641)
    >>> structure_distance(first, fingerprint(salt.repeat((1, 1, 2)))) < 1e-9
    True
    """
    edge = (atoms.get_volume() / len(atoms)) ** (1 / 3)
    reach = _FIRST_REACH * edge
    for _ in range(_MOST_ROUNDS):
        pairs = periodic_pairs(atoms.positions, atoms.cell.array, reach)
        counts = np.bincount(pairs.first, minlength=len(atoms))
        if counts.min() >= NEIGHBORS:
            break
        reach *= _GROWTH
    order = np.lexsort((pairs.distance, pairs.first))
    start = np.cumsum(counts) - counts
    places = np.minimum(start[:, None] + np.arange(NEIGHBORS), len(order) - 1)
    distances = np.full((len(atoms), NEIGHBORS), reach)
    if len(order):  # else atoms in a vacuum without end
        near = np.arange(NEIGHBORS) < counts[:, None]
        distances = np.where(near, pairs.distance[order][places], reach)
    elements = np.unique(atoms.numbers)
    rows = tuple(distances[atoms.numbers == z] / edge for z in elements)
    return Fingerprint(tuple(elements.tolist()), rows, float(edge))


def structure_distance(first: Fingerprint, second: Fingerprint, most: float = np.inf) -> float:
    """How far two crystals of the same elements are apart, Angstrom; infinite where the elements or shares differ.

    Atoms of one element are paired so that the mean over pairs of the largest difference between their distances is
    least (earth mover's distance of the pointwise distance distributions); the largest over the elements counts, at the
    mean volume of both.

    Parameters
    ----------
    first, second
        Two crystals.
    most
        Stop as soon as the distance is known to be larger, and give infinity.

    Examples
    --------
    >>> positions = np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
    >>> moved = positions + [[0.0, 0.0, 0.01], [0.0, 0.0, 0.0]]
    >>> pair = [fingerprint(ase.Atoms("CsCl", places, cell=[4.0] * 3, pbc=True)) for places in (positions, moved)]
    >>> 0.005 < structure_distance(*pair) <= 0.02
    True
    """
    if first.elements != second.elements or not _alike(first, second):
        return np.inf
    scale = (first.edge + second.edge) / 2
    if scale * np.abs(first.means - second.means).max() > most:
        return np.inf
    pairs = [_repeated(a, b) for a, b in zip(first.rows, second.rows, strict=True)]
    # Each column by itself, both in ascending order, is a lower bound that needs no assignment.
    bound = max(float(np.abs(np.sort(a, axis=0) - np.sort(b, axis=0)).mean(axis=0).max()) for a, b in pairs)
    if scale * bound > most:
        return np.inf
    return scale * max(bound, *(_assigned(a, b) for a, b in pairs))


def _alike(first: Fingerprint, second: Fingerprint) -> bool:
    """Whether the elements have the same shares."""
    ours, theirs = ([len(rows) for rows in entry.rows] for entry in (first, second))
    return all(a * sum(theirs) == b * sum(ours) for a, b in zip(ours, theirs, strict=True))


def _repeated(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows of both as those of cells with the same number of atoms."""
    total = len(first) * len(second) // gcd(len(first), len(second))
    return first.repeat(total // len(first), axis=0), second.repeat(total // len(second), axis=0)


def _assigned(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if len(first) > MOST_COPIES:
        return 0.0  # the lower bound has to do
    costs = cdist(first, second, "chebyshev")
    return float(costs[linear_sum_assignment(costs)].mean())

"""Pairs of atoms of a periodic crystal within a distance."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.cells import cofactors, determinant, heights, is_skewed, require_sound, short_vectors

FAR = 1000.0
"""Cells from the origin beyond which atoms are brought back first: the neighbor list counts cells in 32 bits."""
BINS = 1e5
"""Bins up to which vesin cuts a cell into boxes as wide as the cutoff; larger cells get wider boxes."""
MAXIMUM_PAIRS = 2e7
"""Pairs to expect from the density, beyond which no list is made; it would take a gigabyte. Crystals have 50 to 150 for
each atom within 5 Angstrom."""


class Pairs(NamedTuple):
    """Directed pairs, both directions of each; `vector` goes from atom `first` to an image of atom `second`."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    vector: NDArray[np.float64]
    distance: NDArray[np.float64]


def periodic_pairs(positions: NDArray[np.float64], cell: NDArray[np.float64], cutoff: float) -> Pairs:
    """All pairs of atoms closer than a distance, every periodic image counted.

    The search is done in short vectors of the lattice where the cell is oblique, which gives the same pairs.

    Parameters
    ----------
    positions
        (n_atoms, 3), Angstrom, anywhere.
    cell
        (3, 3), rows are lattice vectors, Angstrom; right- or left-handed.
    cutoff
        Angstrom.

    Returns
    -------
    Pairs
        `first`, `second` (n_pairs,), `vector` (n_pairs, 3) and its length `distance` (n_pairs,), Angstrom. An atom
        and its own image are a pair, an atom and itself are none.

    Raises
    ------
    InputError
        The cell or a position is out of the bounds of `voigt.structures.cells`, or there are too many pairs.

    Examples
    --------
    >>> pairs = periodic_pairs(np.zeros((1, 3)), 3.35 * np.eye(3), 3.4)
    >>> len(pairs.first), pairs.distance.max().item()
    (6, 3.35)
    """
    require_sound(cell, positions)
    volume = abs(determinant(cofactors(cell), cell))
    expected = len(positions) ** 2 / volume * 4 / 3 * math.pi * cutoff**3
    if expected > MAXIMUM_PAIRS:
        raise InputError(
            f"the structure has about {expected:.2g} pairs of atoms within {cutoff:g} Angstrom, "
            f"more than {MAXIMUM_PAIRS:.0e}; give the lattice vectors in Angstrom, or a smaller cell of the crystal"
        )
    cell = np.ascontiguousarray(short_vectors(cell)[1] if is_skewed(cell) else cell, dtype=np.float64)
    points = np.ascontiguousarray(positions, dtype=np.float64)
    fractional = points @ np.linalg.inv(cell)
    if np.abs(fractional).max() > FAR:
        fractional = fractional - np.floor(fractional)
        points = fractional @ cell
    if not _fits_vesin(cell, cutoff):
        return _by_tree(fractional, cell, cutoff)
    first, second, vector, distance = _full_list(float(cutoff)).compute(
        points=points, box=cell, periodic=True, quantities="ijDd"
    )
    return Pairs(first.astype(np.int64), second.astype(np.int64), vector, distance)


@lru_cache(maxsize=8)
def _full_list(cutoff: float) -> Any:
    from vesin import NeighborList

    return NeighborList(cutoff=cutoff, full_list=True, n_threads=1)


def _fits_vesin(cell: NDArray[np.float64], cutoff: float) -> bool:
    """Whether vesin survives: of a large plate or needle its wider boxes leave none across, and it divides by that."""
    boxes = [max(height // cutoff, 1.0) for height in heights(cell)]
    total = math.prod(boxes)
    return total <= BINS / 2 or min(boxes) * (BINS / total) ** (1 / 3) > 2


def _by_tree(fractional: NDArray[np.float64], cell: NDArray[np.float64], cutoff: float) -> Pairs:
    """The same from a tree of the atoms and of images near the cell: for large cells that are thin in a direction."""
    from scipy.spatial import cKDTree

    inside = fractional - np.floor(fractional)
    margin = cutoff / np.array(heights(cell)) + 1e-9
    atom, places = np.arange(len(inside)), inside
    home = np.ones(len(inside), dtype=bool)
    for axis in range(3):
        reach = int(np.ceil(margin[axis]))
        steps = np.arange(-reach, reach + 1)
        shifted = places[None].repeat(len(steps), axis=0)
        shifted[:, :, axis] += steps[:, None]
        near = (shifted[:, :, axis] >= -margin[axis]) & (shifted[:, :, axis] <= 1 + margin[axis])
        home = ((steps == 0)[:, None] & home)[near]
        atom, places = np.broadcast_to(atom, near.shape)[near], shifted[near]
    points, images = inside @ cell, places @ cell
    found = cKDTree(points).sparse_distance_matrix(cKDTree(images), cutoff, output_type="ndarray")
    first, image = found["i"].astype(np.int64), found["j"].astype(np.int64)
    kept = (found["v"] < cutoff) & ~(home[image] & (atom[image] == first))
    first, image = first[kept], image[kept]
    return Pairs(first, atom[image], images[image] - points[first], found["v"][kept])

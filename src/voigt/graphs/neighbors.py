"""Neighbor lists of periodic crystals."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.structures.pairs import periodic_pairs

MINIMUM_DISTANCE = 0.1
"""Pairs closer than this (Angstrom) are an atom and itself, as in the Equivar evaluation script."""


@dataclass(frozen=True)
class Neighbors:
    """Directed pairs of one crystal; messages flow from `source` to `target`.

    Attributes
    ----------
    source, target
        (n_edges,) int64 atom indices, sorted by target.
    vector
        (n_edges, 3) r_source - r_target in Angstrom, with the periodic image applied.
    distance
        (n_edges,) its length.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    vector: NDArray[np.float64]
    distance: NDArray[np.float64]


def neighbor_list(atoms: ase.Atoms, cutoff: float, mic: bool = False) -> Neighbors:
    """All neighbors closer than `cutoff`, every periodic image counted.

    Parameters
    ----------
    atoms
        A crystal, periodic in three dimensions.
    cutoff
        Radius in Angstrom; a pair at exactly this distance is left out.
    mic
        Keep at most one edge per ordered pair of atoms, the nearest image, and no edge from an atom to its own
        image: what the released Equivar script does. It undercounts the coordination of small cells and breaks
        supercell invariance; only for comparison with the paper.

    Raises
    ------
    InputError
        The cell or a position is out of the bounds of `voigt.structures.cells`.

    Examples
    --------
    >>> from voigt.structures import read_one
    >>> pairs = neighbor_list(read_one("examples/MgO.vasp"), 2.2)
    >>> len(pairs.distance), f"{pairs.distance.max():.3f}"  # six neighbors of each ion
    (12, '2.107')
    """
    target, source, vector, distance = periodic_pairs(atoms.positions, atoms.cell.array, cutoff)
    order = np.lexsort((distance, source, target)) if mic else np.argsort(target, kind="stable")
    target, source, vector, distance = target[order], source[order], vector[order], distance[order]
    keep = distance > MINIMUM_DISTANCE
    if mic:
        pair = target * len(atoms) + source
        keep &= np.concatenate([[True], pair[1:] != pair[:-1]])[: len(pair)] & (target != source)
    return Neighbors(source[keep], target[keep], vector[keep], distance[keep])

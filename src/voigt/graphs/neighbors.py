"""Neighbor lists of periodic crystals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

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


@lru_cache(maxsize=8)
def _full_list(cutoff: float) -> Any:
    from vesin import NeighborList

    return NeighborList(cutoff=cutoff, full_list=True, n_threads=1)


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

    Examples
    --------
    >>> from voigt.structures import read_one
    >>> pairs = neighbor_list(read_one("examples/MgO.vasp"), 2.2)
    >>> len(pairs.distance), f"{pairs.distance.max():.3f}"  # six neighbors of each ion
    (12, '2.107')
    """
    i, j, vector, distance = _full_list(float(cutoff)).compute(
        points=np.ascontiguousarray(atoms.positions, dtype=np.float64),
        box=np.ascontiguousarray(atoms.cell.array, dtype=np.float64),
        periodic=True,
        quantities="ijDd",
    )
    target, source = i.astype(np.int64), j.astype(np.int64)
    order = np.lexsort((distance, source, target)) if mic else np.argsort(target, kind="stable")
    target, source, vector, distance = target[order], source[order], vector[order], distance[order]
    keep = distance > MINIMUM_DISTANCE
    if mic:
        pair = target * len(atoms) + source
        keep &= np.concatenate([[True], pair[1:] != pair[:-1]])[: len(pair)] & (target != source)
    return Neighbors(source[keep], target[keep], vector[keep], distance[keep])

"""Compositions as vectors, and clusters of them."""

from __future__ import annotations

from collections.abc import Sequence

import ase
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

MOST_STEPS = 60


def fractions_of(structures: Sequence[ase.Atoms]) -> NDArray[np.float64]:
    """(n_crystals, 119) share of every element in each crystal.

    Examples
    --------
    >>> fractions_of([ase.Atoms("MgO"), ase.Atoms("Mg2F4")])[:, [8, 9, 12]].round(2).tolist()
    [[0.5, 0.0, 0.5], [0.0, 0.67, 0.33]]
    """
    counts = np.zeros((len(structures), len(chemical_symbols)))
    for row, atoms in zip(counts, structures, strict=True):
        np.add.at(row, atoms.numbers, 1.0)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def cluster(vectors: NDArray[np.float64], clusters: int, seed: int) -> NDArray[np.int64]:
    """Number of the cluster of every vector: k-means (Lloyd 1982) from seeds drawn by k-means++ (Arthur 2007).

    The same vectors in another order may give other clusters; the same call gives the same. Equal vectors are always in
    one cluster.

    Parameters
    ----------
    vectors
        (n, d).
    clusters
        How many at most; fewer where there are fewer different vectors.
    seed
        Of the draw.

    Examples
    --------
    >>> labels = cluster(np.array([[0.0], [0.1], [5.0], [5.1]]), 2, seed=0)
    >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
    True
    """
    points, member, weight = np.unique(vectors, axis=0, return_inverse=True, return_counts=True)
    clusters = min(clusters, len(points))
    centers = _first_centers(points, weight, clusters, np.random.default_rng(seed))
    labels = np.full(len(points), -1)
    for _ in range(MOST_STEPS):
        nearest = _squared(points, centers).argmin(axis=1)
        if np.array_equal(nearest, labels):
            break
        labels = nearest
        sums = np.zeros_like(centers)
        np.add.at(sums, labels, points * weight[:, None])
        filled = np.bincount(labels, weight, minlength=clusters)
        centers = np.where(filled[:, None] > 0, sums / np.maximum(filled, 1)[:, None], centers)
    return np.asarray(labels[member.ravel()], dtype=np.int64)


def _first_centers(
    points: NDArray[np.float64], weight: NDArray[np.int64], clusters: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    chosen = [int(rng.choice(len(points), p=weight / weight.sum()))]
    nearest = _squared(points, points[chosen]).min(axis=1)
    while len(chosen) < clusters:
        share = nearest * weight
        chosen.append(int(rng.choice(len(points), p=share / share.sum())))
        nearest = np.minimum(nearest, _squared(points, points[chosen[-1:]])[:, 0])
        nearest[chosen[-1]] = 0.0
    return points[chosen]


def _squared(points: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_points, n_centers) squared distances."""
    products = points @ centers.T
    lengths = np.square(points).sum(axis=1)[:, None] + np.square(centers).sum(axis=1)
    return np.asarray(np.maximum(lengths - 2 * products, 0.0))

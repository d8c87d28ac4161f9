"""Pareto fronts: points that no other point surpasses in one objective without being worse in another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voigt.errors import InputError


def pareto_front(values: ArrayLike, maximize: Sequence[bool]) -> NDArray[np.bool_]:
    """Mark the points that no other point dominates.

    A point dominates another if it is at least as good in every objective and better in one. Equal points therefore
    do not dominate each other: all of them are on the front, or none. A point with a NaN in any objective is not
    comparable: it is never on the front and keeps no other from it. Infinities count as what they are.

    One and two objectives cost O(n log n), by sorting (Kung, Luccio and Preparata, J. ACM 22, 469 (1975)); more cost
    O(n log n + n f) for a front of f points.

    Parameters
    ----------
    values
        (n, k), one row for each point.
    maximize
        (k,) whether more is better, for each objective.

    Returns
    -------
    (n,) bool.

    Raises
    ------
    InputError
        Not a table of one column for each objective.

    Examples
    --------
    A large permittivity and a large gap; the last crystal is worse than the first in both.

    >>> pareto_front([[40, 3.2], [30, 3.7], [20, 3.0]], maximize=[True, True]).tolist()
    [True, True, False]
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(maximize) or not len(maximize):
        raise InputError(
            f"a Pareto front of {len(maximize)} objectives needs values of shape (points, {max(len(maximize), 1)}), "
            f"not {table.shape}; give one column for each objective"
        )
    front = np.zeros(len(table), dtype=bool)
    known = np.flatnonzero(~np.isnan(table).any(axis=1))
    if len(known):
        front[known] = _undominated(_places(table[known], maximize))
    return front


def _places(table: NDArray[np.float64], maximize: Sequence[bool]) -> NDArray[np.int64]:
    """Values as places among the distinct values of their column, more is better: free of infinities and signs."""
    columns = []
    for column, more in zip(table.T, maximize, strict=True):
        places = np.unique(column, return_inverse=True)[1]
        columns.append(places if more else -places)
    return np.stack(columns, axis=1).astype(np.int64)


def _undominated(places: NDArray[np.int64]) -> NDArray[np.bool_]:
    # From the best in the first objective to the worst, ties by the second and so on: whoever dominates comes first.
    order = np.lexsort(-places.T[::-1])
    ordered = places[order]
    if places.shape[1] == 1:
        kept = ordered[:, 0] == ordered[0, 0]
    elif places.shape[1] == 2:
        kept = _staircase(ordered)
    else:
        kept = _sieve(ordered)
    front = np.empty(len(places), dtype=bool)
    front[order] = kept
    return front


def _staircase(ordered: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Two objectives: the best second one of its step, and better than that of all steps before."""
    first, second = ordered.T
    starts = np.flatnonzero(np.diff(first, prepend=first[0] + 1))
    best = second[starts]  # sorted: a step begins with its best
    before = np.concatenate([[np.iinfo(np.int64).min], np.maximum.accumulate(best)[:-1]])
    step = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(first)))
    kept: NDArray[np.bool_] = (second == best[step]) & (second > before[step])
    return kept


def _sieve(ordered: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Any number of objectives: the first that is left is on the front, and strikes out what it dominates."""
    kept = np.zeros(len(ordered), dtype=bool)
    left = np.arange(len(ordered))
    while len(left):
        best = ordered[left[0]]
        rows = ordered[left]
        equal = (rows == best).all(axis=1)
        kept[left[equal]] = True
        left = left[(rows > best).any(axis=1)]
    return kept

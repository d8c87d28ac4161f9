"""Splits that do not leak: grouped by reduced formula, and by blocks of time for trajectories; and folds of others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voigt.errors import TargetError

Parts = dict[str, list[int]]


def stored_split(splits: Sequence[str]) -> Parts:
    """Indices of train, val and test as written in the files.

    Raises
    ------
    TargetError
        A frame has no split, or train or val is empty.
    """
    unknown = sorted({name for name in splits if name not in ("train", "val", "test")})
    if unknown:
        raise TargetError(
            f"info key 'split' must be train, val or test, found {', '.join(repr(n) for n in unknown)}; "
            "choose another split in the recipe"
        )
    parts = {name: [i for i, own in enumerate(splits) if own == name] for name in ("train", "val", "test")}
    return _checked(parts)


def formula_split(groups: Sequence[str], fractions: tuple[float, float, float], seed: int) -> Parts:
    """Split by a hash of the group's name: a formula lands on the same side in every file and on every machine."""
    edges = np.cumsum(fractions) / sum(fractions)
    parts: Parts = {"train": [], "val": [], "test": []}
    for index, group in enumerate(groups):
        place = hash_place(group, seed)
        parts[("train", "val", "test")[int(np.searchsorted(edges, place, side="right").clip(0, 2))]].append(index)
    return _checked(parts)


def fold_split(folds: Sequence[int | None], ids: Sequence[str], fold: int, val_fraction: float, seed: int) -> Parts:
    """Folds that somebody else drew: one is the test part, the others train but for a share kept for validation.

    Parameters
    ----------
    folds
        Fold of every crystal; None: the crystal belongs to no part.
    ids
        By whose hash the validation crystals are drawn, whatever the order.
    fold
        Which one is the test part.
    val_fraction
        Share of the other folds.
    seed
        Of the hash.

    Raises
    ------
    TargetError
        No crystal is in the fold, or train or val is empty.
    """
    known = sorted({own for own in folds if own is not None})
    if fold not in known:
        raise TargetError(f"no crystal is in fold {fold}, folds found: {', '.join(map(str, known)) or 'none'}")
    parts: Parts = {"train": [], "val": [], "test": []}
    for index, (own, name) in enumerate(zip(folds, ids, strict=True)):
        if own is not None:
            part = "test" if own == fold else "val" if hash_place(name, seed) < val_fraction else "train"
            parts[part].append(index)
    return _checked(parts)


def hash_place(name: str, seed: int) -> float:
    """A number from 0 to 1 that a name has on every machine and in every file."""
    return int(hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:8], 16) / 2**32


def block_split(count: int, fractions: tuple[float, float, float], gap: int = 0) -> Parts:
    """Consecutive blocks of a trajectory in time order; `gap` frames are dropped between blocks.

    Neighbours in time are nearly the same structure: a random split of a trajectory measures memory, not skill.
    """
    edges = np.rint(np.cumsum(fractions) / sum(fractions) * count).astype(int)
    return _checked(
        {
            "train": list(range(edges[0])),
            "val": list(range(edges[0] + gap, edges[1])),
            "test": list(range(edges[1] + gap, edges[2])),
        }
    )


def grouped_folds(groups: Sequence[str], folds: int, seed: int) -> NDArray[np.int64]:
    """Fold number of every frame; all frames of one group share it, folds are of nearly equal size.

    Raises
    ------
    TargetError
        Fewer than two folds, or fewer groups than folds.
    """
    _check_folds(folds)
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < folds:
        raise TargetError(f"{len(names)} distinct groups cannot make {folds} folds; use fewer folds or a block split")
    sizes = np.bincount(members)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    load = np.zeros(folds, dtype=np.int64)
    fold_of_group = np.empty(len(names), dtype=np.int64)
    for group in order:  # the largest group first, into the emptiest fold
        fold_of_group[group] = load.argmin()
        load[fold_of_group[group]] += sizes[group]
    return fold_of_group[members]


def block_folds(count: int, folds: int) -> NDArray[np.int64]:
    """Fold number of every frame of a trajectory: consecutive blocks of time.

    Raises
    ------
    TargetError
        Fewer than two folds, or fewer frames than folds.
    """
    _check_folds(folds)
    if count < folds:
        raise TargetError(f"{count} frames cannot make {folds} folds; use fewer folds")
    return np.arange(count) * folds // count


def _check_folds(folds: int) -> None:
    if folds < 2:
        raise TargetError(f"{folds} folds leave nothing to train on or nothing to test; use at least 2")


def _checked(parts: Parts) -> Parts:
    for name in ("train", "val"):
        if not parts[name]:
            raise TargetError(f"the split leaves no crystal for '{name}'; give more data or other fractions")
    return parts

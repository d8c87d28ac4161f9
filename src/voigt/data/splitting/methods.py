"""Ways to split labeled crystals into train, val and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from voigt.data.labeled import LabeledCrystal
from voigt.data.splits import Parts, block_split, formula_split, hash_place
from voigt.data.splitting.clusters import cluster, fractions_of
from voigt.data.splitting.prototypes import prototype
from voigt.errors import InputError, TargetError

Method = Literal["formula", "prototype", "composition", "time", "random"]
METHODS: tuple[str, ...] = get_args(Method)
PARTS = ("train", "val", "test")
SHORTEST = 10
"""Frames of a segment of a trajectory below which all of it is for training."""


@dataclass(frozen=True)
class SplitRequest:
    """How crystals are split.

    Attributes
    ----------
    by
        "formula": by a hash of the reduced formula, the same in every file; "prototype": crystals of one space group
        with the same kinds of sites stay together; "composition": clusters of similar shares of elements stay together;
        "time": blocks of every segment of a trajectory in the order of its frames; "random": each crystal by a hash of
        its id.
    fractions
        Shares of train, val and test.
    seed
        Of hashes and clusters.
    gap
        With "time": frames left out between blocks.
    clusters
        With "composition": number of clusters; None: one for 25 crystals, at least 10, at most 200.
    symprec
        With "prototype": tolerance of the space group, Angstrom.

    Raises
    ------
    InputError
        A value has no meaning; all of them are named.
    """

    by: Method
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    gap: int = 0
    clusters: int | None = None
    symprec: float = 1e-2

    def __post_init__(self) -> None:
        faults = []
        if self.by not in METHODS:
            faults.append(f"unknown way to split '{self.by}'; choose {', '.join(METHODS)}")
        shares = np.array(self.fractions, dtype=np.float64)
        if shares.shape != (3,) or not np.isfinite(shares).all() or shares.min() < 0 or shares[0] == 0:
            faults.append("fractions must be three numbers, shares of train, val and test, that of train above zero")
        if self.gap < 0 or (self.gap and self.by != "time"):
            faults.append("a gap is a number of frames and goes with 'time'")
        if self.clusters is not None and (self.clusters < 2 or self.by != "composition"):
            faults.append("a number of clusters is two at least and goes with 'composition'")
        if faults:
            raise InputError("; ".join(faults))


def split_labels(crystals: Sequence[LabeledCrystal], request: SplitRequest) -> list[str]:
    """Name of the part of every crystal; "" for frames in the gaps between blocks of time.

    Raises
    ------
    InputError
        With "prototype": a crystal has no space group (all are named).
    TargetError
        Train, or another part whose share is not zero, is left empty.

    Examples
    --------
    >>> from voigt.data import read_labeled
    >>> crystals = read_labeled("examples/three_crystals.xyz", ())
    >>> split_labels(crystals, SplitRequest("random", (1, 1, 1), seed=4))
    ['train', 'test', 'val']
    """
    if request.by == "formula":
        parts = formula_split([crystal.group for crystal in crystals], request.fractions, request.seed)
    elif request.by == "time":
        parts = time_blocks(crystals, request.fractions, request.gap)
    else:
        groups = _groups(crystals, request)
        parts = balanced_split(groups, request.fractions, request.seed)
    empty = [name for name, share in zip(PARTS, request.fractions, strict=True) if share > 0 and not parts[name]]
    if empty:
        raise TargetError(
            f"split by {request.by}, nothing of {len(crystals)} crystals is left for {' and '.join(empty)}; "
            "give more crystals, other fractions, another seed or another way to split"
        )
    labels = [""] * len(crystals)
    for name, members in parts.items():
        for index in members:
            labels[index] = name
    return labels


def _groups(crystals: Sequence[LabeledCrystal], request: SplitRequest) -> list[str]:
    """What stays together."""
    if request.by == "random":
        return [f"{crystal.id} {index}" for index, crystal in enumerate(crystals)]
    if request.by == "prototype":
        names, problems = [], []
        for crystal in crystals:
            try:
                names.append(prototype(crystal.atoms, None, request.symprec))
            except InputError as error:
                problems.append(f"{crystal.id}: {error}")
        if problems:
            raise InputError("prototypes cannot be told:\n  " + "\n  ".join(problems[:10]))
        return names
    count = request.clusters or int(np.clip(len(crystals) / 25, 10, 200))
    numbers = cluster(fractions_of([crystal.atoms for crystal in crystals]), count, request.seed)
    return [f"cluster {number}" for number in numbers.tolist()]


def balanced_split(groups: Sequence[str], fractions: tuple[float, float, float], seed: int) -> Parts:
    """Split whole groups so that the parts come near to their shares.

    Groups come in the order of a hash of their names; each goes into the part that is filled least among those that
    have room for it, or into train where none has. So a group may be of any size in any part, and no part is much
    larger than its share.

    Parameters
    ----------
    groups
        Group of every crystal.
    fractions
        Shares of train, val and test.
    seed
        Of the hash.

    Examples
    --------
    >>> balanced_split(["a", "a", "b", "c", "d"], (0.6, 0.2, 0.2), seed=0)
    {'train': [0, 1, 4], 'val': [3], 'test': [2]}
    """
    wanted = np.array(fractions) / sum(fractions) * len(groups)
    filled = np.zeros(3)
    part_of = {}
    sizes = Counter(groups)
    for name in sorted(sizes, key=lambda group: (hash_place(group, seed), group)):
        size = sizes[name]
        # Half of a crystal more than the share is rounding.
        fits = (filled + size <= wanted + 0.5) & (wanted > 0)
        place = int(np.where(fits, filled / np.maximum(wanted, 1e-9), np.inf).argmin()) if fits.any() else 0
        part_of[name] = PARTS[place]
        filled[place] += size
    parts: Parts = {name: [] for name in PARTS}
    for index, group in enumerate(groups):
        parts[part_of[group]].append(index)
    return parts


def time_blocks(crystals: Sequence[LabeledCrystal], fractions: tuple[float, float, float], gap: int) -> Parts:
    """Blocks of time in each trajectory of a file.

    Frames with one value of the info key `segment` are one trajectory, in the order of their info key `frame` if all
    have it, else of the file. A segment of less than `SHORTEST` frames is for training.

    Parameters
    ----------
    crystals
        Frames.
    fractions
        Shares of train, val and test in every segment.
    gap
        Frames left out between blocks.
    """
    segments: dict[str, list[int]] = {}
    for index, crystal in enumerate(crystals):
        segments.setdefault(str(crystal.atoms.info.get("segment", "")), []).append(index)
    parts: Parts = {name: [] for name in PARTS}
    for members in segments.values():
        if len(members) < SHORTEST:
            parts["train"] += members
            continue
        times = [crystals[index].atoms.info.get("frame") for index in members]
        stated = all(isinstance(time, int | float | np.integer | np.floating) for time in times)
        order = np.argsort(np.array(times, dtype=np.float64), kind="stable") if stated else range(len(members))
        for name, places in block_split(len(members), fractions, gap).items():
            parts[name] += [members[order[place]] for place in places]
    return {name: sorted(members) for name, members in parts.items()}

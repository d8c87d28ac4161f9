"""Splits that do not leak: grouped by reduced formula, and by blocks of time for trajectories; and folds of others.

Training and evaluation both split by `split_crystals`, so that a test part never holds crystals of the training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from voigt.data.labeled import Crystals
from voigt.errors import TargetError

Parts = dict[str, list[int]]  # name of a part -> indices of its crystals


Count = Annotated[int, Field(le=2**62)]
"""A whole number of settings: those of YAML have no bounds, those of arrays and counters have."""


class SplitSettings(BaseModel):
    """How training, validation and test crystals are told apart."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["stored", "formula", "blocks", "folds"] = Field(
        "stored",
        description="'stored': info key split; 'formula': by a hash of the reduced formula; 'blocks': consecutive "
        "blocks of each file, for trajectories; 'folds': fold numbers in the file, as benchmarks give them.",
    )
    fractions: tuple[float, float, float] = Field((0.8, 0.1, 0.1), description="Shares of train, val and test.")
    seed: Count = Field(0, ge=0, description="Seed of the hashes and of cross-validation folds.")
    gap: Count = Field(0, ge=0, description="Frames dropped between blocks.")
    max_train: Count | None = Field(
        None,
        ge=1,
        description="Use only the first so many training crystals (curves); with folds at random, smaller choices "
        "inside larger ones.",
    )
    max_train_atoms: Count | None = Field(
        None,
        ge=1,
        description="Leave larger cells out of the training crystals (not out of val and test): a tenth of the "
        "crystals may hold half of the edges.",
    )
    column: str | None = Field(None, description="Info key with the fold number; crystals without it are not used.")
    fold: Count = Field(0, ge=0, description="The fold that is the test part.")
    val_fraction: float = Field(0.05, gt=0, lt=1, description="Share of the other folds kept for validation.")
    hidden: dict[str, str] = Field(
        {},
        description="Property -> info key with its own fold number, where several benchmarks draw folds of their own: "
        "in training, its labels are hidden in the fold that is tested. Crystals without `column` are placed by these.",
    )

    @field_validator("fractions")
    @classmethod
    def _shares(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(fractions) < 0 or min(fractions[:2]) == 0:
            raise ValueError("shares of train and val must be positive, that of test not negative")
        return fractions

    @model_validator(mode="after")
    def _column_fits(self) -> SplitSettings:
        if self.kind == "folds" and self.column is None:
            raise ValueError("kind 'folds' needs column, the info key with the fold number")
        return self


def recorded_split(recipe: Mapping[str, Any]) -> SplitSettings:
    """Split that the recipe in a model file names. Keys that its version did not have take their defaults.

    Raises TargetError: a kind of split or a key that this version does not know.

    Examples
    --------
    >>> recorded_split({"split": {"kind": "folds", "column": "gap_fold"}}).fold
    0
    """
    try:
        return SplitSettings.model_validate(recipe.get("split") or {})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise TargetError(
            f"the split of this model's training cannot be made again ({problems}); update voigt, or evaluate on a "
            "file that the model was not trained on"
        ) from error


def split_crystals(crystals: Crystals, settings: SplitSettings) -> Parts:
    """Train, val and test part of the crystals of one file; a part may be empty, see `check_filled`.

    Raises
    ------
    TargetError
        The kind of split is unknown, or the crystals lack what it needs.
    """
    if settings.kind == "stored":
        return stored_split(crystals.splits())
    if settings.kind == "formula":
        return formula_split(crystals.groups(), settings.fractions, settings.seed)
    if settings.kind == "blocks":
        return block_split(len(crystals), settings.fractions, settings.gap)
    if settings.kind == "folds":
        folds = _fold_numbers(crystals, settings.column or "")
        for column in settings.hidden.values():
            others = _fold_numbers(crystals, column)
            folds = [other if number is None else number for number, other in zip(folds, others, strict=True)]
        return fold_split(folds, crystals.ids(), settings.fold, settings.val_fraction, settings.seed)
    raise TargetError(f"unknown kind of split '{settings.kind}'; choose stored, formula, blocks or folds")


def hide_labels(crystals: Crystals, parts: Parts, settings: SplitSettings) -> Crystals:
    """The same crystals without the labels that `hidden` keeps from training and validation.

    Raises TargetError: a crystal has a fold number that is none.

    `parts`: of `split_crystals`; the labels of its test part stay.
    """
    if settings.kind != "folds":
        return crystals
    seen = np.zeros(len(crystals), dtype=bool)
    seen[[*parts["train"], *parts["val"]]] = True
    for name, column in settings.hidden.items():
        tested = np.array([number == settings.fold for number in _fold_numbers(crystals, column)])
        crystals = crystals.without(name, seen & tested)
    return crystals


def check_filled(parts: Parts) -> Parts:
    """The same parts.

    Raises TargetError: train or val is empty.
    """
    for name in ("train", "val"):
        if not parts[name]:
            raise TargetError(f"the split leaves no crystal for '{name}'; give more data or other fractions")
    return parts


def _fold_numbers(crystals: Crystals, column: str) -> list[int | None]:
    values = crystals.column(column)
    for value in values:
        whole = isinstance(value, int | float | np.integer | np.floating) and value == np.floor(value)
        if value is not None and not whole:
            raise TargetError(f"info key '{column}' must be a fold number, found {value!r}; correct split.column")
    if all(value is None for value in values):
        raise TargetError(f"no crystal has the info key '{column}'; correct split.column in the recipe")
    return [None if value is None else int(value) for value in values]


def stored_split(splits: Sequence[str]) -> Parts:
    """Indices of train, val and test as written in the files.

    Raises TargetError: a crystal has no split or another one.

    Examples
    --------
    >>> stored_split(["train", "test", "val", "train"])
    {'train': [0, 3], 'val': [2], 'test': [1]}
    """
    unknown = sorted({name for name in splits if name not in ("train", "val", "test")})
    if unknown:
        raise TargetError(
            f"info key 'split' must be train, val or test, found {', '.join(repr(n) for n in unknown)}; "
            "choose another split in the recipe"
        )
    return {part: [i for i, name in enumerate(splits) if name == part] for part in ("train", "val", "test")}


def formula_split(groups: Sequence[str], fractions: tuple[float, float, float], seed: int) -> Parts:
    """Split by a hash of the group's name: a formula lands on the same side in every file and on every machine.

    `groups`: reduced formula of every crystal. `fractions`: shares of train, val and test. `seed`: of the hash.

    Examples
    --------
    >>> formula_split(["MgO", "SiO2", "MgO", "GaN"], (0.6, 0.2, 0.2), seed=0)
    {'train': [3], 'val': [], 'test': [0, 1, 2]}
    """
    # The hash of a name is uniform between 0 and 1: its place among the cumulated shares is the part.
    edges = np.cumsum(fractions) / sum(fractions)
    parts: Parts = {"train": [], "val": [], "test": []}
    for index, group in enumerate(groups):
        place = hash_place(group, seed)
        parts[("train", "val", "test")[int(np.searchsorted(edges, place, side="right").clip(0, 2))]].append(index)
    return parts


def fold_split(folds: Sequence[int | None], ids: Sequence[str], fold: int, val_fraction: float, seed: int) -> Parts:
    """Folds that somebody else drew: one is the test part, the others train but for a share kept for validation.

    Raises TargetError: no crystal is in the fold.

    `folds`: fold of every crystal; None: the crystal belongs to no part. `ids`: by whose hash the validation crystals
    are drawn, whatever the order. `fold`: which one is the test part. `val_fraction`: share of the other folds. `seed`:
    of the hash.

    Examples
    --------
    >>> fold_split([0, 1, 2, None], ["a", "b", "c", "d"], fold=1, val_fraction=0.1, seed=0)
    {'train': [0, 2], 'val': [], 'test': [1]}
    """
    known = sorted({number for number in folds if number is not None})
    if fold not in known:
        raise TargetError(f"no crystal is in fold {fold}, folds found: {', '.join(map(str, known)) or 'none'}")
    parts: Parts = {"train": [], "val": [], "test": []}
    for index, (number, name) in enumerate(zip(folds, ids, strict=True)):
        if number is not None:
            part = "test" if number == fold else "val" if hash_place(name, seed) < val_fraction else "train"
            parts[part].append(index)
    return parts


def hash_place(name: str, seed: int) -> float:
    """A number from 0 to 1 that a name has on every machine and in every file.

    Examples
    --------
    >>> round(hash_place("MgO", seed=0), 4)
    0.952
    """
    return int(hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:8], 16) / 2**32


def block_split(count: int, fractions: tuple[float, float, float], gap: int = 0) -> Parts:
    """Consecutive blocks of a trajectory in time order; `gap` frames are dropped between blocks.

    Neighbors in time are nearly the same structure: a random split of a trajectory measures memory, not skill.

    Examples
    --------
    >>> block_split(10, (0.6, 0.2, 0.2), gap=1)
    {'train': [0, 1, 2, 3, 4, 5], 'val': [7], 'test': [9]}
    """
    edges = np.rint(np.cumsum(fractions) / sum(fractions) * count).astype(int)
    return {
        "train": list(range(edges[0])),
        "val": list(range(edges[0] + gap, edges[1])),
        "test": list(range(edges[1] + gap, edges[2])),
    }


def grouped_folds(groups: Sequence[str], folds: int, seed: int) -> NDArray[np.int64]:
    """Fold number of every crystal; all crystals of one group share it, folds are of nearly equal size.

    Raises TargetError: fewer than two folds, or fewer groups than folds.

    Examples
    --------
    >>> grouped_folds(["MgO", "SiO2", "SiO2", "GaN"], folds=2, seed=0)
    array([1, 0, 0, 1])
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

    Raises TargetError: fewer than two folds, or fewer frames than folds.

    Examples
    --------
    >>> block_folds(5, 2)
    array([0, 0, 0, 1, 1])
    """
    _check_folds(folds)
    if count < folds:
        raise TargetError(f"{count} frames cannot make {folds} folds; use fewer folds")
    return np.arange(count) * folds // count


def _check_folds(folds: int) -> None:
    if folds < 2:
        raise TargetError(f"{folds} folds leave nothing to train on or nothing to test; use at least 2")

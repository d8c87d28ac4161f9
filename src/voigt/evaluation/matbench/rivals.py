"""Whom a model is compared with: stored out-of-fold predictions of other models, and trivial predictors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voigt.errors import TargetError
from voigt.evaluation.matbench.scores import Array, Candidate
from voigt.evaluation.matbench.tasks import Task, TaskRows, float_columns, read_columns

SAME = 1e-5  # labels and rivals' targets that differ by less are the same number, rounded to single precision

_NEEDED = ("mbid", "task", "fold", "target")


@dataclass(frozen=True)
class Rivals:
    """Stored predictions for the rows of a table."""

    path: Path  # where they come from
    candidates: tuple[Candidate, ...]  # models with any result, in the order of the file
    target: Array  # (M,) label as the rivals had it; NaN where they do not know the crystal in the same fold
    other_fold: int  # crystals that stand in another fold there

    def notes(self, rows: TaskRows, predicted: NDArray[np.bool_]) -> list[str]:
        """Sentences on what they cover and whether their targets are our labels."""
        known = np.isfinite(self.target)
        sentences = [f"rivals: stored out-of-fold predictions of {len(self.candidates)} models, {self.path.name}"]
        if without := int((predicted & ~known).sum()):
            sentences.append(f"{without:,} predicted crystals are unknown to the rivals and left out of the tables")
        if self.other_fold:
            sentences.append(f"{self.other_fold:,} crystals stand in another fold in {self.path.name} and are left out")
        gaps = np.abs(self.target - rows.label)[known]
        if gaps.max() <= SAME:
            same = f"the rivals' targets are the labels of the table (largest difference {gaps.max():.1g})"
            return [*sentences, same]
        sentence = (
            f"**the rivals' targets differ from the labels of the table** for {(gaps > SAME).sum():,} crystals, by up "
            f"to {gaps.max():.3g}; all models are scored against the labels"
        )
        return [*sentences, sentence]


def read_rivals(path: str | Path, task: Task, rows: TaskRows) -> Rivals:
    """Predictions for the rows from a Parquet table: mbid, task, fold, target and one column of numbers per model.

    Raises InputError: not a readable Parquet file; TargetError: a column is missing, or no row belongs to the crystals.
    """
    columns = read_columns(path, _NEEDED)
    names = [name for name in float_columns(path) if name not in _NEEDED]
    if not names:
        raise TargetError(f"{path} has no column of predictions; give one column of numbers per model")
    place = {str(name): index for index, name in enumerate(rows.mbid)}
    shared = [
        (index, place[mbid])
        for index, (mbid, name) in enumerate(zip(columns["mbid"], columns["task"], strict=True))
        if name == task.rival_task and mbid in place
    ]
    pairs = [(index, row) for index, row in shared if columns["fold"][index] == rows.fold[row]]
    if not pairs:
        raise TargetError(
            f"{path} has no row of task {task.rival_task} for the {len(place):,} crystals scored; give rivals of "
            f"{task.name} with the same folds"
        )
    source, row = np.array(pairs).T

    def placed(values: list[float | None]) -> Array:
        array = np.full(len(rows.row), np.nan)
        array[row] = np.array([np.nan if value is None else value for value in values], dtype=np.float64)[source]
        return array

    predictions = read_columns(path, names)
    candidates = [Candidate(name, "rival", placed(predictions[name])) for name in names]
    with_result = tuple(entry for entry in candidates if np.isfinite(entry.predicted).any())
    return Rivals(Path(path), with_result, placed(columns["target"]), len(shared) - len(pairs))


def trivial(everything: TaskRows, fold: NDArray[np.int64]) -> list[Candidate]:
    """Mean and median of the labels outside its fold, for each crystal; none if a fold is all there is.

    `everything`: all rows of the table. `fold`: (M,) fold of each crystal that is scored.
    """
    candidates = []
    for name, average in (("mean of training folds", np.mean), ("median of training folds", np.median)):
        predicted = np.full(len(fold), np.nan)
        for held_out in np.unique(fold):
            train = everything.label[everything.fold != held_out]
            predicted[fold == held_out] = average(train) if len(train) else np.nan
        if np.isfinite(predicted).all():
            candidates.append(Candidate(name, "trivial", predicted))
    return candidates

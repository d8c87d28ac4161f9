"""Models on the MatBench folds that they hold out, beside stored predictions of others on the same crystals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voigt.data.labeled import file_digest
from voigt.errors import DomainError, TargetError
from voigt.evaluation.matbench.rivals import read_rivals, trivial
from voigt.evaluation.matbench.scores import Array, Candidate, Row, score
from voigt.evaluation.matbench.tasks import FOLDS, TASKS, Task, TaskRows, first_by_hash, read_task, structures, task_of
from voigt.evaluation.run import left_out
from voigt.models.checkpoint import LoadedModel
from voigt.notes import Failure
from voigt.prediction.result import Settings
from voigt.prediction.stream import predict_structures
from voigt.writers.markdown import counted

FUNCTIONAL = "PBE"  # of the Materials Project, +U included


@dataclass(frozen=True)
class MatbenchEvaluation:
    """Figures of models on the folds that they hold out.

    Attributes
    ----------
    task
        The task.
    models
        Fold -> name of the model that holds it out.
    rows
        The crystals of these folds.
    predicted
        (M,) predictions, NaN where there is none.
    system
        (M,) crystal system, "" where there is no prediction.
    compared
        (M,) which crystals the table is about: predicted, and known to the rivals if there are any.
    table
        Figures, by MAE.
    limit
        At most so many crystals of each fold were taken; None: all.
    target_difference
        Largest difference between our labels and the rivals' targets; None without rivals.
    notes
        Sentences on models, data and crystals left out.
    """

    task: Task
    models: dict[int, str]
    rows: TaskRows
    predicted: Array
    system: NDArray[np.str_]
    compared: NDArray[np.bool_]
    table: tuple[Row, ...]
    limit: int | None
    target_difference: float | None
    notes: tuple[str, ...]


def evaluate_matbench(
    models: Sequence[LoadedModel],
    data: str | Path,
    rivals: str | Path | None = None,
    property_name: str | None = None,
    limit: int | None = None,
    baseline: bool = True,
    allow_unseen: bool = False,
    advance: Callable[[], None] | None = None,
) -> MatbenchEvaluation:
    """Score models, each on the official test fold that its recipe holds out.

    Parameters
    ----------
    models
        Models of different folds of one task; the first one's name stands for all.
    data
        Parquet table of crystals with the columns of `Task`.
    rivals
        Parquet table with columns mbid, task, fold, target and one column of predictions per rival.
    property_name
        The property to score, if the caller insists on one.
    limit
        Take only so many crystals of each fold, chosen by a hash of their identities.
    baseline
        Score mean and median of the training folds as well.
    allow_unseen, advance
        As in `evaluate_model`.

    Raises
    ------
    DomainError
        A model's training names no fold or might have seen the test crystals; two models for one fold.
    InputError, TargetError
        Unusable tables.
    """
    task, by_fold = _held_out(models, property_name)
    everything = read_task(data, task)
    parts, predictions, systems, failures = [], [], [], list[Failure]()
    for fold, model in sorted(by_fold.items()):
        part = everything.take(everything.fold == fold)
        if not len(part.row):
            raise TargetError(f"{data} has no crystal of fold {fold} of {task.name}, which '{model.name}' holds out")
        parts.append(part if limit is None else first_by_hash(part, limit))
        predicted, system = _predict(model, parts[-1], task, allow_unseen, failures, advance)
        predictions.append(predicted)
        systems.append(system)
    rows = _joined(parts)
    predicted, system = np.concatenate(predictions), np.concatenate(systems)
    compared = np.isfinite(predicted)
    if not compared.any():
        raise DomainError(f"none of the {len(compared)} crystals could be predicted, e.g. {failures[0].reason}")
    notes = [_describe(model, fold, data) for fold, model in sorted(by_fold.items())]
    notes += _fine_tuned(by_fold)
    candidates = [Candidate(models[0].name, "model", predicted)]
    difference = None
    if rivals is not None:
        others = read_rivals(rivals, task, rows)
        candidates += others.candidates
        known = np.isfinite(others.target)
        if not (compared & known).any():
            raise TargetError(f"no crystal has both a prediction and a row in {rivals}; give rivals of {task.name}")
        difference = float(np.abs(others.target - rows.label)[known].max())
        notes += others.notes(rows, compared)
        compared &= known
    candidates += trivial(everything, rows.fold) if baseline else []
    kept = [Candidate(entry.name, entry.kind, entry.predicted[compared]) for entry in candidates]
    table = score(kept, rows.label[compared], rows.fold[compared], system[compared], task.property == "band_gap")
    notes += [f"**{text}**" for text in left_out(failures)]
    names = {fold: model.name for fold, model in sorted(by_fold.items())}
    return MatbenchEvaluation(
        task, names, rows, predicted, system, compared, tuple(table), limit, difference, tuple(notes)
    )


def _held_out(models: Sequence[LoadedModel], property_name: str | None) -> tuple[Task, dict[int, LoadedModel]]:
    """The common task of the models, and which of them is for which fold."""
    by_fold: dict[int, LoadedModel] = {}
    tasks = [_task_and_fold(model, property_name) for model in models]
    task = tasks[0][0]
    for model, (other, fold) in zip(models, tasks, strict=True):
        if other is not task:
            raise DomainError(
                f"model '{models[0].name}' is for {task.name} and model '{model.name}' for {other.name}; "
                "score them apart"
            )
        if property_name is not None and property_name != task.property:
            raise DomainError(
                f"model '{model.name}' holds out a fold of {task.name}, whose property is {task.property}, not "
                f"{property_name}; its training could have seen the test crystals of any other task"
            )
        if task.property not in model.hypers.properties:
            known = ", ".join(model.hypers.properties)
            raise DomainError(f"model '{model.name}' does not predict {task.property}; it predicts {known}")
        if fold in by_fold:
            raise DomainError(
                f"models '{by_fold[fold].name}' and '{model.name}' both hold out fold {fold}; give one model for a fold"
            )
        by_fold[fold] = model
    return task, by_fold


def _task_and_fold(model: LoadedModel, property_name: str | None) -> tuple[Task, int]:
    settings = model.card.recipe.get("split") or {}
    kind = settings.get("kind", "stored")
    column = (settings.get("hidden") or {}).get(property_name, settings.get("column"))
    task, fold = task_of(column), settings.get("fold")
    if kind != "folds" or task is None:
        columns = " or ".join(entry.fold_column for entry in TASKS)
        by = f" by column {settings.get('column')}" if kind == "folds" else ""
        raise DomainError(
            f"model '{model.name}' was trained with split '{kind}'{by}, so it may have seen the test crystals of a "
            f"MatBench fold; train it with split kind 'folds' and column {columns}"
        )
    if not isinstance(fold, int) or fold not in range(FOLDS):
        raise DomainError(f"the recipe of model '{model.name}' names fold {fold}; MatBench has folds 0 to {FOLDS - 1}")
    return task, fold


def _predict(
    model: LoadedModel,
    rows: TaskRows,
    task: Task,
    allow_unseen: bool,
    failures: list[Failure],
    advance: Callable[[], None] | None,
) -> tuple[Array, NDArray[np.str_]]:
    """Predictions (M,), NaN with a failure where there is none, and crystal systems (M,)."""
    functional = FUNCTIONAL if FUNCTIONAL in model.hypers.functionals else None
    settings = Settings(properties=(task.property,), functional=functional, allow_unseen=allow_unseen)
    values, systems = np.full(len(rows.row), np.nan), [""] * len(rows.row)
    for index, result in enumerate(predict_structures(structures(rows), model, settings)):
        if isinstance(result, Failure):
            failures.append(result)
        else:
            values[index] = float(result.values[task.property])
            systems[index] = result.symmetry.crystal_system
        if advance is not None:
            advance()
    return values, np.array(systems)


def _joined(parts: Sequence[TaskRows]) -> TaskRows:
    columns = ("row", "mbid", "mp_id", "fold", "label")
    return TaskRows(parts[0].path, *(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def _describe(model: LoadedModel, fold: int, data: str | Path) -> str:
    trained = file_digest(data) in model.card.data.values()
    known = "the file that it was trained on" if trained else "not a training file"
    return f"fold {fold}: model {model.name}, {counted(model.ensemble_size, 'member')}; {Path(data).name} is {known}"


def _fine_tuned(by_fold: dict[int, LoadedModel]) -> list[str]:
    """A model inherits what the one that it started from has seen, and no file says what that was."""
    starts = {model.name: model.card.recipe.get("finetune") for model in by_fold.values()}
    return [
        f"**model {name} started from '{start}'**: the figures hold only if that never saw these labels"
        for name, start in starts.items()
        if start
    ]

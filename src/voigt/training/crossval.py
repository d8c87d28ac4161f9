"""Cross-validation: fresh weights for every fold, folds that do not share formulas or stretches of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voigt.data.splits import block_folds, grouped_folds
from voigt.training.datamodule import TrainingData, read_data
from voigt.training.recipe import Recipe
from voigt.training.run import TrainingResult, train


@dataclass(frozen=True)
class CrossValidation:
    """Results of all folds.

    Attributes
    ----------
    folds
        One training result per fold; its metrics are those on the held-out fold.
    mean, std
        Over folds, per metric.
    """

    folds: tuple[TrainingResult, ...]
    mean: dict[str, float]
    std: dict[str, float]


def fold_data(data: TrainingData, recipe: Recipe, folds: int) -> list[TrainingData]:
    """Data of each fold: the held-out crystals are its validation set, the others train.

    Crystals of the test split stay out of everything. Folds are grouped by reduced formula, or are blocks of time
    where the recipe's split is "blocks"; frames closer than its gap to the held-out block are then left out.

    Raises
    ------
    TargetError
        Fewer than two folds, or fewer groups or frames than folds.
    """
    used = np.array(sorted(data.parts["train"] + data.parts["val"]))
    blocks = recipe.split.kind == "blocks"
    if blocks:
        number = block_folds(len(used), folds)
    else:
        number = grouped_folds([data.crystals[i].group for i in used], folds, recipe.split.seed)
    result = []
    for k in range(folds):
        held = used[number == k]
        kept = used[number != k]
        if blocks and recipe.split.gap:
            kept = kept[np.abs(kept[:, None] - held).min(axis=1) > recipe.split.gap]
        parts = {"train": kept.tolist(), "val": held.tolist(), "test": data.parts["test"]}
        result.append(TrainingData(data.crystals, parts, data.digests))
    return result


def cross_validate(recipe: Recipe, folds: int, folder: str | Path, resume: bool = False) -> CrossValidation:
    """Train `folds` networks, each from its own seed (recipe.seed + its number), scored on the fold it has not seen.

    The weights of the epoch with the lowest loss on the held-out fold are scored, as in the paper; this is optimistic
    by the choice of the epoch. Finished folds are kept when resuming.

    Raises
    ------
    TargetError
        As `fold_data`.
    RecipeError, OutputError, TrainingStopped
        As `train`.
    """
    folder = Path(folder)
    results = []
    for k, data in enumerate(fold_data(read_data(recipe), recipe, folds)):
        place = folder / f"fold-{k}"
        started = (place / "checkpoints" / "last.ckpt").is_file()
        seeded = recipe.model_copy(update={"seed": recipe.seed + k})
        results.append(train(seeded, place, resume=resume and started, data=data))
    return CrossValidation(tuple(results), *_summary([result.metrics for result in results]))


def _summary(metrics: Sequence[dict[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    names = [name for name in metrics[0] if name != "epoch"]
    table = np.array([[row[name] for name in names] for row in metrics])
    return (
        dict(zip(names, table.mean(axis=0).tolist(), strict=True)),
        dict(zip(names, table.std(axis=0, ddof=1 if len(metrics) > 1 else 0).tolist(), strict=True)),
    )

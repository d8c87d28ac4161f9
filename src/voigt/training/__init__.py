"""Training: recipes, data, losses, the loop, ensembles, cross-validation. All but recipes needs the extra [train]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voigt.lazy import lazy_names
from voigt.training.recipe import Recipe, load_recipe, parse_recipe

if TYPE_CHECKING:
    from voigt.training.crossval import CrossValidation, cross_validate
    from voigt.training.datamodule import TrainingData, read_data
    from voigt.training.ensemble import join_models, train_ensemble
    from voigt.training.run import TrainingResult, TrainingStopped, train

__all__ = [
    "CrossValidation",
    "Recipe",
    "TrainingData",
    "TrainingResult",
    "TrainingStopped",
    "cross_validate",
    "join_models",
    "load_recipe",
    "parse_recipe",
    "read_data",
    "train",
    "train_ensemble",
]

# Lightning takes seconds to import and is an extra, which recipes do not need.
__getattr__ = lazy_names(
    __name__,
    {
        "CrossValidation": "crossval",
        "TrainingData": "datamodule",
        "TrainingResult": "run",
        "TrainingStopped": "run",
        "cross_validate": "crossval",
        "join_models": "ensemble",
        "read_data": "datamodule",
        "train": "run",
        "train_ensemble": "ensemble",
    },
)

"""What a model file says of its training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voigt.data.labeled import LabeledCrystal, Labels
from voigt.models.checkpoint import ModelCard
from voigt.training.datamodule import TrainingData
from voigt.training.recipe import Recipe


def model_card(recipe: Recipe, data: TrainingData, metrics: dict[str, float]) -> ModelCard:
    """What the model file says of its training."""
    counts = element_counts(recipe, data)
    return ModelCard(
        elements=tuple(sorted(counts)),
        functionals=recipe.model.functionals or data.functionals("train"),
        data=data.digests,
        metrics=metrics,
        recipe=recipe.model_dump(mode="json", exclude={"data_root", "graph_store"}),
        element_counts=counts,
    )


def element_counts(recipe: Recipe, data: TrainingData) -> dict[int, int]:
    """Atomic number -> training crystals that hold the element and have a label of something that the model predicts.

    Labels of auxiliary targets do not count, nor zeros where the recipe takes them for no labels. A crystal that
    several files hold counts once.
    """
    crystals = data.select("train")
    taught = np.zeros(len(crystals), dtype=bool)
    for name, target in recipe.targets.items():
        if not target.auxiliary:
            taught |= _present(crystals.labels(name), target.zeros)
    chosen = crystals.take(np.flatnonzero(taught).tolist())
    if sum(source.targets != () for source in recipe.data) > 1:
        chosen = chosen.take(list({_likeness(crystal): row for row, crystal in enumerate(chosen)}.values()))
    return chosen.element_counts()


def _likeness(crystal: LabeledCrystal) -> tuple[str, str | None, int, float]:
    """What the same crystal in two files has in common."""
    atoms = crystal.atoms
    return crystal.group, crystal.functional, len(atoms), round(atoms.get_volume() / len(atoms), 2)


def _present(labels: Labels, zeros: bool) -> NDArray[np.bool_]:
    """Which crystals have a label; `zeros`: whether one of zero counts."""
    if isinstance(labels, np.ndarray):
        present: NDArray[np.bool_] = np.isfinite(labels) & (zeros | (labels != 0))
        return present
    return np.array([v is not None and np.isfinite(v).all() and (zeros or np.any(v)) for v in labels], dtype=bool)

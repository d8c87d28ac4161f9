"""What a model file gets after training: 90 % intervals of its properties, and the range of its training crystals."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voigt.data.labeled import LabeledCrystal
from voigt.errors import RecipeError
from voigt.graphs import CrystalGraph, build_graph
from voigt.models.checkpoint import LoadedModel, ModelCard, load_model, write_intervals
from voigt.models.intervals import IntervalRule
from voigt.prediction.calibration import Pair, fit_intervals, predicted
from voigt.prediction.training_range import TrainingRange, measure_range, relative_spread, save_range
from voigt.tensors.properties import PROPERTIES
from voigt.training.datamodule import TrainingData, read_data
from voigt.training.recipe import parse_recipe

log = logging.getLogger("voigt.evaluation")

MOST_TRAINING, MOST_VALIDATION = 20_000, 1500
"""Crystals that are looked at, drawn at random from larger parts."""


@dataclass(frozen=True)
class Finished:
    """What a model file has got.

    Attributes
    ----------
    intervals
        Property -> rule, as in the file.
    range
        As in the file beside it.
    crystals
        How many training and validation crystals were looked at.
    """

    intervals: Mapping[str, IntervalRule]
    range: TrainingRange
    crystals: tuple[int, int]


def finish_model(path: str | Path, data: TrainingData) -> Finished:
    """Fit intervals, write them into a model file, and write its range beside it.

    Both need no tensor of the file, which stay as they are.

    Parameters
    ----------
    path
        The model file.
    data
        That it was trained on, with the split of its training; see `training_data`.

    Raises
    ------
    WeightsError, OutputError
        The file is no model, or a file cannot be written.
    """
    model = load_model(path)
    train = drawn(model, data, "train", MOST_TRAINING)
    validation = drawn(model, data, "val", MOST_VALIDATION)
    pairs = predicted(model, validation)
    known = measure_range(_graphs(model, train), list(_graphs(model, validation)), _spreads(pairs))
    rules = fit_intervals(model, pairs)
    write_intervals(path, rules)
    save_range(known, Path(path))
    log.info("90 %% intervals of %s", ", ".join(rules) or "no property")
    return Finished(rules, known, (len(train), len(validation)))


def training_data(card: ModelCard, root: str | Path) -> TrainingData:
    """The crystals that a model was trained on, with the split of its training.

    Parameters
    ----------
    card
        Of the model, which holds its recipe.
    root
        Folder of the data.

    Raises
    ------
    RecipeError
        The model states no recipe of this release, or files are missing.
    InputError, TargetError
        As `voigt.training.read_data`.
    """
    if not card.recipe:
        raise RecipeError("the model states no recipe, so that nobody knows its validation crystals")
    recipe = parse_recipe(dict(card.recipe), "recipe of the model")
    labeled = tuple(source for source in recipe.data if source.targets != ())  # others hold crystals for a teacher
    return read_data(recipe.model_copy(update={"data_root": str(root), "data": labeled}))


def drawn(model: LoadedModel, data: TrainingData, part: str, most: int) -> list[LabeledCrystal]:
    """Crystals of a part, at most so many, of elements that the model knows."""
    known, crystals = set(model.card.elements), data.select(part)
    chosen = np.random.default_rng(0).permutation(len(crystals))[:most]
    found = (crystals[i] for i in sorted(chosen.tolist()))
    return [crystal for crystal in found if {int(z) for z in crystal.atoms.numbers} <= known]


def _graphs(model: LoadedModel, crystals: Sequence[LabeledCrystal]) -> Iterator[CrystalGraph]:
    """Graphs with the model's cutoff, one orbit for each atom."""
    for crystal in crystals:
        yield build_graph(crystal.atoms, model.hypers.cutoff, model.hypers.neighbors == "mic")


def _spreads(pairs: Sequence[Pair]) -> dict[str, list[float]]:
    """Relative spread of every property per crystal; empty for one network."""
    found: dict[str, list[float]] = {}
    for _, prediction in pairs:
        for name, value in prediction.spread.items():
            if PROPERTIES[name].per == "crystal":
                found.setdefault(name, []).append(relative_spread(value, prediction.values[name]))
    return found

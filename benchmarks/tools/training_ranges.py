"""Ranges of the models: what bonds, densities and spreads are near to the training set, beside each model file.

    VOIGT_DATA=... python -m benchmarks.tools.training_ranges [NAME|FILE ...] [--train 4000] [--validation 500]

Writes NAME.range.json, see `voigt.prediction.training_range`. The parts are those of the model's recipe; crystals are
drawn from them at random.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from voigt.data import read_labeled
from voigt.errors import VoigtError
from voigt.evaluation.run import crystal_parts
from voigt.graphs import CrystalGraph, build_graph
from voigt.models.checkpoint import LoadedModel, available_models, load_model
from voigt.prediction import Prediction, Settings, predict_structures
from voigt.prediction.training_range import measure_range, relative_spread, save_range
from voigt.structures import InputStructure
from voigt.tensors.properties import PROPERTIES


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=sorted(available_models()))
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    parser.add_argument("--train", type=int, default=4000)
    parser.add_argument("--validation", type=int, default=500)
    options = parser.parse_args()
    for name in options.models:
        model = load_model(name)
        train, validation = crystals_of(model, Path(options.data), options.train, options.validation)
        known = measure_range(
            graphs(model, train), list(graphs(model, validation)), spreads(model, validation) if spread(model) else {}
        )
        path = save_range(known, Path(model.path or name))
        print(f"{path.name}: {len(train)} and {len(validation)} crystals, {len(known.elements)} elements, "
              f"distance {known.distance:.2f}, spread {dict(known.spread)}, {path.stat().st_size} bytes", flush=True)


def spread(model: LoadedModel) -> bool:
    """Whether a model is an ensemble."""
    return len(model.members) > 1


def crystals_of(
    model: LoadedModel, root: Path, most_train: int, most_other: int, part: str = "val"
) -> tuple[list[Any], list[Any]]:
    """Labeled crystals of training and of another part, at most so many of each file of the recipe."""
    train: list[Any] = []
    other: list[Any] = []
    known, draw = set(model.card.elements), random.Random(0)
    names = [name for name in model.hypers.properties if not PROPERTIES[name].sum_of] or list(model.hypers.properties)
    for source in model.card.recipe["data"]:
        path = root / source["path"]
        crystals = read_labeled(path, names, source.get("where"), source.get("functional"))
        parts = crystal_parts(path, crystals, model.card)
        for chosen, target, most in (("train", train, most_train), (part, other, most_other)):
            indices = list(parts.get(chosen, ()))
            picked = (crystals[i] for i in draw.sample(indices, min(most, len(indices))))
            target += [crystal for crystal in picked if {int(z) for z in crystal.atoms.numbers} <= known]
    return train, other


def graphs(model: LoadedModel, crystals: Sequence[Any]) -> Iterator[CrystalGraph]:
    """Graphs with the model's cutoff, one orbit for each atom."""
    for crystal in crystals:
        yield build_graph(crystal.atoms, model.hypers.cutoff, model.hypers.neighbors == "mic")


def spreads(model: LoadedModel, crystals: Sequence[Any]) -> dict[str, list[float]]:
    """Relative spread of every property per crystal, for each crystal's own functional."""
    found: dict[str, list[float]] = {}
    for functional in dict.fromkeys(crystal.functional for crystal in crystals):
        requested = functional if functional in model.hypers.functionals else None
        inputs = [
            InputStructure(crystal.source, k, crystal.id, crystal.atoms)
            for k, crystal in enumerate(crystals)
            if crystal.functional == functional
        ]
        for result in predict_structures(inputs, model, Settings(functional=requested, check_domain=False)):
            if not isinstance(result, Prediction):
                raise VoigtError(result.reason)
            for name, value in result.spread.items():
                if PROPERTIES[name].per == "crystal":
                    found.setdefault(name, []).append(relative_spread(value, result.values[name]))
    return found


if __name__ == "__main__":
    main()

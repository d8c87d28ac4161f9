"""Training crystals of each element, written into model files that do not state them.

    VOIGT_DATA=... python -m benchmarks.tools.count_elements NAME|FILE ...

The crystals are those of the recipe in the file; data that have changed since the training are refused. Networks stay
as they are. `voigt models NAME` draws the counts.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from voigt.errors import RecipeError
from voigt.evaluation.finishing import training_data
from voigt.models.checkpoint import LoadedModel, load_model, write_counts
from voigt.training.card import element_counts
from voigt.training.recipe import parse_recipe


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME|FILE")
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."), help="folder of the training data")
    options = parser.parse_args()
    for name in options.models:
        model = load_model(name)
        counts = counts_of(model, options.data)
        write_counts(Path(model.path or name), counts)
        print(f"{name}: {len(counts)} elements, {min(counts.values())} to {max(counts.values())} crystals", flush=True)


def counts_of(model: LoadedModel, root: str | Path) -> dict[int, int]:
    """Count the training crystals of a model again; RecipeError if the data are not those that it was trained on."""
    data = training_data(model.card, root)
    changed = [path for path, digest in data.digests.items() if model.card.data.get(path) != digest]
    if changed:
        raise RecipeError(f"{model.name} was trained on other data than {', '.join(changed)} in {root}; count in those")
    return element_counts(parse_recipe(dict(model.card.recipe), model.name), data)


if __name__ == "__main__":
    main()

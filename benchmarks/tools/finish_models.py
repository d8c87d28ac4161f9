"""What model files get after training: 90 % intervals in their metadata, and NAME.range.json beside them.

    VOIGT_DATA=... python -m benchmarks.tools.finish_models [NAME|FILE ...]

`voigt train` does the same by itself. The crystals are those of the recipe in the file; tensors stay as they are.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from voigt.evaluation.finishing import finish_model, training_data
from voigt.models.checkpoint import available_models, load_model


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="NAME|FILE", default=sorted(available_models()))
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."), help="folder of the training data")
    options = parser.parse_args()
    for name in options.models:
        model = load_model(name)
        path = Path(model.path or name)
        done = finish_model(path, training_data(model.card, options.data))
        train, validation = done.crystals
        fitted = ", ".join(f"{prop} ({rule.crystals})" for prop, rule in done.intervals.items()) or "none"
        print(f"{path.name}: {train} training and {validation} validation crystals; intervals {fitted}; "
              f"range of {len(done.range.elements)} elements, distance {done.range.distance:.2f}, "
              f"spread {dict(done.range.spread)}", flush=True)


if __name__ == "__main__":
    main()

"""How often the 90 % intervals of models hold on their test crystals, and how much they tell.

    VOIGT_DATA=... python -m benchmarks.accuracy.coverage [NAME|FILE ...] [--crystals 1500]

Prints a Markdown table. Coverage is the share of crystals whose error is within the half-width (of a property per atom,
of the symmetry-distinct atoms of each). Every reduced formula counts alike: crystals are split by formula, and the test
set holds fifty polytypes of some. Beside it stand the binomial standard error of so many formulas and the number of
crystals; "all, each crystal alike" counts the polytypes one by one. Groups are crystal systems, closed and open shells
as the info key `closed_shell` says, and crystals with an element that fewer than 20 training crystals hold. "Sharper"
is by what median and mean half-width are smaller than those of two simple intervals, one constant and one proportional
to the norm of the prediction, which are given the same coverage of the test crystals. The intervals have seen none of
these.
"""

from __future__ import annotations

import argparse
import math
import os
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voigt.evaluation.finishing import drawn, training_data
from voigt.models.checkpoint import LoadedModel, load_model
from voigt.models.intervals import COVERAGE
from voigt.prediction.calibration import TINY, Errors, Pair, errors_of, items, predicted
from voigt.tensors.properties import PROPERTIES
from voigt.training.datamodule import TrainingData
from voigt.writers.markdown import number, table

RARE = 20
SYSTEMS = ("cubic", "hexagonal", "trigonal", "tetragonal", "orthorhombic", "monoclinic", "triclinic")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="NAME|FILE",
                        default=["born", "elastic", "piezo", "scalars"])
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    parser.add_argument("--crystals", type=int, default=1500, help="test crystals at most, drawn with a fixed seed")
    options = parser.parse_args()
    columns: dict[str, dict[str, str]] = {}
    for name in options.models:
        model = load_model(name)
        data = training_data(model.card, options.data)
        columns |= columns_of(model, data, options.crystals)
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    print(table(["", *columns], [[row, *(column.get(row, "") for column in columns.values())] for row in rows]))


def columns_of(model: LoadedModel, data: TrainingData, most: int) -> dict[str, dict[str, str]]:
    """Title -> rows, for each property of a model that has an interval."""
    counts = Counter(int(z) for crystal in data.select("train") for z in set(crystal.atoms.numbers.tolist()))
    tested = predicted(model, drawn(model, data, "test", most))
    found = {}
    for name in model.intervals:
        errors = errors_of(name, tested, model.card)
        if errors is None:
            continue
        widths = np.concatenate([
            np.atleast_1d(prediction.interval[name])[items(name, prediction)]
            for _, prediction in (tested[place] for place in dict.fromkeys(errors.crystal.tolist()))
        ])
        unit = "" if PROPERTIES[name].unit == "1" else f", {PROPERTIES[name].unit}"
        column = {label: share(errors, widths, mask) for label, mask in groups(errors, tested, counts).items()}
        column["all, each crystal alike"] = each_crystal(errors, widths)
        found[f"`{model.name}` {name}{unit}"] = column | sharpness(errors, widths)
    return found


def groups(errors: Errors, tested: Sequence[Pair], counts: Counter[int]) -> dict[str, NDArray[np.bool_]]:
    """Rows of all test crystals and of each group."""
    pairs = [tested[place][0] for place in errors.crystal.tolist()]
    rare = np.array([min(counts[int(z)] for z in crystal.atoms.numbers) < RARE for crystal in pairs])
    shells = np.array([str(crystal.atoms.info.get("closed_shell", "")) for crystal in pairs])
    found = {"all": np.ones(len(pairs), dtype=bool)}
    found |= {system: errors.system == system for system in SYSTEMS}
    found |= {"closed shells": shells == "True", "open shells": shells == "False"}
    if len(set(errors.functional.tolist())) > 1:
        found |= {name: errors.functional == name for name in sorted(set(errors.functional.tolist()))}
    return found | {f"an element in fewer than {RARE} crystals": rare}


def share(errors: Errors, widths: NDArray[np.float64], mask: NDArray[np.bool_]) -> str:
    """Coverage of a group in percent, with its binomial error and the number of crystals."""
    if not mask.any():
        return "–"
    weight, crystals = errors.weight[mask], len(np.unique(errors.crystal[mask]))
    covered = float(np.average(errors.error[mask] <= widths[mask], weights=weight))
    return f"{100 * covered:.1f} ± {100 * math.sqrt(COVERAGE * (1 - COVERAGE) / weight.sum()):.1f} ({crystals:,})"


def each_crystal(errors: Errors, widths: NDArray[np.float64]) -> str:
    """Coverage of all crystals in percent, whatever their formula."""
    _, crystal, rows = np.unique(errors.crystal, return_inverse=True, return_counts=True)
    return f"{100 * float(np.average(errors.error <= widths, weights=1 / rows[crystal])):.1f}"


def sharpness(errors: Errors, widths: NDArray[np.float64]) -> dict[str, str]:
    """Half-widths, and how much smaller they are than those of two simple intervals of the same coverage."""
    covered = np.average(errors.error <= widths, weights=errors.weight)
    found = {"half-width: median": number(middle(widths, errors.weight)),
             "mean": number(float(np.average(widths, weights=errors.weight)))}
    for label, rival in (("constant", np.ones_like(widths)), ("relative", errors.size)):
        simple = rival * scaled_to(errors, rival, float(covered))
        means = [float(np.average(values, weights=errors.weight)) for values in (simple, widths)]
        middles = [middle(values, errors.weight) for values in (simple, widths)]
        found[f"sharper than a {label} interval: median, mean"] = (
            f"{middles[0] / middles[1]:.2f}, {means[0] / means[1]:.2f}"
        )
    return found


def scaled_to(errors: Errors, widths: NDArray[np.float64], coverage: float) -> float:
    """By what half-widths are multiplied so that they cover this share of the test crystals."""
    ratio = errors.error / widths.clip(TINY)
    order = np.argsort(ratio)
    place = np.searchsorted(np.cumsum(errors.weight[order]), coverage * errors.weight.sum() - TINY)
    return float(ratio[order[min(int(place), len(order) - 1)]])


def middle(values: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Weighted median."""
    order = np.argsort(values)
    return float(values[order[np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)]])


if __name__ == "__main__":
    main()

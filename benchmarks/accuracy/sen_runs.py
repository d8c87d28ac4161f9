"""SEN trained on parts of a MatBench fold: the learning curve, and what its ingredients bring.

    VOIGT_DATA=... python -m benchmarks.accuracy.sen_runs curve formation_energy -o runs/sen [--model FILE]
    VOIGT_DATA=... python -m benchmarks.accuracy.sen_runs variants formation_energy -o runs/sen [--rows base,...]
        [--graph-store DIR]

Every row starts from the recipe of the shipped scalars, with the one property as its target, takes so many crystals of
the training folds (smaller choices lie inside larger ones), chooses its weights on the validation crystals and is
scored once on the whole test fold.
`--model` adds the model trained on all of them to the curve. Finished rows are read back.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import sys
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voigt.files import atomic_write
from voigt.graphs import collate
from voigt.interpretation.measures import distances, participation_ratio, silhouette, standardized
from voigt.models.checkpoint import load_model
from voigt.models.sen.model import SEN
from voigt.structures.symmetry import crystal_system
from voigt.training.datamodule import BudgetBatches, open_graph_store, read_data, stored_graphs
from voigt.training.recipe import Recipe, load_recipe, parse_recipe
from voigt.training.run import train

PASSES = {1_000: 30, 3_000: 20, 10_000: 8, 30_000: 4}
"""Passes over so many training crystals on the curve."""
VARIANT_SIZE = 10_000
FOLDS = {"formation_energy": "e_form_fold", "band_gap": "gap_fold"}
RELEASED = {"likelihood": 0.0, "reconstruction": 0.0, "prior_sparsity": 0.0, "posterior_sparsity": 0.0}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "base": ("as in the recipe", {}),
    "distances": ("distances only (the paper's)", {"directions": "none"}),
    "attention": ("parts attend to atoms, without competition", {"routing": "attention"}),
    "released": ("no capsule losses (the released code)", RELEASED),
    "strong": (
        "capsule losses as the released flags have them",
        {"likelihood": 0.1, "prior_sparsity": 1.0, "posterior_sparsity": 10.0},
    ),
    "symmetry": ("crystal system and space group as tasks", {"crystal_system": 0.1, "space_group": 0.1}),
}


@dataclass(frozen=True)
class Row:
    """What one training gave.

    Attributes
    ----------
    name
        Size or variant.
    crystals, passes
        Of the training.
    seconds
        CPU wall time of the training, one thread.
    mae, baseline
        On the test fold, of the model and of the training mean.
    by_system
        Crystal system -> mean absolute error.
    participation
        Participation ratio of the crystals' vectors on the test fold.
    silhouette
        Of these vectors by crystal system, standardized, over 2,000 of them.
    system_accuracy
        Share of test crystals whose system the model tells; None without that head.
    """

    name: str
    crystals: int
    passes: int
    seconds: float
    mae: float
    baseline: float
    by_system: dict[str, float]
    participation: float
    silhouette: float
    system_accuracy: float | None


def recipe_of(prop: str, size: int | None, passes: int, model: dict[str, Any], arguments: argparse.Namespace) -> Recipe:
    """The recipe of the shipped scalars for one of them, with another number of crystals and passes."""
    source = load_recipe(str(files("voigt.training") / "recipes" / "scalars.yaml"))
    content = source.model_dump(mode="json")
    content["targets"] = {prop: content["targets"][prop]}
    content["split"] |= {"max_train": size, "column": FOLDS[prop], "hidden": {}}
    content["model"] |= model
    if size is not None:  # a short run cannot spend itself on warming up
        steps = size // content["batch_size"] * passes
        content["optimizer"]["warmup_steps"] = min(content["optimizer"]["warmup_steps"], steps // 10)
    content |= {"epochs": passes, "graph_store": arguments.graph_store, "seed": arguments.seed}
    return parse_recipe(content, prop)


def score(network: SEN, recipe: Recipe, prop: str) -> dict[str, Any]:
    """Errors on the test fold, straight from the graph store."""
    data = read_data(recipe)
    graphs = stored_graphs(open_graph_store(recipe, data), recipe, data, "test")
    labels, values, groups, vectors, systems = [], [], [], [], []
    network.eval()
    with torch.no_grad():
        for members in BudgetBatches(graphs, 20_000):
            batch = collate([graphs[i] for i in members])
            found = network.internals(batch)
            labels.append(batch.targets[prop])
            values.append(network.outputs(found)[prop])
            groups.append(batch.space_group)
            vectors.append(found.crystal)
            if found.system is not None:
                systems.append(found.system.argmax(dim=1))
    label, value, group = (torch.cat(part).double().numpy() for part in (labels, values, groups))
    error = np.abs(value - label)
    system = np.array([crystal_system(int(number)) if number else "unknown" for number in group])
    mean = float(np.mean(np.asarray(data.select("train").labels(prop), dtype=np.float64)))
    names = ["triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic"]
    vector = torch.cat(vectors).double().numpy()
    some = np.random.default_rng(0).permutation(len(vector))[:2000]
    classes = np.unique(system[some], return_inverse=True)[1]
    told = None
    if systems:
        told = float(np.mean([names[k] == own for k, own in zip(torch.cat(systems).tolist(), system, strict=True)]))
    return {
        "mae": float(error.mean()),
        "baseline": float(np.abs(label - mean).mean()),
        "by_system": {name: float(error[system == name].mean()) for name in names if (system == name).any()},
        "participation": participation_ratio(np.cov(vector.T)),
        "silhouette": silhouette(distances(standardized(vector[some])), classes),
        "system_accuracy": told,
    }


def run_row(
    prop: str, name: str, size: int, passes: int, model: dict[str, Any], arguments: argparse.Namespace
) -> Row:
    """Train and score one row, or read its finished result."""
    folder = Path(arguments.output) / f"{prop}-{name}-{size}-{passes}-{arguments.seed}"
    result = folder / "row.json"
    if result.is_file():
        return Row(**json.loads(result.read_text()))
    recipe = recipe_of(prop, size, passes, model, arguments)
    trained = train(recipe, folder, resume=(folder / "checkpoints" / "last.ckpt").is_file())
    network = trained.network
    if not isinstance(network, SEN):
        raise TypeError("the recipe trains another method")
    row = Row(name, size, passes, round(trained.seconds), **score(network, recipe, prop))
    with atomic_write(result) as stream:
        json.dump(asdict(row), stream, indent=1)
    return row


def power_law(sizes: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[float, float]:
    """a and b of error = a * size**b, by least squares of the logarithms."""
    slope, intercept = np.polyfit(np.log(sizes), np.log(errors), 1)
    return float(np.exp(intercept)), float(slope)


def curve(arguments: argparse.Namespace) -> str:
    """Table of the learning curve with its extrapolation."""
    prop = arguments.property
    rows = [run_row(prop, "base", size, passes, {}, arguments) for size, passes in PASSES.items()]
    if arguments.model is not None:
        rows.append(_whole(prop, arguments))
    unit = "eV" if prop == "band_gap" else "eV/atom"
    lines = [f"| training crystals | passes | minutes | test MAE ({unit}) |", "|---|---|---|---|"]
    lines += [f"| {row.crystals:,} | {row.passes} | {row.seconds / 60:.0f} | {row.mae:.4f} |" for row in rows]
    sizes = np.array([float(row.crystals) for row in rows[1:]])
    factor, slope = power_law(sizes, np.array([row.mae for row in rows[1:]]))
    lines.append("")
    lines.append(f"mean of the training crystals: {rows[0].baseline:.3f}; from {int(sizes[0]):,} crystals on")
    lines.append(f"MAE = {factor:.3g} n^{slope:.3f}")
    for size in (100_000, 300_000, 1_000_000):
        lines.append(f"extrapolated to {size:,} crystals: {factor * size**slope:.4f} {unit}")
    return "\n".join(lines)


def _whole(prop: str, arguments: argparse.Namespace) -> Row:
    """The row of a finished model that was trained on all crystals of the folds."""
    loaded = load_model(arguments.model)
    network = loaded.members[0]
    if not isinstance(network, SEN):
        raise TypeError(f"{arguments.model} is of another method")
    recipe = recipe_of(prop, None, 1, {}, arguments)
    count = len(read_data(recipe).parts["train"])
    passes = int(loaded.card.recipe["epochs"])
    table = Path(arguments.model).parent / "metrics.csv"
    seconds = float(list(csv.DictReader(table.open()))[-1]["seconds"]) if table.is_file() else float("nan")
    return Row("all", count, passes, seconds, **score(network, recipe, prop))


def variants(arguments: argparse.Namespace) -> str:
    """Table of what each ingredient brings."""
    prop = arguments.property
    names = list(VARIANTS) if arguments.rows is None else arguments.rows.split(",")
    passes = PASSES[VARIANT_SIZE]
    rows = [(name, run_row(prop, name, VARIANT_SIZE, passes, VARIANTS[name][1], arguments)) for name in names]
    systems = list(rows[0][1].by_system)
    lines = [
        f"| variant | test MAE | {' | '.join(systems)} | participation ratio | silhouette | systems told | minutes |",
        "|---|---|" + "---|" * (len(systems) + 4),
    ]
    for name, row in rows:
        told = "" if row.system_accuracy is None else f"{100 * row.system_accuracy:.1f} %"
        errors = " | ".join(f"{row.by_system[system]:.4f}" for system in systems)
        measures = f"{row.participation:.1f} | {row.silhouette:.3f} | {told} | {row.seconds / 60:.0f}"
        lines.append(f"| {VARIANTS[name][0]} | {row.mae:.4f} | {errors} | {measures} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("curve", "variants"))
    parser.add_argument("property", choices=("formation_energy", "band_gap"))
    parser.add_argument("-o", "--output", default="runs/sen")
    parser.add_argument("--graph-store", default="runs/graphs-5A")
    parser.add_argument("--model")
    parser.add_argument("--rows")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if "VOIGT_DATA" not in os.environ:
        sys.exit("set VOIGT_DATA to the folder that holds scalars/")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    print(curve(arguments) if arguments.what == "curve" else variants(arguments))


if __name__ == "__main__":
    main()

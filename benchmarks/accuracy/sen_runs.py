"""SEN trained on parts of a MatBench fold: the learning curve, and what its ingredients bring.

    VOIGT_DATA=... python -m benchmarks.accuracy.sen_runs curve formation_energy -o runs/sen [--model FILE]
    VOIGT_DATA=... python -m benchmarks.accuracy.sen_runs variants formation_energy -o runs/sen [--rows base,...]
        [--seeds 0,1,2] [--graph-store DIR]

Every row starts from the recipe of the shipped scalars, with the one property as its target, takes so many crystals of
the training folds (smaller choices lie inside larger ones), chooses its weights on the validation crystals and is
scored once on the whole test fold. Variants are trained with small batches, so that they make as many steps as the
models that ship; every seed draws its own crystals, the same for all variants. What their capsules hold is measured on
1,000 crystals of the test fold, as `voigt explain` does.
`--model` adds the model trained on all of them to the curve. Finished rows are read back.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voigt.files import atomic_write
from voigt.graphs import collate
from voigt.interpretation.crystals import choose, explain_structures
from voigt.interpretation.measures import distances, participation_ratio, silhouette, standardized
from voigt.interpretation.sets import Collection
from voigt.models.checkpoint import load_model
from voigt.models.sen.model import SEN
from voigt.notes import Failure
from voigt.prediction.result import Settings
from voigt.structures import InputStructure
from voigt.structures.symmetry import crystal_system
from voigt.training.datamodule import BudgetBatches, open_graph_store, read_data, stored_graphs
from voigt.training.device import Budget, train_on_device
from voigt.training.recipe import Recipe, load_recipe, parse_recipe

PASSES = {1_000: 30, 3_000: 20, 10_000: 8, 30_000: 4}
"""Passes over so many training crystals on the curve."""
VARIANT_SIZE, VARIANT_PASSES, VARIANT_BATCH, VARIANT_RATE = 6_000, 20, 40, 0.001
"""Crystals, passes, batch and peak learning rate of the variants: 3,000 steps."""
VARIANT_ATOMS = 30
"""Largest cell that a variant is trained on."""
EXPLAINED = 1_000
"""Test crystals whose capsules are looked at."""
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
    parts
        Effective part capsules in a crystal and over the set.
    shared
        Label of a site -> normalized mutual information with the strongest capsule.
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
    parts: tuple[float, float]
    shared: dict[str, float]


def recipe_of(
    prop: str, size: int | None, passes: int, seed: int, changes: dict[str, Any], arguments: argparse.Namespace
) -> Recipe:
    """The recipe of the shipped scalars for one of them, with other crystals and passes, and changes by section."""
    source = load_recipe(str(files("voigt.training") / "recipes" / "scalars.yaml"))
    content = source.model_dump(mode="json")
    content["targets"] = {prop: content["targets"][prop]}
    content["model"]["properties"] = [prop]
    content["split"] |= {"max_train": size, "column": FOLDS[prop], "hidden": {}, "seed": seed}
    for section in ("model", "optimizer", "split"):
        content[section] |= changes.get(section, {})
    content["batch_size"] = changes.get("batch_size", content["batch_size"])
    if size is not None:  # validation crystals are as many as a quarter of a pass
        content["steps_per_checkpoint"] = 4 * (size // content["batch_size"])
    if size is not None:  # a short run cannot spend itself on warming up
        steps = size // content["batch_size"] * passes
        content["optimizer"]["warmup_steps"] = min(content["optimizer"]["warmup_steps"], steps // 10)
    content |= {"epochs": passes, "graph_store": arguments.graph_store, "seed": seed}
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


def capsules(model: Path, prop: str, recipe: Recipe) -> dict[str, Any]:
    """What the part capsules of a model hold, on crystals drawn from the test fold."""
    test = read_data(recipe).select("test")
    rows = np.sort(np.random.default_rng(0).permutation(len(test))[:EXPLAINED])
    drawn = zip(rows.tolist(), test.take(rows.tolist()), strict=True)
    structures = [InputStructure("test", row, str(row), crystal.atoms) for row, crystal in drawn]
    collection = Collection()
    settings = Settings(symprec=recipe.symmetry or 1e-3, allow_unseen=True)
    for crystal in explain_structures(structures, choose(str(model), prop), settings):
        if not isinstance(crystal, Failure):
            collection.add(crystal)
    summary = collection.summary()
    shared = {name: found.normalized for name, found in summary.sites.items() if found is not None}
    return {"parts": summary.effective_parts, "shared": shared}


def run_row(
    prop: str, name: str, size: int, passes: int, seed: int, changes: dict[str, Any], arguments: argparse.Namespace
) -> Row:
    """Train and score one row, or read its finished result."""
    folder = Path(arguments.output) / f"{prop}-{name}-{size}-{passes}-{seed}"
    result = folder / "row.json"
    if result.is_file():
        return Row(**json.loads(result.read_text()))
    recipe = recipe_of(prop, size, passes, seed, changes, arguments)
    trained = train_on_device(recipe, folder, Budget("cpu"), resume=(folder / "device.ckpt").is_file())
    network = trained.network
    if not isinstance(network, SEN):
        raise TypeError("the recipe trains another method")
    seen = {**score(network, recipe, prop), **capsules(trained.model, prop, recipe)}
    row = Row(name, size, passes, round(trained.seconds), **seen)
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
    rows = [run_row(prop, "base", size, passes, 0, {}, arguments) for size, passes in PASSES.items()]
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
    recipe = recipe_of(prop, None, 1, 0, {}, arguments)
    count = len(read_data(recipe).parts["train"])
    passes = int(loaded.card.recipe["epochs"])
    table = Path(arguments.model).parent / "metrics.csv"
    seconds = float(list(csv.DictReader(table.open()))[-1]["seconds"]) if table.is_file() else float("nan")
    seen = {**score(network, recipe, prop), **capsules(Path(arguments.model), prop, recipe)}
    return Row("all", count, passes, seconds, **seen)


def variants(arguments: argparse.Namespace) -> str:
    """Table of what each ingredient brings: means over the seeds, and their standard deviation."""
    prop = arguments.property
    names = list(VARIANTS) if arguments.rows is None else arguments.rows.split(",")
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    rows: dict[str, list[Row]] = {name: [] for name in names}
    for seed, name in product(seeds, names):  # seed by seed: an interrupted study compares what it has
        changes = {
            "model": VARIANTS[name][1],
            "optimizer": {"lr": VARIANT_RATE, "ema": 0.999},
            "batch_size": VARIANT_BATCH,
            "split": {"max_train_atoms": VARIANT_ATOMS},
        }
        rows[name].append(run_row(prop, name, VARIANT_SIZE, VARIANT_PASSES, seed, changes, arguments))
    figures: dict[str, Callable[[Row], float | None]] = {"test MAE": lambda row: row.mae}
    figures |= {system: (lambda row, system=system: row.by_system[system]) for system in rows[names[0]][0].by_system}
    figures |= {
        "participation ratio": lambda row: row.participation,
        "silhouette": lambda row: row.silhouette,
        "systems told": lambda row: row.system_accuracy,
        "parts in a crystal": lambda row: row.parts[0],
        "parts over the set": lambda row: row.parts[1],
    }
    figures |= {
        f"shared with {label}": (lambda row, label=label: row.shared[label]) for label in rows[names[0]][0].shared
    }
    figures["minutes"] = lambda row: row.seconds / 60
    lines = [f"| | {' | '.join(VARIANTS[name][0] for name in names)} |", "|---|" + "--:|" * len(names)]
    for title, figure in figures.items():
        lines.append(f"| {title} | {' | '.join(_spread([figure(row) for row in rows[name]]) for name in names)} |")
    return "\n".join(lines)


def _spread(values: list[float | None]) -> str:
    """Mean over seeds, with the standard deviation of one seed."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    deviation = f" ± {np.std(known, ddof=1):.2g}" if len(known) > 1 else ""
    return f"{np.mean(known):.4g}{deviation}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("curve", "variants"))
    parser.add_argument("property", choices=("formation_energy", "band_gap"))
    parser.add_argument("-o", "--output", default="runs/sen")
    parser.add_argument("--graph-store", default="runs/graphs-5A")
    parser.add_argument("--model")
    parser.add_argument("--rows")
    parser.add_argument("--seeds", default="0,1,2")
    arguments = parser.parse_args()
    if "VOIGT_DATA" not in os.environ:
        sys.exit("set VOIGT_DATA to the folder that holds scalars/")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    print(curve(arguments) if arguments.what == "curve" else variants(arguments))


if __name__ == "__main__":
    main()

"""How to train on what the data hold: network, learning rate, frozen blocks, members and time, with the reasons."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from voigt.finetuning.survey import Survey
from voigt.graphs import CrystalGraph, collate
from voigt.models.checkpoint import LoadedModel
from voigt.training.datamodule import TrainingData, read_data, training_graph
from voigt.training.module import batch_loss
from voigt.training.recipe import Recipe, parse_recipe
from voigt.training.start import initial_network
from voigt.writers.markdown import counted

RATE = 3e-3
EDGES = 4000
"""Edges of a batch: about one cell of a hundred atoms; what has less is put together."""
MOST_MEMBERS = 4
ENOUGH_PASSES = 60
"""Passes over the training frames that each network of an ensemble must have time for: one that learns for longer gains
more than an ensemble of networks that all start from the same weights."""
MOST_PASSES = 100
"""Passes after which a network has nothing more to learn from its frames."""
SHARE = 0.85
"""Of the time that training may take; the rest is for intervals, test and figures."""
SYMMETRIC = 0.7
"""Symmetry reduces the graphs if less than this share of atoms are distinct."""
SYMPREC = 1e-3
PATIENCE = 15
_SAMPLE = 8


@dataclass(frozen=True)
class Plan:
    """What is going to be trained.

    Attributes
    ----------
    recipe
        Of one member; the others have the next seeds.
    members
        Networks of the ensemble.
    seconds
        Time of each of them.
    reasons
        What was decided and why, a sentence each.
    """

    recipe: Recipe
    members: int
    seconds: float
    reasons: tuple[str, ...]


def make_plan(
    model: LoadedModel, start: str, found: Survey, minutes: float, seed: int, members: int | None = None
) -> tuple[Plan, TrainingData]:
    """Decide by the amount of data and the time.

    Parameters
    ----------
    model
        To start from.
    start
        Its name or file, for the recipe.
    found
        What the data hold.
    minutes
        Time for all of it, on one processor.
    seed
        Of the first member.
    members
        Networks of the ensemble; None: as many as there is time for.

    Raises
    ------
    RecipeError, TargetError, InputError
        The data cannot be used with this model.
    """
    content = base_recipe(model, start, found, seed)
    data = read_data(parse_recipe(content, "fine-tuning"))
    crystals = data.select("train")
    recipe = parse_recipe({**content, "symmetry": SYMPREC}, "fine-tuning")
    sample = [crystals[i] for i in np.linspace(0, len(crystals) - 1, min(_SAMPLE, len(crystals))).astype(int)]
    graphs = [training_graph(crystal, recipe) for crystal in sample]
    distinct = sum(len(g.representative) for g in graphs) / sum(g.num_atoms for g in graphs)
    reasons = [found.why_split + f": {', '.join(f'{len(rows)} {part}' for part, rows in data.parts.items())}"]
    if distinct >= SYMMETRIC:
        recipe = parse_recipe({**content, "symmetry": None}, "fine-tuning")
        graphs = [training_graph(crystal, recipe) for crystal in sample]
        reasons.append("symmetry is not used: nearly all atoms of a cell are distinct")
    edges = float(np.mean([len(g.edge_source) for g in graphs]))
    size = int(np.clip(EDGES / max(edges, 1.0), 1, max(min(16, len(crystals) // 8), 1)))
    per_pass = max(len(crystals) // size, 1)
    step = step_seconds(recipe, (graphs * size)[:size])
    left = SHARE * 60.0 * minutes
    wanted = min(left / step, MOST_PASSES * per_pass * MOST_MEMBERS)
    many = members or int(np.clip(wanted / (ENOUGH_PASSES * per_pass), 1, MOST_MEMBERS))
    steps = max(int(min(left / step / many, MOST_PASSES * per_pass)), 1)
    seconds = max(min(left / many, 1.2 * steps * step), 1.0)
    reasons += [
        f"{counted(many, 'network')} of about {counted(steps, 'step')}: a step of {counted(size, 'frame')} takes "
        f"{step:.2f} s, and {minutes:g} minutes are given",
        f"learning rate {recipe.optimizer.lr:g}; weights are those of the best validation, of which there are at most "
        f"50, and training ends after {PATIENCE} without improvement",
    ]
    final = {
        **content,
        "symmetry": recipe.symmetry,
        "batch_size": size,
        "epochs": max(round(steps / per_pass), 1),
        "optimizer": {**content["optimizer"], "warmup_steps": int(np.clip(steps // 20, 1, 50))},
    }
    return Plan(parse_recipe(final, "fine-tuning"), many, seconds, tuple(reasons + _news(found))), data


def base_recipe(model: LoadedModel, start: str, found: Survey, seed: int) -> dict[str, Any]:
    """The recipe but for what depends on how long a step takes."""
    root = Path(os.path.commonpath([path.parent for path in found.files]))
    taught = model.card.recipe.get("targets", {})
    targets = {name: {k: v for k, v in taught.get(name, {}).items() if k != "auxiliary"} for name in found.properties}
    others = {"properties", "functionals", "members"}
    hypers = model.hypers.model_dump(mode="json", exclude_defaults=True, exclude=others)
    hypers["method"] = model.hypers.method
    if hypers.get("ionic") == "charges" and "born_charges" not in targets:
        hypers["ionic"] = "mean"
    if model.hypers.functionals:
        hypers["functionals"] = list(found.functionals)
    return {
        "name": _name(found.files[0].stem),
        "data_root": str(root),
        "data": [
            {"path": os.path.relpath(path, root), "functional": found.unstated, "targets": list(names)}
            for path, names in zip(found.files, found.labels, strict=True)
        ],
        "split": found.split.model_dump(mode="json", exclude_defaults=True) | {"kind": found.split.kind},
        "model": hypers,
        "targets": targets,
        "finetune": start,
        "start_functionals": found.starts,
        "optimizer": {"lr": RATE, "weight_decay": 0.01, "ema": 0.99},
        "patience": PATIENCE,
        "seed": seed,
    }


def step_seconds(recipe: Recipe, graphs: Sequence[CrystalGraph], repeats: int = 3) -> float:
    """Time of a training step on such a batch on a processor without other work, the shortest of some."""
    network = initial_network(recipe, graphs)
    batch = collate(graphs)
    found = []
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        for _ in range(repeats):
            begun = time.process_time()
            loss, _ = batch_loss(network, batch, recipe)
            loss.backward()
            found.append((time.process_time() - begun) / recipe.threads)
    finally:
        torch.set_num_threads(threads)
    return min(found)


def _news(found: Survey) -> list[str]:
    """What the model has not seen before, and what it starts from."""
    from ase.data import chemical_symbols

    news = [f"{new} is new to the model and starts as {old}" for new, old in found.starts.items()]
    if found.new_elements:
        symbols = ", ".join(chemical_symbols[z] for z in found.new_elements)
        news.append(f"new to the model, started from their neighbors in the periodic table: {symbols}")
    return news


def _name(stem: str) -> str:
    """A name for model and run from that of a file."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", stem)[:80].lstrip(".") or "finetuned"

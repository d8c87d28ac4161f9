"""The paper's kind of task: one material, few frames; from scratch and fine-tuned from the general weights.

    VOIGT_DATA=... python -m benchmarks.accuracy.single_material -o runs/materials [--sets zro2_md,...]
        [--sizes 4,16,all] [--steps 1500] [--from-model born]

Every run has the same number of steps, chooses its weights on the validation frames and is scored once on the test
frames (blocks of time). Finished runs are read back.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import torch

from voigt.files import atomic_write
from voigt.graphs import collate
from voigt.models.checkpoint import load_model
from voigt.training.datamodule import read_data, training_graph
from voigt.training.recipe import Recipe, parse_recipe
from voigt.training.run import train

SETS = ("zro2_md", "zro2_defects", "sio2_md", "batio3_md")


def material_recipe(name: str, size: int | None, steps: int, model: str | None, hypers: dict[str, Any]) -> Recipe:
    """Recipe of one run: a fixed number of steps of one frame each."""
    frames = size or 10**6
    content = {
        "name": name,
        "data": [{"path": f"born/{name}.extxyz"}],
        "model": hypers,
        "targets": {"born_charges": {"loss": "l1"}},
        "split": {"kind": "stored", "max_train": frames},
        "optimizer": {"lr": 0.001 if model else 0.003, "weight_decay": 0.01, "ema": 0.99, "warmup_steps": 50},
        "batch_size": 1,
        "epochs": steps,
        "steps_per_checkpoint": max(steps // 15, 1),
        "symmetry": None,
        "compile": True,
        "finetune": model,
    }
    return parse_recipe(content, name)


def trainable_steps(recipe: Recipe, steps: int) -> Recipe:
    """Set the number of passes so that the run has `steps` steps."""
    count = min(len(read_data(recipe).parts["train"]), recipe.split.max_train or 10**6)
    return recipe.model_copy(update={"epochs": max(round(steps / count), 1)})


def test_errors(recipe: Recipe, network: torch.nn.Module) -> dict[str, float]:
    """MAE and RMSE over all components of the test frames, and of the per-element mean of the training frames."""
    data = read_data(recipe)
    train_graphs = [training_graph(crystal, recipe) for crystal in data.select("train")]
    labels = torch.cat([graph.targets["born_charges"] for graph in train_graphs])
    numbers = torch.cat([graph.numbers for graph in train_graphs])
    errors, trivial = [], []
    with torch.no_grad():
        for crystal in data.select("test"):
            graph = training_graph(crystal, recipe)
            errors.append((network(collate([graph]))["born_charges"] - graph.targets["born_charges"]).flatten())
            means = torch.stack([labels[numbers == z].diagonal(dim1=1, dim2=2).mean() for z in graph.numbers])
            trivial.append((means[:, None, None] * torch.eye(3) - graph.targets["born_charges"]).flatten())
    error, baseline = torch.cat(errors), torch.cat(trivial)
    return {
        "mae": float(error.abs().mean()),
        "rmse": float(error.square().mean().sqrt()),
        "baseline": float(baseline.abs().mean()),
        "train": len(train_graphs),
        "test": len(data.parts["test"]),
    }


def run(name: str, size: int | None, steps: int, model: str | None, folder: Path, root: str) -> dict[str, float]:
    """One training, scored on the test frames; read back if finished."""
    key = f"{name}-{size or 'all'}-{'tuned' if model else 'scratch'}-{steps}"
    file = folder / f"{key}.json"
    if file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))
    hypers: dict[str, Any] = {"channels": 32, "interactions": 3, "self_product": True}
    if model:
        hypers = load_model(model).hypers.model_dump(exclude={"properties", "functionals"})
    recipe = material_recipe(name, size, steps, model, hypers).model_copy(update={"data_root": root})
    recipe = trainable_steps(recipe, steps)
    own = folder / key
    result = train(recipe, own, resume=(own / "checkpoints" / "last.ckpt").is_file())
    row = {"seconds": result.seconds, "val_mae": result.metrics["val/born_charges_mae"]}
    row |= test_errors(recipe, result.network)
    with atomic_write(file) as stream:
        json.dump(row, stream)
    return row


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--sizes", default="4,16,all")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--from-model", default="born", help="model to fine-tune from; empty: from scratch only")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    options.output.mkdir(parents=True, exist_ok=True)
    print("| set | training frames | start | test MAE (e) | test RMSE (e) | per-element mean | seconds |")
    print("|---|---|---|---|---|---|---|")
    for name in options.sets.split(","):
        for size in options.sizes.split(","):
            frames = None if size == "all" else int(size)
            for model in [None, *([options.from_model] if options.from_model else [])]:
                row = run(name, frames, options.steps, model, options.output, options.data)
                print(
                    f"| {name} | {row['train']:.0f} | {'tuned' if model else 'scratch'} | {row['mae']:.4f} "
                    f"| {row['rmse']:.4f} | {row['baseline']:.3f} | {row['seconds']:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()

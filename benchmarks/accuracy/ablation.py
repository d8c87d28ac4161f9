"""What each option of Equivar brings, on the validation split: one short training per variant, equal budget.

    VOIGT_DATA=... python -m benchmarks.accuracy.ablation -o runs/ablation [--epochs 10] [--variants base,shared,...]

Finished variants are read back, so that the table can be completed in several runs.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from voigt.files import atomic_write
from voigt.training.recipe import parse_recipe
from voigt.training.run import train

BASE: dict[str, Any] = {
    "name": "ablation",
    "data": [{"path": "born/phonondb.extxyz", "where": "closed_shell"}],
    "model": {"channels": 32, "interactions": 3, "self_product": True},
    "targets": {"born_charges": {"loss": "l1"}, "eps_inf": {"loss": "relative", "weight": 0.3}},
    "optimizer": {"lr": 0.005, "weight_decay": 0.05},
    "compile": True,
}
MP = {"path": "born/mp.extxyz", "where": "closed_shell"}

# Name -> (what changes against the base, sections of the recipe to change)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "base": ("F = 32, 3 interactions, 5 A, pair strengths, gates, tensor square", {}),
    "no_square": ("without the tensor square", {"model": {"self_product": False}}),
    "radial": ("strengths from the distance only", {"model": {"weights": "radial"}}),
    "shared": ("the paper's shared strengths", {"model": {"weights": "shared"}}),
    "linear": ("the paper's linear update, no gates", {"model": {"update": "linear"}}),
    "no_table": ("without shared features of group, period, block", {"model": {"periodic_table": False}}),
    "species": ("residual branch scaled per element", {"model": {"self_interaction": "species"}}),
    "learned_sum_rule": ("drift shared out by learned weights", {"model": {"sum_rule": "learned"}}),
    "no_sum_rule": ("sum rule not part of training", {"model": {"sum_rule": "none"}}),
    "cutoff_3": ("cutoff 3 A", {"model": {"cutoff": 3.0}}),
    "cutoff_6": ("cutoff 6 A", {"model": {"cutoff": 6.0}}),
    "layers_2": ("2 interactions", {"model": {"interactions": 2}}),
    "layers_4": ("4 interactions", {"model": {"interactions": 4}}),
    "channels_64": ("F = 64", {"model": {"channels": 64}}),
    "with_pbe": (
        "with the PBE set as a second, labeled functional",
        {"data": [*BASE["data"], MP], "model": {"functionals": ["PBEsol", "PBE"]}},
    ),
}


def variant_recipe(changes: dict[str, Any], epochs: int, seed: int) -> dict[str, Any]:
    """The base recipe with the sections of one variant merged in."""
    content: dict[str, Any] = {**BASE, "epochs": epochs, "seed": seed}
    for section, value in changes.items():
        content[section] = {**content[section], **value} if isinstance(value, dict) else value
    return content


def run_variant(name: str, folder: Path, epochs: int, seed: int, data_root: str) -> dict[str, Any]:
    """Train one variant, or read its finished result."""
    result_file = folder / f"{name}-{epochs}-{seed}.json"
    if result_file.is_file():
        return json.loads(result_file.read_text(encoding="utf-8"))
    recipe = parse_recipe(variant_recipe(VARIANTS[name][1], epochs, seed), name).model_copy(
        update={"data_root": data_root}
    )
    own = folder / f"{name}-{epochs}-{seed}"
    result = train(recipe, own, resume=(own / "checkpoints" / "last.ckpt").is_file())
    row = {
        "parameters": sum(p.numel() for p in result.network.parameters()),
        "seconds": result.seconds,
        **result.metrics,
    }
    with atomic_write(result_file) as stream:
        json.dump(row, stream)
    return row


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", default=None, help="folder that holds born/ (default: VOIGT_DATA)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    root = options.data or os.environ.get("VOIGT_DATA", ".")
    options.output.mkdir(parents=True, exist_ok=True)
    print("| variant | parameters | born_charges MAE (e) | eps_inf relative error | seconds |\n|---|---|---|---|---|")
    for name in options.variants.split(","):
        row = run_variant(name, options.output, options.epochs, options.seed, root)
        print(
            f"| {VARIANTS[name][0]} | {row['parameters']:,} | {row['val/born_charges_mae']:.4f} "
            f"| {row['val/eps_inf']:.4f} | {row['seconds']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

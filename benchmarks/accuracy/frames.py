"""The comparison of the GoeCTP paper on real data: no frame, one frame, mean over frames, for every backbone.

    VOIGT_DATA=... python -m benchmarks.accuracy.frames -o runs/frames [--epochs 12] [--rows equivar,...] [--seeds 0]

Every row is trained on eps_inf of tensors/dielectric.extxyz (closed shells, train) with the same optimizer and number
of passes, its weights are chosen on val, and it is scored once on test: as the network gives the tensor, as delivered
(projected onto the point group), and on randomly rotated copies of the test crystals. Finished rows are read back.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch

from voigt.data import LabeledCrystal
from voigt.evaluation.metrics import ewt, frobenius
from voigt.files import atomic_write
from voigt.models.checkpoint import LoadedModel, load_model
from voigt.prediction.pipeline import predict_prepared, prepare
from voigt.prediction.result import Prediction, Settings
from voigt.training.datamodule import read_data
from voigt.training.recipe import parse_recipe
from voigt.training.run import train

PROPERTY = "eps_inf"
BASE: dict[str, Any] = {
    "name": "frames",
    "data": [{"path": "tensors/dielectric.extxyz", "where": "closed_shell"}],
    "targets": {PROPERTY: {"loss": "relative"}},
    "optimizer": {"weight_decay": 0.05, "ema": 0.999},
    "batch_size": 16,
    "compile": True,
}
MODEL: dict[str, Any] = {"method": "goectp", "functionals": ["PBEsol", "PBE"], "width": 64, "layers": 3}
RATES = {"ecomformer": 0.002, "icomformer": 0.002, "crystalformer": 0.002, "equivar": 0.005}
"""Peak learning rate with each backbone, chosen on val in short runs."""

BACKBONES = ("ecomformer", "icomformer", "crystalformer", "equivar")
FRAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("none", {"frame": "none", "cell": "none", "directions": "none"}),
    "single": ("single, no directions (the paper's)", {"frame": "single", "cell": "primitive", "directions": "none"}),
    "seeing": ("single, sees directions", {"frame": "single", "cell": "primitive", "directions": "harmonics"}),
    "average": ("mean over frames", {"frame": "stochastic", "cell": "primitive", "directions": "harmonics"}),
}
EQUIVAR = {
    "method": "equivar",
    "functionals": ["PBEsol", "PBE"],
    "channels": 64,
    "interactions": 3,
    "self_product": True,
}
ROWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    f"{backbone}-{frame}": (backbone, title, {**MODEL, "backbone": backbone, **changes})
    for backbone in BACKBONES
    for frame, (title, changes) in FRAMES.items()
    # iComFormer sees the lattice vectors in any case: harmonics beside them are not another row.
    if (backbone, frame) != ("icomformer", "seeing")
} | {
    "equivar-pooled": ("equivar", "none: equivariant, pooled tensor readout", EQUIVAR),
    "equivar-corrected": (
        "equivar",
        "equivariant readout, corrected by the mean over frames",
        {**MODEL, "backbone": "equivar", **FRAMES["average"][1], "equivariant_readout": True},
    ),
}


def run_row(name: str, folder: Path, epochs: int, seed: int, data_root: str) -> dict[str, Any]:
    """Train and score one row, or read its finished result."""
    result_file = folder / f"{name}-{epochs}-{seed}.json"
    if result_file.is_file():
        return json.loads(result_file.read_text(encoding="utf-8"))
    backbone, _, model_settings = ROWS[name]
    optimizer = {**BASE["optimizer"], "lr": RATES[backbone]}
    content = {**BASE, "model": model_settings, "optimizer": optimizer, "epochs": epochs, "seed": seed}
    recipe = parse_recipe(content, name).model_copy(update={"data_root": data_root})
    own = folder / f"{name}-{epochs}-{seed}"
    started = time.process_time()
    result = train(recipe, own, resume=(own / "checkpoints" / "last.ckpt").is_file())
    seconds = time.process_time() - started
    model = load_model(result.model)
    crystals = read_data(recipe).select("test")
    row = {
        "parameters": sum(p.numel() for p in result.network.parameters()),
        "cpu_seconds": seconds,
        "validation": result.metrics[f"val/{PROPERTY}"],
        **scores(model, crystals),
    }
    with atomic_write(result_file) as stream:
        json.dump(row, stream)
    return row


def scores(model: LoadedModel, crystals: Sequence[LabeledCrystal]) -> dict[str, float]:
    """Fnorm and EwT of the network alone, of what is delivered, and of the network alone on rotated crystals."""
    label = np.stack([crystal.targets[PROPERTY] for crystal in crystals])
    predictions = predicted(model, crystals, [crystal.atoms for crystal in crystals])
    random = np.random.default_rng(0)
    turns = np.stack([random_rotation(random) for _ in crystals])
    turned = predicted(model, crystals, [rotated(c.atoms, turn) for c, turn in zip(crystals, turns, strict=True)])
    raw, final = (np.stack([getattr(p, kind)[PROPERTY] for p in predictions]) for kind in ("raw", "values"))
    back = np.einsum("nia,nij,njb->nab", turns, np.stack([p.raw[PROPERTY] for p in turned]), turns)
    result = {f"raw_ewt{x}": ewt(raw, label, x).value for x in (25, 10, 5)}
    result |= {f"ewt{x}": ewt(final, label, x).value for x in (25, 10, 5)}
    return result | {
        "raw_frobenius": frobenius(raw, label).value,
        "frobenius": frobenius(final, label).value,
        "rotated_frobenius": frobenius(back, label).value,
    }


def predicted(
    model: LoadedModel, crystals: Sequence[LabeledCrystal], structures: Sequence[ase.Atoms]
) -> list[Prediction]:
    """Predictions for the functional of each label, in order."""
    results: dict[int, Prediction] = {}
    for functional in dict.fromkeys(crystal.functional for crystal in crystals):
        settings = Settings(functional=functional, allow_unseen=True)
        members = [i for i, crystal in enumerate(crystals) if crystal.functional == functional]
        prepared = [prepare(model, structures[i], crystals[i].id, settings) for i in members]
        results |= dict(zip(members, predict_prepared(model, prepared, settings), strict=True))
    return [results[i] for i in range(len(crystals))]


def random_rotation(random: np.random.Generator) -> np.ndarray:
    """Orthogonal matrix from the Haar measure, proper or improper."""
    q, r = np.linalg.qr(random.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


def rotated(atoms: ase.Atoms, turn: np.ndarray) -> ase.Atoms:
    """The same crystal in other axes."""
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ turn.T)
    copy.set_positions(atoms.positions @ turn.T)
    return copy


def table(rows: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Markdown; several seeds as mean (smallest to largest)."""
    lines = [
        "| backbone | frame | parameters | Fnorm, network alone | on rotated crystals | Fnorm, delivered "
        "| EwT 25 / 10 / 5 % | seeds | CPU s |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, found in rows.items():
        backbone, title, _ = ROWS[name]
        cells = [_spread([row[key] for row in found]) for key in ("raw_frobenius", "rotated_frobenius", "frobenius")]
        within = " / ".join(f"{np.mean([row[f'ewt{x}'] for row in found]):.1f}" for x in (25, 10, 5))
        seconds = np.mean([row["cpu_seconds"] for row in found])
        lines.append(
            f"| {backbone} | {title} | {found[0]['parameters']:,} | {' | '.join(cells)} | {within} | {len(found)} "
            f"| {seconds:.0f} |"
        )
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", default=None, help="folder that holds tensors/ (default: VOIGT_DATA)")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--rows", default=",".join(ROWS))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    torch.set_num_threads(1)
    root = options.data or os.environ.get("VOIGT_DATA", ".")
    options.output.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    rows = {
        name: [run_row(name, options.output, options.epochs, seed, root) for seed in seeds]
        for name in options.rows.split(",")
    }
    print(table(rows))


if __name__ == "__main__":
    main()

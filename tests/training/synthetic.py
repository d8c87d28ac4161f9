"""A small made-up world to train in: crystals whose tensors follow from their structure by a closed form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.io import write
from ase.neighborlist import neighbor_list

from voigt.training.recipe import Recipe, parse_recipe

CUTOFF = 4.0
CHARGE = {"Mg": 2.0, "Ca": 2.2, "Ti": 4.5, "O": -2.2, "S": -1.8, "N": -2.8}
FORMULAS = ("MgO", "CaO", "MgS", "CaS", "TiO2", "TiS2", "TiN", "MgCaO2", "MgTiO3", "CaTiO3", "Ca3N2", "MgOS")


def labels(atoms: ase.Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Z_a = q_a + sum_j w d d^T less the mean over the cell (e), and eps_inf = 1.5 + mean of the same sum.

    w = 0.5 (1 + cos(pi r / CUTOFF)) / r^2, over all periodic images.
    """
    first, vector, distance = neighbor_list("iDd", atoms, CUTOFF)
    weight = 0.5 * (1.0 + np.cos(np.pi * distance / CUTOFF)) / distance**2
    outer = np.zeros((len(atoms), 3, 3))
    np.add.at(outer, first, weight[:, None, None] * vector[:, :, None] * vector[:, None, :])
    charges = np.array([CHARGE[symbol] for symbol in atoms.symbols])[:, None, None] * np.eye(3) + outer
    return charges - charges.mean(axis=0), 1.5 * np.eye(3) + outer.mean(axis=0)


def crystal(formula: str, seed: int) -> ase.Atoms:
    """Atoms of one formula unit on shaken places of a sheared 2 x 2 x 2 grid of 2 Angstrom."""
    rng = np.random.default_rng(seed)
    symbols = ase.Atoms(formula).symbols
    grid = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) / 2
    cell = 4.0 * np.eye(3) + 0.3 * rng.normal(size=(3, 3))
    places = grid[rng.permutation(8)[: len(symbols)]] + 0.03 * rng.normal(size=(len(symbols), 3))
    return ase.Atoms(symbols, scaled_positions=places, cell=cell, pbc=True)


def labeled_crystals(seed: int = 0, formulas: Sequence[str] = FORMULAS) -> list[ase.Atoms]:
    """One labeled crystal per formula; the last quarter is the validation split."""
    frames = []
    for k, formula in enumerate(formulas):
        atoms = crystal(formula, 1000 * seed + k)
        born, eps = labels(atoms)
        atoms.arrays["born_charges"] = born.reshape(-1, 9)
        part = "val" if k >= 0.75 * len(formulas) else "train"
        atoms.info.update(id=f"{formula}-{seed}", split=part, functional="PBE", eps_inf=eps.ravel().tolist())
        frames.append(atoms)
    return frames


def write_data(folder: Path, frames: Sequence[ase.Atoms] | None = None, name: str = "data.extxyz") -> Path:
    """Write frames for `recipe(folder)`; `labeled_crystals()` unless others are given."""
    path = folder / name
    write(path, labeled_crystals() if frames is None else list(frames), format="extxyz")
    return path


def recipe(folder: Path, **changes: Any) -> Recipe:
    """A recipe for the data in `folder` that trains for seconds; sections given as dicts are merged."""
    content: dict[str, Any] = {
        "name": "tiny",
        "data": [{"path": "data.extxyz"}],
        "model": {"channels": 8, "interactions": 1, "cutoff": CUTOFF, "num_radial": 8, "hidden": 8, "embedding": 8},
        "targets": {"born_charges": {}, "eps_inf": {"loss": "relative", "weight": 0.3}},
        "optimizer": {"lr": 0.01, "warmup_steps": 2, "ema": 0.9},
        "batch_size": 2,
        "epochs": 4,
    }
    for key, value in changes.items():
        merge = isinstance(value, dict) and key in content and key != "targets"
        content[key] = {**content[key], **value} if merge else value
    return parse_recipe(content, "test").model_copy(update={"data_root": str(folder)})

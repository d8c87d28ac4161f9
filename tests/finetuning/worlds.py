"""A small model and frames of one material to fine-tune it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.build import bulk
from ase.io import write

from voigt.models.checkpoint import ModelCard, save_model
from voigt.models.methods import build_network, parse_hypers

RULE = {"loss": "relative", "weight": 0.3}


def small_model(folder: Path, functionals: tuple[str, ...] = ("PBEsol", "PBE"), members: int = 1) -> Path:
    """A network of eight channels with random weights that says it has seen magnesium and oxygen."""
    torch.manual_seed(3)
    content: dict[str, Any] = {"method": "equivar", "channels": 8, "interactions": 2, "cutoff": 3.5, "num_radial": 8}
    content |= {"hidden": 8, "embedding": 8, "functionals": list(functionals)}
    content["properties"] = ["born_charges", "eps_inf"]
    networks = [build_network(parse_hypers(content)) for _ in range(members)]
    path = folder / "start.safetensors"
    card = ModelCard(elements=(8, 12), functionals=functionals, recipe={"targets": {"eps_inf": RULE}})
    save_model(networks, path, card)
    return path


def frames(count: int, symbols: str = "MgO", functional: str | None = "PBEsol", size: float = 0.1) -> list[ase.Atoms]:
    """Shaken rocksalt; the charge of an atom follows from how far it is from its place."""
    rng = np.random.default_rng(5)
    made = []
    for k in range(count):
        atoms = bulk(symbols, "rocksalt", 4.2, cubic=True)
        moved = size * rng.normal(size=(8, 3))
        atoms.positions += moved
        signs = np.where(atoms.numbers == 8, -1.0, 1.0)
        charges = 2.0 * signs[:, None, None] * np.eye(3) + moved[:, :, None] * moved[:, None, :]
        atoms.arrays["born_charges"] = (charges - charges.mean(axis=0)).reshape(-1, 9)
        atoms.info.update(id=f"f{k}", eps_inf=(3.0 * np.eye(3)).ravel().tolist())
        if functional is not None:
            atoms.info["functional"] = functional
        made.append(atoms)
    return made


def write_frames(path: Path, images: list[ase.Atoms]) -> Path:
    write(path, images, format="extxyz")
    return path

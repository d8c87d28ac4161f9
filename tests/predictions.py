"""Predictions and a model file that tests of writers and commands share."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import torch

from voigt.models.checkpoint import ModelCard, save_model
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivar.model import Equivar
from voigt.prediction import Prediction
from voigt.structures.symmetry import find_symmetry
from voigt.tensors.properties import PROPERTIES

ELEMENTS = ("O", "F", "Na", "Mg", "Si", "Cl", "Ti", "Zn", "Ba", "Al")


def made_up(atoms: ase.Atoms, name: str, properties: tuple[str, ...], seed: int = 0, members: int = 2) -> Prediction:
    """A prediction with random tensors."""
    rng = np.random.default_rng(seed)

    def draw(prop: str) -> np.ndarray:
        declared = PROPERTIES[prop]
        leading = (len(atoms),) if declared.per == "atom" else ()
        tensor = rng.normal(size=leading + declared.shape)
        if declared.rank == 3:
            tensor = tensor + tensor.transpose(0, 2, 1)
        if declared.rank == 4:
            tensor = tensor + tensor.transpose(1, 0, 2, 3)
            tensor = tensor + tensor.transpose(0, 1, 3, 2)
            tensor = tensor + tensor.transpose(2, 3, 0, 1)
        return tensor

    return Prediction(
        id=name,
        atoms=atoms,
        values={prop: draw(prop) for prop in properties},
        raw={prop: draw(prop) for prop in properties},
        spread={prop: abs(draw(prop)) for prop in properties} if members > 1 else {},
        units={prop: PROPERTIES[prop].unit for prop in properties},
        drift=rng.normal(size=(3, 3)) if "born_charges" in properties else None,
        residual={prop: float(rng.random()) for prop in properties if PROPERTIES[prop].rank},
        symmetry=find_symmetry(atoms),
        functional="PBEsol",
        warnings=("first warning", "second"),
    )


def save_tiny_model(path: Path, members: int = 2, properties: tuple[str, ...] = ("born_charges", "eps_inf")) -> Path:
    """An ensemble with random weights that knows `ELEMENTS` and the functionals PBEsol and PBE."""
    hypers = EquivarHypers(
        properties=properties, functionals=("PBEsol", "PBE"), channels=8, interactions=1, cutoff=4.0, hidden=8
    )
    networks = []
    for seed in range(members):
        torch.manual_seed(seed)
        networks.append(Equivar(hypers))
    numbers = tuple(sorted(int(ase.Atom(symbol).number) for symbol in ELEMENTS))
    save_model(networks, path, ModelCard(elements=numbers, functionals=("PBEsol", "PBE"), metrics={"val/loss": 0.5}))
    return path

"""Predictions and a model file that tests of writers and commands share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ase
import numpy as np
import torch

from voigt.models.checkpoint import ModelCard, save_model
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivar.model import Equivar
from voigt.notes import Note
from voigt.prediction.result import Prediction, merge
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
        symmetrized=False,
        models=dict.fromkeys(properties, "tiny"),
        functionals=dict.fromkeys(properties, "PBEsol"),
        notes=(Note("disagreement", "first warning"), Note("disagreement", "second")),
    )


def save_tiny_model(
    path: Path,
    members: int = 2,
    properties: tuple[str, ...] = ("born_charges", "eps_inf"),
    functionals: tuple[str, ...] = ("PBEsol", "PBE"),
    elements: tuple[str, ...] = ELEMENTS,
) -> Path:
    """An ensemble with random weights; conditioned on the functional if it knows several."""
    hypers = EquivarHypers(
        properties=properties,
        functionals=functionals if len(functionals) > 1 else (),
        channels=8,
        interactions=1,
        cutoff=4.0,
        hidden=8,
    )
    networks = []
    for seed in range(members):
        torch.manual_seed(seed)
        networks.append(Equivar(hypers))
    numbers = tuple(sorted(int(ase.Atom(symbol).number) for symbol in elements))
    save_model(networks, path, ModelCard(elements=numbers, functionals=functionals, metrics={"val/loss": 0.5}))
    return path


def save_several_models(folder: Path) -> Path:
    """What one day may ship: several single networks. `elastic` knows PBE only, and no zinc; `piezo` states nothing."""
    save_tiny_model(folder / "born.safetensors", 1)
    save_tiny_model(folder / "dielectric.safetensors", 1, ("eps_inf", "eps_ionic", "eps_total"))
    known = tuple(symbol for symbol in ELEMENTS if symbol != "Zn")
    save_tiny_model(folder / "elastic.safetensors", 1, ("elastic",), ("PBE",), known)
    save_tiny_model(folder / "piezo.safetensors", 1, ("piezo_total",), ())
    return folder


def shared(atoms: ase.Atoms) -> Prediction:
    """A prediction that two models made together for different functionals."""
    parts = [made_up(atoms, "two", ("born_charges", "eps_inf")), made_up(atoms, "two", ("elastic",), seed=1)]
    second = (Note("disagreement", "second"),)
    parts[1] = replace(parts[1], models={"elastic": "stiff"}, functionals={"elastic": "PBE"}, notes=second)
    return merge(parts, ("elastic", "eps_inf", "born_charges"), (Note("disagreement", "third"),))

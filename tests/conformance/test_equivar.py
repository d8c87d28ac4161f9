"""Equivar meets the contract of a model: default, with its options, and as published."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tests.conformance.model_contract import ModelConformance
from torch import nn

from voigt.models.checkpoint import ModelCard, load_model, save_model
from voigt.models.equivar.hypers import EquivarHypers, preset
from voigt.models.equivar.model import Equivar


class EquivarConformance(ModelConformance):
    cutoff = 4.5
    properties = ("born_charges", "eps_inf", "piezo_total", "elastic", "band_gap", "formation_energy")
    options: ClassVar[dict[str, object]] = {}

    def hypers(self) -> EquivarHypers:
        base = {"channels": 8, "interactions": 2, "cutoff": self.cutoff, "properties": self.properties}
        return EquivarHypers(**{**base, **self.options})

    def make_model(self) -> nn.Module:
        return Equivar(self.hypers())

    def save_and_load(self, model: nn.Module, tmp_path: Path) -> nn.Module:
        save_model([model], tmp_path / "model.safetensors", ModelCard(elements=(8, 22, 38)))
        (loaded,) = load_model(tmp_path / "model.safetensors").members
        return loaded.to(next(model.parameters()).dtype)


class TestDefault(EquivarConformance):
    pass


class TestOptions(EquivarConformance):
    """Every switch that is off by default."""

    options: ClassVar[dict[str, object]] = {
        "self_product": True,
        "self_interaction": "species",
        "sum_rule": "learned",
        "weights": "radial",
        "envelope": "polynomial",
        "periodic_table": False,
    }


class TestIonic(EquivarConformance):
    """Ionic permittivities out of charges and compliances, by a network that stands for three members."""

    properties = ("born_charges", "eps_inf", "eps_ionic", "eps_total")
    options: ClassVar[dict[str, object]] = {"ionic": "charges", "members": 3}


class TestInverse(EquivarConformance):
    """Ionic permittivities as the inverse of a mean."""

    properties = ("eps_inf", "eps_ionic", "eps_total")
    options: ClassVar[dict[str, object]] = {"ionic": "inverse"}


class TestShared(EquivarConformance):
    """The paper's coupling strengths with a smooth cutoff."""

    options: ClassVar[dict[str, object]] = {"weights": "shared", "element_reference": False}


class TestPaper(EquivarConformance):
    """The published network, small and with all periodic images: a hard cutoff, and no neutrality inside."""

    cutoff = 3.0
    neutral = False
    smooth = False

    def hypers(self) -> EquivarHypers:
        small = {"channels": 8, "interactions": 2, "neighbors": "all", "properties": self.properties}
        return EquivarHypers(**{**preset("bm2").model_dump(), **small})

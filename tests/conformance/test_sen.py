"""SEN meets the contract of a model: default, with its options, and with what the paper does where that is possible."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from tests.conformance.model_contract import ModelConformance
from torch import nn

from voigt.models.checkpoint import ModelCard, load_model, save_model
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.model import SEN

SMALL = {
    "width": 24,
    "edge_width": 12,
    "loops": 2,
    "num_radial": 16,
    "direction_width": 4,
    "composition_width": 8,
    "composition_layers": 2,
    "pooling_steps": 2,
    "embedding": 16,
    "part_capsules": 6,
    "part_features": 4,
    "object_capsules": 4,
    "object_width": 8,
    "object_layers": 2,
}


class SENConformance(ModelConformance):
    cutoff = 4.5
    properties = ("formation_energy", "band_gap")
    options: ClassVar[dict[str, object]] = {}

    def make_model(self) -> nn.Module:
        """Surely an insulator: a predicted metal has gap zero whatever happens to it.

        Capsules, which whisper at first, speak up: an error of theirs must not drown.
        """
        model = SEN(SENHypers(**{**SMALL, "cutoff": self.cutoff, "properties": self.properties, **self.options}))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("part_weight"):
                    parameter.mul_(20.0)
            if model.metal is not None:
                model.metal.bias.fill_(-3.0)
                model.get_submodule("readouts.band_gap").get_parameter("bias").fill_(3.0)
        return model

    def save_and_load(self, model: nn.Module, tmp_path: Path) -> nn.Module:
        save_model([model], tmp_path / "model.safetensors", ModelCard(elements=(8, 22, 38)))
        (loaded,) = load_model(tmp_path / "model.safetensors").members
        return loaded.to(next(model.parameters()).dtype)


class TestDefault(SENConformance):
    pass


class TestOptions(SENConformance):
    """Every switch that is off by default; noise and dropout must not be heard outside training."""

    options: ClassVar[dict[str, object]] = {
        "heads": 2,
        "composition_heads": 2,
        "envelope": "polynomial",
        "aggregate": "mean",
        "crystal_system": 0.1,
        "space_group": 0.1,
        "noise": 4.0,
        "dropout": 0.25,
        "element_reference": False,
    }


class TestCompetition(SENConformance):
    """Parts that compete for atoms."""

    options: ClassVar[dict[str, object]] = {"routing": "competition"}


class TestPaper(SENConformance):
    """Distances alone, means over bonds that end at the cutoff, many heads, noise; one property."""

    properties = ("formation_energy",)
    smooth = False
    options: ClassVar[dict[str, object]] = {
        "directions": "none",
        "envelope": "none",
        "aggregate": "mean",
        "heads": 12,
        "composition_heads": 3,
        "radial_width": 0.5,
        "noise": 4.0,
        "dropout": 0.25,
        "reconstruction": 0.0,
    }

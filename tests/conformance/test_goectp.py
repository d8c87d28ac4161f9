"""GoeCTP meets the contract of a model with every backbone; one frame alone promises less, as is shown here."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import ase
import torch
from tests.conformance.model_contract import ModelConformance
from torch import nn

from voigt.graphs import CrystalGraph, build_graph
from voigt.models.checkpoint import ModelCard, load_model, save_model
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.goectp.model import GoeCTP
from voigt.structures.symmetry import Symmetry

CRYSTAL_PROPERTIES = ("eps_inf", "eps_ionic", "eps_total", "piezo_total", "elastic", "band_gap", "formation_energy")
STRONG = 2.0


class GoeCTPConformance(ModelConformance):
    cutoff = 4.5
    properties = CRYSTAL_PROPERTIES
    options: ClassVar[dict[str, object]] = {}

    def hypers(self) -> GoeCTPHypers:
        base = {"width": 8, "heads": 2, "layers": 2, "hidden": 16, "cutoff": self.cutoff, "properties": self.properties}
        return GoeCTPHypers(**{**base, **self.options})

    def make_model(self) -> nn.Module:
        """Strong weights of directions: odd and high degrees of a mean over frames come from the nonlinear layers."""
        model = GoeCTP(self.hypers())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim == 2 and not any(part in name for part in ("embedding", "reference", "trunk")):
                    parameter.mul_(10 * STRONG if "direction" in name else STRONG)
        return model

    def make_graph(self, atoms: ase.Atoms, dtype: torch.dtype, symmetry: Symmetry | None = None) -> CrystalGraph:
        return build_graph(atoms, self.cutoff, symmetry=symmetry, dtype=dtype, frame=self.hypers().axes_options)

    def save_and_load(self, model: nn.Module, tmp_path: Path) -> nn.Module:
        save_model([model], tmp_path / "model.safetensors", ModelCard(elements=(8, 22, 38)))
        (loaded,) = load_model(tmp_path / "model.safetensors").members
        return loaded.to(next(model.parameters()).dtype)


class TestEquivar(GoeCTPConformance):
    """Features of Equivar seen in all frames."""


class TestEquivarAtoms(GoeCTPConformance):
    """A tensor per atom: all frames of the lattice, no cosets."""

    properties = ("born_charges", "eps_inf")
    options: ClassVar[dict[str, object]] = {"hidden": 24}


class TestEquivarCorrected(GoeCTPConformance):
    """Equivar's readout with a correction in canonical frames."""

    options: ClassVar[dict[str, object]] = {"equivariant_readout": True}


class TestEComFormer(GoeCTPConformance):
    options: ClassVar[dict[str, object]] = {"backbone": "ecomformer"}
    reduces = False


class TestIComFormer(GoeCTPConformance):
    options: ClassVar[dict[str, object]] = {"backbone": "icomformer"}
    reduces = False


class TestCrystalFormer(GoeCTPConformance):
    options: ClassVar[dict[str, object]] = {"backbone": "crystalformer"}
    reduces = False


class TestIComFormerLattice(GoeCTPConformance):
    """Lattice vectors are the only directions that it sees."""

    options: ClassVar[dict[str, object]] = {"backbone": "icomformer", "directions": "none"}
    properties = ("eps_inf", "elastic")
    reduces = False

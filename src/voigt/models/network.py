"""What every method's network has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from voigt.errors import DomainError
from voigt.graphs import CrystalBatch, CrystalGraph
from voigt.models.hypers import NetworkHypers
from voigt.models.readout import Readout
from voigt.tensors.sum_rule import acoustic_sum_rule

if TYPE_CHECKING:
    from voigt.models.equivariant.trunk import Trunk

Outputs = dict[str, Tensor]
Members = list[tuple[Outputs, Outputs]]
"""`Network.forward_raw` of each member of an ensemble."""
Pass = Callable[[CrystalBatch], Members]
"""How all networks of a model run on a batch."""
ROUNDING = 1e-5
"""Norm, in a property's unit, up to which a raw tensor is the rounding of single precision and has no residual."""


class Network(nn.Module):
    """A network with `forward(batch) -> {property name: Cartesian tensor}` in the axes of the input cell.

    Per-atom properties are (n_atoms, 3, 3), per-crystal ones (n_crystals, 3, ...).
    """

    hypers: NetworkHypers
    readouts: nn.ModuleDict

    def forward_raw(self, batch: CrystalBatch) -> tuple[Outputs, Outputs]:
        """The outputs twice: as the network gives them, and with Born charges made neutral by its sum rule."""
        raise NotImplementedError  # abstract

    def forward(self, batch: CrystalBatch) -> Outputs:
        """Predict every property of `hypers.properties`; Born charges made neutral as `hypers.sum_rule` says."""
        return self.forward_raw(batch)[1]

    def forward_members(self, batch: CrystalBatch) -> Members:
        """`forward_raw` of each member of the ensemble that the network stands for; most stand for themselves alone."""
        return [self.forward_raw(batch)]

    def training_pass(self, batch: CrystalBatch) -> tuple[Outputs, Outputs]:
        """Outputs, and losses that the method adds to those of the properties, by name and already weighted."""
        return self(batch), {}

    def prepare_training(self, graphs: Sequence[CrystalGraph]) -> None:
        """Take from the training crystals what the losses of the method need; most methods need nothing."""

    def compile_products(self) -> None:
        """Use torch.compile where it pays; networks without such a place do nothing."""

    @property
    def trunk(self) -> Trunk | None:
        """Equivariant message passing that another method may share; None if there is none."""
        return None

    def readout(self, name: str) -> Readout:
        """The last layers of a property."""
        readout = self.readouts[name]
        if not isinstance(readout, Readout):
            raise TypeError(f"{name} has no readout")
        return readout


def functional_rows(batch: CrystalBatch, functionals: tuple[str, ...]) -> Tensor | None:
    """Row of the functional embedding for each crystal; an unlabeled crystal gets the default (the first).

    A batch that brings `functional_row` has been made for these functionals.

    Raises
    ------
    DomainError
        A label that the model was not trained on.
    """
    if not functionals:
        return None
    if batch.functional_row is not None:
        return batch.functional_row
    unknown = sorted({f for f in batch.functional if f is not None} - set(functionals))
    if unknown:
        raise DomainError(
            f"functional {', '.join(unknown)} is unknown to this model; choose from {', '.join(functionals)}"
        )
    rows = [0 if f is None else functionals.index(f) for f in batch.functional]
    return torch.tensor(rows, device=batch.numbers.device)


def neutralized(raw: Outputs, batch: CrystalBatch, weights: Tensor | None) -> Outputs:
    """Outputs with Born charges that sum to zero in every cell; `weights` (n_atoms,) share the correction out."""
    neutral = dict(raw)
    if "born_charges" in raw:
        neutral["born_charges"] = acoustic_sum_rule(
            raw["born_charges"], batch.atom_crystal, batch.num_crystals, None, weights
        )
    return neutral

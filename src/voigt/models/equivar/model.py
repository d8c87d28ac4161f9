"""The Equivar network: a full tensor per atom, and tensors of the crystal by pooling."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from voigt.graphs import CrystalBatch
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivariant.readout import TensorReadout
from voigt.models.equivariant.trunk import Trunk, equivariant_values, high_degrees
from voigt.models.linear import Linear
from voigt.models.network import Members, Network, Outputs, neutralized
from voigt.models.readout import assembled, bounded, readout_names
from voigt.tensors.properties import PROPERTIES

IONIC = "eps_ionic"
COMPLIANCE = 0.1
"""Angstrom^2/eV, of an atom in a typical oxide: eps_ionic = 7 of MgO asks for 0.09."""
COULOMB = 180.9513
"""e^2 / (eV Angstrom eps_0)."""


class Equivar(Trunk, Network):
    """O(3)-equivariant message passing (Kutana et al., Sci. Rep. 15, 2025) with a readout per property."""

    hypers: EquivarHypers

    def __init__(self, hypers: EquivarHypers) -> None:
        super().__init__(hypers)
        f = hypers.channels
        paper = hypers.update == "linear"
        self.readouts = nn.ModuleDict(
            {
                name: TensorReadout(
                    PROPERTIES[name], f, hypers.init, hypers.element_reference, not paper, hypers.members
                )
                for name in readout_names(hypers.properties)
            }
        )
        self.high = high_degrees(hypers, self.readouts)
        if hypers.ionic == "charges" and IONIC in self.readouts:
            self._start_stiff()
        self.drift_weight = Linear(f, 1) if hypers.sum_rule == "learned" else None

    @property
    def trunk(self) -> Trunk:
        """The message passing of this network."""
        return self

    def _start_stiff(self) -> None:
        """Begin with the compliance of an oxide for every atom, since the labels are none of compliances."""
        readout = self.readout(IONIC)
        readout.starts_from_data = False
        with torch.no_grad():
            readout.weight.mul_(0.1)
            # The component of the unit matrix, of norm sqrt(3), in a normalized basis.
            readout.bias.fill_(math.log(COMPLIANCE) * math.sqrt(3.0))

    def forward_raw(self, batch: CrystalBatch) -> tuple[Outputs, Outputs]:
        """The outputs twice: as the network gives them, and with Born charges made neutral by its sum rule."""
        raw, neutral = self._outputs(batch)
        if self.hypers.members == 1:
            return raw, neutral
        return _mean_of_members(raw), _mean_of_members(neutral)

    def forward_members(self, batch: CrystalBatch) -> Members:
        """`forward_raw` of each head."""
        outputs = self._outputs(batch)
        if self.hypers.members == 1:
            return [outputs]
        raw, neutral = (
            [{name: value[:, k] for name, value in values.items()} for k in range(self.hypers.members)]
            for values in outputs
        )
        return list(zip(raw, neutral, strict=True))

    def training_pass(self, batch: CrystalBatch) -> tuple[Outputs, Outputs]:
        """What the heads give, on an axis after the first if there are several; no losses of its own."""
        return self._outputs(batch)[1], {}

    def _outputs(self, batch: CrystalBatch) -> tuple[Outputs, Outputs]:
        """`forward_raw` of all heads."""
        features = self.node_features(batch)
        of_atoms = () if self.hypers.ionic == "mean" else (IONIC,)
        values = equivariant_values(self, self.readouts, self.high, features, batch, of_atoms)
        values = {name: bounded(value, PROPERTIES[name]) for name, value in values.items()}
        if IONIC in values and self.hypers.ionic == "inverse":
            values[IONIC] = _inverse_mean(values[IONIC], batch)
        elif IONIC in values and self.hypers.ionic == "charges":
            values[IONIC] = _from_charges(neutralized(values, batch, None)["born_charges"], values[IONIC], batch)
        raw = assembled(values, self.hypers.properties)
        if self.hypers.sum_rule == "none":
            return raw, dict(raw)
        weights = None
        if self.drift_weight is not None:
            weights = nn.functional.softplus(self.drift_weight(features[:, 0])[:, 0])[batch.orbit]
        return raw, neutralized(raw, batch, weights)


def _mean_of_members(values: Outputs) -> Outputs:
    return {name: value.mean(dim=1) for name, value in values.items()}


def _inverse_mean(tensors: Tensor, batch: CrystalBatch) -> Tensor:
    """The inverse of the mean of inverse tensors, (n_atoms, ..., 3, 3) -> (n_crystals, ..., 3, 3)."""
    total = _sum_of_atoms(_inverse(tensors), batch)
    return _inverse(total / batch.num_atoms.view(-1, *[1] * (total.ndim - 1)))


def _from_charges(charges: Tensor, compliance: Tensor, batch: CrystalBatch) -> Tensor:
    """eps_ionic = sum over atoms of Z K Z^T / (eps_0 V).

    X. Gonze and C. Lee, Phys. Rev. B 55, 10355 (1997), Eq. 57 with the inverse force constants of all pairs replaced by
    one tensor K (Angstrom^2/eV) of each atom. `charges`: (n_atoms, ..., field, displacement), e.
    """
    total = _sum_of_atoms(charges @ compliance @ charges.transpose(-1, -2), batch)
    volume = torch.linalg.cross(batch.cell[:, 0], batch.cell[:, 1]).mul(batch.cell[:, 2]).sum(dim=1).abs()
    result: Tensor = total * (COULOMB / volume).view(-1, *[1] * (total.ndim - 1))
    return result


def _sum_of_atoms(values: Tensor, batch: CrystalBatch) -> Tensor:
    return values.new_zeros(batch.num_crystals, *values.shape[1:]).index_add(0, batch.atom_crystal, values)


def _inverse(matrix: Tensor) -> Tensor:
    """Of (..., 3, 3), by cofactors: `torch.linalg.inv` asks the device whether it went well."""
    a, b, c = matrix.unbind(dim=-2)
    columns = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=-1)
    volume = (a * columns[..., 0]).sum(dim=-1)
    return columns / volume[..., None, None]

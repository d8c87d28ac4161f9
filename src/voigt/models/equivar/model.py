"""The Equivar network: a full tensor per atom, and tensors of the crystal by pooling."""

from __future__ import annotations

from torch import Tensor, nn

from voigt.graphs import CrystalBatch
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivariant.readout import TensorReadout
from voigt.models.equivariant.trunk import Trunk, equivariant_values, high_degrees
from voigt.models.network import Network, neutralized
from voigt.models.readout import assembled, bounded, readout_names
from voigt.tensors.properties import PROPERTIES


class Equivar(Trunk, Network):
    """O(3)-equivariant message passing (Kutana et al., Sci. Rep. 15, 2025) with a readout per property."""

    hypers: EquivarHypers

    def __init__(self, hypers: EquivarHypers) -> None:
        super().__init__(hypers)
        f = hypers.channels
        paper = hypers.update == "linear"
        self.readouts = nn.ModuleDict(
            {
                name: TensorReadout(PROPERTIES[name], f, hypers.init, hypers.element_reference, not paper)
                for name in readout_names(hypers.properties)
            }
        )
        self.high = high_degrees(hypers, self.readouts)
        self.drift_weight = nn.Linear(f, 1) if hypers.sum_rule == "learned" else None

    @property
    def trunk(self) -> Trunk:
        """The message passing of this network."""
        return self

    def forward_raw(self, batch: CrystalBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs twice: as the network gives them, and with Born charges made neutral by its sum rule."""
        features = self.node_features(batch)
        values = equivariant_values(self, self.readouts, self.high, features, batch)
        raw = assembled({n: bounded(v, PROPERTIES[n]) for n, v in values.items()}, self.hypers.properties)
        if self.hypers.sum_rule == "none":
            return raw, dict(raw)
        weights = None
        if self.drift_weight is not None:
            weights = nn.functional.softplus(self.drift_weight(features[:, 0])[:, 0])[batch.orbit]
        return raw, neutralized(raw, batch, weights)

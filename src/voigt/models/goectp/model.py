"""GoeCTP: a canonical frame turns any backbone into an O(3)-equivariant model of tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from voigt.graphs import CrystalBatch
from voigt.models.equivariant.readout import TensorReadout
from voigt.models.equivariant.trunk import Trunk, equivariant_values, high_degrees
from voigt.models.goectp.backbones import EquivarBackbone, build_backbone
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.goectp.views import Views, views_of
from voigt.models.linear import Linear
from voigt.models.network import Network, Outputs, neutralized
from voigt.models.readout import Readout, assembled, bounded, readout_names
from voigt.tensors.projection import rotate
from voigt.tensors.properties import PROPERTIES, Property


class FrameReadout(Readout):
    """Components of a tensor in canonical axes from plain features, with a linear reference of the composition."""

    def __init__(self, prop: Property, width: int, hidden: int, reference: bool) -> None:
        super().__init__(prop, reference)
        self.inner = nn.Sequential(Linear(width, hidden), nn.SiLU())
        limit = 1.0 / math.sqrt(hidden)
        self.weight = nn.Parameter(torch.empty(len(self.basis), hidden).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.zeros(self.kinds.count("0e")))

    def forward(self, features: Tensor, reference: Tensor | None) -> Tensor:
        """(n, width), (n, number of 0e) -> (n, 3, ..., 3) in canonical axes."""
        components = self.inner(features) @ self.weight.T
        scalars = self.bias if reference is None else self.bias + reference
        added = torch.zeros_like(components)
        added[:, self.scalar_rows] = scalars.expand(len(components), -1)
        tensor: Tensor = ((components + added) @ self.basis.to(features.dtype)).view(-1, *self.shape)
        return tensor


class GoeCTP(Network):
    """Canonical frames around a backbone (Hua et al., arXiv 2410.02372, AAAI 2026).

    With L = QH the polar decomposition of the lattice (columns are lattice vectors), a vector has the canonical
    components Q^T v; the backbone reads the crystal in these and a head predicts the tensor's components t0. The
    result is Q.t0 (one frame), or the mean of (R Q).t0 over the operations R of the lattice.
    """

    def __init__(self, hypers: GoeCTPHypers) -> None:
        super().__init__()
        self.hypers: GoeCTPHypers = hypers
        self.backbone = build_backbone(hypers)
        self.readouts = nn.ModuleDict(
            {
                name: FrameReadout(PROPERTIES[name], hypers.width, hypers.hidden, hypers.element_reference)
                for name in readout_names(hypers.properties)
            }
        )

        self.linear, self.high = nn.ModuleDict(), nn.ModuleDict()
        if hypers.equivariant_readout and isinstance(self.backbone, EquivarBackbone):
            for name in self.readouts:
                linear = TensorReadout(PROPERTIES[name], hypers.width, "normal", False, True)
                with torch.no_grad():
                    linear.weight.mul_(0.1)
                self.linear[name] = linear
            self.high = high_degrees(self.backbone.trunk.hypers, self.linear)

    @property
    def trunk(self) -> Trunk | None:
        """Equivar's message passing if it is the backbone."""
        return self.backbone.trunk if isinstance(self.backbone, EquivarBackbone) else None

    def compile_products(self) -> None:
        """Run Equivar's tensor products through torch.compile; other backbones have none."""
        if self.trunk is not None:
            self.trunk.compile_products()

    def forward_raw(self, batch: CrystalBatch) -> tuple[Outputs, Outputs]:
        """The outputs twice: as the network gives them, and with Born charges made neutral by its sum rule."""
        views = views_of(batch, random=self.training and self.hypers.frame == "stochastic")
        features, added = self._features(batch, views)
        pooled = _mean_of_atoms(features, views, batch)
        raw = {}
        for name in self.readouts:
            readout, prop = self.readout(name), PROPERTIES[name]
            if prop.per == "atom":
                raw[name] = self._of_atoms(readout, prop, features, batch, views)
                raw[name] = raw[name] + added[name] if name in added else raw[name]
            else:
                raw[name] = self._of_crystals(readout, prop, pooled, added.get(name), batch, views)
        raw = assembled(raw, self.hypers.properties)
        return raw, neutralized(raw, batch, None) if self.hypers.sum_rule == "equal" else dict(raw)

    def _features(self, batch: CrystalBatch, views: Views) -> tuple[Tensor, Outputs]:
        """Plain features of the views' atoms, and equivariant tensors to which the head's are a correction."""
        if not isinstance(self.backbone, EquivarBackbone) or not self.linear:
            return self.backbone(batch, views), {}
        nodes = self.backbone.trunk.node_features(batch)
        added = equivariant_values(self.backbone.trunk, self.linear, self.high, nodes, batch)
        return self.backbone.in_views(nodes, batch, views), added

    def _of_crystals(
        self,
        readout: Readout,
        prop: Property,
        pooled: Tensor,
        added: Tensor | None,
        batch: CrystalBatch,
        views: Views,
    ) -> Tensor:
        reference = None
        if readout.reference is not None:
            total = pooled.new_zeros(batch.num_crystals, readout.reference.embedding_dim)
            total = total.index_add(0, batch.atom_crystal, readout.reference(batch.numbers))
            reference = (total / batch.num_atoms[:, None])[views.crystal]
        # The head's tensor has canonical components; t = Q.t0 has those of the input cell.
        tensor = rotate(readout(pooled, reference), views.frame, prop.rank)
        tensor = bounded(tensor if added is None else tensor + added[views.crystal], prop)
        if not views.single:
            tensor = _mean_of_rows(tensor, views.crystal, batch.num_crystals)
        if not self.training or self.hypers.frame == "average":
            tensor = _mean_of_operations(tensor, prop.rank, batch)
        return tensor

    def _of_atoms(
        self, readout: Readout, prop: Property, features: Tensor, batch: CrystalBatch, views: Views
    ) -> Tensor:
        reference = None if readout.reference is None else readout.reference(batch.numbers[views.atom])
        tensor = rotate(readout(features, reference), views.frame[views.atom_view], prop.rank)
        if not views.single:
            tensor = _mean_of_rows(tensor, views.atom, len(batch.numbers))
        return tensor


def _mean_of_atoms(features: Tensor, views: Views, batch: CrystalBatch) -> Tensor:
    total = features.new_zeros(views.count, features.shape[1]).index_add(0, views.atom_view, features)
    return total / batch.num_atoms[views.crystal][:, None]


def _mean_of_rows(tensor: Tensor, row: Tensor, count: int) -> Tensor:
    total = tensor.new_zeros(count, *tensor.shape[1:]).index_add(0, row, tensor)
    number = row.bincount(minlength=count).to(tensor.dtype)
    return total / number.view(-1, *[1] * (tensor.ndim - 1))


def _mean_of_operations(tensor: Tensor, rank: int, batch: CrystalBatch) -> Tensor:
    """Finish a mean over frames of which only one per coset of the point group was evaluated."""
    if rank == 0 or not len(batch.operations):
        return tensor
    # The frames of a coset are R Q for one Q and all operations R of the point group, so that their tensors are R.t.
    images = rotate(tensor[batch.operation_crystal], batch.operations, rank)
    return _mean_of_rows(images, batch.operation_crystal, batch.num_crystals)

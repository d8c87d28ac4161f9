"""Backbones behind one interface: from a batch and its views to plain features of every atom in every view."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from voigt.graphs import CrystalBatch
from voigt.models.equivariant.harmonics import NeighborHarmonics
from voigt.models.equivariant.hypers import TrunkHypers
from voigt.models.equivariant.paths import NODE_ROWS, NUM_ROWS
from voigt.models.equivariant.rotation import feature_rotation
from voigt.models.equivariant.strengths import RadialBasis
from voigt.models.equivariant.trunk import Trunk
from voigt.models.goectp.crystalformer import CrystalFormer
from voigt.models.goectp.ecomformer import EComFormer
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.goectp.icomformer import IComFormer
from voigt.models.goectp.views import Views, canonical
from voigt.models.linear import Linear
from voigt.models.network import functional_rows
from voigt.tensors.properties import PROPERTIES

Plain = EComFormer | IComFormer | CrystalFormer


class PlainBackbone(nn.Module):
    """A network that reads each canonical crystal.

    Where it sees neither axes nor lattice it reads the crystal as it is; the hyper-parameters then allow one view only.
    """

    def __init__(self, hypers: GoeCTPHypers, network: Plain) -> None:
        super().__init__()
        self.blind, self.functionals, self.network = hypers.blind, hypers.functionals, network
        self.functional = nn.Embedding(len(hypers.functionals), hypers.width) if hypers.functionals else None

    def forward(self, batch: CrystalBatch, views: Views) -> Tensor:
        """Features of the atoms of all views, (n_view_atoms, width)."""
        turned = batch if self.blind else canonical(batch, views)
        rows, condition = functional_rows(turned, self.functionals), None
        if self.functional is not None and rows is not None:
            condition = self.functional(rows)[turned.orbit_crystal]
        features: Tensor = self.network(turned, condition)[turned.orbit]
        return features


class EquivarBackbone(nn.Module):
    """Equivar's message passing, run once for all views.

    Its features are equivariant: a view of them is their components in the canonical axes, legal input to any layer.
    Without directions only the invariant ones are used. Tensors of rank 3 and 4 also get harmonics of degree 3 and 4 of
    the neighbors, the only ones that do not vanish at sites of cubic symmetry.
    """

    def __init__(self, hypers: GoeCTPHypers) -> None:
        super().__init__()
        settings = TrunkHypers(
            properties=hypers.properties,
            functionals=hypers.functionals,
            channels=hypers.width,
            interactions=hypers.layers,
            cutoff=hypers.cutoff,
            envelope=hypers.envelope,
            self_product=True,
            average_neighbors=hypers.average_neighbors,
        )
        self.trunk = Trunk(settings)
        self.rows = {"none": 1, "components": NODE_ROWS["2e"].start, "harmonics": NUM_ROWS}[hypers.directions]
        highest = max(PROPERTIES[name].rank for name in hypers.properties)
        degrees = range(3, highest + 1) if hypers.directions == "harmonics" else ()
        self.thin = max(hypers.width // 4, 1)
        self.high = nn.ModuleList(HighDegree(settings, degree, self.thin) for degree in degrees)
        inputs = self.rows * hypers.width + sum(2 * degree + 1 for degree in degrees) * self.thin
        self.mix = nn.Sequential(Linear(inputs, hypers.hidden), nn.SiLU())
        self.out = Linear(hypers.hidden, hypers.width)

    def forward(self, batch: CrystalBatch, views: Views) -> Tensor:
        """Features of the atoms of all views, (n_view_atoms, width)."""
        return self.in_views(self.trunk.node_features(batch), batch, views)

    def in_views(self, nodes: Tensor, batch: CrystalBatch, views: Views) -> Tensor:
        """The same from features (n_orbits, 12, channels) of the message passing."""
        if self.rows == 1:
            invariant: Tensor = self.out(self.mix(nodes[:, 0]))[batch.orbit]
            return invariant
        row = batch.orbit[views.atom]
        # From the axes of the representative to those of its atom (R), then to canonical ones (Q^T).
        turn = views.frame.mT[views.atom_view]
        if batch.rotation is not None:
            turn = turn @ batch.rotation[views.atom]
        components = [(feature_rotation(turn)[:, : self.rows] @ nodes[row]).flatten(1)]
        scalars = nodes[:, 0].index_select(0, batch.orbit)
        components += [layer(scalars, batch, self.trunk.radial, turn, row) for layer in self.high]
        plain: Tensor = self.out(self.mix(torch.cat(components, dim=1)))
        return plain


class HighDegree(nn.Module):
    """Components in the views of a sum over neighbors of harmonics of one degree."""

    points: Tensor
    inverse: Tensor

    def __init__(self, settings: TrunkHypers, degree: int, channels: int) -> None:
        super().__init__()
        self.neighbors = NeighborHarmonics(settings, degree)
        self.mix = Linear(settings.channels, channels, bias=False)
        points = _points(4 * degree + 2)
        self.register_buffer("points", points, False)
        self.register_buffer("inverse", torch.linalg.pinv(self.neighbors.harmonics(points)), False)

    def forward(self, scalars: Tensor, batch: CrystalBatch, radial: RadialBasis, turn: Tensor, row: Tensor) -> Tensor:
        """Flat components (n_view_atoms, (2 degree + 1) channels).

        Parameters
        ----------
        scalars
            (n_atoms, channels) invariant features of all atoms.
        batch
            The crystals; their edges are used.
        radial
            Radial functions of the message passing.
        turn
            (n_view_atoms, 3, 3) from the axes of the representative to those of the view.
        row
            (n_view_atoms,) representative of each atom of the views.
        """
        distance = torch.linalg.vector_norm(batch.edge_vector, dim=1)
        edges = (batch.edge_source, batch.edge_target, batch.edge_vector)
        geometry = (radial(distance), radial.envelope(distance))
        total = self.mix(self.neighbors(scalars, edges, geometry, len(batch.representative)))
        # Harmonics of turned points are the turned harmonics, Y(R p) = D Y(p), and more points than D has columns
        # determine D: with the pseudo-inverse of Y(p), D^T = Y(p)^+ Y(R p).
        moved = self.neighbors.harmonics(self.points.to(turn.dtype) @ turn.mT)
        turned: Tensor = (self.inverse.to(turn.dtype) @ moved).mT @ total[row]
        return turned.flatten(1)


def _points(count: int) -> Tensor:
    """Unit vectors spread evenly on the sphere (a spiral)."""
    place = torch.arange(count, dtype=torch.float64) + 0.5
    height = 1.0 - 2.0 * place / count
    angle = math.pi * (1.0 + math.sqrt(5.0)) * place
    radius = torch.sqrt(1.0 - height**2)
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle), height], dim=1)


def build_backbone(hypers: GoeCTPHypers) -> PlainBackbone | EquivarBackbone:
    """The backbone that the hyper-parameters name."""
    if hypers.backbone == "equivar":
        return EquivarBackbone(hypers)
    networks: dict[str, type[Plain]] = {
        "ecomformer": EComFormer,
        "icomformer": IComFormer,
        "crystalformer": CrystalFormer,
    }
    return PlainBackbone(hypers, networks[hypers.backbone](hypers))

"""eComFormer: attention on atoms and one equivariant update that sees angles."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from voigt.graphs import CrystalBatch
from voigt.models.elements import ElementEmbedding
from voigt.models.goectp.comformer import NodeAttention
from voigt.models.goectp.edges import EdgeEmbedding, directions
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.linear import Linear

CANCELLATION = 6.0
"""Neighbors surround the atoms of crystals almost evenly: vectors and quadrupoles of their directions cancel to about
one sixth of what independent directions would leave (seen in six crystals at the start of a training). Both products
make up for it."""


class EComFormer(nn.Module):
    """Invariant features of atoms by eComFormer (Yan et al., ICLR 2024).

    Node attention, the equivariant update after its first layer, node attention for the other layers. Blind
    (`directions` "none") it is invariant under rotations and reflections, and a graph reduced to the asymmetric unit
    gives what the full one gives. Different from the paper: every neighbor inside a cutoff, with a smooth envelope,
    instead of the nearest 16 to 25; learned element features instead of tabulated ones; see also NodeAttention and
    EquivariantUpdate.
    """

    def __init__(self, hypers: GoeCTPHypers) -> None:
        super().__init__()
        self.elements = ElementEmbedding(hypers.width, shared=True)
        self.edges = EdgeEmbedding(hypers)
        self.convolutions = nn.ModuleList(NodeAttention(hypers) for _ in range(hypers.layers))
        self.update = EquivariantUpdate(hypers)

    def forward(self, batch: CrystalBatch, condition: Tensor | None) -> Tensor:
        """(n_orbits, width); `condition` (n_orbits, width) is added to the elements' features."""
        nodes: Tensor = self.elements(batch.numbers[batch.representative])
        if condition is not None:
            nodes = nodes + condition
        edges = self.edges(batch.edge_vector)
        neighbor, target = batch.orbit[batch.edge_source], batch.edge_target
        unit = batch.edge_vector / edges.distance[:, None]
        harmonics = directions(unit, "harmonics")
        turned = harmonics
        if batch.rotation is not None:
            # A sender's vector is its representative's turned by R, and R v . r = v . R^T r; so for quadrupoles.
            rotation = batch.rotation[batch.edge_source]
            turned = directions(torch.einsum("eij,ei->ej", rotation, unit), "harmonics")
        for k, layer in enumerate(self.convolutions):
            nodes = layer(nodes, edges.features, edges.envelope, neighbor, target)
            if k == 0:
                nodes = self.update(nodes, edges.features, edges.envelope, harmonics, turned, neighbor, target)
        return nodes


class EquivariantUpdate(nn.Module):
    """Node-wise equivariant updating layer of eComFormer: scalars -> scalars, vectors, quadrupoles -> scalars.

    The first tensor product spreads the neighbors' scalars over harmonics (0e, 1o, 2e) of their directions, the second
    contracts what the neighbors have got with the harmonics towards them: scalars that depend on the angles between
    edges of neighboring atoms. Different from the paper: an edge weights every channel instead of every pair of
    channels, pairs being mixed on the atoms (width + width/4 weights per edge instead of width^2 + width^2/4, the same
    for the second product); sums over neighbors under the envelope, divided by the root of a typical number, instead
    of means, which are not continuous at the cutoff; LayerNorm instead of BatchNorm. Harmonics are normalized such that
    the scalars, vectors and quadrupoles that meet in the last linear layer are of the same order in typical crystals.
    """

    def __init__(self, hypers: GoeCTPHypers) -> None:
        super().__init__()
        width, self.channels = hypers.width, max(1, hypers.width // 8)
        total = width + 2 * self.channels
        self.skip = Linear(width, width)
        self.scalars = Linear(width, width)
        self.high = _unit_variance(Linear(width, 2 * self.channels, bias=False))
        self.first, self.second = _weights(width, total), _weights(width, total)
        self.mix = Linear(total, width)
        self.norm = nn.LayerNorm(width)
        self.out = Linear(width, width)
        self.scale = 1.0 / math.sqrt(hypers.average_neighbors)

    def forward(
        self,
        nodes: Tensor,
        edges: Tensor,
        envelope: Tensor,
        harmonics: Tensor,
        turned: Tensor,
        neighbor: Tensor,
        target: Tensor,
    ) -> Tensor:
        """One update.

        Parameters
        ----------
        nodes
            (n_orbits, width) features of the representatives.
        edges, envelope
            (n_edges, width), (n_edges, 1).
        harmonics
            (n_edges, 8) vector and quadrupole of the edge's direction, each of norm 1.
        turned
            (n_edges, 8) the same in the axes in which the sender is its representative.
        neighbor, target
            (n_edges,) rows of `nodes`: the sender's, the receiver's.

        Returns
        -------
        (n_orbits, width) invariants.
        """
        width, c, count = nodes.shape[1], self.channels, len(nodes)
        scalars = self.scalars(nodes)
        # First product: sum over neighbors of w(edge) s(neighbor) Y_l(direction) for l = 0, 1, 2. The roots of 2l + 1
        # give every component of a harmonic a mean square of one over the sphere.
        sent = torch.cat([scalars, self.high(scalars)], dim=1).index_select(0, neighbor)
        scalar, vector, quadrupole = (sent * self.first(edges) * envelope).split([width, c, c], dim=1)
        dipoles = CANCELLATION * math.sqrt(3.0) * harmonics[:, :3, None] * vector[:, None]
        quadrupoles = CANCELLATION * math.sqrt(5.0) * harmonics[:, 3:, None] * quadrupole[:, None]
        spread = torch.cat([scalar, dipoles.flatten(1), quadrupoles.flatten(1)], dim=1)
        between = self.scale * spread.new_zeros(count, width + 8 * c).index_add(0, target, spread)

        # Second product, to scalars: what a neighbor has got, dotted with the harmonics of the direction to it.
        sent = between.index_select(0, neighbor)
        high = sent[:, width:].unflatten(1, (8, c)) * (CANCELLATION * turned)[:, :, None]
        scalar = sent[:, :width] + scalars.index_select(0, neighbor)
        sent = torch.cat([scalar, high[:, :3].sum(dim=1), high[:, 3:].sum(dim=1)], dim=1)
        invariants = sent * self.second(edges) * envelope
        total = self.scale * invariants.new_zeros(count, width + 2 * c).index_add(0, target, invariants)
        hidden = functional.softplus(self.norm(self.mix(total)))
        updated: Tensor = functional.softplus(self.out(hidden)) + self.skip(nodes)
        return updated


def _weights(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(Linear(width, width), nn.Softplus(), _unit_variance(Linear(width, count)))


def _unit_variance(layer: nn.Linear) -> nn.Linear:
    """Outputs of order one from inputs of order one; torch's own start would make vectors and quadrupoles tiny."""
    nn.init.normal_(layer.weight, std=1.0 / math.sqrt(layer.in_features))
    return layer

"""iComFormer: attention on atoms, and of edges on the three lattice vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from voigt.graphs import CrystalBatch
from voigt.models.elements import ElementEmbedding
from voigt.models.goectp.comformer import GatedMessage, NodeAttention
from voigt.models.goectp.edges import EdgeEmbedding
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.linear import Linear

NUM_COSINES = 16
"""Gaussians on the cosine of an angle."""


class IComFormer(nn.Module):
    """Features of atoms by iComFormer (Yan et al., ICLR 2024).

    Node attention, the update of edges by the lattice, node attention for the other layers (with one layer only, the
    update comes first). An edge is described by its length, the lengths of three lattice vectors and its angles with
    them; as in the paper every atom is also its own neighbor along each of the three. With `directions` "none" the
    features are invariant under common rotations and reflections of edges and lattice; they depend on the choice of
    lattice vectors.

    Different from the paper: the lattice vectors are the rows of `batch.lattice` as they stand, a standard cell in
    canonical axes. The released code picks them from the first atom's neighbors, flips two of them to acute angles and
    all three to be right-handed: the outcome of ties depends on the order of neighbors, and a mirror image gets
    other angles, which breaks O(3). Every neighbor inside a cutoff, with a smooth envelope (none for the atoms' own
    images, which never come or go), instead of the nearest 16 to 25; learned element features; see also NodeAttention.
    """

    def __init__(self, hypers: GoeCTPHypers) -> None:
        super().__init__()
        self.elements = ElementEmbedding(hypers.width, shared=True)
        self.edges = EdgeEmbedding(hypers)
        self.convolutions = nn.ModuleList(NodeAttention(hypers) for _ in range(hypers.layers))
        self.update = LatticeAttention(hypers.width)

    def forward(self, batch: CrystalBatch, condition: Tensor | None) -> Tensor:
        """(n_orbits, width) from a full graph; `condition` (n_orbits, width) is added to the elements' features."""
        nodes: Tensor = self.elements(batch.numbers[batch.representative])
        if condition is not None:
            nodes = nodes + condition
        self_loops = torch.arange(len(nodes), device=nodes.device).repeat_interleave(3)
        neighbor = torch.cat([batch.orbit[batch.edge_source], self_loops])
        target = torch.cat([batch.edge_target, self_loops])
        vector = torch.cat([batch.edge_vector, batch.lattice[batch.orbit_crystal].flatten(0, 1)])
        edges = self.edges(vector)
        features = edges.features
        always = edges.envelope.new_ones(len(self_loops), 1)
        envelope = torch.cat([edges.envelope[: len(batch.edge_vector)], always])

        lengths = torch.linalg.vector_norm(batch.lattice, dim=2)
        axes = self.edges.radial(self.edges.functions(lengths.flatten())).unflatten(0, lengths.shape)
        crystal = batch.orbit_crystal[target]
        unit = (batch.lattice / lengths[:, :, None])[crystal]
        cosines = torch.einsum("eki,ei->ek", unit, vector / edges.distance[:, None])
        for k, layer in enumerate(self.convolutions):
            if k == min(1, len(self.convolutions) - 1):
                features = self.update(features, axes, cosines, crystal)
            nodes = layer(nodes, features, envelope, neighbor, target)
        return nodes


class LatticeAttention(nn.Module):
    """Edge-wise transformer layer of iComFormer: gated messages from the three lattice vectors to every edge.

    The query is the edge's; keys and messages are networks of the edge, a lattice vector's length (its own linear map
    for each of the three) and the cosine of the angle between both. Different from the paper: LayerNorm instead of
    BatchNorm; cosines enter the first layer of these networks as Gaussians, without a hidden layer of their own; linear
    maps that follow on one another are merged.
    """

    centers: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = Linear(width, width)
        self.edge = Linear(width, 2 * width)
        self.lengths = nn.ModuleList(Linear(width, 2 * width, bias=False) for _ in range(3))
        self.cosine = Linear(NUM_COSINES, 2 * width, bias=False)
        self.register_buffer("centers", torch.linspace(-1.0, 1.0, NUM_COSINES), persistent=False)
        self.messages = GatedMessage(width)
        self.out = Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, edges: Tensor, axes: Tensor, cosines: Tensor, crystal: Tensor) -> Tensor:
        """One update.

        Parameters
        ----------
        edges
            (n_edges, width)
        axes
            (n_crystals, 3, width) features of the lengths of lattice vectors.
        cosines
            (n_edges, 3) of the angles between edge and lattice vectors.
        crystal
            (n_edges,) crystal of each edge.

        Returns
        -------
        (n_edges, width)
        """
        # The linear layer of a concatenation (edge, length, cosine) is a sum of linear layers: that of a length runs
        # once per lattice vector, that of an edge once for its three messages.
        spacing = 2.0 / (NUM_COSINES - 1)
        gaussians = torch.exp(-0.5 * ((cosines[:, :, None] - self.centers) / spacing) ** 2)
        lengths = torch.stack([layer(axes[:, k]) for k, layer in enumerate(self.lengths)], dim=1)
        hidden = self.cosine(gaussians) + lengths.index_select(0, crystal) + self.edge(edges)[:, None]
        query = self.query(edges)[:, None].expand(-1, 3, -1).flatten(0, 1)
        messages = self.messages(query, hidden.flatten(0, 1)).unflatten(0, (-1, 3))
        return functional.softplus(edges + self.norm(self.out(messages.sum(dim=1))))

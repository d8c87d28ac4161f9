"""Attention by gates, shared by both backbones of ComFormer (Yan et al., ICLR 2024)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.linear import Linear


class GatedMessage(nn.Module):
    """Messages through elementwise gates: sigmoid(LayerNorm(query * key / sqrt(width))) * message.

    Key and message are two networks of one hidden layer on the same concatenated input. `forward` takes the output of
    their first linear layers, side by side, so that the caller may compute these where it is cheapest: the part of an
    atom once per atom, the part of a lattice vector once per crystal.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key, self.message = Linear(width, width), Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.scale = 1.0 / math.sqrt(width)

    def forward(self, query: Tensor, hidden: Tensor) -> Tensor:
        """(n, width) and (n, 2 width), before the activation -> (n, width)."""
        key, message = functional.silu(hidden).chunk(2, dim=1)
        gate = torch.sigmoid(self.norm(query * self.key(key) * self.scale))
        product: Tensor = gate * self.message(message)
        return product


class NodeAttention(nn.Module):
    """Node-wise transformer layer of ComFormer: gated messages from all neighbors.

    As in the paper, gates are elementwise (no softmax over neighbors), keys and messages are networks of receiver,
    sender and edge. Different from it: every message is multiplied by the envelope of its edge; gates are normalized by
    LayerNorm instead of BatchNorm, whose statistics mix the crystals of a batch, and the sum is divided by the root of
    a typical number of neighbors instead of being normalized; the linear maps of nodes and edges that the paper
    composes with the first linear layers of key and message are merged with them (the same functions).
    """

    def __init__(self, hypers: GoeCTPHypers) -> None:
        super().__init__()
        width = hypers.width
        self.query = Linear(width, width)
        self.first = Linear(3 * width, 2 * width)  # receiver, sender, edge -> key, message
        self.messages = GatedMessage(width)
        self.out = Linear(width, width)
        self.scale = 1.0 / math.sqrt(hypers.average_neighbors)

    def forward(self, nodes: Tensor, edges: Tensor, envelope: Tensor, neighbor: Tensor, target: Tensor) -> Tensor:
        """One layer.

        Parameters
        ----------
        nodes
            (n_orbits, width) features of the representatives.
        edges, envelope
            (n_edges, width), (n_edges, 1).
        neighbor, target
            (n_edges,) rows of `nodes`: the sender's, the receiver's.

        Returns
        -------
        (n_orbits, width)
        """
        # The linear layer of a concatenation is a sum of linear layers, those of atoms before they meet on edges.
        receiver, sender, edge = self.first.weight.chunk(3, dim=1)
        hidden = functional.linear(edges, edge, self.first.bias)
        hidden = hidden + functional.linear(nodes, receiver).index_select(0, target)
        hidden = hidden + functional.linear(nodes, sender).index_select(0, neighbor)
        message = self.messages(self.query(nodes).index_select(0, target), hidden)
        total = torch.zeros_like(nodes).index_add(0, target, message * envelope)
        return functional.softplus(nodes + self.out(total * self.scale))

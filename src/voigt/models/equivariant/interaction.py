"""One block of message passing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from voigt.models.equivariant.hypers import TrunkHypers
from voigt.models.equivariant.layers import NodeLinear, SelfProduct
from voigt.models.equivariant.messages import MessageFunction
from voigt.models.equivariant.paths import NODE_ROWS, coupling_paths
from voigt.models.equivariant.strengths import NetworkStrengths, make_strengths

CHUNK = 1024
"""Edges that a CPU handles at a time where no gradients are needed: the arrays of so many stay in its cache."""


class Interaction(nn.Module):
    """One block: messages from neighbors, sum, node linear, residual; optionally gates and a tensor square."""

    def __init__(self, hypers: TrunkHypers, num_elements: int) -> None:
        super().__init__()
        f = hypers.channels
        self.paths = coupling_paths(hypers.paths == "published")
        self.strengths = make_strengths(hypers, self.paths)
        self.linear = NodeLinear(f, hypers.init)
        self.scale = 1.0 / math.sqrt(hypers.average_neighbors)
        self.square = SelfProduct(f) if hypers.self_product else None
        self.square_linear = NodeLinear(f, hypers.init) if hypers.self_product else None
        self.gates = nn.Linear(f, 4 * f) if hypers.update == "gated" else None
        self.species = nn.Embedding(num_elements, 4 * f) if hypers.self_interaction == "species" else None
        if self.species is not None:
            nn.init.ones_(self.species.weight)

    def forward(
        self,
        atoms: Tensor,
        nodes: Tensor,
        numbers: Tensor,
        edges: tuple[Tensor, Tensor],
        geometry: tuple[Tensor, Tensor, list[Tensor]],
        product: MessageFunction,
    ) -> Tensor:
        """Update the representatives.

        Parameters
        ----------
        atoms, nodes
            Features of all atoms (n_atoms, 12, channels) and of the representatives (n_orbits, 12, channels).
        numbers
            (n_orbits,) atomic numbers of the representatives.
        edges
            (source atom, target orbit), (n_edges,) each.
        geometry
            Radial functions, envelope, couplings of the edges.
        product
            `messages` or its compiled form.
        """
        update = self.linear(self._sum_of_messages(atoms, nodes, edges, geometry, product))
        if self.square is not None and self.square_linear is not None:
            update = update + self.square_linear(self.square(update))
        if self.gates is not None:
            # Scalars may go through any function; the other types only through invariant factors, their gates.
            gates = self.gates(update[:, 0] + nodes[:, 0])[:, None]
            scalar, odd, axial, quad = gates.chunk(4, dim=-1)
            update = torch.cat(
                [
                    nn.functional.silu(scalar),
                    update[:, NODE_ROWS["1o"]] * torch.sigmoid(odd),
                    update[:, NODE_ROWS["1e"]] * torch.sigmoid(axial),
                    update[:, NODE_ROWS["2e"]] * torch.sigmoid(quad),
                ],
                dim=1,
            )
        if self.species is not None:
            scales = self.species(numbers).view(len(nodes), 4, -1)
            nodes = nodes * scales.repeat_interleave(torch.tensor([1, 3, 3, 5], device=nodes.device), dim=1)
        updated: Tensor = nodes + update
        return updated

    def _sum_of_messages(
        self,
        atoms: Tensor,
        nodes: Tensor,
        edges: tuple[Tensor, Tensor],
        geometry: tuple[Tensor, Tensor, list[Tensor]],
        product: MessageFunction,
    ) -> Tensor:
        """(n_orbits, 12, channels) over the root of a typical number of neighbors."""
        source, target = edges
        radial, envelope, couplings = geometry
        ends = None
        if isinstance(self.strengths, NetworkStrengths):
            ends = self.strengths.ends(atoms, nodes, source, target)
        if torch.is_grad_enabled() or nodes.is_cuda:
            strengths = self._strengths_of(radial, envelope, ends)
            return product(atoms, strengths, couplings, source, target, len(nodes), self.paths) * self.scale
        total = torch.zeros_like(nodes)
        for first in range(0, len(source), CHUNK):
            rows = slice(first, first + CHUNK)
            strengths = self._strengths_of(radial[rows], envelope[rows], None if ends is None else ends[rows])
            # Edges are sorted by target: a chunk adds to a stretch of atoms only, so that the cost stays linear.
            low, high = int(target[first]), int(target[rows][-1]) + 1
            chunk = [coupling[rows] for coupling in couplings]
            sums = product(atoms, strengths, chunk, source[rows], target[rows] - low, high - low, self.paths)
            total[low:high] += sums
        return total * self.scale

    def _strengths_of(self, radial: Tensor, envelope: Tensor, ends: Tensor | None) -> list[Tensor]:
        """For each path the strengths of some edges."""
        if isinstance(self.strengths, NetworkStrengths):
            strengths: list[Tensor] = self.strengths(radial, envelope, ends)
        else:
            strengths = self.strengths(radial, envelope)
        return strengths

"""One block of message passing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from voigt.models.equivariant.hypers import TrunkHypers
from voigt.models.equivariant.layers import NodeLinear, SelfProduct
from voigt.models.equivariant.messages import Edges, Kernels, from_scalars, summed_messages
from voigt.models.equivariant.paths import NODE_ROWS, NODE_TYPES
from voigt.models.equivariant.strengths import make_strengths
from voigt.models.linear import Linear
from voigt.tensors.irreps import dimension


class Interaction(nn.Module):
    """One block: messages from neighbors, sum, node linear, residual; optionally gates and a tensor square."""

    def __init__(self, hypers: TrunkHypers, num_elements: int) -> None:
        super().__init__()
        f = hypers.channels
        self.strengths = make_strengths(hypers)
        self.linear = NodeLinear(f, hypers.init)
        self.scale = 1.0 / math.sqrt(hypers.average_neighbors)
        self.square = SelfProduct(f) if hypers.self_product else None
        self.square_linear = NodeLinear(f, hypers.init) if hypers.self_product else None
        self.gates = Linear(f, 4 * f) if hypers.update == "gated" else None
        self.species = nn.Embedding(num_elements, 4 * f) if hypers.self_interaction == "species" else None
        if self.species is not None:
            nn.init.ones_(self.species.weight)

    def forward(
        self,
        atoms: Tensor,
        nodes: Tensor,
        numbers: Tensor,
        edges: Edges,
        geometry: tuple[Tensor, Tensor],
        kernels: Kernels,
        scalars: bool = False,
    ) -> Tensor:
        """Update the representatives.

        Parameters
        ----------
        atoms, nodes
            Features of all atoms (n_atoms, 12, channels) and of the representatives (n_orbits, 12, channels).
        numbers
            (n_orbits,) atomic numbers of the representatives.
        edges
            Who sends to whom, and the axes of the edges.
        geometry
            Radial functions and envelope of the edges.
        kernels
            How messages are computed, see `summed_messages`.
        scalars
            Whether the features are scalars alone, all other rows zero.
        """
        terms, factors = self.strengths.terms, self.strengths(*geometry, atoms, nodes, edges)
        if scalars:
            terms, factors = from_scalars(terms, factors)
        total = summed_messages(atoms, factors, edges, len(nodes), terms, kernels)
        update = self.linear(total * self.scale)
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
            scales = self.species(numbers).view(len(nodes), 4, -1).unbind(1)
            sizes = [dimension(kind) for kind in NODE_TYPES]
            rows = [scale[:, None].expand(-1, size, -1) for scale, size in zip(scales, sizes, strict=True)]
            nodes = nodes * torch.cat(rows, dim=1)
        updated: Tensor = nodes + update
        return updated

"""Real spherical harmonics of edge directions, in e3nn's order of components, phases and normalizations."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from voigt.models.equivariant.hypers import TrunkHypers
from voigt.models.equivariant.messages import CHUNK_NUMBERS
from voigt.models.linear import Linear
from voigt.tensors.irreps import wigner_3j


class SphericalHarmonics(nn.Module):
    """Harmonics of the directions of vectors, those of all degrees side by side.

    With the normalization "component" the squares of each degree sum to 2l + 1 ("0e" is 1, "1o" is sqrt(3) x, y, z);
    "integral" divides by sqrt(4 pi), so that the integral of each square over the sphere is one. A vector of length
    zero has the constant of degree 0 only.
    """

    def __init__(self, degrees: tuple[int, ...], normalization: Literal["component", "integral"]) -> None:
        super().__init__()
        self.degrees = degrees
        self.factor = 1.0 if normalization == "component" else 1.0 / math.sqrt(4.0 * math.pi)
        for degree in range(max(degrees)):
            self.register_buffer(f"raise{degree}", _raising(degree), persistent=False)

    def forward(self, vector: Tensor) -> Tensor:
        """(..., 3) vectors of any length -> (..., sum of 2 degree + 1)."""
        unit = nn.functional.normalize(vector, dim=-1)
        rows = [torch.full_like(unit[..., :1], self.factor)]
        for degree in range(max(self.degrees)):
            # The part of angular momentum l + 1 of Y^l times r is a multiple of Y^(l + 1).
            pairs = (rows[-1][..., :, None] * unit[..., None, :]).flatten(-2)
            rows.append(pairs @ self.get_buffer(f"raise{degree}").to(unit.dtype))
        return torch.cat([rows[degree] for degree in self.degrees], dim=-1)


def _raising(degree: int) -> Tensor:
    """(3 (2l + 1), 2l + 3) float64: products of harmonics of degree l with a unit vector -> degree l + 1."""
    coupling = wigner_3j(f"{degree}e", "1e", f"{degree + 1}e")
    # At the pole, r = (0, 1, 0), only the middle component of a degree differs from zero: it is sqrt(2l + 1).
    size = math.sqrt((2 * degree + 3) / (2 * degree + 1)) / coupling[degree, 1, degree + 1]
    return torch.tensor(size * coupling.reshape(-1, 2 * degree + 3))


class NeighborHarmonics(nn.Module):
    """Sum over neighbors of a harmonic of any degree times strengths from distance and the sender's scalars.

    Sites of tetrahedral or cubic symmetry have no invariant vector or quadrupole, so that octupoles (piezoelectricity)
    and hexadecapoles (elastic anisotropy) cannot come from products of the node types, only from the geometry.
    """

    def __init__(self, hypers: TrunkHypers, degree: int) -> None:
        super().__init__()
        self.degree, self.scale = degree, 1.0 / math.sqrt(hypers.average_neighbors)
        self.harmonics = SphericalHarmonics((degree,), "component")
        self.radial = Linear(hypers.num_radial, hypers.hidden)
        self.source = Linear(hypers.channels, hypers.hidden, bias=False)
        self.out = Linear(hypers.hidden, hypers.channels, bias=False)

    def forward(
        self,
        scalars: Tensor,
        edges: tuple[Tensor, Tensor, Tensor],
        geometry: tuple[Tensor, Tensor],
        num_targets: int,
    ) -> Tensor:
        """Sum over the neighbors of each representative.

        Parameters
        ----------
        scalars
            (n_atoms, channels) invariant features of all atoms.
        edges
            Source atom, target orbit (n_edges,), vector (n_edges, 3).
        geometry
            Radial functions and envelope of the edges.
        num_targets
            Number of orbits.

        Returns
        -------
        (num_targets, 2 degree + 1, channels)
        """
        source, target, vector = edges
        radial, envelope = geometry
        harmonics = self.harmonics(vector)
        # The strength of an edge is invariant, so that the sum turns as the harmonics do.
        hidden = self.radial(radial) + self.source(scalars).index_select(0, source)
        strengths = self.out(nn.functional.silu(hidden) * envelope) * self.scale
        total = scalars.new_zeros(num_targets, 2 * self.degree + 1, scalars.shape[1])
        if torch.is_grad_enabled() or scalars.device.type != "cpu":
            return total.index_add(0, target, harmonics[:, :, None] * strengths[:, None])
        size = max(CHUNK_NUMBERS // scalars.shape[1], 1)
        for first in range(0, len(source), size):  # as many products as stay in the cache
            rows = slice(first, first + size)
            total.index_add_(0, target[rows], harmonics[rows, :, None] * strengths[rows, None])
        return total

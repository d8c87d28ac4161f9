"""What every backbone sees of an edge: its length and, in canonical axes, its direction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.linear import Linear
from voigt.models.radial import envelope, harmonics

NUM_DIRECTIONS = {"none": 0, "components": 3, "harmonics": 8}


@dataclass(frozen=True)
class Edges:
    """Features of edges.

    Attributes
    ----------
    features
        (n_edges, width) of length and direction.
    envelope
        (n_edges, 1) falls smoothly to zero at the cutoff: factor of everything that an edge contributes.
    distance
        (n_edges,) Angstrom.
    """

    features: Tensor
    envelope: Tensor
    distance: Tensor


class EdgeEmbedding(nn.Module):
    """Radial functions of -0.75/r (ComFormer) through a small network, plus a linear map of directions."""

    centers: Tensor

    def __init__(self, hypers: GoeCTPHypers) -> None:
        super().__init__()
        self.cutoff, self.envelope_kind, self.directions = hypers.cutoff, hypers.envelope, hypers.directions
        self.register_buffer("centers", torch.linspace(-1.0, 0.0, hypers.num_radial), persistent=False)
        first = Linear(hypers.num_radial, hypers.width)
        nn.init.normal_(first.weight)  # the default start would make all distances look nearly the same
        self.radial = nn.Sequential(first, nn.Softplus())
        count = NUM_DIRECTIONS[hypers.directions]
        self.direction = Linear(count, hypers.width, bias=False) if count else None

    def forward(self, vector: Tensor) -> Edges:
        """(n_edges, 3) in canonical axes, Angstrom; no edge may be of length zero."""
        distance = torch.linalg.vector_norm(vector, dim=1)
        features = self.radial(self.functions(distance))
        if self.direction is not None:
            features = features + self.direction(directions(vector / distance[:, None], self.directions))
        return Edges(features, envelope(distance, self.cutoff, self.envelope_kind), distance)

    def functions(self, distance: Tensor) -> Tensor:
        """(n_edges,) -> (n_edges, num_radial) Gaussians of the spacing's width on even centers of -0.75/r."""
        spacing = 1.0 / (len(self.centers) - 1)
        inverse = -0.75 / distance.clamp(min=0.5)
        return torch.exp(-0.5 * ((inverse[:, None] - self.centers) / spacing) ** 2)


def directions(unit: Tensor, kind: str) -> Tensor:
    """(n, 3) unit vectors -> their components (n, 3), or with the five quadrupole components (n, 8)."""
    return unit if kind == "components" else harmonics(unit)

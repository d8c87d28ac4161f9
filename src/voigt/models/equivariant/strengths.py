"""How strongly two atoms couple: radial functions of the distance, and the factors of each coupling and channel."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from voigt.models.equivariant.hypers import TrunkHypers
from voigt.models.equivariant.layers import initial_weights
from voigt.models.equivariant.paths import Path
from voigt.models.radial import envelope


def shifted_softplus(x: Tensor) -> Tensor:
    """log(1 + e^x) - log 2, zero at zero."""
    return nn.functional.softplus(x) - math.log(2.0)


class RadialBasis(nn.Module):
    """Gaussians on evenly spaced centers: exp(-(r - mu_n)^2 / (2 D^2)) with D the spacing."""

    centers: Tensor

    def __init__(self, hypers: TrunkHypers) -> None:
        super().__init__()
        self.cutoff, self.envelope_kind = hypers.cutoff, hypers.envelope
        self.spacing = hypers.cutoff / (hypers.num_radial - 1)
        self.register_buffer("centers", torch.linspace(0.0, hypers.cutoff, hypers.num_radial), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """(n_edges,) Angstrom -> (n_edges, num_radial)."""
        return torch.exp(-0.5 * ((distance[:, None] - self.centers) / self.spacing) ** 2)

    def envelope(self, distance: Tensor) -> Tensor:
        """(n_edges, 1): 1 without envelope, else falls smoothly to 0 at the cutoff."""
        return envelope(distance, self.cutoff, self.envelope_kind)


class SharedStrengths(nn.Module):
    """The paper's coupling strengths: edge features are linear in (radial x harmonic), weights common to all edges.

    Because the weights W_p (channel u, edge channel v) are shared, q_p[e, u] = sum_v W_p[u, v] (R W_edge)[e, v] is one
    matrix product for all couplings of an edge type: no per-edge outer product of features is ever formed.
    """

    def __init__(self, hypers: TrunkHypers, paths: tuple[Path, ...]) -> None:
        super().__init__()
        f, n = hypers.channels, hypers.num_radial
        self.paths, self.num_radial = paths, n
        self.scalar_harmonic = 1.0 / math.sqrt(4.0 * math.pi) if hypers.normalization == "integral" else 1.0
        self.edge = nn.ParameterDict({kind: initial_weights((n, f), hypers.init) for kind in ("0e", "1o", "2e")})
        self.edge_bias = nn.Parameter(torch.zeros(f))
        self.coupling = initial_weights((len(paths), f, f), hypers.init)
        self.scalar_paths = [p for p, path in enumerate(paths) if path.edge == "0e"]
        self.directed_paths = [p for p, path in enumerate(paths) if path.edge != "0e"]

    def forward(self, radial: Tensor, envelope: Tensor) -> list[Tensor]:
        """For each path the strengths (n_edges, channels)."""
        radial = radial * envelope / math.sqrt(self.num_radial)
        # A scalar edge feature holds the constant harmonic inside its softplus; the couplings multiply by it once
        # more, so it is divided out here.
        scalar = shifted_softplus(self.scalar_harmonic * radial @ self.edge["0e"] + self.edge_bias)
        # A bias and a shifted softplus do not vanish with the radial functions: the envelope acts once more.
        scalar = (scalar * envelope) / self.scalar_harmonic
        # One batched product for couplings with scalar edges, one for those with directed ones.
        weights = torch.stack([self.edge[self.paths[p].edge] @ self.coupling[p].T for p in self.directed_paths])
        directed = torch.matmul(radial, weights).unbind(0)
        scalars = torch.matmul(scalar, self.coupling[self.scalar_paths].transpose(1, 2)).unbind(0)
        places = [*self.scalar_paths, *self.directed_paths]
        strengths = dict(zip(places, [*scalars, *directed], strict=True))
        return [strengths[p] for p in range(len(self.paths))]


class NetworkStrengths(nn.Module):
    """Coupling strengths from a small network of the distance and, for 'pair', of the scalars of both ends."""

    def __init__(self, hypers: TrunkHypers, paths: tuple[Path, ...]) -> None:
        super().__init__()
        f, hidden = hypers.channels, hypers.hidden
        self.num_paths, self.channels, self.pair = len(paths), f, hypers.weights == "pair"
        self.radial = nn.Linear(hypers.num_radial, hidden)
        if self.pair:
            self.source = nn.Linear(f, hidden, bias=False)
            self.target = nn.Linear(f, hidden, bias=False)
        self.out = nn.Linear(hidden, self.num_paths * f, bias=False)
        nn.init.normal_(self.out.weight, std=2.0 / math.sqrt(hidden))

    def ends(self, atoms: Tensor, nodes: Tensor, source: Tensor, target: Tensor) -> Tensor | None:
        """What the scalars of both ends add to the hidden layer, (n_edges, hidden); None for 'radial'."""
        if not self.pair:
            return None
        # The linear layer of a concatenation is a sum of linear layers: these run once per atom, not once per edge.
        sending: Tensor = self.source(atoms[:, 0]).index_select(0, source)
        receiving: Tensor = self.target(nodes[:, 0]).index_select(0, target)
        return sending + receiving

    def forward(self, radial: Tensor, envelope: Tensor, ends: Tensor | None) -> list[Tensor]:
        """For each path the strengths (n_edges, channels)."""
        hidden = self.radial(radial)
        if ends is not None:
            hidden = hidden + ends
        weights = self.out.weight.view(self.num_paths, self.channels, -1).transpose(1, 2)
        # The last layer has no bias: with the envelope in front of it, strengths vanish at the cutoff.
        return list(torch.matmul(nn.functional.silu(hidden) * envelope, weights).unbind(0))


def make_strengths(hypers: TrunkHypers, paths: tuple[Path, ...]) -> SharedStrengths | NetworkStrengths:
    """The kind of coupling strengths that the hyper-parameters name."""
    return SharedStrengths(hypers, paths) if hypers.weights == "shared" else NetworkStrengths(hypers, paths)

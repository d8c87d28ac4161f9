"""How strongly two atoms couple: radial functions of the distance, and the factors of each coupling and channel."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from voigt.models.equivariant.frames import coupling_terms
from voigt.models.equivariant.hypers import TrunkHypers
from voigt.models.equivariant.layers import initial_weights
from voigt.models.equivariant.messages import Edges, Factor
from voigt.models.equivariant.paths import coupling_paths
from voigt.models.linear import Linear
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

    def __init__(self, hypers: TrunkHypers) -> None:
        super().__init__()
        f, n = hypers.channels, hypers.num_radial
        self.paths, self.num_radial = coupling_paths(hypers.paths == "published"), n
        self.scalar_harmonic = harmonic_constant(hypers)
        self.edge = nn.ParameterDict({kind: initial_weights((n, f), hypers.init) for kind in ("0e", "1o", "2e")})
        self.edge_bias = nn.Parameter(torch.zeros(f))
        self.coupling = initial_weights((len(self.paths), f, f), hypers.init)
        self.scalar_paths = [p for p, path in enumerate(self.paths) if path.edge == "0e"]
        self.directed_paths = [p for p, path in enumerate(self.paths) if path.edge != "0e"]
        ordered = tuple(self.paths[p] for p in (*self.scalar_paths, *self.directed_paths))
        self.terms = coupling_terms(ordered, f, self.scalar_harmonic, mixed=False).terms

    def forward(self, radial: Tensor, envelope: Tensor, _atoms: Tensor, _nodes: Tensor, _edges: Edges) -> list[Factor]:
        """Strengths of the couplings with scalar edges, then those of the others."""
        radial = radial * envelope / math.sqrt(self.num_radial)
        # A scalar edge feature holds the constant harmonic inside its softplus; the couplings multiply by it once
        # more, so it is divided out here.
        scalar = shifted_softplus(self.scalar_harmonic * radial @ self.edge["0e"] + self.edge_bias)
        # A bias and a shifted softplus do not vanish with the radial functions: the envelope acts once more.
        scalar = (scalar * envelope) / self.scalar_harmonic
        weights = torch.stack([self.coupling[p] @ self.edge[self.paths[p].edge].T for p in self.directed_paths])
        return [Factor(scalar, torch.stack([self.coupling[p] for p in self.scalar_paths])), Factor(radial, weights)]


class NetworkStrengths(nn.Module):
    """Coupling strengths from a small network of the distance and, for 'pair', of the scalars of both ends."""

    mixing: Tensor

    def __init__(self, hypers: TrunkHypers) -> None:
        super().__init__()
        f, hidden = hypers.channels, hypers.hidden
        paths = coupling_paths(hypers.paths == "published")
        self.num_paths, self.channels, self.pair = len(paths), f, hypers.weights == "pair"
        self.radial = Linear(hypers.num_radial, hidden)
        if self.pair:
            self.source = Linear(f, hidden, bias=False)
            self.target = Linear(f, hidden, bias=False)
        self.out = Linear(hidden, self.num_paths * f, bias=False)
        nn.init.normal_(self.out.weight, std=2.0 / math.sqrt(hidden))
        couplings = coupling_terms(paths, 1, harmonic_constant(hypers), mixed=True)
        self.terms = couplings.terms
        self.register_buffer("mixing", torch.tensor(couplings.mixing), persistent=False)

    def forward(self, radial: Tensor, envelope: Tensor, atoms: Tensor, nodes: Tensor, edges: Edges) -> list[Factor]:
        """Strengths of all couplings from one hidden layer."""
        hidden = self.radial(radial)
        if self.pair:
            # The linear layer of a concatenation is a sum of linear layers: they run once per atom, not once per edge.
            hidden = hidden + self.source(atoms[:, 0]).index_select(0, edges.source)
            hidden = hidden + self.target(nodes[:, 0]).index_select(0, edges.target)
        weights = self.mixing.to(self.out.weight.dtype) @ self.out.weight.view(self.num_paths, -1)
        # The last layer has no bias: with the envelope in front of it, strengths vanish at the cutoff.
        return [Factor(nn.functional.silu(hidden) * envelope, weights.unflatten(1, (self.channels, -1)))]


def harmonic_constant(hypers: TrunkHypers) -> float:
    """Harmonic of degree 0."""
    return 1.0 / math.sqrt(4.0 * math.pi) if hypers.normalization == "integral" else 1.0


def make_strengths(hypers: TrunkHypers) -> SharedStrengths | NetworkStrengths:
    """The kind of coupling strengths that the hyper-parameters name."""
    return SharedStrengths(hypers) if hypers.weights == "shared" else NetworkStrengths(hypers)

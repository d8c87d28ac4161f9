"""Building blocks of Equivar: radial functions, coupling strengths, messages, node updates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from e3nn import o3
from torch import Tensor, nn

from voigt.models.equivariant.hypers import TrunkHypers
from voigt.models.equivariant.messages import MessageFunction
from voigt.models.equivariant.paths import NODE_ROWS, NODE_TYPES, NUM_ROWS, Path, coupling_paths, wigner_3j
from voigt.models.radial import envelope


def shifted_softplus(x: Tensor) -> Tensor:
    """log(1 + e^x) - log 2, zero at zero."""
    return nn.functional.softplus(x) - math.log(2.0)


def initial_weights(shape: Sequence[int], init: str) -> nn.Parameter:
    """Standard normal or uniform(-1, 1) weights."""
    tensor = torch.empty(*shape)
    return nn.Parameter(tensor.normal_() if init == "normal" else tensor.uniform_(-1.0, 1.0))


class RadialBasis(nn.Module):
    """Gaussians on evenly spaced centres: exp(-(r - mu_n)^2 / (2 D^2)) with D the spacing (spec: gamma = 1/(2 D^2))."""

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
        scalar = shifted_softplus(self.scalar_harmonic * radial @ self.edge["0e"] + self.edge_bias)
        # A bias and a shifted softplus do not vanish with the radial functions: the envelope acts once more.
        scalar = (scalar * envelope) / self.scalar_harmonic
        # One batched product for couplings with scalar edges, one for those with directed ones.
        weights = torch.stack([self.edge[self.paths[p].edge] @ self.coupling[p].T for p in self.directed_paths])
        directed = torch.matmul(radial, weights).unbind(0)
        scalars = torch.matmul(scalar, self.coupling[self.scalar_paths].transpose(1, 2)).unbind(0)
        places = [*self.scalar_paths, *self.directed_paths]
        found = dict(zip(places, [*scalars, *directed], strict=True))
        return [found[p] for p in range(len(self.paths))]


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

    def ends(self, full: Tensor, own: Tensor, source: Tensor, target: Tensor) -> Tensor | None:
        """What the scalars of both ends add to the hidden layer, (n_edges, hidden); None for 'radial'."""
        if not self.pair:
            return None
        sending: Tensor = self.source(full[:, 0]).index_select(0, source)
        receiving: Tensor = self.target(own[:, 0]).index_select(0, target)
        return sending + receiving

    def forward(self, radial: Tensor, envelope: Tensor, ends: Tensor | None) -> list[Tensor]:
        """For each path the strengths (n_edges, channels)."""
        hidden = self.radial(radial)
        if ends is not None:
            hidden = hidden + ends
        weights = self.out.weight.view(self.num_paths, self.channels, -1).transpose(1, 2)
        return list(torch.matmul(nn.functional.silu(hidden) * envelope, weights).unbind(0))


def make_strengths(hypers: TrunkHypers, paths: tuple[Path, ...]) -> SharedStrengths | NetworkStrengths:
    """The kind of coupling strengths that the hyper-parameters name."""
    return SharedStrengths(hypers, paths) if hypers.weights == "shared" else NetworkStrengths(hypers, paths)


class NodeLinear(nn.Module):
    """Channel mixing separately for each of the four types; bias on scalars; weights scaled by 1/sqrt(channels)."""

    def __init__(self, channels: int, init: str) -> None:
        super().__init__()
        self.weight = initial_weights((len(NODE_TYPES), channels, channels), init)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = 1.0 / math.sqrt(x.shape[-1])
        rows = [x[:, NODE_ROWS[kind]] @ (self.weight[k] * scale) for k, kind in enumerate(NODE_TYPES)]
        rows[0] = rows[0] + self.bias
        return torch.cat(rows, dim=1)


class SelfProduct(nn.Module):
    """Weighted tensor square of node features, channel by channel: correlations of two neighbours at once."""

    coupling: Tensor
    path_of_row: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        blocks, path_rows, outs = [], [], []
        count = 0
        for out in NODE_TYPES:
            for i, first in enumerate(NODE_TYPES):
                for second in NODE_TYPES[i:]:
                    product = list(o3.Irrep(first) * o3.Irrep(second))
                    if o3.Irrep(out) not in product:
                        continue
                    tensor = wigner_3j(first, second, out)
                    if first == second and torch.allclose(tensor, -tensor.transpose(0, 1)):
                        continue  # an antisymmetric square of one vector is zero
                    block = torch.zeros(NUM_ROWS, NUM_ROWS, tensor.shape[2], dtype=torch.float64)
                    block[NODE_ROWS[first], NODE_ROWS[second]] = tensor * math.sqrt(tensor.shape[2])
                    blocks.append(block)
                    path_rows += [count] * tensor.shape[2]
                    count += 1
            outs.append(count)
        full = torch.cat(blocks, dim=2)
        upper = torch.triu_indices(NUM_ROWS, NUM_ROWS)
        full = full + full.transpose(0, 1)
        full[range(NUM_ROWS), range(NUM_ROWS)] *= 0.5
        self.register_buffer("coupling", full[upper[0], upper[1]].T.contiguous(), False)
        self.register_buffer("first", upper[0], False)
        self.register_buffer("second", upper[1], False)
        self.register_buffer("path_of_row", torch.tensor(path_rows), False)
        rows = [next(r for r, p in enumerate(path_rows) if p >= start) for start in [0, *outs[:-1]]] + [len(path_rows)]
        self.spans = [(rows[k], rows[k + 1], outs[k] - (outs[k - 1] if k else 0)) for k in range(len(NODE_TYPES))]
        fan = torch.cat([torch.full((n,), n**-0.5) for _, _, n in self.spans])
        self.register_buffer("fan", fan[:, None], False)
        self.weight = nn.Parameter(torch.randn(count, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 12, channels) -> (n, 12, channels)."""
        # Squares of squares overflow: the square acts on features whose mean square cannot exceed one.
        x = x / torch.sqrt(1.0 + x.square().sum(dim=1, keepdim=True).mean(dim=2, keepdim=True))
        pairs = x.index_select(1, self.get_buffer("first")) * x.index_select(1, self.get_buffer("second"))
        coupled = torch.einsum("kp,npu->nku", self.coupling.to(x.dtype), pairs)
        coupled = coupled * (self.weight * self.get_buffer("fan")).index_select(0, self.path_of_row)
        return torch.cat(
            [coupled[:, a:b].view(len(x), n, -1, x.shape[-1]).sum(1) for a, b, n in self.spans], dim=1
        )


class NeighborHarmonics(nn.Module):
    """Sum over neighbors of a harmonic of any degree times strengths from distance and the sender's scalars.

    Sites of tetrahedral or cubic symmetry have no invariant vector or quadrupole, so that octupoles (piezoelectricity)
    and hexadecapoles (elastic anisotropy) cannot come from products of the node types, only from the geometry.
    """

    def __init__(self, hypers: TrunkHypers, degree: int) -> None:
        super().__init__()
        self.degree, self.scale = degree, 1.0 / math.sqrt(hypers.average_neighbors)
        self.harmonics = o3.SphericalHarmonics(degree, normalize=True, normalization="component")
        self.radial = nn.Linear(hypers.num_radial, hypers.hidden)
        self.source = nn.Linear(hypers.channels, hypers.hidden, bias=False)
        self.out = nn.Linear(hypers.hidden, hypers.channels, bias=False)

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
        hidden = self.radial(radial) + self.source(scalars).index_select(0, source)
        strengths = self.out(nn.functional.silu(hidden) * envelope) * self.scale
        total = scalars.new_zeros(num_targets, 2 * self.degree + 1, scalars.shape[1])
        return total.index_add(0, target, harmonics[:, :, None] * strengths[:, None])


CHUNK = 1024
"""Edges handled at a time where no gradients are needed: the arrays of so many stay in the processor's cache."""


def _add_rows(total: Tensor, low: int, high: int, sums: Tensor) -> Tensor:
    if torch.is_grad_enabled():  # a single chunk
        return nn.functional.pad(sums, (0, 0, 0, 0, low, len(total) - high))
    total[low:high] += sums
    return total


class Interaction(nn.Module):
    """One block: messages from neighbours, sum, node linear, residual; optionally gates and a tensor square."""

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
        full: Tensor,
        own: Tensor,
        numbers: Tensor,
        edges: tuple[Tensor, Tensor],
        geometry: tuple[Tensor, Tensor, list[Tensor]],
        product: MessageFunction,
    ) -> Tensor:
        """Update the representatives.

        Parameters
        ----------
        full, own
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
        source, target = edges
        radial, envelope, couplings = geometry
        ends = None
        if isinstance(self.strengths, NetworkStrengths):
            ends = self.strengths.ends(full, own, source, target)
        step = len(source) if torch.is_grad_enabled() else CHUNK
        total = torch.zeros_like(own)
        for first in range(0, len(source), max(step, 1)):
            rows = slice(first, first + step)
            if isinstance(self.strengths, NetworkStrengths):
                strengths = self.strengths(radial[rows], envelope[rows], None if ends is None else ends[rows])
            else:
                strengths = self.strengths(radial[rows], envelope[rows])
            # Edges are sorted by target: a chunk adds to a stretch of atoms only, so that the cost stays linear.
            low, high = int(target[first]), int(target[rows][-1]) + 1
            chunk = [coupling[rows] for coupling in couplings]
            sums = product(full, strengths, chunk, source[rows], target[rows] - low, high - low, self.paths)
            total = _add_rows(total, low, high, sums)
        total = total * self.scale
        update = self.linear(total)
        if self.square is not None and self.square_linear is not None:
            update = update + self.square_linear(self.square(update))
        if self.gates is not None:
            gates = self.gates(update[:, 0] + own[:, 0])[:, None]
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
            scales = self.species(numbers).view(len(own), 4, -1)
            own = own * scales.repeat_interleave(torch.tensor([1, 3, 3, 5], device=own.device), dim=1)
        updated: Tensor = own + update
        return updated

"""Building blocks of Equivar: radial functions, coupling strengths, messages, node updates."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from e3nn import o3
from torch import Tensor, nn

from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivar.paths import (
    NODE_ROWS,
    NODE_TYPES,
    NUM_ROWS,
    Path,
    coupling_matrices,
    coupling_paths,
    path_coefficient,
    wigner_3j,
)

MessageFunction = Callable[[Tensor, Tensor, list[Tensor], Tensor, Tensor, int, tuple[Path, ...]], Tensor]


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

    def __init__(self, hypers: EquivarHypers) -> None:
        super().__init__()
        self.cutoff, self.envelope_kind = hypers.cutoff, hypers.envelope
        self.spacing = hypers.cutoff / (hypers.num_radial - 1)
        self.register_buffer("centers", torch.linspace(0.0, hypers.cutoff, hypers.num_radial), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """(n_edges,) Angstrom -> (n_edges, num_radial)."""
        return torch.exp(-0.5 * ((distance[:, None] - self.centers) / self.spacing) ** 2)

    def envelope(self, distance: Tensor) -> Tensor:
        """(n_edges, 1): 1 without envelope, else falls smoothly to 0 at the cutoff."""
        x = (distance / self.cutoff).clamp(max=1.0)[:, None]
        if self.envelope_kind == "cosine":
            return 0.5 * (1.0 + torch.cos(math.pi * x))
        if self.envelope_kind == "polynomial":  # p = 6: value and two derivatives vanish at the cutoff
            return 1.0 - 28.0 * x**6 + 48.0 * x**7 - 21.0 * x**8
        return torch.ones_like(x)


class SharedStrengths(nn.Module):
    """The paper's coupling strengths: edge features are linear in (radial x harmonic), weights common to all edges.

    Because the weights W_p (channel u, edge channel v) are shared, q_p[e, u] = sum_v W_p[u, v] (R W_edge)[e, v] is one
    matrix product for all couplings of an edge type: no per-edge outer product of features is ever formed.
    """

    order: Tensor

    def __init__(self, hypers: EquivarHypers, paths: tuple[Path, ...]) -> None:
        super().__init__()
        f, n = hypers.channels, hypers.num_radial
        self.paths, self.num_radial = paths, n
        self.scalar_harmonic = 1.0 / math.sqrt(4.0 * math.pi) if hypers.normalization == "integral" else 1.0
        self.edge = nn.ParameterDict({kind: initial_weights((n, f), hypers.init) for kind in ("0e", "1o", "2e")})
        self.edge_bias = nn.Parameter(torch.zeros(f))
        self.coupling = initial_weights((len(paths), f, f), hypers.init)
        self.scalar_paths = [p for p, path in enumerate(paths) if path.edge == "0e"]
        self.directed_paths = [p for p, path in enumerate(paths) if path.edge != "0e"]
        self.register_buffer("order", torch.tensor(self.scalar_paths + self.directed_paths).argsort(), False)

    def forward(self, radial: Tensor, envelope: Tensor) -> Tensor:
        """Strengths (n_edges, n_paths, channels)."""
        radial = radial * envelope / math.sqrt(self.num_radial)
        scalar = shifted_softplus(self.scalar_harmonic * radial @ self.edge["0e"] + self.edge_bias)
        # A bias and a shifted softplus do not vanish with the radial functions: the envelope acts once more.
        scalar = (scalar * envelope) / self.scalar_harmonic
        # Two matrix products, couplings with scalar edges and with directed ones; `order` restores their places.
        columns = [self.coupling[p].T for p in self.scalar_paths]
        columns += [self.edge[self.paths[p].edge] @ self.coupling[p].T for p in self.directed_paths]
        split = len(self.scalar_paths)
        products = [scalar @ torch.cat(columns[:split], dim=1), radial @ torch.cat(columns[split:], dim=1)]
        joined = torch.cat(products, dim=1).view(len(radial), len(self.paths), -1)
        return joined.index_select(1, self.order)


class NetworkStrengths(nn.Module):
    """Coupling strengths from a small network of the distance and, for 'pair', of the scalars of both ends."""

    def __init__(self, hypers: EquivarHypers, paths: tuple[Path, ...]) -> None:
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

    def forward(self, radial: Tensor, envelope: Tensor, ends: Tensor | None) -> Tensor:
        """Strengths (n_edges, n_paths, channels)."""
        hidden = self.radial(radial)
        if ends is not None:
            hidden = hidden + ends
        weights: Tensor = self.out(nn.functional.silu(hidden) * envelope)
        return weights.view(len(radial), self.num_paths, self.channels)


def make_strengths(hypers: EquivarHypers, paths: tuple[Path, ...]) -> SharedStrengths | NetworkStrengths:
    """The kind of coupling strengths that the hyper-parameters name."""
    return SharedStrengths(hypers, paths) if hypers.weights == "shared" else NetworkStrengths(hypers, paths)


class Couplings(nn.Module):
    """Geometry of all couplings: from harmonics to one small matrix per edge and output type, shared by all blocks."""

    def __init__(self, paths: tuple[Path, ...], channels: int) -> None:
        super().__init__()
        scale = {
            out: torch.cat(
                [
                    torch.full((NODE_ROWS[path.node].stop - NODE_ROWS[path.node].start,),
                               path_coefficient(path, paths, channels), dtype=torch.float64)
                    for path in paths
                    if path.out == out
                ]
            )
            for out in NODE_TYPES
        }
        self.shapes = {}
        for out, matrix in coupling_matrices(paths).items():
            scaled = (matrix * scale[out]).reshape(9, -1)
            self.shapes[out] = (matrix.shape[1], matrix.shape[2])
            self.register_buffer(f"c{out}", scaled.to(torch.get_default_dtype()), persistent=False)

    def forward(self, harmonics: Tensor) -> list[Tensor]:
        """(n_edges, 9) -> for each output type (n_edges, dim out, stacked input rows)."""
        return [
            (harmonics @ getattr(self, f"c{out}")).view(len(harmonics), *self.shapes[out]) for out in NODE_TYPES
        ]


def messages(
    full: Tensor,
    strengths: Tensor,
    couplings: list[Tensor],
    source: Tensor,
    target: Tensor,
    num_targets: int,
    paths: tuple[Path, ...],
) -> Tensor:
    """Tensor products of sending atoms with their edges, summed over the edges of each receiver.

    Parameters
    ----------
    full
        (n_atoms, 12, channels) features of all atoms.
    strengths
        (n_edges, n_paths, channels).
    couplings
        Output of `Couplings`.
    source, target
        (n_edges,) sending atom and receiving orbit.
    num_targets
        Number of orbits.
    paths
        Ordered by output type.

    Returns
    -------
    (num_targets, 12, channels)
    """
    sender = full.index_select(0, source)
    outputs = []
    for out, coupling in zip(NODE_TYPES, couplings, strict=True):
        scaled = [
            sender[:, NODE_ROWS[path.node]] * strengths[:, p : p + 1]
            for p, path in enumerate(paths)
            if path.out == out
        ]
        outputs.append(torch.bmm(coupling, torch.cat(scaled, dim=1)))
    return full.new_zeros(num_targets, NUM_ROWS, full.shape[2]).index_add(0, target, torch.cat(outputs, dim=1))


def unrolled_messages(
    full: Tensor,
    strengths: Tensor,
    couplings: list[Tensor],
    source: Tensor,
    target: Tensor,
    num_targets: int,
    paths: tuple[Path, ...],
) -> Tensor:
    """The same function as `messages`, written as sums that a compiler fuses into one loop over edges."""
    sender = full.index_select(0, source)
    outputs = []
    for out, coupling in zip(NODE_TYPES, couplings, strict=True):
        parts, column = [], 0
        for p, path in enumerate(paths):
            if path.out != out:
                continue
            rows = sender[:, NODE_ROWS[path.node]]
            block = coupling[:, :, column : column + rows.shape[1], None]
            parts.append((block * rows[:, None]).sum(2) * strengths[:, p : p + 1])
            column += rows.shape[1]
        outputs.append(functools.reduce(torch.add, parts))
    return full.new_zeros(num_targets, NUM_ROWS, full.shape[2]).index_add(0, target, torch.cat(outputs, dim=1))


@functools.lru_cache
def compiled_messages() -> MessageFunction:
    """`unrolled_messages` through torch.compile with sizes left open; the first call takes about half a minute."""
    return cast(MessageFunction, torch.compile(unrolled_messages, dynamic=True))


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
        self.register_buffer("coupling", full[upper[0], upper[1]].T.contiguous().to(torch.get_default_dtype()), False)
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
        coupled = torch.einsum("kp,npu->nku", self.coupling, pairs)
        coupled = coupled * (self.weight * self.get_buffer("fan")).index_select(0, self.path_of_row)
        return torch.cat(
            [coupled[:, a:b].view(len(x), n, -1, x.shape[-1]).sum(1) for a, b, n in self.spans], dim=1
        )


class Interaction(nn.Module):
    """One block: messages from neighbours, sum, node linear, residual; optionally gates and a tensor square."""

    def __init__(self, hypers: EquivarHypers, num_elements: int) -> None:
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
        if isinstance(self.strengths, NetworkStrengths):
            strengths = self.strengths(radial, envelope, self.strengths.ends(full, own, source, target))
        else:
            strengths = self.strengths(radial, envelope)
        total = product(full, strengths, couplings, source, target, len(own), self.paths) * self.scale
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

"""The network of the Equivar paper written plainly with e3nn's modules, as a reference for values and for speed.

Two formulations of one function with one set of weights:

- "plain": `o3.Linear` makes edge features F x 0e + F x 1o + F x 2e and `o3.TensorProduct` couples them with the node
  features by 'uvu' instructions, whose weights (channel u, edge channel v) are shared by all edges: the paper's layers
  one to one.
- "contracted": the sum over edge channels v is done first, by matrix products, and the tensor product with the bare
  harmonics takes one weight per edge, path and channel, as NequIP's does: what a practitioner of e3nn would write.

Nothing of Voigt's layers is used here except the order of the couplings, in which the weights are copied.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from e3nn import o3
from torch import Tensor, nn

from voigt.graphs import CrystalBatch
from voigt.models.equivar.model import Equivar
from voigt.models.equivariant.paths import Path, coupling_paths

Formulation = Literal["plain", "contracted"]

NODE = ("0e", "1o", "1e", "2e")
EDGE = ("0e", "1o", "2e")
SCALAR_HARMONIC = 1.0 / math.sqrt(4.0 * math.pi)
"""Of every edge; to read it from a tensor would wait for a device."""


def irreps(channels: int, kinds: tuple[str, ...]) -> o3.Irreps:
    """Multiplicity `channels` of each kind."""
    return o3.Irreps([(channels, kind) for kind in kinds])


def couplings(kinds: tuple[Path, ...], has_weight: bool = True) -> list[tuple[int, int, int, str, bool]]:
    """Instructions of a 'uvu' tensor product for these couplings."""
    return [(NODE.index(p.node), EDGE.index(p.edge), NODE.index(p.out), "uvu", has_weight) for p in kinds]


def output_basis() -> Tensor:
    """(9, 9) orthogonal matrix from 0e + 2e + 1e to the row-major 3x3 tensor, as in the released evaluation script."""
    a, b, c = math.sqrt(1 / 2), math.sqrt(1 / 3), math.sqrt(1 / 6)
    entries = {
        (0, 0): {0: b, 3: -c, 5: -a},
        (1, 1): {0: b, 3: 2 * c},
        (2, 2): {0: b, 3: -c, 5: a},
        (0, 1): {2: a, 8: a},
        (1, 0): {2: a, 8: -a},
        (0, 2): {1: a, 7: -a},
        (2, 0): {1: a, 7: a},
        (1, 2): {4: a, 6: a},
        (2, 1): {4: a, 6: -a},
    }
    basis = torch.zeros(9, 9)
    for (row, column), terms in entries.items():
        for component, value in terms.items():
            basis[3 * row + column, component] = value
    return basis


class ReferenceInteraction(nn.Module):
    """h_i <- h_i + Linear(sum_j TP(h_j, ssp(Linear(attributes_ij))))."""

    def __init__(self, channels: int, num_radial: int, kinds: tuple[Path, ...], formulation: Formulation) -> None:
        super().__init__()
        node, edge = irreps(channels, NODE), irreps(channels, EDGE)
        self.channels, self.num_radial, self.kinds, self.formulation = channels, num_radial, kinds, formulation
        self.edge_linear = o3.Linear(irreps(num_radial, EDGE), edge, biases=True)
        if formulation == "plain":
            self.product = o3.TensorProduct(node, edge, node, couplings(kinds), shared_weights=True)
        else:
            self.product = o3.TensorProduct(
                node, irreps(1, EDGE), node, couplings(kinds), shared_weights=False, internal_weights=False
            )
            self.weight = nn.Parameter(torch.randn(len(kinds), channels, channels))
        self.node_linear = o3.Linear(node, node, biases=True)

    def scalars(self, features: Tensor) -> Tensor:
        """Shifted softplus on the scalar edge features, the others unchanged."""
        active = nn.functional.softplus(features[:, : self.channels]) - math.log(2.0)
        return torch.cat([active, features[:, self.channels :]], dim=1)

    def contracted_weights(self, radial: Tensor, scalar_harmonic: float) -> Tensor:
        """(n_edges, n_paths x channels): the sum over edge channels of every 'uvu' coupling, two matrix products."""
        n, f = self.num_radial, self.channels
        edge = self.edge_linear.weight.view(len(EDGE), n, f) / math.sqrt(n)
        scalars = nn.functional.softplus(scalar_harmonic * radial @ edge[0] + self.edge_linear.bias) - math.log(2.0)
        # Scalars come first and the rest after; a permutation of the paths then restores the order of the product.
        first = [k for k, path in enumerate(self.kinds) if path.edge == "0e"]
        rest = [k for k, path in enumerate(self.kinds) if path.edge != "0e"]
        own = torch.cat([self.weight[k].T for k in first], dim=1) / (scalar_harmonic * math.sqrt(f))
        other = torch.cat([edge[EDGE.index(self.kinds[k].edge)] @ self.weight[k].T for k in rest], dim=1) / math.sqrt(f)
        parts = [*(scalars @ own).split(f, dim=1), *(radial @ other).split(f, dim=1)]
        position = {k: place for place, k in enumerate(first + rest)}
        return torch.cat([parts[position[k]] for k in range(len(self.kinds))], dim=1)

    def forward(self, h: Tensor, source: Tensor, target: Tensor, radial: Tensor, harmonics: Tensor) -> Tensor:
        """Update node features (n_atoms, 12 x channels) in e3nn's layout."""
        if self.formulation == "plain":
            attributes = edge_attributes(radial, harmonics)
            message = self.product(h[source], self.scalars(self.edge_linear(attributes)))
        else:
            weights = self.contracted_weights(radial, SCALAR_HARMONIC)
            message = self.product(h[source], harmonics, weights)
        return h + self.node_linear(torch.zeros_like(h).index_add(0, target, message))


def edge_attributes(radial: Tensor, harmonics: Tensor) -> Tensor:
    """Radial functions x harmonics, (n_edges, 9 num_radial), blocks l = 0, 1, 2, within a block radial outermost."""
    blocks = harmonics.split([1, 3, 5], dim=1)
    return torch.cat([(radial[:, :, None] * block[:, None]).flatten(1) for block in blocks], dim=1)


class ReferenceEquivar(nn.Module):
    """Embedding, linear, interactions, linear readout, 3x3 tensors (n_atoms, 3, 3)."""

    basis: Tensor

    def __init__(
        self,
        channels: int,
        interactions: int,
        cutoff: float,
        num_radial: int = 32,
        embedding: int = 32,
        published: bool = True,
        formulation: Formulation = "plain",
    ) -> None:
        super().__init__()
        kinds = coupling_paths(published)
        node = irreps(channels, NODE)
        self.cutoff, self.num_radial = cutoff, num_radial
        self.embedding = nn.Embedding(100, embedding)
        self.input = o3.Linear(o3.Irreps([(embedding, "0e")]), node, biases=True)
        self.harmonics = o3.SphericalHarmonics("0e+1o+2e", normalize=True, normalization="integral")
        self.interactions = nn.ModuleList(
            ReferenceInteraction(channels, num_radial, kinds, formulation) for _ in range(interactions)
        )
        self.output = o3.Linear(node, "1x0e+1x2e+1x1e", biases=True)
        self.register_buffer("basis", output_basis().to(torch.get_default_dtype()), persistent=False)

    def radial(self, distance: Tensor) -> Tensor:
        """(n_edges, num_radial) Gaussians of width equal to their spacing."""
        centers = torch.linspace(0.0, self.cutoff, self.num_radial, dtype=distance.dtype, device=distance.device)
        spacing = self.cutoff / (self.num_radial - 1)
        return torch.exp(-((distance[:, None] - centers) ** 2) / (2.0 * spacing**2))

    def forward(self, batch: CrystalBatch) -> Tensor:
        """Born effective charge tensors; a batch reduced by symmetry is not understood."""
        source, target, vector = batch.edge_source, batch.edge_target, batch.edge_vector
        radial, harmonics = self.radial(vector.norm(dim=1)), self.harmonics(vector)
        h = self.input(self.embedding(batch.numbers))
        for interaction in self.interactions:
            h = interaction(h, source, target, radial, harmonics)
        return (self.output(h) @ self.basis.T).view(-1, 3, 3)


def copy_weights(model: Equivar, formulation: Formulation = "plain") -> ReferenceEquivar:
    """The e3nn formulation of a paper network, with its weights, in the dtype of its weights.

    Raises
    ------
    ValueError
        The model has parts that the paper's network has not.
    """
    h = model.hypers
    expected = {
        "envelope": "none",
        "weights": "shared",
        "update": "linear",
        "average_neighbors": 1.0,
        "normalization": "integral",
        "self_interaction": "none",
        "self_product": False,
        "periodic_table": False,
        "element_reference": False,
        "sum_rule": "none",
        "functionals": (),
        "properties": ("born_charges",),
    }
    wrong = [name for name, value in expected.items() if getattr(h, name) != value]
    if wrong:
        raise ValueError(f"not a network of the paper: {', '.join(wrong)}; start from preset('bm1') or preset('bm2')")
    before = torch.get_default_dtype()
    torch.set_default_dtype(model.input.weight.dtype)  # e3nn rounds its constants to the default dtype
    try:
        result = ReferenceEquivar(
            h.channels, h.interactions, h.cutoff, h.num_radial, h.embedding, h.paths == "published", formulation
        )
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        result.embedding.weight.copy_(model.embedding.element.weight)
        # o3.Linear divides by the root of its fan-in, nn.Linear does not.
        result.input.weight.copy_(model.input.weight.T.flatten() * math.sqrt(h.embedding))
        result.input.bias.copy_(model.input.bias)
        for ours, theirs in zip(model.interactions, result.interactions, strict=True):
            edge = ours.strengths.edge
            theirs.edge_linear.weight.copy_(torch.cat([edge[kind].flatten() for kind in EDGE]))
            theirs.edge_linear.bias.copy_(ours.strengths.edge_bias)
            coupling = theirs.product.weight if formulation == "plain" else theirs.weight
            coupling.copy_(ours.strengths.coupling.view_as(coupling))
            theirs.node_linear.weight.copy_(ours.linear.weight.flatten())
            theirs.node_linear.bias.copy_(ours.linear.bias)
        readout = model.readouts["born_charges"]
        order = [readout.kinds.index(kind) for kind in ("0e", "2e", "1e")]
        # Bases of the same irrep can differ by a sign; both are orthogonal, so their overlap is that sign.
        widths = [o3.Irrep(kind).dim for kind in readout.kinds]
        own_rows = readout.basis.split(widths)
        script_rows = result.basis.T.split([1, 5, 3])
        weights = []
        for k, rows in zip(order, script_rows, strict=True):
            weights.append(readout.weight[k] * (own_rows[k] * rows).sum(1).mean())
        # o3.Linear stores its blocks in the order of the input: 0e, 1e, 2e.
        result.output.weight.copy_(torch.cat([weights[0], weights[2], weights[1]]))
        result.output.bias.copy_(readout.bias)
    return result


def num_parameters(module: nn.Module) -> int:
    """Trainable numbers."""
    return sum(p.numel() for p in module.parameters())

"""The tensor product of one block, with weights of each edge, by e3nn and by the libraries that make kernels for it.

    out[t] = sum over edges e into t of TP(x[source of e], Y_e; w_e), 'uvu' couplings

Everybody gets what suits it: features in its own layout, edges sorted by receiver and sender.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from benchmarks.tools.reference import (
    EDGE,
    NODE,
    SCALAR_HARMONIC,
    ReferenceEquivar,
    ReferenceInteraction,
    couplings,
    irreps,
)
from e3nn import o3
from torch import Tensor, nn

from voigt.graphs import CrystalBatch
from voigt.models.equivariant.frames import EdgeFrames, coupling_terms
from voigt.models.equivariant.paths import NODE_ROWS, NUM_ROWS, Path
from voigt.tensors.irreps import wigner_3j


class Graph(NamedTuple):
    """Edges in ascending order of receiver, then sender.

    Attributes
    ----------
    source, target
        (n_edges,).
    transposed
        (n_edges,) which edges come in ascending order of sender, then receiver.
    harmonics
        (n_edges, 9) of degrees 0, 1, 2.
    frames
        (n_edges, 12, 12), the axes in which Voigt's kernels work.
    """

    source: Tensor
    target: Tensor
    transposed: Tensor
    harmonics: Tensor
    frames: Tensor


@dataclass(frozen=True)
class Product:
    """One implementation.

    Attributes
    ----------
    run
        (features, weights (n_edges, n_paths x channels), graph) -> sums.
    rows_first
        Whether features are (n_atoms, 12 x channels) with the components of a type outside ('ir_mul'); else they are
        inside, as e3nn has them ('mul_ir').
    """

    run: Callable[[Tensor, Tensor, Graph], Tensor]
    rows_first: bool = True

    def features(self, rows: Tensor) -> Tensor:
        """(n_atoms, 12, channels) as it wants them."""
        return (rows.flatten(1) if self.rows_first else components_inside(rows)).contiguous()

    def rows(self, features: Tensor) -> Tensor:
        """And back."""
        return features.view(len(features), NUM_ROWS, -1) if self.rows_first else components_outside(features)


def components_inside(rows: Tensor) -> Tensor:
    """(n, 12, channels) -> (n, 12 x channels) in e3nn's layout."""
    return torch.cat([rows[:, NODE_ROWS[kind]].transpose(1, 2).flatten(1) for kind in NODE], dim=1)


def components_outside(flat: Tensor) -> Tensor:
    """The inverse of `components_inside`."""
    channels = flat.shape[1] // NUM_ROWS
    sizes = [NODE_ROWS[kind].stop - NODE_ROWS[kind].start for kind in NODE]
    parts = flat.split([channels * size for size in sizes], dim=1)
    return torch.cat([part.view(len(flat), channels, -1).transpose(1, 2) for part in parts], dim=1)


def sorted_batch(batch: CrystalBatch) -> CrystalBatch:
    """The same with its edges in ascending order of receiver, then sender."""
    order = torch.argsort(batch.edge_target * len(batch.numbers) + batch.edge_source, stable=True)
    fields = {name: getattr(batch, name)[order] for name in ("edge_source", "edge_target", "edge_vector")}
    return replace(batch, **fields)


def make_graph(batch: CrystalBatch) -> Graph:
    """Of a batch of `sorted_batch`, on its device."""
    source, target, vector = batch.edge_source, batch.edge_target, batch.edge_vector
    transposed = torch.argsort(source * len(batch.numbers) + target, stable=True)
    harmonics = o3.spherical_harmonics("0e+1o+2e", vector, normalize=True, normalization="integral")
    return Graph(source, target, transposed, harmonics, EdgeFrames().to(vector.device)(vector))


def by_e3nn(kinds: tuple[Path, ...], channels: int, device: torch.device) -> Product:
    """`o3.TensorProduct` of gathered features, then `index_add`."""
    node, edge = irreps(channels, NODE), irreps(1, EDGE)
    product = o3.TensorProduct(node, edge, node, couplings(kinds), shared_weights=False, internal_weights=False)
    product = product.to(device)

    def run(features: Tensor, weights: Tensor, graph: Graph) -> Tensor:
        messages = product(features[graph.source], graph.harmonics, weights)
        return torch.zeros_like(features).index_add(0, graph.target, messages)

    return Product(run, rows_first=False)


def by_cuequivariance(kinds: tuple[Path, ...], channels: int, device: torch.device) -> Product:
    """One polynomial that gathers, multiplies and scatters; on a CPU its plain form.

    Raises
    ------
    ImportError
        The package, or on a device its kernels, are not installed.
    """
    import cuequivariance as cue
    import cuequivariance_torch as cuet

    if device.type == "cuda":
        import cuequivariance_ops_torch  # noqa: F401 - without it the plain form is taken
    polynomial = cue.SegmentedTensorProduct.from_subscripts("u,iu,j,ku+ijk")
    sizes = {kind: NODE_ROWS[kind].stop - NODE_ROWS[kind].start for kind in NODE}
    for kind in NODE:
        polynomial.add_segment(1, (sizes[kind], channels))
        polynomial.add_segment(3, (sizes[kind], channels))
    for kind in EDGE:
        polynomial.add_segment(2, (sizes[kind],))
    for k, path in enumerate(kinds):
        polynomial.add_segment(0, (channels,))
        # As e3nn: normalized by component, and by the number of couplings into a type.
        scale = math.sqrt(sizes[path.out] / sum(other.out == path.out for other in kinds))
        place = (k, NODE.index(path.node), EDGE.index(path.edge), NODE.index(path.out))
        polynomial.add_path(*place, c=wigner_3j(path.node, path.edge, path.out) * scale)
    method = "uniform_1d" if device.type == "cuda" else "naive"
    product = cuet.SegmentedPolynomial(cue.SegmentedPolynomial.eval_last_operand(polynomial), method=method)
    if product.method != method:  # it warns and takes the plain form
        raise ImportError(f"cuequivariance-torch cannot load its kernels '{method}'")
    product = product.to(device)

    def run(features: Tensor, weights: Tensor, graph: Graph) -> Tensor:
        # Of the shape only the number of rows is read.
        shape = features.new_empty(len(features), 1)
        inputs = [weights, features, graph.harmonics]
        result: Tensor = product(inputs, {1: graph.source}, {0: shape}, {0: graph.target})[0]
        return result

    return Product(run)


def by_openequivariance(kinds: tuple[Path, ...], channels: int, device: torch.device) -> Product:
    """Its convolution without atomics, in the layout with components outside.

    Raises
    ------
    ImportError
        The package is not installed, or its extension cannot be built.
    ValueError
        There is no CUDA device, which it needs.
    """
    if device.type != "cuda":
        raise ValueError("openequivariance needs a CUDA device")
    import openequivariance as oeq

    node, edge = str(irreps(channels, NODE)), str(irreps(1, EDGE))
    problem = oeq.TPProblem(
        node, edge, node, couplings(kinds), shared_weights=False, internal_weights=False, layout="ir_mul"
    )
    product = oeq.TensorProductConv(problem, deterministic=True)

    def run(features: Tensor, weights: Tensor, graph: Graph) -> Tensor:
        result: Tensor = product(features, graph.harmonics, weights, graph.target, graph.source, graph.transposed)
        return result

    return Product(run)


class _Fused(torch.autograd.Function):
    """Voigt's kernels for strengths that are given."""

    @staticmethod
    def forward(ctx: Any, terms: Any, graph: Graph, known: Any, atoms: Tensor, strengths: Tensor) -> Tensor:
        from voigt.models.equivariant.fused import fused_messages

        turn, entering, _ = known
        ctx.given = terms, graph, known
        ctx.save_for_backward(atoms, strengths)
        ends = (graph.frames, graph.source, graph.target)
        return fused_messages(terms, atoms, strengths, *ends, len(atoms), turn=turn, entering=entering)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from voigt.models.equivariant.fused import fused_gradients

        terms, graph, (turn, _, leaving) = ctx.given
        ends = (graph.frames, graph.source, graph.target)
        found = fused_gradients(terms, *ctx.saved_tensors, *ends, gradient, turn=turn, leaving=leaving)
        return None, None, None, *found


def by_voigt(kinds: tuple[Path, ...], channels: int, device: torch.device) -> Product:
    """Voigt's kernels in the axes of the edges, which are made before, as a network makes them once for all layers.

    Raises
    ------
    ValueError
        There is no CUDA device, and no interpreter of Triton is asked for; plain torch never makes the strengths of all
        edges.
    """
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError("Voigt's kernels need a CUDA device")
    from voigt.models.equivariant import fused

    terms = coupling_terms(kinds, 1, SCALAR_HARMONIC, mixed=False).terms
    known: list[Any] = []  # of which senders, and what does not depend on features and weights

    def run(features: Tensor, weights: Tensor, graph: Graph) -> Tensor:
        atoms = features.view(-1, NUM_ROWS, channels)
        if not known or known[0] is not graph.source:
            leaving = fused.leaving_edges(graph.source, graph.target, len(atoms))
            entering = fused.entering_edges(graph.target, len(atoms))
            known[:] = graph.source, (fused.turns(graph.frames), entering, leaving)
        strengths = weights.unflatten(1, (len(kinds), channels)).transpose(0, 1)
        result: Tensor = _Fused.apply(terms, graph, known[1], atoms, strengths)
        return result.flatten(1)

    return Product(run)


class KernelEquivar(nn.Module):
    """The reference network with weights of each edge, its tensor products by another library.

    Features have their components outside from the first block to the last; the linear maps of the reference act on
    them as they are.

    Parameters
    ----------
    reference
        In the formulation "contracted".
    product
        With `rows_first`.
    """

    def __init__(self, reference: ReferenceEquivar, product: Product) -> None:
        super().__init__()
        self.reference, self.product = reference, product

    def layer(self, interaction: ReferenceInteraction, h: Tensor, radial: Tensor, graph: Graph) -> Tensor:
        """One interaction on features (n_atoms, 12, channels)."""
        weights = interaction.contracted_weights(radial, SCALAR_HARMONIC)
        total = self.product.run(h.flatten(1), weights, graph).view_as(h)
        return h + by_type(total, interaction.node_linear)

    def forward(self, batch: CrystalBatch, graph: Graph) -> Tensor:
        """(n_atoms, 3, 3); harmonics are computed here, as the reference does."""
        graph, radial = self.geometry(batch, graph)
        # Only scalars are not zero, whose components lie the same way in both layouts.
        h = self.reference.input(self.reference.embedding(batch.numbers)).view(len(batch.numbers), NUM_ROWS, -1)
        for interaction in self.reference.interactions:
            h = self.layer(interaction, h, radial, graph)
        return (self.reference.output(components_inside(h)) @ self.reference.basis.T).view(-1, 3, 3)

    def geometry(self, batch: CrystalBatch, graph: Graph) -> tuple[Graph, Tensor]:
        """The graph with harmonics made anew, and radial functions."""
        vector = batch.edge_vector
        radial = self.reference.radial(vector.norm(dim=1))
        return graph._replace(harmonics=self.reference.harmonics(vector)), radial


def by_type(rows: Tensor, linear: o3.Linear) -> Tensor:
    """A linear map of e3nn between equal types on (n, 12, channels): one product for each type, bias on scalars."""
    channels = rows.shape[2]
    weight = linear.weight.view(len(NODE), channels, channels) / math.sqrt(channels)
    parts = [rows[:, NODE_ROWS[kind]] @ weight[k] for k, kind in enumerate(NODE)]
    parts[0] = parts[0] + linear.bias
    return torch.cat(parts, dim=1)


MAKERS: dict[str, Callable[[tuple[Path, ...], int, torch.device], Product]] = {
    "e3nn, per-edge weights": by_e3nn,
    "Voigt": by_voigt,
    "cuequivariance-torch": by_cuequivariance,
    "openequivariance": by_openequivariance,
}
"""In the order in which they run: what may break a device comes last."""

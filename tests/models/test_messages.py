"""Messages in every formulation: against sums over Wigner symbols, and gradients by finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from e3nn import o3
from torch import Tensor

from voigt.models.equivariant import messages as room
from voigt.models.equivariant.frames import EdgeFrames, coupling_terms, pole_rotation
from voigt.models.equivariant.messages import (
    Edges,
    Factor,
    compiled_kernels,
    eager_kernels,
    summed_messages,
)
from voigt.models.equivariant.paths import NODE_ROWS, coupling_paths
from voigt.tensors.irreps import dimension, wigner_3j

CHANNELS, HIDDEN = 4, 3
HARMONIC_ROWS = {"0e": slice(0, 1), "1o": slice(1, 4), "2e": slice(4, 9)}
GRAPHS = {
    "isolated atoms": (7, [0, 2, 2, 5], [1, 0, 6, 2]),
    "one edge": (2, [1], [0]),
    "no edges": (3, [], []),
    "an atom and its images": (1, [0] * 5, [0] * 5),
    "many atoms": (40, [k % 31 for k in range(300)], [(7 * k) % 40 for k in range(300)]),
}


class Case:
    """Random features, strengths and edges; targets ascend."""

    def __init__(self, graph: tuple[int, list[int], list[int]], kind: torch.dtype, mixed: bool = True) -> None:
        self.count, target, source = graph
        generator = torch.Generator().manual_seed(len(target))
        self.target, self.source = torch.tensor(target, dtype=torch.int64).sort().values, torch.tensor(source).long()
        number = len(target)
        self.vector = torch.randn(number, 3, dtype=torch.float64, generator=generator)
        self.paths = coupling_paths()
        self.couplings = coupling_terms(self.paths, 1, 1.0, mixed)
        self.atoms = torch.randn(self.count, 12, CHANNELS, dtype=torch.float64, generator=generator).to(kind)
        self.activation = torch.randn(number, HIDDEN, dtype=torch.float64, generator=generator).to(kind)
        weight = torch.randn(len(self.paths), HIDDEN, CHANNELS, dtype=torch.float64, generator=generator)
        self.of_paths = (self.activation.double() @ weight).unbind(0)
        if self.couplings.mixing is not None:
            weight = torch.einsum("cp,pkf->ckf", torch.tensor(self.couplings.mixing), weight)
        self.weight = weight.transpose(1, 2).to(kind)
        self.edges = Edges(self.source, self.target, EdgeFrames()(self.vector).to(kind))

    def sums(self, kernels: room.Kernels | None = None) -> Tensor:
        factors = [Factor(self.activation, self.weight)]
        return summed_messages(
            self.atoms, factors, self.edges, self.count, self.couplings.terms, kernels or eager_kernels()
        )

    def expected(self) -> Tensor:
        """Sum over edges and couplings of Wigner's symbols x features x harmonics x strengths, in double precision."""
        harmonics = o3.spherical_harmonics("0e+1o+2e", self.vector, True, "component")
        sent, total = self.atoms.double()[self.source], torch.zeros(self.count, 12, CHANNELS, dtype=torch.float64)
        for path, strength in zip(self.paths, self.of_paths, strict=True):
            scale = math.sqrt(dimension(path.out) / sum(other.out == path.out for other in self.paths))
            symbol = torch.tensor(wigner_3j(path.node, path.edge, path.out)) * scale
            rows, edge = sent[:, NODE_ROWS[path.node]], harmonics[:, HARMONIC_ROWS[path.edge]]
            message = torch.einsum("ijk,eiu,ej,eu->eku", symbol, rows, edge, strength)
            total[:, NODE_ROWS[path.out]] += torch.zeros_like(total[:, NODE_ROWS[path.out]]).index_add(
                0, self.target, message
            )
        return total


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("chunk", [3 * CHANNELS, 2**14])
def test_messages_are_sums_over_wigner_symbols(
    name: str, mixed: bool, kind: torch.dtype, tolerance: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "CHUNK_NUMBERS", chunk)
    case = Case(GRAPHS[name], kind, mixed)
    expected, found = case.expected(), case.sums().double()
    assert found.shape == expected.shape
    largest = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * max(largest, 1.0))
    with torch.no_grad():
        torch.testing.assert_close(case.sums().double(), found, rtol=0, atol=tolerance * max(largest, 1.0))


def test_ten_thousand_edges_to_one_receiver() -> None:
    graph = (3, [1] * 10_000, [k % 3 for k in range(10_000)])
    for kind, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        case = Case(graph, kind)
        expected = case.expected()
        torch.testing.assert_close(case.sums().double(), expected, rtol=0, atol=tolerance * float(expected.abs().max()))
        assert not case.sums()[[0, 2]].any()


@pytest.mark.parametrize("name", ["isolated atoms", "one edge", "an atom and its images"])
@pytest.mark.parametrize("mixed", [True, False])
def test_gradients_by_finite_differences(name: str, mixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CHUNK_NUMBERS", 3 * CHANNELS)
    case = Case(GRAPHS[name], torch.float64, mixed)
    frames = EdgeFrames()
    case.atoms = case.atoms[:, :, :2]
    case.weight = case.weight[:, :2]

    def sums(atoms: Tensor, activation: Tensor, weight: Tensor, vector: Tensor) -> Tensor:
        edges = Edges(case.source, case.target, frames(vector))
        factors = [Factor(activation, weight)]
        return summed_messages(atoms, factors, edges, case.count, case.couplings.terms, eager_kernels())

    given = (case.atoms, case.activation, case.weight, case.vector)
    assert torch.autograd.gradcheck(sums, tuple(tensor.clone().requires_grad_() for tensor in given))


def test_training_keeps_nothing_of_the_size_of_the_products() -> None:
    """What autograd stores for the backward pass is what the messages were given."""
    case = Case(GRAPHS["many atoms"], torch.float32)
    kept: list[int] = []
    case.activation.requires_grad_()

    def count(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        case.sums()
    strengths = len(case.source) * len(case.weight) * CHANNELS
    assert kept
    assert max(kept) <= max(case.edges.frames.numel(), case.atoms.numel())
    assert strengths + len(case.source) * 12 * CHANNELS not in kept


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_messages_and_gradients_are_the_eager_ones() -> None:
    for name in ("many atoms", "isolated atoms"):  # sizes are left open: one compilation serves both
        results = []
        for kernels in (eager_kernels(), compiled_kernels()):
            case = Case(GRAPHS[name], torch.float32)
            leaves = [tensor.requires_grad_() for tensor in (case.atoms, case.activation, case.weight)]
            sums = case.sums(kernels)
            results.append((sums.detach(), *torch.autograd.grad(sums.square().sum(), leaves)))
        for eager, compiled in zip(*results, strict=True):
            torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-4 * float(eager.abs().max()))


def test_edges_lie_along_the_pole_of_their_axes() -> None:
    vectors = torch.randn(100, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    vectors = torch.cat([vectors, torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])
    turns = pole_rotation(vectors)
    one = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(turns @ turns.mT, one.expand_as(turns), rtol=0, atol=1e-14)
    assert (torch.linalg.det(turns) > 0).all()
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    pole = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand(len(vectors), 3)
    torch.testing.assert_close((turns @ unit[..., None])[..., 0], pole, rtol=0, atol=1e-14)


def test_30_products_stand_for_181() -> None:
    terms = coupling_terms(coupling_paths(), 1, 1.0, True).terms
    assert sum(term.width for term in terms) == 30
    assert sum(dimension(path.out) * dimension(path.node) for path in coupling_paths()) == 181

"""Triton's kernels: against plain sums and their derivatives, and compiled for devices that are not here."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tests.conftest import REPOSITORY
from tests.kernels import load_kernels
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from voigt.models.equivariant import messages
from voigt.models.equivariant.frames import EdgeFrames, Term, coupling_terms
from voigt.models.equivariant.messages import Edges, Factor, eager_kernels, edge_messages, summed_messages
from voigt.models.equivariant.paths import NUM_ROWS, coupling_paths

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
GRAPHS = {
    "isolated atoms": (6, [3, 3, 0, 4, 3, 4], [5, 0, 0, 2, 5, 1]),
    "one edge": (3, [1], [2]),
    "no edges": (3, [], []),
    "an atom and its images": (1, [0] * 4, [0] * 4),
}


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The kernels, on a CPU by Triton's interpreter."""
    return load_kernels(monkeypatch, interpreted=DEVICE == "cpu")


class Case:
    """Random features, strengths and gradients of a graph; targets ascend."""

    def __init__(
        self, graph: tuple[int, list[int], list[int]], channels: int, dtype: torch.dtype, terms: tuple[Term, ...]
    ) -> None:
        self.count, target, source = graph
        self.target, order = torch.tensor(target, dtype=torch.int64, device=DEVICE).sort(stable=True)
        self.source = torch.tensor(source, dtype=torch.int64, device=DEVICE)[order]
        self.terms = terms
        generator = torch.Generator().manual_seed(len(target))

        def random(*shape: int) -> Tensor:
            return torch.randn(shape, dtype=torch.float64, generator=generator).to(DEVICE, dtype)

        self.frames = EdgeFrames().to(DEVICE)(random(len(target), 3))
        self.atoms, self.gradient = random(self.count, NUM_ROWS, channels), random(self.count, NUM_ROWS, channels)
        self.strengths = random(1 + max(term.strength for term in terms), len(target), channels)

    def given(self) -> tuple[tuple[Term, ...], Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.terms, self.atoms, self.strengths, self.frames, self.source, self.target

    def expected(self) -> list[Tensor]:
        """Sums, and gradients of features and strengths by automatic differentiation, all in double precision."""
        atoms, strengths = (one.detach().double().requires_grad_() for one in (self.atoms, self.strengths))
        frames = self.frames.double()
        seen = frames @ atoms[self.source]
        rows = [torch.zeros_like(seen[:, 0]) for _ in range(NUM_ROWS)]
        for term in self.terms:
            for k in range(term.width):
                rows[term.out + k] = rows[term.out + k] + term.value * strengths[term.strength] * seen[:, term.into + k]
        sums = torch.zeros_like(atoms).index_add(0, self.target, frames.mT @ torch.stack(rows, dim=1))
        return [sums.detach(), *torch.autograd.grad(sums, (atoms, strengths), self.gradient.double())]

    def check(self, found: tuple[Tensor, ...], expected: list[Tensor]) -> None:
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == self.atoms.dtype
            largest = max(float(other.abs().max()), 1.0) if other.numel() else 1.0
            torch.testing.assert_close(one.double(), other, rtol=0, atol=TOLERANCE[one.dtype] * largest)


def couplings(mixed: bool, published: bool = False) -> tuple[Term, ...]:
    return coupling_terms(coupling_paths(published), 1, 1.0, mixed).terms


@pytest.mark.parametrize(
    ("name", "channels", "dtype", "mixed"),
    [
        ("isolated atoms", 8, torch.float32, True),
        ("isolated atoms", 32, torch.float64, False),
        ("one edge", 32, torch.float32, True),
        ("one edge", 40, torch.float64, False),
        ("one edge", 96, torch.float32, False),
        ("one edge", 96, torch.float64, True),
        ("no edges", 8, torch.float32, False),
        ("an atom and its images", 40, torch.float32, False),
        ("an atom and its images", 8, torch.float64, True),
    ],
)
def test_sums_and_gradients_are_those_of_plain_products(
    fused: ModuleType, name: str, channels: int, dtype: torch.dtype, mixed: bool
) -> None:
    case = Case(GRAPHS[name], channels, dtype, terms := couplings(mixed, published=channels == 40))
    sums = fused.fused_messages(*case.given(), case.count)
    found = (sums, *fused.fused_gradients(*case.given(), case.gradient))
    case.check(found, case.expected())
    # An identity as activation: strengths are any numbers, not a product.
    one = torch.eye(len(case.source), dtype=dtype, device=DEVICE)
    eager = edge_messages(terms, case.atoms, case.source, case.frames, [one], [case.strengths.transpose(1, 2)])
    expected = torch.zeros_like(sums).index_add(0, case.target, eager)
    torch.testing.assert_close(sums, expected, rtol=0, atol=10 * TOLERANCE[dtype])


def test_hundreds_of_edges_between_two_atoms(fused: ModuleType) -> None:
    case = Case((2, [1] * 310, [0] * 310), 8, torch.float32, couplings(mixed=True))
    sums = fused.fused_messages(*case.given(), case.count)
    case.check((sums, *fused.fused_gradients(*case.given(), case.gradient)), case.expected())
    assert not sums[0].any()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_many_edges_to_one_receiver(fused: ModuleType, dtype: torch.dtype) -> None:
    number = 800 if DEVICE == "cpu" else 10_000  # the interpreter takes up to a tenth of a second for each
    case = Case((3, [1] * number, [k % 3 for k in range(number)]), 32, dtype, couplings(mixed=False))
    found = (fused.fused_messages(*case.given(), 3), *fused.fused_gradients(*case.given(), case.gradient))
    case.check(found, case.expected())


def test_what_layers_share_may_be_given(fused: ModuleType) -> None:
    """Turns and orders of the edges, made once; and tensors of any strides."""
    case = Case(GRAPHS["isolated atoms"], 8, torch.float64, couplings(mixed=True))
    case.strengths = case.strengths.transpose(0, 1).contiguous().transpose(0, 1)
    case.atoms = case.atoms.transpose(1, 2).contiguous().transpose(1, 2)
    case.gradient = case.gradient[:1, :1, :1].expand_as(case.gradient)
    turn = fused.turns(case.frames)
    entering = fused.entering_edges(case.target, case.count)
    leaving = fused.leaving_edges(case.source, case.target, case.count)
    sums = fused.fused_messages(*case.given(), case.count, turn, entering)
    case.check((sums, *fused.fused_gradients(*case.given(), case.gradient, turn, leaving)), case.expected())


def test_orders_of_edges_ask_for_no_number(fused: ModuleType) -> None:
    """A CUDA graph may record what comes before the kernels: no size depends on what tensors hold."""
    with FakeTensorMode():
        index, frames = torch.empty(9, dtype=torch.int64), torch.empty(9, NUM_ROWS, NUM_ROWS)
        assert fused.entering_edges(index, 4).shape == (5,)
        assert [len(one) for one in fused.leaving_edges(index, index, 4)] == [9, 9, 5]
        assert fused.turns(frames).shape == (9, 44)


def test_turns_leave_out_only_zeros(fused: ModuleType) -> None:
    frames = EdgeFrames()(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
    kept = fused.turns(frames)
    torch.testing.assert_close(kept.square().sum(dim=1), frames.square().sum(dim=(1, 2)))
    assert (frames != 0).any(dim=0).sum() == kept.shape[1]


def test_networks_call_the_kernels(fused: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of two factors and all gradients, with the kernels and without."""
    case = Case(GRAPHS["isolated atoms"], 8, torch.float64, couplings(mixed=False))
    generator = torch.Generator().manual_seed(1)
    edges, results = Edges(case.source, case.target, case.frames), []
    leaves = [
        torch.randn(shape, dtype=torch.float64, generator=generator).to(DEVICE).requires_grad_()
        for shape in ((6, NUM_ROWS, 8), (6, 3), (5, 8, 3), (6, 2), (12, 8, 2))
    ]
    for chosen in (True, False):
        monkeypatch.setattr(messages, "is_fused", lambda *_, chosen=chosen: chosen)
        atoms, *flat = leaves
        factors = [Factor(*flat[:2]), Factor(*flat[2:])]
        sums = summed_messages(atoms, factors, edges, case.count, case.terms, eager_kernels())
        results.append((sums.detach(), *torch.autograd.grad(sums.square().sum(), leaves)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def test_devices_whose_kernels_fail_are_found(fused: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    agrees = messages._fused_agrees.__wrapped__
    assert agrees(torch.device(DEVICE))
    right = fused.fused_messages
    monkeypatch.setattr(fused, "fused_messages", lambda *given, **more: right(*given, **more) * 1.01)
    assert not agrees(torch.device(DEVICE))


SCRIPT = """
import dataclasses, json, sys, torch
from benchmarks.tools.kernels import compile_kernels

cases = [("float32", 80, True), ("float64", 80, True), ("float32", 90, False), ("float64", 90, False)]
found = [one for name, device, mixed in cases for one in compile_kernels(getattr(torch, name), device, 40, mixed)]
json.dump([dataclasses.asdict(one) for one in found], sys.stdout, default=str)
"""


def test_kernels_compile_for_devices(tmp_path: Path) -> None:
    """What the interpreter does not see: the compiler accepts them, registers suffice, constants keep their digits."""
    spec = importlib.util.find_spec("triton")
    tools = Path(str(spec.origin)).parent / "backends" / "nvidia" / "bin" if spec else Path()
    if not ((tools / "ptxas").exists() and (tools / "cuobjdump").exists()):
        pytest.skip("Triton with NVIDIA's assembler is not installed")
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "0"}
    command = [sys.executable, "-c", SCRIPT]
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    compiled = json.loads(run.stdout)
    assert [one["name"] for one in compiled] == ["_messages", "_gradients"] * 4
    assert [one["stack"] for one in compiled] == [0] * 8  # nothing spilled from registers to memory
    assert [one["shared"] for one in compiled] == [0] * 8  # no thread waits for another one
    text = compiled[-2]["ptx"]
    constants = {term.value for term in couplings(mixed=False)} - {1.0}
    missing = [value for value in constants if f"0d{struct.pack('>d', value).hex().upper()}" not in text]
    assert not missing

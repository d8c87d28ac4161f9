"""Linear maps: what torch.nn.functional.linear gives, with all derivatives, whichever library computes them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.conftest import REPOSITORY
from torch import Tensor, nn

from voigt.models import linear as room
from voigt.models.linear import FEWEST_PRODUCTS, Linear, linear, summed_products

reference = nn.functional.linear


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


OPERANDS: dict[str, Callable[[], Tensor]] = {
    "rows": lambda: random(300, 48),
    "three axes": lambda: random(100, 3, 48),
    "vectors of features": lambda: random(200, 12, 48)[:, 1:4],
    "every second row": lambda: random(600, 48)[::2],
    "every second column": lambda: random(300, 96)[:, ::2],
    "columns first": lambda: random(48, 300).T,
    "some columns": lambda: random(300, 100)[:, 20:68],
    "one row, repeated": lambda: random(1, 48).expand(300, 48),
    "axes exchanged": lambda: random(3, 100, 48).transpose(0, 1),
}
WEIGHTS: dict[str, Callable[[], Tensor]] = {
    "contiguous": lambda: random(64, 48, seed=1),
    "transposed": lambda: random(48, 64, seed=1).T,
    "some columns": lambda: random(64, 100, seed=1)[:, 30:78],
    "every second column": lambda: random(64, 96, seed=1)[:, ::2],
    "some columns, transposed": lambda: random(48, 100, seed=1)[:, 30:94].T,
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of what oneDNN was given."""
    if not room._agrees():
        pytest.skip("this processor or this build of torch has no oneDNN with AVX-512")
    shapes: list[tuple[int, ...]] = []
    right = room._product

    def noted(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        shapes.append(tuple(x.shape))
        return right(x, weight, bias)

    monkeypatch.setattr(room, "_product", noted)
    return shapes


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * float(expected.detach().abs().max()))


@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("biased", [False, True])
def test_values_are_those_of_torch(operand: str, weight: str, biased: bool, asked: list[tuple[int, ...]]) -> None:
    x, matrix, bias = OPERANDS[operand](), WEIGHTS[weight](), random(64, seed=2) if biased else None
    close(linear(x, matrix, bias), reference(x, matrix, bias))
    assert asked == [tuple(x.shape)]


@pytest.mark.parametrize("shape", [(1, 1024), (1024,), (1, 1, 1024), (2**19, 1)], ids=str)
def test_odd_shapes(shape: tuple[int, ...], asked: list[tuple[int, ...]]) -> None:
    """One row, no rows but a vector, one column."""
    x, weight, bias = random(*shape), random(608, shape[-1], seed=1)[: 608 if shape[-1] > 1 else 3], random(608, seed=2)
    close(linear(x, weight, bias[: len(weight)]), reference(x, weight, bias[: len(weight)]))
    assert asked == [shape]


@pytest.mark.parametrize(("x", "outputs"), [((0, 48), 64), ((4, 0, 48), 64), ((7, 0), 64), ((7, 48), 0)], ids=str)
def test_nothing_gives_nothing(x: tuple[int, ...], outputs: int) -> None:
    found = linear(random(*x), random(outputs, x[-1]), random(outputs))
    assert torch.equal(found, reference(random(*x), random(outputs, x[-1]), random(outputs)))


@pytest.mark.parametrize("operand", OPERANDS)
@pytest.mark.parametrize("biased", [False, True])
def test_gradients_and_their_gradients(operand: str, biased: bool, asked: list[tuple[int, ...]]) -> None:
    """As a network uses them: losses on gradients go through all of it twice."""
    kind = torch.float64
    results = []
    for function, dtype in ((linear, torch.float32), (reference, kind)):
        x, weight = OPERANDS[operand]().to(dtype).requires_grad_(), WEIGHTS["transposed"]().to(dtype).requires_grad_()
        given = (x, weight, random(64, seed=2).to(dtype).requires_grad_()) if biased else (x, weight)
        out = function(*given)
        first = torch.autograd.grad(out.square().sum(), given, create_graph=True)
        second = torch.autograd.grad(sum(one.square().sum() for one in first), given)
        results.append((*first, *second))
    assert len(asked) > 5
    for found, expected in zip(*results, strict=True):
        close(found.double(), expected, tolerance=3e-5)


@pytest.mark.parametrize("learned", ["x", "weight", "bias"])
def test_only_what_is_asked_for_gets_a_gradient(learned: str, asked: list[tuple[int, ...]]) -> None:
    given = {"x": random(300, 48), "weight": random(64, 48, seed=1), "bias": random(64, seed=2)}
    given[learned].requires_grad_()
    out = linear(**given)
    (found,) = torch.autograd.grad(out.sin().sum(), [given[learned]])
    (expected,) = torch.autograd.grad(reference(**given).sin().sum(), [given[learned]])
    close(found, expected)
    assert len(asked) == (1 if learned == "bias" else 2)


def test_gradients_by_finite_differences() -> None:
    """In double precision, where torch serves alone; of first and second order."""
    given = [random(3, 2, 4, dtype=torch.float64), random(4, 5, dtype=torch.float64).T, random(5, dtype=torch.float64)]
    leaves = tuple(tensor.requires_grad_() for tensor in given)
    assert torch.autograd.gradcheck(linear, leaves)
    assert torch.autograd.gradgradcheck(linear, leaves)


def test_gradients_written_here_by_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule of the gradients itself, with a product in double precision in the place of oneDNN's."""
    monkeypatch.setattr(room, "_product", reference)
    monkeypatch.setattr(room, "_serves", lambda *_: True)
    monkeypatch.setattr(room, "FEWEST_PRODUCTS", 0)
    given = [random(3, 2, 4, dtype=torch.float64), random(4, 5, dtype=torch.float64).T, random(5, dtype=torch.float64)]
    leaves = tuple(tensor.requires_grad_() for tensor in given)
    assert type(linear(*leaves).grad_fn).__name__ == "_LinearBackward"
    assert torch.autograd.gradcheck(linear, leaves)
    assert torch.autograd.gradgradcheck(linear, leaves)


def median_seconds(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(15):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


@pytest.mark.parametrize("operand", [name for name in OPERANDS if name != "rows"])
def test_strides_are_not_slow(operand: str, asked: list[tuple[int, ...]]) -> None:
    """oneDNN has quick products for some strides; with others it goes a hundred times slower, number by number."""
    given, weight = OPERANDS[operand](), random(256, 48, seed=1)
    dense, slow = (median_seconds(lambda x=x: linear(x, weight)) for x in (given.contiguous(), given))
    assert asked
    assert slow < 10 * dense, f"{slow / dense:.0f} times as long"


@pytest.mark.parametrize("name", [name for name in WEIGHTS if name != "contiguous"])
def test_strides_of_weights_are_not_slow(name: str, asked: list[tuple[int, ...]]) -> None:
    x, given = random(2000, 48), WEIGHTS[name]()
    dense, slow = (median_seconds(lambda weight=weight: linear(x, weight)) for weight in (given.contiguous(), given))
    assert asked
    assert slow < 10 * dense, f"{slow / dense:.0f} times as long"


def test_strides_of_gradients_are_not_slow(asked: list[tuple[int, ...]]) -> None:
    """A layer whose outputs are joined with those of others gets some columns of a gradient."""
    x, weight, wide = (
        random(300, 48).requires_grad_(),
        random(64, 48, seed=1).requires_grad_(),
        random(300, 100)[:, 3:67],
    )
    out = linear(x, weight)

    def gradients(gradient: Tensor) -> object:
        return torch.autograd.grad(out, (x, weight), gradient, retain_graph=True)

    dense, slow = (median_seconds(lambda given=given: gradients(given)) for given in (wide.contiguous(), wide))
    assert len(asked) > 2
    assert slow < 10 * dense, f"{slow / dense:.0f} times as long"


def ordinary(x: Tensor, weight: Tensor, bias: Tensor) -> None:
    assert torch.equal(linear(x, weight, bias), reference(x, weight, bias))


def test_double_precision_is_left_to_torch(asked: list[tuple[int, ...]]) -> None:
    ordinary(random(300, 48, dtype=torch.float64), random(64, 48, dtype=torch.float64), random(64, dtype=torch.float64))
    assert not asked


def test_small_products_are_left_to_torch(asked: list[tuple[int, ...]]) -> None:
    rows = FEWEST_PRODUCTS // (64 * 48)
    ordinary(random(rows, 48), random(64, 48), random(64))
    assert not asked
    linear(random(rows + 1, 48), random(64, 48), random(64))
    assert asked


def test_processors_where_the_libraries_differ_are_left_to_torch(
    asked: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_agrees", lambda: False)
    ordinary(random(300, 48), random(64, 48), random(64))
    assert not asked


def test_differences_and_failures_of_the_library_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    agrees = room._agrees.__wrapped__
    if not agrees():
        pytest.skip("this processor or this build of torch has no oneDNN with AVX-512")
    right = room._product
    monkeypatch.setattr(room, "_product", lambda *given: right(*given) * 1.001)
    assert not agrees()

    def missing(*_: object) -> Tensor:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    monkeypatch.setattr(room, "_product", missing)
    assert not agrees()
    monkeypatch.setattr(room, "_product", right)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not agrees()


def test_members_of_an_ensemble(asked: list[tuple[int, ...]]) -> None:
    """`torch.func` knows no rule for oneDNN's products."""
    weights, x = random(3, 64, 48), random(300, 48)
    found = torch.vmap(lambda weight: linear(x, weight))(weights)
    close(found, torch.stack([reference(x, weight) for weight in weights]))
    gradient = torch.func.grad(lambda weight: linear(x, weight).square().sum())(weights[0])
    close(gradient, 2 * reference(x, weights[0]).T @ x)
    assert not asked


def test_automatic_precision_is_left_to_torch(asked: list[tuple[int, ...]]) -> None:
    x, weight = random(300, 48), random(64, 48)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16
    assert not asked


def test_half_precision_is_left_to_torch(asked: list[tuple[int, ...]]) -> None:
    x, weight, bias = (random(*shape, dtype=torch.bfloat16) for shape in ((300, 48), (64, 48), (64,)))
    ordinary(x, weight, bias)
    assert not asked


def test_the_layer_is_torchs_with_the_same_weights(asked: list[tuple[int, ...]]) -> None:
    torch.manual_seed(0)
    usual = nn.Linear(48, 64)
    torch.manual_seed(0)
    own = Linear(48, 64)
    assert own.state_dict().keys() == usual.state_dict().keys()
    assert all(torch.equal(value, usual.state_dict()[name]) for name, value in own.state_dict().items())
    x = random(300, 48)
    close(own(x), usual(x))
    with torch.no_grad():
        close(own(x), usual(x))
    assert len(asked) == 2
    without = Linear(48, 64, bias=False)
    without.load_state_dict({"weight": usual.weight})
    close(without(x), reference(x, usual.weight))


SIZES = """
import torch
from voigt.memory import keep_freed_memory
from voigt.models.linear import linear, summed_products

torch.set_num_threads(1)
keep_freed_memory()

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))

def work(size):
    x = torch.ones(size, 64)
    linear(x, torch.ones(64, 64))
    summed_products(x, x)

for k in range(40):  # few numbers of rows lie in between
    work(20_000 + 300 * k)
before = resident()
for k in range(200):
    work(20_007 + 59 * k)
print(resident() - before)
"""


@pytest.mark.skipif(not room._agrees(), reason="this processor or build of torch has no oneDNN for AVX-512")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from Linux's /proc")
def test_sizes_that_never_come_again_take_no_memory() -> None:
    """oneDNN keeps megabytes for every size of a product: before rows were filled up, a gigabyte here."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SIZES], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 100  # MiB


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100, 4097])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_of_products_are_those_of_a_matrix_product(count: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(count)
    x, y = (torch.randn(count, size, generator=generator, dtype=torch.float64) for size in (48, 96))
    found, expected = summed_products(x.to(dtype), y.to(dtype)), x.T @ y
    tolerance = (1e-5 if dtype == torch.float32 else 1e-12) * max(float(expected.abs().max()), 1.0)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)

"""Linear maps, on a CPU by the quicker of the two libraries that torch brings.

torch multiplies single-precision matrices on the CPU with MKL, which leaves half of the AVX-512 units of other makers'
processors idle. oneDNN, which torch carries too, does not: `python -m benchmarks.speed.linear` compares them.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import torch
from torch import Tensor, nn

from voigt.graphs.padding import rounded, rounded_down

FEWEST_PRODUCTS = 2**19
"""Products of numbers from which on oneDNN makes up for the ten microseconds of its call."""
STEPS, FINE_STEPS = 8, 32
"""Sizes between two powers of two that oneDNN is given: of rows, and of what belongs to a network. It takes 0.3 ms to
write code for a size that is new to it, and keeps megabytes for each of the last thousand: so rows are filled up to one
of few numbers, a sixteenth of them idle on average, and other sizes must be few by themselves."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The map x W^T + b, as `torch.nn.functional.linear`, whose results it gives up to rounding.

    Parameters
    ----------
    x
        (..., k)
    weight
        (outputs, k).
    bias
        (outputs,)

    Returns
    -------
    (..., outputs)

    Examples
    --------
    >>> linear(torch.ones(2, 3), torch.eye(3)).shape
    torch.Size([2, 3])
    """
    if x.numel() * len(weight) < FEWEST_PRODUCTS or not _serves(x, weight):
        return nn.functional.linear(x, weight, bias)
    if torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in (x, weight, bias)):
        return cast(Tensor, _Linear.apply(x, weight, bias))  # type: ignore[no-untyped-call]
    return _product(x, weight, bias)


def summed_products(x: Tensor, y: Tensor) -> Tensor:
    """Sum over rows of products of all numbers of two matrices, x^T y: the gradient of a linear map's weight.

    Parameters
    ----------
    x, y
        (n, k) and (n, outputs).

    Returns
    -------
    (k, outputs)

    Examples
    --------
    >>> summed_products(torch.ones(3, 2), torch.ones(3, 4)).tolist()
    [[3.0, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0, 3.0]]
    """
    count = len(x)
    most = rounded_down(count, STEPS)  # of few numbers, see STEPS
    total = linear(x[:most].T, y[:most].T)
    return total if most == count else total + x[most:].T @ y[most:]


def transformed() -> bool:
    """Whether a transformation of `torch.func` runs what is computed now."""
    return torch._C._functorch.peek_interpreter_stack() is not None


class Linear(nn.Linear):
    """`torch.nn.Linear` that computes with `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        return linear(x, self.weight, self.bias)


class _Linear(torch.autograd.Function):
    """Gradients are linear maps too, and go the same way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1])
        of_x = linear(gradient, weight.T) if ctx.needs_input_grad[0] else None
        of_weight = summed_products(x.reshape(-1, x.shape[-1]), rows).T if ctx.needs_input_grad[1] else None
        return of_x, of_weight, rows.sum(0) if ctx.needs_input_grad[2] else None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows = x.reshape(-1, x.shape[-1])
    count = len(rows)
    if more := rounded(count, STEPS) - count:
        rows = nn.functional.pad(rows, (0, 0, 0, more))
    result: Tensor = torch.ops.mkldnn._linear_pointwise(_dense(rows), _dense(weight), bias, "none", [], "")
    return result[:count].view(*x.shape[:-1], len(weight))


@functools.lru_cache
def _is_one_of_few(size: int) -> bool:
    return rounded_down(size, FINE_STEPS) == size


def _dense(matrix: Tensor) -> Tensor:
    """The matrix, or a copy if neither its rows nor its columns lie one after the other: oneDNN is slow on these."""
    return matrix if matrix.is_contiguous() or matrix.T.is_contiguous() else matrix.contiguous()


def _serves(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can be asked: for plain single-precision tensors of a CPU with AVX-512."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and _is_one_of_few(x.shape[-1])
        and _is_one_of_few(len(weight))
        and not transformed()  # its products know no vmap
        and _agrees()
    )


@functools.lru_cache
@torch.no_grad()
def _agrees() -> bool:
    """Whether this build of torch and this processor have it, and it gives what MKL gives."""
    if "AVX512" not in torch.backends.cpu.get_cpu_capability() or not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in ((7, 3, 48), (48, 96), (96,)))
    try:
        found = _product(x[:, 1:], weight.T, bias)
    except Exception:  # an operator of torch that is not documented: without it there is the other library
        return False
    return bool(torch.allclose(found, nn.functional.linear(x[:, 1:], weight.T, bias), rtol=1e-4, atol=1e-4))

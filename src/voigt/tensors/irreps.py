"""Cartesian tensors <-> irreducible representations of O(3), one orthonormal basis per index formula.

Components follow e3nn: l=1 in the order x, y, z and D(R) = R for polar vectors; irreps in the order of
``e3nn.o3.ReducedTensorProducts``. Rows of a basis are orthonormal, so both directions keep the Frobenius norm.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from e3nn import o3
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class CartesianBasis:
    """Orthonormal basis of the tensors that obey an index formula.

    Attributes
    ----------
    formula
        Index symmetry in e3nn's notation; "" is a scalar.
    irreps
        Irreps of the components in order, e.g. "0e+1e+2e".
    matrix
        (dim, 3**rank) float64, read-only: row k is the k-th basis tensor, flattened row-major. For formulas with
        repeated irreps ("ijk=ikj", "ijkl=jikl=klij") the choice inside the repeated space is e3nn's.
    """

    formula: str
    irreps: str
    matrix: NDArray[np.float64]

    @property
    def rank(self) -> int:
        """Number of Cartesian indices."""
        return formula_rank(self.formula)

    @property
    def dim(self) -> int:
        """Number of components, i.e. of independent entries before crystal symmetry."""
        return int(self.matrix.shape[0])


def formula_rank(formula: str) -> int:
    """Number of Cartesian indices of a formula: "" -> 0, "ijk=ikj" -> 3."""
    return len(_indices(formula))


def formula_irreps(formula: str) -> str:
    """Irreps of the tensors that obey a formula: "" -> "0e", "ij" -> "0e+1e+2e", "ijk=ikj" -> "2x1o+2o+3o"."""
    return cartesian_basis(formula).irreps


@functools.cache
def cartesian_basis(formula: str) -> CartesianBasis:
    """Build (once per process) the basis of a formula such as "", "ij", "ij=ji", "ijk=ikj", "ijkl=jikl=klij".

    Every index is a polar vector (1o). Modules meant for torch.compile or torch.export call this when they
    are built and keep the matrix as a buffer: e3nn's construction cannot be traced.
    """
    if formula == "":
        matrix = np.ones((1, 1))
        irreps = "0e"
    else:
        with _float64_on_cpu():
            products = o3.ReducedTensorProducts(formula, **dict.fromkeys(_indices(formula), "1o"))
        matrix = products.change_of_basis.flatten(1).numpy().copy()
        irreps = "+".join(f"{mul}x{ir}" if mul > 1 else str(ir) for mul, ir in products.irreps_out)
    matrix.setflags(write=False)
    return CartesianBasis(formula, irreps, matrix)


def to_irreps(tensor: torch.Tensor, formula: str) -> torch.Tensor:
    """Components of a Cartesian tensor in the basis of its formula.

    Parameters
    ----------
    tensor
        (..., 3, ..., 3) with one axis of length 3 per index of the formula; a part that violates the index
        symmetry is projected away.
    formula
        Index symmetry in e3nn's notation.

    Returns
    -------
    Tensor
        (..., dim), dtype and device of the input.

    Raises
    ------
    TypeError
        The tensor is not of a floating type.
    """
    rank = formula_rank(formula)
    leading = tensor.shape[: tensor.ndim - rank]
    return tensor.reshape((*leading, 3**rank)) @ _matrix_like(tensor, formula).T


def to_cartesian(components: torch.Tensor, formula: str) -> torch.Tensor:
    """Cartesian tensor (..., 3, ..., 3) from its components (..., dim); inverse of `to_irreps`.

    Raises
    ------
    TypeError
        The components are not of a floating type.
    """
    flat = components @ _matrix_like(components, formula)
    return flat.reshape((*components.shape[:-1], *(3,) * formula_rank(formula)))


def _matrix_like(tensor: torch.Tensor, formula: str) -> torch.Tensor:
    """Basis matrix in the dtype and on the device of a tensor."""
    if not tensor.is_floating_point():
        raise TypeError(f"expected a floating-point tensor for formula '{formula}', got {tensor.dtype}")
    # Fresh each time: a tensor cached while in inference_mode could never take part in autograd.
    return torch.tensor(cartesian_basis(formula).matrix, dtype=tensor.dtype, device=tensor.device)


def _indices(formula: str) -> str:
    """Letters of the indices in order: "ijk=ikj" -> "ijk"."""
    return formula.partition("=")[0]


@contextmanager
def _float64_on_cpu() -> Iterator[None]:
    """e3nn rounds its bases to the default dtype and builds on the default device: fix both, then restore."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(before)

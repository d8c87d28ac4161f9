"""Cartesian tensors <-> irreducible representations of O(3), one orthonormal basis per index formula.

Components follow e3nn: l=1 in the order x, y, z and D(R) = R for polar vectors; irreps in the order of
``e3nn.o3.ReducedTensorProducts``. Rows of a basis are orthonormal, so both directions keep the Frobenius norm.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

CONSTANTS = Path(__file__).with_name("constants.json")
"""Bases and Wigner 3j symbols as e3nn defines them, written by `python -m benchmarks.tools.constants`."""


@dataclass(frozen=True, eq=False)
class CartesianBasis:
    """Orthonormal basis of the tensors that obey an index formula.

    Attributes
    ----------
    formula
        Index symmetry in e3nn's notation; "" is a scalar.
    irreps
        Irreps of the components in order, e.g. ("0e", "1e", "2e").
    matrix
        (dim, 3**rank) float64, read-only: row k is the k-th basis tensor, flattened row-major. For formulas with
        repeated irreps ("ijk=ikj", "ijkl=jikl=klij") the choice inside the repeated space is e3nn's.
    """

    formula: str
    irreps: tuple[str, ...]
    matrix: NDArray[np.float64]

    @property
    def rank(self) -> int:
        """Number of Cartesian indices."""
        return formula_rank(self.formula)

    @property
    def dim(self) -> int:
        """Number of components, i.e. of independent entries before crystal symmetry."""
        return int(self.matrix.shape[0])


def degree(irrep: str) -> int:
    """Angular momentum l of an irrep such as "2e"."""
    return int(irrep[:-1])


def dimension(irrep: str) -> int:
    """Number of components of an irrep, 2l + 1."""
    return 2 * degree(irrep) + 1


def couples(first: str, second: str, out: str) -> bool:
    """Whether the product of two irreps contains a third: the triangle of angular momenta closes, parities multiply.

    Examples
    --------
    >>> couples("1o", "1o", "1e"), couples("1o", "1o", "1o"), couples("1o", "1o", "3e")
    (True, False, False)
    """
    low, high = abs(degree(first) - degree(second)), degree(first) + degree(second)
    even = first[-1] == second[-1]
    return low <= degree(out) <= high and (out[-1] == "e") == even


def wigner_3j(first: str, second: str, out: str) -> NDArray[np.float64]:
    """Coupling tensor (dim first, dim second, dim out) of irreps up to l = 2 with their products.

    Frobenius norm 1, float64. Parity plays no part in it.
    """
    shape = (dimension(first), dimension(second), dimension(out))
    entries = _constants()["wigner_3j"][f"{degree(first)} {degree(second)} {degree(out)}"]
    return _dense(entries, shape)


def formula_rank(formula: str) -> int:
    """Number of Cartesian indices of a formula: "" -> 0, "ijk=ikj" -> 3."""
    return len(formula.partition("=")[0])


@functools.cache
def cartesian_basis(formula: str) -> CartesianBasis:
    """Basis of a formula: "", "ij", "ij=ji", "ijk=ikj" or "ijkl=jikl=klij". Every index is a polar vector (1o).

    Raises
    ------
    ValueError
        The basis of this formula is not in the table.

    Examples
    --------
    >>> cartesian_basis("ij=ji").irreps, cartesian_basis("ij=ji").matrix.shape
    (('0e', '2e'), (6, 9))
    """
    bases = _constants()["bases"]
    if formula not in bases:
        raise ValueError(
            f"no basis is tabulated for index formula '{formula}'; add it to benchmarks/tools/constants.py and run that"
        )
    irreps = tuple(bases[formula]["irreps"])
    matrix = _dense(bases[formula]["entries"], (sum(map(dimension, irreps)), 3 ** formula_rank(formula)))
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

    Examples
    --------
    >>> components = to_irreps(torch.eye(3), "ij")  # 0e + 1e + 2e
    >>> round(float(components[0]), 4)  # the trace over the root of three
    1.7321
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

    Examples
    --------
    >>> components = to_irreps(torch.eye(3), "ij=ji")
    >>> torch.allclose(to_cartesian(components, "ij=ji"), torch.eye(3))
    True
    """
    flat = components @ _matrix_like(components, formula)
    return flat.reshape((*components.shape[:-1], *(3,) * formula_rank(formula)))


def _matrix_like(tensor: torch.Tensor, formula: str) -> torch.Tensor:
    """Basis matrix in the dtype and on the device of a tensor."""
    if not tensor.is_floating_point():
        raise TypeError(f"expected a floating-point tensor for formula '{formula}', got {tensor.dtype}")
    # Fresh each time: a tensor cached while in inference_mode could never take part in autograd.
    return torch.tensor(cartesian_basis(formula).matrix, dtype=tensor.dtype, device=tensor.device)


@functools.cache
def _constants() -> Any:
    return json.loads(CONSTANTS.read_text(encoding="utf-8"))


def _dense(entries: list[list[Any]], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Array from the index and value of each entry that does not vanish."""
    array = np.zeros(shape)
    for *place, value in entries:
        array[tuple(place)] = value
    return array

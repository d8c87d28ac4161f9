"""Numbers that do not depend on the axes, of many tensors at once.

Tensors (n, ...) are Cartesian; a tensor with a component that is not finite is missing, and its numbers are NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from voigt.response.elasticity import Moduli

Array: TypeAlias = NDArray[np.float64]


def eigenvalues(tensor: Array) -> Array:
    """Eigenvalues (n, 3), ascending, of the symmetric parts of (n, 3, 3)."""
    return _where_finite(tensor, lambda t: np.asarray(np.linalg.eigvalsh((t + t.swapaxes(-1, -2)) / 2)), (3,))


def anisotropy(values: Array) -> Array:
    """Largest over smallest of eigenvalues (n, 3); NaN where one is negative."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(values[:, 0] >= 0, values[:, 2] / values[:, 0], np.nan))


def refractive_index(values: Array) -> Array:
    """Mean of the roots of eigenvalues (n, 3); NaN where one is negative."""
    return np.asarray(_roots(values).mean(axis=1))


def birefringence(values: Array) -> Array:
    """Largest minus smallest root of eigenvalues (n, 3); NaN where one is negative."""
    roots = _roots(values)
    return np.asarray(roots[:, 2] - roots[:, 0])


def frobenius(tensor: Array) -> Array:
    """Root of the sum of the squares of all components of (n, ...)."""
    return np.asarray(np.sqrt(np.square(tensor).sum(axis=tuple(range(1, tensor.ndim)))))


def largest_longitudinal(piezo: Array) -> Array:
    """Largest |e_ijk n_i n_j n_k| over all directions n, of tensors (n, 3, 3, 3)."""
    from voigt.response import piezoelectricity

    return _where_finite(piezo, lambda finite: piezoelectricity.largest_longitudinal(finite).value, ())


@dataclass(frozen=True)
class Elasticity:
    """Result of `elasticity` for n tensors."""

    smallest: Array  # (n,) smallest eigenvalue of the stiffness in Mandel notation, GPa; NaN where missing
    moduli: Moduli  # averages, each (n,); NaN where the crystal is not stable


def elasticity(elastic: Array) -> Elasticity:
    """Moduli of stiffnesses (n, 3, 3, 3, 3) in GPa."""
    from voigt.response.elasticity import Moduli, born_stability, moduli

    smallest = _where_finite(elastic, lambda finite: born_stability(finite).smallest_eigenvalue, ())
    stable = smallest > 0
    averages = moduli(elastic[stable])
    spread_out = {}
    for field in fields(Moduli):
        spread_out[field.name] = np.full(len(elastic), np.nan)
        spread_out[field.name][stable] = getattr(averages, field.name)
    return Elasticity(smallest, Moduli(**spread_out))


def _roots(values: Array) -> Array:
    return np.sqrt(np.where(values >= 0, values, np.nan))


def _where_finite(tensor: Array, function: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """The function of the tensors without missing components; NaN of the given shape for the others."""
    result = np.full((len(tensor), *shape), np.nan)
    finite = np.isfinite(tensor).all(axis=tuple(range(1, tensor.ndim)))
    if finite.any():
        result[finite] = function(tensor[finite])
    return result

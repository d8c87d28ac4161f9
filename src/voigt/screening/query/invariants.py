"""Numbers that do not depend on the axes, of many tensors at once.

Tensors (n, ...) are Cartesian; a tensor with a component that is not finite is missing, and its numbers are NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from voigt.response.elasticity import Moduli

Array: TypeAlias = NDArray[np.float64]

_DIRECTIONS = 1000
_PEAKS = 6
_APART = np.cos(np.radians(40))
"""Directions closer than this belong to one peak: a surface of third degree has no narrower ones."""
_STEPS = 12
_STRIDE = 0.2
"""Longest Newton step in radians."""
_BLOCK = 2048
"""Tensors whose longitudinal surfaces are held in memory at once: 16 MB."""


def eigenvalues(tensor: Array) -> Array:
    """Eigenvalues (n, 3), ascending, of the symmetric parts of (n, 3, 3)."""
    return _where_finite(tensor, _symmetric_eigenvalues, (3,))


def _symmetric_eigenvalues(tensor: Array) -> Array:
    return np.asarray(np.linalg.eigvalsh((tensor + tensor.swapaxes(-1, -2)) / 2), dtype=np.float64)


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
    """Largest |e_ijk n_i n_j n_k| over all directions n, of tensors (n, 3, 3, 3).

    The surface is looked at in a thousand directions, one for each pair n and -n, all tensors in one product with the
    monomials of third degree. From the highest points of six separate peaks, Newton steps on the sphere climb
    to the top; a cubic form has seven pairs of critical points at most (Cartwright and Sturmfels, Linear Algebra
    Appl. 438, 942 (2013)). `voigt.response.piezoelectricity.largest_longitudinal` finds the same for one tensor.
    """
    return _where_finite(piezo, _longest, ())


def _longest(piezo: Array) -> Array:
    result = np.zeros(len(piezo))
    scales = frobenius(piezo)
    for rows in np.array_split(np.flatnonzero(scales > 0), max(len(piezo) // _BLOCK, 1)):
        unit = piezo[rows] / scales[rows, None, None, None]
        symmetric = (unit + unit.transpose(0, 2, 3, 1) + unit.transpose(0, 3, 1, 2)) / 3
        symmetric = (symmetric + symmetric.swapaxes(-1, -2)) / 2
        result[rows] = scales[rows] * _highest(symmetric)
    return result


def _highest(cubic: Array) -> Array:
    """Maximum of totally symmetric cubic forms (n, 3, 3, 3) of norm 1 at most."""
    sphere = _half_sphere()
    heights = cubic.reshape(len(cubic), 27) @ sphere.monomials
    signs = np.where(heights < 0, -1.0, 1.0)
    np.abs(heights, out=heights)
    best = np.zeros(len(cubic))
    every = np.arange(len(cubic))
    for _ in range(_PEAKS):
        chosen = heights.argmax(axis=1)
        best = np.maximum(best, _climbed(cubic, sphere.directions[chosen] * signs[every, chosen][:, None]))
        heights[sphere.near[chosen]] = -1
    return best


def _climbed(cubic: Array, start: Array) -> Array:
    """Largest height on the way of Newton steps from unit vectors (n, 3) close to a maximum."""
    n = start
    best = np.zeros(len(n))
    for step in range(_STEPS + 1):
        matrix = (cubic.reshape(-1, 9, 3) @ n[:, :, None]).reshape(-1, 3, 3)
        pull = (matrix @ n[:, :, None])[:, :, 0]
        height = (pull * n).sum(axis=1)
        best = np.maximum(best, height)
        if step < _STEPS:
            n = _stepped(n, matrix, pull, height)
    return best


def _stepped(n: Array, matrix: Array, pull: Array, height: Array) -> Array:
    """One Newton step on the sphere: gradient 3 pull and Hessian 6 matrix - 3 height, in the plane normal to n."""
    plane = _plane(n)
    slope = (plane @ pull[:, :, None])[:, :, 0]
    bend = 2 * plane @ matrix @ plane.swapaxes(-1, -2)
    xx, yy, xy = height - bend[:, 0, 0], height - bend[:, 1, 1], -bend[:, 0, 1]
    # Uphill also where the surface does not bend down: along a ring of equal maxima, or on the flank of a peak.
    flattest = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
    lift = np.maximum(0, 1e-6 * np.abs(height) + 1e-12 - flattest)
    xx, yy = xx + lift, yy + lift
    step = np.stack([yy * slope[:, 0] - xy * slope[:, 1], xx * slope[:, 1] - xy * slope[:, 0]], axis=-1)
    step /= (xx * yy - xy**2)[:, None]
    step *= np.minimum(1, _STRIDE / np.maximum(np.linalg.norm(step, axis=1), _STRIDE))[:, None]
    moved = n + (step[:, None, :] @ plane)[:, 0, :]
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True))


def _plane(n: Array) -> Array:
    """Two orthonormal rows (n, 2, 3) normal to each unit vector. Duff et al., J. Comput. Graph. Tech. 6, 1 (2017)."""
    x, y, z = n.T
    sign = np.where(z < 0, -1.0, 1.0)
    a = -1 / (sign + z)
    b = x * y * a
    first = np.stack([1 + sign * x**2 * a, sign * b, -sign * x], axis=-1)
    return np.stack([first, np.stack([b, sign + y**2 * a, -y], axis=-1)], axis=1)


@dataclass(frozen=True)
class _Sphere:
    directions: Array
    """(count, 3), one of each pair of opposite directions."""
    monomials: Array
    """(27, count) products n_i n_j n_k."""
    near: NDArray[np.bool_]
    """(count, count) whether two belong to one peak."""


@lru_cache(maxsize=1)
def _half_sphere() -> _Sphere:
    """Directions spread evenly over half a sphere: a golden spiral."""
    heights = (np.arange(_DIRECTIONS) + 0.5) / _DIRECTIONS
    turns = np.pi * (1 + np.sqrt(5)) * np.arange(_DIRECTIONS)
    radii = np.sqrt(1 - heights**2)
    points = np.stack([radii * np.cos(turns), radii * np.sin(turns), heights], axis=-1)
    monomials = np.einsum("di,dj,dk->ijkd", points, points, points).reshape(27, -1)
    return _Sphere(points, np.ascontiguousarray(monomials), np.abs(points @ points.T) > _APART)


@dataclass(frozen=True)
class Elasticity:
    """What `elasticity` finds, for n tensors.

    Attributes
    ----------
    smallest
        (n,) smallest eigenvalue of the stiffness in Mandel notation, GPa; NaN where missing.
    moduli
        Averages, each (n,); NaN where the crystal is not stable.
    """

    smallest: Array
    moduli: Moduli


def elasticity(elastic: Array) -> Elasticity:
    """Moduli of stiffnesses (n, 3, 3, 3, 3) in GPa."""
    from voigt.response.elasticity import Moduli, born_stability, moduli

    smallest = _where_finite(elastic, lambda found: born_stability(found).smallest_eigenvalue, ())
    stable = smallest > 0
    found = moduli(elastic[stable])
    spread_out = {}
    for field in fields(Moduli):
        spread_out[field.name] = np.full(len(elastic), np.nan)
        spread_out[field.name][stable] = getattr(found, field.name)
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

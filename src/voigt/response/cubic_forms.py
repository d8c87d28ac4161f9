"""Maximum of cubic forms c_ijk n_i n_j n_k over all unit vectors n, for many forms at once.

The surface is sampled in a thousand directions. From the highest points of several separate peaks Newton steps on the
sphere climb to the top. A cubic form in three variables has at most seven pairs of critical points (Cartwright and
Sturmfels, Linear Algebra Appl. 438, 942 (2013)), so that few of them are maxima.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from voigt.response.arrays import Array

_DIRECTIONS = 1000
_PEAKS = 6
_APART = np.cos(np.radians(40))
"""Directions closer than this belong to one peak: a surface of third degree has no narrower ones."""
_STEPS = 12
_STRIDE = 0.2
"""Longest Newton step in radians."""
_BLOCK = 2048
"""Forms whose sampled surfaces are held in memory at once: 16 MB."""


def maxima(cubic: Array) -> tuple[Array, Array]:
    """Maximum (n,) and the unit vector (n, 3) where it is, of totally symmetric forms (n, 3, 3, 3) of norm 1.

    Examples
    --------
    >>> form = np.zeros((1, 3, 3, 3))
    >>> form[0, 2, 2, 2] = 1.0  # z^3
    >>> height, n = maxima(form)
    >>> bool(np.allclose(height, 1)), bool(np.allclose(n, [[0, 0, 1]]))
    (True, True)
    """
    blocks = [_block_maxima(cubic[start : start + _BLOCK]) for start in range(0, len(cubic), _BLOCK)]
    if not blocks:
        return np.empty(0), np.empty((0, 3))
    return np.concatenate([height for height, _ in blocks]), np.concatenate([n for _, n in blocks])


def _block_maxima(cubic: Array) -> tuple[Array, Array]:
    directions, monomials, near = _half_sphere()
    # One product with the monomials n_i n_j n_k samples every surface. The form is odd, so half a sphere is enough.
    heights = cubic.reshape(len(cubic), 27) @ monomials
    signs = np.where(heights < 0, -1.0, 1.0)
    np.abs(heights, out=heights)
    best, where = np.full(len(cubic), -np.inf), np.zeros((len(cubic), 3))
    every = np.arange(len(cubic))
    for _ in range(_PEAKS):
        chosen = heights.argmax(axis=1)
        start = directions[chosen] * signs[every, chosen][:, None]
        height, n = _climbed(cubic, start)
        higher = height > best
        best, where = np.where(higher, height, best), np.where(higher[:, None], n, where)
        heights[near[chosen]] = -1  # the next start is on another peak
    return best, where


def _climbed(cubic: Array, start: Array) -> tuple[Array, Array]:
    """Largest height on the way of Newton steps from unit vectors (n, 3) close to a maximum, and its place."""
    n, best, where = start, np.full(len(start), -np.inf), start
    for step in range(_STEPS + 1):
        # matrix = c n, pull = c n n, height = c n n n: a sixth of the Hessian, a third of the gradient, the form.
        matrix = (cubic.reshape(-1, 9, 3) @ n[:, :, None]).reshape(-1, 3, 3)
        pull = (matrix @ n[:, :, None])[:, :, 0]
        height = (pull * n).sum(axis=1)
        higher = height > best
        best, where = np.where(higher, height, best), np.where(higher[:, None], n, where)
        if step < _STEPS:
            n = _stepped(n, matrix, pull, height)
    return best, where


def _stepped(n: Array, matrix: Array, pull: Array, height: Array) -> Array:
    """One Newton step on the sphere, in the plane normal to n: gradient 3 pull, Hessian 6 matrix - 3 height.

    The term in the height is the curvature of the sphere itself.
    """
    plane = _plane(n)
    slope = (plane @ pull[:, :, None])[:, :, 0]
    bend = 2 * plane @ matrix @ plane.swapaxes(-1, -2)
    # Minus the 2x2 Hessian over 3, which is positive definite at a maximum.
    xx, yy, xy = height - bend[:, 0, 0], height - bend[:, 1, 1], -bend[:, 0, 1]
    # Shifted to be positive definite where the surface does not bend down: along a ring of equal maxima, or on the
    # flank of a peak. The step then still goes uphill.
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


@lru_cache(maxsize=1)
def _half_sphere() -> tuple[Array, Array, NDArray[np.bool_]]:
    """Directions (count, 3) spread evenly over half a sphere, a golden spiral; monomials (27, count); near ones."""
    heights = (np.arange(_DIRECTIONS) + 0.5) / _DIRECTIONS
    turns = np.pi * (1 + np.sqrt(5)) * np.arange(_DIRECTIONS)
    radii = np.sqrt(1 - heights**2)
    points = np.stack([radii * np.cos(turns), radii * np.sin(turns), heights], axis=-1)
    monomials = np.einsum("di,dj,dk->ijkd", points, points, points).reshape(27, -1)
    return points, np.ascontiguousarray(monomials), np.abs(points @ points.T) > _APART

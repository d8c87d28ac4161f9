"""The rotation that brings a tensor nearest to what a point group allows, sought over all rotations."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from voigt.data.tensor_symmetry import deviations, projected, turned
from voigt.structures.symmetry import Symmetry
from voigt.tensors.properties import Property

Array = NDArray[np.float64]

STARTS = 400
"""Rotations of a grid, about 25 degrees apart."""
POLISHED = 4
"""Best of them, which are refined."""


def align(prop: Property, tensor: Array, symmetry: Symmetry) -> tuple[Array, float]:
    """Rotation (3, 3) after which a tensor obeys the symmetry best, and the relative deviation that is left.

    Any rotation that the point group's normalizer holds may follow without a difference, so the answer is one of
    several.

    Parameters
    ----------
    prop
        Its declaration.
    tensor
        Cartesian label.
    symmetry
        Of its crystal.
    """
    from scipy.optimize import least_squares
    from scipy.spatial.transform import Rotation

    grid = _grid()

    def missed(vector: Array) -> Array:
        rotated = turned(prop, tensor, Rotation.from_rotvec(vector).as_matrix()[None])[0]
        return np.asarray((rotated - projected(prop, rotated, symmetry)).ravel())

    left = deviations(prop, turned(prop, tensor, grid), symmetry)
    best, least = grid[int(left.argmin())], float(left.min())
    for start in np.argsort(left)[:POLISHED]:
        fit = least_squares(missed, Rotation.from_matrix(grid[start]).as_rotvec(), max_nfev=30)
        rotation = Rotation.from_rotvec(fit.x).as_matrix()
        deviation = float(deviations(prop, turned(prop, tensor, rotation[None]), symmetry)[0])
        if deviation < least:
            best, least = rotation, deviation
    return best, least


@lru_cache(maxsize=1)
def _grid() -> Array:
    """(STARTS, 3, 3) rotations spread evenly: super-Fibonacci spirals (Alexa, CVPR 2022)."""
    from scipy.spatial.transform import Rotation

    root, psi = np.sqrt(2.0), 1.533751168755204288118041
    place = np.arange(STARTS) + 0.5
    inner, outer = np.sqrt(place / STARTS), np.sqrt(1 - place / STARTS)
    first, second = 2 * np.pi * place / root, 2 * np.pi * place / psi
    quaternions = [inner * np.sin(first), inner * np.cos(first), outer * np.sin(second), outer * np.cos(second)]
    return np.asarray(Rotation.from_quat(np.stack(quaternions, axis=1)).as_matrix())

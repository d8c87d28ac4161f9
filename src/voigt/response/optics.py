"""What the high-frequency permittivity says about light far below the band gap: refraction and reflection.

Crystals are taken as transparent and without optical activity or magnetism.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from voigt.errors import DomainError, InputError
from voigt.response.arrays import Array, positive_largest

INDEX_TOLERANCE = 1e-3
"""Refractive indices closer than this count as equal: far above numerical noise, below common birefringences."""


@dataclass(frozen=True)
class Optics:
    """Refraction of one crystal.

    Attributes
    ----------
    indices
        (3,) principal refractive indices, ascending.
    axes
        (3, 3) `axes[m]` is the Cartesian unit vector of the electric field that sees `indices[m]`; orthogonal, the
        largest component of each positive. Where indices are equal, one choice of many.
    mean_index
        Mean of the three indices.
    mean_permittivity
        trace / 3, the average over the orientations of a polycrystal.
    birefringence
        Largest minus smallest index.
    kind
        "isotropic", "uniaxial" or "biaxial", up to the tolerance.
    sign
        +1 or -1 for optically positive or negative; 0 for isotropic. Uniaxial is positive if the index along the optic
        axis is the larger one, biaxial if the acute angle between the optic axes is bisected by the largest index.
    optic_axes
        (0, 3), (1, 3) or (2, 3) Cartesian unit vectors along which light sees no birefringence.
    axial_angle
        Acute angle 2V between the two optic axes in degrees, inside the crystal; 0 for uniaxial, None for isotropic.
    """

    indices: Array
    axes: Array
    mean_index: float
    mean_permittivity: float
    birefringence: float
    kind: Literal["isotropic", "uniaxial", "biaxial"]
    sign: Literal[-1, 0, 1]
    optic_axes: Array
    axial_angle: float | None


def refractive_indices(eps_inf: ArrayLike, tolerance: float = INDEX_TOLERANCE) -> Optics:
    """Principal refractive indices sqrt(eigenvalues of eps_inf), optical class and optic axes.

    Born and Wolf, Principles of Optics (1999), chapter 15: with n1 < n2 < n3 along axes 1, 2, 3 the optic axes lie in
    the plane of axes 1 and 3 at the angle V from axis 3, tan^2 V = (1/n1^2 - 1/n2^2) / (1/n2^2 - 1/n3^2).

    Parameters
    ----------
    eps_inf
        (3, 3) relative permittivity with clamped ions; its antisymmetric part is dropped. InputError if not finite,
        DomainError if not positive definite: no light travels.
    tolerance
        Indices closer than this count as equal. Tensors that were not projected onto the crystal's symmetry need a
        larger one.

    Examples
    --------
    Quartz, uniaxial and positive:

    >>> light = refractive_indices(np.diag([2.384, 2.384, 2.412]))
    >>> light.kind, light.sign, light.indices.round(3).tolist()
    ('uniaxial', 1, [1.544, 1.544, 1.553])
    """
    tensor = np.asarray(eps_inf, dtype=np.float64)
    if tensor.shape != (3, 3) or not np.isfinite(tensor).all():
        raise InputError(f"eps_inf must be one finite (3, 3) tensor, not of shape {tensor.shape}")
    values, vectors = np.linalg.eigh((tensor + tensor.T) / 2)
    if values[0] <= 0:
        raise DomainError(f"eps_inf has the eigenvalue {values[0]:.3g}; a transparent crystal has positive ones only")
    indices = np.sqrt(values)
    axes = positive_largest(vectors.T)
    means = float(indices.mean()), float(values.mean())
    kind, sign, optic_axes, axial_angle = _optical_class(indices, axes, tolerance)
    return Optics(indices, axes, *means, float(indices[2] - indices[0]), kind, sign, optic_axes, axial_angle)


def reflectivity_normal(index: ArrayLike) -> Array:
    """Share of the intensity that a flat face in vacuum reflects at normal incidence: ((n - 1) / (n + 1))^2.

    Fresnel; Born and Wolf, Principles of Optics (1999), section 1.5. Any shape; the light is polarized along the
    principal axis of the index.

    Examples
    --------
    >>> reflectivity_normal([1.5, 3.0])
    array([0.04, 0.25])
    """
    n = np.asarray(index, dtype=np.float64)
    return np.asarray(((n - 1) / (n + 1)) ** 2)[()]


def _optical_class(
    indices: Array, axes: Array, tolerance: float
) -> tuple[Literal["isotropic", "uniaxial", "biaxial"], Literal[-1, 0, 1], Array, float | None]:
    lower, upper = np.diff(indices)
    if lower + upper <= tolerance:
        return "isotropic", 0, np.empty((0, 3)), None
    if min(lower, upper) <= tolerance:
        positive = lower < upper
        return "uniaxial", 1 if positive else -1, axes[2:] if positive else axes[:1], 0.0
    # tan^2 V = sine^2 / cosine^2: the optic axes lie at +-V from the axis of the largest index.
    inverse = indices**-2.0
    sine, cosine = np.sqrt(inverse[0] - inverse[1]), np.sqrt(inverse[1] - inverse[2])
    pair = np.array([cosine * axes[2] + sine * axes[0], cosine * axes[2] - sine * axes[0]])
    from_largest = 2 * np.degrees(np.arctan2(sine, cosine))
    acute = float(min(from_largest, 180 - from_largest))
    return "biaxial", 1 if sine < cosine else -1, pair / np.hypot(sine, cosine), acute

"""Sound in a crystal and in a polycrystal, and the Debye temperature, from the elastic tensor.

Tensors, directions and errors as in `voigt.response.elasticity`; densities in kg/m^3, above zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from voigt.errors import DomainError, InputError
from voigt.response.arrays import Array, unit_vectors
from voigt.response.elasticity import moduli, positive_mandel, symmetric_mandel
from voigt.tensors.voigt import elastic_from_mandel

_PASCAL_PER_GPA = 1e9


@dataclass(frozen=True)
class SoundVelocities:
    """Velocities in m/s of sound in a polycrystal without texture: longitudinal, transverse, and Debye's mean."""

    longitudinal: Array
    transverse: Array
    mean: Array


@dataclass(frozen=True)
class Waves:
    """Plane waves along given directions.

    Attributes
    ----------
    velocities
        (..., 3) phase velocities in m/s, ascending: slow, fast transverse and longitudinal where these names apply.
    polarizations
        (..., 3, 3) unit vectors of displacement, `polarizations[..., m, :]` of wave m; mutually orthogonal, sign free.
    """

    velocities: Array
    polarizations: Array


def christoffel(elastic: ArrayLike, density: float, directions: ArrayLike) -> Waves:
    """Plane waves in the single crystal, from rho v^2 u_i = C_ijkl n_j n_l u_k.

    Auld, Acoustic Fields and Waves in Solids (1973), chapter 7. The electric field that a wave carries along in a
    piezoelectric crystal is left out: pass the stiffness at constant field. DomainError if a wave along one of the
    directions would grow instead of travel: the crystal is unstable.

    Examples
    --------
    Silicon along [100]: rho v^2 is C44 twice and C11.

    >>> from voigt.tensors.voigt import elastic_from_voigt
    >>> c = np.diag([166.0, 166, 166, 80, 80, 80])
    >>> c[:3, :3] += 64 * (1 - np.eye(3))
    >>> christoffel(elastic_from_voigt(c), 2329, [1, 0, 0]).velocities.round(0)
    array([5861., 5861., 8442.])
    """
    _check_density(density)
    n = unit_vectors(directions)
    flat = n.reshape(-1, 3)
    # Christoffel's matrix C_ijkl n_j n_l has the eigenvalues rho v^2; the displacements are its eigenvectors.
    tensor = elastic_from_mandel(symmetric_mandel(elastic))
    acoustic = np.einsum("...ijkl,dj,dl->...dik", tensor, flat, flat, optimize=True)
    values, vectors = np.linalg.eigh(acoustic)
    if values.min(initial=0) < 0:
        raise DomainError(f"no sound travels in this crystal: rho v^2 = {values.min():.3g} GPa; see born_stability")
    shape = (*values.shape[:-2], *n.shape[:-1], 3)
    velocities = np.sqrt(values * _PASCAL_PER_GPA / density)
    return Waves(velocities.reshape(shape), vectors.swapaxes(-1, -2).reshape(*shape, 3))


def sound_velocities(elastic: ArrayLike, density: float) -> SoundVelocities:
    """Sound in the polycrystal, from the Hill moduli: v_l^2 = (K + 4 G / 3) / rho, v_t^2 = G / rho.

    mean = ((v_l^-3 + 2 v_t^-3) / 3)^(-1/3). Anderson, J. Phys. Chem. Solids 24, 909 (1963). Errors as in
    `moduli`.

    Examples
    --------
    >>> from voigt.tensors.voigt import elastic_from_voigt
    >>> c = np.diag([166.0, 166, 166, 80, 80, 80])
    >>> c[:3, :3] += 64 * (1 - np.eye(3))
    >>> print(f"{sound_velocities(elastic_from_voigt(c), 2329).mean:.0f} m/s")
    5926 m/s
    """
    _check_density(density)
    average = moduli(elastic)
    scale = _PASCAL_PER_GPA / density
    longitudinal = np.sqrt((average.bulk_hill + 4 * average.shear_hill / 3) * scale)
    transverse = np.sqrt(average.shear_hill * scale)
    return SoundVelocities(longitudinal, transverse, ((longitudinal**-3 + 2 * transverse**-3) / 3) ** (-1 / 3))


def mean_sound_velocity(elastic: ArrayLike, density: float) -> Array:
    """Debye's mean velocity (m/s) of the single crystal: v^-3 averaged over all directions and the three waves.

    Exact for the given tensor, where `sound_velocities(...).mean` goes by way of the Hill averages. Errors as in
    `christoffel`, and DomainError for a tensor that is not positive definite.

    Examples
    --------
    >>> from voigt.tensors.voigt import elastic_from_voigt
    >>> c = np.diag([166.0, 166, 166, 80, 80, 80])
    >>> c[:3, :3] += 64 * (1 - np.eye(3))
    >>> print(f"{mean_sound_velocity(elastic_from_voigt(c), 2329):.0f} m/s")
    5901 m/s
    """
    positive_mandel(elastic)
    # The sum of v^-3 over the three waves is smooth on the sphere, also where two branches touch, so that Gauss's rule
    # in the height and equal steps in the azimuth converge fast.
    heights, weights = np.polynomial.legendre.leggauss(24)
    azimuths = np.arange(48) * 2 * np.pi / 48
    radii = np.sqrt(1 - heights**2)[:, None]
    parts = (radii * np.cos(azimuths), radii * np.sin(azimuths), heights[:, None] + 0 * azimuths)
    velocities = christoffel(elastic, density, np.stack(parts, axis=-1)).velocities
    slowness = (velocities**-3).mean(axis=(-1, -2)) @ (weights / 2)
    return np.asarray(slowness ** (-1 / 3))[()]


def debye_temperature(mean_velocity: ArrayLike, number_density: float) -> Array:
    """Acoustic Debye temperature in K: hbar / k_B (6 pi^2 n)^(1/3) v.

    Anderson, J. Phys. Chem. Solids 24, 909 (1963). v in m/s, from `mean_sound_velocity` or
    `sound_velocities(...).mean`; n in atoms per cubic Angstrom: all atoms, as is usual.

    Examples
    --------
    >>> print(f"{debye_temperature(5901, 8 / 5.431**3):.0f} K")  # silicon
    647 K
    """
    # The sphere of wave vectors that holds as many states for each branch as there are atoms.
    from scipy import constants  # takes a tenth of a second, which `voigt predict` need not wait for

    wave_number = np.cbrt(6 * np.pi**2 * number_density) / constants.angstrom
    return np.asarray(constants.hbar / constants.k * wave_number * np.asarray(mean_velocity, dtype=np.float64))[()]


def _check_density(density: float) -> None:
    if not density > 0:
        raise InputError(f"density must be positive, in kg/m^3, not {density}")

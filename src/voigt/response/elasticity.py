"""What an elastic tensor says about a material: moduli, stability, stiffness by direction, sound.

Tensors are Cartesian, C[i, j, k, l] in GPa with any leading axes; results keep these axes and are plain numbers for
one tensor. A small violation of the index symmetries, as numerical data have it, is averaged away first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from voigt.errors import DomainError, InputError
from voigt.tensors.voigt import elastic_from_mandel, elastic_to_mandel

Array: TypeAlias = NDArray[np.float64]

_PASCAL_PER_GPA = 1e9
_SHEAR = 1 / np.sqrt(2)
_SINGULAR = 1e-12
"""Ratio of smallest to largest eigenvalue below which an inverse is rounding noise."""


@dataclass(frozen=True)
class Moduli:
    """Averages over a polycrystal without texture; the shape of each field is that of the leading axes.

    Attributes
    ----------
    bulk_voigt, bulk_reuss, bulk_hill
        Bulk modulus in GPa for uniform strain (upper bound), uniform stress (lower bound), and the mean of both.
    shear_voigt, shear_reuss, shear_hill
        Shear modulus in GPa, likewise.
    young, poisson
        Young's modulus (GPa) and Poisson's ratio of the isotropic solid with the Hill averages.
    pugh
        bulk_hill / shear_hill; ductile metals tend to lie above 1.75, Pugh, Phil. Mag. 45, 823 (1954).
    universal_anisotropy
        5 G_V/G_R + K_V/K_R - 6 >= 0; 0 if isotropic. Ranganathan and Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504
        (2008).
    log_euclidean_anisotropy
        sqrt(ln(K_V/K_R)^2 + 5 ln(G_V/G_R)^2), an absolute measure. Kube, AIP Adv. 6, 095209 (2016).
    """

    bulk_voigt: Array
    bulk_reuss: Array
    bulk_hill: Array
    shear_voigt: Array
    shear_reuss: Array
    shear_hill: Array
    young: Array
    poisson: Array
    pugh: Array
    universal_anisotropy: Array
    log_euclidean_anisotropy: Array


@dataclass(frozen=True)
class Stability:
    """Answer of `born_stability`.

    Attributes
    ----------
    stable
        Whether every strain costs energy.
    smallest_eigenvalue
        Smallest eigenvalue of the Mandel matrix, GPa; independent of the axes.
    mode
        (..., 3, 3) strain of the softest mode, symmetric, of norm 1, its largest component positive. Where several
        modes are equally soft, one combination of them.
    """

    stable: NDArray[np.bool_]
    smallest_eigenvalue: Array
    mode: Array


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
    polarisations
        (..., 3, 3) unit vectors of displacement, `polarisations[..., m, :]` of wave m; mutually orthogonal, sign free.
    """

    velocities: Array
    polarisations: Array


def compliance(elastic: ArrayLike) -> Array:
    """Inverse of the stiffness: S[i, j, k, l] (..., 3, 3, 3, 3) in 1/GPa, strain = S : stress.

    Inverted in Mandel notation, which needs no factors. In Voigt notation with engineering strain the usual table s_IJ
    is the inverse of C_IJ: s_IJ = S[i, j, k, l] times 2 for each shear index.

    Raises
    ------
    InputError
        Not (..., 3, 3, 3, 3).
    DomainError
        A tensor is singular: some strain meets no stress.
    """
    matrix = _mandel(elastic)
    sizes = np.abs(np.linalg.eigvalsh(matrix))
    if (sizes.min(axis=-1) <= _SINGULAR * sizes.max(axis=-1)).any():
        raise DomainError("an elastic tensor is singular and has no compliance; see born_stability")
    return elastic_from_mandel(_inverse(matrix))


def moduli(elastic: ArrayLike) -> Moduli:
    """Voigt, Reuss and Hill averages and what follows from them.

    Voigt: K = C_iijj / 9, G = (C_ijij - C_iijj / 3) / 10. Reuss: K = 1 / S_iijj, G = 5 / (2 S_ijij - 2 S_iijj / 3).
    Hill, Proc. Phys. Soc. A 65, 349 (1952).

    Raises
    ------
    InputError
        Not (..., 3, 3, 3, 3).
    DomainError
        A tensor is not positive definite: its averages mean nothing. Sort these out with `born_stability`.
    """
    matrix = _positive_mandel(elastic)
    bulk_voigt, shear_voigt = _isotropic_parts(matrix)
    bulk_softness, shear_softness = _isotropic_parts(_inverse(matrix))
    bulk_reuss, shear_reuss = 1 / (9 * bulk_softness), 1 / (4 * shear_softness)
    bulk, shear = (bulk_voigt + bulk_reuss) / 2, (shear_voigt + shear_reuss) / 2
    bulk_ratio, shear_ratio = bulk_voigt / bulk_reuss, shear_voigt / shear_reuss
    return Moduli(
        bulk_voigt=bulk_voigt,
        bulk_reuss=bulk_reuss,
        bulk_hill=bulk,
        shear_voigt=shear_voigt,
        shear_reuss=shear_reuss,
        shear_hill=shear,
        young=9 * bulk * shear / (3 * bulk + shear),
        poisson=(3 * bulk - 2 * shear) / (6 * bulk + 2 * shear),
        pugh=bulk / shear,
        universal_anisotropy=5 * shear_ratio + bulk_ratio - 6,
        log_euclidean_anisotropy=np.sqrt(np.log(bulk_ratio) ** 2 + 5 * np.log(shear_ratio) ** 2),
    )


def born_stability(elastic: ArrayLike) -> Stability:
    """Whether an unstressed crystal resists every homogeneous strain.

    Necessary and sufficient in all crystal systems: the six eigenvalues of the stiffness are positive. The tables of
    inequalities per system are this condition written out. Mouhat and Coudert, Phys. Rev. B 90, 224104 (2014).

    Raises
    ------
    InputError
        Not (..., 3, 3, 3, 3).
    """
    values, vectors = np.linalg.eigh(_mandel(elastic))
    softest = vectors[..., :, 0] * np.array([1, 1, 1, _SHEAR, _SHEAR, _SHEAR])
    mode = softest[..., [[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    flat = mode.reshape(*mode.shape[:-2], 9)
    largest = np.take_along_axis(flat, np.abs(flat).argmax(axis=-1)[..., None], axis=-1)
    smallest = values[..., 0][()]
    return Stability(smallest > 0, smallest, mode * np.where(largest < 0, -1.0, 1.0)[..., None])


def youngs_modulus(elastic: ArrayLike, directions: ArrayLike) -> Array:
    """Young's modulus in GPa of a bar cut along each direction n: 1 / (S_ijkl n_i n_j n_k n_l).

    Nye, Physical Properties of Crystals (1985), chapter VIII.

    Parameters
    ----------
    elastic
        (..., 3, 3, 3, 3) stiffness, GPa.
    directions
        (..., 3) Cartesian vectors of any length; their leading axes follow those of `elastic` in the result.

    Raises
    ------
    InputError
        A wrong shape, or a direction of length zero.
    DomainError
        A tensor is singular.
    """
    n = unit_vectors(directions)
    flat = n.reshape(-1, 3)
    softness = np.einsum("...ijkl,di,dj,dk,dl->...d", compliance(elastic), flat, flat, flat, flat, optimize=True)
    return np.asarray(1 / softness).reshape((*softness.shape[:-1], *n.shape[:-1]))[()]


def linear_compressibility(elastic: ArrayLike, directions: ArrayLike) -> Array:
    """Relative shortening of each direction n per hydrostatic pressure, 1/GPa: S_ijkk n_i n_j.

    The sum over three orthogonal directions is 1 / bulk_reuss. Where it is negative, the crystal grows along n when
    squeezed. Nye, Physical Properties of Crystals (1985), chapter VIII. Parameters and errors as in `youngs_modulus`.
    """
    n = unit_vectors(directions)
    flat = n.reshape(-1, 3)
    shortening = np.einsum("...ijkk,di,dj->...d", compliance(elastic), flat, flat, optimize=True)
    return np.asarray(shortening).reshape((*shortening.shape[:-1], *n.shape[:-1]))[()]


def christoffel(elastic: ArrayLike, density: float, directions: ArrayLike) -> Waves:
    """Plane waves in the single crystal, from rho v^2 u_i = C_ijkl n_j n_l u_k.

    Auld, Acoustic Fields and Waves in Solids (1973), chapter 7. The electric field that a wave carries along in a
    piezoelectric crystal is left out: pass the stiffness at constant field.

    Parameters
    ----------
    elastic
        (..., 3, 3, 3, 3) stiffness, GPa.
    density
        kg/m^3.
    directions
        (..., 3) Cartesian vectors of any length; their leading axes follow those of `elastic` in the result.

    Raises
    ------
    InputError
        A wrong shape, a direction of length zero, or a density that is not positive.
    DomainError
        A wave along one of the directions would grow instead of travel: the crystal is unstable.
    """
    _check_density(density)
    n = unit_vectors(directions)
    flat = n.reshape(-1, 3)
    tensor = elastic_from_mandel(_mandel(elastic))
    acoustic = np.einsum("...ijkl,dj,dl->...dik", tensor, flat, flat, optimize=True)
    values, vectors = np.linalg.eigh(acoustic)
    if values.min(initial=0) < 0:
        raise DomainError(f"no sound travels in this crystal: rho v^2 = {values.min():.3g} GPa; see born_stability")
    shape = (*values.shape[:-2], *n.shape[:-1], 3)
    velocities = np.sqrt(values * _PASCAL_PER_GPA / density)
    return Waves(velocities.reshape(shape), vectors.swapaxes(-1, -2).reshape(*shape, 3))


def sound_velocities(elastic: ArrayLike, density: float) -> SoundVelocities:
    """Sound in the polycrystal, from the Hill moduli: v_l^2 = (K + 4 G / 3) / rho, v_t^2 = G / rho.

    mean = ((v_l^-3 + 2 v_t^-3) / 3)^(-1/3). Anderson, J. Phys. Chem. Solids 24, 909 (1963). Density in kg/m^3.
    Errors as in `moduli`, and InputError for a density that is not positive.
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
    """
    _positive_mandel(elastic)
    # The sum of v^-3 over the three waves is smooth on the sphere, also where two branches touch.
    heights, weights = np.polynomial.legendre.leggauss(24)
    azimuths = np.arange(48) * 2 * np.pi / 48
    radii = np.sqrt(1 - heights**2)[:, None]
    parts = (radii * np.cos(azimuths), radii * np.sin(azimuths), heights[:, None] + 0 * azimuths)
    velocities = christoffel(elastic, density, np.stack(parts, axis=-1)).velocities
    slowness = (velocities**-3).mean(axis=(-1, -2)) @ (weights / 2)
    return np.asarray(slowness ** (-1 / 3))[()]


def debye_temperature(mean_velocity: ArrayLike, number_density: float) -> Array:
    """Acoustic Debye temperature in K: hbar / k_B (6 pi^2 n)^(1/3) v.

    Anderson, J. Phys. Chem. Solids 24, 909 (1963). With n the density of all atoms, as is usual, also where a cell has
    several.

    Parameters
    ----------
    mean_velocity
        m/s, from `mean_sound_velocity` or `sound_velocities(...).mean`.
    number_density
        Atoms per cubic Angstrom.
    """
    wave_number = np.cbrt(6 * np.pi**2 * number_density) / constants.angstrom
    return np.asarray(constants.hbar / constants.k * wave_number * np.asarray(mean_velocity, dtype=np.float64))[()]


def unit_vectors(directions: ArrayLike) -> Array:
    """Directions (..., 3) scaled to length 1; raises InputError for another shape, length zero or no number."""
    vectors = np.asarray(directions, dtype=np.float64)
    if vectors.shape[-1:] != (3,):
        raise InputError(f"directions must be (..., 3) Cartesian vectors, not of shape {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise InputError("a direction has length zero or is not finite; give Cartesian vectors such as [1, 1, 0]")
    return np.asarray(vectors / lengths)


def _mandel(elastic: ArrayLike) -> Array:
    """Symmetric Mandel matrices (..., 6, 6)."""
    tensor = np.asarray(elastic, dtype=np.float64)
    if tensor.shape[-4:] != (3, 3, 3, 3):
        raise InputError(
            f"elastic must be (..., 3, 3, 3, 3), not of shape {tensor.shape}; "
            "voigt.tensors.voigt.elastic_from_voigt turns 6x6 Voigt matrices into such tensors"
        )
    if not np.isfinite(tensor).all():
        raise InputError("elastic holds components that are not finite")
    matrix = elastic_to_mandel(tensor)
    return np.asarray((matrix + matrix.swapaxes(-1, -2)) / 2)


def _positive_mandel(elastic: ArrayLike) -> Array:
    """The same, or DomainError where the energy of some strain is not positive."""
    matrix = _mandel(elastic)
    smallest = np.atleast_1d(np.linalg.eigvalsh(matrix)[..., 0])
    if (smallest <= 0).any():
        raise DomainError(
            f"{(smallest <= 0).sum()} of {smallest.size} elastic tensors not positive definite (smallest eigenvalue "
            f"{smallest.min():.3g} GPa), so that averages mean nothing; sort them out with born_stability"
        )
    return matrix


def _inverse(matrix: Array) -> Array:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _isotropic_parts(matrix: Array) -> tuple[Array, Array]:
    """K and G such that 3 K and 2 G are the means of a Mandel matrix over dilatation and the five shears."""
    dilatation = matrix[..., :3, :3].sum(axis=(-1, -2)) / 3
    return dilatation / 3, (np.trace(matrix, axis1=-2, axis2=-1) - dilatation) / 10


def _check_density(density: float) -> None:
    if not density > 0:
        raise InputError(f"density must be positive, in kg/m^3, not {density}")

"""What an elastic tensor says about a material: moduli, stability, stiffness by direction.

Tensors are Cartesian, C[i, j, k, l] in GPa with any leading axes; results keep these axes and are plain numbers for
one tensor. A small violation of the index symmetries, as numerical data have it, is averaged away first. Directions
are Cartesian vectors (..., 3) of any length; their leading axes follow those of the tensor in results. Other shapes and
components that are not finite raise InputError.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voigt.errors import DomainError, InputError
from voigt.response.arrays import Array, contracted, positive_largest
from voigt.tensors.voigt import elastic_from_mandel, elastic_to_mandel

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


def compliance(elastic: ArrayLike) -> Array:
    """Inverse of the stiffness: S[i, j, k, l] (..., 3, 3, 3, 3) in 1/GPa, strain = S : stress.

    Inverted in Mandel notation, which needs no factors. In Voigt notation with engineering strain the usual table s_IJ
    is the inverse of C_IJ: s_IJ = S[i, j, k, l] times 2 for each shear index. DomainError if a tensor is singular: some
    strain meets no stress.

    Examples
    --------
    >>> from voigt.tensors.voigt import elastic_from_voigt
    >>> s = compliance(elastic_from_voigt(np.diag([100.0, 100, 100, 40, 40, 40])))
    >>> print(f"{s[0, 0, 0, 0]:.3f} {4 * s[0, 1, 0, 1]:.3f}")  # s_11 and s_66 of tables
    0.010 0.025
    """
    matrix = symmetric_mandel(elastic)
    sizes = np.abs(np.linalg.eigvalsh(matrix))
    if (sizes.min(axis=-1) <= _SINGULAR * sizes.max(axis=-1)).any():
        raise DomainError("an elastic tensor is singular and has no compliance; see born_stability")
    return elastic_from_mandel(np.linalg.inv(matrix))


def moduli(elastic: ArrayLike) -> Moduli:
    """Voigt, Reuss and Hill averages and what follows from them.

    Voigt: K = C_iijj / 9, G = (C_ijij - C_iijj / 3) / 10. Reuss: K = 1 / S_iijj, G = 5 / (2 S_ijij - 2 S_iijj / 3).
    Hill, Proc. Phys. Soc. A 65, 349 (1952). DomainError if a tensor is not positive definite, so that averages mean
    nothing; sort these out with `born_stability`.

    Examples
    --------
    Silicon:

    >>> from voigt.tensors.voigt import elastic_from_voigt
    >>> c = np.diag([166.0, 166, 166, 80, 80, 80])
    >>> c[:3, :3] += 64 * (1 - np.eye(3))
    >>> average = moduli(elastic_from_voigt(c))
    >>> print(f"{average.bulk_hill:.1f} {average.shear_hill:.1f} {average.poisson:.3f}")
    98.0 66.8 0.222
    """
    matrix = positive_mandel(elastic)
    # Isotropic parts of the stiffness are Voigt's averages. Those of the compliance are 1 / 9 K and 1 / 4 G of Reuss.
    bulk_voigt, shear_voigt = _isotropic_parts(matrix)
    bulk_softness, shear_softness = _isotropic_parts(np.asarray(np.linalg.inv(matrix)))
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

    Examples
    --------
    >>> from voigt.tensors.voigt import elastic_from_voigt
    >>> answer = born_stability(elastic_from_voigt(np.diag([100.0, 100, 100, 40, 40, -5])))
    >>> bool(answer.stable), round(float(answer.smallest_eigenvalue), 6)
    (False, -10.0)
    """
    values, vectors = np.linalg.eigh(symmetric_mandel(elastic))
    # Mandel's shears are sqrt(2) times those of the strain tensor.
    softest = vectors[..., :, 0] * np.array([1, 1, 1, _SHEAR, _SHEAR, _SHEAR])
    mode = positive_largest(softest[..., [0, 5, 4, 5, 1, 3, 4, 3, 2]])
    smallest = values[..., 0][()]
    return Stability(smallest > 0, smallest, mode.reshape(*mode.shape[:-1], 3, 3))


def youngs_modulus(elastic: ArrayLike, directions: ArrayLike) -> Array:
    """Young's modulus in GPa of a bar cut along each direction n: 1 / (S_ijkl n_i n_j n_k n_l).

    Nye, Physical Properties of Crystals (1985), chapter VIII. DomainError if a tensor is singular.

    Examples
    --------
    >>> from voigt.tensors.voigt import elastic_from_voigt
    >>> c = np.diag([166.0, 166, 166, 80, 80, 80])
    >>> c[:3, :3] += 64 * (1 - np.eye(3))
    >>> youngs_modulus(elastic_from_voigt(c), [[1, 0, 0], [1, 1, 1]]).round(1)  # silicon
    array([130.4, 188.7])
    """
    return np.asarray(1 / contracted("...ijkl,di,dj,dk,dl->...d", compliance(elastic), directions))[()]


def linear_compressibility(elastic: ArrayLike, directions: ArrayLike) -> Array:
    """Relative shortening of each direction n per hydrostatic pressure, 1/GPa: S_ijkk n_i n_j.

    The sum over three orthogonal directions is 1 / bulk_reuss. Where it is negative, the crystal grows along n when
    squeezed. Nye, Physical Properties of Crystals (1985), chapter VIII. DomainError if a tensor is singular.

    Examples
    --------
    >>> from voigt.tensors.voigt import elastic_from_voigt
    >>> stiff_along_z = elastic_from_voigt(np.diag([100.0, 100, 400, 40, 40, 40]))
    >>> linear_compressibility(stiff_along_z, np.eye(3)).round(6)
    array([0.01  , 0.01  , 0.0025])
    """
    return contracted("...ijkk,di,dj->...d", compliance(elastic), directions)


def symmetric_mandel(elastic: ArrayLike) -> Array:
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


def positive_mandel(elastic: ArrayLike) -> Array:
    """The same, or DomainError where the energy of some strain is not positive."""
    matrix = symmetric_mandel(elastic)
    smallest = np.atleast_1d(np.linalg.eigvalsh(matrix)[..., 0])
    if (smallest <= 0).any():
        raise DomainError(
            f"{(smallest <= 0).sum()} of {smallest.size} elastic tensors not positive definite (smallest eigenvalue "
            f"{smallest.min():.3g} GPa), so that averages mean nothing; sort them out with born_stability"
        )
    return matrix


def _isotropic_parts(matrix: Array) -> tuple[Array, Array]:
    """K and G such that 3 K and 2 G are the means of a Mandel matrix over dilatation and the five shears."""
    dilatation = matrix[..., :3, :3].sum(axis=(-1, -2)) / 3
    return dilatation / 3, (np.trace(matrix, axis1=-2, axis2=-1) - dilatation) / 10

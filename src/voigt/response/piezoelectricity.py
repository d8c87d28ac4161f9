"""From piezoelectric stress constants e (C/m^2) to what is measured and built: d, extremes and coupling factors.

Tensors are Cartesian: e[i, j, k] and d[i, j, k] with i for field or polarization and j, k for strain or stress. Sign
and handedness are those of the axes given; tables use the axes of the IEEE standard. e is in C/m^2, stiffness in GPa;
directions are Cartesian vectors (..., 3) of any length, their leading axes follow those of the tensor in results. Other
shapes raise InputError, singular elastic tensors DomainError.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from voigt.errors import DomainError, InputError
from voigt.response.arrays import Array, contracted, unit_vectors
from voigt.response.cubic_forms import maxima
from voigt.response.elasticity import compliance
from voigt.tensors.voigt import piezo_to_voigt, symmetric_to_voigt

_PICOMETER_PER_VOLT = 1000.0
"""One (C/m^2)/GPa is 1e-9 C/N = 1e-9 m/V."""
_VACUUM = 8.8541878188
"""Permittivity of the vacuum (CODATA 2022), (C/m^2) (pm/V): what e d is divided by to be a relative permittivity."""


@dataclass(frozen=True)
class Longitudinal:
    """Largest values (...) of longitudinal surfaces, not negative, and unit vectors (..., 3) where they are reached.

    The surface is odd: the opposite direction has the value with the other sign. `direction` is zero where the whole
    surface is.
    """

    value: Array
    direction: Array


@dataclass(frozen=True)
class Norms:
    """Sizes of a piezoelectric tensor, in its unit; the shape of each field is that of the leading axes.

    Attributes
    ----------
    frobenius
        Root of the sum of the squares of all 27 components. Independent of the axes.
    spectral
        Largest polarization that a strain of norm 1 (sum of squares of all nine components) can cause: the largest
        singular value of e as a 3x9 matrix. Independent of the axes.
    spectral_voigt
        Largest singular value of the 3x6 Voigt matrix e[i, J]. Depends on the axes, since shears count once. This is
        the figure called `e_ij_max` in the Materials Project, if the axes are those of the IEEE standard.
    """

    frobenius: Array
    spectral: Array
    spectral_voigt: Array


def strain_coefficients(piezo: ArrayLike, elastic: ArrayLike) -> Array:
    """Piezoelectric strain (charge) coefficients d[i, j, k] (..., 3, 3, 3) in pm/V = pC/N: d_ijk = e_ilm S_lmjk.

    Nye, Physical Properties of Crystals (1985), chapter VII; IEEE Std 176-1987. Take `piezo_total` and the
    elastic tensor with relaxed ions, both at constant field, for what a static experiment sees. A strain of
    d_ijk E_i follows a field E. Leading axes broadcast.

    Examples
    --------
    Zincblende: d_14 = e_14 / C_44.

    >>> from voigt.tensors.voigt import elastic_from_voigt, piezo_from_voigt
    >>> d = strain_coefficients(
    ...     piezo_from_voigt(0.15 * np.eye(3, 6, 3)), elastic_from_voigt(np.diag([100.0, 100, 100, 50, 50, 50]))
    ... )
    >>> strain_coefficients_to_voigt(d)[0].round(6)  # pm/V
    array([0., 0., 0., 3., 0., 0.])
    """
    return np.asarray(np.einsum("...ilm,...lmjk->...ijk", _checked(piezo), compliance(elastic)) * _PICOMETER_PER_VOLT)


def strain_coefficients_to_voigt(d: ArrayLike) -> Array:
    """d[i, j, k] (..., 3, 3, 3) -> d[i, J] (..., 3, 6) as tables print it.

    The shears are doubled, d[x, yz] = d_xyz + d_xzy, because d[i, J] gives engineering strain: with that, e = d C holds
    for the matrices. Nye, Physical Properties of Crystals (1985), chapter VII. (e[i, J] has no such factor.)

    Examples
    --------
    >>> d = np.zeros((3, 3, 3))
    >>> d[0, 1, 2] = d[0, 2, 1] = 1.0
    >>> strain_coefficients_to_voigt(d)[0]
    array([0., 0., 0., 2., 0., 0.])
    """
    return np.asarray(symmetric_to_voigt(_checked(d), strain=True))


def longitudinal(piezo: ArrayLike, directions: ArrayLike) -> Array:
    """The longitudinal surface e_ijk n_i n_j n_k: polarization along n per strain along n.

    Works for d[i, j, k] as well, where it is the d_33 of a plate cut normal to n.

    Examples
    --------
    >>> from voigt.tensors.voigt import piezo_from_voigt
    >>> longitudinal(piezo_from_voigt(np.eye(3, 6, 3)), [[0, 0, 1], [1, 1, 1]]).round(4)  # zincblende
    array([0.    , 1.1547])
    """
    return contracted("...ijk,di,dj,dk->...d", _checked(piezo), directions)


def largest_longitudinal(piezo: ArrayLike) -> Longitudinal:
    """Largest longitudinal response over all directions, and where it is; for e or d with any leading axes.

    The maximum of a cubic form on the sphere is its largest Z-eigenvalue, see `voigt.response.cubic_forms`.

    Examples
    --------
    Zincblende: the largest response is along [111], 2 e14 / sqrt(3).

    >>> from voigt.tensors.voigt import piezo_from_voigt
    >>> e = piezo_from_voigt(np.eye(3, 6, 3))
    >>> round(float(largest_longitudinal(e).value), 6)
    1.154701
    >>> largest_longitudinal([e, 2 * e]).value.shape
    (2,)
    """
    tensor = _checked(piezo)
    flat = tensor.reshape(-1, 3, 3, 3)
    # Only the totally symmetric part matters: j and k are symmetric already, so the mean over the cyclic orders is it.
    symmetric = (flat + flat.transpose(0, 2, 3, 1) + flat.transpose(0, 3, 1, 2)) / 3
    norm = np.linalg.norm(symmetric.reshape(-1, 27), axis=1)
    values, directions = np.zeros(len(flat)), np.zeros((len(flat), 3))
    rows = np.flatnonzero(norm > 1e-12 * np.linalg.norm(flat.reshape(-1, 27), axis=1))  # the others are zero
    scale = norm[rows]
    heights, directions[rows] = maxima(symmetric[rows] / scale[:, None, None, None])
    values[rows] = scale * heights
    return Longitudinal(values.reshape(tensor.shape[:-3])[()], directions.reshape(*tensor.shape[:-3], 3))


def norms(piezo: ArrayLike) -> Norms:
    """Three sizes of piezoelectric tensors (..., 3, 3, 3), see `Norms`. None of them is a longitudinal response.

    `e_ij_max`: de Jong et al., Sci. Data 2, 150053 (2015), and `PiezoelectricDoc` of the Materials Project's emmet.

    Examples
    --------
    >>> from voigt.tensors.voigt import piezo_from_voigt
    >>> sizes = norms(piezo_from_voigt(np.eye(3, 6, 3)))
    >>> print(f"{sizes.frobenius:.3f} {sizes.spectral:.3f} {sizes.spectral_voigt:.3f}")
    2.449 1.414 1.000
    """
    tensor = _checked(piezo)
    matrix = tensor.reshape(*tensor.shape[:-2], 9)
    return Norms(
        frobenius=np.linalg.norm(matrix, axis=(-2, -1)),
        spectral=np.linalg.norm(matrix, ord=2, axis=(-2, -1)),
        spectral_voigt=np.linalg.norm(piezo_to_voigt(tensor), ord=2, axis=(-2, -1)),
    )


def free_permittivity(piezo: ArrayLike, elastic: ArrayLike, eps_total: ArrayLike) -> Array:
    """Relative permittivity (..., 3, 3) at constant stress: eps_ij + e_ikl d_jkl / eps_0, a crystal free to deform.

    IEEE Std 176-1987; Nye, Physical Properties of Crystals (1985), chapter X. e and stiffness with relaxed ions, the
    latter at constant field; eps_total (..., 3, 3) static, at constant strain, as a calculation in a fixed cell gives.

    Examples
    --------
    >>> from voigt.tensors.voigt import elastic_from_voigt, piezo_from_voigt
    >>> e, c = piezo_from_voigt(np.eye(3, 6, 3)), elastic_from_voigt(np.diag([100.0, 100, 100, 50, 50, 50]))
    >>> print(f"{free_permittivity(e, c, 10 * np.eye(3))[0, 0]:.3f}")  # 10 + e_14^2 / (C_44 eps_0)
    12.259
    """
    eps = np.asarray(eps_total, dtype=np.float64)
    if eps.shape[-2:] != (3, 3):
        raise InputError(f"eps_total must be (..., 3, 3), not of shape {eps.shape}")
    extra = np.einsum("...ikl,...jkl->...ij", _checked(piezo), strain_coefficients(piezo, elastic)) / _VACUUM
    return np.asarray(eps + extra)


def coupling_factor(
    piezo: ArrayLike, elastic: ArrayLike, eps_total: ArrayLike, field: ArrayLike, stress: ArrayLike
) -> float:
    """Quasi-static electromechanical coupling factor of a bar: field along one direction, free stress along another.

    k = d_ijk f_i t_j t_k / sqrt(S_tttt eps_0 eps_ff), with S at constant field and eps at constant stress; k^2 is the
    share of the energy that is converted. With f = t = z this is k33, with f = z and t = x it is k31. It keeps the sign
    of d. IEEE Std 176-1987; Jaffe, Cook and Jaffe, Piezoelectric Ceramics (1971). Tensors of one crystal as in
    `free_permittivity`, and two directions (3,). DomainError if compliance or permittivity along them is not positive.

    Examples
    --------
    A polar crystal with e_33 alone: k33^2 is the share of e_33^2 / C_33 in the whole permittivity.

    >>> from voigt.tensors.voigt import elastic_from_voigt, piezo_from_voigt
    >>> e = piezo_from_voigt(np.diag([0, 0, 1.0, 0, 0, 0])[:3])
    >>> c = elastic_from_voigt(np.diag([100.0, 100, 100, 50, 50, 50]))
    >>> print(f"{coupling_factor(e, c, 10 * np.eye(3), [0, 0, 1], [0, 0, 1]):.3f}")
    0.319
    """
    f, t = unit_vectors(field), unit_vectors(stress)
    if f.shape != (3,) or t.shape != (3,) or _checked(piezo).shape != (3, 3, 3) or np.shape(elastic) != (3, 3, 3, 3):
        raise InputError("coupling_factor takes one crystal, one field direction (3,) and one stress direction (3,)")
    softness = np.einsum("ijkl,i,j,k,l->", compliance(elastic), t, t, t, t)
    permittivity = f @ free_permittivity(piezo, elastic, eps_total) @ f
    if softness <= 0 or permittivity <= 0:
        raise DomainError("compliance or permittivity is not positive along these directions; see born_stability")
    d = np.einsum("ijk,i,j,k->", strain_coefficients(piezo, elastic), f, t, t)
    # (pm/V) / sqrt((1/GPa) (C/m^2) (pm/V)) = sqrt(1e-3)
    return float(d / np.sqrt(softness * _VACUUM * permittivity * _PICOMETER_PER_VOLT))


def _checked(piezo: ArrayLike) -> Array:
    """(..., 3, 3, 3), symmetric in the last two indices."""
    tensor = np.asarray(piezo, dtype=np.float64)
    if tensor.shape[-3:] != (3, 3, 3):
        raise InputError(
            f"a piezoelectric tensor must be (..., 3, 3, 3), not of shape {tensor.shape}; "
            "voigt.tensors.voigt.piezo_from_voigt turns 3x6 Voigt matrices of e into such tensors"
        )
    if not np.isfinite(tensor).all():
        raise InputError("a piezoelectric tensor holds components that are not finite")
    return np.asarray((tensor + tensor.swapaxes(-1, -2)) / 2)

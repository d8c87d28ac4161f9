"""From piezoelectric stress constants e (C/m^2) to what is measured and built: d, extremes and coupling factors.

Tensors are Cartesian: e[i, j, k] and d[i, j, k] with i for field or polarisation and j, k for strain or stress. Sign
and handedness are those of the axes given; tables use the axes of the IEEE standard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants
from scipy.optimize import minimize

from voigt.errors import DomainError, InputError
from voigt.response.elasticity import compliance, unit_vectors
from voigt.tensors.voigt import piezo_to_voigt, symmetric_to_voigt

Array: TypeAlias = NDArray[np.float64]

_PICOMETRE_PER_VOLT = 1000.0
"""One (C/m^2)/GPa is 1e-9 C/N = 1e-9 m/V."""
_VACUUM = constants.epsilon_0 * 1e12
"""Permittivity of the vacuum in (C/m^2) (pm/V): what e times d is divided by to become a relative permittivity."""


@dataclass(frozen=True)
class Longitudinal:
    """Extreme of a longitudinal surface: its value (not negative) and the unit vector (3,) where it is reached.

    The surface is odd: the opposite direction has the value with the other sign. `direction` is zero where the whole
    surface is.
    """

    value: float
    direction: Array


@dataclass(frozen=True)
class Norms:
    """Sizes of a piezoelectric tensor, in its unit; the shape of each field is that of the leading axes.

    Attributes
    ----------
    frobenius
        Root of the sum of the squares of all 27 components. Independent of the axes.
    spectral
        Largest polarisation that a strain of norm 1 (sum of squares of all nine components) can cause: the largest
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
    d_ijk E_i follows a field E.

    Parameters
    ----------
    piezo
        (..., 3, 3, 3) e[i, j, k] in C/m^2.
    elastic
        (..., 3, 3, 3, 3) stiffness in GPa; leading axes broadcast with those of `piezo`.

    Raises
    ------
    InputError
        A wrong shape.
    DomainError
        A singular elastic tensor.
    """
    return np.asarray(np.einsum("...ilm,...lmjk->...ijk", _checked(piezo), compliance(elastic)) * _PICOMETRE_PER_VOLT)


def strain_coefficients_to_voigt(d: ArrayLike) -> Array:
    """d[i, j, k] (..., 3, 3, 3) -> d[i, J] (..., 3, 6) as tables print it.

    The shears are doubled, d[x, yz] = d_xyz + d_xzy, because d[i, J] gives engineering strain: with that, e = d C holds
    for the matrices. Nye, Physical Properties of Crystals (1985), chapter VII. (e[i, J] has no such factor.)
    """
    return np.asarray(symmetric_to_voigt(_checked(d), strain=True))


def longitudinal(piezo: ArrayLike, directions: ArrayLike) -> Array:
    """The longitudinal surface e_ijk n_i n_j n_k: polarisation along n per strain along n.

    Works for d[i, j, k] as well, where it is the d_33 of a plate cut normal to n.

    Parameters
    ----------
    piezo
        (..., 3, 3, 3).
    directions
        (..., 3) Cartesian vectors of any length; their leading axes follow those of `piezo` in the result.
    """
    n = unit_vectors(directions)
    flat = n.reshape(-1, 3)
    values = np.einsum("...ijk,di,dj,dk->...d", _checked(piezo), flat, flat, flat, optimize=True)
    return np.asarray(values).reshape((*values.shape[:-1], *n.shape[:-1]))[()]


def largest_longitudinal(piezo: ArrayLike) -> Longitudinal:
    """Largest longitudinal response of one tensor (e or d) over all directions, and where it is.

    The maximum of a cubic form on the sphere is its largest Z-eigenvalue. From many starts by the shifted power method,
    which climbs (Kolda and Mayo, SIAM J. Matrix Anal. Appl. 32, 1095 (2011)), then polished by BFGS.

    Raises
    ------
    InputError
        Not one (3, 3, 3) tensor.
    """
    tensor = _checked(piezo)
    if tensor.ndim != 3:
        raise InputError(f"largest_longitudinal takes one (3, 3, 3) tensor, not {tensor.shape}")
    # Only the totally symmetric part matters; it is scaled so that tolerances need no unit.
    orders = ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2))
    symmetric = np.mean([tensor.transpose(order) for order in orders], axis=0)
    scale = np.linalg.norm(symmetric)
    if scale <= 1e-12 * np.linalg.norm(tensor):  # also where both are zero
        return Longitudinal(0.0, np.zeros(3))
    cubic = symmetric / scale
    points = _sphere(200)
    for _ in range(200):
        points = unit_vectors(_squared(cubic, points) + 2 * points)  # a shift of 2 norms makes every step climb
    best = points[np.argmax(np.einsum("di,di->d", _squared(cubic, points), points))]
    n = unit_vectors(minimize(_descent, best, args=(cubic,), jac=True, method="BFGS", options={"gtol": 1e-10}).x)
    return Longitudinal(float(longitudinal(symmetric, n)), n)


def norms(piezo: ArrayLike) -> Norms:
    """Three sizes of piezoelectric tensors (..., 3, 3, 3), see `Norms`. None of them is a longitudinal response.

    `e_ij_max`: de Jong et al., Sci. Data 2, 150053 (2015), and `PiezoelectricDoc` of the Materials Project's emmet.
    """
    tensor = _checked(piezo)
    matrix = tensor.reshape(*tensor.shape[:-2], 9)
    return Norms(
        frobenius=np.linalg.norm(matrix, axis=(-2, -1)),
        spectral=_largest_singular_value(matrix),
        spectral_voigt=_largest_singular_value(piezo_to_voigt(tensor)),
    )


def free_permittivity(piezo: ArrayLike, elastic: ArrayLike, eps_total: ArrayLike) -> Array:
    """Relative permittivity (..., 3, 3) at constant stress: eps_ij + e_ikl d_jkl / eps_0, a crystal free to deform.

    IEEE Std 176-1987; Nye, Physical Properties of Crystals (1985), chapter X.

    Parameters
    ----------
    piezo
        (..., 3, 3, 3) e with relaxed ions, C/m^2.
    elastic
        (..., 3, 3, 3, 3) stiffness with relaxed ions at constant field, GPa.
    eps_total
        (..., 3, 3) static relative permittivity at constant strain, as a calculation in a fixed cell gives it.
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
    of d. IEEE Std 176-1987; Jaffe, Cook and Jaffe, Piezoelectric Ceramics (1971).

    Parameters
    ----------
    piezo, elastic, eps_total
        One crystal: (3, 3, 3), (3, 3, 3, 3) and (3, 3), as in `free_permittivity`.
    field, stress
        (3,) Cartesian vectors of any length.

    Raises
    ------
    InputError
        A wrong shape.
    DomainError
        Compliance or permittivity along the directions is not positive.
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
    return float(d / np.sqrt(softness * _VACUUM * permittivity * _PICOMETRE_PER_VOLT))


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


def _largest_singular_value(matrix: Array) -> Array:
    return np.asarray(np.linalg.svd(matrix, compute_uv=False), dtype=np.float64)[..., 0][()]


def _sphere(count: int) -> Array:
    """Unit vectors (count, 3) spread evenly: a golden spiral."""
    heights = 1 - (2 * np.arange(count) + 1) / count
    turns = np.pi * (1 + np.sqrt(5)) * np.arange(count)
    radii = np.sqrt(1 - heights**2)
    return np.stack([radii * np.cos(turns), radii * np.sin(turns), heights], axis=-1)


def _squared(cubic: Array, points: Array) -> Array:
    """cubic_ijk n_j n_k for points (count, 3): a third of the gradient of the cubic form."""
    return np.asarray(np.einsum("dij,dj->di", np.einsum("ijk,dk->dij", cubic, points), points))


def _descent(x: Array, cubic: Array) -> tuple[float, Array]:
    """Minus the cubic form at the direction of x, and its gradient; independent of the length of x."""
    length = np.linalg.norm(x)
    n = x / length
    half = _squared(cubic, n[None])[0]
    value = float(half @ n)
    return -value, -3 * (half - value * n) / length

"""Longitudinal frequencies, and the relation of Lyddane, Sachs and Teller between them and the static permittivity.

Gonze and Lee, Phys. Rev. B 55, 10355 (1997); Cochran and Cowley, J. Phys. Chem. Solids 23, 447 (1962). Frequencies in
THz (not angular).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from voigt.errors import InputError
from voigt.response.arrays import Array, unit_vector
from voigt.response.phonons.infrared_modes import ACTIVE, DEBYE, Infrared, oscillator_prefactor
from voigt.response.phonons.modes import acoustic

_AXIS_TOLERANCE = 1e-3
"""Part of the trace of eps_0 by which a tensor may turn a field along an axis aside."""


@dataclass(frozen=True)
class Longitudinal:
    """Poles and zeros of the permittivity along one direction, and the relation of Lyddane, Sachs and Teller.

    Attributes
    ----------
    direction
        (3,) unit vector.
    transverse, longitudinal
        (K,) THz, ascending, in pairs: poles of n.eps.n and the zeros that follow them. Only modes seen along n.
    product
        Product of (f with field / f without)^2 over all optical modes for q -> 0 along n; NaN if modes are excluded.
    ratio
        n.eps_0.n / n.eps_inf.n from the sum over modes: equals `product`.
    axis
        Whether n is an axis of the permittivity; else modes along it are neither transverse nor longitudinal.
    reason
        Why the relation does not apply; None if it does.
    """

    direction: Array
    transverse: Array
    longitudinal: Array
    product: float
    ratio: float
    axis: bool
    reason: str | None


def longitudinal_frequencies(response: Infrared, direction: ArrayLike) -> Array:
    """(M - 3,) THz of all optical modes for q -> 0 along a direction, ascending; imaginary ones negative.

    Non-analytical term in the basis of the modes: (2 pi f_m)^2 delta_mn + e^2/(eps_0 V) n.Z_m n.Z_n / (n.eps_inf.n).
    Gonze and Lee (1997), equation (60). Modes without a dipole along n keep their frequency.
    """
    n = unit_vector(direction)
    chosen = ~acoustic(response.modes)
    frequencies = response.modes.frequencies[chosen]
    # The dipole of each mode along n makes the field, and the field acts on every dipole: a matrix of rank one.
    dipoles = response.charges[chosen] @ n
    return _coupled(np.sign(frequencies) * frequencies**2, dipoles, _field(response, n))


def longitudinal(response: Infrared, direction: ArrayLike, frequencies: ArrayLike | None = None) -> Longitudinal:
    """Poles and zeros of n.eps.n without damping, and the generalized Lyddane-Sachs-Teller relation.

    n.eps_0.n / n.eps_inf.n = prod_m (f_m(n) / f_m)^2 over all optical modes, with and without the field of q -> 0 along
    n; Cochran and Cowley, J. Phys. Chem. Solids 23, 447 (1962). It holds in every direction, and is about longitudinal
    and transverse modes along axes of the crystal: everywhere in a cubic one.

    Parameters
    ----------
    direction
        (3,) Cartesian vector of any length.
    frequencies
        (M - 3,) THz for q -> 0 along it from elsewhere, which makes the relation a check: those that phonopy gives, see
        `phonons.nac.optical_limit`. None: `longitudinal_frequencies`, made of the same oscillator strengths
        as eps_0, so that it holds by algebra. InputError for another number of them.
    """
    n = unit_vector(direction)
    field = _field(response, n)
    # Poles of n.eps.n are the transverse modes with a dipole along n; each couples with the root of its strength.
    pairs = [(entry.frequency, float(n @ entry.strength @ n)) for entry in response.optical if entry.active]
    poles, strengths = np.array([pair for pair in pairs if pair[1] * DEBYE**2 > ACTIVE]).reshape(-1, 2).T
    product = float("nan")
    if not response.excluded:
        optical = response.modes.frequencies[~acoustic(response.modes)]
        with_field = np.asarray(longitudinal_frequencies(response, n) if frequencies is None else frequencies)
        if with_field.shape != optical.shape:
            raise InputError(f"there are {len(optical)} optical modes, and frequencies of shape {with_field.shape}")
        # Unstable modes count with the sign of their square.
        product = float(np.prod(with_field * abs(with_field) / np.square(optical)))
    return Longitudinal(
        direction=n,
        transverse=poles,
        longitudinal=_coupled(poles**2, np.sqrt(strengths), field),
        product=product,
        ratio=float((n @ response.eps_0 @ n) / (n @ response.eps_inf @ n)),
        axis=is_axis(response, n),
        reason="imaginary modes are excluded from eps_0" if response.excluded else None,
    )


def is_axis(response: Infrared, direction: ArrayLike) -> bool:
    """Whether a field along n polarizes the crystal along n alone, at every frequency."""
    n = unit_vector(direction)
    total = np.trace(response.eps_0)
    tensors = [response.eps_inf, *(entry.share for entry in response.optical)]
    return all(bool(np.linalg.norm(tensor @ n - (n @ tensor @ n) * n) <= _AXIS_TOLERANCE * total) for tensor in tensors)


def _field(response: Infrared, n: Array) -> float:
    """e^2/(eps_0 V n.eps_inf.n amu), THz^2: the macroscopic field that a longitudinal dipole wave makes."""
    return oscillator_prefactor(response.modes.volume) / float(n @ response.eps_inf @ n)


def _coupled(squares: Array, dipoles: Array, field: float) -> Array:
    """Frequencies of oscillators, given by their squares, that feel the field of all their dipoles."""
    # f^2 delta_mn + field d_m d_n; its eigenvalues are the zeros of n.eps.n.
    values = np.linalg.eigvalsh(np.diag(squares) + field * np.outer(dipoles, dipoles))
    return np.asarray(np.sign(values) * np.sqrt(np.abs(values)))

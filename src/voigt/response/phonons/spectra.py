"""Spectra of the infrared response: permittivity with damping, reflection, loss and absorption."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voigt.errors import InputError
from voigt.response.arrays import Array, direction_name, grouped, unit_vectors
from voigt.response.phonons.infrared_modes import Infrared, oscillator_prefactor
from voigt.response.phonons.longitudinal_modes import longitudinal_frequencies
from voigt.response.phonons.modes import WAVENUMBER

Complex: TypeAlias = NDArray[np.complex128]

_LINEWIDTH = re.compile(r"\s*([-+\d.eE,\s]+?)\s*(cm-1|cm\^-1|1/cm|thz)\s*", re.IGNORECASE)
_SAME = 1e-4
"""Part of the trace of eps_0 by which equivalent directions may differ."""
_POINTS = (2000, 20_000)
_PER_WIDTH = 10
"""Points of a grid per linewidth, so that no peak falls between them."""


@dataclass(frozen=True)
class Spectrum:
    """Response against frequency.

    Attributes
    ----------
    frequencies, permittivity
        (F,) THz; (F, 3, 3) complex and relative, its imaginary part positive where light is absorbed.
    directions, along
        (K, 3) unit vectors n of the polarizations; (F, K) n.eps.n.
    reflectivity
        (F, K) share of the intensity that a flat face reflects at normal incidence.
    loss
        (F, K) Im(-1 / n.eps.n), which peaks at longitudinal frequencies.
    absorption
        (F, K) absorption coefficient in cm^-1: the intensity falls as exp(-absorption x).
    """

    frequencies: Array
    permittivity: Complex
    directions: Array
    along: Complex
    reflectivity: Array
    loss: Array
    absorption: Array

    @property
    def wavenumbers(self) -> Array:
        """(F,) cm^-1."""
        return np.asarray(self.frequencies * WAVENUMBER)


def permittivity(response: Infrared, frequencies: ArrayLike, linewidths: ArrayLike) -> Complex:
    """eps(w) = eps_inf + e^2/(eps_0 V) sum_m Z_ma Z_mb / (w_m^2 - w^2 - i g_m w): damped Lorentz oscillators.

    Born and Huang, Dynamical Theory of Crystal Lattices (1954), chapter II. Fields go as exp(-i w t). Acoustic and
    excluded modes have no part in it. Complex (F, 3, 3) at frequencies (F,) in THz. Linewidths are the full width at
    half maximum of Im eps in THz: one, or one for each set of `response.optical`; InputError if negative or too few.
    """
    grid = np.asarray(frequencies, dtype=np.float64)
    widths = _widths(response, linewidths)
    total = np.broadcast_to(response.eps_inf, (len(grid), 3, 3)).astype(np.complex128)
    prefactor = oscillator_prefactor(response.modes.volume)
    for entry, width in zip(response.optical, widths, strict=True):
        for member in entry.members:
            denominator = response.modes.frequencies[member] ** 2 - grid**2 - 1j * width * grid
            if (denominator == 0).any():
                raise InputError("a frequency hits a mode that has no linewidth; give one, or other frequencies")
            charge = response.charges[member]
            total += prefactor * np.outer(charge, charge) / denominator[:, None, None]
    return total


def spectrum(response: Infrared, frequencies: ArrayLike, linewidths: ArrayLike, directions: ArrayLike) -> Spectrum:
    """Permittivity and what follows from it for light polarized along the directions (K, 3).

    The scalar n.eps.n describes reflection and absorption where n is an axis of the permittivity, see
    `voigt.response.phonons.longitudinal_modes.is_axis`, and the loss function in every direction. Other parameters and
    errors as in `permittivity`.
    """
    grid = np.asarray(frequencies, dtype=np.float64)
    n = np.atleast_2d(unit_vectors(directions))
    eps = permittivity(response, grid, linewidths)
    along = np.einsum("ki,fij,kj->fk", n, eps, n)
    return Spectrum(
        frequencies=grid,
        permittivity=eps,
        directions=n,
        along=along,
        reflectivity=reflectivity(along),
        loss=loss(along),
        # 2 w k / c, the imaginary part k of the refractive index damping the amplitude, twice that the intensity.
        absorption=np.asarray(4 * np.pi * (grid * WAVENUMBER)[:, None] * np.sqrt(along).imag),
    )


def reflectivity(along: ArrayLike) -> Array:
    """Normal incidence from vacuum, |(sqrt(eps) - 1) / (sqrt(eps) + 1)|^2; Fresnel, with absorption. Any shape.

    Examples
    --------
    >>> reflectivity([4.0, -1.0]).round(3)  # glass-like, and between TO and LO, where no wave enters
    array([0.111, 1.   ])
    """
    index = np.sqrt(np.asarray(along, dtype=np.complex128))
    return np.asarray(np.abs((index - 1) / (index + 1)) ** 2)


def loss(along: ArrayLike) -> Array:
    """Loss function Im(-1 / eps) of a scalar permittivity, any shape.

    Examples
    --------
    >>> loss([1 + 0.5j, 0.5j])  # largest where Re eps crosses zero
    array([0.4, 2. ])
    """
    return np.asarray((-1 / np.asarray(along, dtype=np.complex128)).imag)


def frequency_grid(response: Infrared, linewidths: ArrayLike, directions: ArrayLike) -> Array:
    """Frequencies (F,) from zero to a quarter beyond the highest longitudinal mode, THz, finer than the linewidths."""
    n = np.atleast_2d(unit_vectors(directions))
    highest = max((float(longitudinal_frequencies(response, axis).max(initial=0.0)) for axis in n), default=0.0)
    top = 1.25 * highest if highest > 0 else 1.0
    widths = _widths(response, linewidths)
    finest = float(widths.min(initial=np.inf)) / _PER_WIDTH
    count = _POINTS[0] if not 0 < finest < np.inf else int(np.clip(np.ceil(top / finest), *_POINTS))
    return np.linspace(0.0, top, count + 1)


def parse_linewidth(text: str) -> Array:
    """Linewidths in THz from words such as "10cm-1", "0.3 THz" or "4,8,8cm-1": (1,) or one for each optical set.

    InputError if there is no unit, or a number is not positive.

    Examples
    --------
    >>> parse_linewidth("10cm-1").round(4), parse_linewidth("0.3 THz")
    (array([0.2998]), array([0.3]))
    """
    match = _LINEWIDTH.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        values = np.array([float(word) for word in match[1].split(",")])
    except ValueError:
        raise InputError(f"a linewidth is a number with a unit, such as 10cm-1 or 0.3THz, not '{text}'") from None
    if not (np.isfinite(values) & (values > 0)).all():
        raise InputError(f"a linewidth must be positive, not '{text}'")
    return values if match[2].lower() == "thz" else np.asarray(values / WAVENUMBER)


def distinct_directions(response: Infrared, directions: ArrayLike) -> list[tuple[Array, tuple[str, ...]]]:
    """Directions in which the permittivity differs, each with the names of those that are equivalent to it."""
    tensors = [response.eps_inf, *(entry.share for entry in response.optical)]
    scale = _SAME * float(np.trace(response.eps_0))

    def same(a: Array, b: Array) -> bool:
        return max(abs(float(a @ tensor @ a - b @ tensor @ b)) for tensor in tensors) < scale

    groups = grouped(np.atleast_2d(unit_vectors(directions)), same)
    return [(group[0], tuple(map(direction_name, group))) for group in groups]


def _widths(response: Infrared, linewidths: ArrayLike) -> Array:
    widths = np.atleast_1d(np.asarray(linewidths, dtype=np.float64))
    count = len(response.optical)
    if widths.shape not in ((1,), (count,)):
        raise InputError(f"give one linewidth or {count}, one for each optical row of the table, not {widths.size}")
    if not (np.isfinite(widths) & (widths >= 0)).all():
        raise InputError("linewidths must be finite and not negative")
    return np.broadcast_to(widths, (count,))

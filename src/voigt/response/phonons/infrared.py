"""What light does to the vibrations of a crystal: oscillator strengths, static permittivity, longitudinal frequencies.

Formulas: Gonze and Lee, Phys. Rev. B 55, 10355 (1997); Born and Huang, Dynamical Theory of Crystal Lattices
(1954), chapter II. Born charges are Z[atom, field, displacement] in e, frequencies in THz (not angular).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from voigt.errors import InputError
from voigt.response.elasticity import unit_vectors
from voigt.response.phonons.modes import WAVENUMBER, GammaModes, acoustic, acoustic_pseudo_inverse, degenerate_sets

Array: TypeAlias = NDArray[np.float64]

_E2_PER_EPS0 = constants.elementary_charge / (constants.epsilon_0 * constants.angstrom)
"""e^2 / eps_0 in eV Angstrom."""
_OSCILLATOR = _E2_PER_EPS0 * constants.elementary_charge / constants.atomic_mass * 1e-4 / (2 * np.pi) ** 2
"""(e^2/amu) / (eps_0 Angstrom^3) in THz^2, for frequencies that are not angular."""
DEBYE = constants.elementary_charge * constants.angstrom * constants.speed_of_light * 1e21
"""Debye per e Angstrom."""
KM_PER_MOL = (constants.Avogadro * (1e-11 / constants.speed_of_light) ** 2 / constants.atomic_mass) / (
    12 * constants.epsilon_0 * constants.speed_of_light**2 * 1e3
)
"""km/mol per (D/Angstrom)^2/amu."""

SOFTEST = 0.01
"""THz. Optical modes below are excluded like imaginary ones: their share of eps_ionic, 1/f^2, would be noise."""
ACTIVE = 1e-6
"""(D/Angstrom)^2/amu. Weaker modes count as inactive: far above rounding, far below any that is seen."""
_AXIS_TOLERANCE = 1e-3
_NEUTRAL = 0.05
"""e. A larger sum of the Born charges is told."""

Kind: TypeAlias = Literal["acoustic", "optical", "imaginary"]


@dataclass(frozen=True)
class ModeSet:
    """Degenerate modes together; nothing here depends on the choice of eigenvectors among them.

    Attributes
    ----------
    members
        Numbers of the modes from 0, by ascending frequency.
    frequency
        Mean, THz; imaginary as negative.
    irrep
        Mulliken symbol, if known.
    kind
        "imaginary" stands for all optical modes that are excluded, see `SOFTEST`.
    strength
        (3, 3) oscillator strength in e^2/amu: sum of Z_ma Z_mb over the members.
    intensity
        Infrared intensity in (D/Angstrom)^2/amu: the trace of the strength, as for a powder without local fields.
    share
        (3, 3) contribution to eps_ionic; zero unless optical.
    """

    members: tuple[int, ...]
    frequency: float
    irrep: str | None
    kind: Kind
    strength: Array
    intensity: float
    share: Array

    @property
    def wavenumber(self) -> float:
        """Frequency in cm^-1."""
        return float(self.frequency * WAVENUMBER)

    @property
    def active(self) -> bool:
        """Whether light sees the modes."""
        return self.kind != "acoustic" and self.intensity > ACTIVE


@dataclass(frozen=True)
class Infrared:
    """Infrared response of a crystal.

    Attributes
    ----------
    modes
        At Gamma without non-analytical term: the transverse modes.
    charges
        (M, 3) mode effective charges Z_ma = sum_ib Z[i, a, b] e_m,ib / sqrt(M_i), e/sqrt(amu).
    sets
        Degenerate modes together, by ascending frequency.
    eps_inf, eps_ionic, eps_0
        (3, 3) relative permittivities; eps_0 = eps_inf + eps_ionic at constant strain.
    warnings
        One sentence each: what was excluded, so that eps_ionic and eps_0 are not those of a stable crystal.
    """

    modes: GammaModes
    charges: Array
    sets: tuple[ModeSet, ...]
    eps_inf: Array
    eps_ionic: Array
    eps_0: Array
    warnings: tuple[str, ...]

    @property
    def optical(self) -> tuple[ModeSet, ...]:
        """Sets that make up eps_ionic."""
        return tuple(entry for entry in self.sets if entry.kind == "optical")

    @property
    def excluded(self) -> tuple[ModeSet, ...]:
        """Optical sets with imaginary or vanishing frequencies."""
        return tuple(entry for entry in self.sets if entry.kind == "imaginary")


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


def infrared(
    modes: GammaModes,
    born_charges: ArrayLike,
    eps_inf: ArrayLike,
    irreps: Sequence[tuple[str | None, Sequence[int]]] | None = None,
) -> Infrared:
    """Oscillator strengths and static permittivity: eps_ionic = e^2/(eps_0 V) sum_m Z_ma Z_mb / w_m^2.

    Acoustic modes are left out, recognised by their overlap with rigid translations; imaginary and vanishing optical
    modes are left out and named in the warnings.

    Parameters
    ----------
    modes
        See `voigt.response.phonons.modes.gamma_modes`.
    born_charges
        (n_atoms, 3, 3) Z[atom, field, displacement] of the same atoms, e.
    eps_inf
        (3, 3).
    irreps
        (symbol, numbers of modes) of each set as `phonons.modes.irreps` gives; None: sets of equal frequencies.

    Raises
    ------
    InputError
        Tensors of a wrong shape or not finite.
    """
    born, eps = np.asarray(born_charges, dtype=np.float64), np.asarray(eps_inf, dtype=np.float64)
    if born.shape != (len(modes.masses), 3, 3) or not np.isfinite(born).all():
        raise InputError(
            f"the modes are of {len(modes.masses)} atoms, so the Born charges must be finite ({len(modes.masses)}, 3, "
            f"3), not of shape {born.shape}; give those of the atoms of the primitive cell"
        )
    if eps.shape != (3, 3) or not np.isfinite(eps).all() or np.linalg.eigvalsh(eps + eps.T)[0] <= 0:
        raise InputError("eps_inf must be a finite, positive definite (3, 3) tensor")
    displacements = modes.eigenvectors / np.sqrt(modes.masses)[:, None]
    charges = np.einsum("iab,mib->ma", born, displacements)
    rigid = acoustic(modes)
    labelled = [(None, members) for members in _sets(modes, rigid)] if irreps is None else irreps
    sets = [_mode_set(modes, charges, rigid, label, np.asarray(members)) for label, members in labelled]
    sets.sort(key=lambda entry: entry.members)
    ionic = np.sum([entry.share for entry in sets], axis=0)
    eps = (eps + eps.T) / 2
    return Infrared(modes, charges, tuple(sets), eps, ionic, eps + ionic, (*_exclusions(sets), *_drift(born)))


def ionic_permittivity(force_constants: ArrayLike, born_charges: ArrayLike, volume: float) -> Array:
    """eps_ionic (3, 3) without modes: e^2/(eps_0 V) sum Z[i, a, b] (Phi^+)_ib,jc Z[j, d, c].

    The polarisation that a field makes by displacing the ions to new equilibria. Equal to that of `infrared` if the
    charges obey the sum rule and the crystal is stable; unstable directions contribute negatively.

    Parameters
    ----------
    force_constants
        (n_atoms, n_atoms, 3, 3) at Gamma, eV/Angstrom^2, see `voigt.response.phonons.modes.gamma_force_constants`.
    born_charges
        (n_atoms, 3, 3), e.
    volume
        Of the cell, Angstrom^3.
    """
    born = np.asarray(born_charges, dtype=np.float64)
    inverse = acoustic_pseudo_inverse(force_constants)
    return np.asarray(np.einsum("iab,ijbc,jdc->ad", born, inverse, born, optimize=True) * _E2_PER_EPS0 / volume)


def longitudinal_frequencies(response: Infrared, direction: ArrayLike) -> Array:
    """(M - 3,) THz of all optical modes for q -> 0 along a direction, ascending; imaginary ones negative.

    Non-analytical term in the basis of the modes: (2 pi f_m)^2 delta_mn + e^2/(eps_0 V) n.Z_m n.Z_n / (n.eps_inf.n).
    Gonze and Lee (1997), equation (60). Modes without a dipole along n keep their frequency.
    """
    n = _direction(direction)
    chosen = ~acoustic(response.modes)
    frequencies = response.modes.frequencies[chosen]
    dipoles = response.charges[chosen] @ n
    return _coupled(np.sign(frequencies) * frequencies**2, dipoles, _field(response, n))


def longitudinal(response: Infrared, direction: ArrayLike, frequencies: ArrayLike | None = None) -> Longitudinal:
    """Poles and zeros of n.eps.n without damping, and the generalised Lyddane-Sachs-Teller relation.

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
        as eps_0, so that it holds by algebra.

    Raises
    ------
    InputError
        Another number of frequencies; a direction of length zero.
    """
    n = _direction(direction)
    field = _field(response, n)
    seen = [(entry.frequency, float(n @ entry.strength @ n)) for entry in response.optical if entry.active]
    poles, strengths = np.array([pair for pair in seen if pair[1] * DEBYE**2 > ACTIVE]).reshape(-1, 2).T
    product = float("nan")
    if not response.excluded:
        optical = response.modes.frequencies[~acoustic(response.modes)]
        with_field = np.asarray(longitudinal_frequencies(response, n) if frequencies is None else frequencies)
        if with_field.shape != optical.shape:
            raise InputError(f"there are {len(optical)} optical modes, and frequencies of shape {with_field.shape}")
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
    """Whether a field along n polarises the crystal along n alone, at every frequency."""
    n = _direction(direction)
    total = np.trace(response.eps_0)
    tensors = [response.eps_inf, *(entry.share for entry in response.optical)]
    return all(bool(np.linalg.norm(tensor @ n - (n @ tensor @ n) * n) <= _AXIS_TOLERANCE * total) for tensor in tensors)


def oscillator_prefactor(volume: float) -> float:
    """e^2/(eps_0 V amu) in THz^2 for frequencies that are not angular: times S / f^2 it is a permittivity."""
    return float(_OSCILLATOR / volume)


def _sets(modes: GammaModes, rigid: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Equal frequencies together, acoustic and optical modes apart."""
    found = []
    for chosen in (np.flatnonzero(rigid), np.flatnonzero(~rigid)):
        found += [chosen[members] for members in degenerate_sets(modes.frequencies[chosen])]
    return found


def _mode_set(
    modes: GammaModes, charges: Array, rigid: NDArray[np.bool_], label: str | None, members: NDArray[np.int64]
) -> ModeSet:
    frequencies = modes.frequencies[members]
    kind: Kind = "acoustic" if rigid[members].all() else "imaginary" if frequencies.min() < SOFTEST else "optical"
    strengths = np.einsum("ma,mb->mab", charges[members], charges[members])
    share = np.zeros((3, 3))
    if kind == "optical":
        share = (strengths / np.square(frequencies)[:, None, None]).sum(axis=0) * oscillator_prefactor(modes.volume)
    strength = strengths.sum(axis=0)
    return ModeSet(
        members=tuple(sorted(int(member) for member in members)),
        frequency=float(frequencies.mean()),
        irrep=label,
        kind=kind,
        strength=strength,
        intensity=float(np.trace(strength) * DEBYE**2),
        share=share,
    )


def _exclusions(sets: Sequence[ModeSet]) -> tuple[str, ...]:
    excluded = [entry for entry in sets if entry.kind == "imaginary"]
    if not excluded:
        return ()
    count = sum(len(entry.members) for entry in excluded)
    names = ", ".join(_name(entry) for entry in excluded)
    return (
        f"{count} optical mode{'' if count == 1 else 's'} with imaginary or vanishing frequency excluded ({names}): "
        "the structure is not at a minimum, and eps_ionic and eps_0 lack what these modes would give",
    )


def _drift(born: Array) -> tuple[str, ...]:
    drift = float(np.abs(born.sum(axis=0)).max())
    if drift <= _NEUTRAL:
        return ()
    return (f"the Born charges of the cell sum to {drift:.2g} e instead of zero: acoustic modes carry part of them",)


def _name(entry: ModeSet) -> str:
    numbers = "-".join(str(number + 1) for number in dict.fromkeys((entry.members[0], entry.members[-1])))
    label = f" {entry.irrep}" if entry.irrep else ""
    unit = "i THz" if entry.frequency < 0 else " THz"
    return f"mode {numbers}{label} at {abs(entry.frequency):.2f}{unit}"


def _field(response: Infrared, n: Array) -> float:
    """e^2/(eps_0 V n.eps_inf.n amu), THz^2: the macroscopic field that a longitudinal dipole wave makes."""
    return oscillator_prefactor(response.modes.volume) / float(n @ response.eps_inf @ n)


def _coupled(squares: Array, dipoles: Array, field: float) -> Array:
    """Frequencies of oscillators, given by their squares, that feel the field of all their dipoles."""
    values = np.linalg.eigvalsh(np.diag(squares) + field * np.outer(dipoles, dipoles))
    return np.asarray(np.sign(values) * np.sqrt(np.abs(values)))


def _direction(direction: ArrayLike) -> Array:
    n = np.asarray(unit_vectors(direction), dtype=np.float64)
    if n.shape != (3,):
        raise InputError(f"a direction must be one Cartesian vector (3,), not of shape {n.shape}")
    return n

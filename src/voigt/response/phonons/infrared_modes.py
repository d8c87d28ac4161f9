"""What light does to the vibrations of a crystal: oscillator strengths, static permittivity, longitudinal frequencies.

Formulas: Gonze and Lee, Phys. Rev. B 55, 10355 (1997); Born and Huang, Dynamical Theory of Crystal Lattices
(1954), chapter II. Born charges are Z[atom, field, displacement] in e, frequencies in THz (not angular).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from voigt.errors import InputError
from voigt.notes import Note
from voigt.response.arrays import Array
from voigt.response.phonons.modes import WAVENUMBER, GammaModes, acoustic, acoustic_pseudo_inverse, degenerate_sets

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
_NEUTRAL = 0.05
"""e. A larger sum of the Born charges gets a note."""

Kind: TypeAlias = Literal["acoustic", "optical", "imaginary"]


@dataclass(frozen=True)
class ModeSet:
    """Degenerate modes together; nothing here depends on the choice of eigenvectors among them.

    Attributes
    ----------
    members, frequency
        Numbers of the modes from 0, by ascending frequency, and their mean in THz; imaginary as negative.
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
    notes
        "unstable_modes" that are excluded, so that eps_ionic and eps_0 are not those of a stable crystal; charges that
        are "not_neutral".
    """

    modes: GammaModes
    charges: Array
    sets: tuple[ModeSet, ...]
    eps_inf: Array
    eps_ionic: Array
    eps_0: Array
    notes: tuple[Note, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The sentences of `notes`."""
        return tuple(note.text for note in self.notes)

    @property
    def optical(self) -> tuple[ModeSet, ...]:
        """Sets that make up eps_ionic."""
        return tuple(entry for entry in self.sets if entry.kind == "optical")

    @property
    def excluded(self) -> tuple[ModeSet, ...]:
        """Optical sets with imaginary or vanishing frequencies."""
        return tuple(entry for entry in self.sets if entry.kind == "imaginary")


def infrared(
    modes: GammaModes,
    born_charges: ArrayLike,
    eps_inf: ArrayLike,
    irreps: Sequence[tuple[str | None, ArrayLike]] | None = None,
) -> Infrared:
    """Oscillator strengths and static permittivity: eps_ionic = e^2/(eps_0 V) sum_m Z_ma Z_mb / w_m^2.

    Acoustic modes are left out, recognized by their overlap with rigid translations; imaginary and vanishing optical
    modes are left out and named in the notes. InputError for tensors of a wrong shape or not finite.

    Parameters
    ----------
    modes, born_charges, eps_inf
        See `gamma_modes`; (n_atoms, 3, 3) Z[atom, field, displacement] of the same atoms in e; (3, 3).
    irreps
        (symbol, numbers of modes) of each set as `phonons.modes.irreps` gives; None: sets of equal frequencies.

    Examples
    --------
    Two ions of charge 2 e and masses 2 amu, bound by 1 eV/Angstrom^2, in 20 Angstrom^3: eps_ionic = e^2 Z^2 / (eps_0 V
    k).

    >>> from voigt.response.phonons.modes import modes_of
    >>> springs = np.einsum("ij,ab->ijab", [[1, -1], [-1, 1]], np.eye(3))
    >>> response = infrared(modes_of(springs, [2, 2], 20.0), [2 * np.eye(3), -2 * np.eye(3)], 3 * np.eye(3))
    >>> round(float(response.eps_ionic[0, 0]), 3), [entry.kind for entry in response.sets]
    (36.19, ['acoustic', 'optical'])
    """
    born, eps = np.asarray(born_charges, dtype=np.float64), np.asarray(eps_inf, dtype=np.float64)
    if born.shape != (len(modes.masses), 3, 3) or not np.isfinite(born).all():
        raise InputError(
            f"the modes are of {len(modes.masses)} atoms, so the Born charges must be finite ({len(modes.masses)}, 3, "
            f"3), not of shape {born.shape}; give those of the atoms of the primitive cell"
        )
    if eps.shape != (3, 3) or not np.isfinite(eps).all() or np.linalg.eigvalsh(eps + eps.T)[0] <= 0:
        raise InputError("eps_inf must be a finite, positive definite (3, 3) tensor")
    # A mode moves atom i along e_i / sqrt(M_i); Born charges turn that into its dipole.
    displacements = modes.eigenvectors / np.sqrt(modes.masses)[:, None]
    charges = np.einsum("iab,mib->ma", born, displacements)
    rigid = acoustic(modes)
    # Only sums over degenerate modes are independent of the choice of eigenvectors among them.
    if irreps is None:  # equal frequencies together, acoustic and optical modes apart
        parts = (np.flatnonzero(rigid), np.flatnonzero(~rigid))
        irreps = [(None, part[members]) for part in parts for members in degenerate_sets(modes.frequencies[part])]
    sets = [_mode_set(modes, charges, rigid, label, np.asarray(members)) for label, members in irreps]
    sets.sort(key=lambda entry: entry.members)
    ionic = np.sum([entry.share for entry in sets], axis=0)
    eps = (eps + eps.T) / 2
    return Infrared(modes, charges, tuple(sets), eps, ionic, eps + ionic, tuple(_notes(sets, born)))


def ionic_permittivity(force_constants: ArrayLike, born_charges: ArrayLike, volume: float) -> Array:
    """eps_ionic (3, 3) without modes: e^2/(eps_0 V) sum Z[i, a, b] (Phi^+)_ib,jc Z[j, d, c].

    The polarization that a field makes by displacing the ions to new equilibria. Equal to that of `infrared` if the
    charges obey the sum rule and the crystal is stable; unstable directions contribute negatively. Force constants as
    `gamma_force_constants` gives them; charges (n_atoms, 3, 3) in e; the volume of the cell in Angstrom^3.
    """
    born = np.asarray(born_charges, dtype=np.float64)
    inverse = acoustic_pseudo_inverse(force_constants)
    return np.asarray(np.einsum("iab,ijbc,jdc->ad", born, inverse, born, optimize=True) * _E2_PER_EPS0 / volume)


def oscillator_prefactor(volume: float) -> float:
    """e^2/(eps_0 V amu) in THz^2 for frequencies that are not angular: times S / f^2 it is a permittivity."""
    return float(_OSCILLATOR / volume)


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


def _notes(sets: Sequence[ModeSet], born: Array) -> Iterator[Note]:
    if excluded := [entry for entry in sets if entry.kind == "imaginary"]:
        count = sum(len(entry.members) for entry in excluded)
        names = ", ".join(_name(entry) for entry in excluded)
        text = (
            f"{count} optical mode{'' if count == 1 else 's'} with imaginary or vanishing frequency excluded "
            f"({names}): the structure is not at a minimum, and eps_ionic and eps_0 lack what these modes would give"
        )
        yield Note("unstable_modes", text, ("eps_ionic", "eps_0"))
    drift = float(np.abs(born.sum(axis=0)).max())
    if drift > _NEUTRAL:
        text = f"the Born charges of the cell sum to {drift:.2g} e instead of zero: acoustic modes carry part of them"
        yield Note("not_neutral", text, ("born_charges",))


def _name(entry: ModeSet) -> str:
    numbers = "-".join(str(number + 1) for number in dict.fromkeys((entry.members[0], entry.members[-1])))
    label = f" {entry.irrep}" if entry.irrep else ""
    unit = "i THz" if entry.frequency < 0 else " THz"
    return f"mode {numbers}{label} at {abs(entry.frequency):.2f}{unit}"

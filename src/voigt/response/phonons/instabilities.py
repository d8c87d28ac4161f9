"""Modes in which a crystal would rather be displaced: which they are, and the crystal that the softest one leads to.

A mode with an imaginary frequency lowers the energy: the structure is a saddle point of its potential, and one of lower
symmetry, perhaps in a larger cell, lies below. Frequencies here are those without non-analytical term.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.notes import Note
from voigt.response.arrays import Array
from voigt.response.phonons.cells import to_ase
from voigt.response.phonons.modes import DEGENERACY, gamma_modes
from voigt.response.potentials.engine import Engine
from voigt.response.potentials.evaluation import energy_of
from voigt.response.potentials.relaxation import Relax
from voigt.response.potentials.supercells import sublattices
from voigt.structures.cells import short_vectors
from voigt.structures.symmetry import find_symmetry

if TYPE_CHECKING:
    from phonopy import Phonopy

SOFT = 0.1
"""THz. Above the noise of acoustic modes, whose frequencies are small near Gamma."""
GAINED = 1e-5
"""eV per atom below which a displaced crystal has come back, or might as well."""
_AMPLITUDES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)
"""Angstrom, of the atom that moves most."""
_LARGEST_DENOMINATOR = 64
_SHOWN = 4
"""Soft modes that a sentence lists."""


@dataclass(frozen=True)
class SoftMode:
    """The softest modes at one wave vector.

    Attributes
    ----------
    q
        (3,) in reciprocal vectors of the primitive cell; one of a star of equivalent ones.
    frequency
        THz; imaginary, therefore negative.
    eigenvectors
        (d, n_atoms, 3) complex, of the d modes of this frequency, for atoms of the primitive cell. Atom a at x moves
        along Re e[a] exp(2 pi i q.x) / sqrt(m[a]), with x in vectors of the primitive cell.
    """

    q: Array
    frequency: float
    eigenvectors: NDArray[np.complex128]

    @property
    def name(self) -> str:
        """Frequency and wave vector for a sentence.

        Examples
        --------
        >>> SoftMode(np.array([0.5, 0, 0]), -2.13, np.zeros((1, 1, 3), complex)).name
        '2.13i THz at q = (1/2 0 0)'
        """
        place = "Gamma" if not self.q.any() else f"q = ({' '.join(str(x) for x in _fractions(self.q))})"
        return f"{-self.frequency:.2f}i THz at {place}"


@dataclass(frozen=True)
class Step:
    """Where a soft mode leads.

    Attributes
    ----------
    atoms
        The relaxed crystal, in the smallest cell that repeats with the wave; None if it leads nowhere.
    gain
        eV per atom by which its energy is lower.
    notes
        What was followed, and what the relaxation has to say.
    """

    atoms: ase.Atoms | None
    gain: float
    notes: tuple[Note, ...]


def soft_modes(phonon: Phonopy) -> tuple[SoftMode, ...]:
    """Softest modes at Gamma and at the other wave vectors whose waves the supercell holds: none is interpolated.

    Parameters
    ----------
    phonon
        With force constants.

    Returns
    -------
    tuple of SoftMode
        Those below -`SOFT`, one for each star of wave vectors, the softest first.
    """
    found = []
    matrices = phonon.dynamical_matrix
    for q in _points(phonon):
        if not q.any() or matrices is None:
            continue
        matrices.run(q)
        squares, vectors = np.linalg.eigh(np.asarray(matrices.dynamical_matrix))
        frequencies = np.sign(squares) * np.sqrt(np.abs(squares)) * phonon.unit_conversion_factor
        if frequencies[0] < -SOFT:
            chosen = frequencies < frequencies[0] + DEGENERACY
            waves = vectors[:, chosen].T.reshape(chosen.sum(), -1, 3)
            found.append(SoftMode(q, float(frequencies[0]), waves))
    modes = gamma_modes(phonon)
    if modes.frequencies[0] < -SOFT:
        chosen = modes.frequencies < modes.frequencies[0] + DEGENERACY
        waves = modes.eigenvectors[chosen].astype(np.complex128)
        found.append(SoftMode(np.zeros(3), float(modes.frequencies[0]), waves))
    return tuple(sorted(found, key=lambda mode: (mode.frequency, *mode.q)))


def soft_notes(modes: tuple[SoftMode, ...], followed: bool) -> tuple[Note, ...]:
    """A note "soft_modes" that names the softest of them, and the way on if it was not followed; or no note."""
    if not modes:
        return ()
    names = ", ".join(mode.name for mode in modes[:_SHOWN])
    rest = f" and at {len(modes) - _SHOWN} other wave vectors" if len(modes) > _SHOWN else ""
    remedy = "" if followed else "follow=True looks for the structure that the softest leads to"
    return (Note("soft_modes", f"the crystal is not stable: soft modes of {names}{rest}", remedy=remedy),)


def follow_mode(phonon: Phonopy, mode: SoftMode, engine: Engine, what: Relax, symprec: float) -> Step:
    """Displace a crystal along a soft mode, in the smallest cell that repeats with the wave, and relax it.

    Of several modes of one frequency, sums are tried in which the atom that moves most does so along an axis or a
    diagonal of the Cartesian axes or of the cell: the ends of such displacements have symmetry. The sum and amplitude
    of the lowest energy are relaxed, in the space group of the displaced crystal.

    Parameters
    ----------
    phonon, mode
        The crystal, and which of its modes.
    engine
        Gives energy and forces.
    what, symprec
        See `relax`.

    Raises
    ------
    InputError
        The calculator fails or has no energy.
    """
    parent, basis = wave_cell(phonon, mode)
    count = len(parent)
    start = energy_of(parent, engine.calculator)
    roots = np.sqrt(parent.get_masses())[:, None]

    def displaced(wave: Array, size: float) -> ase.Atoms:
        moved: ase.Atoms = parent.copy()
        moved.positions += size * wave / roots
        return moved

    def energy(wave: Array, size: float) -> float:
        return energy_of(displaced(wave, size), engine.calculator)

    waves = _symmetric_sums(basis, np.asarray(phonon.primitive.cell))
    size, lowest = 0.0, start
    unit = 1 / float(np.linalg.norm(waves[0] / roots, axis=1).max())
    for amplitude in _AMPLITUDES:
        tried = energy(waves[0], amplitude * unit)
        if tried >= lowest:
            break
        size, lowest = amplitude * unit, tried
    size = size or _AMPLITUDES[0] * unit
    best = min(waves, key=lambda wave: energy(wave, size))
    relaxed = engine.relaxed(displaced(best, size), what, symprec)
    gain = (start - energy_of(relaxed.atoms.copy(), engine.calculator)) / count
    if gain < GAINED:
        text = f"following the soft mode of {mode.name} led to no lower energy"
        return Step(None, gain, (Note("processing", text),))
    before, after = find_symmetry(parent, symprec).international, find_symmetry(relaxed.atoms, symprec).international
    text = (
        f"followed the soft mode of {mode.name}: from {before} to {after}, {count} atoms, "
        f"{1000 * gain:.2g} meV per atom lower"
    )
    return Step(relaxed.atoms, gain, (Note("processing", text), *relaxed.notes))


def wave_cell(phonon: Phonopy, mode: SoftMode) -> tuple[ase.Atoms, Array]:
    """The smallest cell that repeats with a wave, and the real waves in it.

    Returns
    -------
    atoms, basis
        The crystal at rest, and (k, n_atoms, 3) orthonormal patterns, which are displacements times the root of the
        mass: k = d modes where the wave is its own complex conjugate, else 2 d.
    """
    from ase.build import make_supercell

    primitive = to_ase(phonon.primitive)
    primitive.set_tags(range(len(primitive)))
    cell = primitive.cell.array
    period = lcm(*(fraction.denominator for fraction in _fractions(mode.q)))
    miss = [float(np.abs(rows @ mode.q - np.rint(rows @ mode.q)).max()) for rows in sublattices(period)]
    rows = sublattices(period)[int(np.argmin(miss))]
    rows = short_vectors(rows @ cell)[0] @ rows
    atoms = make_supercell(primitive, rows * int(np.sign(np.linalg.det(rows))))
    phases = np.exp(2j * np.pi * (atoms.positions @ np.linalg.inv(cell)) @ mode.q)
    waves = mode.eigenvectors[:, atoms.get_tags()] * phases[:, None]
    atoms.set_tags(0)
    _, size, basis = np.linalg.svd(np.concatenate([waves.real, waves.imag]).reshape(-1, 3 * len(atoms)))
    return atoms, basis[: int((size > 1e-3 * size[0]).sum())].reshape(-1, len(atoms), 3)


def _points(phonon: Phonopy) -> list[Array]:
    """One wave vector of each star of those that the supercell holds."""
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    matrix = np.linalg.inv(phonon.primitive_matrix) @ phonon.supercell_matrix
    turns = [np.asarray(rotation) for rotation in phonon.primitive_symmetry.pointgroup_operations]
    points: list[Array] = []
    seen: set[tuple[float, ...]] = set()
    for q in map(_wrapped, get_commensurate_points(np.rint(matrix).astype(np.int64))):
        if tuple(q) in seen:
            continue
        points.append(q)
        for turn in turns:  # of fractional coordinates x; q.x stays the same for q turn^-1, and the group has inverses
            seen.update((tuple(_wrapped(q @ turn)), tuple(_wrapped(-q @ turn))))
    return points


def _wrapped(q: Array) -> Array:
    """A wave vector from 0 to 1, with exact fractions."""
    return np.array([float(fraction % 1) for fraction in _fractions(q)])


def _fractions(q: Array) -> list[Fraction]:
    return [Fraction(float(x)).limit_denominator(_LARGEST_DENOMINATOR) for x in q]


def _symmetric_sums(basis: Array, lattice: Array) -> list[Array]:
    """(n_atoms, 3) normalized patterns: sums of the basis, of both signs, in which one atom moves along an axis."""
    if len(basis) == 1:
        return [basis[0], -basis[0]]
    moving = int(np.square(basis).sum(axis=(0, 2)).argmax())
    waves: list[Array] = []
    for frame in (np.eye(3), lattice):
        for steps in itertools.product((-1, 0, 1), repeat=3):
            direction = np.array(steps) @ frame
            parts = basis[:, moving] @ direction
            if np.linalg.norm(parts) < 1e-3 * max(float(np.linalg.norm(direction)), 1e-3):
                continue
            wave = np.tensordot(parts / np.linalg.norm(parts), basis, axes=1)
            if all(np.abs(wave - other).max() > 1e-6 for other in waves):
                waves.append(wave)
    return waves

"""Vibrations of a crystal at Gamma without the field that long-wavelength ones carry: frequencies and eigenvectors.

Units: eV, Angstrom, amu, THz (frequencies, not angular ones); imaginary frequencies are negative numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from voigt.errors import InputError
from voigt.response.arrays import Array

if TYPE_CHECKING:
    from phonopy import Phonopy


WAVENUMBER = 1e10 / constants.speed_of_light
"""cm^-1 per THz."""
_THZ = float(np.sqrt(constants.elementary_charge / constants.atomic_mass) / (constants.angstrom * 2 * np.pi * 1e12))
"""THz per sqrt(eV / (amu Angstrom^2))."""

DEGENERACY = 1e-3
"""THz. Modes closer than this are one set: above the noise of symmetrized force constants."""
_RIGID = 0.5
"""Least share of rigid translations in an acoustic mode."""
_MATCHED = 1e-2
"""THz by which phonopy's frequencies may differ from ours, which have the translations split off."""


@dataclass(frozen=True)
class GammaModes:
    """Modes of one primitive cell at Gamma, by ascending frequency.

    Attributes
    ----------
    frequencies
        (M,) THz, M = 3 n_atoms; imaginary ones negative.
    eigenvectors
        (M, n_atoms, 3) of the mass-weighted force constants: real, orthonormal. Atom i of mode m moves along
        eigenvectors[m, i] / sqrt(masses[i]).
    masses, volume
        (n_atoms,) amu; of the cell, Angstrom^3.
    """

    frequencies: Array
    eigenvectors: Array
    masses: Array
    volume: float

    @property
    def wavenumbers(self) -> Array:
        """(M,) frequencies in cm^-1."""
        return np.asarray(self.frequencies * WAVENUMBER)


def gamma_modes(phonon: Phonopy) -> GammaModes:
    """Modes at Gamma of a phonopy object, without non-analytical term, with or without `nac_params`.

    InputError if it has no force constants, or they are not finite.
    """
    primitive = phonon.primitive
    return modes_of(gamma_force_constants(phonon), primitive.masses, float(primitive.volume))


def gamma_force_constants(phonon: Phonopy) -> Array:
    """Force constants (n_atoms, n_atoms, 3, 3) for equal displacements in all primitive cells, eV/Angstrom^2.

    Those of the supercell, full or compact, summed over the images of each second atom. InputError as `gamma_modes`.
    """
    force_constants, primitive = phonon.force_constants, phonon.primitive
    if force_constants is None:
        raise InputError("the phonopy object has no force constants; produce them first")
    if not np.isfinite(force_constants).all():
        raise InputError("the force constants hold numbers that are not finite; check the forces they were made from")
    full = len(force_constants) == len(phonon.supercell)
    rows = force_constants[primitive.p2s_map] if full else force_constants
    # At Gamma all images of an atom move alike, so that their force constants add up.
    images = np.array([primitive.p2p_map[index] for index in primitive.s2p_map])
    return np.stack([rows[:, images == atom].sum(axis=1) for atom in range(len(primitive))], axis=1)


def modes_of(force_constants: ArrayLike, masses: ArrayLike, volume: float) -> GammaModes:
    """Modes of force constants at Gamma: (2 pi f)^2 e = M^-1/2 Phi M^-1/2 e.

    Rigid translations are split off first, so that they never mix with a soft optical mode, and what force constants
    break of the acoustic sum rule shows in the three acoustic frequencies alone. Force constants as
    `gamma_force_constants` gives them, masses and volume as in `GammaModes`; InputError for other shapes and signs.

    Examples
    --------
    Two atoms of 2 amu bound by 1 eV/Angstrom^2: f = sqrt(k / 1 amu) / (2 pi).

    >>> springs = np.einsum("ij,ab->ijab", [[1, -1], [-1, 1]], np.eye(3))
    >>> modes_of(springs, [2, 2], 20.0).frequencies.round(3) + 0.0
    array([ 0.   ,  0.   ,  0.   , 15.633, 15.633, 15.633])
    """
    weights = np.asarray(masses, dtype=np.float64)
    phi = _matrix(force_constants)
    if weights.shape != (len(phi) // 3,) or not (weights > 0).all() or not volume > 0:
        raise InputError(f"{len(phi) // 3} atoms need as many positive masses (amu) and a positive volume")
    # In coordinates scaled by the root of the mass, a rigid translation has components proportional to these roots:
    # the first basis below. The second spans everything orthogonal to it.
    roots = np.sqrt(np.repeat(weights, 3))
    dynamical = phi / np.outer(roots, roots)
    values, vectors = [], []
    for basis in rigid_and_rest(np.sqrt(weights)):
        block, rotation = np.linalg.eigh(basis.T @ dynamical @ basis)
        values.append(block)
        vectors.append((basis @ rotation).T)
    squares = np.concatenate(values)
    frequencies = np.sign(squares) * np.sqrt(np.abs(squares)) * _THZ
    order = np.argsort(frequencies, kind="stable")
    eigenvectors = np.concatenate(vectors)[order].reshape(len(phi), -1, 3)
    return GammaModes(frequencies[order], eigenvectors, weights, float(volume))


def acoustic(modes: GammaModes) -> NDArray[np.bool_]:
    """(M,) which three modes are rigid translations, recognized by their overlap with them and not by their frequency.

    InputError if modes mix translations with vibrations, so that no three of them are acoustic.
    """
    # Share of each mode in the three rigid translations, which are sqrt(m_i / M) along each axis.
    roots = np.sqrt(modes.masses / modes.masses.sum())
    overlap = np.square(np.einsum("i,mia->ma", roots, modes.eigenvectors)).sum(axis=1)
    chosen = np.argsort(-overlap, kind="stable")[:3]
    if overlap[chosen].min() < _RIGID:
        raise InputError("the modes at Gamma mix translations with vibrations; make them with gamma_modes or modes_of")
    return np.isin(np.arange(len(overlap)), chosen)


def degenerate_sets(frequencies: ArrayLike, tolerance: float = DEGENERACY) -> list[NDArray[np.int64]]:
    """Indices of modes whose frequencies (THz) follow one another within the tolerance; sets and members ascending.

    Examples
    --------
    >>> [members.tolist() for members in degenerate_sets([3.0, 1.0, 3.0005])]
    [[1], [0, 2]]
    """
    values = np.asarray(frequencies, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(values[order]) > tolerance) + 1)
    return [np.sort(part) for part in parts if len(part)]  # np.split makes one part of nothing


def acoustic_pseudo_inverse(force_constants: ArrayLike) -> Array:
    """Inverse (n_atoms, n_atoms, 3, 3) of force constants at Gamma on all displacements but rigid translations.

    What displaces atoms by forces, Angstrom^2/eV; the center of the cell (not of mass) stays. Unstable directions are
    inverted like others. Wu, Vanderbilt and Hamann, Phys. Rev. B 72, 035105 (2005).

    Examples
    --------
    >>> springs = np.einsum("ij,ab->ijab", [[1, -1], [-1, 1]], np.eye(3))
    >>> acoustic_pseudo_inverse(springs)[:, :, 0, 0].round(6)
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    phi = _matrix(force_constants)
    count = len(phi) // 3
    basis = rigid_and_rest(np.ones(count))[1]
    inverse = basis @ np.linalg.inv(basis.T @ phi @ basis) @ basis.T
    return np.asarray(inverse.reshape(count, 3, count, 3).transpose(0, 2, 1, 3))


def unstable_directions(force_constants: ArrayLike) -> int:
    """Number of directions, translations apart, in which the crystal lies on a maximum of its energy."""
    phi = _matrix(force_constants)
    basis = rigid_and_rest(np.ones(len(phi) // 3))[1]
    return int((np.linalg.eigvalsh(basis.T @ phi @ basis) <= 0).sum())


def irreps(phonon: Phonopy, modes: GammaModes) -> tuple[tuple[str | None, tuple[int, ...]], ...] | None:
    """Sets of modes that belong together by symmetry, from phonopy: (Mulliken symbol or None, numbers of the modes).

    None where phonopy cannot tell: a cell that is not primitive, or modes that break the symmetry too much to be
    matched. Symbols are missing for point groups that phonopy has no table of.
    """
    try:
        try:
            result = phonon.run_irreps([0, 0, 0], symmetry_adapted=True)
        except TypeError:  # before phonopy 4.8: by equal frequencies, which mixes up accidental neighbors
            result = phonon.run_irreps([0, 0, 0], degeneracy_tolerance=DEGENERACY)
    except Exception:  # phonopy raises anything here, from RuntimeError to failed assertions
        return None
    sets = [tuple(int(member) for member in members) for members in result.band_indices]
    labels: Sequence[str | None] = result._ir_labels or [None] * len(sets)
    translations = acoustic(modes)
    matched = (
        len(result.frequencies) == len(modes.frequencies)
        and np.abs(result.frequencies - modes.frequencies).max() < _MATCHED
        and all(len(set(translations[list(members)].tolist())) == 1 for members in sets)
    )
    return tuple(zip(labels, sets, strict=True)) if matched and len(labels) == len(sets) else None


def _matrix(force_constants: ArrayLike) -> Array:
    """(3 n, 3 n), symmetrized."""
    phi = np.asarray(force_constants, dtype=np.float64)
    if phi.ndim != 4 or phi.shape[0] != phi.shape[1] or phi.shape[2:] != (3, 3) or not np.isfinite(phi).all():
        raise InputError(f"force constants at Gamma must be finite (n_atoms, n_atoms, 3, 3), not of shape {phi.shape}")
    matrix = phi.transpose(0, 2, 1, 3).reshape(3 * len(phi), 3 * len(phi))
    return np.asarray((matrix + matrix.T) / 2)


def rigid_and_rest(weights: Array) -> tuple[Array, Array]:
    """Orthonormal bases, as columns, of translations with the given weights of atoms and of all that is orthogonal."""
    translations = np.kron(weights[:, None], np.eye(3)) / np.linalg.norm(weights)
    # QR of the translations followed by all unit vectors completes them to an orthonormal basis.
    complete = np.linalg.qr(np.hstack([translations, np.eye(len(translations))]))[0]
    return translations, complete[:, 3:]

"""Phonons of polar crystals: frequencies at Gamma in the limit of small wave vectors, LO-TO splitting, bands.

At Gamma the field of longitudinal waves adds, for a wave vector along q,

    D_NA[ia, jb] = 4 pi k (q.Z_i)_a (q.Z_j)_b / (V q.eps_inf.q) / sqrt(m_i m_j),    (q.Z)_a = sum_b q_b Z[b, a]

with k = e^2 / (4 pi eps0), the first index of Z for the field (Gonze and Lee, Phys. Rev. B 55, 10355 (1997), eq. 60).
It depends on the direction of q; at q = 0 itself there is none. phonopy does the sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from voigt.errors import InputError
from voigt.response.arrays import Array, direction_name, grouped, unit_vector
from voigt.response.phonons.modes import GammaModes, acoustic, degenerate_sets, gamma_modes, irreps, rigid_and_rest

if TYPE_CHECKING:
    from phonopy import Phonopy


AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
SPLIT = 0.01
"""THz: what differs less is not called split."""
UNSTABLE = -0.05
"""THz: optical modes below are imaginary beyond the noise of forces."""
UNCHARGED = 1e-3
"""e: a crystal whose Born charges are all smaller carries no field."""


@dataclass(frozen=True)
class Along:
    """Modes for a wave vector that vanishes along one direction.

    Attributes
    ----------
    direction
        (3,) Cartesian unit vector.
    frequencies, eigenvectors
        (M,) THz, ascending, imaginary ones negative; (M, n_atoms, 3) complex, orthonormal.
    partner
        (M,) for every mode without NAC, the mode here that its eigenvector goes over into.
    overlap
        (M,) share of the mode in its partner, and in those of the same frequency; below 1/2 the field mixes modes so
        much that the partner is a matter of words.
    """

    direction: Array
    frequencies: Array
    eigenvectors: NDArray[np.complex128]
    partner: NDArray[np.int64]
    overlap: Array

    @property
    def name(self) -> str:
        """The direction in short, e.g. [100]."""
        return direction_name(self.direction)


@dataclass(frozen=True)
class GammaPhonons:
    """All that the table at Gamma holds.

    Attributes
    ----------
    modes
        Without NAC: transverse (TO) and non-polar modes.
    labels
        (M,) irreducible representation of each mode, None where phonopy cannot tell.
    rigid
        (M,) which modes are acoustic.
    along
        With NAC, one for each direction; empty without.
    """

    modes: GammaModes
    labels: tuple[str | None, ...]
    rigid: NDArray[np.bool_]
    along: tuple[Along, ...]

    @property
    def imaginary(self) -> NDArray[np.int64]:
        """Optical modes with an imaginary frequency."""
        return np.flatnonzero(~self.rigid & (self.modes.frequencies < UNSTABLE))

    def splitting(self, along: Along) -> Array:
        """(M,) THz by which NAC along this direction moves each mode."""
        return np.asarray(along.frequencies[along.partner] - self.modes.frequencies)


def gamma_phonons(phonon: Phonopy, polar: Phonopy | None, directions: Sequence[ArrayLike] = AXES) -> GammaPhonons:
    """Modes at Gamma without NAC and, if there is a twin `polar` with NAC (see `with_nac`), along Cartesian directions.

    InputError if there are no force constants, or a direction is zero.
    """
    modes = gamma_modes(phonon)
    labels: list[str | None] = [None] * len(modes.frequencies)
    sets = [members.tolist() for members in degenerate_sets(modes.frequencies)]
    if (labeled := irreps(phonon, modes)) is not None:
        sets = [list(members) for _, members in labeled]
        for label, members in labeled:
            for member in members:
                labels[member] = label
    along = [] if polar is None else [_along(modes, sets, phonon, polar, direction) for direction in directions]
    return GammaPhonons(modes, tuple(labels), acoustic(modes), tuple(along))


def limit_at_gamma(polar: Phonopy, direction: ArrayLike | None) -> tuple[Array, NDArray[np.complex128]]:
    """Frequencies (M,) in THz and eigenvectors (M, n_atoms, 3) for q -> 0 along a Cartesian direction; None: q = 0.

    InputError if the direction is zero or not finite.
    """
    values, vectors = np.linalg.eigh(_dynamical(polar, direction))
    frequencies = np.sign(values) * np.sqrt(abs(values)) * polar.unit_conversion_factor
    return frequencies, np.ascontiguousarray(vectors.T).reshape(len(values), -1, 3)


def optical_limit(polar: Phonopy, direction: ArrayLike) -> Array:
    """(M - 3,) THz: `limit_at_gamma` without the three modes that are rigid translations, ascending.

    These are split off beforehand: a soft mode close to zero may mix with them.
    """
    rest = rigid_and_rest(np.sqrt(np.asarray(polar.primitive.masses)))[1]
    values = np.linalg.eigvalsh(rest.T @ _dynamical(polar, direction) @ rest)
    return np.asarray(np.sign(values) * np.sqrt(abs(values)) * polar.unit_conversion_factor)


def match(first: NDArray[Any], second: NDArray[Any]) -> tuple[NDArray[np.int64], Array]:
    """For each of `first` the one of `second`, (M, n_atoms, 3) both, so that all overlaps together are largest.

    Returns (M,) indices and (M,) squares of the scalar products.

    Examples
    --------
    >>> basis = np.eye(3).reshape(3, 1, 3)
    >>> match(basis, basis[[2, 0, 1]])
    (array([1, 2, 0]), array([1., 1., 1.]))
    """
    count = len(first)
    # Squares of scalar products; the assignment with the largest sum is one-to-one, unlike the largest of each row.
    overlap = np.square(abs(first.reshape(count, -1).conj() @ second.reshape(count, -1).T))
    rows, columns = linear_sum_assignment(-overlap)
    return columns.astype(np.int64), np.asarray(overlap[rows, columns], dtype=np.float64)


def parse_direction(text: str) -> Array:
    """Unit vector of three numbers such as "1 0 0", "1 1/2 0" or "1,1,1"; InputError for others, or all zero.

    Examples
    --------
    >>> parse_direction("0 0 2"), parse_direction("1,-1/2,0").round(3)
    (array([0., 0., 1.]), array([ 0.894, -0.447,  0.   ]))
    """
    try:
        x, y, z = (float(Fraction(word)) for word in text.replace(",", " ").split())
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"direction '{text}' is not three numbers, e.g. '1 0 0'") from error
    return _unit([x, y, z])


def inactive_reason(born_charges: Array) -> str | None:
    """Why NAC does nothing to this crystal, or None.

    Examples
    --------
    >>> inactive_reason(np.zeros((2, 3, 3)))
    'all Born charges are below 0.001 e'
    """
    return f"all Born charges are below {UNCHARGED:g} e" if abs(born_charges).max() < UNCHARGED else None


def distinct(phonons: GammaPhonons, tolerance: float = 1e-3) -> list[tuple[Along, tuple[str, ...]]]:
    """Directions with different frequencies (THz), each with the names of those that give the same."""
    groups = grouped(phonons.along, lambda a, b: bool(abs(a.frequencies - b.frequencies).max() < tolerance))
    return [(group[0], tuple(along.name for along in group)) for group in groups]


@dataclass(frozen=True)
class Segment:
    """Bands between two special points.

    Attributes
    ----------
    labels
        Names of its ends.
    qpoints, distances
        (n, 3) in the reciprocal primitive cell; (n,) along the whole path, 1/Angstrom without 2 pi.
    frequencies
        (n, M) THz, ascending.
    """

    labels: tuple[str, str]
    qpoints: Array
    distances: Array
    frequencies: Array


def band_structure(phonon: Phonopy, points: int = 51) -> tuple[Segment, ...]:
    """Bands along the standard path of the primitive cell, with NAC if `phonon` has it.

    Path of Setyawan and Curtarolo, Comput. Mater. Sci. 49, 299 (2010), as ASE finds it from the lattice, in the
    reciprocal basis of this very cell. Towards Gamma, NAC is that for the direction of the segment. The longest segment
    has `points` of them; the others have fewer, five at least.
    """
    from ase.cell import Cell
    from ase.dft.kpoints import parse_path_string

    path = Cell(phonon.primitive.cell).bandpath(npoints=0)
    special = path.special_points
    # Continuous pieces of a path such as GXL,UX; digits belong to the letter before.
    ends = [pair for piece in parse_path_string(path.path) for pair in pairwise(piece)]
    reciprocal = np.linalg.inv(phonon.primitive.cell).T
    lengths = [float(np.linalg.norm((special[b] - special[a]) @ reciprocal)) for a, b in ends]
    counts = [max(5, round(points * length / max(lengths))) for length in lengths]
    lines = [np.linspace(special[a], special[b], count) for (a, b), count in zip(ends, counts, strict=True)]
    bands = phonon.run_band_structure(lines)
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    return tuple(
        Segment(pair, line, start + np.linspace(0, length, len(line)), np.asarray(frequencies))
        for pair, line, start, length, frequencies in zip(
            ends, lines, starts[:-1], lengths, bands.frequencies, strict=True
        )
    )


def _unit(direction: ArrayLike) -> Array:
    try:
        return unit_vector(direction)
    except InputError as error:
        raise InputError(
            "a direction towards Gamma is three numbers, not all zero: at q = 0 itself there is no NAC"
        ) from error


def _dynamical(phonon: Phonopy, direction: ArrayLike | None) -> NDArray[np.complex128]:
    """(3 n, 3 n) dynamical matrix at Gamma; phonopy wants directions in the basis of the reciprocal primitive cell."""
    matrix: Any = phonon.dynamical_matrix
    if direction is None or phonon.nac_params is None:
        matrix.run([0, 0, 0])
    else:
        matrix.run([0, 0, 0], q_direction=phonon.primitive.cell @ _unit(direction))
    return np.array(matrix.dynamical_matrix)


def _along(
    modes: GammaModes, sets: Sequence[list[int]], phonon: Phonopy, polar: Phonopy, direction: ArrayLike
) -> Along:
    frequencies, eigenvectors = limit_at_gamma(polar, direction)
    # What the field of the limit adds to the dynamical matrix, D_NA of the formula above.
    field = _dynamical(polar, direction) - _dynamical(phonon, None)
    adapted = _adapted(modes, sets, field)
    partner = match(adapted, eigenvectors)[0]
    count = len(adapted)
    shares = np.square(abs(adapted.reshape(count, -1) @ eigenvectors.reshape(count, -1).T))
    overlap = np.empty(count)
    for members in degenerate_sets(frequencies):  # of equal frequencies, no combination is more a mode than another
        going = np.flatnonzero(np.isin(partner, members))
        overlap[going] = shares[np.ix_(going, members)].sum(axis=1)
    return Along(_unit(direction), frequencies, eigenvectors, partner, overlap)


def _adapted(modes: GammaModes, sets: Sequence[list[int]], field: NDArray[np.complex128]) -> Array:
    """Eigenvectors without NAC, those of each set combined so that only the last of them feels the field.

    D_NA is of rank one: what is orthogonal to its vector goes on as before.
    """
    # The vector of the rank-one matrix is its eigenvector with the largest eigenvalue; at Gamma it is real but for a
    # common phase.
    strong = np.linalg.eigh(field)[1][:, -1]
    strong = np.real(strong * np.exp(-1j * np.angle(strong[abs(strong).argmax()])))
    vectors = modes.eigenvectors.reshape(len(modes.frequencies), -1).copy()
    for members in sets:
        shares = vectors[members] @ strong
        if len(members) == 1 or np.linalg.norm(shares) < 1e-6:
            continue
        # The first column of q is along `shares`; reversed, so that it comes last.
        complete, _ = np.linalg.qr(np.hstack([shares[:, None], np.eye(len(members))]))
        vectors[members] = complete[:, ::-1].T @ vectors[members]
    return vectors.reshape(modes.eigenvectors.shape)

"""Supercells in which an atom is far enough from its own images, with as few atoms as possible."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.cells import heights, short_vectors
from voigt.structures.symmetry import find_symmetry

SHORTEST = 10.0
"""Angstrom: an atom of a supercell that we choose is at least so far from its images."""
MOST_ATOMS = 300
"""Of a supercell that we choose."""
_SAVED = 0.75
"""A skewed supercell is taken if it needs at most this share of the atoms of a straight one."""
_REACH = 1.5
"""Of the distance asked for, up to which distances are told apart."""
_WHOLE = 0.05
"""By which rotations in vectors of the cell may miss whole numbers: those of another lattice miss them by a third."""


@dataclass(frozen=True)
class Supercell:
    """A supercell of a crystal.

    Attributes
    ----------
    matrix
        (3, 3) integers as phonopy takes them: the lattice vectors (rows) of the supercell are matrix.T @ cell.
    shortest
        Distance of an atom from its nearest image, Angstrom.
    complete
        Whether that is the distance asked for; not if it takes too many atoms.
    """

    matrix: NDArray[np.int64]
    shortest: float
    complete: bool


def supercell_for(
    atoms: ase.Atoms, shortest: float = SHORTEST, most_atoms: int = MOST_ATOMS, symprec: float = 1e-3
) -> Supercell:
    """The smallest supercell whose atoms are at least `shortest` Angstrom from their images.

    Only lattices that have the point symmetry of the crystal are looked at: others would need more displacements, and
    give force constants that break it. Among these, a skewed one is taken only if it is much smaller.

    Parameters
    ----------
    atoms
        Cell of the crystal, which is repeated.
    shortest, most_atoms
        Angstrom, and the largest number of atoms: if they do not go together, the largest distance that fits.
    symprec
        Tolerance of the point group, Angstrom.

    Examples
    --------
    Primitive rock salt: the faces of 4 x 4 x 4 cells are 9.7 Angstrom apart, but the nearest images 11.9.

    >>> from ase.build import bulk
    >>> found = supercell_for(bulk("MgO", "rocksalt", a=4.21))
    >>> found.matrix.diagonal().tolist(), round(found.shortest, 1)
    ([4, 4, 4], 11.9)
    """
    cell = np.array(atoms.cell.array, dtype=np.float64)
    most = max(most_atoms // len(atoms), 1)
    rotations = _integer_rotations(atoms, cell, symprec)
    around = _Vectors.up_to(_REACH * shortest, cell)
    best = _choose(_diagonal(cell, shortest, most), rotations, around, shortest)
    if best is None:  # a cell that is no multiple of itself cannot be: 1 x 1 x 1 always is among them
        raise InputError("no supercell has the symmetry of the crystal; give one with --dim")
    # No lattice is denser than the face-centered cubic one, whose cell has the volume d^3 / sqrt(2).
    fewest = int(np.ceil(shortest**3 / np.sqrt(2) / abs(np.linalg.det(cell))))
    limit = int(_SAVED * round(float(np.linalg.det(best.matrix)))) if best.complete else most
    for count in range(fewest, limit + 1):
        skewed = _choose(sublattices(count), rotations, around, shortest)
        if skewed is not None and skewed.complete:
            return skewed
    return best


def sublattices(count: int) -> NDArray[np.int64]:
    """Every lattice of `count` cells once, (n, 3, 3): matrices in Hermite's normal form.

    Examples
    --------
    >>> sublattices(2).shape
    (7, 3, 3)
    """
    forms = [
        ((a, b, c), (0, d, e), (0, 0, count // (a * d)))
        for a in _divisors(count)
        for d in _divisors(count // a)
        for b in range(d)
        for c in range(count // (a * d))
        for e in range(count // (a * d))
    ]
    return np.array(forms, dtype=np.int64)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def _diagonal(cell: NDArray[np.float64], shortest: float, most: int) -> NDArray[np.int64]:
    """Straight repetitions of at most `most` cells, up to those whose faces are far enough apart."""
    bounds = [min(int(np.ceil(shortest / height - 1e-9)), most) for height in heights(cell)]
    counts = np.stack(np.meshgrid(*(np.arange(1, bound + 1) for bound in bounds)), axis=-1).reshape(-1, 3)
    counts = counts[counts.prod(axis=1) <= most]
    return np.asarray(counts[:, :, None] * np.eye(3, dtype=np.int64))


def _choose(
    matrices: NDArray[np.int64], rotations: NDArray[np.int64], around: _Vectors, shortest: float
) -> Supercell | None:
    """The smallest of the symmetric lattices that are large enough, or the largest of all; None if there is none."""
    size = np.rint(np.linalg.det(matrices)).astype(np.int64)
    inverse = np.rint(np.linalg.inv(matrices) * size[:, None, None]).astype(np.int64)  # times the determinant
    for rotation in rotations:  # turned vectors must be sums of vectors of the same lattice
        whole = ((matrices @ rotation @ inverse) % size[:, None, None] == 0).all(axis=(1, 2))
        matrices, inverse, size = matrices[whole], inverse[whole], size[whole]
    if not len(matrices):
        return None
    held = ((around.steps @ inverse) % size[:, None, None] == 0).all(axis=2)
    held = np.column_stack([held, np.ones(len(held), dtype=np.bool_)])  # where none is, they are beyond the reach
    distance = np.append(around.lengths, around.reach)[held.argmax(axis=1)]
    enough = distance >= shortest - 1e-6
    if enough.any():
        best = min(np.flatnonzero(enough).tolist(), key=lambda place: (size[place], -distance[place]))
    else:
        best = max(range(len(size)), key=lambda place: (distance[place].round(6), -size[place]))
    matrix = matrices[best]
    basis, short = short_vectors(matrix @ around.cell)
    if np.count_nonzero(matrix) > 3:
        matrix = basis @ matrix * int(np.sign(np.linalg.det(basis)))
    return Supercell(matrix.T, float(np.linalg.norm(short[0])), bool(enough[best]))


@dataclass(frozen=True)
class _Vectors:
    """Vectors of a lattice up to a length, one of each pair of opposites, the shortest first.

    cell (3, 3) rows; steps (k, 3) integers; lengths (k,) of steps @ cell, all below reach.
    """

    cell: NDArray[np.float64]
    steps: NDArray[np.int64]
    lengths: NDArray[np.float64]
    reach: float

    @classmethod
    def up_to(cls, reach: float, cell: NDArray[np.float64]) -> _Vectors:
        basis, short = short_vectors(cell)
        bounds = [int(reach / height) for height in heights(short)]
        grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in bounds), indexing="ij"), axis=-1).reshape(-1, 3)
        steps = grid[len(grid) // 2 + 1 :] @ basis
        lengths = np.linalg.norm(steps @ cell, axis=1)
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] < reach]
        return cls(cell, steps[order], lengths[order], reach)


def _integer_rotations(atoms: ase.Atoms, cell: NDArray[np.float64], symprec: float) -> NDArray[np.int64]:
    """Rotations of the point group that carry the lattice of the cell into itself, in its vectors (rows)."""
    turned = cell @ find_symmetry(atoms, symprec).rotations.transpose(0, 2, 1) @ np.linalg.inv(cell)
    whole = np.rint(turned)
    return np.asarray(whole[np.abs(turned - whole).max(axis=(1, 2)) < _WHOLE].astype(np.int64))

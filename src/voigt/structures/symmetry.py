"""Space-group operations of a crystal with the atom permutation that each one makes."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
import spglib
from numpy.typing import NDArray

from voigt.errors import InputError

_SYSTEM_LIMITS = (
    (2, "triclinic"),
    (15, "monoclinic"),
    (74, "orthorhombic"),
    (142, "tetragonal"),
    (167, "trigonal"),
    (194, "hexagonal"),
    (230, "cubic"),
)

PAIRS_AT_ONCE = 200_000
"""Pairs of atoms, over all operations, that are compared in one go."""


@dataclass(frozen=True)
class Symmetry:
    """Operations and orbits of one crystal.

    Attributes
    ----------
    rotations
        (n_operations, 3, 3) orthogonal matrices in the Cartesian frame of the input cell.
    permutations
        (n_operations, n_atoms): operation g maps atom a onto atom permutations[g, a], so that
        Z[permutations[g, a]] = rotations[g] @ Z[a] @ rotations[g].T.
    orbits
        (n_atoms,) lowest index of the atoms equivalent to each atom.
    orbit_rotations
        (n_atoms, 3, 3): Z[a] = R @ Z[orbits[a]] @ R.T with R = orbit_rotations[a].
    number, international, point_group, crystal_system
        Space group by number and symbol, its point group, one of seven systems.
    wyckoffs, site_symmetries
        One letter and one symbol per atom.
    primitive
        (3, 3) rows are vectors of some primitive cell, in the axes of the input cell, Angstrom.
    symprec
        Tolerance with which all this was found, Angstrom.
    """

    rotations: NDArray[np.float64]
    permutations: NDArray[np.int64]
    orbits: NDArray[np.int64]
    orbit_rotations: NDArray[np.float64]
    number: int
    international: str
    point_group: str
    crystal_system: str
    wyckoffs: tuple[str, ...]
    site_symmetries: tuple[str, ...]
    primitive: NDArray[np.float64]
    symprec: float

    @property
    def centrosymmetric(self) -> bool:
        """Whether inversion is among the operations."""
        return bool(np.any(np.all(np.abs(self.rotations + np.eye(3)) < 1e-6, axis=(1, 2))))


def crystal_system(number: int) -> str:
    """Crystal system of a space-group number (1 to 230)."""
    return next(name for last, name in _SYSTEM_LIMITS if number <= last)


def find_symmetry(atoms: ase.Atoms, symprec: float = 1e-3) -> Symmetry:
    """Find the space group with spglib and attach atom permutations.

    Parameters
    ----------
    atoms
        A crystal, periodic in three dimensions.
    symprec
        Distance tolerance in Angstrom. Operations are those that move each atom onto one of its kind within it.

    Raises
    ------
    InputError
        spglib finds no space group (atoms on top of each other, or a tolerance too large for the cell).
    """
    cell, numbers = atoms.cell.array, atoms.numbers
    fractional = atoms.get_scaled_positions(wrap=True)
    try:
        dataset = spglib.get_symmetry_dataset((cell, fractional, numbers), symprec=symprec)
    except spglib.SpglibError:  # raised instead of returning None once phonopy has been imported
        dataset = None
    if dataset is None:
        raise InputError(f"no space group found for {atoms.get_chemical_formula()}; try another --symprec")
    lattice = cell.T
    rotations = lattice @ dataset.rotations @ np.linalg.inv(lattice)
    # The cell of a relaxed crystal meets its symmetry to about symprec only: keep the nearest orthogonal matrix.
    left, _, right = np.linalg.svd(rotations)
    rotations = left @ right
    permutations = _permutations(fractional, dataset.rotations, dataset.translations, cell, numbers)
    orbits = permutations.min(axis=0)
    atoms_index = np.arange(len(numbers))
    hits = permutations[:, orbits] == atoms_index  # (n_operations, n_atoms): g maps the representative onto the atom
    generator = hits.argmax(axis=0)
    identity = np.all(dataset.rotations == np.eye(3, dtype=int), axis=(1, 2)).argmax()
    generator[orbits == atoms_index] = identity
    return Symmetry(
        rotations=rotations,
        permutations=permutations,
        orbits=orbits,
        orbit_rotations=rotations[generator],
        number=int(dataset.number),
        international=str(dataset.international),
        point_group=str(dataset.pointgroup),
        crystal_system=crystal_system(int(dataset.number)),
        wyckoffs=tuple(dataset.wyckoffs),
        site_symmetries=tuple(dataset.site_symmetry_symbols),
        primitive=np.asarray(dataset.primitive_lattice, dtype=np.float64),
        symprec=symprec,
    )


def _permutations(
    fractional: NDArray[np.float64],
    rotations: NDArray[np.int32],
    translations: NDArray[np.float64],
    cell: NDArray[np.float64],
    numbers: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Nearest atom of the same kind to every image of every atom, (n_operations, n_atoms)."""
    count = len(fractional)
    permutations = np.empty((len(rotations), count), dtype=np.int64)
    different = numbers[:, None] != numbers[None, :]
    step = max(PAIRS_AT_ONCE // count**2, 1)
    for first in range(0, len(rotations), step):
        rows = slice(first, first + step)
        moved = fractional @ rotations[rows].transpose(0, 2, 1) + translations[rows, None, :]
        difference = moved[:, :, None, :] - fractional
        difference -= np.rint(difference)
        squared = np.square(difference @ cell).sum(axis=-1)
        squared[:, different] = np.inf
        permutations[rows] = squared.argmin(axis=2)
    return permutations

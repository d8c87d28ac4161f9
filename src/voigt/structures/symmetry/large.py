"""Operations of primitive cells of thousands of atoms, for which spglib takes minutes.

Most of them are disordered and have none. As in `symmetry.search` rotations of the lattice are combined with the places
to which an atom of the rarest kind can go; a few atoms exclude nearly all of these combinations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voigt.structures.cells import short_vectors
from voigt.structures.symmetry.lattices import lattice_operations
from voigt.structures.symmetry.naming import SpaceGroup, space_group
from voigt.structures.symmetry.places import Places
from voigt.structures.symmetry.search import Operations
from voigt.structures.symmetry.thresholds import ATTEMPTS, NEARLY_FOLDED, PROBES


def search_large(
    cell: NDArray[np.float64], fractional: NDArray[np.float64], numbers: NDArray[np.int64], symprec: float
) -> Operations:
    """Operations of a crystal without translations inside its cell: each moves all atoms onto others of their kinds.

    Where the operations found form no group, those of a smaller tolerance are taken, and at last the identity alone.

    Parameters
    ----------
    cell
        (3, 3) rows are lattice vectors, Angstrom.
    fractional, numbers
        (n_atoms, 3) positions and (n_atoms,) kinds of atoms.
    symprec
        Tolerance, Angstrom.
    """
    basis, reduced = short_vectors(cell)
    if np.linalg.det(reduced) < 0:  # which of two enantiomorphic groups it is shows in a right-handed cell only
        basis, reduced = -basis, -reduced
    atoms = Places.of(reduced, fractional @ np.linalg.inv(basis), numbers)
    for limit in (symprec, NEARLY_FOLDED * symprec):
        rotations, shifts, permutations = _operations(atoms, limit)
        group = space_group(rotations, shifts)
        if group is not None:
            turned = reduced.T @ rotations @ np.linalg.inv(reduced.T)
            return Operations(turned, permutations, np.arange(len(numbers)), reduced, group)
    every = np.arange(len(numbers))
    return Operations(np.eye(3)[None], every[None], every, reduced, SpaceGroup(1, "P1", "1"))


def _operations(
    atoms: Places, limit: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Rotations, translations and permutations of operations that hold for all atoms, the identity first."""
    place, rare = atoms.fractional, atoms.rare()
    probes = rare[np.unique(np.linspace(0, len(rare) - 1, PROBES).astype(int))].tolist()
    found: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]] = []
    for rotation in lattice_operations(atoms.cell, limit / float(atoms.lengths.max())):
        turned = place @ rotation.T
        # Both are fractions: a lattice that keeps its lengths only nearly does not move an atom in this comparison.
        shifts = place[rare] - turned[rare[0]]
        for probe in probes:
            shifts = shifts[atoms.land(turned[probe] + shifts, atoms.numbers[probe], limit)[0]]
        for _ in range(min(len(shifts), ATTEMPTS)):
            if len(shifts) == 0:
                break
            shift, shifts = shifts[0], shifts[1:]
            good, target = atoms.land(turned + shift, atoms.numbers, limit)
            if good.all() and len(np.unique(target)) == len(target):
                found.append((rotation, shift, target))
                break
            # The atom that does not land is asked next of all others.
            lost = int(np.flatnonzero(~good)[0]) if not good.all() else probes[0]
            shifts = shifts[atoms.land(turned[lost] + shifts, atoms.numbers[lost], limit)[0]]
    rotations, translations, permutations = zip(*found, strict=True)
    return np.array(rotations), np.array(translations), np.array(permutations)

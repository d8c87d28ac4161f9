"""Space-group operations of a crystal with the atom permutation that each one makes.

A supercell of n primitive cells has n times as many operations as the crystal: each is one of the crystal's followed by
one of n translations inside the cell. The two factors are kept apart, so that large supercells cost no more than small.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import ase
import numpy as np
import spglib
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.cells import is_skewed, require_sound, short_vectors
from voigt.structures.symmetry.folding import Folded, fold, unfold
from voigt.structures.symmetry.large import search_large
from voigt.structures.symmetry.matching import SameKind, squared_distances
from voigt.structures.symmetry.naming import SpaceGroup
from voigt.structures.symmetry.places import in_box
from voigt.structures.symmetry.search import Operations, search_operations
from voigt.structures.symmetry.spglib_answers import answer
from voigt.structures.symmetry.thresholds import LARGE, MANY

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

NEAR = 4.0
"""Tolerances within which an operation must bring an atom to its image, or all atoms of the crystal are looked at."""


@dataclass(frozen=True)
class Description:
    """The input of spglib: cell (rows), fractional positions, kinds of atoms, tolerance.

    `atom` (n_atoms,) says which of these atoms each atom of the crystal is a copy of, where the cell is a smaller one.
    """

    cell: NDArray[np.float64]
    fractional: NDArray[np.float64]
    numbers: NDArray[np.int64]
    symprec: float
    atom: NDArray[np.int64] | None = None

    def dataset(self) -> spglib.SpglibDataset:
        """All that spglib finds.

        Raises
        ------
        InputError
            It finds no space group (atoms on top of each other, or a tolerance too large for the cell).
        """
        crystal: Any = (self.cell, self.fractional, self.numbers)  # spglib's annotations know lists only
        dataset = answer(spglib.get_symmetry_dataset, crystal, symprec=self.symprec)
        if dataset is None:
            formula = ase.Atoms(numbers=self.numbers).get_chemical_formula()
            raise InputError(f"no space group found for {formula}; try another --symprec")
        return dataset


@dataclass(frozen=True)
class Symmetry:
    """Operations and orbits of one crystal.

    Attributes
    ----------
    rotations
        (n_operations, 3, 3) orthogonal matrices in the Cartesian frame of the input cell: operations that differ by a
        translation inside the cell are represented by one of them.
    permutations
        (n_operations, n_atoms): operation g maps atom a onto atom permutations[g, a], so that
        Z[permutations[g, a]] = rotations[g] @ Z[a] @ rotations[g].T.
    sites
        (n_atoms,) lowest index of the atoms that translations inside the cell map onto each atom, which have the same
        Z; the atom itself in a primitive cell.
    orbits
        (n_atoms,) lowest index of the atoms equivalent to each atom.
    orbit_rotations
        (n_atoms, 3, 3): Z[a] = R @ Z[orbits[a]] @ R.T with R = orbit_rotations[a].
    number, international, point_group, crystal_system
        Space group by number and symbol, its point group, one of seven systems.
    primitive
        (3, 3) rows are vectors of some primitive cell, in the axes of the input cell, Angstrom.
    symprec
        Tolerance of the search, Angstrom.
    described
        The crystal, for what is sought only when it is read.
    """

    rotations: NDArray[np.float64]
    permutations: NDArray[np.int64]
    sites: NDArray[np.int64]
    orbits: NDArray[np.int64]
    orbit_rotations: NDArray[np.float64]
    number: int
    international: str
    point_group: str
    crystal_system: str
    primitive: NDArray[np.float64]
    symprec: float
    described: Description

    @property
    def translations(self) -> int:
        """How many primitive cells the cell holds, as far as translations inside it are operations."""
        return len(self.sites) // len(np.unique(self.sites))

    @property
    def wyckoffs(self) -> tuple[str, ...]:
        """One Wyckoff letter per atom."""
        return self._site_labels[0]

    @property
    def site_symmetries(self) -> tuple[str, ...]:
        """Symbol of the site symmetry of each atom."""
        return self._site_labels[1]

    @cached_property
    def _site_labels(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if self.number == 1:
            return ("a",) * len(self.sites), ("1",) * len(self.sites)
        dataset, atom = self.described.dataset(), self.described.atom
        letters, symbols = list(dataset.wyckoffs), list(dataset.site_symmetry_symbols)
        if atom is None:
            return tuple(letters), tuple(symbols)
        return tuple(letters[place] for place in atom), tuple(symbols[place] for place in atom)

    @property
    def centrosymmetric(self) -> bool:
        """Whether inversion is among the operations."""
        return bool(np.any(np.all(np.abs(self.rotations + np.eye(3)) < 1e-6, axis=(1, 2))))


def crystal_system(number: int) -> str:
    """Crystal system of a space-group number (1 to 230)."""
    return next(name for last, name in _SYSTEM_LIMITS if number <= last)


def require_tolerance(symprec: float) -> None:
    """Raise InputError unless a tolerance is a length above zero; spglib dies of others."""
    if not 0.0 < symprec < np.inf:
        raise InputError(f"symprec {symprec:g}: give a length above zero, in Angstrom")


def find_symmetry(atoms: ase.Atoms, symprec: float = 1e-3) -> Symmetry:
    """Find the space group, as spglib does but quicker, and attach atom permutations.

    Crystals of lattices of high symmetry are searched by `symmetry.search`; spglib searches the others,
    and those near the tolerance. Large cells are folded into a primitive one before, see `symmetry.folding`.

    Parameters
    ----------
    atoms
        A crystal, periodic in three dimensions.
    symprec
        Distance tolerance in Angstrom. Operations are those that move each atom onto one of its kind within it.

    Raises
    ------
    InputError
        spglib finds no space group (atoms on top of each other, or a tolerance too large for the cell); the cell or a
        position is out of the bounds of `voigt.structures.cells`; `symprec` is no length above zero.

    Examples
    --------
    >>> from voigt.structures import read_one
    >>> symmetry = find_symmetry(read_one("examples/NaCl.cif"))
    >>> symmetry.international, symmetry.orbits.tolist()
    ('Fm-3m', [0, 0, 0, 0, 4, 4, 4, 4])
    """
    require_tolerance(symprec)
    cell = np.array(atoms.cell.array, dtype=np.float64)
    require_sound(cell, atoms.positions)
    if is_skewed(cell):  # spglib takes gigabytes for very oblique lattice vectors, or dies
        cell = short_vectors(cell)[1]
    fractional = atoms.positions @ np.linalg.inv(cell)
    fractional -= np.floor(fractional)
    found, described = _search(Description(cell, fractional, np.array(atoms.numbers, dtype=np.int64), symprec))
    rotations, permutations, sites, group = found.rotations, found.permutations, found.sites, found.group
    rotations = nearest_orthogonal(rotations)
    orbits = sites[permutations].min(axis=0)
    # (n_operations, n_atoms): whether g, followed by some translation, maps the representative onto the atom
    hits = sites[permutations[:, orbits]] == sites
    generator = hits.argmax(axis=0)
    identity = (rotations[:, 0, 0] + rotations[:, 1, 1] + rotations[:, 2, 2]).argmax()
    generator[orbits == sites] = identity
    return Symmetry(
        rotations=rotations,
        permutations=permutations,
        sites=sites,
        orbits=orbits,
        orbit_rotations=rotations[generator],
        number=group.number,
        international=group.international,
        point_group=group.point_group,
        crystal_system=crystal_system(group.number),
        primitive=found.primitive,
        symprec=symprec,
        described=described,
    )


def _search(described: Description) -> tuple[Operations, Description]:
    """Operations, and the description in which sites are to be labeled: of a primitive cell if the cell is large."""
    if len(described.numbers) > LARGE:
        folded = fold(described.cell, described.fractional, described.numbers, described.symprec)
        if isinstance(folded, Folded):
            inner = Description(folded.cell, folded.fractional, folded.numbers, folded.symprec)
            found, labeled = _search(inner)
            atom = folded.site if labeled.atom is None else labeled.atom[folded.site]
            return unfold(folded, found), replace(labeled, atom=atom)
        described = replace(described, symprec=folded)
    cell, symprec = described.cell, described.symprec
    if len(described.numbers) > MANY:
        return search_large(cell, described.fractional, described.numbers, symprec), described
    sought = search_operations(cell, described.fractional, described.numbers, symprec)
    if sought is not None:
        return sought, described
    dataset = described.dataset()
    chosen, sites = _factors(dataset)
    turned = dataset.rotations[chosen].astype(np.float64)
    permutations = _permutations(described, turned, dataset.translations[chosen])
    rotations = cell.T @ turned @ np.linalg.inv(cell.T)
    primitive = np.asarray(dataset.primitive_lattice, dtype=np.float64)
    group = SpaceGroup(int(dataset.number), str(dataset.international), str(dataset.pointgroup))
    return Operations(rotations, permutations, sites, primitive, group), described


def _factors(dataset: spglib.SpglibDataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Operations of spglib that stand for all that differ from them by a translation, and `Symmetry.sites`.

    Operations found near the tolerance need not be the products of both factors: then all of them are kept.
    """
    _, first, site, count = np.unique(
        dataset.mapping_to_primitive, return_index=True, return_inverse=True, return_counts=True
    )
    _, chosen = np.unique(dataset.rotations.reshape(-1, 9), axis=0, return_index=True)
    if np.any(count != count[0]) or len(chosen) * count[0] != len(dataset.rotations):
        return np.arange(len(dataset.rotations)), np.arange(len(site))
    return np.sort(chosen), first[site]


def nearest_orthogonal(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthogonal matrices nearest to (n, 3, 3) that miss it little: a relaxed cell has its symmetry to about symprec.

    Newton and Schulz's iteration, which squares the error at each step; the singular values where it starts far off.
    """
    unit = np.eye(3)
    for _ in range(4):
        missed = matrices.transpose(0, 2, 1) @ matrices - unit
        size = np.abs(missed).max()
        if size > 0.1:
            left, _, right = np.linalg.svd(matrices)
            matrices = left @ right
            break
        matrices = matrices - matrices @ (missed / 2)
        if size < 1e-8:
            break
    return matrices


def _permutations(
    described: Description, rotations: NDArray[np.float64], translations: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Nearest atom of the same kind to every image of every atom, (n_operations, n_atoms)."""
    cell, fractional = described.cell, described.fractional
    count = len(fractional)
    if len(rotations) == 1:  # the identity
        return np.arange(count)[None]
    permutations = np.empty((len(rotations), count), dtype=np.int64)
    if len(rotations) * count**2 > PAIRS_AT_ONCE:
        unclear = _from_tree(described, rotations, translations, permutations)
    else:
        pairs = SameKind.of(described.numbers)
        moved = fractional @ rotations.transpose(0, 2, 1) + translations[:, None, :]
        squared = squared_distances(moved[:, pairs.first] - fractional[pairs.second], cell)
        near = squared < (NEAR * described.symprec) ** 2
        operation, place = np.nonzero(near)
        image = pairs.first[place]
        if len(image) == permutations.size and np.array_equal(image, np.tile(np.arange(count), len(rotations))):
            return pairs.second[place].reshape(permutations.shape)
        unclear = np.arange(len(rotations))
    different = described.numbers[:, None] != described.numbers
    for operation in unclear:
        moved = fractional @ rotations[operation].T + translations[operation]
        for first in range(0, count, max(PAIRS_AT_ONCE // count, 1)):
            some = slice(first, first + max(PAIRS_AT_ONCE // count, 1))
            squared = squared_distances(moved[some, None, :] - fractional, cell)
            squared[different[some]] = np.inf
            permutations[operation, some] = squared.argmin(axis=1)
    return permutations


def _from_tree(
    described: Description,
    rotations: NDArray[np.float64],
    translations: NDArray[np.float64],
    permutations: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Fill in permutations from a tree of the atoms; gives the operations for which it may not be trusted."""
    from scipy.spatial import cKDTree

    cell, fractional = described.cell, described.fractional
    lengths = np.sqrt(np.einsum("ij,ij->i", cell, cell))
    _, kinds = np.unique(described.numbers, return_inverse=True)
    height = kinds * 2 * lengths.sum()  # kinds of atoms in layers, far from each other along a fourth axis

    def wrapped(positions: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([in_box(positions, lengths), height])

    # Distances along the cell's axes as if these were orthogonal: what is near zero is so in any axes.
    tree = cKDTree(wrapped(fractional), boxsize=[*lengths, 0])
    unclear = []
    for operation, (rotation, translation) in enumerate(zip(rotations, translations, strict=True)):
        moved = fractional @ rotation.T + translation
        permutations[operation] = found = tree.query(wrapped(moved))[1]
        apart = squared_distances(moved - fractional[found], cell).max()
        if apart > (NEAR * described.symprec) ** 2 or np.any(np.bincount(found, minlength=len(found)) != 1):
            unclear.append(operation)
    return np.array(unclear, dtype=np.int64)

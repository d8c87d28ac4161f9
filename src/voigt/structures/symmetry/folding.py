"""Large cells as translations of a primitive cell, in which operations are sought and from which they are unfolded.

A supercell of n primitive cells has n times as many operations as its crystal. Searching for them in the primitive cell
takes no longer for thousands of atoms than for two. The translations are found from the atoms of the rarest kind: one
of them goes to another, and all atoms must follow. Where an atom does not, it is asked first of all further candidates,
so that a defect excludes them at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voigt.structures.cells import short_vectors
from voigt.structures.symmetry.group import lattice_basis
from voigt.structures.symmetry.matching import squared_distances
from voigt.structures.symmetry.places import Places, in_box
from voigt.structures.symmetry.search import Operations
from voigt.structures.symmetry.thresholds import ATTEMPTS, FOLDED, NEARLY_FOLDED, PROBES, SAME


@dataclass(frozen=True)
class Folded:
    """A crystal as copies of the atoms of a smaller cell.

    Attributes
    ----------
    cell
        (3, 3) rows are vectors of the smaller cell, Angstrom.
    fractional, numbers
        (n_sites, 3) positions in it, means over the copies, and (n_sites,) kinds.
    site, image
        (n_atoms,) and (n_atoms, 3) integers: atom a is at fractional[site[a]] + image[a].
    relation
        (3, 3) integers, the cell given is relation @ cell.
    symprec
        Tolerance with which to go on, Angstrom.
    """

    cell: NDArray[np.float64]
    fractional: NDArray[np.float64]
    numbers: NDArray[np.int64]
    site: NDArray[np.int64]
    image: NDArray[np.int64]
    relation: NDArray[np.int64]
    symprec: float


def fold(
    cell: NDArray[np.float64], fractional: NDArray[np.float64], numbers: NDArray[np.int64], symprec: float
) -> Folded | float:
    """The smallest cell whose translations bring every atom onto one of its kind within the tolerance.

    Copies of an atom may be off their mean by a tolerance. If translations nearly hold, those that clearly do are
    taken, and a smaller tolerance for what is sought afterwards: spglib would try many in turn and take minutes.

    Parameters
    ----------
    cell
        (3, 3) rows are lattice vectors, Angstrom.
    fractional, numbers
        (n_atoms, 3) positions and (n_atoms,) kinds of atoms.
    symprec
        Tolerance, Angstrom.

    Returns
    -------
    Folded, or the tolerance with which to go on where there are no translations.
    """
    basis, reduced = short_vectors(cell)
    places = fractional @ np.linalg.inv(basis)
    for limit in (symprec, NEARLY_FOLDED * symprec):
        # The vector from one atom to another is off by both their deviations, and so are the two that are compared.
        vectors, clear = _translations(reduced, places, numbers, 4 * FOLDED * limit)
        if vectors is None and clear:
            return limit
        folded = None if vectors is None else _folded(cell, fractional, numbers, vectors @ basis, limit)
        if folded is not None:
            return folded
    return limit


def unfold(folded: Folded, found: Operations) -> Operations:
    """Operations of the crystal that was folded, from those of the smaller cell: those that keep the larger lattice."""
    relation = folded.relation.astype(np.float64)
    columns = folded.cell.T
    turned: NDArray[np.float64] = np.rint(np.linalg.inv(columns) @ found.rotations @ columns)
    # x' = W x in the smaller cell is y' = y (M W^T M^-1) for rows y in the larger one, M the relation.
    outside = relation @ turned.transpose(0, 2, 1) @ np.linalg.inv(relation)
    whole = np.abs(outside - np.rint(outside)).max(axis=(1, 2)) < 1e-6
    copies = _Copies.of(folded)
    permutations = np.empty((np.count_nonzero(whole), len(folded.site)), dtype=np.int64)
    for row, operation in enumerate(np.flatnonzero(whole)):
        rotation, goes = turned[operation], found.permutations[operation]
        moved = folded.fractional @ rotation.T
        shift = folded.fractional[goes] - moved
        lattice = np.rint(shift[0] - shift).astype(np.int64)  # by which sites are off the translation of the first
        images = folded.image @ rotation.T.astype(np.int64) + lattice[folded.site]
        permutations[row] = copies.find(goes[folded.site], images)
    kinds = found.sites[folded.site]
    _, first, inverse = np.unique(kinds, return_index=True, return_inverse=True)
    return Operations(found.rotations[whole], permutations, first[inverse], found.primitive, found.group)


@dataclass(frozen=True)
class _Copies:
    """Atoms by site and image, the latter up to vectors of the larger cell."""

    adjugate: NDArray[np.int64]
    order: int
    keys: NDArray[np.int64]
    atoms: NDArray[np.int64]

    @classmethod
    def of(cls, folded: Folded) -> _Copies:
        determinant = round(float(np.linalg.det(folded.relation)))
        adjugate = np.rint(np.linalg.inv(folded.relation) * determinant).astype(np.int64)
        empty = cls(adjugate, abs(determinant), np.empty(0, np.int64), np.empty(0, np.int64))
        keys = empty._keys(folded.site, folded.image)
        atoms = np.argsort(keys)
        return cls(adjugate, abs(determinant), keys[atoms], atoms)

    def _keys(self, site: NDArray[np.int64], image: NDArray[np.int64]) -> NDArray[np.int64]:
        """One number for each site and image; that two share one by chance has a probability of 1e-9."""
        rest = (image @ self.adjugate) % self.order  # integers, the same for all images that the larger lattice joins
        weights = np.array([0x1F3D5B79A1C3E5F7, 0x2B4D6F81A3C5E709, 0x351A7C9E0B2D4F63], dtype=np.int64)
        with np.errstate(over="ignore"):
            return rest @ weights + site * np.int64(0x5851F42D4C957F2D)

    def find(self, site: NDArray[np.int64], image: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.atoms[np.searchsorted(self.keys, self._keys(site, image))]


def _translations(
    cell: NDArray[np.float64], places: NDArray[np.float64], numbers: NDArray[np.int64], limit: float
) -> tuple[NDArray[np.float64] | None, bool]:
    """Translations that bring every atom within `limit` of another of its kind.

    Returns
    -------
    vectors, clear
        Basis (rows, in fractions of the cell), None if there are none but those of the cell; false where so many hold
        for most atoms only that the search was given up.
    """
    if math.gcd(*np.unique(numbers, return_counts=True)[1].tolist()) == 1:
        return None, True
    atoms = Places.of(cell, places, numbers)
    rare = atoms.rare()
    candidates = places[rare[1:]] - places[rare[0]]
    candidates = candidates[np.argsort(squared_distances(candidates, cell), kind="stable")]
    for probe in rare[np.unique(np.linspace(0, len(rare) - 1, PROBES).astype(int))].tolist():
        candidates = candidates[atoms.land(places[probe] + candidates, numbers[probe], limit)[0]]
    basis, scale = np.eye(3, dtype=np.int64), 1  # of the lattice found so far, in parts of the cell
    failed = 0
    while len(candidates):
        if failed > ATTEMPTS:
            return None, False
        vector, candidates = candidates[0], candidates[1:]
        good, target = atoms.land(places + vector, numbers, limit)
        if not good.all():
            failed += 1
            # Whether the atom that does not land, or the one where it would, is out of place: both are asked next.
            lost = int(np.flatnonzero(~good)[0])
            for probe in (lost, int(target[lost])):
                candidates = candidates[atoms.land(places[probe] + candidates, numbers[probe], limit)[0]]
            continue
        order = _cycle(target)
        if order == 0:
            failed += 1
            continue
        # Order times the vector is a lattice vector: rounding removes the noise.
        parts = np.rint(order * vector).astype(np.int64)
        common = math.lcm(scale, order)
        rows = [*(basis * (common // scale)).tolist(), (parts * (common // order)).tolist()]
        basis, scale = lattice_basis(rows), common
        steps, small = short_vectors(basis @ cell / scale)  # in long vectors noise is not small
        inside = candidates @ np.linalg.inv(steps @ basis / scale)
        candidates = candidates[squared_distances(inside, small) > SAME**2]
    return (None if scale == 1 else basis / scale), True


def _cycle(target: NDArray[np.int64]) -> int:
    """How often a permutation must be applied to bring the first atom back; 0 if it is none."""
    if np.any(np.bincount(target, minlength=len(target)) != 1):
        return 0
    atom, steps = int(target[0]), 1
    while atom:
        atom, steps = int(target[atom]), steps + 1
    return steps


def _folded(
    cell: NDArray[np.float64],
    fractional: NDArray[np.float64],
    numbers: NDArray[np.int64],
    vectors: NDArray[np.float64],
    symprec: float,
) -> Folded | None:
    """Atoms gathered in the cell of `vectors` (fractions of the cell given); None if they do not meet there."""
    basis, small = short_vectors(vectors @ cell)
    inverse = np.linalg.inv(basis @ vectors)
    relation = np.rint(inverse).astype(np.int64)
    count = abs(round(float(np.linalg.det(inverse))))
    if np.abs(inverse - relation).max() > 1e-6 or len(numbers) % count:
        return None
    places = fractional @ inverse
    atoms = Places.of(small, places, numbers)
    boxed = in_box(places, atoms.lengths)
    site = np.full(len(numbers), -1)
    means: list[NDArray[np.float64]] = []
    for atom in range(len(numbers)):
        if site[atom] >= 0:
            continue
        # Along the oblique axes of a reduced cell a vector is at most some times as long.
        near = np.array(atoms.tree.query_ball_point(boxed[atom], 8 * symprec), dtype=np.int64)
        if len(near) != count or np.any(numbers[near] != numbers[atom]) or np.any(site[near] >= 0):
            return None
        apart = places[near] - places[atom]
        apart -= np.rint(apart)
        if squared_distances(apart - apart.mean(axis=0), small).max() > (FOLDED * symprec) ** 2:
            return None
        site[near] = len(means)
        means.append(places[atom] + apart.mean(axis=0))
    mean = np.array(means)
    image = np.rint(places - mean[site]).astype(np.int64)
    kinds = numbers[np.unique(site, return_index=True)[1]]
    return Folded(small, mean, kinds, site, image, relation, symprec)

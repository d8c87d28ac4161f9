"""Which atom goes where: candidates for operations, compared with the atoms of a crystal many at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voigt.structures.symmetry.group import products
from voigt.structures.symmetry.thresholds import ACCEPT, FEW, REJECT


@dataclass(frozen=True)
class SameKind:
    """Atoms of one kind in pairs (first, second), sorted by the first, and the number of atoms of each atom's kind."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, numbers: NDArray[np.int64]) -> SameKind:
        same = numbers[:, None] == numbers
        first, second = np.nonzero(same)
        return cls(first, second, np.count_nonzero(same, axis=1))

    def others(self, atom: int) -> NDArray[np.int64]:
        """Atoms of the kind of one atom, itself among them."""
        others: NDArray[np.int64] = self.second[self.first == atom]
        return others


@dataclass(frozen=True)
class Crystal:
    """Cell (rows) and fractional positions about the first atom of the rarest kind.

    That atom is the origin, so that the translation t of an operation x' = W x + t is the place to which it goes: one
    of the atoms of its kind, and these are as few as can be.
    """

    cell: NDArray[np.float64]
    fractional: NDArray[np.float64]
    pairs: SameKind
    rare: int
    limit: int  # of comparisons in one go

    @classmethod
    def of(
        cls, cell: NDArray[np.float64], fractional: NDArray[np.float64], numbers: NDArray[np.int64], limit: int
    ) -> Crystal:
        pairs = SameKind.of(numbers)
        rare = int(pairs.counts.argmin())
        return cls(cell, fractional - fractional[rare], pairs, rare, limit)


@dataclass(frozen=True)
class Candidates:
    """Operations x' = W x + t about the rare atom that may hold, W = rotations[chosen]; the identity is the first."""

    rotations: NDArray[np.int64]
    chosen: NDArray[np.int64]
    shifts: NDArray[np.float64]

    def among(self, wanted: NDArray[np.bool_]) -> Candidates:
        return Candidates(self.rotations, self.chosen[wanted], self.shifts[wanted])


@dataclass(frozen=True)
class Found:
    """Operations x' = W x + t of a crystal about its rare atom, with permutations."""

    rotations: NDArray[np.int64]
    shifts: NDArray[np.float64]
    permutations: NDArray[np.int64]


def squared_distances(vectors: NDArray[np.float64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared lengths of fractional vectors (..., 3), each made short by lattice vectors: exact for those near zero."""
    cartesian = (vectors - np.rint(vectors)) @ cell
    squared: NDArray[np.float64] = np.einsum("...i,...i->...", cartesian, cartesian)
    return squared


def too_close(crystal: Crystal, symprec: float) -> bool:
    """Whether two atoms of one kind could be taken for each other.

    Images within REJECT tolerances of each of two atoms are possible only if these are within twice that.
    """
    pairs = crystal.pairs
    squared = squared_distances(crystal.fractional[pairs.first] - crystal.fractional[pairs.second], crystal.cell)
    # Each atom is near itself: more pairs than atoms are two atoms near each other.
    return int(np.count_nonzero(squared < (2 * REJECT * symprec) ** 2)) > len(crystal.fractional)


def first_candidates(crystal: Crystal, lattice: NDArray[np.int64], symprec: float) -> Candidates | None:
    """Operations with rotations from a group that hold for the rare atom and another; None if there are too many."""
    place, pairs = crystal.fractional, crystal.pairs
    # The rare atom, at the origin, goes to one of its kind: every rotation with every one of these places.
    targets = pairs.others(crystal.rare)
    found = Candidates(
        lattice, np.repeat(np.arange(len(lattice)), len(targets)), np.tile(place[targets], (len(lattice), 1))
    )
    if len(place) == 1:
        return found
    # One more atom, the next in scarcity because it has the fewest places to go to, leaves few of these.
    scarcity = pairs.counts.copy()
    scarcity[crystal.rare] = len(place) + 1
    probe = int(scarcity.argmin())
    partners = place[pairs.others(probe)]
    if len(found.chosen) * len(partners) > crystal.limit:
        return None
    moved = (lattice @ place[probe])[found.chosen] + found.shifts
    squared = squared_distances(moved[:, None] - partners, crystal.cell)
    return found.among(squared.min(axis=1) < (REJECT * symprec) ** 2)


def confirmed(crystal: Crystal, candidates: Candidates, symprec: float) -> Found | None:
    """Those operations that hold for all atoms; None where the tolerance decides or atoms are too many."""
    pairs = crystal.pairs
    if len(candidates.chosen) * len(pairs.first) > FEW:
        # Too many pairs for one go: twice as many atoms at a time, the most numerous kind first (it excludes most). As
        # soon as what is left is a group, generators are enough.
        order, tested, tried = np.argsort(-pairs.counts, kind="stable"), 1, 0
        while tested < len(order):
            wanted = np.zeros(len(order), dtype=bool)
            wanted[order[tested // 2 : tested]] = True
            some = wanted[pairs.first]
            if len(candidates.chosen) * np.count_nonzero(some) > crystal.limit:
                return None
            near = _squared(crystal, candidates, some) < (REJECT * symprec) ** 2
            candidates = candidates.among(np.count_nonzero(near, axis=1) == np.count_nonzero(wanted))
            left = len(candidates.chosen)
            found = _by_generators(crystal, candidates, symprec) if left != tried else None
            if found is not None:
                return found
            tested, tried = 2 * tested, left
    if len(candidates.chosen) * len(pairs.first) > crystal.limit:
        return None
    matched = _matched(crystal, candidates, symprec)
    if matched is None:
        return None
    kept = candidates.among(matched[0])
    return Found(kept.rotations[kept.chosen], kept.shifts, matched[1])


def _squared(
    crystal: Crystal, candidates: Candidates, some: slice | NDArray[np.bool_] = slice(None)
) -> NDArray[np.float64]:
    """Squared distances (n_candidates, n_pairs) of moved atoms from those of their kind, for some of the pairs."""
    place, first, second = crystal.fractional, crystal.pairs.first[some], crystal.pairs.second[some]
    # Rotated once for each W, however many candidates share it.
    moved = place[first] @ candidates.rotations.transpose(0, 2, 1)
    return squared_distances(moved[candidates.chosen] + candidates.shifts[:, None] - place[second], crystal.cell)


def _matched(
    crystal: Crystal, candidates: Candidates, symprec: float
) -> tuple[NDArray[np.bool_], NDArray[np.int64]] | None:
    """Which candidates hold for all atoms, and the permutations of those; None where that is unclear."""
    squared = _squared(crystal, candidates)
    near = squared < (REJECT * symprec) ** 2
    # Atoms of one kind are too far apart for two of them to be near to one place: as many hits as atoms is one each.
    covered = np.count_nonzero(near, axis=1) == len(crystal.fractional)
    hits = near[covered]
    # A hit between ACCEPT and REJECT might be one for spglib, or might not: then so might the operation.
    if np.any(squared[covered][hits] > (ACCEPT * symprec) ** 2):
        return None
    # Hits are in the order of the pairs, which are sorted by the atom that moves.
    return covered, crystal.pairs.second[np.nonzero(hits)[1]].reshape(-1, len(crystal.fractional))


def _by_generators(crystal: Crystal, candidates: Candidates, symprec: float) -> Found | None:
    """All these operations if they form a group and hold, their permutations made from few; None if not."""
    chosen, shifts = candidates.chosen, candidates.shifts
    if len(chosen) == 0 or len(candidates.rotations) % len(chosen) or np.any(chosen[1:] == chosen[:-1]):
        return None  # two operations with one rotation, or no group: its order divides that of the whole (Lagrange)
    place, rotations = crystal.fractional, candidates.rotations[chosen]
    made_of = products(rotations.astype(np.int8).tobytes())
    if made_of is None:
        return None
    few = Candidates(candidates.rotations, chosen[made_of.generators], shifts[made_of.generators])
    if len(few.chosen) * len(crystal.pairs.first) > crystal.limit:
        return None
    matched = _matched(crystal, few, symprec)
    if matched is None or not matched[0].all():
        return None
    # g h moves atom a to where g moves the image of a under h: the permutations of a step come from earlier ones.
    permutations = np.empty((len(rotations), len(place)), dtype=np.int64)
    permutations[0] = np.arange(len(place))
    for made, left, right in made_of.steps:
        permutations[made] = matched[1][left[:, None], permutations[right]]
    # Errors add up in products: each operation, with its own translation, must hold for each atom.
    moved = place @ rotations.transpose(0, 2, 1) + shifts[:, None]
    if squared_distances(moved - place[permutations], crystal.cell).max() > (ACCEPT * symprec) ** 2:
        return None
    return Found(rotations, shifts, permutations)

"""Space-group operations of crystals, found directly where spglib is slow, and which atom goes where.

spglib takes long for small cells of high symmetry such as rock salt, because it goes on to tables of sites. Here
operations are sought with few array operations: point operations of the reduced lattice, translations from the rarest
kind of atoms, then all atoms. What counts as equal is as in spglib (Togo, Shinohara and Tanaka, Sci. Technol. Adv.
Mater. Meth. 4, 2384822 (2024)): lengths and distances within symprec. Whatever is nearer to that limit than
the factors below is left to spglib, whose answer there depends on the order in which it goes through the atoms and on
how it retreats to smaller tolerances.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import spglib
from numpy.typing import NDArray

from voigt.structures.symmetry.lattices import find_operations, is_group

EQUAL = 0.5
"""Lengths in a lattice that differ by less than this many tolerances are equal."""

ACCEPT = 0.25
"""Atoms less than this many tolerances apart are at one place. spglib, which measures from other atoms, keeps only
some of the operations of long and thin cells from 0.3 on, which ones depending on the order of the atoms."""

REJECT = 4.0
"""What differs by more than this many tolerances is not equal. In between spglib decides."""

LOWEST_ORDER = 8
"""Order of the point group of a lattice below which spglib is as quick."""

COMPARISONS = 2_500
"""Pairs of atoms compared in one go, for each operation of the lattice; spglib is as quick where there are more."""

MANY = 1_000
"""Atoms above which spglib is as quick."""

FEW = 4_000
"""Pairs of atoms, over all operations, up to which generators save nothing."""

REDUCTION = 1e-5
"""Tolerance of the lattice reduction, relative to squared lengths."""

_VECTORS: NDArray[np.float64] = np.array([v for v in np.ndindex(3, 3, 3) if v != (1, 1, 1)], dtype=np.float64) - 1


@dataclass(frozen=True)
class SpaceGroup:
    """Number and short symbol of a space group in the International Tables, and its point group."""

    number: int
    international: str
    point_group: str


@dataclass(frozen=True)
class Operations:
    """Operations of a crystal.

    Attributes
    ----------
    rotations
        (n_operations, 3, 3) Cartesian, orthogonal as far as the lattice meets its symmetry; the identity first.
    permutations
        (n_operations, n_atoms): operation g maps atom a onto atom permutations[g, a].
    primitive
        (3, 3) rows are vectors of a reduced primitive cell, Angstrom.
    group
        Space group. Its rotations need not all keep the lattice of a supercell.
    """

    rotations: NDArray[np.float64]
    permutations: NDArray[np.int64]
    primitive: NDArray[np.float64]
    group: SpaceGroup


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
class _Crystal:
    """Cell (rows) and fractional positions about the first atom of the rarest kind."""

    cell: NDArray[np.float64]
    fractional: NDArray[np.float64]
    pairs: SameKind
    rare: int
    limit: int  # of comparisons in one go

    @classmethod
    def of(
        cls, cell: NDArray[np.float64], fractional: NDArray[np.float64], numbers: NDArray[np.int64], limit: int
    ) -> _Crystal:
        pairs = SameKind.of(numbers)
        rare = int(pairs.counts.argmin())
        return cls(cell, fractional - fractional[rare], pairs, rare, limit)


@dataclass(frozen=True)
class _Candidates:
    """Operations x' = W x + t about the rare atom that may hold, W = rotations[chosen]; the identity is the first."""

    rotations: NDArray[np.int64]
    chosen: NDArray[np.int64]
    shifts: NDArray[np.float64]

    def among(self, wanted: NDArray[np.bool_]) -> _Candidates:
        return _Candidates(self.rotations, self.chosen[wanted], self.shifts[wanted])


@dataclass(frozen=True)
class _Found:
    """Operations x' = W x + t of a crystal about its rare atom, with permutations."""

    rotations: NDArray[np.int64]
    shifts: NDArray[np.float64]
    permutations: NDArray[np.int64]


def search_operations(
    cell: NDArray[np.float64], fractional: NDArray[np.float64], numbers: NDArray[np.int64], symprec: float
) -> Operations | None:
    """Operations of a crystal, None where spglib is as quick or should decide.

    Parameters
    ----------
    cell
        (3, 3) rows are lattice vectors, Angstrom; not singular.
    fractional, numbers
        (n_atoms, 3) positions and (n_atoms,) kinds of atoms.
    symprec
        Tolerance, Angstrom.
    """
    if len(numbers) > MANY:
        return None
    basis = _reduction(cell, symprec)
    if basis is None:
        return None
    reduced = basis @ cell
    lattice = lattice_rotations(reduced, symprec)
    if lattice is None:
        return None
    crystal = _Crystal.of(reduced, fractional @ np.linalg.inv(basis), numbers, COMPARISONS * len(lattice))
    candidates = _candidates(crystal, lattice, symprec)
    if candidates is None or _too_close(crystal, symprec):
        return None
    if np.count_nonzero(candidates.chosen == 0) == 1:
        return _named_operations(crystal, _confirmed(crystal, candidates, symprec))
    translations = _confirmed(crystal, candidates.among(candidates.chosen == 0), symprec)
    if translations is not None and len(translations.shifts) > 1:
        return _with_translations(crystal, translations, numbers, symprec)
    return None if translations is None else _named_operations(crystal, _confirmed(crystal, candidates, symprec))


def _named_operations(crystal: _Crystal, found: _Found | None) -> Operations | None:
    group = None if found is None else _space_group(found)
    if found is None or group is None:
        return None
    return Operations(_cartesian(found.rotations, crystal.cell), found.permutations, crystal.cell, group)


def _cartesian(rotations: NDArray[np.int64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    turned: NDArray[np.float64] = cell.T @ rotations @ np.linalg.inv(cell.T)
    return turned


def _with_translations(
    crystal: _Crystal, translations: _Found, numbers: NDArray[np.int64], symprec: float
) -> Operations | None:
    """Operations of a crystal with translations inside its cell, from those of its primitive cell."""
    count = len(translations.shifts)
    exact = count * translations.shifts
    parts = np.rint(exact)
    vectors = lattice_basis([*(count * np.eye(3, dtype=int)).tolist(), *parts.astype(int).tolist()]) / count
    fits = np.abs(exact - parts).max() < 0.25 and round(abs(float(np.linalg.det(vectors))) * count, 6) == 1
    further = _reduction(vectors @ crystal.cell, symprec) if fits else None
    basis = vectors if further is None else further @ vectors
    inner = None if further is None else lattice_rotations(basis @ crystal.cell, symprec)
    if inner is None:
        return None
    kept = np.unique(translations.permutations.min(axis=0))
    back = np.linalg.inv(basis)
    limit = COMPARISONS * len(inner)
    primitive = _Crystal.of(basis @ crystal.cell, crystal.fractional[kept] @ back, numbers[kept], limit)
    candidates = _candidates(primitive, inner, symprec)
    if len(kept) * count != len(numbers) or candidates is None:
        return None
    found = _confirmed(primitive, candidates, symprec)
    named = _named_operations(primitive, found)
    if found is None or named is None:
        return None
    # Both crystals have their origin at the same atom. Rotations that do not keep the larger lattice are left out.
    turned = basis.T @ found.rotations @ back.T
    whole = np.abs(turned - np.rint(turned)).max(axis=(1, 2)) < 1e-6
    rotations = np.rint(turned[whole]).astype(np.int64)
    kept_operations = _Candidates(rotations, np.arange(len(rotations)), found.shifts[whole] @ basis)
    everywhere = _confirmed(replace(crystal, limit=limit * count), kept_operations, symprec)
    if everywhere is None or len(everywhere.shifts) != len(rotations):
        return None
    permutations = translations.permutations[:, everywhere.permutations].reshape(-1, len(numbers))
    turned = np.tile(_cartesian(rotations, crystal.cell), (count, 1, 1))
    return Operations(turned, permutations, primitive.cell, named.group)


def lattice_basis(vectors: list[list[int]]) -> NDArray[np.int64]:
    """Three vectors, a triangular matrix of rows, of which all the given ones are integer combinations."""
    rows = [list(vector) for vector in vectors]
    basis = []
    for column in range(3):
        filled = [row for row in rows if row[column]]
        while len(filled) > 1:
            filled.sort(key=lambda row, column=column: abs(row[column]))  # type: ignore[misc]
            first = filled[0]
            for row in filled[1:]:
                times = row[column] // first[column]
                row[:] = [a - times * b for a, b in zip(row, first, strict=True)]
            filled = [row for row in filled if row[column]]
        basis.append(filled[0])
        rows = [row for row in rows if row is not filled[0]]
    return np.array(basis, dtype=np.int64)


def _reduction(cell: NDArray[np.float64], symprec: float) -> NDArray[np.float64] | None:
    """Integer T such that T @ cell is Niggli-reduced and right-handed; None if the cell is too thin."""
    volume = abs(float(np.linalg.det(cell)))
    try:
        reduced = spglib.niggli_reduce(cell, eps=REDUCTION * volume ** (2 / 3))
    except spglib.SpglibError:  # raised instead of returning None once phonopy has been imported
        reduced = None
    if reduced is None:
        return None
    longest = float(np.square(reduced).sum(axis=1).max())
    if volume < 20 * REJECT * symprec * longest:
        return None
    exact = reduced @ np.linalg.inv(cell)
    basis: NDArray[np.float64] = np.rint(exact)
    if np.abs(exact - basis).max() > 0.1:
        return None
    # Which of two enantiomorphic groups it is shows in a right-handed cell only.
    return basis if np.linalg.det(reduced) > 0 else -basis


def lattice_rotations(reduced: NDArray[np.float64], symprec: float) -> NDArray[np.int64] | None:
    """Integer W (n, 3, 3), x' = W x, that keep a reduced lattice (rows); None if few, or if the tolerance decides."""
    gram = reduced @ reduced.T
    own = np.sqrt(gram.diagonal())
    products = _VECTORS @ gram @ _VECTORS.T
    lengths = np.sqrt(products.diagonal())
    stretched = np.abs(lengths - own[:, None])  # (3, 26)
    cosines = products / (lengths * lengths[:, None])
    # Of two vectors: an angle off by d moves their ends by about d times the length.
    one, other = [0, 0, 1], [1, 2, 2]
    scale = own[one] * own[other]
    wanted = gram[one, other] / scale
    bent = np.abs(cosines - wanted[:, None, None]) * np.sqrt(scale / (1 - wanted**2))[:, None, None]
    missed = np.maximum(bent, np.maximum(stretched[one][:, :, None], stretched[other][:, None, :]))  # (3, 26, 26)
    near = missed < REJECT * symprec
    # The images of two axes leave two for the third, one of either hand.
    if 2 * np.count_nonzero(near, axis=(1, 2)).min() < LOWEST_ORDER:
        return None
    x, y, z = np.nonzero(near[0][:, :, None] & near[1][:, None, :] & near[2])
    if len(x) < LOWEST_ORDER:
        return None
    if max(missed[0, x, y].max(), missed[1, x, z].max(), missed[2, y, z].max()) > EQUAL * symprec:
        return None
    return _sorted_group(_VECTORS[np.stack([x, y, z], axis=-1)].astype(np.int8).tobytes())


@lru_cache(maxsize=1024)
def _sorted_group(rows: bytes) -> NDArray[np.int64] | None:
    """Integer matrices from the images of the axes, the identity first; None if they form no group."""
    rotations = np.frombuffer(rows, dtype=np.int8).reshape(-1, 3, 3).transpose(0, 2, 1).astype(np.int64)
    if not is_group(rotations):
        return None
    moved = np.any(rotations != np.eye(3, dtype=np.int64), axis=(1, 2))
    ordered = rotations[np.argsort(moved, kind="stable")]
    ordered.setflags(write=False)
    return ordered


def squared_distances(vectors: NDArray[np.float64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared lengths of fractional vectors (..., 3), each made short by lattice vectors: exact for those near zero."""
    cartesian = (vectors - np.rint(vectors)) @ cell
    squared: NDArray[np.float64] = np.einsum("...i,...i->...", cartesian, cartesian)
    return squared


def _too_close(crystal: _Crystal, symprec: float) -> bool:
    """Whether two atoms of one kind could be taken for each other."""
    pairs = crystal.pairs
    squared = squared_distances(crystal.fractional[pairs.first] - crystal.fractional[pairs.second], crystal.cell)
    return int(np.count_nonzero(squared < (2 * REJECT * symprec) ** 2)) > len(crystal.fractional)


def _candidates(crystal: _Crystal, lattice: NDArray[np.int64], symprec: float) -> _Candidates | None:
    """Operations with rotations from a group that hold for the rare atom and another; None if there are too many."""
    place, pairs = crystal.fractional, crystal.pairs
    targets = pairs.others(crystal.rare)
    found = _Candidates(
        lattice, np.repeat(np.arange(len(lattice)), len(targets)), np.tile(place[targets], (len(lattice), 1))
    )
    if len(place) == 1:
        return found
    # The rare atom goes to one of its kind by construction. Does the next in scarcity?
    scarcity = pairs.counts.copy()
    scarcity[crystal.rare] = len(place) + 1
    probe = int(scarcity.argmin())
    partners = place[pairs.others(probe)]
    if len(found.chosen) * len(partners) > crystal.limit:
        return None
    moved = (lattice @ place[probe])[found.chosen] + found.shifts
    squared = squared_distances(moved[:, None] - partners, crystal.cell)
    return found.among(squared.min(axis=1) < (REJECT * symprec) ** 2)


def _confirmed(crystal: _Crystal, candidates: _Candidates, symprec: float) -> _Found | None:
    """Those operations that hold for all atoms; None where the tolerance decides or atoms are too many."""
    pairs = crystal.pairs
    if len(candidates.chosen) * len(pairs.first) > FEW:
        # Twice as many atoms at a time, the most numerous kind first, until what is left is a group.
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
    return _Found(kept.rotations[kept.chosen], kept.shifts, matched[1])


def _squared(
    crystal: _Crystal, candidates: _Candidates, some: slice | NDArray[np.bool_] = slice(None)
) -> NDArray[np.float64]:
    """Squared distances (n_candidates, n_pairs) of moved atoms from those of their kind, for some of the pairs."""
    place, first, second = crystal.fractional, crystal.pairs.first[some], crystal.pairs.second[some]
    moved = place[first] @ candidates.rotations.transpose(0, 2, 1)
    return squared_distances(moved[candidates.chosen] + candidates.shifts[:, None] - place[second], crystal.cell)


def _matched(
    crystal: _Crystal, candidates: _Candidates, symprec: float
) -> tuple[NDArray[np.bool_], NDArray[np.int64]] | None:
    """Which candidates hold for all atoms, and the permutations of those; None where that is unclear."""
    squared = _squared(crystal, candidates)
    near = squared < (REJECT * symprec) ** 2
    # Atoms of one kind are too far apart for two of them to be near to one place.
    covered = np.count_nonzero(near, axis=1) == len(crystal.fractional)
    hits = near[covered]
    if np.any(squared[covered][hits] > (ACCEPT * symprec) ** 2):
        return None
    return covered, crystal.pairs.second[np.nonzero(hits)[1]].reshape(-1, len(crystal.fractional))


def _by_generators(crystal: _Crystal, candidates: _Candidates, symprec: float) -> _Found | None:
    """All these operations if they form a group and hold, their permutations made from few; None if not."""
    chosen, shifts = candidates.chosen, candidates.shifts
    if len(chosen) == 0 or len(candidates.rotations) % len(chosen) or np.any(chosen[1:] == chosen[:-1]):
        return None  # more than one operation for a rotation, or no group (Lagrange)
    place, rotations = crystal.fractional, candidates.rotations[chosen]
    steps = _products(rotations.astype(np.int8).tobytes())
    if steps is None:
        return None
    few = _Candidates(candidates.rotations, chosen[steps.generators], shifts[steps.generators])
    if len(few.chosen) * len(crystal.pairs.first) > crystal.limit:
        return None
    matched = _matched(crystal, few, symprec)
    if matched is None or not matched[0].all():
        return None
    permutations = np.empty((len(rotations), len(place)), dtype=np.int64)
    permutations[0] = np.arange(len(place))
    for made, left, right in steps.steps:
        permutations[made] = matched[1][left[:, None], permutations[right]]
    moved = place @ rotations.transpose(0, 2, 1) + shifts[:, None]
    if squared_distances(moved - place[permutations], crystal.cell).max() > (ACCEPT * symprec) ** 2:
        return None
    return _Found(rotations, shifts, permutations)


@dataclass(frozen=True)
class _Products:
    """How all elements of a group (the identity first) are made: steps of element = generator times element."""

    generators: NDArray[np.int64]
    steps: tuple[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], ...]


@lru_cache(maxsize=1024)
def _table(rotation_bytes: bytes) -> NDArray[np.int64] | None:
    """Place of each product g h in a group of distinct integer matrices, the identity first; None if it is none."""
    rotations = np.frombuffer(rotation_bytes, dtype=np.int8).reshape(-1, 3, 3).astype(np.int64)
    table = find_operations(rotations, (rotations[:, None] @ rotations).reshape(-1, 3, 3))
    table = table.reshape(len(rotations), len(rotations))
    is_one = np.array_equal(np.sort(table, axis=1), np.tile(np.arange(len(table)), (len(table), 1)))
    return table if is_one and np.array_equal(rotations[0], np.eye(3)) else None


@lru_cache(maxsize=1024)
def _products(rotation_bytes: bytes) -> _Products | None:
    """Few elements of a group of matrices and how all others are made from them; None if it is no group."""
    table = _table(rotation_bytes)
    if table is None:
        return None
    generators, reached = list[int](), {0}
    while len(reached) < len(table):
        # The element that makes the largest group with those so far.
        groups = {new: _closure(table, [*generators, new]) for new in set(range(len(table))) - reached}
        generators.append(max(groups, key=lambda new: len(groups[new])))
        reached = groups[generators[-1]]
    steps, known, last = [], {0}, [0]
    while last:
        made: dict[int, tuple[int, int]] = {}
        for right in last:
            for left, generator in enumerate(generators):
                product = int(table[generator, right])
                if product not in known:
                    known.add(product)
                    made[product] = (left, right)
        last = list(made)
        if made:
            lefts, rights = zip(*made.values(), strict=True)
            steps.append((np.array(last), np.array(lefts), np.array(rights)))
    return _Products(np.array(generators, dtype=np.int64), tuple(steps))


def _closure(table: NDArray[np.int64], generators: list[int]) -> set[int]:
    reached = last = {0}
    while last:
        last = set(table[np.ix_(generators, list(last))].ravel().tolist()) - reached
        reached = reached | last
    return reached


def _space_group(found: _Found) -> SpaceGroup | None:
    """Space group of the operations of a right-handed primitive cell; None if they are none."""
    order = len(found.rotations)
    shifts = found.shifts - np.floor(found.shifts + 0.01)
    # The sum of t_WV = t_W + W t_V over V: about the mean of all t every translation is a multiple of 1 / order.
    mean = shifts.mean(axis=0)
    exact = order * (shifts + found.rotations @ mean - mean)
    parts = np.rint(exact)
    if np.abs(exact - parts).max() > 0.25:
        return None
    return _named(found.rotations.astype(np.int8).tobytes(), (parts % order).astype(np.int8).tobytes())


@lru_cache(maxsize=16384)
def _named(rotation_bytes: bytes, part_bytes: bytes) -> SpaceGroup | None:
    """Space group with integer rotations W and translations in parts of 1 / order; None if these are no group."""
    rotations = np.frombuffer(rotation_bytes, dtype=np.int8).reshape(-1, 3, 3).astype(np.int64)
    parts = np.frombuffer(part_bytes, dtype=np.int8).reshape(-1, 3).astype(np.int64)
    table, order = _table(rotation_bytes), len(rotations)
    if table is None:
        return None
    follow = (rotations @ parts.T).transpose(0, 2, 1) + parts[:, None]  # W t_V + t_W
    if np.any((follow - parts[table]) % order):
        return None
    # Any lattice that has these rotations will do: the mean of W.T W is the metric of one.
    lattice = np.linalg.cholesky((rotations.transpose(0, 2, 1) @ rotations).mean(axis=0))
    try:
        found = spglib.get_spacegroup_type_from_symmetry(rotations, parts / order, lattice, 1e-5)
    except spglib.SpglibError:  # raised instead of returning None once phonopy has been imported
        found = None
    names = None if found is None else (found.number, found.international_short, found.pointgroup_international)
    return None if names is None else SpaceGroup(*names)

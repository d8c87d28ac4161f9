"""Space-group operations of crystals, found directly where spglib is slow, and which atom goes where.

spglib takes long for small cells of high symmetry such as rock salt, because it goes on to tables of sites. Here
operations are sought with few array operations: point operations of the reduced lattice, translations from the rarest
kind of atoms, then all atoms. What counts as equal is as in spglib (Togo, Shinohara and Tanaka, Sci. Technol. Adv.
Mater. Meth. 4, 2384822 (2024)): lengths and distances within symprec. Whatever is nearer to that limit than
the factors in `symmetry.thresholds` is left to spglib, whose answer there depends on the order in which it goes through
the atoms and on how it retreats to smaller tolerances. The idea on one page: docs/reports/operations.md.

Conventions: x' = W x + t for columns x of fractional coordinates, W integer; cells are rows of lattice vectors, so that
positions are r = x @ cell and the Cartesian rotation is cell.T W cell.T^-1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import spglib
from numpy.typing import NDArray

from voigt.structures.symmetry.group import lattice_basis, sorted_group
from voigt.structures.symmetry.matching import Candidates, Crystal, Found, confirmed, first_candidates, too_close
from voigt.structures.symmetry.naming import SpaceGroup, space_group
from voigt.structures.symmetry.spglib_answers import answer
from voigt.structures.symmetry.thresholds import COMPARISONS, EQUAL, LOWEST_ORDER, REDUCTION, REJECT

_VECTORS: NDArray[np.float64] = np.array([v for v in np.ndindex(3, 3, 3) if v != (1, 1, 1)], dtype=np.float64) - 1


@dataclass(frozen=True)
class Operations:
    """Operations of a crystal, those that differ by a translation inside the cell represented by one of them.

    Attributes
    ----------
    rotations
        (n_operations, 3, 3) Cartesian, orthogonal as far as the lattice meets its symmetry; the identity first.
    permutations
        (n_operations, n_atoms): operation g maps atom a onto atom permutations[g, a].
    sites
        (n_atoms,) lowest index of the atoms that translations inside the cell map onto each atom.
    primitive
        (3, 3) rows are vectors of a reduced primitive cell, Angstrom.
    group
        Space group. Its rotations need not all keep the lattice of a supercell.
    """

    rotations: NDArray[np.float64]
    permutations: NDArray[np.int64]
    sites: NDArray[np.int64]
    primitive: NDArray[np.float64]
    group: SpaceGroup


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
    # 1. A reduced cell: in it the operations of the lattice map each edge to one of 26 short vectors.
    basis = _reduction(cell, symprec)
    if basis is None:
        return None
    reduced = basis @ cell
    # 2. The point group of the lattice. Rotations of the crystal are among its elements.
    lattice = lattice_rotations(reduced, symprec)
    if lattice is None:
        return None
    # 3. Candidates: the rarest atom must go to one of its kind, which gives the translations; a second atom thins them.
    crystal = Crystal.of(reduced, fractional @ np.linalg.inv(basis), numbers, COMPARISONS * len(lattice))
    candidates = first_candidates(crystal, lattice, symprec)
    if candidates is None or too_close(crystal, symprec):
        return None
    # 4. All atoms. If the identity has one candidate, which is no translation, the cell is primitive.
    if np.count_nonzero(candidates.chosen == 0) == 1:
        return _named_operations(crystal, confirmed(crystal, candidates, symprec))
    # 5. Else the candidates with the identity that hold for all atoms are the translations inside the cell.
    translations = confirmed(crystal, candidates.among(candidates.chosen == 0), symprec)
    if translations is not None and len(translations.shifts) > 1:
        return _with_translations(crystal, translations, numbers, symprec)
    return None if translations is None else _named_operations(crystal, confirmed(crystal, candidates, symprec))


def _named_operations(crystal: Crystal, found: Found | None) -> Operations | None:
    """The operations of a primitive cell with the name of their group; None if that has none."""
    group = None if found is None else space_group(found.rotations, found.shifts)
    if found is None or group is None:
        return None
    sites = np.arange(len(crystal.fractional))
    return Operations(_cartesian(found.rotations, crystal.cell), found.permutations, sites, crystal.cell, group)


def _cartesian(rotations: NDArray[np.int64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of integer rotations in the axes of a cell (rows)."""
    turned: NDArray[np.float64] = cell.T @ rotations @ np.linalg.inv(cell.T)
    return turned


def _with_translations(
    crystal: Crystal, translations: Found, numbers: NDArray[np.int64], symprec: float
) -> Operations | None:
    """Operations of a crystal with translations inside its cell, from those of its primitive cell.

    There are (translations) times (operations of the primitive cell) of them: the two factors are sought and given.
    """
    # The primitive lattice. k translations form a group of order k, so that k t is a lattice vector for each of them,
    # and rounding k t to integers removes the noise. Translations and axes together span the primitive lattice (here
    # times k, to have integers), in whose cell 1 / k of the volume must be left.
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
    # Of atoms that translations map onto each other the first one stands for all.
    sites = translations.permutations.min(axis=0)
    kept = np.unique(sites)
    back = np.linalg.inv(basis)
    limit = COMPARISONS * len(inner)
    primitive = Crystal.of(basis @ crystal.cell, crystal.fractional[kept] @ back, numbers[kept], limit)
    candidates = first_candidates(primitive, inner, symprec)
    if len(kept) * count != len(numbers) or candidates is None:
        return None
    found = confirmed(primitive, candidates, symprec)
    named = _named_operations(primitive, found)
    if found is None or named is None:
        return None
    # Back to the axes of the larger cell, W' = B.T W B.T^-1. Rotations that do not keep the larger lattice (a fourfold
    # axis in a 2 x 1 x 1 supercell) are no integers there and are left out. Both have their origin at the same atom.
    turned = basis.T @ found.rotations @ back.T
    whole = np.abs(turned - np.rint(turned)).max(axis=(1, 2)) < 1e-6
    rotations = np.rint(turned[whole]).astype(np.int64)
    kept_operations = Candidates(rotations, np.arange(len(rotations)), found.shifts[whole] @ basis)
    everywhere = confirmed(replace(crystal, limit=limit * count), kept_operations, symprec)
    if everywhere is None or len(everywhere.shifts) != len(rotations):
        return None
    turned = _cartesian(rotations, crystal.cell)
    return Operations(turned, everywhere.permutations, sites, primitive.cell, named.group)


def _reduction(cell: NDArray[np.float64], symprec: float) -> NDArray[np.float64] | None:
    """Integer T such that T @ cell is Niggli-reduced and right-handed; None if the cell is too thin."""
    volume = abs(float(np.linalg.det(cell)))
    reduced = answer(spglib.niggli_reduce, cell, eps=REDUCTION * volume ** (2 / 3))
    if reduced is None:
        return None
    # Volume over the squared longest edge is at most the thickness of the cell: it must hold many tolerances, or an
    # atom and its own image could be taken for each other.
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
    # W maps the edges to three lattice vectors of the same lengths and angles. In a reduced cell vectors as short as
    # the edges have coordinates -1, 0, 1: 26 possible images for each edge.
    gram = reduced @ reduced.T
    own = np.sqrt(gram.diagonal())
    products = _VECTORS @ gram @ _VECTORS.T
    lengths = np.sqrt(products.diagonal())
    stretched = np.abs(lengths - own[:, None])  # (3, 26): by how much edge i misses the length of vector v
    cosines = products / (lengths * lengths[:, None])
    # Three pairs of edges, 26 x 26 pairs of images. An angle off by d moves the ends of two vectors by about d times
    # the length, and d is the difference of the cosines over the sine: angles are compared as lengths, too.
    one, other = [0, 0, 1], [1, 2, 2]
    scale = own[one] * own[other]
    wanted = gram[one, other] / scale
    bent = np.abs(cosines - wanted[:, None, None]) * np.sqrt(scale / (1 - wanted**2))[:, None, None]
    missed = np.maximum(bent, np.maximum(stretched[one][:, :, None], stretched[other][:, None, :]))  # (3, 26, 26)
    near = missed < REJECT * symprec
    # The images of two axes leave two for the third, one of either hand.
    if 2 * np.count_nonzero(near, axis=(1, 2)).min() < LOWEST_ORDER:
        return None
    # All triples of images whose pairs fit. One that fits only just might be an operation for spglib, or might not.
    x, y, z = np.nonzero(near[0][:, :, None] & near[1][:, None, :] & near[2])
    if len(x) < LOWEST_ORDER:
        return None
    if max(missed[0, x, y].max(), missed[1, x, z].max(), missed[2, y, z].max()) > EQUAL * symprec:
        return None
    return sorted_group(_VECTORS[np.stack([x, y, z], axis=-1)].astype(np.int8).tobytes())

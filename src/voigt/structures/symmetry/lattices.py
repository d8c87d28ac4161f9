"""Lattices: a standard choice of vectors, and the group of integer changes of it that keep lengths and angles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import ase
import numpy as np
import spglib
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.cells import is_skewed, require_sound, short_vectors
from voigt.structures.symmetry.spglib_answers import answer

Kind = Literal["none", "niggli", "primitive"]

SINGULAR = 1e-8
"""Volume over the product of the three lengths below which a cell counts as flat."""

STRAIN = 1e-3
"""Strain up to which lengths and angles of a lattice count as equal."""

NEARLY = 10.0
"""A symmetry that the lattice misses by less than this many tolerances is reported."""

BORDER = 2.0
"""Another reduced cell that the lattice misses by less than this many tolerances is reported."""

_VECTORS: NDArray[np.int64] = np.array(
    [v for v in np.ndindex(5, 5, 5) if v != (2, 2, 2)], dtype=np.int64
) - 2  # fmt: skip


def volume_of(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Volume of cells (..., 3, 3), 0 for those that are flat or not finite."""
    if not np.isfinite(cell).all():
        return np.zeros(cell.shape[:-2])
    volume = np.abs(np.linalg.det(cell))
    lengths = np.sqrt(np.square(cell).sum(axis=-1))
    return np.where(volume > SINGULAR * lengths.prod(axis=-1), volume, 0.0)


def standard_lattice(
    atoms: ase.Atoms, kind: Kind, symprec: float = 1e-3, primitive: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Lattice vectors that describe a crystal, in its Cartesian axes: nothing is rotated.

    The integer combinations depend on lengths and angles only, so that turning or mirroring a crystal turns or
    mirrors its standard lattice; it keeps the handedness of the input cell.

    Parameters
    ----------
    atoms
        A crystal, periodic in three dimensions.
    kind
        "none": the cell as given. "niggli": the reduced cell of the same lattice, the same for every choice of its
        vectors up to a symmetry of the lattice. "primitive": the reduced cell of the lattice of all translations
        that map the crystal onto itself, the same for supercells and centered cells too.
    symprec
        Distance in Angstrom below which atoms coincide. Lengths and angles of the lattice count as equal up to a
        strain of 0.001, or of symprec over the size of the cell where that is more.
    primitive
        (3, 3), rows are vectors of any primitive cell if one is known (`Symmetry.primitive`): spares a second search.

    Returns
    -------
    (3, 3), rows are lattice vectors in Angstrom.

    Raises
    ------
    InputError
        The cell is singular, spglib finds no space group, or the cell cannot be reduced.
    """
    cell = np.array(atoms.cell.array, dtype=np.float64)
    require_sound(cell, atoms.positions)
    if kind == "none":
        return cell
    if kind == "primitive":
        cell = _primitive(atoms, cell, symprec, primitive)
    return _reduction(cell, STRAIN, symprec).T @ cell


def _primitive(
    atoms: ase.Atoms, cell: NDArray[np.float64], symprec: float, known: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Basis of all translations of a crystal, chosen by its relation to the input cell alone."""
    if known is None:
        short = short_vectors(cell)[1] if is_skewed(cell) else cell  # spglib dies of very oblique lattice vectors
        described = (short, atoms.positions @ np.linalg.inv(short), atoms.numbers)
        standard = answer(spglib.standardize_cell, described, to_primitive=True, no_idealize=True, symprec=symprec)
        known = None if standard is None else np.asarray(standard[0], dtype=np.float64)
    # The input cell is an integer combination of primitive vectors; 0.5 stands for no result.
    exact = np.full((3, 3), 0.5) if known is None else cell @ np.linalg.inv(known)
    relation = np.rint(exact)
    if not np.all(np.abs(exact - relation) < 0.1):
        raise InputError(f"no primitive cell found for {atoms.get_chemical_formula()}; try another --symprec")
    # spglib may choose another primitive basis for a rotated copy. The Hermite form of the relation is the same for all
    # bases of the primitive lattice, so that the choice depends on the input cell alone.
    return np.linalg.inv(_hermite(relation.astype(np.int64)).T.astype(np.float64)) @ cell


def _hermite(matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    """Upper triangular U @ matrix.T (U unimodular): diagonal positive, entries above it smaller and not negative."""
    rows = [[int(entry) for entry in row] for row in matrix.T]
    for column in range(3):
        while True:
            filled = [row for row in range(column, 3) if rows[row][column]]
            pivot = min(filled, key=lambda row: abs(rows[row][column]))
            rows[column], rows[pivot] = rows[pivot], rows[column]
            if rows[column][column] < 0:
                rows[column] = [-entry for entry in rows[column]]
            for row in {0, 1, 2} - {column}:
                times = rows[row][column] // rows[column][column]
                rows[row] = [a - times * b for a, b in zip(rows[row], rows[column], strict=True)]
            if len(filled) == 1:
                break
    return np.array(rows, dtype=np.int64)


def _reduction(cell: NDArray[np.float64], strain: float, symprec: float = 0.0) -> NDArray[np.int64]:
    """Integer T with determinant 1 such that L T is Niggli-reduced; what differs by less than a strain is equal."""
    size = float(volume_of(cell)) ** (1 / 3)
    if size == 0:
        raise InputError("a cell without volume cannot be reduced; give three independent lattice vectors")
    strain = max(strain, symprec / size)
    # spglib compares squared lengths. Where its tolerance lets it walk in circles a smaller one ends the walk.
    for tolerance in (2 * strain * size**2, 1e-5 * size**2, 1e-8 * size**2):
        basis = _integer_basis(cell, spglib.niggli_reduce, tolerance)
        if basis is not None:
            return basis
    basis = _integer_basis(cell, spglib.delaunay_reduce, 1e-5 * size)
    if basis is None:
        raise InputError("the cell cannot be reduced; give less oblique lattice vectors")
    return basis


def _integer_basis(cell: NDArray[np.float64], reduce: Callable[..., Any], eps: float) -> NDArray[np.int64] | None:
    """T such that columns L T are what spglib reduces a cell to, up to the sign; None where it fails."""
    reduced = answer(reduce, cell, eps=eps)
    if reduced is None:
        return None
    exact = np.linalg.inv(cell.T) @ reduced.T
    basis: NDArray[np.float64] = np.rint(exact)
    sign = round(float(np.linalg.det(basis)))
    if abs(sign) != 1 or np.abs(exact - basis).max() > 0.1:
        return None
    # -1 is a symmetry of every lattice, so that the cell of either hand is as good: keep that of the input, because
    # only then mirroring the crystal mirrors the result.
    return sign * basis.astype(np.int64)


def lattice_operations(lattice: NDArray[np.float64], tolerance: float = 1e-3) -> NDArray[np.int64]:
    """Symmetry of a lattice: the group of integer W with W.T G W = G, where G = L.T L.

    Parameters
    ----------
    lattice
        (3, 3), rows are lattice vectors, not necessarily reduced.
    tolerance
        Strain up to which the lattice may miss a symmetry: one so small makes lengths equal, and dot products agree
        within 2 * tolerance * product of the lengths, both of the reduced lattice. 1e-3 is 0.005 Angstrom in a cell
        of 5 Angstrom, so that it contains what spglib finds with a symprec of 0.001. It is halved until the
        operations form a group.

    Returns
    -------
    (n_operations, 3, 3): L W = R_W L with R_W orthogonal; 2 to 48 of them, the identity first.

    Raises
    ------
    InputError
        The cell is singular or cannot be reduced.
    """
    group = lattice_group(np.asarray(lattice, dtype=np.float64), tolerance)
    back: NDArray[np.int64] = np.rint(np.linalg.inv(group.basis)).astype(np.int64)
    return group.basis @ group.operations @ back


@dataclass(frozen=True)
class LatticeGroup:
    """Symmetry of a lattice in its reduced basis, and how near it is to another."""

    basis: NDArray[np.int64]  # T, the reduced lattice is L T
    operations: NDArray[np.int64]  # of the reduced lattice
    nearly: int  # operations within NEARLY tolerances
    border: bool  # whether the lattice given is reduced, but only just


def lattice_group(lattice: NDArray[np.float64], tolerance: float) -> LatticeGroup:
    """Reduce a lattice (rows) and find its group; the tolerance is halved until the operations form one."""
    basis = _reduction(lattice, tolerance)
    reduced = lattice.T @ basis
    candidates, deviation, border = _other_bases(reduced.T @ reduced, tolerance)
    inside = candidates[deviation < tolerance]
    closed = tolerance
    while not is_group(inside):
        closed /= 2
        inside = candidates[deviation < closed]
    # The identity first, the rest by their keys, so that the order does not depend on the search.
    moved = np.any(inside != np.eye(3, dtype=np.int64), axis=(1, 2))
    return LatticeGroup(
        basis=basis,
        operations=inside[np.lexsort((_keys(inside), moved))],
        nearly=len(candidates),
        border=border and bool(np.abs(basis).sum() == 3),
    )


def _other_bases(gram: NDArray[np.float64], tolerance: float) -> tuple[NDArray[np.int64], NDArray[np.float64], bool]:
    """Bases of a reduced lattice, entries up to 2, that a small strain makes as good as the one given.

    Returns
    -------
    operations, deviation
        Integer W with W.T G W = G within NEARLY tolerances, and the strain by which each misses it.
    border
        Whether a strain between one and BORDER tolerances makes a cell of another shape the reduced one. The angles
        of a reduced cell are all acute, or none is; what misses neither this nor the lengths by more than the
        tolerance is a tie, which the reduction breaks by further rules.
    """
    wide = NEARLY * tolerance
    # An operation maps each edge onto a lattice vector of the same length: candidates for the three edges first, then
    # triples of them with the angles of the cell.
    products = _VECTORS @ gram @ _VECTORS.T
    squares, edges = products.diagonal(), gram.diagonal()[:, None]
    # Strain E changes |v|^2 - |l|^2 by 2 tr E (v v.T - l l.T): the least that makes v as long as edge l.
    change = np.sqrt(np.maximum(squares**2 + edges**2 - 2 * (gram @ _VECTORS.T) ** 2, 1e-300))
    strains = np.abs(squares - edges) / (2 * change)  # (3, 124)
    places = [np.flatnonzero(row < wide) for row in strains]
    axes = np.ix_(*places)
    stretched = np.maximum(np.maximum(strains[0][axes[0]], strains[1][axes[1]]), strains[2][axes[2]])
    cosines, bent = [], np.zeros(())
    for i, j in ((0, 1), (0, 2), (1, 2)):
        scale = np.sqrt(gram[i, i] * gram[j, j])
        cosines.append(products[axes[i], axes[j]] / scale)
        bent = np.maximum(bent, np.abs(cosines[-1] - gram[i, j] / scale) / 2)

    def bases(chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        indices = np.nonzero(chosen)
        triples = np.stack([_VECTORS[place[i]] for place, i in zip(places, indices, strict=True)], axis=-1)
        unimodular = np.abs(np.rint(np.linalg.det(triples))) == 1
        return triples[unimodular], unimodular

    deviation = np.maximum(stretched, bent)
    operations, unimodular = bases(deviation < wide)
    least = np.minimum(np.minimum(cosines[0], cosines[1]), cosines[2])
    most = np.maximum(np.maximum(cosines[0], cosines[1]), cosines[2])
    missed = np.maximum(stretched, np.minimum(-least, most) / 2)
    border = bases((missed > tolerance) & (missed < BORDER * tolerance) & (bent > wide))[0]
    return operations, deviation[deviation < wide][unimodular], len(border) > 0


def _keys(operations: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for each integer matrix with entries up to 64."""
    weights = np.int64(128) ** np.arange(9, dtype=np.int64)
    return np.asarray(operations.reshape(*operations.shape[:-2], 9) @ weights)


def find_operations(group: NDArray[np.int64], matrices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of each matrix in the group, -1 where it is not there."""
    keys = _keys(group)
    order = np.argsort(keys)
    searched = _keys(matrices)
    places = order[np.searchsorted(keys, searched, sorter=order).clip(max=len(keys) - 1)]
    return np.where(keys[places] == searched, places, -1)


def is_group(operations: NDArray[np.int64]) -> bool:
    """Whether every product of two operations (n, 3, 3) is one of them."""
    return bool((find_operations(operations, operations[:, None] @ operations) >= 0).all())

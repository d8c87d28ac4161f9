"""Groups of integer matrices: tests, multiplication tables, generators, and the lattice that vectors span.

Nothing here knows atoms or tolerances. A space-group operation x' = W x + t has an integer matrix W in lattice
coordinates, so that products of rotations are exact and can be looked up. The same rotations come back from crystal to
crystal (there are 73 groups of them in primitive cells, each in several settings), hence the caches, whose keys are the
matrices as bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from voigt.structures.symmetry.lattices import find_operations, is_group

Step = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Elements made, the generators on the left (their place among the generators) and the elements on the right."""


def lattice_basis(vectors: list[list[int]]) -> NDArray[np.int64]:
    """Three vectors, a triangular matrix of rows, of which all the given ones are integer combinations.

    Euclid's algorithm, column by column: as long as two rows have an entry in a column, the row with the smallest one
    is subtracted from the others as often as it fits in. At the end one row has the greatest common divisor there, the
    others have 0, and that row is set aside. The lattice that the rows span stays the same throughout.

    Parameters
    ----------
    vectors
        Integer vectors that span the space.
    """
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


@lru_cache(maxsize=1024)
def sorted_group(images: bytes) -> NDArray[np.int64] | None:
    """Group of integer matrices, the identity first.

    Parameters
    ----------
    images
        int8 (n, 3, 3) as bytes: for each matrix the images of the three axes, which are its columns.

    Returns
    -------
    (n, 3, 3), not writeable because it is kept; None if a product of two matrices is not among them.
    """
    rotations = np.frombuffer(images, dtype=np.int8).reshape(-1, 3, 3).transpose(0, 2, 1).astype(np.int64)
    if not is_group(rotations):
        return None
    moved = np.any(rotations != np.eye(3, dtype=np.int64), axis=(1, 2))
    ordered = rotations[np.argsort(moved, kind="stable")]  # False comes before True
    ordered.setflags(write=False)
    return ordered


@lru_cache(maxsize=1024)
def multiplication_table(rotation_bytes: bytes) -> NDArray[np.int64] | None:
    """Place of each product g h in a group of distinct integer matrices.

    Parameters
    ----------
    rotation_bytes
        int8 (n, 3, 3) as bytes, the identity first.

    Returns
    -------
    (n, n), or None if the matrices are no group. In a group multiplication by g only changes the order of the elements:
    each row of the table holds every place once. Finite and closed, with 1, is enough to have inverses.
    """
    rotations = np.frombuffer(rotation_bytes, dtype=np.int8).reshape(-1, 3, 3).astype(np.int64)
    table = find_operations(rotations, (rotations[:, None] @ rotations).reshape(-1, 3, 3))
    table = table.reshape(len(rotations), len(rotations))
    is_one = np.array_equal(np.sort(table, axis=1), np.tile(np.arange(len(table)), (len(table), 1)))
    return table if is_one and np.array_equal(rotations[0], np.eye(3)) else None


@dataclass(frozen=True)
class Products:
    """How all elements of a group (the identity first) are made: steps of element = generator times element."""

    generators: NDArray[np.int64]
    steps: tuple[Step, ...]


@lru_cache(maxsize=1024)
def products(rotation_bytes: bytes) -> Products | None:
    """Few elements of a group of matrices and how all others are made from them; None if it is no group.

    No point group needs more than three. What respects products, such as the permutation of atoms that an operation
    makes, need be found for these only.

    Parameters
    ----------
    rotation_bytes
        int8 (n, 3, 3) as bytes, the identity first.
    """
    table = multiplication_table(rotation_bytes)
    if table is None:
        return None
    # Greedy choice: each time the element that makes the largest group with those so far.
    generators, reached = list[int](), {0}
    while len(reached) < len(table):
        groups = {new: _closure(table, [*generators, new]) for new in set(range(len(table))) - reached}
        generators.append(max(groups, key=lambda new: len(groups[new])))
        reached = groups[generators[-1]]
    # From the identity outwards: what is new after one more generator on the left is one step, so that each step needs
    # only elements of earlier ones and is a single array operation later.
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
    return Products(np.array(generators, dtype=np.int64), tuple(steps))


def _closure(table: NDArray[np.int64], generators: list[int]) -> set[int]:
    """All elements that products of the generators reach."""
    reached = last = {0}
    while last:
        last = set(table[np.ix_(generators, list(last))].ravel().tolist()) - reached
        reached = reached | last
    return reached

"""Lattice vectors: bounds within which libraries can be trusted with them, and short ones of the same lattice.

Whatever hands a cell to a library (neighbor lists, spglib) looks at it here first: beyond these bounds they divide by
zero, count cells in too few bits, or never end.
"""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError

MAXIMUM_EDGE = 1e4
"""Angstrom, a micrometer; the longest superlattices and gaps of vacuum have a tenth of it."""
MINIMUM_HEIGHT = 0.1
"""Angstrom between opposite faces of the reduced cell: below it an atom meets its own image closer than any bond."""
MINIMUM_VOLUME = 1.0
"""Angstrom^3 per atom; solid hydrogen has 1 at several hundred GPa."""
MAXIMUM_POSITION = 1e11
"""Angstrom from the origin: beyond it double precision no longer tells atoms 1e-5 Angstrom apart."""
MAXIMUM_ATOMS = 100_000
"""Atoms of one cell; a network needs 200 kB for each where there is no symmetry."""
SKEWED = 0.3
"""Lowest height over shortest edge below which short vectors are sought first; 0.58 for the primitive cell of fcc."""
REDUCTION_STEPS = 1000
"""Most steps of the reduction, each of which shortens a vector; a cell within the bounds takes some ten."""


def cell_faults(cell: NDArray[np.float64], count: int) -> list[str]:
    """What keeps a cell of `count` atoms from being one that libraries survive.

    Parameters
    ----------
    cell
        (3, 3), rows are lattice vectors, Angstrom.
    count
        Number of atoms in it.

    Returns
    -------
    list of str
        At most one sentence: what is wrong, then what to do.

    Examples
    --------
    >>> cell_faults(np.diag([1e6, 4.0, 4.0]), 2)
    ['has a cell edge of 1e6 Angstrom, more than 10000; give the lattice vectors in Angstrom']
    >>> cell_faults(np.diag([1000.0, 1000.0, 1.6e-5]), 2)
    ['has a cell with a height of 1.6e-5 Angstrom, less than 0.1; give three independent lattice vectors, in Angstrom']
    """
    if not np.isfinite(cell).all():
        return ["the cell is not finite; remove the NaN or infinity from the lattice vectors"]
    edges = _lengths(cell.tolist())
    longest = max(edges)
    if longest > MAXIMUM_EDGE:
        return [
            f"has a cell edge of {_number(longest)} Angstrom, more than {MAXIMUM_EDGE:g}; "
            "give the lattice vectors in Angstrom"
        ]
    faces = cofactors(cell)
    volume = abs(determinant(faces, cell)) / count
    if volume < MINIMUM_VOLUME:
        return [
            f"has a cell of {_number(volume)} Angstrom^3 per atom, less than {MINIMUM_VOLUME:g}; "
            "give three independent lattice vectors, in Angstrom"
        ]
    lowest = volume * count / max(_lengths(faces))
    if lowest < MINIMUM_HEIGHT:
        lowest = min(heights(short_vectors(cell)[1]))
    if lowest < MINIMUM_HEIGHT:
        return [
            f"has a cell with a height of {_number(lowest)} Angstrom, less than {MINIMUM_HEIGHT:g}; "
            "give three independent lattice vectors, in Angstrom"
        ]
    return []


def require_sound(cell: NDArray[np.float64], positions: NDArray[np.float64]) -> None:
    """Raise InputError for what must not reach a library.

    Parameters
    ----------
    cell
        (3, 3), rows are lattice vectors, Angstrom.
    positions
        (n_atoms, 3), Angstrom.
    """
    if len(positions) == 0:
        raise InputError("the structure holds no atoms; give at least one atom per cell")
    faults = cell_faults(cell, 1)  # atoms per volume are the concern of `structures.checks`, not of libraries
    if faults:
        raise InputError(f"the structure {faults[0].removeprefix('the cell ')}")
    if not np.abs(positions).max() < MAXIMUM_POSITION:
        raise InputError("an atom is too far from the origin, or nowhere; give positions in Angstrom")


def cofactors(cell: NDArray[np.float64]) -> list[list[float]]:
    """Rows b x c, c x a, a x b: numpy's determinant and inverse of one 3x3 matrix take ten times as long."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = cell.tolist()
    return [
        [by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx],
        [cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax],
        [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx],
    ]


def determinant(faces: list[list[float]], cell: NDArray[np.float64]) -> float:
    """Of a cell whose cofactors are known."""
    (ax, ay, az), (x, y, z) = cell[0].tolist(), faces[0]
    return float(ax * x + ay * y + az * z)


def heights(cell: NDArray[np.float64]) -> list[float]:
    """Distances between opposite faces of a cell (rows) that has a volume, Angstrom."""
    faces = cofactors(cell)
    volume = abs(determinant(faces, cell))
    return [volume / area for area in _lengths(faces)]


def _lengths(vectors: list[list[float]]) -> list[float]:
    return [math.hypot(*vector) for vector in vectors]


def is_skewed(cell: NDArray[np.float64]) -> bool:
    """Whether a cell is so oblique that the search for neighbors should be done in short vectors of its lattice."""
    return min(heights(cell)) < SKEWED * min(_lengths(cell.tolist()))


def short_vectors(cell: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Three vectors of a lattice, each as short as the shorter ones leave it (Minkowski), by the greedy algorithm.

    P. Q. Nguyen and D. Stehle, ACM Trans. Algorithms 5, 46 (2009): the longest vector is replaced by its distance from
    the nearest point of the lattice of the other two, until that no longer shortens it.

    Parameters
    ----------
    cell
        (3, 3), rows are lattice vectors within the bounds of this module, Angstrom.

    Returns
    -------
    basis, reduced
        (3, 3) integers of determinant 1 or -1, and the short vectors `basis @ cell`, in ascending order.

    Examples
    --------
    >>> basis, reduced = short_vectors(np.array([[3.0, 0, 0], [3000, 3, 0], [0, 0, 4]]))
    >>> reduced.tolist()
    [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 4.0]]
    """
    basis = np.eye(3, dtype=np.int64)
    for _ in range(REDUCTION_STEPS):
        vectors = basis @ cell
        order = np.argsort(np.square(vectors).sum(axis=1), kind="stable")
        basis, vectors = basis[order], vectors[order]
        a, b, c = vectors
        times = int(np.rint(a @ b / (a @ a)))
        if times and _shorter(b - times * a, b):
            basis[1] -= times * basis[0]
            continue
        # The point of the lattice of a and b that is nearest to c: beside the rounded coordinates of its projection.
        gram = vectors[:2] @ vectors[:2].T
        middle = np.rint(np.linalg.solve(gram, vectors[:2] @ c)).astype(np.int64)
        near = [middle + step for step in itertools.product((0, -1, 1), repeat=2)]
        nearest = min(near, key=lambda point: float(np.square(c - point @ vectors[:2]).sum()))
        if not _shorter(c - nearest @ vectors[:2], c):
            break
        basis[2] -= nearest @ basis[:2]
    return basis, vectors


def _shorter(vector: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Shorter by more than rounding, so that the reduction ends."""
    return bool(vector @ vector < (1 - 1e-9) * (other @ other))


def _number(value: float) -> str:
    """Three digits, with the exponent as people write it: 1e6, 1.6e-5."""
    return re.sub(r"e\+?(-?)0*", r"e\1", f"{value:.3g}")

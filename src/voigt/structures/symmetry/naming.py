"""Name of a space group from its operations, independent of the origin and of rounding in the translations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import spglib
from numpy.typing import NDArray

from voigt.structures.symmetry.group import multiplication_table
from voigt.structures.symmetry.spglib_answers import answer


@dataclass(frozen=True)
class SpaceGroup:
    """Number and short symbol of a space group in the International Tables, and its point group."""

    number: int
    international: str
    point_group: str


def space_group(rotations: NDArray[np.int64], shifts: NDArray[np.float64]) -> SpaceGroup | None:
    """Space group of the operations x' = W x + t of a right-handed primitive cell; None if they are none.

    The translations t depend on the origin and carry the noise of the positions. Both are removed: what remains are
    integers, of which crystals of one group have few different sets, so that names are looked up once and kept.

    About an origin moved by m the translation of W is t_W + W m - m. The composition of two operations, t_WV = t_W +
    W t_V up to a lattice vector, is summed over the n rotations V: the left side runs over all translations and gives
    n m, where m is their mean, and the right side gives n t_W + n W m. Hence n (t_W + W m - m) is a lattice vector:
    about this origin every translation is a multiple of 1 / n, and these integers are all there is to know.

    Parameters
    ----------
    rotations
        (n, 3, 3) integer matrices W, distinct, the identity first.
    shifts
        (n, 3) translations t in lattice coordinates.
    """
    order = len(rotations)
    shifts = shifts - np.floor(shifts + 0.01)  # a hundredth below zero, so that noise about 0 does not become 1
    mean = shifts.mean(axis=0)
    exact = order * (shifts + rotations @ mean - mean)
    parts = np.rint(exact)
    if np.abs(exact - parts).max() > 0.25:  # no composition of these gives these: they are no group
        return None
    return _named(rotations.astype(np.int8).tobytes(), (parts % order).astype(np.int8).tobytes())


@lru_cache(maxsize=16384)
def _named(rotation_bytes: bytes, part_bytes: bytes) -> SpaceGroup | None:
    """Space group with integer rotations W and translations in parts of 1 / order; None if these are no group."""
    rotations = np.frombuffer(rotation_bytes, dtype=np.int8).reshape(-1, 3, 3).astype(np.int64)
    parts = np.frombuffer(part_bytes, dtype=np.int8).reshape(-1, 3).astype(np.int64)
    table, order = multiplication_table(rotation_bytes), len(rotations)
    if table is None:
        return None
    # The rotations are a group. So are the operations, exactly, if W t_V + t_W is t_WV up to a lattice vector.
    follow = (rotations @ parts.T).transpose(0, 2, 1) + parts[:, None]
    if np.any((follow - parts[table]) % order):
        return None
    # spglib wants a lattice. Any that has these rotations will do: M = mean of W.T W is the metric of one, because
    # V.T M V is the mean of (W V).T (W V), the same sum in another order. The rows of its Cholesky factor are vectors
    # with this metric.
    lattice = np.linalg.cholesky((rotations.transpose(0, 2, 1) @ rotations).mean(axis=0))
    found = answer(spglib.get_spacegroup_type_from_symmetry, rotations, parts / order, lattice, 1e-5)
    names = None if found is None else (found.number, found.international_short, found.pointgroup_international)
    return None if names is None else SpaceGroup(*names)

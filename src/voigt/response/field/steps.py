"""Trajectories and paths: checked frames, steps from frame to frame, and stretches between which Z is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import ase
import numpy as np

from voigt.errors import InputError
from voigt.response.arrays import Array, neutralized
from voigt.response.field.charges import Charges, as_array, charge_source

FARTHEST_STEP = 0.45
"""Part of the shortest lattice vector that an atom may move between two frames: beyond half, its image is a guess."""
_BATCH = 256
"""Frames held in memory, and at most as many predictions at once."""


@dataclass(frozen=True)
class Interval:
    """Consecutive frames, `start` the index of the first; Z is known at both ends and linear in between."""

    start: int
    frames: Sequence[ase.Atoms]
    first: Array
    last: Array

    def dipoles(self, vectors: Array, start: int = 0) -> Array:
        """(k, 3) sum_a Z[a, i, j] v_aj with Z of frames start, start + 1, ... and vectors (k, n_atoms, 3)."""
        weights = (np.arange(len(vectors)) + start)[:, None] / max(len(self.frames) - 1, 1)
        flat = vectors.reshape(len(vectors), -1)
        at_first, at_last = (flat @ z.transpose(0, 2, 1).reshape(-1, 3) for z in (self.first, self.last))
        return np.asarray((1 - weights) * at_first + weights * at_last)


def checked_frames(frames: Iterable[ase.Atoms], variable_cell: bool = False) -> Iterator[ase.Atoms]:
    """The frames, or InputError at the first whose atoms, cell or positions cannot follow those of the first frame."""
    first = before = None
    for index, frame in enumerate(frames):
        if frame is before:
            raise InputError(f"frame {index} is the very object that frame {index - 1} was; pass copies (atoms.copy())")
        before = frame
        if first is not None and not np.array_equal(frame.numbers, first.numbers):
            raise InputError(f"frame {index} has other atoms than frame 0, or another order; keep both")
        if not np.isfinite(frame.positions).all():
            raise InputError(f"frame {index} has positions that are not finite; leave it out")
        if (first is None or variable_cell) and abs(np.linalg.det(frame.cell.array)) < 1e-6:
            raise InputError(f"frame {index} has a cell without volume; give three lattice vectors")
        first = frame if first is None else first
        if not variable_cell and abs(frame.cell.array - first.cell.array).max() > 1e-6:
            raise InputError(
                f"the cell of frame {index} differs from that of frame 0; keep it fixed, or pass variable_cell=True to "
                "polarization_path, which leaves out the clamped-ion piezoelectric part"
            )
        yield frame


def intervals(
    frames: Iterable[ase.Atoms], charges: Charges, every: int = 1, sum_rule: bool = True, total_charge: float = 0.0
) -> Iterator[Interval]:
    """Stretches of `every` steps with Z at their ends; consecutive ones share a frame, one frame alone makes one.

    Holds max(256, every) frames, and predicts for that many at once. InputError as `charge_source`; `every` below 1.
    """
    if every < 1:
        raise InputError(f"every must be a positive number of frames, not {every}")
    source = charge_source(charges)
    shape = () if (array := as_array(charges)) is None else array.shape
    if len(shape) == 3:
        every = _BATCH  # charges that never change need no stretches
    known: Array | None = None
    offset = used = 0
    for block in _overlapping(frames, every * max(1, _BATCH // every)):
        knots = sorted({*range(0, len(block), every), len(block) - 1})
        new_knots = knots if known is None else knots[1:]  # blocks share a frame, whose charges are known
        new = source([block[knot] for knot in new_knots])
        used += len(new_knots)
        if sum_rule:
            new = neutralized(new, total_charge)
        z = new if known is None else np.concatenate([known[None], new])
        known = z[-1]
        if len(knots) == 1:
            yield Interval(offset, block, z[0], z[0])
        for index, (start, stop) in enumerate(pairwise(knots)):
            yield Interval(offset + start, block[start : stop + 1], z[index], z[index + 1])
        offset += len(block) - 1
    if len(shape) == 4 and shape[0] != used:
        raise InputError(f"Born charges of {shape[0]} frames, but every={every} asks for those of {used}; give as many")


def fractional_steps(frames: Sequence[ase.Atoms], unwrap: bool = True, start: int = 0) -> Array:
    """(n_frames - 1, n_atoms, 3) changes of fractional coordinates from frame to frame.

    With `unwrap` to the nearest image along periodic directions, found in the Minkowski-reduced cell. `start` is the
    index of the first frame, for messages. InputError if an atom seems to move by more than `FARTHEST_STEP` of the
    shortest lattice vector.

    Examples
    --------
    >>> before = ase.Atoms("H", positions=[[0, 0, 3.9]], cell=[4, 4, 4], pbc=True)
    >>> after = ase.Atoms("H", positions=[[0, 0, 0.1]], cell=[4, 4, 4], pbc=True)
    >>> fractional_steps([before, after])[0, 0].round(6).tolist()
    [0.0, 0.0, 0.05]
    """
    scaled = np.array([frame.positions @ np.linalg.inv(frame.cell.array) for frame in frames])
    steps = np.diff(scaled, axis=0)
    pbc = frames[0].pbc
    if not unwrap or not pbc.any():
        return np.asarray(steps)
    # Rounding finds the nearest image only where the lattice vectors are short and close to orthogonal.
    reduced, operation = _reduced_cell(tuple(frames[0].cell.array.flat), tuple(pbc))
    inside = steps @ np.linalg.inv(operation)
    inside = inside - np.where(pbc, np.rint(inside), 0.0)
    lengths = np.linalg.norm(inside @ reduced, axis=-1)
    farthest = FARTHEST_STEP * np.linalg.norm(reduced[pbc], axis=-1).min()
    if not lengths.max(initial=0) <= farthest:
        index, atom = np.unravel_index(lengths.argmax(), lengths.shape)
        raise InputError(
            f"atom {atom} ({frames[0].symbols[int(atom)]}) moves by {lengths.max():.2f} A from frame {start + index} "
            "to the next, too far to tell its periodic image; give frames closer together"
        )
    return np.asarray(inside @ operation)


@lru_cache(maxsize=8)
def _reduced_cell(cell: tuple[float, ...], pbc: tuple[bool, ...]) -> tuple[Array, Array]:
    """Shortest lattice vectors (rows), and the whole numbers that make them of the given ones."""
    from ase.geometry import minkowski_reduce

    reduced, operation = minkowski_reduce(np.reshape(cell, (3, 3)), pbc)
    return np.asarray(reduced), np.asarray(operation, dtype=np.float64)


def _overlapping(frames: Iterable[ase.Atoms], steps: int) -> Iterator[list[ase.Atoms]]:
    """Lists of up to steps + 1 frames, the first of each being the last of the one before."""
    block: list[ase.Atoms] = []
    whole = True
    for frame in frames:
        block.append(frame)
        whole = len(block) == steps + 1
        if whole:
            yield block
            block = block[-1:]
    if not whole:
        yield block

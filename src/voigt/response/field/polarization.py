"""Change of polarisation along a path of structures or a trajectory, from Born effective charges.

dP = (e/V) sum_a Z[a] du_a, integrated with the trapezoid of Z. Gonze and Lee, Phys. Rev. B 55, 10355 (1997); King-Smith
and Vanderbilt, Phys. Rev. B 47, 1651 (1993). Along a continuous path of insulating structures the integral is one
number. Between two structures without a path the polarisation is defined only modulo e R / V, R any lattice vector;
`wrap_polarization` goes to the branch nearest to zero.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union, cast

import ase
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from voigt.errors import InputError

if TYPE_CHECKING:
    from voigt.models.checkpoint import LoadedModel
    from voigt.prediction.result import Settings

Array: TypeAlias = NDArray[np.float64]
ChargeSource: TypeAlias = Callable[[Sequence[ase.Atoms]], Array]
"""Structures -> Born charges (n_structures, n_atoms, 3, 3), Z[atom, field, displacement] in e."""
Charges: TypeAlias = Union[ArrayLike, ChargeSource, str, Path, "LoadedModel", None]
"""What functions of this room take for Z: an array, a function, or a model (None: the one that ships)."""

COULOMB_PER_SQUARE_METRE = constants.e / constants.angstrom**2
"""One e/A^2 in C/m^2: 16.02."""
FARTHEST_STEP = 0.45
"""Part of the shortest lattice vector that an atom may move between two frames: beyond half, its image is a guess."""
_BATCH = 256
"""Frames held in memory, and at most as many predictions at once."""

_log = logging.getLogger("voigt")


@dataclass(frozen=True)
class PolarizationPath:
    """Polarisation along a path, relative to its first frame.

    Attributes
    ----------
    change
        (n_frames, 3) dP in e/A^2; the first row is zero.
    quanta
        (3, 3) rows e a_k / V in e/A^2, of the first frame's lattice vectors: what wrapping an atom of charge e through
        the cell would add. A supercell has smaller ones than the primitive cell; those of the primitive cell count.
    volumes
        (n_frames,) A^3.
    center_of_mass
        (n_frames, 3) its displacement from the first frame, A; taken out of the atoms' displacements unless
        `remove_drift` was off. Neutral Z gives the same dP either way.
    """

    change: Array
    quanta: Array
    volumes: Array
    center_of_mass: Array

    @property
    def si(self) -> Array:
        """(n_frames, 3) dP in C/m^2."""
        return np.asarray(self.change * COULOMB_PER_SQUARE_METRE)


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


def polarization_path(
    frames: Iterable[ase.Atoms],
    charges: Charges = None,
    *,
    every: int = 1,
    sum_rule: bool = True,
    total_charge: float = 0.0,
    unwrap: bool = True,
    remove_drift: bool = True,
    variable_cell: bool = False,
) -> PolarizationPath:
    """Polarisation of each frame relative to the first, dP = (e/V) sum_a int Z[a] du_a, by the trapezoid rule.

    Parameters
    ----------
    frames
        The path, read once and never held as a whole: a list, or an iterator such as ase.io.iread.
    charges
        Z[atom, field, displacement] in e: an array (n_atoms, 3, 3); one (n, n_atoms, 3, 3) for the frames at which Z
        is asked for, see `every`; a function from structures to charges; a model's name, file or object; None: the
        model that ships.
    every
        Z is taken at every n-th frame and the last, and is linear in between.
    sum_rule
        Share out what the charges of the cell lack to `total_charge` (e) equally, so that a rigid translation changes
        nothing.
    unwrap
        Take the nearest image from frame to frame along periodic directions. Switch it off for positions that are
        continuous already but move by more than half a cell at once.
    remove_drift
        Count displacements from the centre of mass.
    variable_cell
        Let the cell change. Displacements are then those of fractional coordinates, times the cell of each frame, and
        V is that of each frame: the sum misses what homogeneous strain does at fixed fractional coordinates, the
        clamped-ion piezoelectric part. Wu, Vanderbilt and Hamann, Phys. Rev. B 72, 035105 (2005).

    Raises
    ------
    InputError
        No frame; other atoms, no volume or positions that are not numbers in a frame; a cell that changes unannounced;
        a step too long to unwrap; charges of another number of atoms.
    """
    changes, drifts = [np.zeros((1, 3))], [np.zeros((1, 3))]
    volumes: list[Array] = []
    quanta = np.zeros((3, 3))
    checked = checked_frames(frames, variable_cell)
    for interval in intervals(checked, charges, every, sum_rule, total_charge):
        part = np.array([frame.get_volume() for frame in interval.frames])
        if not volumes:
            volumes.append(part[:1])
            quanta = interval.frames[0].cell.array / part[0]
        if len(part) == 1:
            continue
        steps = fractional_steps(interval.frames, unwrap, interval.start)
        masses = interval.frames[0].get_masses()
        mean = np.einsum("a,kai->ki", masses / masses.sum(), steps)
        if remove_drift:
            steps = steps - mean[:, None]
        cells = np.array([frame.cell.array for frame in interval.frames])
        before = interval.dipoles(steps @ cells[:-1]) / part[:-1, None]
        after = interval.dipoles(steps @ cells[1:], start=1) / part[1:, None]
        changes.append((before + after) / 2)
        drifts.append(np.einsum("ki,kij->kj", mean, (cells[:-1] + cells[1:]) / 2))
        volumes.append(part[1:])
    if not volumes:
        raise InputError("a path needs at least one frame, and there is none")
    return PolarizationPath(
        change=np.cumsum(np.concatenate(changes), axis=0),
        quanta=quanta,
        volumes=np.concatenate(volumes),
        center_of_mass=np.cumsum(np.concatenate(drifts), axis=0),
    )


def wrap_polarization(change: ArrayLike, quanta: ArrayLike) -> Array:
    """The change (..., 3) less whole quanta (rows, same unit): at most half of one along each lattice vector is left.

    For differences of Berry-phase polarisations, which know no path. Resta and Vanderbilt, in Physics of Ferroelectrics
    (2007), p. 31. Spin-paired electrons come in twos: pass 2 e R / V where every spin channel is doubled.
    """
    rows = np.asarray(quanta, dtype=np.float64)
    parts = np.asarray(change, dtype=np.float64) @ np.linalg.inv(rows)
    return np.asarray((parts - np.rint(parts)) @ rows)


def predicted_charges(model: str | Path | LoadedModel | None = None, settings: Settings | None = None) -> ChargeSource:
    """Function from structures to Born charges (n_structures, n_atoms, 3, 3) as a model predicts them.

    The model is loaded once. What `Prediction.warnings` says goes to the log "voigt", each sentence once.

    Raises
    ------
    InputError
        When called: a structure cannot be predicted.
    WeightsError, DomainError, TargetError
        The model cannot be loaded, or does not give Born charges.
    """
    from voigt.prediction.plan import choose_models
    from voigt.prediction.result import Settings
    from voigt.prediction.stream import Failure, predict_planned
    from voigt.structures.reading import read

    plan = choose_models(model, replace(settings or Settings(), properties=("born_charges",)))
    said: set[str] = set()

    def charges(structures: Sequence[ase.Atoms]) -> Array:
        found = []
        for prediction in predict_planned(read(list(structures)), plan):
            if isinstance(prediction, Failure):
                raise InputError(f"no Born charges: {prediction.reason}")
            found.append(prediction.values["born_charges"])
            for sentence in set(prediction.warnings) - said:
                said.add(sentence)
                _log.warning("%s", sentence)
        return np.array(found)

    return charges


def charge_source(charges: Charges) -> ChargeSource:
    """Function from structures to Z (n_structures, n_atoms, 3, 3), whatever `charges` is.

    Raises
    ------
    InputError
        An array of another shape. The function itself raises it for charges of another number of atoms or frames.
    """
    if (array := _array(charges)) is not None:
        return _checked_source(_array_source(array))
    if callable(charges):
        return _checked_source(charges)
    return _checked_source(predicted_charges(cast("str | Path | LoadedModel | None", charges)))


def neutralized(charges: Array, total_charge: float = 0.0) -> Array:
    """Z (..., n_atoms, 3, 3) less equal shares of what its sum lacks to total_charge * identity.

    Gonze and Lee, Phys. Rev. B 55, 10355 (1997), Eq. 49.
    """
    excess = charges.sum(axis=-3, keepdims=True) - total_charge * np.eye(3)
    return np.asarray(charges - excess / charges.shape[-3])


def checked_frames(frames: Iterable[ase.Atoms], variable_cell: bool = False) -> Iterator[ase.Atoms]:
    """The frames, or InputError at the first whose atoms, cell or positions cannot follow those of the first frame."""
    first: ase.Atoms | None = None
    before: ase.Atoms | None = None
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

    Holds max(256, every) frames, and predicts for that many at once.

    Raises
    ------
    InputError
        As `charge_source`; `every` below 1.
    """
    if every < 1:
        raise InputError(f"every must be a positive number of frames, not {every}")
    source = charge_source(charges)
    shape = () if (array := _array(charges)) is None else array.shape
    if len(shape) == 3:
        every = _BATCH  # charges that never change need no stretches
    known: Array | None = None
    offset = used = 0
    for block in _overlapping(frames, every * max(1, _BATCH // every)):
        knots = sorted({*range(0, len(block), every), len(block) - 1})
        asked = knots if known is None else knots[1:]
        found = source([block[knot] for knot in asked])
        used += len(asked)
        if sum_rule:
            found = neutralized(found, total_charge)
        z = found if known is None else np.concatenate([known[None], found])
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
    index of the first frame, for messages.

    Raises
    ------
    InputError
        An atom seems to move by more than `FARTHEST_STEP` of the shortest lattice vector, so that its image is a guess.
    """
    scaled = np.array([frame.positions @ np.linalg.inv(frame.cell.array) for frame in frames])
    steps = np.diff(scaled, axis=0)
    pbc = frames[0].pbc
    if not unwrap or not pbc.any():
        return np.asarray(steps)
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


def _array(charges: Charges) -> Array | None:
    """The charges if they are numbers, None if a function or a model."""
    if isinstance(charges, list | tuple) or hasattr(charges, "__array__"):
        return np.asarray(cast(ArrayLike, charges), dtype=np.float64)
    return None


def _array_source(array: Array) -> ChargeSource:
    """One array for all structures, or rows handed out in turn."""
    if array.ndim not in (3, 4) or array.shape[-2:] != (3, 3):
        raise InputError(f"Born charges must be (n_atoms, 3, 3) or (n_frames, n_atoms, 3, 3), not {array.shape}")
    if array.ndim == 3:
        return lambda structures: np.broadcast_to(array, (len(structures), *array.shape))
    rows = iter(array)

    def charges_in_turn(structures: Sequence[ase.Atoms]) -> Array:
        return np.array([z for _, z in zip(structures, rows, strict=False)]).reshape(-1, *array.shape[1:])

    return charges_in_turn


def _checked_source(source: ChargeSource) -> ChargeSource:
    def checked(structures: Sequence[ase.Atoms]) -> Array:
        found = np.asarray(source(structures), dtype=np.float64)
        expected = (len(structures), len(structures[0]), 3, 3)
        if found.shape != expected:
            raise InputError(f"Born charges of shape {found.shape} do not fit the structures, which need {expected}")
        if not np.isfinite(found).all():
            raise InputError("the Born charges hold numbers that are not finite; leave out what they were made from")
        return found

    return checked

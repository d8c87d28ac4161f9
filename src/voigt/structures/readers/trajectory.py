"""Trajectories of ASE (.traj), frame by frame, read without ASE, which would build objects that the file names."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.reasons import plain_reason
from voigt.safe_json import load_json
from voigt.structures.inputs import Input
from voigt.structures.readers.database import revived
from voigt.structures.readers.failures import attempt, unreadable

MAGIC = b"- of UlmASE-Trajectory"
LABEL = "ASE trajectory"
MOST_BYTES = 1 << 28
"""Of the description or of one array of a frame."""
MOST_FRAMES = 10_000_000
_ARRAYS = {"tags": "tags", "magmoms": "initial_magmoms", "charges": "initial_charges", "momenta": "momenta"}

_INFO = ("occupancy", "charge")


def read_trajectory(stream: BinaryIO) -> Iterator[Input]:
    """Frames of a trajectory; broken ones as failures.

    Of arrays, tags, momenta, initial moments and charges are kept, of what is not of the atoms, their occupancies and
    the charge of the cell; calculators and constraints are left out.
    """
    size = stream.seek(0, io.SEEK_END)
    head = _read(stream, 0, 48, size)
    if not head.startswith(MAGIC):
        raise InputError(
            "is no ASE trajectory, or one of ASE 3.8 and earlier; convert it: python -m ase.io.trajectory FILE"
        )
    _, count, start = struct.unpack("<3q", head[24:])
    if not 0 <= count <= min(MOST_FRAMES, size // 8):
        raise InputError(f"promises {count} frames in {size} bytes; write it again")
    offsets = struct.unpack(f"<{count}q", _read(stream, start, 8 * count, size))
    first: Mapping[str, Any] | None = None
    for offset in offsets:
        try:
            frame = _frame(stream, offset, size)
        except (InputError, ValueError) as error:
            yield unreadable(f"has a frame that cannot be decoded ({plain_reason(error)}); write the trajectory again")
            continue
        first = frame if first is None else first
        yield attempt(partial(_atoms, stream, frame, first, size), LABEL)


def _read(stream: BinaryIO, start: int, count: int, size: int) -> bytes:
    if not (start >= 0 and 0 <= count <= MOST_BYTES and start + count <= size):
        raise InputError("it points outside the file")
    stream.seek(start)
    return stream.read(count)


def _frame(stream: BinaryIO, offset: int, size: int) -> Mapping[str, Any]:
    (length,) = struct.unpack("<q", _read(stream, offset, 8, size))
    frame = load_json(_read(stream, offset + 8, length, size))
    if not isinstance(frame, dict):
        raise InputError("no description")
    return frame


def _atoms(stream: BinaryIO, frame: Mapping[str, Any], first: Mapping[str, Any], size: int) -> ase.Atoms:
    def value(name: str, shared: bool = False) -> NDArray[Any] | None:
        for holder in (frame, first) if shared else (frame,):
            if name + "." in holder:
                big = holder.get("_little_endian") is False
                return _array(stream, holder[name + "."], big, size)
            if holder.get(name) is not None:
                return np.array(holder[name])
        return None

    numbers, positions, cell = value("numbers", shared=True), value("positions"), value("cell")
    if numbers is None or positions is None:
        raise InputError("has a frame without numbers or positions; write the trajectory again")
    periodic = value("pbc", shared=True)
    atoms = ase.Atoms(numbers, positions, cell=cell, pbc=False if periodic is None else periodic)
    for name, array in _ARRAYS.items():
        values = value(name)
        if values is not None and values.dtype.kind in "if" and len(values) == len(atoms):
            atoms.set_array(array, values)
    info = revived(frame.get("info"))
    if isinstance(info, dict):
        atoms.info.update((name, info[name]) for name in _INFO if name in info)
    return atoms


def _array(stream: BinaryIO, description: Any, big: bool, size: int) -> NDArray[Any]:
    try:
        shape, name, offset = description["ndarray"]
        kind, whole = np.dtype(str(name)), [int(length) for length in shape]
    except (TypeError, KeyError, ValueError) as error:
        raise InputError("has an array that cannot be decoded; write the trajectory again") from error
    if kind.kind not in "biuf" or any(length < 0 for length in whole) or not isinstance(offset, int):
        raise InputError("has an array that does not consist of numbers; write the trajectory again")
    count = 1
    for length in whole:
        count *= length
    data = np.frombuffer(_read(stream, offset, count * kind.itemsize, size), kind.newbyteorder(">" if big else "<"))
    return data.reshape(whole).astype(kind.newbyteorder("="))

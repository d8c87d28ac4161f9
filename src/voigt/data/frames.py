"""Frames of a labeled file one by one, their labels still unread: for whoever looks for what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from voigt.data.labeled import LabeledCrystal, labeled
from voigt.data.reading import read_parquet
from voigt.notes import Failure
from voigt.structures.reading import read


def read_frames(path: str | Path, limit: int | None = None) -> Iterator[tuple[int, LabeledCrystal | Failure]]:
    """Place in the file, and the frame without targets or why it cannot be read, of each frame of a file or folder.

    Parameters
    ----------
    path
        Whatever `voigt.structures.read` reads, or a Parquet table as of `voigt.data.read_parquet`.
    limit
        Stop after so many frames; None: all.

    Raises
    ------
    InputError
        The file does not exist, holds no structures, or lacks columns.

    Examples
    --------
    >>> for index, frame in read_frames("examples/three_crystals.xyz"):
    ...     print(index, frame.id, frame.group)
    0 MgO MgO
    1 BaTiO3-tetragonal BaO3Ti
    2 ZnO-wurtzite OZn
    """
    inputs = read_parquet(path) if Path(path).suffix == ".parquet" else read([path])
    for index, entry in enumerate(islice(inputs, limit)):
        if isinstance(entry, Failure):
            yield index, entry
        else:
            yield index, labeled(entry.id, str(path), entry.atoms, {}, None)

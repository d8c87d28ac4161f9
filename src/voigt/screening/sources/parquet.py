"""Crystals from Parquet tables, one a row: numbers (list), cell (9, row vectors), frac (3 n_atoms), scalar columns.

Tables are read batch by batch, other columns not at all; ase.Atoms are made from flat arrays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.inputs import ID_KEYS, Input, id_in
from voigt.structures.intake import Entry, Unread
from voigt.structures.readers.failures import attempt, unreadable
from voigt.structures.rows import LABEL, atoms_from_row
from voigt.text import printable

ROWS_AT_ONCE = 1024
_UNREADABLE = "is not a readable Parquet file; fetch or write it again"
_LISTS = ("numbers", "cell", "frac")
_NAMES = (*ID_KEYS, "mbid")  # columns that name a crystal, the first one present wins


@dataclass(frozen=True)
class _Lists:
    """A column of lists as one flat array: entries of row i are values[start[i]:start[i + 1]]."""

    values: NDArray[Any]
    start: list[int]

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.start[row] : self.start[row + 1]]


def count_rows(path: Path) -> int:
    """Rows of a table, from its metadata.

    Raises InputError: not a readable Parquet file, or columns are missing or of the wrong kind.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _columns(path, file.schema_arrow)
            return int(file.metadata.num_rows)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} {_UNREADABLE}") from error


def parquet_entries(path: Path, name: str) -> Iterator[Entry]:
    """Rows of a table as structures, scalar columns as their info; where the file cannot be read on, a failure.

    Ids are those of the first column of id, mp_id, material_id, mbid with a value, else `name`:row.
    """
    for row, entry in enumerate(_rows(path)):
        yield Unread(entry.id, partial(_placed, entry, str(path), row)), f"{name}:{row}"


def _placed(entry: Unread, source: str, index: int) -> Input:
    return replace(entry.read(), source=source, index=index)


def _rows(path: Path) -> Iterator[Unread]:
    import pyarrow
    from pyarrow import parquet

    try:
        # A row group of any size is read piece by piece.
        with parquet.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False) as file:
            columns = _columns(path, file.schema_arrow)
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False):
                yield from _structures(batch)
    except InputError as error:
        yield Unread("", partial(unreadable, str(error)))
    except (OSError, pyarrow.ArrowException):
        yield Unread("", partial(unreadable, f"{path} {_UNREADABLE}"))


def _columns(path: Path, schema: Any) -> list[str]:
    """The columns to read: structures and scalars."""
    from pyarrow import types

    def is_number(kind: Any) -> bool:
        return bool(types.is_integer(kind) or types.is_floating(kind))

    missing = [name for name in _LISTS if name not in schema.names]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; write one crystal a row with numbers, cell, frac")
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise InputError(f"{path} has several columns {printable(twice[0])}; give each column a name of its own")
    for name in _LISTS:
        kind = schema.field(name).type
        is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        if not (is_list and is_number(kind.value_type)):
            raise InputError(f"{path}: column {name} holds {kind} instead of lists of numbers; write it as such")
    scalars = []
    for name in schema.names:
        kind = schema.field(name).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        if types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind) or is_number(kind):
            scalars.append(name)
    return [*_LISTS, *scalars]


def _structures(batch: Any) -> Iterator[Unread]:
    numbers, cell, frac = (_lists(batch.column(name)) for name in _LISTS)
    names = batch.schema.names[len(_LISTS) :]
    columns = [batch.column(name).to_pylist() for name in names]
    for row in range(batch.num_rows):
        values = ((name, column[row]) for name, column in zip(names, columns, strict=True))
        info = {name: value for name, value in values if value is not None and value == value}
        identity = id_in(info, _NAMES)
        build = partial(atoms_from_row, numbers[row], cell[row], frac[row], info)
        yield Unread(identity, partial(attempt, build, LABEL, identity))


def _lists(column: Any) -> _Lists:
    """Flat entries of a column of lists; absent lists are empty, absent entries NaN (0 for atomic numbers)."""
    import pyarrow
    from pyarrow import compute

    lengths = compute.fill_null(compute.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    start = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).tolist()
    entries = compute.list_flatten(column)
    if pyarrow.types.is_integer(entries.type):
        whole = compute.fill_null(entries.cast(pyarrow.int64(), safe=False), 0)
        return _Lists(whole.to_numpy(zero_copy_only=False), start)
    return _Lists(entries.cast(pyarrow.float64()).to_numpy(zero_copy_only=False), start)

"""Crystals from Parquet tables, one a row: numbers (list), cell (9, row vectors), frac (3 n_atoms), scalar columns.

Tables are read batch by batch, columns other than these not at all; ase.Atoms are made from flat arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.screening.sources.items import Item
from voigt.structures.readers.parsed import ID_KEYS, Parsed, attempt

LABEL = "a row of numbers, cell and frac"
ROWS_AT_ONCE = 1024
_LISTS = ("numbers", "cell", "frac")
_NAMES = (*ID_KEYS, "mbid")
"""Columns that name a crystal, the first one present wins."""


@dataclass(frozen=True)
class _Lists:
    """A column of lists as one flat array: entries of row i are values[start[i]:start[i + 1]]."""

    values: NDArray[Any]
    start: list[int]

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.start[row] : self.start[row + 1]]


def count_rows(path: Path) -> int:
    """Rows of a table, from its metadata.

    Raises
    ------
    InputError
        Not a readable Parquet file, or columns are missing or of the wrong kind.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _columns(path, file.schema_arrow)
            return int(file.metadata.num_rows)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(_unreadable(path)) from error


def parquet_items(path: Path, name: str) -> Iterator[Item]:
    """Rows of a table as atoms, scalar columns as their info; where the file cannot be read on, a problem.

    Ids are those of the first column of id, mp_id, material_id, mbid with a value, else `name`:row.
    """
    import pyarrow
    from pyarrow import parquet

    row = 0
    problem: str | None = None
    try:
        # A row group of any size is read piece by piece.
        with parquet.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False) as file:
            columns = _columns(path, file.schema_arrow)
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False):
                for parsed in _crystals(batch):
                    yield Item(str(path), row, f"{name}:{row}", parsed)
                    row += 1
    except InputError as error:
        problem = str(error)
    except (OSError, pyarrow.ArrowException):
        problem = _unreadable(path)
    if problem is not None:
        yield Item(str(path), row, f"{name}:{row}", Parsed(problem=problem))


def _unreadable(path: Path) -> str:
    return f"{path} is not a readable Parquet file; fetch or write it again"


def _columns(path: Path, schema: Any) -> list[str]:
    """The columns to read: structures and scalars."""
    import pyarrow

    missing = [name for name in _LISTS if name not in schema.names]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; write one crystal a row with numbers, cell, frac")
    types = pyarrow.types
    for name in _LISTS:
        kind = schema.field(name).type
        if not (_is_list(kind) and _is_number(kind.value_type)):
            raise InputError(f"{path}: column {name} holds {kind} instead of lists of numbers; write it as such")
    scalars = []
    for name in schema.names:
        kind = schema.field(name).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        if types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind) or _is_number(kind):
            scalars.append(name)
    return [*_LISTS, *scalars]


def _is_list(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_number(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind))


def _crystals(batch: Any) -> Iterator[Parsed]:
    numbers, cell, frac = (_lists(batch.column(name)) for name in _LISTS)
    names = batch.schema.names[len(_LISTS) :]
    columns = [batch.column(name).to_pylist() for name in names]
    for row in range(batch.num_rows):
        values = ((name, column[row]) for name, column in zip(names, columns, strict=True))
        info = {name: value for name, value in values if value is not None and value == value}
        identity = next((str(info[key]) for key in _NAMES if info.get(key) not in (None, "")), None)
        yield attempt(partial(_atoms, numbers[row], cell[row], frac[row], info), LABEL, identity)


def _atoms(numbers: NDArray[Any], cell: NDArray[Any], frac: NDArray[Any], info: Mapping[str, Any]) -> ase.Atoms:
    if len(cell) != 9:
        raise InputError(f"has {len(cell)} numbers in cell instead of 9; write three lattice vectors")
    if len(frac) != 3 * len(numbers):
        raise InputError(f"has {len(frac)} numbers in frac for {len(numbers)} atoms; write three for every atom")
    if numbers.dtype.kind == "f" and not (numbers % 1 == 0).all():
        raise InputError("has atomic numbers that are not whole; write one integer for every atom")
    vectors = cell.reshape(3, 3)
    return ase.Atoms(numbers=numbers, positions=frac.reshape(-1, 3) @ vectors, cell=vectors, pbc=True, info=dict(info))


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

"""Columns of numbers and text from Parquet tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voigt.errors import InputError, TargetError


def read_columns(
    path: str | Path, names: Sequence[str], optional: Sequence[str] = (), present: Sequence[str] = ()
) -> dict[str, list[Any]]:
    """Whole columns as lists, None where a value is null.

    Parameters
    ----------
    path
        The table.
    names
        Columns to read.
    optional
        Columns to read where there are any; else they are None throughout.
    present
        Columns that must be there but are not read.

    Raises
    ------
    InputError
        No such file, or not a readable Parquet file.
    TargetError
        A column is missing.
    """
    import pyarrow
    import pyarrow.parquet

    if not Path(path).is_file():
        raise InputError(f"no such file: {path}; check the spelling")
    try:
        file = pyarrow.parquet.ParquetFile(path)
        known = set(file.schema_arrow.names)
        missing = [name for name in (*names, *present) if name not in known]
        if missing:
            raise TargetError(f"{path} has no column {', '.join(missing)}; give a table that has")
        read = file.read(columns=[*names, *(name for name in optional if name in known)])
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} is not a readable Parquet file; fetch or write it again") from error
    columns = {name: read.column(name).to_pylist() for name in read.column_names}
    return columns | {name: [None] * read.num_rows for name in optional if name not in known}


def float_columns(path: str | Path) -> list[str]:
    """Names of the columns of floating-point numbers; `path` must be readable."""
    import pyarrow
    import pyarrow.parquet

    return [field.name for field in pyarrow.parquet.read_schema(path) if pyarrow.types.is_floating(field.type)]

"""Parts of a store, read one after another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voigt.errors import InputError

if TYPE_CHECKING:
    import pyarrow

ROWS = 8192
"""Crystals looked at together."""


def read_tables(
    parts: Sequence[Path], columns: Sequence[str], only: Collection[str] | None = None
) -> Iterator[pyarrow.Table]:
    """Rows of all parts, some `ROWS` at a time: working on small parts one by one would cost more than reading them.

    Columns that a part lacks are left out. Errors as those of `read_part`.

    Parameters
    ----------
    parts, columns
        What to read.
    only
        Ids of the crystals that are wanted, a set for speed; of parts without one only the ids are read. None: all.
    """
    import pyarrow as pa

    held: list[Any] = []
    rows = 0
    for place, part in enumerate(parts, start=1):
        keep = None if only is None else [name in only for name in read_part(part, ["id"])["id"].to_pylist()]
        if keep is None or any(keep):
            table = read_part(part, columns)
            held.append(table if keep is None else table.filter(pa.array(keep)))
            rows += held[-1].num_rows
        if held and (rows >= ROWS or place == len(parts)):
            with _reading(part):
                together = pa.concat_tables(held)
            yield from _sliced(together)
            held, rows = [], 0


def _sliced(table: pyarrow.Table) -> Iterator[pyarrow.Table]:
    for start in range(0, table.num_rows, 2 * ROWS):
        yield table.slice(start, 2 * ROWS)


def schema_names(part: Path) -> tuple[str, ...]:
    """Names of all columns of a part; errors as those of `read_part`."""
    import pyarrow.parquet as pq

    with _reading(part):
        return tuple(pq.read_schema(part).names)


def read_part(part: Path, columns: Sequence[str]) -> pyarrow.Table:
    """Those of the columns that the part has.

    Raises
    ------
    InputError
        The part is not there, or not a readable Parquet file.
    """
    import pyarrow.parquet as pq

    with _reading(part):
        # Names that the file lacks are passed over; to look at its schema, or to share a small part among threads,
        # would double the time.
        return pq.ParquetFile(part).read(columns=list(columns), use_threads=False)


@contextmanager
def _reading(part: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"no such part of a screening: {part}; screen the collection again") from error
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{part} is not a readable part of a screening; screen again to replace it") from error

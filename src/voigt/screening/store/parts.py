"""Parts of a store, read one after another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voigt.errors import InputError

if TYPE_CHECKING:
    import pyarrow

ROWS = 8192  # crystals looked at together


def result_parts(folder: str | Path) -> list[Path]:
    """Parts with results of the screening in a folder, in the order in which they were written."""
    return sorted((Path(folder) / "parts").glob("part-*.parquet"))


def failed_parts(folder: str | Path) -> list[Path]:
    """Tables of failures that belong to a part; one without its part was left by a kill and does not count."""
    folder = Path(folder)
    paths = sorted((folder / "failed").glob("part-*.parquet"))
    return [path for path in paths if (folder / "parts" / path.name).exists()]


def read_tables(
    parts: Sequence[Path], columns: Sequence[str], only: Collection[str] | None = None
) -> Iterator[pyarrow.Table]:
    """Rows of all parts, some `ROWS` at a time: working on small parts one by one would cost more than reading them.

    A column that only some parts have (parts of version 0.1 lack some) is null in the others; one that none has is left
    out. Errors as those of `read_part`.

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
                together = pa.concat_tables(held, promote_options="default")
            for start in range(0, together.num_rows, 2 * ROWS):
                yield together.slice(start, 2 * ROWS)
            held, rows = [], 0


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

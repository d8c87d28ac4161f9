"""Parts of a store, read one after another."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from filecmp import cmp
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voigt.errors import InputError
from voigt.reasons import plain_reason

if TYPE_CHECKING:
    import pyarrow

ROWS = 8192  # crystals looked at together
MOST_ROWS = 100_000
MOST_VALUES = 100_000_000
"""Of one part: about a hundred crystals, or some 50,000 where parts were put together."""

_NAME = re.compile(r"part-(\d{6,11})(?:-(\d{6,11}))?\.parquet")
"""Of a part, and of one that was put together of all with these numbers and those between."""
_TEXTS = {"id", "source", "formula", "input_digest", "reason", "kind"}
_LISTS = {"unseen": "string", "warnings": "string", "elements": "string", "notes": "struct", "numbers": "int"}
_LISTS |= {"cell": "double", "frac": "double"}


def result_parts(folder: str | Path) -> list[Path]:
    """Parts with results of the screening in a folder, in the order in which they were written.

    Raises
    ------
    InputError
        A part is there twice, under two names: its crystals would count twice.
    """
    parts = part_files(Path(folder) / "parts")
    for copy, first in copies(parts).items():
        raise InputError(f"{copy} is a copy of {first.name}: its crystals would count twice; remove the copy")
    return parts


def part_files(folder: Path) -> list[Path]:
    """Parts of a folder by number, without those that others have taken in; other files are none of a screening's."""
    named = named_parts(folder)
    taken = _taken_in(named)
    return [path for path in named if path not in taken]


def superseded(folder: Path) -> list[Path]:
    """Parts of a folder that others have taken in: a kill left them."""
    return sorted(_taken_in(named_parts(folder)))


def part_range(path: Path) -> tuple[int, int] | None:
    """First and last number in the name of a part; None for a name that is no part's."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        return None
    first, last = int(found[1]), int(found[2] or found[1])
    return (first, last) if first <= last else None


def part_name(first: int, last: int) -> str:
    """The name of a part that was put together of these and those between."""
    return f"part-{first:06d}-{last:06d}.parquet"


def named_parts(folder: Path) -> list[Path]:
    """All parts of a folder by number, with those that others have taken in."""
    ranges = {path: part_range(path) for path in folder.glob("part-*")}
    named = [(span, path) for path, span in ranges.items() if span is not None and path.is_file()]
    return [path for _, path in sorted(named, key=lambda pair: (pair[0][0], -pair[0][1], pair[1].name))]


def _taken_in(named: Sequence[Path]) -> set[Path]:
    """Those inside the range of one before them, which begins no later and is longer."""
    taken, end = set(), -1
    for path in named:
        span = part_range(path)
        if span is None:
            continue
        if span[1] <= end:
            taken.add(path)
        elif span[1] > span[0]:
            end = span[1]
    return taken


def copies(parts: Sequence[Path]) -> dict[Path, Path]:
    """Parts with the content of an earlier one -> that one; those without rows are all alike and no copies."""
    sizes = {path: path.stat().st_size for path in parts}
    found: dict[Path, Path] = {}
    for _, group in groupby(sorted(parts, key=lambda path: (sizes[path], part_range(path) or (0, 0))), key=sizes.get):
        first: list[Path] = []
        for path in group:
            same = next((other for other in first if cmp(path, other, shallow=False)), None)
            if same is None:
                first.append(path)
            elif _has_rows(path):
                found[path] = same
    return found


def _has_rows(part: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool(pq.read_metadata(part).num_rows > 0)
    except (OSError, pa.ArrowException):  # whoever reads it says so
        return False


def failed_parts(folder: str | Path) -> list[Path]:
    """Tables of failures that belong to a part; one without its part was left by a kill and does not count."""
    folder = Path(folder)
    names = {path.name for path in part_files(folder / "parts")}
    return [path for path in named_parts(folder / "failed") if path.name in names]


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
        file = pq.ParquetFile(part)
        check_size(file.metadata)
        names = file.schema_arrow.names
        if twice := [name for name in columns if names.count(name) > 1]:
            raise ValueError(f"it has the column '{twice[0]}' twice")
        table = file.read(columns=list(columns), use_threads=False)
        check_types(table)
        if absent := [name for name in ("id", "reason") if name in columns and name not in table.column_names]:
            raise ValueError(f"it has no column '{absent[0]}'")
        return table


def check_size(metadata: pyarrow.parquet.FileMetaData) -> None:
    """ValueError for a part of which a few bytes would become more than memory holds."""
    values = 0
    for group in range(min(metadata.num_row_groups, MOST_ROWS)):
        row_group = metadata.row_group(group)
        values += sum(row_group.column(k).num_values for k in range(row_group.num_columns))
        if values > MOST_VALUES:
            break
    if metadata.num_rows > MOST_ROWS or metadata.num_row_groups > MOST_ROWS or values > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_ROWS:,} rows or {MOST_VALUES:,} values")


def check_types(table: pyarrow.Table) -> None:
    """ValueError for a column of texts or lists that holds something else; numbers are checked where they are read."""
    for name, kind in zip(table.column_names, map(str, table.schema.types), strict=True):
        wrong = name in _TEXTS and kind != "string"
        wrong |= name in _LISTS and not re.match(rf"list<\w+: {_LISTS[name]}", kind)
        wrong |= name in ("id", "input_digest", "source", "reason") and table[name].null_count > 0
        if wrong:
            raise ValueError(f"its column '{name}' is {kind}")


@contextmanager
def as_written() -> Iterator[None]:
    """InputError for columns that are absent or hold what no screening writes, where they are looked at."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        reason = plain_reason(error)[:200]
        raise InputError(f"parts hold rows that no screening writes ({reason}); screen into a new folder") from error


@contextmanager
def _reading(part: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        remedy = "if a screening writes there now ask again, else screen the collection again"
        raise InputError(f"no such part of a screening: {part}; {remedy}") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = f" ({plain_reason(error)})" if type(error) is ValueError else ""
        raise InputError(f"{part} is not a readable part of a screening{reason}; screen again to replace it") from error

"""Putting the many small parts of a store together, so that a million crystals are twenty files and not eight thousand.

A new part bears the numbers of all that it holds, and appears whole by a rename; from then on those are left out, and
are removed. A kill at any moment leaves either the old parts or the new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from voigt.errors import InputError, OutputError
from voigt.files import atomic_write
from voigt.screening.store.done import merged, write_index
from voigt.screening.store.manifest import MANIFEST, read_manifest
from voigt.screening.store.parts import ROWS, failed_parts, part_files, part_name, part_range
from voigt.screening.store.store import index_of, locked, read_entries, read_whole, sweep

CRYSTALS = 50_000
"""Of a part that is put together, at most."""
BYTES = 1 << 29
"""Of the parts that go into one, at most: large cells fill a part with fewer crystals."""
LARGE = CRYSTALS // 2
"""From here on a part stays as it is: writing it again for each small one that it could still take would be a waste."""
MANY = 64
"""Small parts from which on a screening puts them together at its end."""
ROUND = 390
"""And from which on it does so while it runs, so that one that is killed is opened quickly: 390 * 128 fill one file."""


def compact(folder: str | Path) -> tuple[int, int]:
    """Put small parts of a screening together, into files of some 50,000 crystals.

    Parts that are damaged stay as they are: the next `voigt screen` puts them aside.

    Returns
    -------
    Number of parts before and after.

    Raises
    ------
    InputError
        There is no screening in the folder, or another process writes to it.
    OutputError
        The folder cannot be written.

    Examples
    --------
    >>> compact("insulators")  # doctest: +SKIP
    (779, 2)
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} holds no screening (no {MANIFEST}); give the folder of -o")
    with locked(folder):
        return compact_held(folder)


def compact_held(folder: Path) -> tuple[int, int]:
    """The same for a folder that this process holds."""
    properties = read_manifest(folder)["job"]["properties"]
    sweep(folder)
    before = part_files(folder / "parts")
    for group in list(_groups(before)):
        _put_together(folder, group, properties)
    return len(before), len(part_files(folder / "parts"))


def small_parts(folder: Path) -> int:
    """How many parts were not put together yet."""
    spans = [part_range(path) for path in part_files(folder / "parts")]
    return sum(span is not None and span[0] == span[1] for span in spans)


def _groups(parts: Sequence[Path]) -> Iterator[list[Path]]:
    """Neighbors that fit into one file; single ones are left out, and so are those that are large by themselves."""
    group: list[Path] = []
    rows = size = 0
    for path in parts:
        try:
            many = pq.read_metadata(path).num_rows
        except (OSError, pa.ArrowException):  # damaged: no part of a group
            many = CRYSTALS
        bulk = path.stat().st_size
        if many >= LARGE:
            many = CRYSTALS
        if group and (rows + many > CRYSTALS or size + bulk > BYTES):
            if len(group) > 1:
                yield group
            group, rows, size = [], 0, 0
        group.append(path)
        rows, size = rows + many, size + bulk
    if len(group) > 1:
        yield group


def _put_together(folder: Path, parts: Sequence[Path], properties: Sequence[str]) -> None:
    spans = [span for span in map(part_range, parts) if span is not None]
    name = part_name(spans[0][0], spans[-1][1])
    failed = {path.name: path for path in failed_parts(folder)}
    lost = [failed[path.name] for path in parts if path.name in failed]
    try:
        held = merged([read_entries(path, folder / "failed" / path.name, properties) for path in parts])
        tables = [read_whole(path) for path in lost]
        schema = pa.unify_schemas([pq.read_schema(path) for path in parts])
    except (pa.ArrowException, OSError, AttributeError, KeyError, TypeError, ValueError):
        return  # damaged: the next screening puts it aside
    if held.repeated:
        return
    if tables:
        with atomic_write(folder / "failed" / name, "wb") as stream:
            table = pa.concat_tables(tables, promote_options="default")
            pq.write_table(table, stream, compression="zstd", write_page_checksum=True)
    target = folder / "parts" / name
    with (
        atomic_write(target, "wb") as stream,
        pq.ParquetWriter(stream, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for group in _row_groups(parts, schema):
            writer.write_table(group, row_group_size=ROWS)
    write_index(index_of(target), held, target.stat().st_size)
    try:
        for path in (*parts, *lost):
            path.unlink()
            index_of(path).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror or error}; run it again") from error


def _row_groups(parts: Sequence[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables of at least `ROWS` rows, so that memory is bounded by them."""
    waiting: list[pa.Table] = []
    rows = 0
    for path in parts:
        table = read_whole(path)
        absent = [field for field in schema if field.name not in table.column_names]
        for field in absent:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        waiting.append(table.select(schema.names).cast(schema))
        rows += table.num_rows
        if rows >= ROWS:
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)

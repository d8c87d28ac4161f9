"""Collections of crystals, of any size and format, opened by what a user writes on the command line."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b, file_digest
from itertools import islice
from pathlib import Path, PurePosixPath
from sqlite3 import DatabaseError

from voigt.errors import InputError
from voigt.notes import Failure
from voigt.screening.sources.archives import archive_entries, archive_kind
from voigt.screening.sources.optimade import Patience, is_query, open_query, optimade_entries
from voigt.screening.sources.parquet import count_rows, parquet_entries
from voigt.structures.inputs import Input
from voigt.structures.intake import Entry, placed, settled
from voigt.structures.readers import database
from voigt.structures.readers.failures import guard
from voigt.structures.readers.formats import is_structure_file, parse_bytes, parse_file
from voigt.structures.readers.packing import unpacked
from voigt.structures.readers.recognition import bare_name, format_of_name, may_hold_structures

LABEL = "a structure file"
_TABLES = (".parquet", ".pq")


@dataclass(frozen=True)
class Collection:
    """Crystals that can be read one by one, any number of times, always in the same order.

    Attributes
    ----------
    name
        As given: a path or an address.
    kind
        "parquet", "folder", "tar", "zip", "optimade", "stdin", or the format of a single file ("extxyz", "database",
        "json_lines", ...; "file" if only its content tells).
    fingerprint
        Hexadecimal digest of the names, sizes and times of all files (of an address: the query and its number of
        results; of standard input: the content). A different one means that the collection has changed.
    count
        How many structures there are, if known without reading them.
    """

    name: str
    kind: str
    fingerprint: str
    count: int | None
    _entries: Callable[[], Iterator[Entry]] = field(repr=False, compare=False)

    def structures(self, known: Callable[[str], bool] | None = None) -> Iterator[Input]:
        """All structures, broken ones as failures; the ids of the others are all different.

        Sound structures whose id is `known` are left out, which saves much of the work.

        Raises InputError: a server of OPTIMADE fails on the way.
        """
        return settled(self._entries(), False, known)


def open_collection(text: str, patience: Patience | None = None) -> Collection:
    """Open a collection: find out what it is, and that it holds crystals.

    Parameters
    ----------
    text
        Path of a Parquet table (columns numbers, cell, frac; scalar columns become info) or a folder of such; of a
        folder of structure files, subfolders included; of a tar (plain, gz, bz2, xz) or zip archive of such; of an
        extended XYZ, an ASE database, JSON lines or any other file that `voigt.structures.read` takes; the
        address of an OPTIMADE query, "optimade:https://host/v1/structures?filter=..."; or "-", standard input.
    patience
        Timeouts and retries with OPTIMADE servers.

    Raises
    ------
    InputError
        Nothing there, or nothing in it that could be read.

    Examples
    --------
    >>> collection = open_collection("examples/three_crystals.xyz")
    >>> collection.kind, [structure.id for structure in collection.structures()]
    ('extxyz', ['MgO', 'BaTiO3-tetragonal', 'ZnO-wurtzite'])
    """
    if is_query(text):
        query = open_query(text, patience or Patience())
        fingerprint = _digest([f"{query.url} {query.count}"])
        return Collection(text, "optimade", fingerprint, query.count, partial(optimade_entries, query))
    if text == "-":
        return _standard_input()
    path = Path(text)
    if path.is_dir():
        collection = _folder(text, path)
    elif path.is_file():
        collection = _file(text, path)
    elif path.exists():
        raise InputError(f"{text} is neither a file nor a folder; give one of them, which can be read again")
    else:
        raise InputError(f"no such file or folder: {text}; check the spelling")
    start = list(islice(collection.structures(), 2))
    if not start:
        raise InputError(f"no crystals in {text}; give a collection that holds some")
    if len(start) == 1 and isinstance(start[0], Failure):
        raise InputError(f"no crystals in {text}: {start[0].problem}")
    return collection


def _file(text: str, path: Path) -> Collection:
    name = bare_name(path)
    fingerprint = _digest([_mark(path.name, path)])
    if _is_table(path):
        return Collection(text, "parquet", fingerprint, count_rows(path), partial(parquet_entries, path, name))
    archive = archive_kind(path)
    if archive is not None:
        return Collection(text, archive, fingerprint, None, partial(archive_entries, path, archive, name))
    kind = format_of_name(path) or "file"
    count = _count_database(path) if kind == "database" else None
    return Collection(text, kind, fingerprint, count, partial(_file_entries, path, name))


def _count_database(path: Path) -> int | None:
    try:
        return database.count_rows(path)
    except (InputError, DatabaseError):
        return None  # the reader of databases says why


def _is_table(path: Path) -> bool:
    if path.suffix.lower() in _TABLES:
        return True
    if format_of_name(path) is not None:
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"PAR1"
    except OSError:
        return False  # the reader of structure files says why


def _file_entries(path: Path, name: str) -> Iterator[Entry]:
    return placed(guard(parse_file(path), LABEL), str(path), name)


def _folder(text: str, path: Path) -> Collection:
    if (path / "manifest.json").is_file() and (path / "parts").is_dir():
        path = path / "parts"  # of an earlier screening
    tables: list[PurePosixPath] = []
    has_structures = False

    def marks() -> Iterator[str]:
        nonlocal has_structures
        for inner in _walk(path, PurePosixPath()):
            if inner.suffix.lower() in _TABLES:
                tables.append(inner)
            elif may_hold_structures(inner):
                has_structures = True
            else:
                continue
            yield _mark(inner.as_posix(), path / inner)

    fingerprint = _digest(marks())
    if tables and has_structures:
        raise InputError(f"{text} holds Parquet tables and structure files; give a folder with only one of them")
    if not tables:
        return Collection(text, "folder", fingerprint, None, partial(_folder_entries, path))
    counts = [_count_or_problem(path / inner) for inner in tables]
    faults = [count for count in counts if isinstance(count, InputError)]
    if len(faults) == len(counts):
        raise faults[0]
    # A broken table is one failure.
    total = sum(1 if isinstance(count, InputError) else count for count in counts)
    return Collection(text, "parquet", fingerprint, total, partial(_table_entries, path, tables))


def _count_or_problem(path: Path) -> int | InputError:
    try:
        return count_rows(path)
    except InputError as error:
        return error


def _table_entries(path: Path, tables: Iterable[PurePosixPath]) -> Iterator[Entry]:
    for inner in tables:
        yield from parquet_entries(path / inner, inner.with_suffix("").as_posix())


def _folder_entries(path: Path) -> Iterator[Entry]:
    for inner in _walk(path, PurePosixPath()):
        if is_structure_file(path / inner) or (path / inner).is_dir():
            yield from _file_entries(path / inner, (inner.parent / bare_name(inner)).as_posix())


def _walk(top: Path, inner: PurePosixPath, above: frozenset[Path] = frozenset()) -> Iterator[PurePosixPath]:
    """Paths, relative to `top`, of all files in its folder `inner` and below, by name; hidden ones are left out.

    Links to folders are followed unless they lead back to a folder that holds them. A folder that cannot be listed
    counts as a file, to be named as unreadable.
    """
    here = top / inner
    real = here.resolve()
    if real in above:
        return
    try:
        with os.scandir(here) as listing:
            entries = sorted((entry.name, _is_folder(entry)) for entry in listing if not entry.name.startswith("."))
    except OSError:
        yield inner
        return
    for name, is_folder in entries:
        if is_folder:
            yield from _walk(top, inner / name, above | {real})
        elif is_folder is not None:
            yield inner / name


def _is_folder(entry: os.DirEntry[str]) -> bool | None:
    """None for pipes and devices, which may never end."""
    if entry.is_symlink():
        if os.path.isdir(entry):
            return True
        return None if os.path.exists(entry) and not os.path.isfile(entry) else False
    return entry.is_dir() or (False if entry.is_file() else None)


def _standard_input() -> Collection:
    """What comes in is kept in a nameless temporary file while the process lives, to be read again."""
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        spool.seek(0)
        digest = file_digest(spool, partial(blake2b, digest_size=16))
        if spool.tell() == 0:
            raise InputError("standard input is empty; pipe structures into this command or give a file")
        handle = os.dup(spool.fileno())
    return Collection("-", "stdin", digest.hexdigest(), None, partial(_spooled_entries, handle))


def _spooled_entries(handle: int) -> Iterator[Entry]:
    os.lseek(handle, 0, os.SEEK_SET)
    with open(handle, "rb", buffering=0, closefd=False) as stream, unpacked(stream) as content:
        yield from placed(guard(parse_bytes(content, None), LABEL), "-", "stdin")


def _mark(name: str, path: Path) -> str:
    """One line on a file that changes when the file does."""
    try:
        state = path.stat()
    except OSError:
        return f"{name} gone"
    return f"{name} {state.st_size} {state.st_mtime_ns}"


def _digest(marks: Iterable[str]) -> str:
    digest = blake2b(digest_size=16)
    for mark in marks:
        digest.update(mark.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()

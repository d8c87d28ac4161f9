"""Crystals from tar and zip archives of structure files, member by member, nothing unpacked to disk."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from voigt.errors import InputError
from voigt.structures.inputs import Input
from voigt.structures.intake import Entry, placed
from voigt.structures.readers.failures import explain, unreadable
from voigt.structures.readers.formats import bare_name, format_of_name, holds_structures, parse_bytes
from voigt.structures.readers.packing import LOOK_AHEAD, unpacked

_TAR = (".tar", ".tgz", ".tbz2", ".tbz", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
_MAGIC_PLACE = 257  # where the header of a tar archive says "ustar"

Member = tuple[str, Callable[[], Any]]  # name of a regular file in an archive, and a function that opens it


def archive_kind(path: Path) -> str | None:
    """Say "tar" or "zip", by the name of a file or its first bytes; None if it is no archive."""
    name = path.name.lower()
    if name.endswith(".zip"):
        return "zip"
    if name.endswith(_TAR):
        return "tar"
    if format_of_name(path) is not None:
        return None
    try:
        with path.open("rb", buffering=0) as stream, unpacked(stream) as content:
            head = content.peek(_MAGIC_PLACE + 5)
    except Exception:  # spoilt packing raises errors of many kinds: left to the reader of structure files
        return None
    if head.startswith(b"PK\3\4"):
        return "zip"
    return "tar" if head[_MAGIC_PLACE : _MAGIC_PLACE + 5] == b"ustar" else None


def archive_entries(path: Path, kind: str, name: str) -> Iterator[Entry]:
    """Structures of all members that are structure files, in the order of the archive.

    Members are named by their path in the archive, without suffix and without steps that lead out of it. A member
    that cannot be read becomes a failure, and so does the place where the archive itself breaks off.
    """
    seen = 0
    try:
        for member, open_member in _tar_members(path) if kind == "tar" else _zip_members(path):
            seen += 1
            inner = _inner_path(member)
            promised = None if inner is None else format_of_name(inner)
            if inner is not None and promised is not None:
                label = (inner.parent / bare_name(inner)).as_posix()
                yield from placed(_parse(open_member, promised), f"{path}!/{inner.as_posix()}", label)
    except Exception as error:  # each kind of packing has errors of its own
        failure = unreadable(f"{explain(error, f'a {kind} archive')} (after {seen} members)")
        yield replace(failure, source=str(path), index=seen), f"{name}:{seen}"


def _inner_path(member: str) -> PurePosixPath | None:
    """The path of a member, harmless; None for hidden files and those that macOS adds."""
    parts = [part for part in member.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if not parts or "__MACOSX" in parts or any(part.startswith(".") for part in parts):
        return None
    return PurePosixPath(*parts)


def _parse(open_member: Callable[[], Any], promised: str) -> Iterator[Input]:
    """Structures of a member; none if only its name is that of a structure file."""
    try:
        with open_member() as stream, unpacked(stream) as content:
            if holds_structures(promised, content):
                yield from parse_bytes(content, promised)
    except Exception as error:  # broken packing, a password, a method of packing that Python lacks
        yield unreadable(explain(error, "a structure file"))


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, partial(archive.open, info)


class _Forward:
    """A stream that cannot go back, for tarfile, and the piece of it that was read last."""

    def __init__(self, content: io.BufferedReader) -> None:
        self._content = content
        self._place = 0
        self.last = b""

    def read(self, size: int) -> bytes:
        self.last = self._content.read(size)
        self._place += len(self.last)
        return self.last

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._place

    def seek(self, place: int) -> None:
        while self._place < place and self.read(min(place - self._place, LOOK_AHEAD)):
            pass


def _tar_members(path: Path) -> Iterator[Member]:
    with path.open("rb", buffering=0) as raw, unpacked(raw) as content:
        stream: Any = _Forward(content)
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # or they would pile up
                if member.isreg():
                    yield member.name, partial(archive.extractfile, member)
        # tarfile takes a header that is cut off or broken for the end, which is a block of zeros.
        if stream.last.count(0) != tarfile.BLOCKSIZE:
            raise InputError("breaks off; fetch or pack the archive again")
        while stream.read(LOOK_AHEAD):  # the sums that gzip and xz check come last
            pass

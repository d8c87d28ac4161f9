"""Members of tar and zip archives, one after another, nothing unpacked to disk; archives of strangers are hostile."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from voigt.errors import InputError
from voigt.structures.readers.packing import LOOK_AHEAD, check_ratio, unpacked

TAR_SUFFIXES = (".tar", ".tgz", ".tbz2", ".tbz", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
MOST_MEMBERS = 5_000_000
"""Members of a zip archive, whose list is held in memory."""
MOST_HEADER = 1 << 22
"""Bytes of the name and the other remarks on one member of a tar archive."""
_MAGIC_PLACE = 257  # where the header of a tar archive says "ustar"

Member: TypeAlias = tuple[str, Callable[[], Any]]
"""Name of a regular file in an archive, and a function that opens it before the next member is asked for."""


def kind_of_archive(name: str, head: bytes) -> str | None:
    r"""Say "tar" or "zip", by the name of a file or its first unpacked bytes; None if it is no archive.

    Examples
    --------
    >>> kind_of_archive("runs.tgz", b""), kind_of_archive("runs", b"PK\3\4..."), kind_of_archive("OUTCAR", b" vasp.6")
    ('tar', 'zip', None)
    """
    lower = name.lower()
    if lower.endswith(".zip") or head.startswith(b"PK\3\4"):
        return "zip"
    is_tar = lower.endswith(TAR_SUFFIXES) or head[_MAGIC_PLACE : _MAGIC_PLACE + 5] == b"ustar"
    return "tar" if is_tar else None


def archive_members(path: Path, kind: str) -> Iterator[Member]:
    """Regular files of an archive in its order, with their raw names.

    Raises
    ------
    InputError
        It breaks off, or its list or a header is larger than any archive of files of structures needs. Each kind of
        packing has errors of its own besides.
    """
    return _tar_members(path) if kind == "tar" else _zip_members(path)


def inner_path(member: str) -> PurePosixPath | None:
    """The path of a member, harmless; None for hidden files and those that macOS adds.

    Examples
    --------
    >>> inner_path("../run/./OUTCAR"), inner_path("run/.hidden")
    (PurePosixPath('run/OUTCAR'), None)
    """
    parts = [part for part in member.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if not parts or "__MACOSX" in parts or any(part.startswith(".") for part in parts):
        return None
    return PurePosixPath(*parts)


def _zip_members(path: Path) -> Iterator[Member]:
    _check_size_of_list(path)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, partial(_open_zipped, archive, info)


def _open_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    if info.flag_bits & 1:
        raise InputError("is encrypted; unpack the archive with its password")
    check_ratio(info.file_size, info.compress_size)
    return archive.open(info)


def _check_size_of_list(path: Path) -> None:
    """Refuse a list of members that memory should not hold; its end says how long it is."""
    with path.open("rb") as stream:
        end = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, end - (1 << 16) - 128))
        tail = stream.read()
    place = tail.rfind(b"PK\5\6")
    size = int.from_bytes(tail[place + 12 : place + 16], "little") if place >= 0 else 0
    if size == 0xFFFFFFFF:
        place = tail.rfind(b"PK\6\6")
        size = int.from_bytes(tail[place + 40 : place + 48], "little") if place >= 0 else 0
    if size > MOST_MEMBERS * 46:  # bytes that a member takes at least
        raise InputError(f"has more than {MOST_MEMBERS} members; split it")


class _Forward:
    """A stream that cannot go back, for tarfile, and the piece of it that was read last."""

    def __init__(self, content: io.BufferedReader) -> None:
        self._content = content
        self._place = 0
        self.last = b""
        self.most = sys.maxsize
        """Bytes that one call may ask for, limited while headers are read."""

    def read(self, size: int) -> bytes:
        if size > self.most:
            raise InputError(f"has a header of {size} bytes; pack the archive again")
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


def _next_header(archive: tarfile.TarFile, stream: _Forward) -> tarfile.TarInfo | None:
    stream.most = max(MOST_HEADER, LOOK_AHEAD)
    try:
        return archive.next()
    except tarfile.TarError as error:
        raise InputError("breaks off or is damaged; fetch or pack the archive again") from error
    finally:
        stream.most = sys.maxsize


def _open_tarred(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    if member.issparse():
        raise InputError("is stored as a file with holes; pack the archive again without --sparse")
    return archive.extractfile(member)


def _tar_members(path: Path) -> Iterator[Member]:
    with path.open("rb", buffering=0) as raw, unpacked(raw) as content:
        stream: Any = _Forward(content)
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (member := _next_header(archive, stream)) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # or they would pile up
                if member.isreg():
                    yield member.name, partial(_open_tarred, archive, member)
        # tarfile takes a header that is cut off or broken for the end, which is a block of zeros.
        if stream.last.count(0) != tarfile.BLOCKSIZE:
            raise InputError("breaks off; fetch or pack the archive again")
        while stream.read(LOOK_AHEAD):  # the sums that gzip and xz check come last
            pass

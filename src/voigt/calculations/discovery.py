"""Runs in files, folders and archives, found by what files hold; nothing is unpacked to disk, no link leads outside."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from voigt.calculations.calculation import RunFile
from voigt.calculations.codes import CODES, Code
from voigt.errors import InputError
from voigt.notes import Failure
from voigt.structures.readers.archives import archive_members, inner_path, kind_of_archive
from voigt.structures.readers.failures import explain
from voigt.structures.readers.packing import unpacked, without_packing

HEAD = 1 << 16
"""Bytes of a file by which it is recognized."""
LARGEST = 1 << 28
"""Bytes of a file that is read."""
MOST_HELD = 1 << 30
"""Bytes of members of a tar archive that wait for others of their folder."""
_BINARY = (b"CDF", b"\x89HDF")
"""Beginnings of binary files that a code may want to see: NetCDF and HDF5."""


@dataclass(frozen=True)
class Run:
    """Files of one folder that one code recognizes.

    Attributes
    ----------
    code
        Whose they are.
    files
        By name.
    identity
        What its calculations are called unless their files give a name: the folder, from the source on.
    """

    code: Code
    files: tuple[RunFile, ...]
    identity: str


def discover(sources: Sequence[str | Path]) -> Iterator[Run | Failure]:
    """Runs in all sources, folder by folder; what cannot be opened is a failure in its place.

    Parameters
    ----------
    sources
        Files, folders (with all that lie in them; links that lead out of them are not followed), tar and zip archives;
        files in all of them may be packed by gzip, bzip2 or xz. Files that are given one by one and lie in one folder
        are one run.

    Raises
    ------
    InputError
        A source does not exist (all of them are named).
    """
    paths = [Path(source) for source in sources]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise InputError(f"no such file or folder: {', '.join(missing)}; check the spelling")
    return _of_sources(paths)


def _of_sources(paths: Sequence[Path]) -> Iterator[Run | Failure]:
    alone: dict[Path, list[Path]] = {}
    for path in paths:
        if not path.is_dir():
            alone.setdefault(path.parent, []).append(path)
    for path in paths:
        if path.is_dir():
            yield from _of_tree(path)
        elif path.parent in alone:
            files = alone.pop(path.parent)
            identity = _bare(files[0]) if len(files) == 1 else path.parent.resolve().name
            yield from _of_folder(files, identity, "", None)


def _of_tree(root: Path) -> Iterator[Run | Failure]:
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        here = Path(folder)
        inner = here.relative_to(root).as_posix()
        paths = [here / name for name in sorted(names) if not name.startswith(".")]
        within = "" if inner == "." else f"{inner}/"
        yield from _of_folder(paths, root.resolve().name if inner == "." else inner, within, root)


def _of_folder(paths: Sequence[Path], identity: str, within: str, root: Path | None) -> Iterator[Run | Failure]:
    """Runs of the files of one folder, then those of archives in it.

    `within` is the beginning of the ids of what is inside of files; `root` the folder that was given, None if the files
    themselves were.
    """
    found: dict[Code, list[RunFile]] = {}
    archives: list[tuple[Path, str]] = []
    for path in paths:
        if root is not None and path.is_symlink() and not _inside(path, root):
            if _owner(_file(path, "", b"")) is not None:
                yield _failure(path, "is a link out of the folder that was given; give its target as well")
            continue
        if not path.is_file():
            continue
        try:
            head = _head(path)
        except Exception as error:  # each kind of packing has errors of its own
            if root is None or _owner(_file(path, "", b"")) is not None:
                yield _failure(path, explain(error, "an output"))
            continue
        kind = kind_of_archive(path.name, head)
        if kind is not None:
            archives.append((path, kind))
            continue
        file = _file(path, _text(head), head)
        code = _owner(file)
        if code is not None and code.separate:
            yield Run(code, (file,), within + _bare(path))
        elif code is not None:
            found.setdefault(code, []).append(file)
        elif root is None:
            yield _failure(path, f"is no output that voigt knows; give one of {', '.join(code.name for code in CODES)}")
    yield from _runs(found, identity)
    for path, kind in archives:
        yield from _of_archive(path, kind, within + _bare(path))


def _runs(found: dict[Code, list[RunFile]], identity: str) -> Iterator[Run]:
    for code in CODES:
        if code in found:
            yield Run(code, tuple(found[code]), identity)


def _file(path: Path, head: str, start: bytes) -> RunFile:
    binary = start.startswith(_BINARY)
    return RunFile(str(path), without_packing(path).name, head, partial(_whole, path, binary))


def _head(path: Path) -> bytes:
    with path.open("rb", buffering=0) as stream, unpacked(stream) as content:
        return content.peek(HEAD)[:HEAD]


def _text(start: bytes) -> str:
    """The head as text; "" of what is binary, unless a code may read such files."""
    if b"\0" in start and not start.startswith(_BINARY):
        return ""
    return start.decode("utf-8", "replace")


def _whole(path: Path, binary: bool) -> str:
    with path.open("rb", buffering=0) as stream, unpacked(stream) as content:
        return _bounded(content, binary)


def _bounded(content: Any, binary: bool) -> str:
    data: bytes = content.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise InputError(f"holds more than {LARGEST >> 20} MB; give the part of it with the tensors")
    if binary:
        raise InputError("is no text; the library that reads it is given the file itself")
    return data.decode("utf-8", "replace")


def _owner(file: RunFile) -> Code | None:
    return next((code for code in CODES if code.recognizes(file)), None)


def _inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _bare(path: PurePath) -> str:
    name = without_packing(path).name
    return next(
        (name[: -len(end)] for end in (".tar", ".tgz", ".tbz2", ".txz", ".zip", ".json") if name.endswith(end)), name
    )


def _failure(path: Path | str, problem: str) -> Failure:
    return Failure(str(path), 0, "", "unreadable", problem)


# Archives


@dataclass
class _Waiting:
    """Files of one folder of an archive that have been read, and how many there will be."""

    expected: Counter[Code] = field(default_factory=Counter)
    found: dict[Code, list[RunFile]] = field(default_factory=dict)

    def complete(self) -> bool:
        return all(len(self.found.get(code, ())) >= count for code, count in self.expected.items())


def _of_archive(path: Path, kind: str, label: str) -> Iterator[Run | Failure]:
    """Runs of an archive, which is gone through twice: to see what it holds, and to read that."""
    waiting: dict[PurePosixPath, _Waiting] = {}
    owners: dict[tuple[int, str], Code] = {}
    reason = ""
    try:
        for number, (member, open_member) in enumerate(archive_members(path, kind)):
            inner = inner_path(member)
            if inner is None:
                continue
            try:
                with open_member() as stream, unpacked(stream) as content:
                    start = content.peek(HEAD)[:HEAD]
            except Exception as error:  # broken packing, a password
                yield _failure(f"{path}:{inner}", explain(error, "an output"))
                continue
            if kind_of_archive(inner.name, start) is not None:
                yield _failure(f"{path}:{inner}", "is an archive inside an archive; unpack the outer one")
                continue
            code = _owner(_member(path, inner, _text(start), ""))
            if code is not None:
                owners[number, member] = code
                waiting.setdefault(inner.parent, _Waiting()).expected[code] += 1
    except Exception as error:  # what lies before the place where it breaks off is read
        reason = explain(error, f"a {kind} archive")
    yield from _second_pass(path, kind, label, owners, waiting, broken=bool(reason))
    if reason:
        yield _failure(path, reason)
    elif not owners:
        yield _failure(path, "holds no output that voigt knows; give another archive")


def _second_pass(
    path: Path,
    kind: str,
    label: str,
    owners: dict[tuple[int, str], Code],
    waiting: dict[PurePosixPath, _Waiting],
    broken: bool,
) -> Iterator[Run | Failure]:
    held = 0
    left = len(owners)
    try:
        for number, (member, open_member) in enumerate(archive_members(path, kind)) if owners else ():
            code = owners.get((number, member))
            inner = inner_path(member)
            if code is None or inner is None:
                continue
            left -= 1
            folder = waiting[inner.parent]
            place = f"{label}/{inner.parent}" if inner.parent.name else label
            try:
                with open_member() as stream, unpacked(stream) as content:
                    text = _bounded(content, binary=False)
            except Exception as error:  # broken packing
                yield _failure(f"{path}:{inner}", explain(error, "an output"))
                folder.expected[code] -= 1
            else:
                file = _member(path, inner, text[:HEAD], text)
                if code.separate:
                    folder.expected[code] -= 1
                    yield Run(code, (file,), f"{place}/{_bare(inner)}")
                else:
                    folder.found.setdefault(code, []).append(file)
                    held += len(text)
            if folder.complete():
                held -= sum(len(file.read()) for files in folder.found.values() for file in files)
                yield from _runs(folder.found, place)
                del waiting[inner.parent]
            if held > MOST_HELD:
                raise InputError(
                    f"holds folders whose files lie far apart, of more than {MOST_HELD >> 20} MB; unpack it"
                )
            if not left:
                return
    except Exception as error:
        if not broken:  # else it has been named
            yield _failure(path, explain(error, f"a {kind} archive"))
    for parent, folder in waiting.items():
        yield from _runs(folder.found, f"{label}/{parent}" if parent.name else label)


def _member(path: Path, inner: PurePosixPath, head: str, text: str) -> RunFile:
    return RunFile(f"{path}:{inner}", without_packing(inner).name, head, lambda: text)

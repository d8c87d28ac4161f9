"""Crystals from tar and zip archives of structure files, member by member, nothing unpacked to disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from voigt.structures.inputs import Input
from voigt.structures.intake import Entry, placed
from voigt.structures.readers.archives import TAR_SUFFIXES, archive_members, inner_path, kind_of_archive
from voigt.structures.readers.failures import explain, unreadable
from voigt.structures.readers.formats import parse_bytes, shows_structures
from voigt.structures.readers.packing import unpacked
from voigt.structures.readers.recognition import bare_name, format_of_name, may_hold_structures

_HEAD = 512


def archive_kind(path: Path) -> str | None:
    """Say "tar" or "zip", by the name of a file or its first bytes; None if it is no archive."""
    named = path.name.lower().endswith((".zip", *TAR_SUFFIXES))
    if not named and format_of_name(path) is not None:
        return None
    try:
        with path.open("rb", buffering=0) as stream, unpacked(stream) as content:
            head = content.peek(_HEAD)
    except Exception:  # spoilt packing raises errors of many kinds: left to the reader of structure files
        head = b""
    return kind_of_archive(path.name, head)


def archive_entries(path: Path, kind: str, name: str) -> Iterator[Entry]:
    """Structures of all members that are structure files, in the order of the archive.

    Members are named by their path in the archive, without suffix and without steps that lead out of it. A member
    that cannot be read becomes a failure, and so does the place where the archive itself breaks off.
    """
    seen = 0
    try:
        for member, open_member in archive_members(path, kind):
            seen += 1
            inner = inner_path(member)
            if inner is not None and may_hold_structures(inner):
                label = (inner.parent / bare_name(inner)).as_posix()
                yield from placed(_parse(open_member, inner), f"{path}!/{inner.as_posix()}", label)
    except Exception as error:  # each kind of packing has errors of its own
        failure = unreadable(f"{explain(error, f'a {kind} archive')} (after {seen} members)")
        yield replace(failure, source=str(path), index=seen), f"{name}:{seen}"


def _parse(open_member: Callable[[], Any], name: PurePosixPath) -> Iterator[Input]:
    """Structures of a member; none if only its name is that of a structure file."""
    try:
        with open_member() as stream, unpacked(stream) as content:
            if shows_structures(name, content):
                yield from parse_bytes(content, name)
    except Exception as error:  # broken packing, a password, a method of packing that Python lacks
        yield unreadable(explain(error, "a structure file"))

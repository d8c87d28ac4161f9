"""Which format a file has, by its name or its content, and the reader for it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path, PurePath
from typing import TextIO

from voigt.errors import InputError
from voigt.structures.inputs import Input
from voigt.structures.readers.ase_formats import read_cif, read_database, read_vasprun
from voigt.structures.readers.extxyz import read_extxyz
from voigt.structures.readers.failures import guard, unreadable
from voigt.structures.readers.packing import LOOK_AHEAD, unpacked, without_packing
from voigt.structures.readers.poscar import read_poscar
from voigt.structures.readers.pymatgen_json import read_json_lines, read_pymatgen_json

LABELS = {
    "cif": "CIF",
    "poscar": "POSCAR",
    "extxyz": "extended XYZ",
    "vasprun": "vasprun.xml",
    "database": "ASE database",
    "json": "pymatgen JSON",
    "json_lines": "JSON lines",
}
_SUFFIXES = {
    ".cif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".xml": "vasprun",
    ".db": "database",
    ".json": "json",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
}
_SHARED = ("json", "json_lines", "vasprun")
"""Formats whose suffix many other things have."""
_HEAD_LINES, _HEAD_CHARACTERS = 200, 1 << 20
_LARGEST = 1 << 29
"""Characters of a line, or of a text that is read whole: only what a packed bomb unfolds to has more."""
_NUMBER = r"[ \t]*[-+]?[0-9.]+(?:[eEdD][-+]?[0-9]+)?"
_VECTOR = rf"{_NUMBER}(?:[ \t]{_NUMBER}){{2}}"
_POSCAR = re.compile(rf"[^\n]*\n(?:{_NUMBER}|{_VECTOR})[ \t]*\n(?:{_VECTOR}[^\n]*\n){{3}}")
"""A comment, one or three scaling factors, three lattice vectors."""
_ASE_JSON = re.compile(r'"nextid"\s*:')
_JSON_LINES = re.compile(r"\{[^\n]*\}[ \t\r]*\n\s*\{")
"""A whole object in the first line, and another one after it."""
_LONE_DATABASE = "is an ASE database that is packed or comes from standard input; give the unpacked file"


def format_of_name(path: PurePath) -> str | None:
    """The format that the name of a file promises, or None; a suffix of packing (.gz, .bz2, .xz) is passed over."""
    inner = without_packing(path)
    suffix = inner.suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    is_poscar = inner.name.upper().startswith(("POSCAR", "CONTCAR")) and suffix not in (".zip", ".zst")
    return "poscar" if is_poscar else None


def bare_name(path: PurePath) -> str:
    """The name of a file without the suffixes of packing and format; that of POSCAR.mp-149 is whole."""
    inner = without_packing(path)
    is_suffix = inner.suffix.lower() in _SUFFIXES or format_of_name(inner) is None
    return inner.stem if is_suffix else inner.name


def format_of_text(head: str) -> str | None:
    """The format that the first lines of a text show, or None."""
    start = head.lstrip("\ufeff \t\r\n")
    if start.startswith("SQLite format 3\0"):
        return "database"
    if "\0" in head:
        return None
    if "<modeling" in start and start.startswith("<"):
        return "vasprun"
    if _POSCAR.match(head):
        return "poscar"
    if re.match(r"\d+[ \t]*\r?\n", start):
        return "extxyz"
    if start.startswith(("{", "[")):
        return "json"
    if re.search(r"^(?:data_|_cell_length_a)", head, re.MULTILINE | re.IGNORECASE):
        return "cif"
    return None


def is_structure_file(path: Path) -> bool:
    """Whether a file met in a folder is one to read: by its name and, where many things share it, by its content."""
    promised = format_of_name(path)
    if promised is None or promised not in _SHARED:
        return promised is not None
    try:
        with path.open("rb", buffering=0) as stream, unpacked(stream) as content:
            return holds_structures(promised, content)
    except Exception:  # spoilt packing raises errors of many kinds
        return True  # to be named as unreadable


def holds_structures(promised: str, stream: io.BufferedReader) -> bool:
    """Whether a file of a promised format is one to read, by its first bytes where the name does not tell."""
    if promised not in _SHARED:
        return True
    head = stream.peek(LOOK_AHEAD).decode("utf-8", "replace")
    if promised == "vasprun":
        return "<modeling" in head
    return re.search(r'"(?:sites|lattice|structure|cell)"\s*:', head) is not None


def parse_file(path: Path) -> Iterator[Input]:
    """Structures of one file, packed by gzip, bzip2, xz or not, lazily; OSError if it cannot be opened."""
    with path.open("rb", buffering=0) as stream, unpacked(stream) as content:
        yield from parse_bytes(content, format_of_name(path), path if content.raw is stream else None)


def parse_bytes(content: io.BufferedReader, promised: str | None, path: Path | None = None) -> Iterator[Input]:
    """Structures of a binary stream that is not packed; arguments as those of `parse_stream`. Closes the stream."""
    with io.TextIOWrapper(content, encoding="utf-8-sig", errors="replace") as text:
        yield from parse_stream(text, promised, path)


def parse_stream(stream: TextIO, promised: str | None, path: Path | None) -> Iterator[Input]:
    """Structures of an open text of a promised format, or of the format that its first lines show.

    Parameters
    ----------
    stream
        Read forwards only; extended XYZ and JSON lines are never held as a whole.
    promised
        A key of `LABELS`, or None to look at the content.
    path
        Of the file; None for standard input and for what is packed.
    """
    head = _head(stream)
    text = "".join(head)
    if not text.strip() and not stream.read(1):
        yield unreadable("is empty; give a file with at least one structure")
        return
    lines = chain(head, iter(partial(stream.readline, _LARGEST), ""))
    kind = format_of_text(text) if promised is None else promised
    if kind == "json" and _JSON_LINES.match(text.lstrip()):
        kind = "json_lines"
    if kind is None:
        known = ", ".join(LABELS.values())
        yield unreadable(f"has an unknown format; give one of {known}, plain or packed by gzip, bzip2 or xz")
    elif kind == "database":
        rows = iter([unreadable(_LONE_DATABASE)]) if path is None else read_database(path, "db")
        yield from guard(rows, LABELS[kind])
    elif kind == "extxyz":
        yield from guard(read_extxyz(lines), LABELS[kind])
    elif kind == "json_lines":
        yield from guard(read_json_lines(lines), LABELS[kind])
    else:
        yield from guard(_parse_text(kind, text, stream, path), LABELS[kind])


def _head(stream: TextIO) -> list[str]:
    lines: list[str] = []
    size = 0
    while len(lines) < _HEAD_LINES and size < _HEAD_CHARACTERS and (line := stream.readline(_LARGEST)):
        lines.append(line)
        size += len(line)
    return lines


def _parse_text(kind: str, head: str, stream: TextIO, path: Path | None) -> Iterator[Input]:
    text = head + stream.read(_LARGEST)
    if stream.read(1):
        raise InputError(f"holds more than {_LARGEST >> 20} million characters; split it")
    if kind == "cif":
        return read_cif(text)
    if kind == "poscar":
        return read_poscar(text, str(path or "-/POSCAR"))
    if kind == "vasprun":
        return read_vasprun(text)
    if _ASE_JSON.search(text) is None:
        return read_pymatgen_json(text)
    if path is None:
        raise InputError(_LONE_DATABASE)
    return read_database(path, "json")

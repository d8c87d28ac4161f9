"""Which format a file has, by its name or its content, and the reader for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

from voigt.structures.ase_formats import read_cif, read_database, read_poscar, read_vasprun
from voigt.structures.extxyz import read_extxyz
from voigt.structures.parsed import Parsed, guard
from voigt.structures.pymatgen_json import read_pymatgen_json

LABELS = {
    "cif": "CIF",
    "poscar": "POSCAR",
    "extxyz": "extended XYZ",
    "vasprun": "vasprun.xml",
    "database": "ASE database",
    "json": "pymatgen JSON",
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
}
_PACKED = (".gz", ".bz2", ".xz", ".zip", ".zst")
_HEAD_LINES, _HEAD_CHARACTERS = 200, 1 << 20
_NUMBER = r"[ \t]*[-+]?[0-9.]+(?:[eEdD][-+]?[0-9]+)?"
_VECTOR = rf"{_NUMBER}(?:[ \t]{_NUMBER}){{2}}"
_POSCAR = re.compile(rf"[^\n]*\n(?:{_NUMBER}|{_VECTOR})[ \t]*\n(?:{_VECTOR}[^\n]*\n){{3}}")
"""A comment, one or three scaling factors, three lattice vectors."""
_ASE_JSON = re.compile(r'"nextid"\s*:')


def format_of_name(path: Path) -> str | None:
    """The format that the name of a file promises, or None."""
    suffix = path.suffix.lower()
    if suffix in _PACKED:
        return None
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    return "poscar" if path.name.upper().startswith(("POSCAR", "CONTCAR")) else None


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
    if promised not in ("json", "vasprun"):
        return promised is not None
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            head = stream.read(_HEAD_CHARACTERS)
    except OSError:
        return True  # to be named as unreadable
    if promised == "json":
        return re.search(r'"(?:sites|lattice|structure|cell)"\s*:', head) is not None
    return "<modeling" in head


def parse_file(path: Path) -> Iterator[Parsed]:
    """Structures of one file, lazily; OSError if it cannot be opened."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        yield from parse_stream(stream, format_of_name(path), path)


def parse_stream(stream: TextIO, promised: str | None, path: Path | None) -> Iterator[Parsed]:
    """Structures of an open text of a promised format, or of the format that its first lines show.

    Parameters
    ----------
    stream
        Read forwards only; extended XYZ is never held as a whole.
    promised
        A key of `LABELS`, or None to look at the content.
    path
        Of the file, None for standard input.
    """
    head = _head(stream)
    text = "".join(head)
    if not text.strip() and not stream.read(1):
        yield Parsed(problem="is empty; give a file with at least one structure")
        return
    kind = format_of_text(text) if promised is None else promised
    if kind == "database" and path is not None:
        yield from guard(read_database(path, "db"), LABELS[kind])
    elif kind is None or kind == "database":
        known = ", ".join(LABELS.values())
        yield Parsed(problem=f"has an unknown format; give one of {known}, unpacked")
    elif kind == "extxyz":
        yield from guard(read_extxyz(chain(head, stream)), LABELS[kind])
    else:
        yield from guard(_parse_text(kind, chain(head, stream), path), LABELS[kind])


def _head(stream: TextIO) -> list[str]:
    lines: list[str] = []
    size = 0
    while len(lines) < _HEAD_LINES and size < _HEAD_CHARACTERS and (line := stream.readline()):
        lines.append(line)
        size += len(line)
    return lines


def _parse_text(kind: str, lines: Iterable[str], path: Path | None) -> Iterator[Parsed]:
    text = "".join(lines)
    if kind == "cif":
        return read_cif(text)
    if kind == "poscar":
        return read_poscar(text, str(path or "-/POSCAR"))
    if kind == "vasprun":
        return read_vasprun(text)
    if path is not None and _ASE_JSON.search(text):
        return read_database(path, "json")
    return read_pymatgen_json(text)

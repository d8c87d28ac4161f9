"""From a file, a stream or the member of an archive to the reader for its format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedReader, BytesIO, TextIOWrapper
from itertools import chain
from pathlib import Path, PurePath
from typing import TextIO

from voigt.errors import InputError
from voigt.notes import Failure
from voigt.structures.inputs import Input
from voigt.structures.readers import abinit, aims, by_ase, castep, cp2k, espresso, phonopy_yaml, siesta
from voigt.structures.readers.cif import read_cif
from voigt.structures.readers.database import read_database, read_json_database
from voigt.structures.readers.documents import read_documents, read_json_lines
from voigt.structures.readers.extxyz import read_extxyz
from voigt.structures.readers.failures import guard, unreadable
from voigt.structures.readers.packing import LOOK_AHEAD, unpacked
from voigt.structures.readers.poscar import read_poscar
from voigt.structures.readers.recognition import (
    LABELS,
    format_of_name,
    format_of_text,
    holds_structures,
    is_plain_name,
    may_hold_structures,
)
from voigt.structures.readers.trajectory import MAGIC, read_trajectory
from voigt.structures.readers.vasp import read_outcar, read_vasprun, read_xdatcar

_WHOLE: dict[str, Callable[[str], Iterator[Input]]] = {
    "cif": read_cif,
    "poscar": read_poscar,
    "vasprun": read_vasprun,
    "outcar": read_outcar,
    "espresso_in": espresso.read_espresso_input,
    "espresso_out": espresso.read_espresso_output,
    "aims": aims.read_aims,
    "aims_out": aims.read_aims_output,
    "castep": castep.read_castep_cell,
    "castep_out": by_ase.read_castep_output,
    "abinit": abinit.read_abinit_input,
    "abinit_out": abinit.read_abinit_output,
    "cp2k": cp2k.read_cp2k,
    "fdf": siesta.read_fdf,
    "struct_out": siesta.read_struct_out,
    "xv": siesta.read_xv,
    "xsf": by_ase.read_xsf,
    "res": by_ase.read_res,
    "gen": by_ase.read_gen,
    "wien2k": by_ase.read_wien2k,
    "phonopy": phonopy_yaml.read_phonopy_yaml,
}
"""Formats of which the whole text is read at once."""
_BY_LINE: dict[str, Callable[[Iterator[str]], Iterator[Input]]] = {
    "extxyz": read_extxyz,
    "xdatcar": read_xdatcar,
    "json_lines": read_json_lines,
}
_HEAD_LINES, _HEAD_CHARACTERS = 200, 1 << 20
_LARGEST = 1 << 28
"""Characters of a line, or of a text that is read whole: only what a packed bomb unfolds to has more."""
_MOST_LINES = 10_000_000
"""Of a text that is read whole: parsers hold each line as a string of its own, 60 bytes more than its letters."""
_PIECE = 1 << 20
_ASE_JSON = re.compile(r'"nextid"\s*:')
_JSON_LINES = re.compile(r"\{[^\n]*\}[ \t\r]*\n\s*\{")
"""A whole object in the first line, and another one after it."""
MOST_BLANK_LINES = 100_000
"""In a row, in formats that are read line by line."""
MOST_BROKEN = 10_000
"""Broken structures in a row, in these formats; after so many the file is something else."""
_LONE_DATABASE = "is an ASE database that is packed or comes from standard input; give the unpacked file"
_UNKNOWN = (
    "has an unknown format; give CIF, POSCAR, extended XYZ or another of those that voigt reads, "
    "or convert it: ase convert {name} {stem}.cif"
)


def is_structure_file(path: Path) -> bool:
    """Whether a file met in a folder is one to read: by its name and, where many things share it, by its content."""
    if not may_hold_structures(path):
        return False
    if is_plain_name(path):
        return True
    try:
        with path.open("rb", buffering=0) as stream, unpacked(stream) as content:
            return shows_structures(path, content)
    except Exception:  # spoilt packing raises errors of many kinds
        return format_of_name(path) is not None  # to be named as unreadable


def shows_structures(name: PurePath, stream: BufferedReader) -> bool:
    """The same for a stream that is not packed, of which nothing is taken."""
    return is_plain_name(name) or holds_structures(name, stream.peek(LOOK_AHEAD).decode("utf-8", "replace"))


def parse_file(path: Path) -> Iterator[Input]:
    """Structures of one file, packed by gzip, bzip2, xz or not, lazily; OSError if it cannot be opened."""
    with path.open("rb", buffering=0) as stream, unpacked(stream) as content:
        yield from parse_bytes(content, path, path if content.raw is stream else None)


def parse_bytes(content: BufferedReader, name: PurePath | None, path: Path | None = None) -> Iterator[Input]:
    """Structures of a binary stream that is not packed; arguments as those of `parse_stream`. Closes the stream."""
    if content.peek(len(MAGIC)).startswith(MAGIC):
        stream = content if path is not None else BytesIO(content.read(_LARGEST))
        yield from guard(read_trajectory(stream), LABELS["trajectory"])
        return
    with TextIOWrapper(content, encoding="utf-8-sig", errors="replace") as text:
        yield from parse_stream(text, name, path)


def parse_stream(stream: TextIO, name: PurePath | None, path: Path | None) -> Iterator[Input]:
    """Structures of an open text of the format that its name promises, or that its first lines show.

    Parameters
    ----------
    stream
        Read forwards only; extended XYZ, XDATCAR and JSON lines are never held as a whole.
    name
        Of the file or member of an archive; None for standard input.
    path
        Of the file; None for standard input and for what is packed.
    """
    head = _head(stream)
    text = "".join(head)
    if not text.strip() and not stream.read(1):
        yield unreadable("is empty; give a file with at least one structure")
        return
    lines = _without_gaps(chain(head, iter(partial(stream.readline, _LARGEST), "")))
    kind = (format_of_name(name) if name is not None else None) or format_of_text(text)
    if kind == "json" and _JSON_LINES.match(text.lstrip()):
        kind = "json_lines"
    if kind is None:
        shown = name or PurePath("FILE")
        yield unreadable(_UNKNOWN.format(name=shown.name, stem=shown.stem))
    elif kind == "database":
        rows = iter([unreadable(_LONE_DATABASE)]) if path is None else read_database(path)
        yield from guard(rows, LABELS[kind])
    elif kind == "trajectory":
        yield unreadable("is no ASE trajectory, or comes from standard input as text; give the file")
    elif kind in _BY_LINE:
        yield from guard(_until_hopeless(_BY_LINE[kind](lines)), LABELS[kind])
    else:
        yield from guard(_parse_text(kind, text, stream), LABELS[kind])


def _without_gaps(lines: Iterator[str]) -> Iterator[str]:
    """The lines, until so many blank ones follow each other that nothing else will come."""
    blank = 0
    for line in lines:
        blank = 0 if line.strip() else blank + 1
        if blank > MOST_BLANK_LINES:
            raise InputError(f"has more than {MOST_BLANK_LINES} blank lines in a row; remove them")
        yield line


def _until_hopeless(structures: Iterator[Input]) -> Iterator[Input]:
    """The structures, until so many are broken that none will follow."""
    broken = 0
    for structure in structures:
        broken = broken + 1 if isinstance(structure, Failure) else 0
        yield structure
        if broken >= MOST_BROKEN:
            raise InputError(f"holds {MOST_BROKEN} broken structures in a row; it is not read any further")


def _head(stream: TextIO) -> list[str]:
    lines: list[str] = []
    size = 0
    while len(lines) < _HEAD_LINES and size < _HEAD_CHARACTERS and (line := stream.readline(_LARGEST)):
        size += len(line)
        lines.append("\n" if size > _PIECE and line.isspace() else line)
    return lines


def _rest(stream: TextIO) -> str:
    """What is left of a text that is read whole, a megabyte of blanks as one line end."""
    pieces: list[str] = []
    size = lines = 0
    while piece := stream.read(_PIECE):
        size += len(piece)
        pieces.append("\n" if piece.isspace() else piece)
        lines += pieces[-1].count("\n")
        if size > _LARGEST:
            raise InputError(f"holds more than {_LARGEST >> 20} million characters; split it")
        if lines > _MOST_LINES:
            raise InputError(f"holds more than {_MOST_LINES} lines; split it")
    return "".join(pieces)


def _parse_text(kind: str, head: str, stream: TextIO) -> Iterator[Input]:
    text = head + _rest(stream)
    if kind in _WHOLE:
        return _WHOLE[kind](text)
    return read_json_database(text) if _ASE_JSON.search(text) is not None else read_documents(text)

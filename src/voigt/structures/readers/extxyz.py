"""Extended XYZ, structure by structure: ASE parses each, this module finds where they begin and end.

A broken structure is named with its lines, and those around it are delivered. Memory holds one at a time.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

import ase
from ase.data import atomic_numbers

from voigt.errors import InputError
from voigt.safe_json import shallow
from voigt.structures.checks import unknown_element
from voigt.structures.inputs import ID_KEYS, Input, InputStructure, id_in
from voigt.structures.readers.failures import attempt, unreadable

LABEL = "extended XYZ"
MOST_COLUMNS = 10_000
"""That `Properties=` may give one name."""
_MOST_DIGITS = 20
_PROPERTIES = re.compile(r'(?:^|\s)Properties=["\']?([^\s"\']+)')
_ID = re.compile(r"(?:^|\s)(" + "|".join(ID_KEYS) + r""")=("[^"]*"|'[^']*'|[^\s"'{\[]+)""")


class _Lines:
    """Lines of a text with a count and a way back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._returned: list[str] = []
        self.number = 0
        """Lines taken so far: the 1-based number of the last one."""

    def take(self) -> str | None:
        line = self._returned.pop() if self._returned else next(self._lines, None)
        if line is not None:
            self.number += 1
        return line

    def give_back(self, line: str) -> None:
        self._returned.append(line)
        self.number -= 1

    def peek(self) -> str | None:
        line = self.take()
        if line is not None:
            self.give_back(line)
        return line

    def skip_blank(self) -> None:
        while (line := self.take()) is not None:
            if line.strip():
                self.give_back(line)
                return


def read_extxyz(lines: Iterable[str]) -> Iterator[Input]:
    """Structures of an extended XYZ text, broken ones as failures.

    Parameters
    ----------
    lines
        Lines with their line ends, such as an open file; taken one by one.

    Yields
    ------
    InputStructure or Failure
        Atoms exactly as `ase.io.extxyz.read_xyz` builds them, except that ids stay text ("0012" remains "0012").
    """
    source = _Lines(lines)
    while True:
        source.skip_blank()
        line = source.take()
        if line is None:
            return
        count = _lone_integer(line)
        if count is None:
            yield _lost_stretch(source, line)
        else:
            yield _structure(source, line, count)


def _lone_integer(line: str) -> int | None:
    text = line.strip()
    # Python reads no number of thousands of digits; one that is too large is as wrong as a longer one.
    return int(text[:_MOST_DIGITS]) if text.isascii() and text.isdigit() else None


def _starts_structure(source: _Lines) -> bool:
    """Whether a lone integer and then a comment with Lattice= come next."""
    line = source.take()
    if line is None:
        return False
    following = source.peek() if _lone_integer(line) is not None else None
    source.give_back(line)
    return following is not None and "Lattice=" in following


def _skip_to_structure(source: _Lines) -> None:
    while not _starts_structure(source):
        if source.take() is None:
            return


def _lost_stretch(source: _Lines, line: str) -> Input:
    first = source.number
    comment = line if "Lattice=" in line else source.peek() or ""
    _skip_to_structure(source)
    return unreadable(
        f"lines {first} to {source.number} are not a frame: expected the number of atoms in line {first}, "
        f"found '{line.strip()[:60]}'; write the number of atoms, alone, in that line",
        _id_of(comment),
    )


def _structure(source: _Lines, count_line: str, count: int) -> Input:
    first = source.number
    comment = source.take()
    if comment is None:
        return unreadable(f"the file ends after line {first}; complete or remove this frame")
    rows: list[str] = []
    while len(rows) < count and (row := source.take()) is not None:
        if "Lattice=" in row:
            source.give_back(row)
            break
        rows.append(row)
    # The number of atoms of the next structure may have been taken for a row of this one, or for its comment.
    following = source.peek()
    if following is not None and "Lattice=" in following and _lone_integer(rows[-1] if rows else comment) is not None:
        source.give_back(rows.pop() if rows else comment)
    elif len(rows) == count:
        return _complete_structure(source, count_line, comment, rows, first)
    follow = f"{len(rows)} follow, up to line {source.number}" if rows else "none follow"
    return unreadable(
        f"line {first} promises {count} atoms, but {follow}; correct the number or complete the frame", _id_of(comment)
    )


def _complete_structure(source: _Lines, count_line: str, comment: str, rows: list[str], first: int) -> Input:
    vectors = []
    while (line := source.peek()) is not None and line.lstrip().startswith("VEC"):
        vectors.append(line)
        source.take()
    source.skip_blank()
    line = source.peek()
    if line is not None and rows and _lone_integer(line) is None and _is_row_like(source, rows[-1]):
        _skip_to_structure(source)
        return unreadable(
            f"line {first} promises {len(rows)} atoms, but more follow, up to line {source.number}; correct "
            "the number or remove the surplus",
            _id_of(comment),
        )
    match = _PROPERTIES.search(comment)

    def build() -> ase.Atoms:
        from ase.io.extxyz import read_xyz

        if match is not None:
            _check_columns(match.group(1), rows, first + 2)
        text = "".join([count_line, comment, *rows, *vectors])
        atoms: ase.Atoms = next(read_xyz(io.StringIO(text), 0, _parse_comment))
        return atoms

    parsed = attempt(build, LABEL)
    if isinstance(parsed, InputStructure):
        return parsed
    problem = (match and _bad_value(match.group(1), rows, first + 2)) or parsed.problem
    return unreadable(problem, _id_of(comment))


def _is_row_like(source: _Lines, row: str) -> bool:
    """Whether the next line has as many columns as `row` and is not the broken first line of a structure."""
    line = source.take()
    if line is None:
        return False
    following = source.peek() or ""
    source.give_back(line)
    return "Lattice=" not in line and "Lattice=" not in following and len(line.split()) == len(row.split())


def _parse_comment(comment: str) -> dict[str, Any]:
    from ase.io.extxyz import key_val_str_to_dict

    with shallow():  # comments may hold JSON
        info: dict[str, Any] = key_val_str_to_dict(comment)
    if any(key in info and not isinstance(info[key], str) for key in ID_KEYS):
        # ASE makes numbers of ids: 0012 would come back as 12, 1e5 as 100000.0.
        info.update((key, value.strip("\"'")) for key, value in _ID.findall(comment))
    return info


def _id_of(comment: str) -> str:
    try:
        return id_in(_parse_comment(comment))
    except Exception:  # a comment that ASE cannot parse may still tell its name
        return id_in({key: value.strip("\"'") for key, value in _ID.findall(comment)})


def _columns(properties: str) -> list[tuple[str, str, int]]:
    fields = properties.split(":")
    if len(fields) % 3 or not all(width.isdigit() for width in fields[2::3]):
        raise InputError(f"Properties={properties} is not name:type:columns:...; write such as species:S:1:pos:R:3")
    if any(len(width) > len(str(MOST_COLUMNS)) or int(width) > MOST_COLUMNS for width in fields[2::3]):
        raise InputError(f"Properties={properties} names more than {MOST_COLUMNS} columns; correct the numbers in it")
    return list(zip(fields[::3], fields[1::3], map(int, fields[2::3]), strict=True))


def _check_columns(properties: str, rows: list[str], first: int) -> None:
    """Refuse what ASE accepts in silence: surplus columns, and no positions (it takes zeros)."""
    columns = _columns(properties)
    if not any(name == "pos" and count == 3 for name, _, count in columns):
        raise InputError(f"Properties={properties} names no positions; add pos:R:3")
    expected = sum(count for _, _, count in columns)
    for number, row in enumerate(rows, start=first):
        width = len(row.split())
        if width != expected:
            raise InputError(f"line {number} has {width} columns instead of {expected}; correct it or Properties=")


def _bad_value(properties: str, rows: list[str], first: int) -> str | None:
    """What is wrong in the first value that is no number or no element, with its line and column."""
    try:
        columns = [(name, kind) for name, kind, width in _columns(properties) for _ in range(width)]
    except InputError:
        return None
    for number, row in enumerate(rows, start=first):
        for (name, kind), value in zip(columns, row.split(), strict=False):
            if name == "species" and kind == "S" and value.capitalize() not in atomic_numbers:
                return f"line {number}: {unknown_element(value)}"
            if kind in "RI" and not _is_number(value, kind):
                sort = "number" if kind == "R" else "whole number"
                return f"line {number}: '{value[:30]}' in column {name} is not a {sort}; correct it"
    return None


def _is_number(text: str, kind: str) -> bool:
    try:
        float(text) if kind == "R" else int(text)
    except ValueError:
        return False
    return True

"""Readers of formats yield structures without a place, and failures for what goes wrong inside a parser."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ase
from ase.data import atomic_numbers

from voigt.errors import InputError
from voigt.notes import Failure
from voigt.structures.checks import unknown_element
from voigt.structures.inputs import Input, InputStructure, id_in
from voigt.text import one_line

RECURSION = 1_000
"""Python's own limit. phonopy's solver raises it so far that a deeply nested document overflows the stack."""
MOST_ATOMS = 1_000_000
"""Atoms that a file may promise; memory for more is not set aside."""
MOST_LETTERS = 1_000
"""Of a sentence about a broken file, which may quote it."""
_WORDLESS = (AssertionError, AttributeError, IndexError, StopIteration, TypeError, UnboundLocalError, RecursionError)
"""What parsers stumble over where a file is cut short; their messages speak of the parser, not of the file."""
_SHAPES = re.compile(
    "to unpack|reshape|broadcast|inhomogeneous|matmul|concatenat|too many dimensions|must match|zip.. argument"
)
_NOT_FLOAT = re.compile(r"could not convert string to float: (.+)")
_NOT_WHOLE = re.compile(r"invalid literal for int\(\) with base 10: (.+)")
_PATH = re.compile(r"[^\s'\"]*(?:site-packages|dist-packages|lib/python3)[^\s'\"]*")


def unreadable(problem: str, identity: str = "") -> Failure:
    """The failure of a structure that could not be parsed; `identity` is the id that the file gives."""
    return Failure("", 0, identity, "unreadable", problem)


def attempt(build: Callable[[], ase.Atoms], label: str, identity: str = "") -> Input:
    """Call `build`; an error inside becomes the failure of this one structure.

    Parsers of other packages raise anything from AssertionError to ZeroDivisionError on broken files.
    """
    try:
        atoms = build()
    except Exception as error:
        return unreadable(explain(error, label), identity)
    return InputStructure("", 0, id_in(atoms.info) or identity, atoms)


def guard(structures: Iterator[Input], label: str) -> Iterator[Input]:
    """Pass the structures on; an error ends them with a failure, and no structure at all is a failure too."""
    empty = True
    try:
        for structure in structures:
            empty = False
            yield structure
    except Exception as error:
        yield unreadable(explain(error, label))
        return
    if empty:
        yield unreadable(f"holds no structure; {label} with a cell and at least one atom is needed")


@contextmanager
def shallow() -> Iterator[None]:
    """Refuse documents that are nested deeper than any structure: inside, they raise RecursionError."""
    limit = sys.getrecursionlimit()
    with suppress(RecursionError):  # the caller is that deep itself
        sys.setrecursionlimit(min(limit, RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def load_json(text: str | bytes) -> Any:
    """Content of a JSON document from a user.

    Raises
    ------
    ValueError
        It is no JSON, nested deeper than any structure, or holds a number of thousands of digits.
    """
    try:
        with shallow():
            return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        raise ValueError(
            "characters that are no text" if isinstance(error, UnicodeError) else "a number is too long"
        ) from error


def printable(text: str) -> str:
    r"""`text` in one line, without control characters, and not longer than a sentence may be.

    Examples
    --------
    >>> printable("found 'a\x1b[31m\nb'")
    "found 'a?[31m b'"
    """
    text = one_line(" ".join(text[: 100 * MOST_LETTERS].split()))
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS // 2]} ... {text[-MOST_LETTERS // 2 :]}"


def explain(error: Exception, label: str) -> str:
    """One sentence on `error`, raised while `label` (the format) was read."""
    return printable(_sentence(error, label))


def _sentence(error: Exception, label: str) -> str:
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}; check the path and its permissions"
    if isinstance(error, MemoryError):
        return f"cannot be read as {label}: it needs more memory than there is; correct the numbers of atoms in it"
    if isinstance(error, KeyError) and error.args:
        key = str(error.args[0])
        is_symbol = re.fullmatch(r"[A-Z][a-z]{0,2}|[A-Z]{2,3}|[a-z]{1,2}", key) is not None
        if is_symbol and key not in atomic_numbers and (key[0].isupper() or key.capitalize() in atomic_numbers):
            return unknown_element(key)
        if re.fullmatch(r"[\w.() -]{1,40}", key):
            return f"cannot be read as {label}: {key} is missing; complete the file"
    is_shape = isinstance(error, ValueError) and _SHAPES.search(str(error)) is not None
    if is_shape or isinstance(error, (KeyError, *_WORDLESS)) or isinstance(error.__cause__, StopIteration):
        return f"cannot be read as {label}: it is cut short or laid out in another way; complete it or export it again"
    for pattern, sort in ((_NOT_FLOAT, "number"), (_NOT_WHOLE, "whole number")):
        if match := pattern.search(str(error)):
            return f"cannot be read as {label}: {match[1][:60]} is not a {sort}; correct the file or export it again"
    reason = _PATH.sub("a library", " ".join(str(error).split())) or type(error).__name__
    return f"cannot be read as {label}: {reason.rstrip('.')}; correct the file or export it again"

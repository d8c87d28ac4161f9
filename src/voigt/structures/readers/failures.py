"""Readers of formats yield structures without a place, and failures for what goes wrong inside a parser."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import ase
from ase.data import atomic_numbers

from voigt.errors import InputError
from voigt.notes import Failure
from voigt.structures.checks import unknown_element
from voigt.structures.inputs import Input, InputStructure, id_in

RECURSION = 1_000
"""Python's own limit. phonopy's solver raises it so far that a deeply nested document overflows the stack."""


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


def load_json(text: str | bytes) -> Any:
    """Content of a JSON document from a user.

    Raises
    ------
    ValueError
        It is no JSON, or nested deeper than any structure.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(min(limit, RECURSION))
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    finally:
        sys.setrecursionlimit(limit)


def explain(error: Exception, label: str) -> str:
    """One sentence on `error`, raised while `label` (the format) was read."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}; check the path and its permissions"
    if isinstance(error, KeyError) and error.args:
        key = str(error.args[0])
        if re.fullmatch(r"[A-Z][a-z]{0,2}", key) and key not in atomic_numbers:
            return unknown_element(key)
        return f"cannot be read as {label}: {key} is missing; complete the file"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be read as {label}: {reason.rstrip('.')}; correct the file or export it again"

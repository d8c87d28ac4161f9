"""What a reader of one file format hands on: atoms, or the reason why there are none."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ase
from ase.data import atomic_numbers

from voigt.errors import InputError
from voigt.structures.checks import unknown_element

RECURSION = 1_000
"""Python's own limit. phonopy's solver raises it so far that a deeply nested document overflows the stack."""

ID_KEYS = ("id", "mp_id", "material_id")
"""Keys of `atoms.info` that name a structure, the first one present wins."""


@dataclass(frozen=True)
class Parsed:
    """One structure of a file: `atoms` or `problem`; `id` only if the file itself gives one."""

    atoms: ase.Atoms | None = None
    problem: str | None = None
    id: str | None = None


def own_id(info: Mapping[Any, Any]) -> str | None:
    """The name that a structure carries in its info, or None."""
    return next((str(info[key]) for key in ID_KEYS if info.get(key) is not None), None)


def attempt(build: Callable[[], ase.Atoms], label: str, identity: str | None = None) -> Parsed:
    """Call `build`; whatever goes wrong inside becomes the problem of this one structure.

    Parsers of other packages raise anything from AssertionError to ZeroDivisionError on broken files.
    """
    try:
        atoms = build()
    except Exception as error:
        return Parsed(problem=explain(error, label), id=identity)
    return Parsed(atoms=atoms, id=own_id(atoms.info) or identity)


def guard(items: Iterator[Parsed], label: str) -> Iterator[Parsed]:
    """Pass `items` on; an exception ends them with a problem, and no items at all is a problem too."""
    empty = True
    try:
        for item in items:
            empty = False
            yield item
    except Exception as error:
        yield Parsed(problem=explain(error, label))
        return
    if empty:
        yield Parsed(problem=f"holds no structure; {label} with a cell and at least one atom is needed")


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

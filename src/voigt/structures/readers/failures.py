"""Readers of formats yield structures without a place, and failures for what goes wrong inside a parser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import ase
import numpy as np
from ase.data import atomic_numbers

from voigt.errors import InputError
from voigt.notes import Failure
from voigt.reasons import OTHER_LAYOUT, plain_reason
from voigt.structures.checks import unknown_element
from voigt.structures.inputs import Input, InputStructure, id_in
from voigt.text import printable

MOST_ATOMS = 1_000_000
"""Atoms that a file may promise; memory for more is not set aside."""


def unreadable(problem: str, identity: str = "") -> Failure:
    """The failure of a structure that could not be parsed; `identity` is the id that the file gives."""
    return Failure("", 0, identity, "unreadable", problem)


def attempt(build: Callable[[], ase.Atoms], label: str, identity: str = "") -> Input:
    """Call `build`; an error inside becomes the failure of this one structure.

    Parsers of other packages raise anything from AssertionError to ZeroDivisionError on broken files.
    """
    try:
        with np.errstate(all="ignore"):  # NaN and infinity are for the checks that follow
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
    reason = plain_reason(error)
    remedy = "complete it" if reason == OTHER_LAYOUT else "correct the file"
    return f"cannot be read as {label}: {reason}; {remedy} or export it again"

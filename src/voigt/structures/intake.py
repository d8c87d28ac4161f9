"""What every structure of an input goes through after it was parsed: its place, the checks, an id of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b
from typing import TypeAlias

import numpy as np

from voigt.notes import Failure
from voigt.structures.checks import problems
from voigt.structures.inputs import Input
from voigt.structures.readers.failures import explain
from voigt.text import one_line, plain_id, printable

Entry: TypeAlias = tuple[Input, str]
"""An input with its place, and the id that it gets if its file gives none."""


def placed(parsed: Iterable[Input], source: str, name: str) -> Iterator[Entry]:
    """What was parsed of one file, with source and index; default ids are `name`, with ":index" if there are several.

    One structure is read ahead, to know whether there are several.
    """
    structures = iter(parsed)
    index, current = 0, _next(structures)
    while current is not None:
        following = _next(structures)
        several = index > 0 or following is not None
        yield replace(current, source=source, index=index), f"{name}:{index}" if several else name
        index, current = index + 1, following


def _next(structures: Iterator[Input]) -> Input | None:
    """The next structure. What parsers compute of NaN and infinity is for the checks, not for warnings of NumPy."""
    with np.errstate(all="ignore"):
        return next(structures, None)


def check(structure: Input) -> Input:
    """The structure if its atoms are sound, else a failure that names all its problems."""
    if isinstance(structure, Failure):
        return structure
    try:
        with np.errstate(all="ignore"):
            faults = problems(structure.atoms)
    except Exception as error:  # broken structures fail in many ways; one must not stop the others
        faults = [explain(error, "a crystal")]
    return structure.failure("unreadable", ". ".join(faults)) if faults else structure


def settled(entries: Iterable[Entry], places: bool = True) -> Iterator[Input]:
    """Check the structures and settle their ids: those of sound structures are all different.

    A second structure with an id that a file gives becomes a failure; an id made from the name of a file gets a number.
    Ids are compared by digests of eight bytes: among ten million, two are confused with a probability of 3e-6.

    Parameters
    ----------
    entries
        In the order of the input.
    places
        Whether the failure of a duplicate names the structure that has its id, for which memory holds all places.
    """
    taken: dict[int, str] = {}  # digest of an id -> what to say of a second one; "" for ids made from names of files
    numbers: dict[int, int] = {}  # how often an id was made up, of those that were more than once
    for parsed, default in entries:
        structure = check(parsed)
        named = structure.id != ""
        identity = plain_id(structure.id or default)
        digest = first = _digest(identity)
        if named and taken.get(digest):
            problem = f"duplicate id '{identity}'{taken[digest]}"
            if isinstance(structure, Failure):
                structure = replace(structure, problem=f"{structure.problem}. {problem}")
            else:
                structure = structure.failure("duplicate_id", problem)
        elif digest in taken:
            count = numbers.get(first, 1)
            while digest in taken:
                count += 1
                digest = _digest(f"{identity}-{count}")
            identity, numbers[first] = f"{identity}-{count}", count
        if digest not in taken:
            taken[digest] = _duplicate(structure, places) if named else ""
        structure = replace(structure, id=identity, source=one_line(structure.source))
        yield replace(structure, problem=printable(structure.problem)) if isinstance(structure, Failure) else structure


def _duplicate(first: Input, places: bool) -> str:
    if places:
        return f" already used by frame {first.index} of {first.source}; give each frame its own id"
    return ", which an earlier crystal has; give each crystal its own id"


def _digest(identity: str) -> int:
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "little")

"""What every structure of an input goes through after it was parsed: its place, the checks, an id of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TypeAlias

import numpy as np

from voigt.notes import Failure
from voigt.structures.checks import problems
from voigt.structures.digests import Digests
from voigt.structures.inputs import Input
from voigt.structures.readers.failures import explain
from voigt.text import one_line, plain_id, printable


@dataclass(frozen=True)
class Unread:
    """An input of which a file has told the id so far; most of the work is to come."""

    id: str
    read: Callable[[], Input]


Entry: TypeAlias = tuple[Input | Unread, str]
"""An input with its place, and the id that it gets if its file gives none."""

DUPLICATE = ", which an earlier crystal has; give each crystal its own id"


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


def settled(
    entries: Iterable[Entry], places: bool = True, known: Callable[[str], bool] | None = None
) -> Iterator[Input]:
    """Check the structures and settle their ids: those of sound structures are all different.

    A second structure with an id that a file gives becomes a failure; an id made from the name of a file gets a number.
    Ids are compared by digests of eight bytes: among ten million, two are confused with a probability of 3e-6.

    Parameters
    ----------
    entries
        In the order of the input.
    places
        Whether the failure of a duplicate names the structure that has its id, for which memory holds all places.
    known
        Ids of sound structures that nobody wants to see again: neither checked nor given.
    """
    given, made_up = Digests(), Digests()  # of ids: those that files give, and those made from names of files
    firsts: dict[int, str] = {}  # what to say of a second one, by the digest of its id; only with `places`
    numbers: dict[int, int] = {}  # how often an id was made up, of those that were more than once
    for parsed, default in entries:
        named = parsed.id != ""
        identity = plain_id(parsed.id or default)
        digest = first = _digest(identity)
        is_new = digest not in given and digest not in made_up
        if is_new and known is not None and not isinstance(parsed, Failure) and known(identity):
            (given if named else made_up).add(digest)
            continue
        structure = check(parsed.read() if isinstance(parsed, Unread) else parsed)
        if named and digest in given:
            problem = f"duplicate id '{identity}'{firsts.get(digest, DUPLICATE)}"
            if isinstance(structure, Failure):
                structure = replace(structure, problem=f"{structure.problem}. {problem}")
            else:
                structure = structure.failure("duplicate_id", problem)
        elif not is_new:
            count = numbers.get(first, 1)
            while digest in given or digest in made_up:
                count += 1
                digest = _digest(f"{identity}-{count}")
            identity, numbers[first] = f"{identity}-{count}", count
        if digest not in given and digest not in made_up:
            (given if named else made_up).add(digest)
            if named and places:
                frame = f"frame {structure.index} of {structure.source}"
                firsts[digest] = f" already used by {frame}; give each frame its own id"
        structure = replace(structure, id=identity, source=one_line(structure.source))
        yield replace(structure, problem=printable(structure.problem)) if isinstance(structure, Failure) else structure


def _digest(identity: str) -> int:
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "little")

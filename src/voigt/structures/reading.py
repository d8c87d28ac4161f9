"""Structures from files, folders, standard input and memory, one frame at a time, each checked."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import ase

from voigt.errors import InputError
from voigt.structures.checks import problems
from voigt.structures.readers.formats import bare_name, is_structure_file, parse_file, parse_stream
from voigt.structures.readers.parsed import Parsed, attempt, guard, own_id
from voigt.structures.readers.pymatgen_json import LABEL, atoms_from_dict

MEMORY = "<memory>"
"""`Frame.source` of structures that come from no file."""


@runtime_checkable
class SupportsAsDict(Protocol):
    """A pymatgen Structure, which is not imported here."""

    def as_dict(self) -> dict[str, Any]:
        """The structure as plain lists and numbers."""


Source: TypeAlias = str | os.PathLike[str] | ase.Atoms | SupportsAsDict | Mapping[str, Any]
Inputs: TypeAlias = Source | Iterable["Inputs"]


@dataclass(frozen=True)
class Frame:
    """One structure of the input, or the reason why it cannot be used.

    Attributes
    ----------
    source
        Path of the file, "-" for standard input, "<memory>" for objects.
    index
        Place in the file, from 0, broken frames counted; for objects, the place in the (flattened) input.
    id
        `info["id"]`, else `info["mp_id"]` or `info["material_id"]`, else the stem of the file name, with ":index" if
        the file holds several frames. Good frames of one `read` have different ids.
    atoms
        None if there is a problem.
    problem
        What is wrong and what to do, all problems at once; None if the structure is sound.
    """

    source: str
    index: int
    id: str
    atoms: ase.Atoms | None
    problem: str | None

    def describe(self) -> str:
        """Source, place and id, followed by the problem if there is one."""
        place = f"{self.source}, frame {self.index} (id {self.id})"
        return place if self.problem is None else f"{place}: {self.problem}"


def read(inputs: Inputs) -> Iterator[Frame]:
    """Frames of all inputs in order, a bad one as a frame with a problem.

    Parameters
    ----------
    inputs
        A path (CIF, POSCAR, extended XYZ, vasprun.xml (last ionic step), ASE database, pymatgen JSON, one or one a
        line; all but databases also packed by gzip, bzip2 or xz), "-" for standard input, a folder of such files, an
        ase.Atoms, a pymatgen Structure or its `as_dict()`, or an iterable of any of these. Files are read as frames
        are asked for; extended XYZ, JSON lines and databases frame by frame.

    Returns
    -------
    iterator of Frame
        Atoms are those of ASE's readers, with their arrays and info; objects from memory are passed on, not copied.

    Raises
    ------
    InputError
        At once, before any frame: paths that do not exist (all are listed), folders without structures, objects that
        are no structures. If `inputs` is a one-pass iterator, when the item is reached.
    """
    if isinstance(inputs, Iterable) and not isinstance(inputs, Sequence | ase.Atoms | SupportsAsDict | Mapping | set):
        items: Iterable[Source] = _lazily(inputs)
    else:
        items = _expand(inputs)
    return _frames(items, several=not _is_source(inputs))


def read_one(source: Source) -> ase.Atoms:
    """The only structure of `source`.

    Raises
    ------
    InputError
        There is none, it has problems (all are named), or there are several.
    """
    frames = list(islice(read(source), 2))
    if len(frames) > 1:
        raise InputError(f"{frames[0].source} holds more than one frame; read them with voigt.structures.reading.read")
    frame = frames[0]
    if frame.atoms is None:
        raise InputError(frame.describe())
    return frame.atoms


def _is_source(item: object) -> bool:
    return isinstance(item, str | os.PathLike | ase.Atoms | SupportsAsDict | Mapping)


def _lazily(inputs: Iterable[Inputs]) -> Iterator[Source]:
    for item in inputs:
        yield from _expand(item)


def _expand(inputs: Inputs) -> list[Source]:
    """Flatten lists and folders; raise for everything that cannot be there, all in one message."""
    missing: list[str] = []
    barren: list[str] = []
    found = list(_walk(inputs, missing, barren))
    faults = []
    if missing:
        faults.append(f"no such file or folder: {', '.join(missing)}; check the spelling")
    if barren:
        faults.append(f"no structure files in {', '.join(barren)}; give a folder that holds CIF or other such files")
    if faults:
        raise InputError(". ".join(faults))
    return found


def _walk(item: Any, missing: list[str], barren: list[str]) -> Iterator[Source]:
    if isinstance(item, str | os.PathLike):
        path = Path(item)
        if item == "-":
            yield "-"
        elif path.is_dir():
            files = sorted(entry for entry in path.iterdir() if _is_listed(entry))
            if not files:
                barren.append(str(path))
            yield from files
        elif path.exists():
            yield path
        else:
            missing.append(str(path))
    elif _is_source(item):
        yield item
    elif isinstance(item, Iterable):
        for part in item:
            yield from _walk(part, missing, barren)
    else:
        kind = type(item).__name__
        raise InputError(f"cannot read a structure from {kind}; give a path, ase.Atoms or a pymatgen Structure")


def _is_listed(entry: Path) -> bool:
    return not entry.name.startswith(".") and entry.is_file() and is_structure_file(entry)


def _frames(items: Iterable[Source], several: bool) -> Iterator[Frame]:
    used: dict[str, _Holder] = {}
    for position, item in enumerate(items):
        if isinstance(item, str | os.PathLike):
            source = os.fspath(item)
            stem = "stdin" if source == "-" else bare_name(Path(source))
            for index, several_here, parsed in numbered(_parse_path(source)):
                yield _frame(source, index, f"{stem}:{index}" if several_here else stem, parsed, used)
        else:
            default = f"structure:{position}" if several else "structure"
            yield _frame(MEMORY, position, default, _parse_object(item), used)


def _parse_path(source: str) -> Iterator[Parsed]:
    items = parse_stream(sys.stdin, None, None) if source == "-" else parse_file(Path(source))
    return guard(items, "a structure file")


def _parse_object(item: ase.Atoms | SupportsAsDict | Mapping[str, Any]) -> Parsed:
    if isinstance(item, ase.Atoms):
        return Parsed(atoms=item, id=own_id(item.info))
    return attempt(lambda: atoms_from_dict(item if isinstance(item, Mapping) else item.as_dict()), LABEL)


def numbered(items: Iterator[Parsed]) -> Iterator[tuple[int, bool, Parsed]]:
    """Items with their index and whether there is more than one: known by looking one item ahead."""
    index = 0
    current = next(items, None)
    while current is not None:
        following = next(items, None)
        yield index, index > 0 or following is not None, current
        current = following
        index += 1


@dataclass(frozen=True)
class _Holder:
    """Which frame has an id, and whether the frame itself names it."""

    place: str
    named: bool


def _frame(source: str, index: int, default: str, parsed: Parsed, used: dict[str, _Holder]) -> Frame:
    """Check the atoms and settle the id; `used` maps ids to the frames that hold them and gains this one."""
    found = [parsed.problem] if parsed.problem is not None else []
    if parsed.atoms is not None:
        found += problems(parsed.atoms)
    identity = parsed.id
    if identity is None:
        identity = _unused(default, used)
    elif identity in used and used[identity].named:
        place = used[identity].place
        found.append(f"duplicate id '{identity}' already used by {place}; give each frame its own id")
    elif identity in used:  # only a default made from a file name: no reason to refuse this frame
        identity = _unused(identity, used)
    used.setdefault(identity, _Holder(f"frame {index} of {source}", parsed.id is not None))
    if found:
        return Frame(source, index, identity, None, ". ".join(found))
    return Frame(source, index, identity, parsed.atoms, None)


def _unused(name: str, used: Mapping[str, _Holder]) -> str:
    number, candidate = 1, name
    while candidate in used:
        number += 1
        candidate = f"{name}-{number}"
    return candidate

"""Structures from files, folders, standard input and memory, one at a time, each checked."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import ase

from voigt.errors import InputError
from voigt.notes import Failure
from voigt.structures.inputs import Input, InputStructure
from voigt.structures.intake import Entry, placed, settled
from voigt.structures.readers.documents import atoms_of_entry
from voigt.structures.readers.failures import attempt, guard
from voigt.structures.readers.formats import is_structure_file, parse_file, parse_stream
from voigt.structures.readers.pymatgen_json import LABEL
from voigt.structures.readers.recognition import bare_name

MEMORY = "<memory>"
"""`InputStructure.source` of structures that come from no file."""


@runtime_checkable
class SupportsAsDict(Protocol):
    """A pymatgen Structure, which is not imported here."""

    def as_dict(self) -> dict[str, Any]:
        """The structure as plain lists and numbers."""


Source: TypeAlias = str | os.PathLike[str] | ase.Atoms | SupportsAsDict | Mapping[str, Any]
Inputs: TypeAlias = Source | Iterable["Inputs"]
"""What `read` takes: a path, "-", an ase.Atoms, a pymatgen Structure, or an iterable of these."""


def read(inputs: Inputs) -> Iterator[Input]:
    """Structures of all inputs in order, each checked; one that cannot be used is a `Failure` in its place.

    Parameters
    ----------
    inputs
        A path (CIF, POSCAR, extended XYZ, vasprun.xml and other outputs (last ionic step), inputs of many codes, ASE
        databases and trajectories, JSON; see the page "Files"; all but databases also packed by gzip, bzip2 or xz), "-"
        for standard input, a folder of such files, an ase.Atoms, a pymatgen Structure or its `as_dict()`, or an
        iterable of any of these. Files are opened when their turn comes; extended XYZ, trajectories, JSON lines and
        databases are read structure by structure.

    Returns
    -------
    iterator of InputStructure or Failure
        Atoms in the order of the file, with its arrays and info; objects from memory are passed on, not copied.

    Raises
    ------
    InputError
        At once: paths that do not exist (all are listed), folders without structures, objects that are no structures.
        If `inputs` is a one-pass iterator, when the item is reached.

    Examples
    --------
    >>> for structure in read(["examples/MgO.vasp", "examples/three_crystals.xyz"]):
    ...     print(structure.id, structure.atoms.symbols)
    MgO MgO
    MgO-2 MgO
    BaTiO3-tetragonal BaTiO3
    ZnO-wurtzite Zn2O2
    """
    if isinstance(inputs, Iterable) and not isinstance(inputs, Sequence | ase.Atoms | SupportsAsDict | Mapping | set):
        items: Iterable[Source] = _lazily(inputs)
    else:
        items = _expand(inputs)
    return settled(_entries(items, several=not _is_source(inputs)))


def read_one(source: Source) -> ase.Atoms:
    """The only structure of `source`.

    Raises
    ------
    InputError
        There is none, it has problems (all are named), or there are several.

    Examples
    --------
    >>> read_one("examples/MgO.vasp").get_chemical_formula()
    'MgO'
    """
    return only_structure(source).atoms


def only_structure(source: Source) -> InputStructure:
    """As `read_one`, with id and source."""
    only, *others = islice(read(source), 2)
    if others:
        raise InputError(f"{only.source} holds more than one frame; read them with voigt.structures.read")
    if isinstance(only, Failure):
        raise InputError(only.reason)
    return only


def _is_source(item: object) -> bool:
    return isinstance(item, str | os.PathLike | ase.Atoms | SupportsAsDict | Mapping)


def _lazily(inputs: Iterable[Inputs]) -> Iterator[Source]:
    for item in inputs:
        yield from _expand(item)


def _expand(inputs: Inputs) -> list[Source]:
    """Flatten lists and folders; raise for everything that cannot be there, all in one message."""
    missing: list[str] = []
    empty: list[str] = []
    sources = list(_walk(inputs, missing, empty))
    faults = []
    if missing:
        faults.append(f"no such file or folder: {', '.join(missing)}; check the spelling")
    if empty:
        faults.append(f"no structure files in {', '.join(empty)}; give a folder that holds CIF or other such files")
    if faults:
        raise InputError(". ".join(faults))
    return sources


def _walk(item: Any, missing: list[str], empty: list[str]) -> Iterator[Source]:
    if isinstance(item, str | os.PathLike):
        path = Path(item)
        if item == "-":
            yield "-"
        elif item == "":
            missing.append("'' (an empty name)")
        elif path.is_dir():
            files = sorted(entry for entry in path.iterdir() if _is_listed(entry))
            if not files:
                empty.append(str(path))
            yield from files
        elif path.exists():
            yield path
        else:
            missing.append(str(path))
    elif _is_source(item):
        yield item
    elif isinstance(item, Iterable):
        for part in item:
            yield from _walk(part, missing, empty)
    else:
        kind = type(item).__name__
        raise InputError(f"cannot read a structure from {kind}; give a path, ase.Atoms or a pymatgen Structure")


def _is_listed(entry: Path) -> bool:
    return not entry.name.startswith(".") and entry.is_file() and is_structure_file(entry)


def _entries(items: Iterable[Source], several: bool) -> Iterator[Entry]:
    for position, item in enumerate(items):
        if isinstance(item, str | os.PathLike):
            source = os.fspath(item)
            name = "stdin" if source == "-" else bare_name(Path(source))
            parsed = parse_stream(sys.stdin, None, None) if source == "-" else parse_file(Path(source))
            yield from placed(guard(parsed, "a structure file"), source, name)
        else:
            default = f"structure:{position}" if several else "structure"
            yield replace(attempt(partial(_atoms_of, item), LABEL), source=MEMORY, index=position), default


def _atoms_of(item: ase.Atoms | SupportsAsDict | Mapping[str, Any]) -> ase.Atoms:
    if isinstance(item, ase.Atoms):
        return item
    if isinstance(item, Mapping):
        return atoms_of_entry(item)
    with warnings.catch_warnings():  # of pymatgen, on a charge that differs from the sum of oxidation states
        warnings.simplefilter("ignore")
        document = item.as_dict()
    return atoms_of_entry(document)

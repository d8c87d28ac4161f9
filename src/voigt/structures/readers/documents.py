"""JSON with structures: of pymatgen, the Materials Project, OPTIMADE, JARVIS, MatBench and ASE, one, many or by id."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ase
import numpy as np

from voigt.errors import InputError
from voigt.safe_json import load_json
from voigt.structures.inputs import ID_KEYS, Input, id_in
from voigt.structures.readers import optimade
from voigt.structures.readers.database import atoms_of_row
from voigt.structures.readers.failures import attempt, unreadable
from voigt.structures.readers.pymatgen_json import atoms_from_dict

LABEL = "JSON"
_IDS = (*ID_KEYS, "jid", "entry_id", "mat_id")
_STRUCTURES = ("sites", "structure", "atoms", "attributes", "lattice_mat")
"""Keys of which every entry with a structure has one."""
_LISTS = ("data", "entries", "structures")
"""Keys under which answers of servers and files of collections hold their entries."""


def read_documents(text: str) -> Iterator[Input]:
    """Structures of a JSON text.

    One structure, a list of them, a mapping from ids to structures, or what servers and collections make of these:
    answers of the Materials Project and of OPTIMADE servers, lists of JARVIS, MatBench's tables (`{"index": [...],
    "columns": [...], "data": [...]}`), entries of Alexandria. Ids and, of a MatBench table, targets are kept.
    """
    for identity, entry in _entries(load_json(text)):
        yield _parsed(entry, identity)


def read_json_lines(lines: Iterable[str]) -> Iterator[Input]:
    """Structures of a text with one JSON document a line; blank lines and the header of OPTIMADE's are none.

    A line that is no JSON becomes a failure; the others are read.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = load_json(line)
        except ValueError as error:
            reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            yield unreadable(f"line {number} is no JSON document ({reason}); write one structure a line")
            continue
        if not (isinstance(entry, Mapping) and "x-optimade" in entry):
            yield _parsed(entry, "")


def atoms_of_entry(entry: object) -> ase.Atoms:
    """Atoms of one entry, of whatever kind.

    Raises InputError: it is no structure, or an element is unknown.
    """
    if isinstance(entry, Mapping):
        if isinstance(entry.get("attributes"), Mapping):
            return optimade.atoms_from_entry(entry)
        if isinstance(entry.get("atoms"), Mapping) and "lattice_mat" in entry["atoms"]:
            return _jarvis(entry["atoms"])
        if "lattice_mat" in entry:
            return _jarvis(entry)
        if "numbers" in entry and "positions" in entry:
            return atoms_of_row(entry, "structure")
    return atoms_from_dict(entry)


def _parsed(entry: object, identity: str) -> Input:
    given = _id_of(entry)

    def build() -> ase.Atoms:
        atoms = atoms_of_entry(entry)
        if given or identity:
            atoms.info.setdefault("id", given or identity)
        return atoms

    return attempt(build, LABEL, given or identity)


def _id_of(entry: object) -> str:
    if not isinstance(entry, Mapping):
        return ""
    inner = entry.get("data")
    return id_in(entry, _IDS) or (id_in(inner, _IDS) if isinstance(inner, Mapping) else "")


def _entries(document: object) -> Iterator[tuple[str, Any]]:
    """Entries of a document, each with the id that the document gives it."""
    if isinstance(document, list):
        yield from (("", entry) for entry in document)
        return
    if not isinstance(document, Mapping):
        yield "", document
        return
    if isinstance(document.get("columns"), list) and isinstance(document.get("data"), list):
        yield from _rows_of_table(document)
        return
    if any(key in document for key in _STRUCTURES) or "numbers" in document:
        yield "", document
        return
    for key in _LISTS:
        held = document.get(key)
        if isinstance(held, (list, Mapping)):
            yield from (("", entry) for entry in (held if isinstance(held, list) else [held]))
            return
    if any(isinstance(value, Mapping) and any(key in value for key in _STRUCTURES) for value in document.values()):
        yield from document.items()
        return
    yield "", document


def _rows_of_table(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Rows of a table of pandas ("split"): the structure and, as its properties, the other columns that are scalars."""
    columns = [str(name) for name in table["columns"]]
    index = table.get("index")
    for number, row in enumerate(table["data"]):
        name = index[number] if isinstance(index, list) and number < len(index) else None
        identity = name if isinstance(name, str) else ""
        if not isinstance(row, list) or len(row) != len(columns):
            yield identity, row
            continue
        held = next((value for value in row if isinstance(value, Mapping)), None)
        scalars = {key: value for key, value in zip(columns, row, strict=True) if isinstance(value, (str, int, float))}
        if held is None or "sites" not in held:
            yield identity, held
            continue
        properties = held.get("properties")
        yield identity, {**held, "properties": {**(properties if isinstance(properties, Mapping) else {}), **scalars}}


def _jarvis(entry: Mapping[str, Any]) -> ase.Atoms:
    """Atoms of JARVIS: lattice_mat, elements, coords, and whether they are Cartesian."""
    missing = [name for name in ("lattice_mat", "elements", "coords") if not entry.get(name)]
    if missing:
        raise InputError(f"has no {', '.join(missing)}; export it again")
    symbols = [str(symbol).strip() for symbol in entry["elements"]]
    places = np.array(entry["coords"], dtype=float)
    if places.shape != (len(symbols), 3):
        raise InputError(f"has {len(symbols)} elements but coordinates of shape {places.shape}; they must agree")
    cell = np.array(entry["lattice_mat"], dtype=float).reshape(3, 3)
    if str(entry.get("cartesian", False)).lower() == "true":
        return ase.Atoms(symbols, places, cell=cell, pbc=True)
    return ase.Atoms(symbols, scaled_positions=places, cell=cell, pbc=True)

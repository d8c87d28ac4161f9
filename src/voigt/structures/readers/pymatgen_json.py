"""Structures as pymatgen writes them (`Structure.as_dict()`), read without pymatgen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import ase
import numpy as np
from ase.data import atomic_numbers

from voigt.errors import InputError
from voigt.structures.checks import unknown_element
from voigt.structures.inputs import ID_KEYS, Input, id_in
from voigt.structures.readers.failures import attempt, load_json, unreadable

LABEL = "pymatgen JSON"
_SPECIES = re.compile(r"([A-Z][a-z]?)(?![a-z])")


def read_pymatgen_json(text: str) -> Iterator[Input]:
    """Structures of a JSON text: one `Structure.as_dict()` or a list of them.

    A document that wraps one as `{"structure": {...}, "material_id": ...}`, as the Materials Project serves it,
    is unwrapped and its id kept.
    """
    document = load_json(text)
    for entry in document if isinstance(document, list) else [document]:
        yield _parse_entry(entry)


def read_json_lines(lines: Iterable[str]) -> Iterator[Input]:
    """Structures of a text with one JSON document a line, each as `read_pymatgen_json` takes it; blank lines are none.

    A line that is no JSON becomes a failure; the others are read.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _parse_line(number, line)


def _parse_line(number: int, line: str) -> Input:
    try:
        entry = load_json(line)
    except ValueError as error:
        reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        return unreadable(f"line {number} is no JSON document ({reason}); write one structure a line")
    return _parse_entry(entry)


def _parse_entry(entry: object) -> Input:
    return attempt(partial(atoms_from_dict, entry), LABEL, id_in(entry) if isinstance(entry, Mapping) else "")


def atoms_from_dict(entry: object) -> ase.Atoms:
    """Atoms of one `Structure.as_dict()`.

    Oxidation states are dropped. A partly occupied site becomes an atom of its most frequent element, and
    `info["occupancy"]` says so, for `checks.problems` to report. Numeric site properties become arrays, properties
    of the whole structure become info.

    Raises
    ------
    InputError
        `entry` is no structure, or an element is unknown.
    """
    if isinstance(entry, Mapping) and isinstance(entry.get("structure"), Mapping):
        atoms = atoms_from_dict(entry["structure"])
        atoms.info.update({key: entry[key] for key in ID_KEYS if entry.get(key) is not None})
        return atoms
    if not isinstance(entry, Mapping) or not isinstance(entry.get("sites"), list):
        raise InputError("is not a pymatgen Structure; write one with Structure.to(filename) or as_dict()")
    sites = entry["sites"]
    occupancies = [_occupancies(site) for site in sites]
    atoms = ase.Atoms([max(shares, key=shares.__getitem__) for shares in occupancies])
    lattice = entry.get("lattice")
    if lattice is not None:
        atoms.set_cell(np.array(lattice["matrix"], dtype=float).reshape(3, 3))
        atoms.pbc = lattice.get("pbc", True)
        positions = np.array([site["abc"] for site in sites], dtype=float).reshape(-1, 3) @ atoms.cell.array
    else:  # a Molecule
        positions = np.array([site["xyz"] for site in sites], dtype=float).reshape(-1, 3)
    atoms.positions[:] = positions
    atoms.info.update(entry.get("properties") or {})
    if any(len(shares) != 1 or set(shares.values()) != {1.0} for shares in occupancies):
        atoms.info["occupancy"] = {str(index): shares for index, shares in enumerate(occupancies)}
    _add_site_properties(atoms, [site.get("properties") or {} for site in sites])
    return atoms


def _occupancies(site: Mapping[str, Any]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for species in site["species"]:
        match = _SPECIES.match(species["element"])
        symbol = match.group(1) if match else species["element"]
        if symbol not in atomic_numbers:
            raise InputError(unknown_element(species["element"]))
        shares[symbol] = shares.get(symbol, 0.0) + float(species.get("occu", 1.0))
    if not shares:
        raise InputError("has a site without a species; give every site an element")
    return shares


def _add_site_properties(atoms: ase.Atoms, properties: list[Mapping[str, Any]]) -> None:
    names = properties[0] if properties else {}
    for name in names:
        if name in atoms.arrays or any(values.get(name) is None for values in properties):
            continue
        array = np.array([values[name] for values in properties])
        if array.dtype.kind in "bif":
            atoms.new_array(name, array)

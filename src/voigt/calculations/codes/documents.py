"""Labels in JSON: documents of the Materials Project, tables of MatBench and matminer, JARVIS, and of voigt itself.

Which labels an entry holds is told by the names of its keys and the shapes of their values, see `document_labels`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ase

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.calculations.codes.document_labels import Labels, labels_of
from voigt.errors import InputError
from voigt.notes import Failure
from voigt.safe_json import load_json
from voigt.structures.inputs import ID_KEYS, id_in
from voigt.structures.readers.documents import atoms_of_entry
from voigt.structures.readers.failures import explain

_IDS = (*ID_KEYS, "jid", "task_id", "entry_id", "mbid")
_STRUCTURES = ("structure", "atoms", "final_structure", "initial_structure", "cif_structure")
_INSIDE = ("dielectric", "piezo", "piezoelectric", "elasticity", "output", "data", "outcar")
"""Documents inside of documents that hold labels."""
_SIGNS = ('"sites"', '"lattice_mat"', '"lattice"', '"structure"', '"scaled_positions"', '"columns"')


def recognizes(file: RunFile) -> bool:
    """Whether a file is JSON with crystals in its first lines, or JSON lines."""
    start = file.head.lstrip("\ufeff \t\r\n")
    return start.startswith(("{", "[")) and any(sign in file.head for sign in _SIGNS)


def read(files: Sequence[RunFile]) -> Iterator[Outcome]:
    """Labeled crystals of JSON files, an entry after another; a file without any label is one failure."""
    for file in files:
        try:
            entries = list(_entries(file.read()))
        except Exception as error:  # broken JSON, packing, tables
            yield Failure(file.path, 0, "", "unreadable", explain(error, "JSON"))
            continue
        labels = [labels_of(_flattened(entry)) for _, entry in entries]
        if not any(found.targets for found in labels):
            reasons = sorted({text for found in labels for text in found.problems})
            told = f" ({'; '.join(reasons[:3])})" if reasons else ""
            problem = f"holds crystals but no tensors, gaps or formation energies under names that are known{told}"
            yield Failure(file.path, 0, "", "unreadable", f"{problem}; rename them as docs/files.md says")
            continue
        for index, ((identity, entry), found) in enumerate(zip(entries, labels, strict=True)):
            yield _calculation(file.path, index, identity, entry, found)


def _calculation(path: str, index: int, identity: str, entry: Mapping[str, Any], found: Labels) -> Outcome:
    name = id_in(entry, _IDS) or identity
    try:
        if not found.targets:
            raise InputError(f"holds no label: {'; '.join(found.problems) or 'no name that is known'}; leave it out")
        atoms = _atoms(entry)
        targets = found.for_atoms(len(atoms))
        clean = ase.Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        if "charge" in atoms.info:
            clean.info["charge"] = atoms.info["charge"]
        if "occupancy" in atoms.info:  # for the checks, which refuse it
            clean.info["occupancy"] = atoms.info["occupancy"]
        if name:
            clean.info["id"] = name
    except Exception as error:  # readers of strangers' entries raise anything
        return Failure(path, index, name, "unreadable", explain(error, "an entry with structure and labels"))
    provenance = Provenance(
        files=(path,),
        code=found.code,
        functional=found.functional,
        conversions=tuple(found.conversions),
        cutoff=found.cutoff,
    )
    return Calculation(clean, targets, provenance, tuple(found.problems))


def _atoms(entry: Mapping[str, Any]) -> ase.Atoms:
    if "scaled_positions" in entry and "elements" in entry:  # of voigt
        return ase.Atoms(entry["elements"], cell=entry["cell"], scaled_positions=entry["scaled_positions"], pbc=True)
    holders = [entry, *(entry[key] for key in _INSIDE if isinstance(entry.get(key), Mapping))]
    for holder in holders:
        for key in _STRUCTURES:
            held = holder.get(key)
            if isinstance(held, Mapping):
                return atoms_of_entry({"atoms": held} if "lattice_mat" in held else held)
            if isinstance(held, str) and "sites" in held:
                return atoms_of_entry(load_json(held))
    if "sites" in entry or "attributes" in entry or "lattice_mat" in entry:
        return atoms_of_entry(entry)
    raise InputError(
        "holds labels but no structure, as piezoelectric documents of the Materials Project do; add it as 'structure'"
    )


def _flattened(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry with the documents inside it, and the properties of its structure, on one level; the outer ones win."""
    inner: dict[str, Any] = {}
    for key in _INSIDE:
        if isinstance(entry.get(key), Mapping):
            held = entry[key]
            if isinstance(held.get("outcar"), Mapping):
                inner.update(held["outcar"])
            inner.update(held)
    for holder in (entry, entry.get("structure")):
        if isinstance(holder, Mapping) and "sites" in holder and isinstance(holder.get("properties"), Mapping):
            inner.update(holder["properties"])
    return {**inner, **entry}


def _entries(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Entries of a document, or of one document a line, each with the id that the document gives it."""
    try:
        document = load_json(text)
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if error.msg != "Extra data" or len(lines) < 2:
            raise
        document = [load_json(line) for line in lines]
    if isinstance(document, Mapping):
        if isinstance(document.get("columns"), list) and isinstance(document.get("data"), list):
            yield from _rows(document)
            return
        held = next(
            (document[key] for key in ("data", "entries", "crystals") if isinstance(document.get(key), list)), None
        )
        if held is not None:
            document = held
        elif any(
            isinstance(value, Mapping) and ("structure" in value or "sites" in value) for value in document.values()
        ):
            if "structure" not in document:
                yield from ((key, value) for key, value in document.items() if isinstance(value, Mapping))
                return
            document = [document]
        else:
            document = [document]
    if not isinstance(document, list):
        raise InputError("is no list of crystals and no table; export it again")
    yield from (("", entry) for entry in document if isinstance(entry, Mapping))


def _rows(table: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Rows of a table of pandas (orient="split"), each as a mapping from the names of columns."""
    columns = [str(name) for name in table["columns"]]
    index = table.get("index")
    for number, row in enumerate(table["data"]):
        if not isinstance(row, list) or len(row) != len(columns):
            raise InputError(f"row {number} has not the {len(columns)} columns that the table names; export it again")
        name = index[number] if isinstance(index, list) and number < len(index) else None
        yield (name if isinstance(name, str) else ""), dict(zip(columns, row, strict=True))

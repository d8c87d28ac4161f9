"""Collections of distinct crystals in files of every kind, and what reading them back must give."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ase import Atoms
from ase.build import bulk
from tests.structures.inputs import good, same_crystal

from voigt.structures import Input, InputStructure

SALTS = ("NaCl", "KBr", "LiF", "MgO", "CaO", "AgCl")


def crystal(number: int) -> Atoms:
    """A rock salt that no other number has; the length of the edge tells them apart."""
    return bulk(SALTS[number % len(SALTS)], "rocksalt", a=5.0 + 0.001 * number, cubic=True)


def crystals(count: int) -> list[Atoms]:
    return [crystal(number) for number in range(count)]


def text_of(atoms: Atoms | Sequence[Atoms], kind: str) -> bytes:
    if kind == "cif":  # ASE writes bytes
        buffer = io.BytesIO()
        ase.io.write(buffer, atoms, format=kind)
        return buffer.getvalue()
    text = io.StringIO()
    ase.io.write(text, atoms, format=kind)
    return text.getvalue().encode()


def write_table(path: Path, atoms: Iterable[Atoms], row_group: int | None = None, **columns: Any) -> Path:
    """The layout of tables of crystals: numbers, cell, frac and scalars."""
    several = list(atoms)
    lists = {
        "numbers": pa.array([one.numbers.tolist() for one in several], pa.list_(pa.int16())),
        "cell": pa.array([one.cell.array.ravel().tolist() for one in several], pa.list_(pa.float64())),
        "frac": pa.array([one.get_scaled_positions().ravel().tolist() for one in several], pa.list_(pa.float64())),
    }
    pq.write_table(pa.table({**columns, **lists}), path, row_group_size=row_group)
    return path


def pymatgen_dict(atoms: Atoms) -> dict[str, Any]:
    """What pymatgen's Structure.as_dict() holds, as far as it describes the crystal."""
    sites = [
        {"species": [{"element": symbol, "occu": 1}], "abc": place.tolist()}
        for symbol, place in zip(atoms.get_chemical_symbols(), atoms.get_scaled_positions(), strict=True)
    ]
    return {"@class": "Structure", "lattice": {"matrix": atoms.cell.array.tolist()}, "sites": sites}


def json_lines(entries: Iterable[Any]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def assert_same(structures: Sequence[Input], expected: Sequence[Atoms]) -> None:
    assert len(structures) == len(expected)
    for structure, atoms in zip(structures, expected, strict=True):
        assert same_crystal(good(structure), atoms)


def fields(structures: Iterable[Input]) -> list[tuple[Any, ...]]:
    """All that two passes over a collection must share."""
    return [(entry.source, entry.index, entry.id, content(entry)) for entry in structures]


def content(entry: Input) -> Any:
    if isinstance(entry, InputStructure):
        return np.concatenate([entry.atoms.positions.ravel(), entry.atoms.cell.ravel()]).tolist()
    return entry.kind, entry.problem

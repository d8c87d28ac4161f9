"""ASE databases: one broken field spoils at most its row, and nothing in a row builds an object."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from tests.structures.inputs import good, is_sound, only, rocksalt, trouble

from voigt.structures import read

FIELDS = ("numbers", "positions", "cell", "pbc", "key_value_pairs")
"""Without these a row is no crystal, or one without its name."""
OPTIONAL = [
    "unique_id",
    "ctime",
    "mtime",
    "username",
    "initial_magmoms",
    "initial_charges",
    "masses",
    "tags",
    "momenta",
    "constraints",
    "calculator",
    "calculator_parameters",
    "energy",
    "free_energy",
    "forces",
    "stress",
    "dipole",
    "magmoms",
    "magmom",
    "charges",
    "data",
    "natoms",
    "fmax",
    "smax",
    "volume",
    "mass",
    "charge",
]
GARBAGE: tuple[Any, ...] = (
    b"\1\2\3",
    "xx",
    '{"__ndarray__": [[1000000000000], "float64", [1]]}',
    '{"a":' * 3000,
    b"\x08" + bytes(7) + b"[" * 100_000,
    1e300,
)


def crystal(number: int) -> Atoms:
    atoms = rocksalt()
    atoms.rattle(0.05, seed=number)
    atoms.set_tags([1, 2])
    atoms.set_initial_magnetic_moments([0.5, -0.5])
    atoms.set_momenta(np.ones((2, 3)))
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.full((2, 3), 0.1), stress=np.zeros(6))
    return atoms


def write(path: Path, count: int = 5) -> Path:
    with ase.db.connect(path) as database:
        for number in range(count):
            data = {"eps_inf": np.eye(3) * number, "list": [1, 2], "by number": {"3": "x"}}
            atoms = crystal(number)
            atoms.set_constraint(FixAtoms([0]))
            database.write(atoms, mp_id=f"mp-{number}", gap=1.5, data=data)
    return path


@pytest.mark.parametrize("name", ["rows.db", "rows.json"])
def test_rows_are_what_ase_reads(tmp_path: Path, name: str) -> None:
    """Constraints are left out: they say nothing of a crystal."""
    path = write(tmp_path / name)
    with ase.db.connect(path) as database:
        rows = list(database.select())
    for structure, row in zip(read(path), rows, strict=True):
        atoms, expected = good(structure), row.toatoms()
        assert atoms == expected
        assert atoms.arrays.keys() == expected.arrays.keys()
        for array in atoms.arrays:
            np.testing.assert_array_equal(atoms.arrays[array], expected.arrays[array])
            assert atoms.arrays[array].dtype == expected.arrays[array].dtype
        assert atoms.calc.results.keys() == expected.calc.results.keys()
        np.testing.assert_array_equal(atoms.get_forces(), expected.get_forces(apply_constraint=False))
        assert not atoms.constraints
        np.testing.assert_array_equal(atoms.info["eps_inf"], row.data["eps_inf"])
        assert (structure.id, atoms.info["gap"], list(atoms.info["list"])) == (row.mp_id, 1.5, [1, 2])


@pytest.mark.parametrize("field", [*FIELDS, *OPTIONAL])
def test_garbage_in_a_field_of_a_row_leaves_the_others(tmp_path: Path, field: str) -> None:
    whole = write(tmp_path / "rows.db")
    for garbage in GARBAGE:
        path = tmp_path / "broken.db"
        shutil.copyfile(whole, path)
        connection = sqlite3.connect(path)
        connection.execute(f"UPDATE systems SET {field} = ? WHERE id = 3", (garbage,))
        connection.commit()
        connection.close()
        entries = list(read(path))
        assert [entry.id for number, entry in enumerate(entries) if number != 2] == ["mp-0", "mp-1", "mp-3", "mp-4"]
        assert all(is_sound(entry) for number, entry in enumerate(entries) if number != 2)
        if field in OPTIONAL:
            np.testing.assert_array_equal(good(entries[2]).positions, crystal(2).positions)
        elif garbage in (b"\1\2\3", "xx"):
            assert "row 3" in trouble(entries[2])
            assert field in trouble(entries[2])


def test_a_damaged_page_loses_the_rows_on_it(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.db", 60)
    content = bytearray(path.read_bytes())
    place = content.index(b'"mp-30"') // 4096 * 4096
    content[place : place + 8] = b"\xff" * 8
    path.write_bytes(content)
    entries = list(read(path))
    names = [entry.id for entry in entries if is_sound(entry)]
    assert {"mp-0", "mp-59"} <= set(names)
    assert len(names) > 50
    assert "is damaged after row" in trouble(next(entry for entry in entries if not is_sound(entry)))


def test_nothing_in_a_database_builds_an_object(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.db", 1)
    connection = sqlite3.connect(path)
    band_path = {"__ase_objtype__": "bandpath", "labelseq": "GX", "cell": [1, 1, 1], "special_points": {}}
    connection.execute("UPDATE systems SET data = ?", (json.dumps({"path": band_path, "kept": 1}),))
    connection.commit()
    connection.close()
    info = good(only(read(path))).info
    assert info["kept"] == 1
    assert type(info["path"]) is dict


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW systems AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id FROM n",
        "CREATE TABLE systems (id INTEGER PRIMARY KEY, numbers BLOB)",
    ],
)
def test_what_only_looks_like_a_database_of_ase_is_refused(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "rows.db"
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    assert "no table 'systems' such as ASE writes" in trouble(only(read(path)))


def test_broken_rows_of_a_json_database(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.json")
    document = json.loads(path.read_text())
    document["2"]["positions"] = {"__ndarray__": [[2, 3], "float64", [1]]}
    document["3"]["forces"] = "?"
    del document["4"]
    path.write_text(json.dumps(document))
    entries = list(read(path))
    assert [is_sound(entry) for entry in entries] == [True, False, True, False, True]
    assert "row 2" in trouble(entries[1])
    assert "row 4" in trouble(entries[3])


def test_damaged_databases_end(tmp_path: Path) -> None:
    """Pages that lead back to others made a circle of the rows."""
    whole = write(tmp_path / "rows.db", 3).read_bytes()
    rng = np.random.default_rng(7)
    for _ in range(150):
        content = bytearray(whole)
        for place in rng.integers(len(content), size=rng.integers(1, 6)):
            content[place] = rng.integers(256)
        (tmp_path / "broken.db").write_bytes(content)
        entries = list(read(tmp_path / "broken.db"))
        assert len(entries) <= 8

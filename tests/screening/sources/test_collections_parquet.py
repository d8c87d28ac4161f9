"""Parquet tables of crystals: one file, parts, broken parts, and the real collection."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase import Atoms
from tests.screening.crystal_files import assert_same, crystal, crystals, fields, text_of, write_table
from tests.structures.inputs import good, is_sound, trouble

from voigt.errors import InputError
from voigt.screening.sources import open_collection


@pytest.mark.parametrize("row_group", [None, 7])
def test_rows_are_crystals_and_scalars_their_info(tmp_path: Path, row_group: int | None) -> None:
    gaps = [float("nan") if number == 3 else number / 10 for number in range(25)]
    names = pa.array([f"mp-{number}" for number in range(25)]).dictionary_encode()
    lists = pa.array([[0.0] * 5] * 25)
    path = tmp_path / "salts.parquet"
    write_table(path, crystals(25), row_group, material_id=names, band_gap=pa.array(gaps, pa.float32()), spectrum=lists)
    collection = open_collection(str(path))
    structures = list(collection.structures())
    assert_same(structures, crystals(25))
    assert [structure.id for structure in structures] == [f"mp-{number}" for number in range(25)]
    assert [structure.index for structure in structures] == list(range(25))
    assert good(structures[4]).info == {"material_id": "mp-4", "band_gap": pytest.approx(0.4)}
    assert "band_gap" not in good(structures[3]).info
    assert (collection.kind, collection.count) == ("parquet", 25)
    assert fields(collection.structures()) == fields(structures)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"id": ["a", None, ""], "mp_id": ["b", "c", "d"]}, ["a", "c", "d"]),
        ({"mbid": ["mb-1", "mb-2", "mb-3"]}, ["mb-1", "mb-2", "mb-3"]),
        ({"id": [7, 8, 9]}, ["7", "8", "9"]),
        ({}, ["salts:0", "salts:1", "salts:2"]),
    ],
)
def test_which_column_is_the_id(tmp_path: Path, columns: dict[str, list[Any]], expected: list[str]) -> None:
    path = write_table(tmp_path / "salts.parquet", crystals(3), **columns)
    assert [structure.id for structure in open_collection(str(path)).structures()] == expected


@pytest.mark.parametrize("named", [True, False])
def test_known_rows_are_left_out(tmp_path: Path, named: bool) -> None:
    """The others keep id and place, whether the table names its crystals or not."""
    columns = {"id": [f"mp-{number}" for number in range(25)]} if named else {}
    collection = open_collection(str(write_table(tmp_path / "salts.parquet", crystals(25), **columns)))
    everything = list(collection.structures())
    known = {structure.id for structure in everything[::3]}
    left = [structure for place, structure in enumerate(everything) if place % 3]
    assert fields(collection.structures(known.__contains__)) == fields(left)
    assert [structure.index for structure in collection.structures(known.__contains__)] == [
        place for place in range(25) if place % 3
    ]


@pytest.mark.parametrize("kind", ["list", "large_list", "float32", "fixed", "half", "unsigned"])
def test_kinds_of_lists(tmp_path: Path, kind: str) -> None:
    numbers, entries, cell = pa.list_(pa.int16()), pa.list_(pa.float64()), pa.list_(pa.float64())
    if kind == "large_list":
        numbers, entries, cell = pa.large_list(pa.int64()), pa.large_list(pa.float64()), pa.large_list(pa.float64())
    elif kind == "float32":
        numbers, entries, cell = pa.list_(pa.float32()), pa.list_(pa.float32()), pa.list_(pa.float32())
    elif kind == "fixed":
        cell = pa.list_(pa.float64(), 9)
    elif kind == "half":
        entries = pa.list_(pa.float16())
    elif kind == "unsigned":
        numbers = pa.list_(pa.uint8())
    several = crystals(4)
    frac = [one.get_scaled_positions().ravel() for one in several]
    columns = {
        "numbers": pa.array(
            [[float(z) for z in one.numbers] if kind == "float32" else one.numbers.tolist() for one in several], numbers
        ),
        "cell": pa.array([one.cell.array.ravel().tolist() for one in several], cell),
        "frac": pa.array(
            [values.astype(np.float16) if kind == "half" else values.tolist() for values in frac], entries
        ),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert_same(list(open_collection(str(tmp_path / "t.parquet")).structures()), several)


def test_bad_rows_are_named_and_the_others_are_read(tmp_path: Path) -> None:
    good_row = {
        "id": "good",
        "numbers": [11.0, 17.0],
        "cell": crystal(0).cell.array.ravel().tolist(),
        "frac": [0.0, 0.0, 0.0, 0.5, 0.5, 0.5],
    }
    changes: list[tuple[dict[str, Any], str]] = [
        ({"cell": [1.0, 2.0]}, "2 numbers in cell instead of 9"),
        ({"cell": None}, "0 numbers in cell instead of 9"),
        ({"frac": [0.0] * 5}, "5 numbers in frac for 2 atoms"),
        ({"frac": [0.0, 0.0, 0.0, 0.5, None, 0.5]}, "position of atom 1 (Cl) is not finite"),
        ({"frac": [0.0] * 6}, "closer than 0.5"),
        ({"numbers": [11.0, 500.0]}, "unknown element"),
        ({"numbers": [11.0, 16.5]}, "atomic numbers that are not whole"),
        ({"numbers": [11.0, None]}, "atomic numbers that are not whole"),
        ({"numbers": [], "frac": []}, "holds no atoms"),
        ({"numbers": None, "frac": None}, "holds no atoms"),
        ({"cell": [0.0] * 9}, "has no cell"),
        ({"id": "good"}, "duplicate id 'good'"),
    ]
    rows = [good_row] + [{**good_row, "id": f"bad-{k}", **change} for k, (change, _) in enumerate(changes)]
    rows.append({**good_row, "id": "last"})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    structures = list(open_collection(str(tmp_path / "t.parquet")).structures())
    assert_same(
        [structures[0], structures[-1]],
        [Atoms("NaCl", scaled_positions=np.reshape(good_row["frac"], (2, 3)), cell=crystal(0).cell)] * 2,
    )
    for structure, (_, shown) in zip(structures[1:-1], changes, strict=True):
        assert shown in trouble(structure)
    assert [structure.id for structure in structures[1:-2]] == [f"bad-{k}" for k in range(len(changes) - 1)]


def test_parts_are_one_collection(tmp_path: Path) -> None:
    for part in range(3):
        write_table(tmp_path / f"part-{part:06d}.parquet", crystals(30)[10 * part : 10 * part + 10])
    collection = open_collection(str(tmp_path))
    structures = list(collection.structures())
    assert_same(structures, crystals(30))
    assert collection.count == 30
    assert structures[25].id == "part-000002:5"
    assert (structures[25].source, structures[25].index) == (str(tmp_path / "part-000002.parquet"), 5)


def test_an_earlier_screening_is_a_collection(tmp_path: Path) -> None:
    """Its parts are read, its table of failures is not."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "failed").mkdir()
    (tmp_path / "manifest.json").write_text("{}")
    write_table(
        tmp_path / "parts" / "part-000000.parquet", crystals(4), id=["a", "b", "c", "d"], eps_inf=[[1.0] * 9] * 4
    )
    pq.write_table(pa.table({"id": ["e"], "reason": ["broken"]}), tmp_path / "failed" / "part-000000.parquet")
    structures = list(open_collection(str(tmp_path)).structures())
    assert_same(structures, crystals(4))
    assert [structure.id for structure in structures] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("spoil", ["truncated", "empty", "no column", "pages"])
def test_a_broken_part_is_one_problem_among_others(tmp_path: Path, spoil: str) -> None:
    paths = [write_table(tmp_path / f"{part}.parquet", crystals(30)[10 * part : 10 * part + 10]) for part in range(3)]
    content = paths[1].read_bytes()
    if spoil == "truncated":
        paths[1].write_bytes(content[: len(content) // 2])
    elif spoil == "empty":
        paths[1].write_bytes(b"")
    elif spoil == "no column":
        pq.write_table(pa.table({"numbers": [[1]]}), paths[1])
    else:  # metadata are sound, data are not
        paths[1].write_bytes(content[:4] + b"\xff" * 400 + content[404:])
    collection = open_collection(str(tmp_path))
    structures = list(collection.structures())
    assert_same([structure for structure in structures if is_sound(structure)], crystals(10) + crystals(30)[20:])
    (bad,) = [structure for structure in structures if not is_sound(structure)]
    assert ("has no column cell, frac" if spoil == "no column" else "is not a readable Parquet file") in trouble(bad)
    assert bad.source == str(paths[1])
    assert collection.count == (30 if spoil == "pages" else 21)


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        ({"numbers": [[1]], "cell": [[1.0] * 9]}, "has no column frac"),
        ({"numbers": ["NaCl"], "cell": [[1.0] * 9], "frac": [[0.0] * 6]}, "column numbers holds string"),
        ({"numbers": [["Na"]], "cell": [[1.0] * 9], "frac": [[0.0] * 3]}, "instead of lists of numbers"),
        (None, "is not a readable Parquet file"),
    ],
)
def test_files_that_are_no_such_tables_are_refused(tmp_path: Path, table: dict[str, Any] | None, shown: str) -> None:
    for place in (tmp_path / "t.parquet", tmp_path / "folder" / "t.parquet"):
        place.parent.mkdir(exist_ok=True)
        if table is None:
            place.write_bytes(b"PAR1 and no more")
        else:
            pq.write_table(pa.table(table), place)
    for text in (tmp_path / "t.parquet", tmp_path / "folder"):
        with pytest.raises(InputError, match=shown):
            open_collection(str(text))


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", [])
    with pytest.raises(InputError, match="no crystals in"):
        open_collection(str(path))


def test_the_content_tells_a_table(tmp_path: Path) -> None:
    write_table(tmp_path / "table", crystals(3))
    assert_same(list(open_collection(str(tmp_path / "table")).structures()), crystals(3))
    (tmp_path / "salts.cif").write_bytes(text_of(crystal(0), "cif"))
    assert open_collection(str(tmp_path / "salts.cif")).kind == "cif"


def test_memory_does_not_grow_with_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row group, read in batches: most of it is never in memory."""
    monkeypatch.setattr("voigt.screening.sources.parquet.ROWS_AT_ONCE", 128)
    rows, size = 20_000, 64
    grid = np.stack(np.meshgrid(*[np.arange(4) / 4] * 3), axis=-1).reshape(-1, 3)
    flat = {
        "numbers": (np.full(rows * size, 14, np.int16), size),
        "cell": (np.tile(np.eye(3).ravel() * 10, rows), 9),
        # the same in every row, but no two pages alike
        "frac": (np.tile(grid.ravel(), rows) + np.random.default_rng(0).random(rows * size * 3) / 100, 3 * size),
    }
    columns = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(values), length).cast(pa.list_(pa.array(values).type))
        for name, (values, length) in flat.items()
    }
    path = tmp_path / "large.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=rows, compression="none", use_dictionary=False)
    whole = sum(values.nbytes for values, _ in flat.values())
    del columns, flat
    collection = open_collection(str(path))
    held = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        most = 0
        for structure in islice(collection.structures(), 2000):
            assert is_sound(structure)
            most = max(most, pa.total_allocated_bytes() - held)
        traced = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0 < most + traced < whole / 4


def test_the_real_collection(dft_data: Callable[[str], Path]) -> None:
    path = dft_data("scalars/mp_scalars.parquet")
    collection = open_collection(str(path))
    assert collection.count == 99_645
    structures = list(islice(collection.structures(), 2000))
    assert all(is_sound(structure) for structure in structures)
    first = (
        pq.ParquetFile(path)
        .read_row_group(0, columns=["mp_id", "numbers", "cell", "frac", "band_gap"])
        .slice(0, 2000)
        .to_pylist()
    )
    assert [structure.id for structure in structures] == [row["mp_id"] for row in first]
    for structure, row in zip(structures, first, strict=True):
        atoms = good(structure)
        assert atoms.numbers.tolist() == row["numbers"]
        assert atoms.positions == pytest.approx(
            np.reshape(row["frac"], (-1, 3)) @ np.reshape(row["cell"], (3, 3)), abs=1e-9
        )
        if row["band_gap"] is not None:
            assert atoms.info["band_gap"] == row["band_gap"]


@pytest.mark.parametrize("name", ["id", "frac", "gap"])
def test_two_columns_of_one_name(tmp_path: Path, name: str) -> None:
    path = write_table(tmp_path / "a.parquet", crystals(2), id=["a", "b"], gap=[1.0, 2.0])
    table = pq.read_table(path)
    pq.write_table(table.append_column(name, table[name]), path)
    with pytest.raises(InputError, match=f"a.parquet has several columns {name}; give each column a name of its own"):
        open_collection(str(path))

"""Structures of any input, in order, each with an id of its own; one bad file does not stop the others."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import pytest
from ase import Atoms
from ase.build import bulk
from tests.structures.inputs import (
    good,
    is_sound,
    labeled,
    only,
    pymatgen_structure,
    rocksalt,
    same_crystal,
    trouble,
    write_structures,
    wurtzite,
)

from voigt.errors import InputError
from voigt.structures import read, read_one

# ---- ids


@pytest.mark.parametrize("written", ["0012", "1e5", "T", "12", "mp-1", '"a b"', "0.10"])
def test_ids_stay_text(tmp_path: Path, written: str) -> None:
    path = tmp_path / "one.xyz"
    structures = write_structures(path, 1)
    path.write_text("".join(structures[0]).replace("id=zno-0", f"id={written}"))
    structure = only(read(path))
    assert structure.id == written.strip('"')
    assert good(structure).info["id"] == structure.id


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"id": "a", "mp_id": "b", "material_id": "c"}, "a"),
        ({"mp_id": "b", "material_id": "c"}, "b"),
        ({"material_id": "c"}, "c"),
        ({"id": None, "mp_id": "b"}, "b"),
        ({"id": 7}, "7"),
        ({"id": 0}, "0"),
        ({}, "structure"),
    ],
)
def test_which_key_is_the_id(info: dict[str, Any], expected: str) -> None:
    atoms = rocksalt()
    atoms.info.update(info)
    assert only(read(atoms)).id == expected


def test_duplicate_ids_of_the_files_are_problems(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.xyz", [labeled("x"), labeled("y"), labeled("x")])
    ase.io.write(tmp_path / "b.xyz", [labeled("y"), labeled("z")])
    structures = list(read([tmp_path / "a.xyz", tmp_path / "b.xyz"]))
    assert [is_sound(structure) for structure in structures] == [True, True, False, False, True]
    expected = f"duplicate id 'x' already used by frame 0 of {tmp_path / 'a.xyz'}; give each frame its own id"
    assert trouble(structures[2]) == expected
    assert f"used by frame 1 of {tmp_path / 'a.xyz'}" in trouble(structures[3])


def test_generated_ids_are_made_unique(tmp_path: Path) -> None:
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        ase.io.write(tmp_path / folder / "POSCAR", rocksalt(), format="vasp")
    ase.io.write(tmp_path / "own.xyz", labeled("POSCAR-2"))
    paths = [tmp_path / "own.xyz", *(tmp_path / folder / "POSCAR" for folder in "abc")]
    structures = list(read(paths))
    assert all(is_sound(structure) for structure in structures)
    assert [structure.id for structure in structures] == ["POSCAR-2", "POSCAR", "POSCAR-3", "POSCAR-4"]


# ---- inputs


def test_objects_lists_and_mixtures(tmp_path: Path) -> None:
    path = tmp_path / "salt.cif"
    ase.io.write(path, rocksalt())
    first, second = rocksalt(), wurtzite()
    nested = [first, [str(path), (second,)], path]
    structures = list(read(nested))
    assert [structure.id for structure in structures] == ["structure:0", "salt", "structure:2", "salt-2"]
    assert good(structures[0]) is first
    assert [structure.source for structure in structures] == ["<memory>", str(path), "<memory>", str(path)]
    assert structures[2].place == "<memory>, frame 2 (id structure:2)"
    lazily = list(read(item for item in nested))
    assert [structure.id for structure in lazily] == [structure.id for structure in structures]


def test_a_generator_is_read_lazily() -> None:
    made = 0

    def endless() -> Iterator[Atoms]:
        nonlocal made
        while True:
            made += 1
            yield rocksalt()

    structures = read(endless())
    assert [next(structures).id for _ in range(3)] == ["structure:0", "structure:1", "structure:2"]
    assert made == 3


def test_folder(tmp_path: Path) -> None:
    for name, kind in [("b.cif", "cif"), ("a.xyz", "extxyz"), ("POSCAR-unitcell", "vasp"), ("rows.json", "json")]:
        ase.io.write(tmp_path / name, rocksalt(), format=kind)
    ase.io.write(tmp_path / ".hidden.cif", rocksalt())
    (tmp_path / "nested").mkdir()
    others = {"BORN": "14.4\n", "notes.txt": "salt\n", "reference.json": '{"frequencies": [1]}', "page.xml": "<x/>"}
    for name, text in others.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "broken.cif").write_text("")
    structures = list(read(tmp_path))
    names = [Path(structure.source).name for structure in structures]
    assert names == ["POSCAR-unitcell", "a.xyz", "b.cif", "broken.cif", "rows.json"]
    assert [is_sound(structure) for structure in structures] == [True, True, True, False, True]


def test_folder_without_structures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("salt\n")
    with pytest.raises(InputError, match="no structure files in"):
        read(tmp_path)


def test_all_missing_paths_are_named_before_any_structure(tmp_path: Path) -> None:
    path = tmp_path / "salt.cif"
    ase.io.write(path, rocksalt())
    with pytest.raises(InputError, match=r"no such file or folder: .*one\.cif, .*two\.cif") as caught:
        read([path, tmp_path / "one.cif", str(tmp_path / "two.cif")])
    assert "salt" not in str(caught.value)
    lazily = read(item for item in [path, tmp_path / "one.cif"])
    assert next(lazily).id == "salt"
    with pytest.raises(InputError, match=r"one\.cif"):
        next(lazily)


@pytest.mark.parametrize("thing", [5, None, 2.5, [rocksalt(), 5]])
def test_other_objects_are_refused(thing: Any) -> None:
    with pytest.raises(InputError, match=r"cannot read a structure from (int|NoneType|float)"):
        read(thing)


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        ("empty.cif", b"", "is empty"),
        ("empty.xyz", b" \n\n", "is empty"),
        ("empty.db", b"", "is empty"),
        ("empty", b"", "is empty"),
        ("list.json", b"[]", "holds no structure"),
        ("journal.cif", b"data_global\n_journal_year 1913\n", "holds no structure"),
        ("notes.txt", b"nothing to see\n", "unknown format"),
        ("POSCAR.gz", b"\x1f\x8b\x08\x00binary", "cannot be read as a structure file: Compressed file ended"),
        ("binary.xyz", bytes(range(256)), "are not a frame"),
        ("half.json", b'{"lattice": ', "cannot be read as JSON"),
        ("other.json", b'{"a": 1}', "not a pymatgen Structure"),
        ("short.vasp", b"comment\n1.0\n", "cut short"),
        ("bad.cif", b"data_x\nwhatever this is\n", "holds no structure; CIF"),
        ("page.xml", b"<html></html>", "no finished ionic step"),
    ],
)
def test_a_bad_file_does_not_stop_the_others(tmp_path: Path, name: str, content: bytes, shown: str) -> None:
    bad = tmp_path / name
    bad.write_bytes(content)
    fine = tmp_path / "fine.cif"
    ase.io.write(fine, rocksalt())
    first, second = read([bad, fine])
    assert shown in trouble(first)
    assert (first.source, first.index, first.id) == (str(bad), 0, bad.stem)
    assert good(second) is not None


def test_a_file_that_vanishes_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "salt.cif"
    ase.io.write(path, rocksalt())
    structures = read([path, rocksalt()])
    path.unlink()
    first, second = structures
    assert "No such file" in trouble(first)
    assert good(second) is not None


@pytest.mark.parametrize("kind", ["extxyz", "cif", "vasp"])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    ase.io.write(path, wurtzite(), format=kind)
    monkeypatch.setattr(sys, "stdin", io.StringIO(path.read_text()))
    structure = only(read("-"))
    assert (structure.source, structure.id) == ("-", "stdin")
    assert same_crystal(good(structure), wurtzite(), 1e-5)


def test_standard_input_of_pymatgen_of_nothing_and_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(pymatgen_structure().as_dict())))
    assert read_one("-").get_chemical_formula() == "FeO2"
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert "is empty" in trouble(only(read("-")))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00"), encoding="utf-8"))
    assert "cannot be read as a structure file" in trouble(only(read("-")))


def test_read_one_wants_exactly_one_good_structure(tmp_path: Path) -> None:
    path = tmp_path / "many.xyz"
    write_structures(path)
    with pytest.raises(InputError, match=r"many\.xyz holds more than one frame; read them with"):
        read_one(path)
    atoms = rocksalt()
    atoms.pbc = False
    atoms.numbers[0] = 0
    with pytest.raises(InputError) as caught:
        read_one(atoms)
    for part in ("<memory>, frame 0 (id structure): ", "unknown element", "periodic in three dimensions"):
        assert part in str(caught.value)


def test_a_default_id_does_not_block_a_named_one(tmp_path: Path) -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    ase.io.write(tmp_path / "MgO.vasp", atoms)
    named = atoms.copy()
    named.info["id"] = "MgO"
    ase.io.write(tmp_path / "named.xyz", named, format="extxyz")
    structures = list(read([tmp_path / "MgO.vasp", tmp_path / "named.xyz"]))
    assert [is_sound(structure) for structure in structures] == [True, True]
    assert len({structure.id for structure in structures}) == 2


def test_a_document_nested_without_end_is_a_problem_at_any_limit_of_recursion(tmp_path: Path) -> None:
    """phonopy's solver raises the limit to 100,000, and the parser then overflows the stack."""
    path = tmp_path / "deep.json"
    path.write_text('{"sites": ' + "[" * 90_000)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        assert "nested too deeply" in trouble(only(read(path)))
        assert sys.getrecursionlimit() == 100_000
    finally:
        sys.setrecursionlimit(limit)

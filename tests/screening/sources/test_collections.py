"""Files, folders and standard input as collections: every structure once, in order, with an id of its own."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import ase.db
import ase.io
import pytest
from tests.screening.crystal_files import (
    assert_same,
    crystal,
    crystals,
    fields,
    json_lines,
    pymatgen_dict,
    text_of,
    write_table,
)
from tests.structures.inputs import is_sound, trouble

from voigt.errors import InputError
from voigt.screening.sources import open_collection

# ---- single files


@pytest.mark.parametrize("pack", [None, gzip.compress, bz2.compress, lzma.compress])
def test_extended_xyz_plain_and_packed(tmp_path: Path, pack: object) -> None:
    suffix = {None: "", gzip.compress: ".gz", bz2.compress: ".bz2", lzma.compress: ".xz"}[pack]
    path = tmp_path / f"salts.xyz{suffix}"
    text = text_of(crystals(7), "extxyz")
    path.write_bytes(pack(text) if callable(pack) else text)
    collection = open_collection(str(path))
    structures = list(collection.structures())
    assert_same(structures, crystals(7))
    assert [structure.id for structure in structures] == [f"salts:{number}" for number in range(7)]
    assert [structure.index for structure in structures] == list(range(7))
    assert {structure.source for structure in structures} == {str(path)}
    assert (collection.name, collection.kind, collection.count) == (str(path), "extxyz", None)
    assert fields(collection.structures()) == fields(structures)


@pytest.mark.parametrize(
    "name", ["salt.cif", "salt.cif.gz", "POSCAR.gz", "salt.vasp.xz", "unnamed", "wrongly_named.gz"]
)
def test_a_single_structure(tmp_path: Path, name: str) -> None:
    kind = "cif" if "cif" in name else "vasp"
    text = text_of(crystal(3), kind)
    path = tmp_path / name
    packing = {".gz": gzip.compress, ".xz": lzma.compress}
    path.write_bytes(packing[path.suffix](text) if path.suffix in packing and "wrongly" not in name else text)
    (structure,) = open_collection(str(path)).structures()
    assert_same([structure], [crystal(3)])
    assert structure.id == name.partition(".")[0]


def test_json_lines_of_structures_and_documents(tmp_path: Path) -> None:
    core = pytest.importorskip("pymatgen.core")
    entries = [pymatgen_dict(one) for one in crystals(4)]
    by_pymatgen = core.Structure(crystal(4).cell.array, crystal(4).symbols, crystal(4).get_scaled_positions()).as_dict()
    documents = [
        entries[0],
        {"structure": entries[1], "material_id": "mp-1"},
        {"id": "own", **entries[2]},
        "salt",
        by_pymatgen,
    ]
    lines = json_lines(documents).splitlines(keepends=True)
    for name in ("salts.jsonl", "salts.ndjson.gz", "no_suffix"):
        text = "".join([*lines[:3], "\n", '{"cut": \n', "[" * 100_000 + "\n", *lines[3:]]).encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        structures = list(open_collection(str(tmp_path / name)).structures())
        stem = name.split(".")[0]
        assert [structure.id for structure in structures] == [
            f"{stem}:0",
            "mp-1",
            "own",
            *(f"{stem}:{k}" for k in (3, 4, 5, 6)),
        ]
        assert_same([structures[k] for k in (0, 1, 2, 6)], [crystal(k) for k in (0, 1, 2, 4)])
        assert "line 5 is no JSON document" in trouble(structures[3])
        assert "line 6 is no JSON document" in trouble(structures[4])
        assert "not a pymatgen Structure" in trouble(structures[5])


def test_a_broken_document_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    broken = {"structure": {"lattice": {"matrix": [[1]]}, "sites": []}, "material_id": "mp-7"}
    path.write_text(json_lines([pymatgen_dict(crystal(0)), broken]))
    assert [structure.id for structure in open_collection(str(path)).structures()] == ["few:0", "mp-7"]


def test_ase_database_knows_its_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voigt.structures.readers.database.ROWS_AT_ONCE", 3)
    path = tmp_path / "salts.db"
    with ase.db.connect(path) as database:
        for number in range(12):
            database.write(crystal(number), key_value_pairs={"mp_id": f"mp-{number}"})
    for row in (3, 4, 5, 6):
        del database[row]
    collection = open_collection(str(path))
    structures = list(collection.structures())
    left = [0, 1, *range(6, 12)]
    assert [structure.id for structure in structures] == [f"mp-{number}" for number in left]
    assert_same(structures, [crystal(number) for number in left])
    assert (collection.kind, collection.count) == ("database", 8)


# ---- folders


def test_nested_folders_give_paths_as_ids(tmp_path: Path) -> None:
    top = tmp_path / "salts"
    places = ["Ä/POSCAR", "Ä/b.cif", "a.cif", "b/c/d.vasp", "b/c.xyz", "塩.cif"]
    for number, place in enumerate(places):
        path = top / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            text_of(
                crystal(number),
                {"POSCAR": "vasp", ".cif": "cif", ".vasp": "vasp"}.get(path.suffix or path.name, "extxyz"),
            )
        )
    (top / "b" / "many.xyz.gz").write_bytes(gzip.compress(text_of([crystal(10), crystal(11)], "extxyz")))
    (top / ".hidden").mkdir()
    (top / ".hidden" / "e.cif").write_bytes(text_of(crystal(9), "cif"))
    (top / "notes.txt").write_text("salt\n")
    (top / "settings.json").write_text('{"color": "white"}')
    (top / "log.jsonl").write_text('{"time": 1}\n{"time": 2}\n')
    (top / "round").symlink_to(top, target_is_directory=True)
    (top / "self").symlink_to(top / "self")
    os.mkfifo(top / "pipe.cif")
    collection = open_collection(str(top))
    structures = list(collection.structures())
    assert [structure.id for structure in structures] == [
        "a",
        "b/c/d",
        "b/c",
        "b/many:0",
        "b/many:1",
        "Ä/POSCAR",
        "Ä/b",
        "塩",
    ]
    assert_same(structures, [crystal(number) for number in (2, 3, 4, 10, 11, 0, 1, 5)])
    assert (collection.kind, collection.count) == ("folder", None)
    assert Path(structures[1].source) == top / "b" / "c" / "d.vasp"
    assert fields(collection.structures()) == fields(structures)


def test_names_that_differ_in_their_suffix_only_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "salt.cif").write_bytes(text_of(crystal(0), "cif"))
    (tmp_path / "salt.vasp").write_bytes(text_of(crystal(1), "vasp"))
    (tmp_path / "salt.vasp.gz").write_bytes(gzip.compress(text_of(crystal(2), "vasp")))
    (tmp_path / "POSCAR.mp-1").write_bytes(text_of(crystal(3), "vasp"))
    (tmp_path / "POSCAR.mp-2").write_bytes(text_of(crystal(4), "vasp"))
    structures = list(open_collection(str(tmp_path)).structures())
    assert [structure.id for structure in structures] == ["POSCAR.mp-1", "POSCAR.mp-2", "salt", "salt-2", "salt-3"]


def test_one_per_cent_of_garbage_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    garbage = {17: b"", 101: bytes(range(256)) * 4, 150: b"comment\n1.0\n", 251: text_of(crystal(251), "vasp")[:-30]}
    for number in range(300):
        path = tmp_path / f"{number:03d}.vasp"
        path.write_bytes(garbage.get(number, text_of(crystal(number), "vasp")))
    (tmp_path / "999.cif.gz").write_bytes(gzip.compress(text_of(crystal(0), "cif"))[:-40])
    structures = list(open_collection(str(tmp_path)).structures())
    bad = [structure.id for structure in structures if not is_sound(structure)]
    assert bad == [*(f"{number:03d}" for number in garbage), "999"]
    assert_same([f for f in structures if is_sound(f)], [crystal(k) for k in range(300) if k not in garbage])


def test_a_file_that_vanishes_while_reading_is_one_problem(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.vasp").write_bytes(text_of(crystal(number), "vasp"))
    structures = open_collection(str(tmp_path)).structures()
    first = next(structures)
    (tmp_path / "1.vasp").unlink()
    assert [first.id, *(structure.id for structure in structures if is_sound(structure))] == ["0", "2"]


# ---- identity


def test_an_id_is_used_once(tmp_path: Path) -> None:
    several = crystals(6)
    for atoms, identity in zip(several, ["x", "y", "x", None, "z", "y"], strict=True):
        if identity is not None:
            atoms.info["id"] = identity
    ase.io.write(tmp_path / "salts.xyz", several)
    structures = list(open_collection(str(tmp_path / "salts.xyz")).structures())
    assert [is_sound(structure) for structure in structures] == [True, True, False, True, True, False]
    assert "duplicate id 'x'" in trouble(structures[2])
    assert "duplicate id 'y'" in trouble(structures[5])


def test_names_that_are_no_text_can_be_written(tmp_path: Path) -> None:
    """A file name with bytes that are no UTF-8, an id with half a character."""
    (tmp_path / "a").mkdir()
    with open(os.fsencode(tmp_path / "a") + b"/salt-\xff.vasp", "wb") as stream:
        stream.write(text_of(crystal(0), "vasp"))
    (structure,) = open_collection(str(tmp_path / "a")).structures()
    structure.id.encode(), structure.source.encode()
    path = tmp_path / "half.jsonl"
    path.write_text(json.dumps({"id": "a\ud800", **pymatgen_dict(crystal(1))}) + "\n{\n")
    structures = list(open_collection(str(path)).structures())
    assert structures[0].id.encode() == b"a?"


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    top = tmp_path / "salts"
    (top / "deep").mkdir(parents=True)
    for number in range(3):
        (top / "deep" / f"{number}.cif").write_bytes(text_of(crystal(number), "cif"))
        os.utime(top / "deep" / f"{number}.cif", ns=(10**18, 10**18))

    def fingerprint(path: Path = top) -> str:
        return open_collection(str(path)).fingerprint

    seen = [fingerprint()]
    assert seen[0] == fingerprint()
    os.utime(top / "deep" / "1.cif", ns=(10**18, 10**18 + 1))
    seen.append(fingerprint())
    (top / "deep" / "3.cif").write_bytes(text_of(crystal(3), "cif"))
    seen.append(fingerprint())
    (top / "deep" / "0.cif").rename(top / "0.cif")
    seen.append(fingerprint())
    assert len(set(seen)) == 4
    (top / "README.txt").write_text("not of the collection\n")
    assert fingerprint() == seen[-1]
    top.rename(tmp_path / "moved")
    assert fingerprint(tmp_path / "moved") == seen[-1]


# ---- standard input


def test_standard_input_can_be_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def pipe(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    text = text_of(crystals(5), "extxyz")
    pipe(text)
    collection = open_collection("-")
    structures = list(collection.structures())
    assert_same(structures, crystals(5))
    assert [structure.id for structure in structures] == [f"stdin:{number}" for number in range(5)]
    assert fields(collection.structures()) == fields(structures)
    pipe(gzip.compress(text))
    assert_same(list(open_collection("-").structures()), crystals(5))
    pipe(text)
    assert open_collection("-").fingerprint == collection.fingerprint
    pipe(b"")
    with pytest.raises(InputError, match="standard input is empty"):
        open_collection("-")


# ---- nothing there


def test_what_holds_no_crystal_is_refused_in_one_sentence(tmp_path: Path) -> None:
    def refused(text: str) -> str:
        with pytest.raises(InputError) as caught:
            open_collection(text)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file or folder" in refused(str(tmp_path / "missing"))
    (tmp_path / "folder").mkdir()
    assert "no crystals in" in refused(str(tmp_path / "folder"))
    (tmp_path / "folder" / "notes.txt").write_text("salt")
    (tmp_path / "folder" / "page.xml").write_text("<html/>")
    assert "no crystals in" in refused(str(tmp_path / "folder"))
    for name in ("empty.xyz", "empty.db", "empty.jsonl", "empty.cif.gz", "empty"):
        (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith(".gz") else b"")
        assert "is empty" in refused(str(tmp_path / name))
    (tmp_path / "other.db").write_text("not a database at all\n")
    assert "cannot be read as ASE database" in refused(str(tmp_path / "other.db"))
    (tmp_path / "notes").write_text("nothing to see\n")
    assert "unknown format" in refused(str(tmp_path / "notes"))
    os.mkfifo(tmp_path / "pipe.xyz")
    assert "neither a file nor a folder" in refused(str(tmp_path / "pipe.xyz"))
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.cif").write_bytes(text_of(crystal(0), "cif"))
    write_table(tmp_path / "mixed" / "b.parquet", crystals(1))
    assert "only one of them" in refused(str(tmp_path / "mixed"))


# ---- memory


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Of what a structure needs only its id stays behind: less than 100 bytes."""
    one = text_of(crystal(0) * (2, 1, 1), "extxyz")
    path = tmp_path / "many.xyz.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(800):
            stream.write(one)
    structures = open_collection(str(path)).structures()
    next(structures)
    tracemalloc.start()
    try:
        for _ in range(100):
            next(structures)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        count = sum(1 for _ in structures)
        grown = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert count == 699
    assert grown < count * 100 + 2**18 < len(one) * count

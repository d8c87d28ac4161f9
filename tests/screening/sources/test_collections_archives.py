"""Tar and zip archives of structure files: every member in order, nothing on disk, and what breaks is named."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import re
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import ase.db
import pytest
from tests.screening.crystal_files import assert_same, crystal, crystals, fields, json_lines, pymatgen_dict, text_of
from tests.structures.inputs import is_sound, trouble

from voigt.errors import InputError
from voigt.screening.sources import open_collection

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "tar": lambda content: content,
    "tar.gz": gzip.compress,
    "tgz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}


MEMBER = 512 + 1024
"""Bytes of a header and of a text with one of these crystals."""


def tar(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write_archive(path: Path, members: Mapping[str, bytes]) -> str:
    kind = path.name.split(".", 1)[1]
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        path.write_bytes(PACKINGS[kind](tar(members)))
    return str(path)


def salts(count: int) -> dict[str, bytes]:
    return {f"salts/{number:03d}.vasp": text_of(crystal(number), "vasp") for number in range(count)}


@pytest.mark.parametrize("kind", [*PACKINGS, "zip"])
def test_members_of_every_format_in_the_order_of_the_archive(tmp_path: Path, kind: str) -> None:
    members = {
        "z/塩.cif": text_of(crystal(0), "cif"),
        "z/POSCAR.mp-1": text_of(crystal(1), "vasp"),
        "notes.txt": b"salt\n",
        "a/many.xyz": text_of([crystal(2), crystal(3)], "extxyz"),
        "a/one.cif.gz": gzip.compress(text_of(crystal(4), "cif")),
        "settings.json": b'{"color": "white"}',
        "structure.json": json.dumps(pymatgen_dict(crystal(5))).encode(),
        "lines.jsonl.xz": lzma.compress(json_lines(pymatgen_dict(crystal(k)) for k in (6, 7)).encode()),
        "page.xml": b"<html></html>",
        "__MACOSX/z/._a.cif": b"\0\5\26\7",
        "./b.cif": text_of(crystal(8), "cif"),
    }
    text = write_archive(tmp_path / f"salts.{kind}", members)
    before = sorted(tmp_path.iterdir())
    collection = open_collection(text)
    structures = list(collection.structures())
    assert_same(structures, crystals(9))
    stems = ["z/塩", "z/POSCAR.mp-1", "a/many:0", "a/many:1", "a/one", "structure", "lines:0", "lines:1", "b"]
    assert [structure.id for structure in structures] == stems
    assert structures[3].source == f"{text}!/a/many.xyz"
    assert (structures[3].index, structures[8].source) == (1, f"{text}!/b.cif")
    assert (collection.kind, collection.count) == ("zip" if kind == "zip" else "tar", None)
    assert fields(collection.structures()) == fields(structures)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_the_content_tells_an_archive(tmp_path: Path, kind: str) -> None:
    text = write_archive(tmp_path / f"salts.{kind}", salts(3))
    Path(text).rename(tmp_path / "download")
    assert_same(list(open_collection(str(tmp_path / "download")).structures()), crystals(3))


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_hostile_names_lead_nowhere(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    names = ["../../up.vasp", "/etc/root.vasp", "a/../../b.vasp", "..\\c\\d.vasp", "..", "a\nb.vasp", "b.vasp"]
    members = {name: text_of(crystal(number), "vasp") for number, name in enumerate(names)}
    text = write_archive(tmp_path / f"salts.{kind}", members)
    structures = list(open_collection(text).structures())
    assert [structure.id for structure in structures] == ["up", "etc/root", "a/b", "c/d", "a?b", "b"]
    assert all(is_sound(structure) for structure in structures)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["inside", f"salts.{kind}"]


def test_links_and_devices_in_a_tar_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret.vasp").write_bytes(text_of(crystal(5), "vasp"))
    with tarfile.open(tmp_path / "salts.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.vasp")
            info.type, info.linkname = kind, str(tmp_path / "secret.vasp")
            archive.addfile(info)
        content = text_of(crystal(0), "vasp")
        info = tarfile.TarInfo("salt.vasp")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    structures = list(open_collection(str(tmp_path / "salts.tar")).structures())
    assert [structure.id for structure in structures] == ["salt"]


def test_repeated_members_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "salts.tar").write_bytes(tar(salts(1)))
    with tarfile.open(tmp_path / "salts.tar", "a") as archive:
        for _ in range(2):
            text = text_of(crystal(0), "vasp")
            info = tarfile.TarInfo("salts/000.vasp")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    structures = list(open_collection(str(tmp_path / "salts.tar")).structures())
    assert [structure.id for structure in structures] == ["salts/000", "salts/000-2", "salts/000-3"]


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_one_per_cent_of_garbage_is_named_and_the_rest_is_read(tmp_path: Path, kind: str) -> None:
    members = salts(200)
    members["salts/017.vasp"] = b""
    members["salts/101.vasp"] = bytes(range(256))
    members["salts/999.cif.gz"] = gzip.compress(text_of(crystal(0), "cif"))[:-30]
    structures = list(open_collection(write_archive(tmp_path / f"salts.{kind}", members)).structures())
    bad = [structure.id for structure in structures if not is_sound(structure)]
    assert bad == ["salts/017", "salts/101", "salts/999"]
    assert_same([f for f in structures if is_sound(f)], [crystal(k) for k in range(200) if k not in (17, 101)])


@pytest.mark.parametrize(
    ("kind", "cut"),
    [
        ("tar", lambda content: content[: 15 * MEMBER + 700]),  # in a text
        ("tar", lambda content: content[: 15 * MEMBER]),  # between members
        ("tar", lambda content: content[: 15 * MEMBER + 100]),  # in a header
        ("tar", lambda content: content[: 15 * MEMBER] + b"garbage " * 64 + content[15 * MEMBER + 512 :]),
        ("tar.gz", lambda content: content[: len(content) // 2]),
        ("tar.gz", lambda content: content[:-4]),  # in the sum that gzip checks
        ("tar.gz", lambda content: content[:-8] + b"none" + content[-4:]),  # another sum
        ("tar.xz", lambda content: content[: len(content) // 2]),
    ],
)
def test_an_archive_that_breaks_off_gives_what_it_has_and_says_so(
    tmp_path: Path, kind: str, cut: Callable[[bytes], bytes]
) -> None:
    noise = random.Random(0)  # or packing would leave too little to cut
    members = {name: content + noise.randbytes(64).hex().encode() for name, content in salts(40).items()}
    assert all(512 < len(content) <= 1024 for content in members.values())
    path = tmp_path / f"salts.{kind}"
    path.write_bytes(cut(PACKINGS[kind](tar(members))))
    structures = list(open_collection(str(path)).structures())
    sound = [structure for structure in structures if is_sound(structure)]
    assert_same(sound, crystals(len(sound)))
    assert 5 <= len(sound) <= 40
    assert "archive" in trouble(structures[-1])
    assert re.search(r"\(after \d+ members\)$", trouble(structures[-1]))
    assert len(structures) <= len(sound) + 2  # the member in which it breaks off, and the archive
    assert structures[-1].source == str(path)
    assert fields(open_collection(str(path)).structures()) == fields(structures)


def test_a_sound_archive_is_not_said_to_break_off(tmp_path: Path) -> None:
    """Sizes that fill their blocks, and a member that is passed over at the end."""
    members = {f"{k}.vasp": text_of(crystal(k), "vasp").ljust(512 * (k + 1)) for k in range(4)}
    for last in ({}, {"notes.txt": b"x" * 5000}, {"notes.txt": b"x" * 512}):
        structures = list(open_collection(write_archive(tmp_path / "salts.tar.gz", {**members, **last})).structures())
        assert_same(structures, crystals(4))


def test_a_member_of_a_zip_with_a_wrong_checksum_is_one_problem(tmp_path: Path) -> None:
    path = Path(write_archive(tmp_path / "salts.zip", salts(5)))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("salts/002.vasp").header_offset
    content[start + 60] ^= 0xFF
    path.write_bytes(content)
    structures = list(open_collection(str(path)).structures())
    assert [is_sound(structure) for structure in structures] == [True, True, False, True, True]


def test_archives_without_crystals_are_refused_in_one_sentence(tmp_path: Path) -> None:
    whole = Path(write_archive(tmp_path / "salts.zip", salts(5))).read_bytes()
    (tmp_path / "truncated.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "truncated.tar").write_bytes(tar(salts(5))[:300])
    (tmp_path / "text.tar.gz").write_bytes(b"not packed at all")
    write_archive(tmp_path / "empty.zip", {})
    write_archive(tmp_path / "empty.tar", {})
    write_archive(tmp_path / "notes.tar.gz", {"notes.txt": b"salt", "other.json": b"{}"})
    for name in ("truncated.zip", "truncated.tar", "text.tar.gz", "empty.zip", "empty.tar", "notes.tar.gz"):
        with pytest.raises(InputError, match=f"no crystals in .*{name}") as caught:
            open_collection(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_a_database_in_an_archive_is_one_problem(tmp_path: Path) -> None:
    with ase.db.connect(tmp_path / "salts.db") as database:
        database.write(crystal(0))
    members = {"a.vasp": text_of(crystal(1), "vasp"), "salts.db": (tmp_path / "salts.db").read_bytes()}
    structures = list(open_collection(write_archive(tmp_path / "salts.tar", members)).structures())
    assert is_sound(structures[0])
    assert "give the unpacked file" in trouble(structures[1])


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    """tarfile would keep a kilobyte of every member."""
    member = text_of(crystal(0), "vasp")
    text = write_archive(tmp_path / "many.tar.gz", {f"{number:05d}.vasp": member for number in range(900)})
    structures = open_collection(text).structures()
    for _ in range(100):
        next(structures)
    tracemalloc.start()
    try:
        for _ in range(100):
            next(structures)
        before = tracemalloc.get_traced_memory()[0]
        count = 1
        for structure in structures:  # noqa: B007 - the last one is looked at
            count += 1
            if count == 690:
                break
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert is_sound(structure)
    assert grown < count * 150


def test_bombs_in_archives_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    bomb = b"data_x\n" + b" " * (34 << 20)
    members = {"0.vasp": text_of(crystal(0), "vasp"), "bomb.cif": bomb, "1.vasp": text_of(crystal(1), "vasp")}
    entries = list(open_collection(write_archive(tmp_path / "salts.zip", members)).structures())
    assert_same([entries[0], entries[2]], crystals(2))
    assert "which no structure file does" in trouble(entries[1])
    packed = {**members, "bomb.cif.gz": gzip.compress(bomb)}
    del packed["bomb.cif"]
    entries = list(open_collection(write_archive(tmp_path / "salts.tar", packed)).structures())
    assert sum(map(is_sound, entries)) == 2
    entries = list(open_collection(write_archive(tmp_path / "salts.tar.gz", members)).structures())
    assert is_sound(entries[0])  # what comes after a bomb in one stream can only be had by unfolding it
    assert "which no structure file does" in trouble(entries[-1])


def test_encrypted_members_and_files_with_holes_are_named(tmp_path: Path) -> None:
    path = Path(write_archive(tmp_path / "salts.zip", salts(2)))
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    entries = list(open_collection(str(path)).structures())
    assert "is encrypted" in trouble(entries[0])
    assert is_sound(entries[1])
    info = tarfile.TarInfo("holes.vasp")
    info.type, info.pax_headers = tarfile.REGTYPE, {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(10**12)}
    with tarfile.open(tmp_path / "holes.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    with tarfile.open(tmp_path / "holes.tar", "a") as archive:
        whole = text_of(crystal(0), "vasp")
        info = tarfile.TarInfo("whole.vasp")
        info.size = len(whole)
        archive.addfile(info, io.BytesIO(whole))
    entries = list(open_collection(str(tmp_path / "holes.tar")).structures())
    assert "with holes" in trouble(entries[0])
    assert is_sound(entries[1])


def test_headers_without_end_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    block = info.tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "salts.tar"
    path.write_bytes(tar(salts(1))[: 512 + 1024] + block + bytes(1024))
    entries = list(open_collection(str(path)).structures())
    assert is_sound(entries[0])
    assert "has a header of" in trouble(entries[-1])


def test_a_list_of_too_many_members_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voigt.structures.readers.archives.MOST_MEMBERS", 3)
    with pytest.raises(InputError, match="more than 3 members"):
        open_collection(write_archive(tmp_path / "salts.zip", salts(30)))


def test_inputs_of_codes_are_found_in_archives(tmp_path: Path) -> None:
    geometry = b"lattice_vector 4 0 0\nlattice_vector 0 4 0\nlattice_vector 0 0 4\natom_frac 0 0 0 Po\n"
    members = {"a/geometry.in": geometry, "a/control.in": b"xc pbe\n", "run.log": geometry}
    for kind in ("zip", "tar.gz"):
        entries = list(open_collection(write_archive(tmp_path / f"codes.{kind}", members)).structures())
        assert [entry.id for entry in entries if is_sound(entry)] == ["a/geometry"]

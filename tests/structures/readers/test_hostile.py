"""Bombs, huge counts and letters that are none: refused in one printable sentence, without much time or memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from tests.structures.inputs import is_sound, only, rocksalt, same_crystal, trouble, write_structures
from tests.structures.readers.test_formats import POSCAR, STEP, STRUCTURE, VASPRUN, vasprun

from voigt.notes import Failure
from voigt.structures import read, read_one
from voigt.structures.readers.failures import explain


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("bomb.cif.gz", gzip.compress),
        ("bomb.json.gz", gzip.compress),
        ("POSCAR.bz2", bz2.compress),
        ("bomb", lambda content: lzma.compress(content, preset=0)),
    ],
)
def test_a_packed_bomb_is_not_unfolded(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / name
    path.write_bytes(pack(b"data_x\n" + b" " * (34 << 20)))
    assert "which no structure file does" in trouble(only(read(path)))


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("gap.xyz", "\n" * 50_000, "holds no structure"),
        ("gap.xyz", "\n" * 200_000 + "x", "blank lines in a row"),
        ("gap.jsonl", "{}\n" + "\n" * 200_000 + "x", "blank lines in a row"),
        ("count.xyz", "1\n" * 30_003, "broken structures in a row"),
    ],
)
def test_a_text_without_end_is_given_up(tmp_path: Path, name: str, text: str, shown: str) -> None:
    (tmp_path / name).write_text(text)
    start = time.perf_counter()
    *_, last = read(tmp_path / name)
    assert shown in trouble(last)
    assert time.perf_counter() - start < 20


HUGE = ["1000000000000", "9" * 5000, "-1", "1e12", "999999999"]


@pytest.mark.parametrize("count", HUGE)
def test_huge_numbers_of_atoms_are_only_numbers(tmp_path: Path, count: str) -> None:
    header = f"4 0 0 0 0 0\n0 4 0 0 0 0\n0 0 4 0 0 0\n{count}\n1 11 0 0 0 0 0 0\n"
    texts = {
        "POSCAR": POSCAR.format(symbols="Cs Cl", counts=f"1 {count}"),
        "XDATCAR": f"x\n1\n4 0 0\n0 4 0\n0 0 4\nNa\n{count}\nDirect configuration= 1\n0 0 0\n",
        "OUTCAR": f" vasp.6\n TITEL = PAW Na x\n ions per type = {count}\n POSITION  TOTAL-FORCE (eV/Angst)\n",
        "a.XV": header,
        "a.STRUCT_OUT": header.replace(" 0 0 0\n", "\n"),
        "a.gen": f"{count} S\nNa\n1 1 0 0 0\n0 0 0\n4 0 0\n0 4 0\n0 0 4\n",
        "a.xsf": f"CRYSTAL\nPRIMVEC\n4 0 0\n0 4 0\n0 0 4\nPRIMCOORD\n{count} 1\n11 0 0 0\n",
        "a.abi": f"acell 3*7 natom {count} ntypat 1 znucl 11 typat {count}*1 xred {count}*0.1",
        "a.pwi": f"&system\nibrav=1, A=4, nat={count}, ntyp=1\n/\nATOMIC_POSITIONS crystal\nNa 0 0 0\n",
        "a.fdf": f"NumberOfAtoms {count}\nLatticeConstant 4 Ang\n%block ChemicalSpeciesLabel\n1 11 Na\n%endblock\n"
        "%block AtomicCoordinatesAndAtomicSpecies\n0 0 0 1\n%endblock\n",
    }
    start = time.perf_counter()
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        for structure in read(tmp_path / name):
            assert trouble(structure).isprintable()
    assert time.perf_counter() - start < 20


def test_a_huge_count_in_extended_xyz_leaves_the_frames_after_it(tmp_path: Path) -> None:
    path = tmp_path / "many.xyz"
    structures = write_structures(path, 6)
    for count in HUGE:
        broken = [[count + "\n", *structures[2][1:]] if k == 2 else lines for k, lines in enumerate(structures)]
        path.write_text("".join(map("".join, broken)))
        assert [entry.id for entry in read(path) if is_sound(entry)] == ["zno-0", "zno-1", "zno-3", "zno-4", "zno-5"]


def test_columns_by_the_billion_in_extended_xyz_are_one_broken_frame(tmp_path: Path) -> None:
    path = tmp_path / "many.xyz"
    structures = write_structures(path, 3)
    for kind in ("pos:R:1000000000", "pos:R:3:x:R:" + "9" * 5000):
        broken = [structures[1][0], structures[1][1].replace("pos:R:3", kind), *structures[1][2:]]
        path.write_text("".join(map("".join, [structures[0], broken, structures[2]])))
        first, bad, last = read(path)
        assert "more than 10000 columns" in trouble(bad)
        assert [first.id, last.id] == ["zno-0", "zno-2"]


@pytest.mark.parametrize("spoilt", ["\x00L\x00a\x00t", "\ufffd\ufffd3"])
def test_frames_are_known_without_a_suffix_even_if_one_is_spoilt(tmp_path: Path, spoilt: str) -> None:
    path = tmp_path / "frames"
    structures = write_structures(path, 3)
    for bad in range(3):
        lines = [spoilt + "\n" + "".join(s[1:]) if k == bad else "".join(s) for k, s in enumerate(structures)]
        path.write_text("".join(lines))
        sound = [entry.id for entry in read(path) if is_sound(entry)]
        assert sound == [f"zno-{k}" for k in range(3) if k != bad]


def test_a_long_spoilt_beginning_does_not_hide_the_format(tmp_path: Path) -> None:
    structures = write_structures(tmp_path / "a.xyz", 2)
    first = structures[0]
    text = first[0].strip() + " " + first[1] + first[2] * 500 + "".join(structures[1])
    (tmp_path / "frames").write_text(text)
    assert [entry.id for entry in read(tmp_path / "frames") if is_sound(entry)] == ["zno-1"]


def test_blanks_by_the_megabyte_are_passed_over(tmp_path: Path) -> None:
    crystal = ase.Atoms("NaCl", cell=[3, 4, 5], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], pbc=True)
    path = tmp_path / "a.cif"
    ase.io.write(path, crystal)
    text = path.read_text()
    start = time.process_time()
    for fill in (" " * (200 << 20), "\n" * (200 << 20)):
        path.write_text(text + fill)
        assert same_crystal(read_one(path), crystal)
    path.write_text(text.replace("\n", "\n" * (9 << 20), 1))
    assert same_crystal(read_one(path), crystal)
    assert time.process_time() - start < 10


def test_lines_by_the_million_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voigt.structures.readers.formats._MOST_LINES", 1000)
    (tmp_path / "a.pwo").write_text("Program PWSCF\n" + "x\n" * 1300)
    assert "more than 1000 lines; split it" in trouble(only(read(tmp_path / "a.pwo")))


def test_coordinates_that_are_no_numbers_make_no_warnings(tmp_path: Path) -> None:
    # Warnings are errors here: NumPy warns of products of NaN and infinity.
    path = tmp_path / "POSCAR"
    path.write_text("MgO\n1.0\n0 2 2\n2 0 inf\n2 2 0\nMg O\n1 1\nDirect\n0 0 0\nnan 0 0.5\n")
    assert "not finite" in trouble(only(read(path)))
    path = tmp_path / "a.jsonl"
    entry = '{"numbers": [12, 8], "cell": [[0, 2, 2], [2, 0, 1e999], [2, 2, 0]], "frac": [[0, 0, 0], [NaN, 0, 0.5]]}'
    path.write_text(entry + "\n" + entry + "\n")
    assert all(trouble(structure) for structure in read(path))


def test_deep_json_in_a_comment_is_one_broken_frame(tmp_path: Path) -> None:
    path = tmp_path / "many.xyz"
    structures = write_structures(path, 3)
    structures[1][1] = structures[1][1].rstrip() + ' deep="_JSON ' + "[" * 100_000 + '"\n'
    path.write_text("".join(map("".join, structures)))
    assert [entry.id for entry in read(path)][::2] == ["zno-0", "zno-2"]


# ---- trajectories


def trajectory(path: Path, change: Callable[[bytes], bytes]) -> Path:
    frames = [rocksalt() for _ in range(3)]
    for number, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=number)
    ase.io.write(path, frames)
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("change", "sound"),
    [
        (lambda content: content.replace(b'"float64"', b'"object" '), 0),
        (lambda content: content.replace(b"[[2], ", b"[[9], "), 0),
        (lambda content: content[:24] + struct.pack("<3q", 3, 10**15, 48) + content[48:], 0),
        (lambda content: content[:24] + struct.pack("<3q", 3, 3, 10**15) + content[48:], 0),
        (lambda content: content[: len(content) - 300], 2),
        (lambda content: content.replace(b'"positions."', b'"positionz."'), 0),
        (lambda content: content[:22] + bytes(26), 0),
    ],
)
def test_broken_trajectories(tmp_path: Path, change: Callable[[bytes], bytes], sound: int) -> None:
    entries = list(read(trajectory(tmp_path / "a.traj", change)))
    assert entries
    assert sum(map(is_sound, entries)) == sound
    assert all(entry.reason.isprintable() for entry in entries if isinstance(entry, Failure))


def test_a_packed_trajectory_and_its_arrays(tmp_path: Path) -> None:
    atoms = rocksalt()
    atoms.set_tags([3, 4])
    atoms.set_initial_magnetic_moments([0.5, -0.5])
    ase.io.write(tmp_path / "a.traj", atoms)
    (tmp_path / "a.traj.gz").write_bytes(gzip.compress((tmp_path / "a.traj").read_bytes()))
    for name in ("a.traj", "a.traj.gz"):
        read_back = read_one(tmp_path / name)
        assert read_back == atoms
        assert read_back.arrays["tags"].tolist() == [3, 4]
        assert read_back.arrays["initial_magmoms"].tolist() == [0.5, -0.5]


# ---- vasprun.xml


def test_entities_in_a_vasprun_are_refused(tmp_path: Path) -> None:
    names = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "x" * 10}">' for n in range(10))
    text = vasprun(3.4).replace("<modeling>", f"<!DOCTYPE m [{names}]>\n<modeling>&a9;")
    external = vasprun(3.4).replace("<modeling>", '<!DOCTYPE m SYSTEM "file:///etc/passwd">\n<modeling>')
    for hostile in (text, external):
        (tmp_path / "vasprun.xml").write_text(hostile)
        assert "declares XML entities" in trouble(only(read(tmp_path / "vasprun.xml")))


@pytest.mark.parametrize(("written", "element"), [("r ", "Zr"), ("X ", "Xe"), ("Na", "Na"), ("O ", "O")])
def test_elements_as_old_vasp_writes_them(tmp_path: Path, written: str, element: str) -> None:
    (tmp_path / "vasprun.xml").write_text(vasprun(3.4).replace("<c>Na</c>", f"<c>{written}</c>"))
    assert read_one(tmp_path / "vasprun.xml").get_chemical_symbols() == [element, "Cl"]


def tensors_of_phonopy(path: Path) -> Any:
    from phonopy.interface.vasp import VasprunxmlExpat

    with path.open("rb") as stream:
        parsed = VasprunxmlExpat(stream)
        parsed.parse()
        return parsed.born, parsed.epsilon


def test_tensors_of_a_vasprun_are_labels_in_the_order_of_phonopy(tmp_path: Path) -> None:
    """Rows belong to the field, columns to the displacement, as in BORN files; no component equals another."""
    born = np.arange(1.0, 19.0).reshape(2, 3, 3)
    epsilon = np.array([[5.0, 0.1, 0.2], [0.1, 6.0, 0.3], [0.2, 0.3, 7.0]])

    def lines(rows: Any) -> str:
        return "".join(f"<v> {' '.join(map(str, row))} </v>" for row in rows)

    tensors = f'<varray name="epsilon">{lines(epsilon)}</varray>' + (
        '<array name="born_charges"><dimension dim="1">ion</dimension>'
        + "".join(f"<set>{lines(block)}</set>" for block in born)
        + "</array>"
    )
    plain = STEP[: STEP.index(' <array name="born_charges">')] + "{tensors}</calculation>"
    structure = STRUCTURE.format(a=3.5)
    path = tmp_path / "vasprun.xml"
    path.write_text(VASPRUN.format(structure=structure, steps=plain.format(structure=structure, tensors=tensors)))
    atoms = read_one(path)
    expected_born, expected_epsilon = tensors_of_phonopy(path)
    np.testing.assert_array_equal(atoms.arrays["born_charges"].reshape(2, 3, 3), expected_born)
    np.testing.assert_array_equal(np.reshape(atoms.info["eps_inf"], (3, 3)), expected_epsilon)
    np.testing.assert_array_equal(expected_born, born)
    text = path.read_text()
    path.write_text(text[: text.rindex("<set>")] + text[text.rindex("</set>") + len("</set>") :])
    assert "Born charges of 1 atoms for 2" in trouble(only(read(path)))


# ---- messages


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (KeyError("MG"), "unknown element 'MG'; write Mg"),
        (KeyError("zn"), "unknown element 'zn'; write Zn"),
        (KeyError("Wq"), "unknown element 'Wq'; use a symbol"),
        (KeyError("abc"), "abc is missing"),
        (ValueError("could not convert string to float: '1.x'"), "'1.x' is not a number"),
        (ValueError("not enough values to unpack (expected 3, got 1)"), "cut short"),
        (AttributeError("'NoneType' object has no attribute 'text'"), "cut short"),
        (
            ValueError("bad \x1b[31mred\x07 in /opt/venv/lib/python3.11/site-packages/x/y.py"),
            "bad ?[31mred? in a library",
        ),
        (MemoryError(), "more memory than there is"),
    ],
)
def test_errors_of_parsers_become_sentences_for_people(error: Exception, shown: str) -> None:
    sentence = explain(error, "a structure")
    assert shown in sentence
    assert sentence.isprintable()


def test_control_characters_of_the_input_do_not_reach_the_terminal(tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07\x9b31m"
    texts = {
        "a.xyz": f"{hostile}\nx\n",
        "b.xyz": f'1\nLattice="4 0 0 0 4 0 0 0 4" pbc="T T T" id="{hostile}" Properties=species:S:1:pos:R:3\n'
        f"{hostile} 0 0 0\n",
        "POSCAR": POSCAR.format(symbols=f"Cs {hostile}", counts="1 1"),
        "a.pwi": f"&system\nibrav={hostile}, nat=1\n/\n",
        "a.json": '{"jid": "\\u001b[31m", "atoms": {"lattice_mat": [[1]]}}',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        for structure in read(tmp_path / name):
            assert isinstance(structure, Failure)
            assert structure.reason.isprintable()


def test_lists_of_elements_on_very_many_lines_are_joined_at_once(tmp_path: Path) -> None:
    (tmp_path / "POSCAR").write_text(POSCAR.format(symbols="Cs Cl\n" * 30_000 + "Cs Cl", counts="1 1"))
    started = time.process_time()
    assert "60002 elements in line 6 but 2 numbers" in trouble(only(read(tmp_path / "POSCAR")))
    assert time.process_time() - started < 3.0

"""Every format gives what ASE's or pymatgen's own reader gives, and says what is wrong with a broken file."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from tests.structures.inputs import good, is_sound, only, pymatgen_structure, rocksalt, same_crystal, trouble, wurtzite

from voigt.structures import read, read_one


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ZnO.cif", "cif"),
        ("POSCAR", "vasp"),
        ("CONTCAR-relaxed", "vasp"),
        ("POSCAR-unitcell", "vasp"),
        ("ZnO.vasp", "vasp"),
        ("ZnO.poscar", "vasp"),
        ("ZnO.xyz", "extxyz"),
        ("ZnO.extxyz", "extxyz"),
        ("rows.db", "db"),
        ("rows.json", "json"),
        # names that say nothing: the content decides
        ("ZnO.cif.txt", "cif"),
        ("geometry.in", "vasp"),
        ("ZnO", "extxyz"),
        ("rows", "db"),
    ],
)
def test_formats_agree_with_ase(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    ase.io.write(tmp_path / f"by_ase.{kind}", wurtzite(), format=kind)
    (tmp_path / f"by_ase.{kind}").rename(path)
    expected = ase.io.read(path, format=kind) if kind != "db" else ase.db.connect(path, type="db").get_atoms(1)
    structure = only(read(path))
    assert same_crystal(good(structure), expected)
    np.testing.assert_allclose(good(structure).positions, expected.positions, rtol=0, atol=1e-12)
    assert (structure.source, structure.index, structure.id) == (str(path), 0, path.stem)
    assert same_crystal(read_one(str(path)), expected)


def test_cif_with_symmetry_agrees_with_pymatgen(tmp_path: Path) -> None:
    core = pytest.importorskip("pymatgen.core")
    cif = pytest.importorskip("pymatgen.io.cif")
    structure = core.Structure.from_spacegroup(
        "R-3c", core.Lattice.hexagonal(4.99, 17.06), ["Ca", "C", "O"], [[0, 0, 0], [0, 0, 0.25], [0.257, 0, 0.25]]
    )
    path = tmp_path / "calcite.cif"
    cif.CifWriter(structure, symprec=0.01).write_file(path)
    atoms = read_one(path)
    assert len(atoms) == len(structure) == 30
    expected = core.Structure.from_file(path)
    assert atoms.cell.array == pytest.approx(expected.lattice.matrix, abs=1e-3)
    difference = atoms.get_scaled_positions()[:, None] - expected.frac_coords
    distance = np.linalg.norm(difference - np.rint(difference), axis=-1)
    assert distance.min(axis=1).max() < 1e-4
    partner = distance.argmin(axis=1)
    assert sorted(partner) == list(range(30))
    assert atoms.numbers.tolist() == [expected.atomic_numbers[k] for k in partner]


def test_cif_of_a_journal_gives_its_structures(tmp_path: Path) -> None:
    """Blocks without a structure are passed over; a broken block does not hide the next one."""
    block = """
        data_{name}
        _cell_length_a 5.64
        _cell_length_b 5.64
        _cell_length_c 5.64
        _cell_angle_alpha 90
        _cell_angle_beta 90
        _cell_angle_gamma 90
        _symmetry_space_group_name_H-M 'F m -3 m'
        _symmetry_cell_setting cubic
        loop_
        _atom_site_label
        _atom_site_fract_x
        _atom_site_fract_y
        _atom_site_fract_z
        Na1 0 0 0
        {other} 0.5 0.5 0.5
        """
    block = textwrap.dedent(block)
    text = "data_global\n_journal_year 1913\n"
    text += block.format(name="bad", other="Wq1") + block.format(name="good", other="Cl1")
    path = tmp_path / "paper.cif"
    path.write_text(text)
    bad, fine = read(path)
    assert "unknown element 'Wq'" in trouble(bad)
    assert good(fine).get_chemical_formula() == "Cl4Na4"
    assert (bad.id, fine.id) == ("paper:0", "paper:1")


VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <kpoints><varray name="kpointlist"><v> 0 0 0 </v></varray><varray name="weights"><v> 1 </v></varray></kpoints>
 <parameters></parameters>
 <atominfo><array name="atoms"><set><rc><c>Na</c><c>1</c></rc><rc><c>Cl</c><c>2</c></rc></set></array></atominfo>
 <structure name="initialpos">{structure}</structure>
 {steps}
</modeling>
"""
STRUCTURE = """<crystal><varray name="basis"><v> {a} 0 0 </v><v> 0 {a} 0 </v><v> 0 0 {a} </v></varray></crystal>
 <varray name="positions"><v> 0 0 0 </v><v> 0.5 0.5 0.5 </v></varray>"""
STEP = """<calculation>
 <scstep><energy><i name="e_fr_energy"> -7.1 </i><i name="e_0_energy"> -7.0 </i></energy></scstep>
 <structure>{structure}</structure>
 <energy><i name="e_fr_energy"> -7.1 </i></energy>
 <array name="born_charges"><dimension dim="1">ion</dimension>
 <set><v> 1.1 0 0 </v><v> 0 1.1 0 </v><v> 0 0 1.1 </v></set>
 <set><v> -1.1 0 0 </v><v> 0 -1.1 0 </v><v> 0 0 -1.1 </v></set></array>
</calculation>"""


def vasprun(*lengths: float) -> str:
    steps = "".join(STEP.format(structure=STRUCTURE.format(a=a)) for a in lengths)
    return VASPRUN.format(structure=STRUCTURE.format(a=3.0), steps=steps)


@pytest.mark.parametrize("name", ["vasprun.xml", "relaxation.xml", "unnamed"])
def test_vasprun_gives_the_last_step(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(vasprun(3.4, 3.5))
    atoms = read_one(path)
    assert atoms.get_chemical_formula() == "ClNa"
    assert atoms.cell.lengths() == pytest.approx([3.5] * 3)
    assert same_crystal(atoms, ase.io.read(path, format="vasp-xml"))


def test_the_last_step_of_a_long_vasprun_is_parsed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vasprun(3.4, 3.6, 3.5)
    unfinished = whole[: whole.rindex("<energy>")]  # the third step has no end
    spoilt = whole.replace("<energy>", "<spoilt>", 1)
    for text, length in ((whole, 3.5), (unfinished, 3.6), (spoilt, 3.5)):
        path = tmp_path / "vasprun.xml"
        path.write_text(text)
        assert read_one(path).cell.lengths() == pytest.approx([length] * 3)


def test_vasprun_without_a_step_or_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "vasprun.xml"
    path.write_text(vasprun())
    assert "no finished ionic step" in trouble(only(read(path)))
    path.write_text(vasprun(3.5)[:300])
    assert "cannot be read as vasprun.xml" in trouble(only(read(path)))


def test_database_rows_keep_pairs_and_data(tmp_path: Path) -> None:
    for name in ("rows.db", "rows.json"):
        path = tmp_path / name
        with ase.db.connect(path) as database:
            database.write(rocksalt(), mp_id="mp-22862", data={"eps_inf": np.eye(3) * 2.4})
            database.write(wurtzite(), band_gap=3.4)
            database.write(Atoms("H2O", positions=np.eye(3)))
        before = path.read_bytes()
        first, second, molecule = read(path)
        assert (first.id, second.id, molecule.id) == ("mp-22862", "rows:1", "rows:2")
        assert np.array_equal(good(first).info["eps_inf"], np.eye(3) * 2.4)
        assert good(second).info["band_gap"] == 3.4
        assert same_crystal(good(second), wurtzite(), 1e-12)
        assert "no cell" in trouble(molecule)
        assert path.read_bytes() == before
        assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted({name, "rows.db"})


def test_foreign_sqlite_file_is_refused_and_not_touched(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "photos.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE pictures (id INTEGER)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    assert "no ASE database" in trouble(only(read(path)))
    assert path.read_bytes() == before
    path.write_text("not a database at all\n")
    assert "cannot be read as ASE database" in trouble(only(read(path)))


@pytest.mark.parametrize("how", ["file", "as_dict", "object"])
def test_pymatgen_structures_agree_with_pymatgen(tmp_path: Path, how: str) -> None:
    structure = pymatgen_structure()
    path = tmp_path / "structure.json"
    structure.to(str(path), fmt="json")
    source = {"file": path, "as_dict": structure.as_dict(), "object": structure}[how]
    atoms = read_one(source)
    assert atoms.numbers.tolist() == list(structure.atomic_numbers) == [26, 8, 8]
    assert atoms.cell.array == pytest.approx(structure.lattice.matrix)
    assert atoms.positions == pytest.approx(structure.cart_coords)
    assert atoms.pbc.all()
    assert atoms.arrays["magmom"].tolist() == [4.0, 0.1, 0.2]
    assert atoms.arrays["forces"].shape == (3, 3)


def test_list_of_pymatgen_structures_in_a_file(tmp_path: Path) -> None:
    """A bad entry does not hide the others; Materials Project documents bring their id."""
    one = pymatgen_structure().as_dict()
    document = [one, {"structure": one, "material_id": "mp-1"}, {"formula": "NaCl"}, 7, one]
    path = tmp_path / "many.json"
    path.write_text(json.dumps(document))
    structures = list(read(path))
    assert [is_sound(structure) for structure in structures] == [True, True, False, False, True]
    assert [structure.id for structure in structures] == ["many:0", "mp-1", "many:2", "many:3", "many:4"]
    assert all("not a pymatgen Structure" in trouble(structures[k]) for k in (2, 3))


@pytest.mark.parametrize(
    ("species", "shown"),
    [
        (["Na", {"Cl": 0.75}], "site 1 (Cl 0.75)"),
        ([{"Na+": 0.5, "K+": 0.5}, "Cl-"], "site 0 (Na 0.5, K 0.5)"),
    ],
)
def test_disordered_pymatgen_structures(tmp_path: Path, species: list[Any], shown: str) -> None:
    core = pytest.importorskip("pymatgen.core")
    structure = core.Structure(core.Lattice.cubic(3.5), species, [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert not structure.is_ordered
    path = tmp_path / "disordered.json"
    structure.to(str(path), fmt="json")
    for source in (structure, path):
        assert f"partially occupied at {shown}" in trouble(only(read(source)))


def test_one_element_in_two_oxidation_states_is_whole() -> None:
    core = pytest.importorskip("pymatgen.core")
    species = [{"Fe2+": 0.5, "Fe3+": 0.5}, "O2-"]
    structure = core.Structure(core.Lattice.cubic(4.3), species, [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert read_one(structure).get_chemical_formula() == "FeO"


def test_pymatgen_molecules_deuterium_and_dummies() -> None:
    core = pytest.importorskip("pymatgen.core")
    assert "no cell" in trouble(only(read(core.Molecule(["C", "O"], [[0, 0, 0], [0, 0, 1.13]]))))
    heavy = core.Structure(core.Lattice.cubic(3.0), ["H"], [[0, 0, 0]]).as_dict()
    heavy["sites"][0]["species"][0]["element"] = "D"
    assert "unknown element 'D'; write H" in trouble(only(read(heavy)))
    dummy = core.Structure(core.Lattice.cubic(3.0), [core.DummySpecies("Xa")], [[0, 0, 0]])
    assert "unknown element" in trouble(only(read(dummy)))
    assert "not a pymatgen Structure" in trouble(only(read(core.Lattice.cubic(3.0))))


def test_pymatgen_is_not_imported() -> None:
    code = "import sys, voigt.structures as r; from ase.build import bulk; r.read_one(bulk('Si')); " + (
        "print([m for m in ('pymatgen', 'torch', 'vesin') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- partial occupancies and odd sites in CIF


def cif(sites: str, columns: str = "_atom_site_occupancy") -> str:
    axes = {"a": "alpha", "b": "beta", "c": "gamma"}
    lengths = "\n".join(f"_cell_length_{axis} 4.1\n_cell_angle_{angle} 90" for axis, angle in axes.items())
    names = "\n".join(f"_atom_site_{name}" for name in ("label", "type_symbol", "fract_x", "fract_y", "fract_z"))
    return f"data_x\n{lengths}\n_symmetry_space_group_name_H-M 'P m -3 m'\nloop_\n{names}\n{columns}\n{sites}\n"


@pytest.mark.parametrize(
    ("sites", "shown"),
    [
        ("A1 Na 0 0 0 1.0\nB1 Cl 0.5 0.5 0.5 0.8", "site B1 (Cl 0.8)"),
        ("A1 Na 0 0 0 0.6\nA2 K 0 0 0 0.4\nB1 Cl 0.5 0.5 0.5 1", "site A1 (Na 0.6, K 0.4)"),
        # one site listed through two symmetry-equivalent positions
        ("A1 Na 0 0.5 0.5 1\nA2 K 0.5 0 0.5 1\nB1 Cl 0 0 0 1", "site A1 (Na 1.0, K 1.0)"),
    ],
)
def test_partial_occupancies_of_cif(tmp_path: Path, sites: str, shown: str) -> None:
    path = tmp_path / "alloy.cif"
    path.write_text(cif(sites))
    assert shown in trouble(only(read(path)))


def test_two_elements_on_one_site_without_occupancies(tmp_path: Path) -> None:
    """ASE drops the second in silence."""
    path = tmp_path / "alloy.cif"
    path.write_text(cif("A1 Na 0 0 0\nA2 K 0 0 0\nB1 Cl 0.5 0.5 0.5", columns=""))
    assert "site A1 (Na 1.0, K 1.0)" in trouble(only(read(path)))
    path.write_text(cif("A1 Na 0 0 0\nA2 Na 1 0 0\nB1 Cl 0.5 0.5 0.5", columns=""))
    assert read_one(path).get_chemical_formula() == "ClNa"


def test_full_occupancies_of_cif_pass(tmp_path: Path) -> None:
    path = tmp_path / "salt.cif"
    path.write_text(cif("A1 Cs+ 0 0 0 1.0\nB1 Cl1- 0.5 0.5 0.5 1"))
    assert read_one(path).get_chemical_formula() == "ClCs"


# ---- POSCAR


POSCAR = """comment
1.0
4 0 0
0 4 0
0 0 4
{symbols}
{counts}
Direct
0 0 0
0.5 0.5 0.5
"""


@pytest.mark.parametrize(
    ("symbols", "counts", "shown"),
    [
        ("Cs Cl Br", "1 1", "names 3 elements in line 6 but 2 numbers in line 7"),
        ("Cs Qq", "1 1", "unknown element 'Qq'"),
        ("Cs Cl", "1 2", "promises 3 atoms in line 7, but 2 lines follow"),
        ("CS CL", "1 1", "unknown element 'CS'; write Cs"),
        ("Cs Cl", "1 x", "not whole ('1 x')"),
        ("Cs Cl", "1 1000000000000", "promises 1000000000001 atoms"),
        ("D Cl", "1 1", "write H"),
        ("", "", "no elements or numbers"),
    ],
)
def test_broken_poscars(tmp_path: Path, symbols: str, counts: str, shown: str) -> None:
    path = tmp_path / "POSCAR"
    path.write_text(POSCAR.format(symbols=symbols, counts=counts))
    assert shown in trouble(only(read(path)))


@pytest.mark.parametrize("kind", ["Direct", "Cartesian", "Kartesisch"])
@pytest.mark.parametrize("scale", ["1.0", "1.37", "-70.0", "1.0 1.1 1.2"])
@pytest.mark.parametrize("after", ["", "\n\n", "Cartesian\n0 0 1\n0 1 0\n"], ids=["plain", "blank", "velocities"])
def test_poscar_is_what_ase_reads(tmp_path: Path, kind: str, scale: str, after: str) -> None:
    path = tmp_path / "POSCAR"
    text = POSCAR.format(symbols="Cs Cl", counts="1 1").replace("\n1.0\n", f"\n{scale}\n").replace("Direct", kind)
    path.write_text(text.replace("0 4 0", "0.3 4 0") + after)
    atoms, expected = read_one(path), ase.io.read(path, format="vasp")
    assert (atoms.numbers.tolist(), atoms.pbc.tolist()) == (expected.numbers.tolist(), expected.pbc.tolist())
    np.testing.assert_array_equal(atoms.cell.array, expected.cell.array)
    np.testing.assert_array_equal(atoms.positions, expected.positions)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Direct\n0 0 0\n0.5 0.5 0.5", "Selective dynamics\nDirect\n0 0 0 T T F\n0.5 0.5 0.5 F F F"),
        ("Direct", "fractional"),
        ("Cs Cl\n1 1", "Cs_sv/6a2f Cl\n1 1"),
        ("1 1", "1 1 ! two"),
        ("\n1.0\n", "\n1.0 Angstrom\n"),
        ("0 0 0\n0.5 0.5 0.5", "0 0 0 Cs\n0.5 0.5 0.5 Cl"),
    ],
)
def test_unusual_poscars_are_what_ase_reads_too(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "POSCAR"
    text = POSCAR.format(symbols="Cs Cl", counts="1 1")
    assert old in text
    path.write_text(text.replace(old, new))
    atoms, expected = read_one(path), ase.io.read(path, format="vasp")
    assert atoms.get_chemical_symbols() == expected.get_chemical_symbols()
    np.testing.assert_array_equal(atoms.positions, expected.positions)


@pytest.mark.parametrize(
    ("comment", "formula"),
    [
        ("Cs Cl", "ClCs"),
        ("CsCl", "ClCs"),
        ("Cs1Cl1", "ClCs"),
        ("primitive cell", None),
        ("Cs", None),
        ("Cs Cl at 300 K", None),
        ("CsCl2", None),
    ],
)
def test_poscar_of_vasp_4_names_its_elements_in_the_first_line_or_not(
    tmp_path: Path, comment: str, formula: str | None
) -> None:
    """What lies beside the file is not looked at."""
    path = tmp_path / "POSCAR"
    path.write_text(POSCAR.replace("{symbols}\n", "").replace("comment", comment).format(counts="1 1"))
    (tmp_path / "POTCAR").write_text("   TITEL  = PAW_PBE Na 08Apr2002\n   TITEL  = PAW_PBE F 06Sep2000\n")
    if formula is None:
        assert "write them above the numbers of atoms (line 6)" in trouble(only(read(path)))
    else:
        assert read_one(path).get_chemical_formula() == formula


# ---- packed files, JSON lines


@pytest.mark.parametrize("pack", [gzip, bz2, lzma])
@pytest.mark.parametrize("name", ["ZnO.cif", "POSCAR", "ZnO.extxyz", "ZnO.json", "ZnO.jsonl", "unnamed"])
def test_packed_files_agree_with_plain_ones(tmp_path: Path, name: str, pack: ModuleType) -> None:
    plain = tmp_path / name
    if "json" in name:
        plain.write_text(json.dumps(pymatgen_structure().as_dict()))
    else:
        ase.io.write(plain, wurtzite(), format={"ZnO.cif": "cif", "ZnO.extxyz": "extxyz"}.get(name, "vasp"))
    suffix = {gzip: ".gz", bz2: ".bz2", lzma: ".xz"}[pack]
    packed = tmp_path / f"{name}{suffix}"
    packed.write_bytes(pack.compress(plain.read_bytes()))
    structure, expected = only(read(packed)), only(read(plain))
    assert same_crystal(good(structure), good(expected), tolerance=0.0)
    assert structure.id == expected.id
    packed.rename(tmp_path / "other")  # the content tells
    assert np.array_equal(read_one(tmp_path / "other").positions, good(expected).positions)


def test_a_packed_file_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    structures = [wurtzite() for _ in range(200)]
    for number, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=number)
    ase.io.write(tmp_path / "many.xyz", structures)
    packed = gzip.compress((tmp_path / "many.xyz").read_bytes())
    (tmp_path / "many.xyz.gz").write_bytes(packed[: len(packed) // 2])
    entries = list(read(tmp_path / "many.xyz.gz"))
    assert 90 < len(entries) < 110
    assert all(same_crystal(good(one), other) for one, other in zip(entries[:-1], structures, strict=False))
    assert "Compressed file ended" in trouble(entries[-1])


def test_folders_hold_packed_files_and_lines_of_structures(tmp_path: Path) -> None:
    line = json.dumps(pymatgen_structure().as_dict()) + "\n"
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(line.encode()))
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b'{"frequencies": [1]}'))
    (tmp_path / "c.jsonl").write_text(line * 2)
    (tmp_path / "d.jsonl").write_text('{"time": 1}\n')
    (tmp_path / "e.json").write_text(line * 2)
    (tmp_path / "f.json.gz").write_bytes(gzip.compress(line.encode())[:20])
    structures = list(read(tmp_path))
    assert [structure.id for structure in structures] == ["a", "c:0", "c:1", "e:0", "e:1", "f"]
    assert [is_sound(structure) for structure in structures] == [True] * 5 + [False]


def test_packed_databases_are_read_where_they_are_text(tmp_path: Path) -> None:
    for name in ("rows.db", "rows.json"):
        with ase.db.connect(tmp_path / name) as database:
            database.write(wurtzite())
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    assert "give the unpacked file" in trouble(only(read(tmp_path / "rows.db.gz")))
    assert same_crystal(read_one(tmp_path / "rows.json.gz"), wurtzite())


def test_a_text_without_end_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.cif.gz"
    path.write_bytes(gzip.compress(b"data_x\n" + b" " * 10_000_000))
    monkeypatch.setattr("voigt.structures.readers.formats._LARGEST", 1000)
    assert "million characters; split it" in trouble(only(read(path)))

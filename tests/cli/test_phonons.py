"""`voigt phonons`: which NAC is in use, what arrives, and what happens to bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import phonopy
import pytest
from ase.build import bulk
from phonopy import Phonopy
from phonopy.file_IO import parse_FORCE_SETS, write_FORCE_SETS
from tests import crystals
from tests.response.potentials.toys import Wells, register, wells
from tests.response.projects import spring_phonon, write_project
from typer.testing import Result

import voigt as package
from voigt.notes import Note
from voigt.prediction.result import Prediction
from voigt.response.phonons import tensors

Call = Callable[..., Result]

BORN = "# no factor\n2.4 0 0 0 2.4 0 0 0 2.4\n1.1 0 0 0 1.1 0 0 0 1.1\n-1.1 0 0 0 -1.1 0 0 0 -1.1\n"


@pytest.fixture(scope="module")
def springs() -> Phonopy:
    return spring_phonon(crystals.rocksalt())


@pytest.fixture
def salt(springs: Phonopy, tmp_path: Path) -> Path:
    return write_project(tmp_path / "salt", springs, "conf")


def last_row(stdout: str) -> list[str]:
    """Mode 6: number, irrep, THz and cm^-1 without NAC, the same with it, LO-TO."""
    return next(line for line in stdout.splitlines() if line.split()[:1] == ["6"]).split()


def along_x(folder: Path, born: Path) -> float:
    """Highest frequency at Gamma from phonopy and a BORN file, on the 16 atoms of the springs."""
    phonon = phonopy.load(
        unitcell_filename=folder / "POSCAR",
        supercell_matrix=[2, 2, 2],
        force_sets_filename=folder / "FORCE_SETS",
        born_filename=born,
    )
    phonon.run_qpoints([[0, 0, 0]], nac_q_direction=phonon.primitive.cell @ [1, 0, 0])
    return float(phonon.qpoints.frequencies[0][-1])


def test_the_table_is_what_phonopy_says_with_our_born_file(voigt: Call, tiny_model: str, salt: Path) -> None:
    result = voigt("phonons", salt, "--model", tiny_model, "--write-born")
    assert result.exit_code == 0
    assert "NAC: predicted, model tiny, functional PBEsol" in result.stdout
    assert "NaCl  Fm-3m (225)  2 atoms in the primitive cell, 16 in the supercell" in result.stdout
    assert "read from POSCAR, phonopy.conf, disp.yaml, FORCE_SETS" in result.stdout
    assert "sum rule: raw Born charges sum to up to" in result.stderr
    assert "symmetry Fm-3m imposed" in result.stderr
    row = last_row(result.stdout)
    assert float(row[4]) == pytest.approx(along_x(salt, salt / "BORN"), abs=6e-4)
    assert float(row[4]) - float(row[2]) == pytest.approx(float(row[6]), abs=2e-3)
    assert float(row[5]) == pytest.approx(33.3564 * float(row[4]), abs=0.08)
    (prediction,) = package.predict(str(salt / "POSCAR"), model=tiny_model)
    eps = float((salt / "BORN").read_text().splitlines()[1].split()[0])
    assert eps == pytest.approx(prediction.values["eps_inf"][0, 0], abs=1e-5)
    again = voigt("phonons", salt, "--model", tiny_model, "--write-born")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "BORN exists; --overwrite replaces it" in again.stderr
    assert voigt("phonons", salt, "--model", tiny_model, "--write-born", "--overwrite", "-q").exit_code == 0


def test_one_source_of_nac_and_the_output_says_which(voigt: Call, tiny_model: str, salt: Path) -> None:
    born = salt / "BORN"
    born.write_text(BORN)
    lo = {}
    for words, name in (
        (("--nac", "predicted", "--model", tiny_model), "NAC: predicted, model tiny"),
        (("--nac", "project"), "NAC: of the project itself"),
        (("--born", str(born)), f"NAC: from {born}"),
        (("--nac", "none"), "NAC: none, longitudinal modes are not shifted"),
    ):
        result = voigt("phonons", salt, *words)
        assert result.exit_code == 0
        assert name in result.stdout
        aside = "NAC parameters of the project itself are left aside" in result.stderr
        assert aside == (words[:2] != ("--nac", "project"))
        lo[words[1]] = last_row(result.stdout)
    assert lo["project"] == lo[str(born)]
    assert float(lo["project"][4]) == pytest.approx(along_x(salt, born), abs=6e-4)
    assert len(lo["none"]) == 4
    assert lo["predicted"] != lo["project"]
    both = voigt("phonons", salt, "--born", born, "--nac", "predicted")
    assert (both.exit_code, both.stdout) == (2, "")
    assert "two sources of NAC, which must not be applied twice" in both.stderr


def test_directions_by_hand(voigt: Call, salt: Path) -> None:
    (salt / "BORN").write_text(BORN)
    result = voigt("phonons", salt, "--nac", "project", "--direction", "1 1 0", "--direction", "0 0 1")
    assert "q || [110] = [001]" in result.stdout
    for text, problem in (("0 0 0", "at q = 0 itself there is no NAC"), ("1 0", "is not three numbers")):
        result = voigt("phonons", salt, "--direction", text)
        assert (result.exit_code, result.stdout) == (2, "")
        assert problem in result.stderr


def test_a_metal_has_no_nac(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    folder = write_project(tmp_path / "al", spring_phonon(bulk("Al")), "params")
    result = voigt("phonons", folder, "--model", tiny_model)
    assert result.exit_code == 1
    assert "NAC: inactive: probably a metal (" in result.stdout
    assert "--allow-metal goes on all the same" in result.stdout
    allowed = voigt("phonons", folder, "--model", tiny_model, "--allow-metal")
    assert allowed.exit_code == 0
    assert "warning: probably a metal" in allowed.stderr
    assert "inactive: all Born charges are below" in allowed.stdout  # the sum rule leaves none to a single atom
    none = voigt("phonons", folder, "--nac", "none")
    assert none.exit_code == 0
    assert none.stdout.splitlines()[3:] == result.stdout.splitlines()[3:]


def test_the_correction_of_a_crystal_is_not_applied_to_a_sheet(
    voigt: Call, tiny_model: str, salt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predicted(*words: object) -> Prediction:
        prediction = predict(*words)
        return replace(prediction, notes=(*prediction.notes, Note("vacuum", "a sheet in vacuum", ("eps_inf",))))

    predict = tensors.predict_tensors
    monkeypatch.setattr(tensors, "predict_tensors", predicted)
    result = voigt("phonons", salt, "--model", tiny_model)
    assert result.exit_code == 1
    assert "NAC: inactive: a sheet in vacuum; the correction is that of the field in a three-dim" in result.stdout
    assert "--allow-vacuum goes on all the same" in result.stdout
    assert len(last_row(result.stdout)) == 4
    spectrum = voigt("infrared", salt, "--model", tiny_model)
    assert (spectrum.exit_code, spectrum.stdout) == (2, "")
    assert "salt: no infrared response: a sheet in vacuum" in spectrum.stderr
    for command in ("phonons", "infrared"):
        assert voigt(command, salt, "--model", tiny_model, "--allow-vacuum").exit_code == 0
    assert voigt("phonons", salt, "--nac", "none").exit_code == 0


def test_charges_of_the_project_of_a_sheet_are_doubted(voigt: Call, tmp_path: Path) -> None:
    atoms = crystals.rocksalt(cubic=True)
    atoms = atoms[np.argsort(atoms.numbers)]
    atoms.set_cell(atoms.cell.array + np.diag([0, 0, 15.0]))
    folder = write_project(tmp_path / "sheet", spring_phonon(atoms, (1, 1, 1)), "params")
    charges = "1 0 0 0 1 0 0 0 1\n"
    (folder / "BORN").write_text("14.4\n2 0 0 0 2 0 0 0 1\n" + charges + charges.replace("1", "-1"))
    result = voigt("phonons", folder, "--nac", "project")
    assert result.exit_code == 0, result.stderr
    assert "warning: the cell holds a sheet or slab with" in result.stderr
    assert "the correction is that of the field in a three-dimensional crystal" in result.stderr


def test_a_born_file_that_phonopy_will_not_read(voigt: Call, tiny_model: str, springs: Phonopy, tmp_path: Path) -> None:
    """It prefers the block of the YAML file, and says nothing; the file named as `born_filename` is what counts."""
    twin = phonopy.Phonopy(springs.unitcell, springs.supercell_matrix, primitive_matrix="P")
    twin.dataset = springs.dataset
    twin.produce_force_constants()
    signs = np.where(np.array(twin.primitive.symbols) == "Na", 1.5, -1.5)
    twin.nac_params = {"born": signs[:, None, None] * np.eye(3), "dielectric": 2.4 * np.eye(3), "factor": 14.4}
    folder = write_project(tmp_path / "salt", twin, "params")
    before = (folder / "phonopy_params.yaml").read_bytes()
    result = voigt("phonons", folder, "--model", tiny_model, "--write-born")
    assert result.exit_code == 0
    assert "will not read" in result.stderr
    assert "the nac: block of phonopy_params.yaml wins" in result.stderr
    assert (folder / "phonopy_params.yaml").read_bytes() == before
    for words, is_ours in (({}, False), ({"born_filename": folder / "BORN"}, True)):
        theirs = phonopy.load(folder / "phonopy_params.yaml", **words)
        theirs.run_qpoints([[0, 0, 0]], nac_q_direction=theirs.primitive.cell @ [1, 0, 0])
        same = abs(theirs.qpoints.frequencies[0][-1] - float(last_row(result.stdout)[4])) < 1e-3
        assert same == is_ours


def test_zero_charges_carry_no_field(voigt: Call, salt: Path) -> None:
    (salt / "BORN").write_text(BORN.replace("1.1", "0.0"))
    result = voigt("phonons", salt, "--nac", "project")
    assert result.exit_code == 0
    assert "NAC: inactive: all Born charges are below 0.001 e" in result.stdout


def test_corrections_of_given_tensors_are_told_and_can_be_left_out(voigt: Call, salt: Path) -> None:
    (salt / "BORN").write_text(BORN.replace("-1.1", "-0.9"))
    done, drifting = (
        voigt("phonons", salt, "--nac", "project"),
        voigt("phonons", salt, "--nac", "project", "--no-sum-rule"),
    )
    assert "sum rule imposed: up to 0.2 e per cell" in done.stderr
    assert "sum rule not imposed: Born charges miss it by up to 0.2 e" in drifting.stderr
    assert last_row(done.stdout)[:4] == last_row(drifting.stdout)[:4]
    assert last_row(done.stdout)[4] != last_row(drifting.stdout)[4]
    bare = voigt("phonons", salt, "--nac", "project", "--no-symmetry", "--no-sum-rule")
    assert bare.exit_code == 0, bare.stderr
    assert "force constants not symmetrized" in bare.stderr
    assert last_row(bare.stdout)[2:] == last_row(drifting.stdout)[2:]


def test_born_is_written_where_nac_is_inactive_but_not_for_a_metal(
    voigt: Call, tiny_model: str, tmp_path: Path
) -> None:
    folder = write_project(tmp_path / "si", spring_phonon(bulk("Si")), "params")
    result = voigt("phonons", folder, "--model", tiny_model, "--write-born")
    assert (result.exit_code, (folder / "BORN").exists()) == (0, True)
    assert "inactive: all Born charges are below" in result.stdout
    folder = write_project(tmp_path / "al", spring_phonon(bulk("Al")), "params")
    result = voigt("phonons", folder, "--model", tiny_model, "--write-born", "-q")
    assert (result.exit_code, (folder / "BORN").exists()) == (1, False)
    assert f"no {folder / 'BORN'} written: NAC is inactive: probably a metal" in result.stderr


def test_bands_and_files(voigt: Call, salt: Path, tmp_path: Path) -> None:
    (salt / "BORN").write_text(BORN)
    out, plot = tmp_path / "out.json", tmp_path / "bands.png"
    result = voigt("phonons", salt, "--nac", "project", "--band", "-o", out, "--plot", plot, "-q")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "bands along G-X-W-K-G-L-U-W-L-K|U-X" in result.stdout
    record = json.loads(out.read_text())
    assert record["nac"] == "of the project itself"
    (first, *_) = record["bands"]
    assert (first["from"], first["to"]) == ("G", "X")
    gamma = record["gamma"]["directions"][0]["frequencies_THz"]
    np.testing.assert_allclose(first["frequencies_THz"][0][3:], gamma[3:], atol=1e-4)
    assert plot.read_bytes()[:4] == b"\x89PNG"
    table = tmp_path / "out.csv"
    assert voigt("phonons", salt, "--nac", "none", "-o", table).exit_code == 0
    assert len(table.read_text().splitlines()) == 1 + 6
    result = voigt("phonons", salt, "-o", tmp_path / "out.txt")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "write .json or .csv" in result.stderr


def test_a_calculator_gives_force_constants(
    voigt: Call, salt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ase.io.write(tmp_path / "salt.cif", crystals.rocksalt())
    words = ("--calculator", "tests.response.projects:Springs", "--dim", "2 2 2", "--nac", "none")
    result = voigt("phonons", tmp_path / "salt.cif", *words)
    assert result.exit_code == 0
    assert "forces of Springs on 2 supercells of 16 atoms" in result.stderr
    expected = voigt("phonons", salt, "--nac", "none")
    assert last_row(result.stdout) == last_row(expected.stdout)
    result = voigt("phonons", tmp_path / "salt.cif", *words[2:])
    assert result.exit_code == 2
    assert "or --potential as well" in result.stderr
    result = voigt("phonons", tmp_path / "salt.cif", "--calculator", "tests.response.projects:nothing")
    assert result.exit_code == 2
    assert "has no attribute 'nothing'" in result.stderr


def test_a_potential_by_name_follows_what_is_soft(voigt: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relaxed, kept in a folder, and displaced where it is told to."""
    register(monkeypatch, "wells", Wells)
    wells().write(tmp_path / "salt.vasp", format="vasp")
    words = ("--potential", "wells", "--dim", "1 1 1", "--nac", "none", "--folder", tmp_path / "kept")
    result = voigt("phonons", tmp_path / "salt.vasp", *words)
    assert result.exit_code == 0, result.stderr
    assert "read from salt.vasp, potential wells" in result.stdout
    assert "positions relaxed with wells in 0 steps" in result.stderr
    assert "i THz at Gamma; --follow looks for the structure that the softest leads to" in result.stderr
    assert (tmp_path / "kept" / "phonopy_params.yaml").exists()
    result = voigt("phonons", tmp_path / "salt.vasp", *words, "--follow")
    assert result.exit_code == 0, result.stderr
    assert "from Pm-3m to R3m" in result.stderr
    assert "not stable" not in result.stderr
    assert "R3m (160)" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--potential", "wells"), "no potential is named 'wells'; known are sevennet-l3i5, sevennet-0"),
        (
            ("--potential", "sevennet-l3i5", "--calculator", "ase.calculators.emt:EMT"),
            "two sources of forces; give one",
        ),
        (("--relax", "cell"), "--relax is about forces that are calculated; give --potential or --calculator"),
        (("--folder", "kept"), "--folder is about forces"),
        (("--workers", "2"), "--workers is about forces"),
        (("--follow",), "--follow is about forces"),
        (("--calculator", "ase.calculators.emt:EMT", "--folder", "kept"), "needs a potential by name"),
        (("--calculator", "ase.calculators.emt:EMT", "--workers", "0"), "needs a potential by name"),
        (("--potential", "sevennet-l3i5", "--workers", "-1"), "workers -1: give a number of processes"),
    ],
)
def test_options_that_do_not_go_together(
    voigt: Call, salt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = voigt("phonons", salt, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "kept").exists()


def spoil(folder: Path, how: str) -> None:
    dataset = parse_FORCE_SETS(filename=folder / "FORCE_SETS")
    if how == "nan":
        dataset["first_atoms"][0]["forces"][2, 1] = np.nan
    elif how == "order":
        for entry in dataset["first_atoms"]:
            entry["forces"] = entry["forces"][::-1]
    elif how == "atoms":
        (folder / "phonopy.conf").write_text("DIM = 1 1 1\n")
    elif how in ("cut", "empty"):
        lines = (folder / "FORCE_SETS").read_text().splitlines()
        (folder / "FORCE_SETS").write_text("\n".join(lines[: 12 if how == "cut" else 0]))
        return
    elif how == "missing":
        (folder / "FORCE_SETS").unlink()
        return
    write_FORCE_SETS(dataset, filename=folder / "FORCE_SETS")


@pytest.mark.parametrize(
    ("how", "words", "problem"),
    [
        ("nan", (), "FORCE_SETS: forces are not finite"),
        ("order", (), "they belong to another structure or another order of atoms"),
        ("atoms", (), "the supercell in disp.yaml do not match: 2 atoms with this supercell matrix against 16"),
        ("missing", (), "has no forces: no FORCE_SETS"),
        ("cut", (), "FORCE_SETS: it is cut short or laid out in another way"),
        ("empty", (), "FORCE_SETS: it is cut short or laid out in another way"),
        ("", ("--dim", "3 3 3"), "do not match: 54 atoms with this supercell matrix against 16"),
        ("", ("--dim", "two"), "DIM 'two' is not 3 or 9 integers"),
        ("", ("--primitive-axes", "1/2 0 0 0 1 0 0 0 1"), "check its cell, --dim and --primitive-axes"),
        ("", ("--nac", "project"), "carries no sound Born charges of its own"),
        ("", ("--nac", "none", "--write-born"), "--write-born writes predicted tensors"),
        ("", ("--born", "nowhere"), "nowhere does not exist"),
        ("", ("--plot", "bands.xyz"), "bands.xyz: a figure has one of the endings"),
        ("", ("--model", "nowhere"), "nowhere"),
        ("", ("--displacement", "0"), "give a length above zero"),
        ("", ("--symprec", "-1"), "give a length above zero"),
    ],
)
def test_bad_input_is_one_sentence(voigt: Call, salt: Path, how: str, words: tuple[str, ...], problem: str) -> None:
    if how:
        spoil(salt, how)
    result = voigt("phonons", salt, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr
    assert "unexpected" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_elements_that_the_model_does_not_know(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    atoms = crystals.rocksalt()
    atoms.symbols[:] = "KBr"
    folder = write_project(tmp_path / "kbr", spring_phonon(atoms), "params")
    result = voigt("phonons", folder, "--model", tiny_model)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "not among the 10 elements" in result.stderr
    assert result.stderr.strip().endswith("or use --nac project")


def test_no_folder_at_all(voigt: Call, tmp_path: Path) -> None:
    for place, problem in ((tmp_path / "nowhere", "does not exist"), (tmp_path, "holds no phonopy project")):
        result = voigt("phonons", place)
        assert (result.exit_code, result.stdout) == (2, "")
        assert problem in result.stderr


def test_help_loads_nothing_heavy() -> None:
    heavy = ("torch", "phonopy", "ase", "matplotlib")
    code = f"import sys; import voigt.cli.phonons; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"

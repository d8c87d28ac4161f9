"""From a tree of runs to frames that training reads: ids, doubts, provenance, files."""

from __future__ import annotations

import time
from pathlib import Path

import ase
import ase.io
import numpy as np
import pyarrow.parquet
import pytest
from tests import crystals
from tests.calculations import vasp_files as vasp
from tests.calculations.runs import asymmetric, triclinic

from voigt.calculations import Calculation, Frame, Provenance, annotated, convert, write_frames
from voigt.data import read_labeled
from voigt.errors import OutputError
from voigt.notes import Failure
from voigt.tensors.properties import PROPERTIES

EPS = np.diag([5.0, 6.0, 7.0])
RESPONSES = (
    vasp.permittivity(EPS),
    vasp.permittivity(2 * EPS, "IONIC CONTRIBUTION"),
    vasp.piezo(asymmetric(2, 3, 6)),
    vasp.piezo(asymmetric(3, 3, 6), "IONIC CONTR  for field in x, y, z        (C/m^2)"),
    vasp.moduli(asymmetric(4, 6, 6) + asymmetric(4, 6, 6).T),
)


def write_run(folder: Path, seed: int = 0, **settings: object) -> Path:
    text = vasp.outcar(triclinic(seed), *RESPONSES, vasp.born(asymmetric(seed, 5, 3, 3)), ibrion=8, **settings)
    return vasp.write(folder, OUTCAR=text)


def frames(*sources: Path) -> list[Frame]:
    found = list(convert(sources))
    assert [entry for entry in found if isinstance(entry, Failure)] == []
    return [entry for entry in found if isinstance(entry, Frame)]


def of(atoms: ase.Atoms, **targets: np.ndarray) -> Calculation:
    return Calculation(atoms, targets, Provenance(("f",), "test"))


def test_labels_come_back_as_training_reads_them(tmp_path):
    write_run(tmp_path / "runs" / "one", 1)
    path = tmp_path / "data.extxyz"
    assert write_frames(frames(tmp_path / "runs"), path) == 1
    names = ["born_charges", "eps_inf", "eps_ionic", "eps_total", "piezo_clamped", "piezo_total", "elastic"]
    (crystal,) = read_labeled(path, names)
    assert (crystal.id, crystal.functional, crystal.group) == ("one", "PBE", "O3SrTi")
    np.testing.assert_allclose(crystal.targets["born_charges"], asymmetric(1, 5, 3, 3), atol=1e-5)
    np.testing.assert_allclose(crystal.targets["eps_total"], 3 * EPS, atol=1e-6)
    piezo = PROPERTIES["piezo_total"].to_storage(crystal.targets["piezo_total"])
    np.testing.assert_allclose(piezo, asymmetric(2, 3, 6) + asymmetric(3, 3, 6), atol=1e-5)
    np.testing.assert_allclose(crystal.atoms.positions, triclinic(1).positions, atol=1e-5)


def test_every_frame_says_where_it_comes_from(tmp_path):
    write_run(tmp_path / "runs" / "one", hubbard="  0.0  3.5  0.0", version="5.4.4")
    write_frames(frames(tmp_path / "runs"), tmp_path / "data.extxyz")
    info = ase.io.read(tmp_path / "data.extxyz").info
    assert (info["code"], info["code_version"], info["functional"]) == ("VASP", "5.4.4", "PBE+U")
    assert (info["hubbard_u"], info["kpoints"], float(info["cutoff"])) == ("Ti 3.5", "6x6x4", 520.0)
    assert info["files"].endswith("one/OUTCAR")
    assert "elastic_total: kBar to GPa, rows and columns from xx yy zz xy yz zx" in info["conversions"]
    assert "born_charges: rows are the field, as VASP prints them" in info["conversions"]
    assert "problems" not in info


def test_parquet_holds_the_same(tmp_path):
    write_run(tmp_path / "runs" / "one", 1)
    write_run(tmp_path / "runs" / "two", 2)
    made = frames(tmp_path / "runs")
    write_frames(made, tmp_path / "data.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "data.parquet")
    first, second = table.to_pylist()
    assert (first["id"], second["id"], first["functional"]) == ("one", "two", "PBE")
    atoms = annotated(made[1])
    np.testing.assert_allclose(np.reshape(second["born_charges"], (5, 9)), atoms.arrays["born_charges"])
    np.testing.assert_allclose(second["elastic"], atoms.info["elastic"])
    places = np.reshape(second["frac"], (-1, 3)) @ np.reshape(second["cell"], (3, 3))
    np.testing.assert_allclose(places, atoms.positions, atol=1e-9)
    assert table.schema.field("elastic").metadata[b"unit"] == b"GPa"
    assert second["band_gap"] is None


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(OutputError, match=r"choose one of .extxyz, .xyz, .parquet"):
        write_frames([], tmp_path / "data.csv")


def test_ids_differ(tmp_path):
    for name in ("a", "b"):
        write_run(tmp_path / name / "run")
    vasp.write(
        tmp_path / "c", OUTCAR_1=vasp.outcar(triclinic(1), *RESPONSES), OUTCAR_2=vasp.outcar(triclinic(2), *RESPONSES)
    )
    assert [frame.id for frame in frames(tmp_path / "a", tmp_path / "b")] == ["run", "run-2"]
    assert [frame.id for frame in frames(tmp_path)] == ["a/run", "b/run", "c:0", "c:1"]


def test_index_symmetry_is_imposed_and_told(monkeypatch, tmp_path):
    uneven = EPS + np.array([[0, 0.3, 0], [0, 0, 0], [0, 0, 0]])
    vasp.write(tmp_path / "run", OUTCAR=vasp.outcar(triclinic(), vasp.permittivity(uneven)))
    (frame,) = frames(tmp_path)
    assert frame.calculation.targets["eps_inf"][1, 0] == pytest.approx(0.15)
    assert "eps_inf is not symmetric in its indices by 2%" in frame.calculation.problems[0]


def test_doubts_are_told_with_the_frame(tmp_path):
    salt = crystals.rocksalt()
    text = vasp.outcar(salt, vasp.permittivity(np.diag([2.5, 2.5, 4.5])), vasp.born(np.array([-np.eye(3), np.eye(3)])))
    vasp.write(tmp_path / "run", OUTCAR=text)
    (frame,) = frames(tmp_path)
    assert [problem.split()[0] for problem in frame.calculation.problems] == ["eps_inf", "born_charges:"]
    assert "eps_inf breaks the symmetry Fm-3m" in annotated(frame).info["problems"]


def test_structures_that_are_no_crystals_are_failures(tmp_path):
    atoms = crystals.rocksalt()
    atoms.positions[1] = atoms.positions[0]
    vasp.write(tmp_path / "run", OUTCAR=vasp.outcar(atoms, vasp.permittivity(EPS)))
    vasp.write(tmp_path / "good", OUTCAR=vasp.outcar(crystals.rocksalt(), vasp.permittivity(EPS[0, 0] * np.eye(3))))
    good, failure = convert([tmp_path])
    assert isinstance(good, Frame)
    assert isinstance(failure, Failure)
    assert failure.id == "run"
    assert "0.000 Angstrom apart" in failure.problem


def test_two_thousand_runs_of_which_one_percent_is_garbage(tmp_path):
    text = vasp.outcar(triclinic(), *RESPONSES, vasp.born(asymmetric(1, 5, 3, 3)))
    garbage = ("", "\0\1\2" * 50, text[: len(text) // 3], "<modeling><calculation>", " vasp.6.4.1\n")
    for number in range(2000):
        spoilt = number % 100 == 7
        name = "vasprun.xml" if spoilt and number // 100 % 5 == 3 else "OUTCAR"
        folder = tmp_path / "tree" / f"set{number // 500}" / f"run{number:04d}"
        folder.mkdir(parents=True)
        (folder / name).write_text(garbage[number // 100 % 5] if spoilt else text)
    start = time.process_time()
    found = list(convert([tmp_path / "tree"]))
    assert time.process_time() - start < 30
    failures = [entry for entry in found if isinstance(entry, Failure)]
    assert len(found) == 2000
    assert [int(failure.id[-4:]) for failure in failures] == list(range(7, 2000, 100))
    assert all(failure.problem for failure in failures)

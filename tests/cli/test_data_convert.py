"""`voigt data convert`: what is written, printed and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from tests import crystals
from tests.calculations import vasp_files as vasp
from tests.calculations.runs import asymmetric, triclinic
from typer.testing import Result

from voigt.response.phonons import born_file

Call = Callable[..., Result]
Z = np.array([1.1 * np.eye(3), -1.1 * np.eye(3)])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A run of VASP, a phonopy project and a document."""
    root = tmp_path / "runs"
    salt = crystals.rocksalt()
    vasp.write(
        root / "vasp",
        OUTCAR=vasp.outcar(triclinic(), vasp.permittivity(np.diag([5.0, 6, 7])), vasp.born(asymmetric(1, 5, 3, 3))),
    )
    vasp.write(root / "phonopy", BORN=born_file(salt, Z, 2.4 * np.eye(3)))
    ase.io.write(root / "phonopy" / "POSCAR", salt, format="vasp", direct=True)
    sites = [
        {"species": [{"element": s, "occu": 1}], "abc": p.tolist()}
        for s, p in zip(salt.symbols, salt.get_scaled_positions(), strict=True)
    ]
    entry = {
        "structure": {"lattice": {"matrix": salt.cell.array.tolist()}, "sites": sites},
        "id": "salt",
        "band_gap": 5.0,
    }
    vasp.write(root, gaps_json=json.dumps([entry]))
    return root


def test_a_tree_of_three_codes(voigt: Call, tree: Path, tmp_path: Path) -> None:
    result = voigt("data", "convert", tree, "-o", tmp_path / "data.extxyz")
    assert result.exit_code == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows == [
        ["code", "frames", "born_charges", "eps_inf", "band_gap"],
        ["JSON", "1", "0", "0", "1"],
        ["VASP", "1", "1", "1", "0"],
        ["phonopy", "1", "1", "1", "0"],
    ]
    assert "3 frames converted; wrote" in result.stderr
    assert "several functionals: PBE (1), not stated (2)" in result.stderr
    frames = ase.io.read(tmp_path / "data.extxyz", ":")
    assert sorted(frame.info["id"] for frame in frames) == ["phonopy", "salt", "vasp"]


def test_failures_are_named_and_the_rest_written(voigt: Call, tree: Path, tmp_path: Path) -> None:
    vasp.write(tree / "crashed", OUTCAR=vasp.head(triclinic()))
    result = voigt("data", "convert", tree, "-o", tmp_path / "data.extxyz", "--report", tmp_path / "report.json")
    assert result.exit_code == 1
    assert f"failed: {tree}/crashed/OUTCAR, frame 0 (id crashed): breaks off before" in result.stderr
    assert "3 frames converted, 1 failure; wrote" in result.stderr
    record = json.loads((tmp_path / "report.json").read_text())
    assert [entry["id"] for entry in record if "failure" in entry] == ["crashed"]
    (of_vasp,) = [entry for entry in record if entry.get("code") == "VASP"]
    assert of_vasp["labels"] == ["eps_inf", "born_charges"]
    assert of_vasp["functional"] == "PBE"


def test_nothing_is_written_if_nothing_is_found(voigt: Call, tmp_path: Path) -> None:
    (tmp_path / "data.extxyz").write_text("an earlier file")
    vasp.write(tmp_path / "runs", OUTCAR="")
    result = voigt("data", "convert", tmp_path / "runs", "-o", tmp_path / "data.extxyz")
    assert result.exit_code == 1
    assert "is empty; the run did not start" in result.stderr
    assert "nothing written" in result.stderr
    assert (tmp_path / "data.extxyz").read_text() == "an earlier file"
    (tmp_path / "empty").mkdir()
    result = voigt("data", "convert", tmp_path / "empty", "-o", tmp_path / "data.extxyz")
    assert result.exit_code == 1
    assert "0 frames converted; nothing written" in result.stderr


def test_warnings_name_what_is_doubtful(voigt: Call, tmp_path: Path) -> None:
    salt = crystals.rocksalt()
    vasp.write(tmp_path / "runs", OUTCAR=vasp.outcar(salt, vasp.permittivity(np.diag([2.5, 2.5, 4.5]))))
    result = voigt("data", "convert", tmp_path / "runs", "-o", tmp_path / "data.extxyz")
    assert result.exit_code == 0
    assert "warning: runs: eps_inf breaks the symmetry Fm-3m of its structure" in result.stderr
    quiet = voigt("data", "convert", tmp_path / "runs", "-o", tmp_path / "data.extxyz", "--quiet")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("nowhere", "-o", "data.extxyz"), "no such file or folder: nowhere"),
        ((".", "-o", "data.csv"), "choose one of .extxyz, .xyz, .parquet"),
        ((".", "-o", "no/such/folder/data.extxyz"), "cannot write"),
    ],
)
def test_wrong_calls(
    voigt: Call, tree: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], reason: str
) -> None:
    monkeypatch.chdir(tree)
    result = voigt("data", "convert", *words)
    assert result.exit_code == 2
    assert reason in result.stderr

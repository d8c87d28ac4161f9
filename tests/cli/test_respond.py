"""`voigt respond`: what arrives, where, and what happens to calls that cannot work."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from tests import crystals
from typer.testing import Result

from voigt.tensors.voigt import elastic_to_voigt

Call = Callable[..., Result]
TOY = ("--calculator", "tests.response.toy_potentials:keating", "--functional", "PBE", "--dim", "1 1 1")


@pytest.fixture
def zincblende(tmp_path: Path) -> Path:
    path = tmp_path / "ZnS.vasp"
    crystals.zincblende().write(path, format="vasp")
    return path


def test_a_folder_of_everything(voigt: Call, zincblende: Path, tmp_path: Path) -> None:
    from tests.response.toy_potentials import BENDING, LATTICE, STRETCHING

    folder = tmp_path / "out"
    result = voigt("respond", zincblende, *TOY, "-o", folder, "--linewidth", "0.3THz", "--direction", "1 1 1")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("ZnS  F-43m (216)  2 atoms  id ZnS\n")
    rows = {line[:20].strip(): line.split() for line in result.stdout.splitlines()}
    # Keating: 3 K = C11 + 2 C12 = (3 a + b)/l, in GPa. The network's own stands before it.
    bulk = (3 * STRETCHING + BENDING) / 3 * 160.2176634 / LATTICE
    assert float(rows["bulk modulus"][-1]) == pytest.approx(bulk, rel=1e-3)
    assert "warning: elastic of Toy differs from that of model elastic" in result.stderr
    assert f"wrote {folder / 'report.html'} and " in result.stderr
    assert "processing" not in result.stderr
    assert {"report.html", "BORN", "phonopy_params.yaml", "response.json", "given.vasp"} <= {
        path.name for path in folder.iterdir()
    }
    record = json.loads((folder / "response.json").read_text())
    stiffness = elastic_to_voigt(np.array(record["routes"]["elastic"][1]["value"]))
    expected = 4 * STRETCHING * BENDING / (STRETCHING + BENDING) * 160.2176634 / LATTICE
    assert stiffness[3, 3] == pytest.approx(expected, rel=1e-3)
    assert record["infrared"]["linewidth_THz"] == [0.3]
    np.testing.assert_allclose(record["phonons"]["gamma"]["directions"][0]["direction"], np.ones(3) / np.sqrt(3))

    again = voigt("respond", zincblende, *TOY, "-o", folder, "-q")
    assert (again.exit_code, again.stderr) == (0, "")


def test_without_a_folder_nothing_is_written(
    voigt: Call, zincblende: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = voigt("respond", zincblende, *TOY, "-q")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "eps_total" in result.stdout
    assert list(tmp_path.iterdir()) == [zincblende]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--potential", "nothing-such"), "known are sevennet-l3i5"),
        (("--potential", "sevennet-0", *TOY), "two sources of forces"),
        (("--calculator", "nowhere:make"), "nowhere"),
        ((*TOY, "--linewidth", "10"), "a number with a unit"),
        ((*TOY, "--dim", "2 2"), "3 or 9"),
        ((*TOY, "--direction", "0 0 0"), "not all zero"),
        ((*TOY, "--symprec", "-1"), "above zero"),
        ((*TOY, "--overwrite"), "-o"),
        ((*TOY, "--functional", "B3LYP"), "B3LYP"),
        ((*TOY, "--workers", "2"), "--potential"),
    ],
)
def test_bad_calls_are_one_sentence(
    voigt: Call, zincblende: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = voigt("respond", zincblende, "-q", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("voigt: ")
    assert said in line
    assert "unexpected" not in line
    assert list(tmp_path.iterdir()) == [zincblende]


def test_a_folder_of_something_else_is_left_alone(voigt: Call, zincblende: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "BORN").write_text("mine")
    result = voigt("respond", zincblende, *TOY, "-o", folder)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not empty and holds no results of this structure" in result.stderr
    assert (folder / "BORN").read_text() == "mine"
    result = voigt("respond", zincblende, *TOY, "-o", folder, "--overwrite", "-q")
    assert result.exit_code == 0, result.stderr
    assert (folder / "BORN").read_text() != "mine"
    result = voigt("respond", zincblende, *TOY, "-o", zincblende)
    assert result.exit_code == 2
    assert "cannot make the folder" in result.stderr


@pytest.mark.parametrize(
    ("make", "option", "reason"),
    [
        (lambda: ase.Atoms("Al", cell=2.86 * np.eye(3), pbc=True), "--allow-metal", "probably a metal"),
        (
            lambda: ase.Atoms("MgO", cell=[3, 3, 25], scaled_positions=[[0, 0, 0.5], [0.5, 0.5, 0.5]], pbc=True),
            "--allow-vacuum",
            "vacuum",
        ),
    ],
    ids=["metal", "sheet"],
)
def test_what_has_no_such_response_is_refused(
    voigt: Call, tmp_path: Path, make: Callable[[], ase.Atoms], option: str, reason: str
) -> None:
    ase.io.write(tmp_path / "odd.vasp", make(), format="vasp")
    result = voigt("respond", tmp_path / "odd.vasp", *TOY, "-q")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert reason in line
    assert f"{option} goes on all the same" in line
    assert "ResponseSettings" not in line


def test_an_unseen_element_names_the_option(voigt: Call, tmp_path: Path) -> None:
    atoms = crystals.zincblende()
    atoms.symbols[0] = "Rn"
    ase.io.write(tmp_path / "RnS.vasp", atoms, format="vasp")
    result = voigt("respond", tmp_path / "RnS.vasp", *TOY, "-q")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Rn" in result.stderr
    assert "--allow-unseen" in result.stderr
    assert "Settings(" not in result.stderr


@pytest.mark.skipif(importlib.util.find_spec("sevenn") is None, reason="the extra 'potential' is not installed")
def test_finished_forces_are_kept(voigt: Call, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run on the folder asks the potential for no supercell."""
    words = ("respond", examples / "MgO.vasp", "-o", tmp_path / "MgO", "--dim", "1 1 1", "-q")
    first = voigt(*words)
    assert first.exit_code == 0, first.stderr

    def never(*_: object) -> None:
        raise AssertionError("forces are known")

    monkeypatch.setattr("voigt.response.potentials.engine.forces_of", never)
    second = voigt(*words)
    assert second.exit_code == 0, second.stderr
    assert second.stdout == first.stdout

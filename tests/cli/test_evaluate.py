"""`voigt evaluate`: the report on standard output and in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ase.io
import pytest
from tests import crystals
from typer.testing import Result

import voigt as package

Call = Callable[..., Result]


@pytest.fixture(scope="module")
def data(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels are the model's predictions plus 0.25 e."""
    frames = []
    for k in range(12):
        atoms = crystals.rocksalt()
        atoms.rattle(0.05, seed=k)
        (own,) = package.predict(atoms, tiny_model)
        atoms.set_array("born_charges", own.values["born_charges"].reshape(-1, 9) + 0.25)
        atoms.info.update(id=f"c{k}", split=("train", "val", "test")[k % 3], functional="PBEsol", good=k != 11)
        atoms.info["eps_inf"] = own.values["eps_inf"]
        frames.append(atoms)
    path = tmp_path_factory.mktemp("data") / "salts.extxyz"
    ase.io.write(path, frames)
    return path


def test_report(voigt: Call, tiny_model: str, data: Path, tmp_path: Path) -> None:
    result = voigt("evaluate", tiny_model, data, "--where", "good", "-o", tmp_path / "report")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("# tiny on salts.extxyz (test)\n")
    assert f"voigt evaluate {tiny_model} {data} --split test --where good\n" in result.stdout
    assert "3 crystals, 6 atoms; functional: PBEsol (3)" in result.stdout
    row = next(line for line in result.stdout.splitlines() if line.startswith("| MAE | e |"))
    assert row.split("|")[3].strip() == "**0.2500**"
    assert result.stderr == f"wrote {tmp_path / 'report' / 'report.md'}\n"
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"report.md", "metrics.json"} <= names
    assert any(name.endswith(".png") for name in names)
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["properties"]["born_charges"]["scores"]["mae"]["model"]["value"] == pytest.approx(0.25, abs=1e-6)
    assert result.stdout.splitlines()[0] == (tmp_path / "report" / "report.md").read_text().splitlines()[0]


def test_options(voigt: Call, tiny_model: str, data: Path) -> None:
    result = voigt(
        *("evaluate", tiny_model, data, "--split", "all", "--properties", "born_charges", "--no-baseline", "--quiet"),
    )
    assert result.exit_code == 0
    assert "12 crystals" in result.stdout
    assert "eps_inf" not in result.stdout.replace("--properties", "")
    assert "| metric | unit | model | interval |\n" in result.stdout
    assert "--split all --properties born_charges --no-baseline" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--split", "dev"], "no crystal in split 'dev'"),
        (["--where", "closed_shell"], "no info key 'closed_shell'"),
        (["--properties", "elastic"], "does not predict elastic"),
        (["--properties", "bron_charges"], "unknown property 'bron_charges'"),
    ],
)
def test_faults(voigt: Call, tiny_model: str, data: Path, options: list[str], said: str) -> None:
    result = voigt("evaluate", tiny_model, data, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_missing_file(voigt: Call, tiny_model: str) -> None:
    result = voigt("evaluate", tiny_model, "none.extxyz")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "voigt: no such file or folder: none.extxyz; check the spelling\n"

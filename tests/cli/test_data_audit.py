"""`voigt data audit`: table, exit codes, report and cleaned copy."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
import typer
from tests import crystals
from typer.testing import CliRunner, Result

from voigt.cli.data_audit import audit

app = typer.Typer()
app.command()(audit)


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def written(path: Path, eps: list[float]) -> Path:
    frames = []
    for k, value in enumerate(eps):
        atoms = (crystals.rocksalt, crystals.cesium_chloride, crystals.fluorite)[k]()
        atoms.info.update(id=f"c{k}", functional="PBE", split="train", eps_inf=value * np.eye(3).ravel())
        frames.append(atoms)
    ase.io.write(path, frames, format="extxyz")
    return path


def test_a_sound_file(tmp_path: Path) -> None:
    result = call(written(tmp_path / "a.extxyz", [2.3, 2.7]), "--no-model")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "2 frames, 2 labels, 0 unreadable\nnothing found\n"


def test_errors_are_counted_and_the_exit_code_is_one(tmp_path: Path) -> None:
    result = call(
        *(written(tmp_path / "a.extxyz", [2.3, 0.2, 2.0]), "--no-model", "-o", tmp_path / "report"),
        *("--fix", tmp_path / "clean.extxyz"),
    )
    assert result.exit_code == 1, result.stderr
    row = next(line for line in result.stdout.splitlines() if line.startswith("error"))
    assert row.split()[:5] == ["error", "bound", "eps_inf", "1", "c1"]
    record = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [entry["id"] for entry in record["findings"]] == ["c1"]
    assert f"wrote {tmp_path / 'clean.extxyz'}: 1 change in 1 frame" in result.stderr
    clean = ase.io.read(tmp_path / "clean.extxyz", ":")
    assert ["eps_inf" in atoms.info for atoms in clean] == [True, False, True]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.extxyz"], "no such file"),
        (["a.extxyz", "--fix", "b.cif"], "choose .extxyz"),
        (["a.extxyz", "--symprec", "-1"], "length above zero"),
    ],
)
def test_wrong_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "a.extxyz", [2.3])
    result = call(*words, "--no-model")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_models_are_asked(tmp_path: Path, shipped: Path) -> None:
    """Random networks know nothing of these labels, but have no intervals to call them outliers by."""
    result = call(written(tmp_path / "a.extxyz", [2.3]), "-o", tmp_path / "report")
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "report" / "report.json").read_text())["compared_with_models"] is True

"""`voigt data split`: the file with its split, and the leakage report."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import ase.io
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
import typer
from ase.build import bulk
from typer.testing import CliRunner, Result

from voigt.cli.data_split import split

app = typer.Typer()
app.command()(split)
SALTS = [metal + halogen for metal in ("Li", "Na", "K", "Rb", "Cs") for halogen in ("F", "Cl", "Br", "I")]


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    frames = []
    for k, formula in enumerate(SALTS * 2):
        atoms = bulk(formula, ("rocksalt", "cesiumchloride")[k // 20], a=(6.0, 3.7)[k // 20])
        atoms.info.update(id=f"c{k}", band_gap=5.0 + 0.01 * k, split="old")
        atoms.set_array("born_charges", np.tile(np.eye(3).ravel(), (2, 1)))
        frames.append(atoms)
    ase.io.write(tmp_path / "salts.extxyz", frames)
    return tmp_path / "salts.extxyz"


def test_the_split_is_written_and_all_else_kept(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "split.extxyz"
    result = call(data, "-o", target, "--by", "formula", "--fractions", "0.6,0.2,0.2", "--seed", 2)
    assert result.exit_code == 0, result.stderr
    before, after = ase.io.read(data, ":"), ase.io.read(target, ":")
    assert len(after) == 40
    for old, new in zip(before, after, strict=True):
        assert new.info["id"] == old.info["id"]
        assert new.info["band_gap"] == old.info["band_gap"]
        assert new.arrays["born_charges"] == pytest.approx(old.arrays["born_charges"])
    sides = {(atoms.get_chemical_formula(), atoms.info["split"]) for atoms in after}
    assert len(sides) == 20
    assert {side for _, side in sides} == {"train", "val", "test"}
    rows = result.stdout.splitlines()
    assert rows[0].split() == ["nearest", "in", "train", "val", "test"]
    assert next(row for row in rows if row.startswith("formula also")).split()[-2:] == ["0", "0"]
    record = json.loads((tmp_path / "split.leakage.json").read_text())
    assert record["request"]["by"] == "formula"
    assert sum(record["frames"].values()) == 40
    assert [entry["part"] for entry in record["leakage"]] == ["val", "test"]


def test_a_random_split_leaks_formulas(data: Path, tmp_path: Path) -> None:
    call(data, "-o", tmp_path / "split.extxyz", "--by", "random")
    record = json.loads((tmp_path / "split.leakage.json").read_text())
    assert sum(entry["formula_in_train"] for entry in record["leakage"]) > 0


def test_frames_in_gaps_are_left_out(data: Path, tmp_path: Path) -> None:
    result = call(data, "-o", tmp_path / "s.extxyz", "--by", "time", "--fractions", "2,1,1", "--gap", 3)
    assert result.exit_code == 0, result.stderr
    labels = Counter(atoms.info["split"] for atoms in ase.io.read(tmp_path / "s.extxyz", ":"))
    assert labels == {"train": 20, "val": 7, "test": 7}
    assert "6 left out in gaps" in result.stderr


def test_a_table_keeps_its_columns(tmp_path: Path) -> None:
    columns = {
        "mp_id": [f"mp-{k}" for k in range(20)],
        "numbers": [[11, 17]] * 20,
        "cell": [(5.6 * np.eye(3)).ravel().tolist()] * 20,
        "frac": [[0.0, 0, 0, 0.5, 0.5, 0.5]] * 20,
        "band_gap": [5.0 + k for k in range(20)],
        "split": ["old"] * 20,
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    result = call(tmp_path / "a.parquet", "-o", tmp_path / "b.parquet", "--by", "random", "-q")
    assert result.exit_code == 0, result.stderr
    table = parquet.read_table(tmp_path / "b.parquet")
    assert table["mp_id"].to_pylist() == columns["mp_id"]
    assert Counter(table["split"].to_pylist()) == {"train": 16, "val": 2, "test": 2}
    assert result.stdout == ""


def test_broken_frames_are_named_and_left_out(data: Path, tmp_path: Path) -> None:
    with data.open("a") as stream:
        stream.write("3\nnothing here\nNa 0 0\n")
    result = call(data, "-o", tmp_path / "s.extxyz", "--by", "random")
    assert result.exit_code == 1
    assert "failed: " in result.stderr
    assert len(ase.io.read(tmp_path / "s.extxyz", ":")) == 40


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--by", "luck"], "unknown way to split"),
        (["--fractions", "much"], "write them as 0.8,0.1,0.1"),
        (["--fractions", "0.5,0.5"], "three numbers"),
        (["-o", "b.parquet"], "only of a Parquet table"),
        (["-o", "b.cif"], "choose .extxyz"),
    ],
)
def test_wrong_calls(data: Path, tmp_path: Path, words: list[str], message: str) -> None:
    result = call(data, "-o", tmp_path / "s.extxyz", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "s.extxyz").exists()

"""`voigt evaluate`: the report on standard output and in a folder."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import ase.io
import pytest
from tests import crystals
from tests.matbench_tables import crystal, entries, rival_rows, save_fold_model, write_table
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


@pytest.fixture(scope="module")
def fold_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("folds")
    first, second = (save_fold_model(folder / f"fold{k}.safetensors", fold=k, seed=k) for k in range(2))
    return first, second


@pytest.fixture
def scalars(fold_models: tuple[Path, Path], tmp_path: Path) -> Path:
    """Eight crystals of folds 0 and 1, labeled with the first model's predictions plus 0.25 eV; no rivals beside."""
    own = package.predict([crystal(k) for k in range(8)], fold_models[0])
    labels = [float(entry.values["band_gap"]) + 0.25 for entry in own]
    return write_table(tmp_path / "scalars.parquet", entries([0] * 6 + [1] * 2, labels))


def stored_rivals(table: Path, name: str = "rivals.parquet") -> Path:
    """A rival that is right, in the folder of the table."""
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(table).to_pylist()
    return write_table(table.parent / name, rival_rows(rows, perfect=[row["band_gap"] for row in rows]))


def matbench_rows(page: str) -> dict[str, list[str]]:
    """Cells of the first table by its first cell."""
    first = page.partition("###")[0]
    lines = [line.strip("| ").split(" | ") for line in first.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines}


def test_matbench(voigt: Call, fold_models: tuple[Path, Path], scalars: Path, tmp_path: Path) -> None:
    stored_rivals(scalars)
    folder, file = tmp_path / "report", tmp_path / "results.json.gz"
    result = voigt("evaluate", fold_models[0], scalars, "--matbench", "-o", folder, "--export", file)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("# fold0 on matbench_mp_gap, fold 0\n")
    assert f"voigt evaluate {fold_models[0]} {scalars} --matbench\n" in result.stdout
    assert "comparable with the rows of this table, not with the public leaderboard." in result.stdout
    rows = matbench_rows(result.stdout)
    assert (rows["**fold0** (this model)"][:2], rows["perfect"][1]) == (["6", "0.2500"], "0")
    assert {path.name for path in folder.iterdir()} == {"report.md", "metrics.json", "predictions.csv", "band_gap.png"}
    assert len(json.loads(gzip.decompress(file.read_bytes()))["tasks"]["matbench_mp_gap"]["results"]) == 1
    assert f"{file} lacks 106,107 crystals of matbench_mp_gap: the matbench package will refuse it" in result.stderr


def test_matbench_options(voigt: Call, fold_models: tuple[Path, Path], scalars: Path) -> None:
    first, second = fold_models
    alone = voigt("evaluate", first, scalars, "--matbench", "--quiet")
    assert "rivals" not in alone.stdout
    assert alone.stderr == ""
    elsewhere = stored_rivals(scalars, "others.parquet")
    options = ("--fold-model", second, "--rivals", elsewhere, "--limit", "5", "--no-baseline")
    result = voigt("evaluate", first, scalars, "--matbench", *options)
    assert result.exit_code == 0, result.stderr
    command = f"--matbench --fold-model {second} --rivals {elsewhere} --limit 5 --no-baseline\n"
    assert command in result.stdout
    assert "# fold0 on matbench_mp_gap, folds 0, 1\n" in result.stdout
    assert "**QUICK LOOK: only the first 5 crystals of each fold" in result.stdout
    rows = matbench_rows(result.stdout)
    assert rows.keys() == {"model", "perfect", "**fold0** (this model)"}
    assert rows["perfect"][0] == "7"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--matbench", "--where", "good"], "--where does not go with --matbench"),
        (["--matbench", "--split", "all"], "--split does not go with --matbench"),
        (["--matbench", "--functional", "PBE"], "--functional does not go with --matbench"),
        (["--limit", "3"], "--limit goes only with --matbench"),
        (["--fold-model", "other.safetensors"], "--fold-model goes only with --matbench"),
        (["--matbench", "--properties", "formation_energy"], "whose property is band_gap, not formation_energy"),
        (["--matbench", "--rivals", "none.parquet"], "no such file: none.parquet"),
        (["--matbench", "--export", "results.csv"], "must end in .json.gz or .json"),
        (["--matbench", "--fold-model", "none.safetensors"], "no model 'none.safetensors'"),
        (["--matbench", "more.parquet"], "the crystals of one table, not of 2 files"),
    ],
)
def test_matbench_faults(
    voigt: Call, fold_models: tuple[Path, Path], scalars: Path, options: list[str], said: str
) -> None:
    result = voigt("evaluate", fold_models[0], scalars, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_matbench_needs_a_fold(voigt: Call, tiny_model: str, fold_models: tuple[Path, Path], scalars: Path) -> None:
    result = voigt("evaluate", tiny_model, scalars, "--matbench")
    assert result.exit_code == 2
    assert "may have seen the test crystals of a MatBench fold" in result.stderr
    twice = voigt("evaluate", fold_models[0], scalars, "--matbench", "--fold-model", fold_models[0])
    assert "both hold out fold 0" in twice.stderr
    missing = voigt("evaluate", fold_models[0], scalars.with_name("none.parquet"), "--matbench")
    assert missing.stderr == f"voigt: no such file: {scalars.with_name('none.parquet')}; check the spelling\n"

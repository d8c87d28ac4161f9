"""`voigt train`: recipe in, model file and figures out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml
from tests import crystals
from typer.testing import Result

from voigt.api import predict
from voigt.cli.train import changed_recipe
from voigt.errors import RecipeError
from voigt.models.checkpoint import load_model
from voigt.prediction.training_range import load_range
from voigt.training.recipe import load_recipe
from voigt.training.run import TrainingStopped

Call = Callable[..., Result]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """One pass over six crystals of point charges."""
    rng = np.random.default_rng(0)
    frames = []
    for k in range(8):
        atoms = crystals.rocksalt()
        atoms.rattle(0.03, seed=k)
        noise = 0.05 * rng.normal(size=(3, 3))
        atoms.set_array("born_charges", np.stack([np.eye(3) + noise, -np.eye(3) - noise]).reshape(2, 9))
        atoms.info.update(id=f"c{k}", split="val" if k > 5 else "train")
        frames.append(atoms)
    ase.io.write(tmp_path / "salts.extxyz", frames)
    content = {
        "name": "salt",
        "data": [{"path": "salts.extxyz"}],
        "model": {"channels": 8, "interactions": 1, "cutoff": 4.0, "hidden": 8},
        "targets": {"born_charges": {"loss": "l1"}},
        "epochs": 1,
        "batch_size": 2,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "recipe.yaml"


@pytest.fixture(autouse=True)
def no_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOIGT_DATA", raising=False)


def figures(stdout: str) -> dict[str, float]:
    """Metrics as printed: name and value in columns."""
    lines = stdout.splitlines()
    heading = next(k for k, line in enumerate(lines) if line.split()[:1] == ["metric"])
    return {line.split()[0]: float(line.split()[1]) for line in lines[heading + 1 :]}


def test_a_model_file_and_its_figures(voigt: Call, recipe: Path, tmp_path: Path) -> None:
    result = voigt("train", recipe, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    model = tmp_path / "run" / "salt.safetensors"
    assert result.stdout.startswith(f"model {model}\n")
    card = load_model(model).card
    assert figures(result.stdout) == pytest.approx(dict(card.metrics), rel=1e-4)
    assert "val/loss" in card.metrics
    assert "Traceback" not in result.stderr
    assert "no intervals of born_charges: 2 validation crystals have a label, 20 are needed" in result.stderr
    assert set(load_range(model).elements) == {"Na", "Cl"}

    again = voigt("train", recipe, "-o", tmp_path / "run")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "holds an earlier run; continue it with --resume" in again.stderr


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--members", "2"],
        ["--device", "cpu"],
        pytest.param(["--device", "cpu", "--members", "2"], marks=pytest.mark.slow),  # two processes that import torch
    ],
)
def test_every_way_of_training_gives_intervals(voigt: Call, recipe: Path, tmp_path: Path, options: list[str]) -> None:
    frames = ase.io.read(tmp_path / "salts.extxyz", ":")
    more = [frame.copy() for frame in frames[-2:] for _ in range(12)]
    for k, frame in enumerate(more):
        frame.rattle(0.02, seed=k)
        frame.info["id"] = f"v{k}"
    ase.io.write(tmp_path / "salts.extxyz", [*frames[:6], *more])
    result = voigt("train", recipe, "-o", tmp_path / "run", *options)
    assert result.exit_code == 0, result.stderr
    model = tmp_path / "run" / "salt.safetensors"
    assert load_model(model).intervals["born_charges"].crystals == 24
    assert load_range(model) is not None
    (prediction,) = predict(crystals.rocksalt(), model)
    assert (prediction.interval["born_charges"] > 0).all()


def test_folder_seed_and_changed_keys(
    voigt: Call, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("train", recipe, "--seed", "7", "--set", "optimizer.lr=0.001", "--set", "name=other")
    result = voigt(*words, "--set", "model.functionals=[PBE]", "--set", "data.0.functional=PBE")
    assert result.exit_code == 0, result.stderr
    trained = load_model(tmp_path / "runs" / "other" / "other.safetensors")
    assert trained.card.recipe["seed"] == 7
    assert trained.card.recipe["optimizer"]["lr"] == 0.001
    assert trained.hypers.functionals == ("PBE",)


def test_cross_validation(voigt: Call, recipe: Path, tmp_path: Path) -> None:
    frames = ase.io.read(tmp_path / "salts.extxyz", ":")
    for k, frame in enumerate(frames):
        frame.symbols[:] = ["Na", "Cl"] if k % 2 else ["K", "Cl"]
    ase.io.write(tmp_path / "salts.extxyz", frames)
    result = voigt("train", recipe, "-o", tmp_path / "run", "--folds", "2")
    assert result.exit_code == 0, result.stderr
    models = [tmp_path / "run" / f"fold-{k}" / "salt.safetensors" for k in range(2)]
    assert result.stdout.splitlines()[:2] == [f"model {path}" for path in models]
    losses = [load_model(path).card.metrics["val/loss"] for path in models]
    assert figures(result.stdout)["val/loss"] == pytest.approx(np.mean(losses), rel=1e-4)


def test_ensemble(voigt: Call, recipe: Path, tmp_path: Path) -> None:
    result = voigt("train", recipe, "-o", tmp_path / "run", "--members", "2")
    assert result.exit_code == 0, result.stderr
    assert len(load_model(tmp_path / "run" / "salt.safetensors").members) == 2


def test_interruption(voigt: Call, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise TrainingStopped("training stopped; continue with --resume")

    monkeypatch.setattr("voigt.training.run.train", interrupted)
    result = voigt("train", recipe, "-o", tmp_path / "run")
    assert (result.exit_code, result.stderr) == (130, "voigt: training stopped; continue with --resume\n")


def test_unknown_keys_are_named(voigt: Call, recipe: Path) -> None:
    content = yaml.safe_load(recipe.read_text())
    recipe.write_text(yaml.safe_dump({**content, "epoch": 3, "optimizer": {"learning_rate": 0.1}}))
    result = voigt("train", recipe)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "epoch: unknown key" in result.stderr
    assert "optimizer.learning_rate: unknown key" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "optimizer.lrr=1"], "optimizer.lrr: unknown key"),
        (["--set", "optimiser.lr=1"], "no section 'optimiser'"),
        (["--set", "epochs"], "is no assignment"),
        (["--set", "epochs=many"], "epochs: "),
        (["--set", "name=[1"], "the value is no YAML"),
        (["--folds", "2", "--members", "2"], "exclude each other"),
        (["--resume", "-o", "empty"], "nothing to resume"),
        (["--set", "data.0.path=none.extxyz"], "data not found: "),
    ],
)
def test_wrong_calls(
    voigt: Call, recipe: Path, options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = voigt("train", recipe, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_such_recipe(voigt: Call) -> None:
    result = voigt("train", "none.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no recipe none.yaml" in result.stderr


def test_a_recipe_that_ships_has_a_name(voigt: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOIGT_DATA", str(tmp_path))
    result = voigt("train", "born", "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert "data not found: " in result.stderr
    assert str(tmp_path / "born" / "phonondb.extxyz") in result.stderr


def test_changes_keep_everything_else(recipe: Path) -> None:
    given = load_recipe(recipe)
    assert changed_recipe(given, []) == given
    changed = changed_recipe(given, ["split.fractions.0=0.7", "data.0.where=closed_shell", "model.sum_rule='none'"])
    assert changed.split.fractions == (0.7, 0.1, 0.1)
    assert changed.data[0].where == "closed_shell"
    assert changed.model.sum_rule == "none"
    restored = changed_recipe(changed, ["split.fractions.0=0.8", "data.0.where=null", "model.sum_rule=equal"])
    assert restored == given
    for change in ("data.1.path=a", "split.fractions.3=1", "split.fractions.x=1", "name.first=a", "=3"):
        with pytest.raises(RecipeError, match="--set"):
            changed_recipe(given, [change])

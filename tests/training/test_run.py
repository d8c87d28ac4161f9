"""Training as a whole: it learns, it writes what it promises, and no stop at any moment loses or changes anything."""

from __future__ import annotations

import csv
import errno
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.conftest import REPOSITORY
from tests.training.synthetic import labeled_crystals, recipe, write_data

from voigt.errors import OutputError, RecipeError, TargetError, WeightsError
from voigt.graphs import CrystalBatch, collate
from voigt.models.checkpoint import load_model
from voigt.training import module as training_module
from voigt.training.checkpoints import read_checkpoint
from voigt.training.datamodule import read_data, training_graph
from voigt.training.module import TrainingModule, learning_rate
from voigt.training.recipe import OptimizerSettings, Recipe
from voigt.training.run import TrainingResult, TrainingStopped, train


def table(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open(newline="") as stream:
        return [{key: float(value) for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def checkpoint(folder: Path, name: str = "last") -> dict[str, Any]:
    return read_checkpoint(folder / "checkpoints" / f"{name}.ckpt")


def flat(state: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dicts and lists by their path."""
    if isinstance(state, dict):
        items = state.items()
    elif isinstance(state, list | tuple):
        items = enumerate(state)
    else:
        return {prefix: state}
    return {key: value for name, part in items for key, value in flat(part, f"{prefix}/{name}").items()}


def assert_same_weights(first: Path, second: Path) -> None:
    """Model files, and in the last checkpoints the average, the current weights, the optimizer, the schedule."""
    one, other = (load_model(folder / "tiny.safetensors").members[0] for folder in (first, second))
    for (name, left), right in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right), name
    keys = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers")
    left, right = ({key: state.get(key) for key in keys} for state in (checkpoint(first), checkpoint(second)))
    left, right = flat(left), flat(right)
    assert left.keys() == right.keys()
    for key, value in left.items():
        same = torch.equal(value, right[key]) if isinstance(value, torch.Tensor) else value == right[key]
        assert same, key
    assert table(first) == table(second)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, call: int, action: Callable[[], None]) -> None:
    """Do `action` in training step number `call`, counted from 1."""
    step, count = TrainingModule.training_step, 0

    def counted(self: TrainingModule, batch: CrystalBatch, index: int) -> torch.Tensor:
        nonlocal count
        count += 1
        if count == call:
            action()
        return step(self, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", counted)


def ctrl_c() -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data."""
    folder = tmp_path_factory.mktemp("world")
    write_data(folder)
    return folder


@pytest.fixture(scope="module")
def straight(world: Path) -> Callable[..., Path]:
    """Folder of an uninterrupted run of a recipe; each recipe is run once."""
    done: dict[str, Path] = {}

    def folder(tiny: Recipe) -> Path:
        key = tiny.model_dump_json()
        if key not in done:
            done[key] = world / f"straight-{len(done)}"
            train(tiny, done[key])
        return done[key]

    return folder


@pytest.fixture(scope="module")
def finished(world: Path) -> SimpleNamespace:
    """A finished run of 20 epochs."""
    result = train(recipe(world, epochs=20), world / "finished")
    return SimpleNamespace(result=result, folder=world / "finished")


class TestFinishedRun:
    def test_the_loss_falls(self, finished):
        rows = table(finished.folder)
        assert rows[-1]["train/loss"] < 0.5 * rows[0]["train/loss"]
        assert rows[-1]["val/loss"] < 0.7 * rows[0]["val/loss"]

    def test_what_is_written(self, finished):
        result: TrainingResult = finished.result
        assert result.model == finished.folder / "tiny.safetensors"
        for name in ("tiny.safetensors", "metrics.csv", "checkpoints/last.ckpt", "checkpoints/best.ckpt"):
            assert (finished.folder / name).stat().st_size > 0
        assert list((finished.folder / "tensorboard").glob("events.out.tfevents.*"))
        assert not [path for path in finished.folder.rglob(".*") if path.is_file()]  # no temporary files left

    def test_the_table_has_a_row_per_validation(self, finished):
        rows = table(finished.folder)
        assert [row["epoch"] for row in rows] == list(range(1, 21))
        assert [row["step"] for row in rows] == [4 * k for k in range(1, 21)]  # 9 crystals, batches of 2
        for row in rows:
            expected = row["train/born_charges"] + 0.3 * row["train/eps_inf"]
            assert row["train/loss"] == pytest.approx(expected, rel=1e-5)
            assert row["val/loss"] == pytest.approx(row["val/born_charges"] + 0.3 * row["val/eps_inf"], rel=1e-5)

    def test_figures_are_those_of_the_best_validation(self, finished):
        best = min(table(finished.folder), key=lambda row: row["val/loss"])
        metrics = finished.result.metrics
        assert metrics == pytest.approx({key: best[key] for key in metrics}, rel=1e-6)

    def test_the_file_holds_the_network_that_was_scored(self, finished, world):
        """The running average: figures worked out here, outside of training, from the model file."""
        loaded = load_model(finished.result.model)
        tiny = recipe(world)
        graphs = [training_graph(crystal, tiny) for crystal in read_data(tiny).select("val")]
        batch = collate(graphs)
        with torch.no_grad():
            output, memory = loaded.members[0](batch), finished.result.network(batch)
        charges, eps = (output[name] - batch.targets[name] for name in ("born_charges", "eps_inf"))
        relative = eps.flatten(1).norm(dim=1) / batch.targets["eps_inf"].flatten(1).norm(dim=1)
        metrics = finished.result.metrics
        assert float(charges.abs().mean()) == pytest.approx(metrics["val/born_charges_mae"], rel=1e-4)
        assert float(eps.abs().mean()) == pytest.approx(metrics["val/eps_inf_mae"], rel=1e-4)
        assert float(relative.mean()) == pytest.approx(metrics["val/eps_inf"], rel=1e-4)
        assert torch.equal(memory["born_charges"], output["born_charges"])

    def test_the_card(self, finished, world):
        card = load_model(finished.result.model).card
        assert card.elements == (7, 8, 12, 16, 20, 22)
        assert card.functionals == ("PBE",)
        assert set(card.data) == {"data.extxyz"}
        assert card.metrics == finished.result.metrics
        assert card.recipe["optimizer"]["ema"] == 0.9
        assert str(world) not in str(card.recipe)

    def test_the_average_is_not_the_last_step(self, finished):
        state = checkpoint(finished.folder)
        average, current = state["state_dict"], state["current_model_state"]
        assert any(not torch.equal(average[key], value) for key, value in current.items())

    def test_a_second_run_in_the_folder_is_refused(self, finished, world):
        before = finished.result.model.read_bytes()
        with pytest.raises(RecipeError, match=r"finished holds an earlier run; continue it with --resume"):
            train(recipe(world), finished.folder)
        assert finished.result.model.read_bytes() == before

    def test_resuming_it_changes_nothing(self, finished, world):
        stamp = (finished.folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns
        again = train(recipe(world, epochs=20), finished.folder, resume=True)
        assert (finished.folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns == stamp
        assert again.metrics == finished.result.metrics
        assert again.model == finished.result.model


def test_overfits_eight_crystals(tmp_path):
    frames = labeled_crystals()[:8]
    copies = labeled_crystals()[:8]
    for atoms in copies:
        atoms.info.update(id=f"copy of {atoms.info['id']}", split="val")
    write_data(tmp_path, frames + copies)
    result = train(recipe(tmp_path, epochs=40, targets={"born_charges": {}}), tmp_path / "run")
    assert result.metrics["val/born_charges_mae"] < 0.02


class TestResume:
    """Run B, stopped in the third of four epochs and continued, equals run A, never stopped, bit for bit."""

    @pytest.mark.parametrize(
        ("changes", "step"),
        [
            ({}, 11),
            ({"optimizer": {"ema": 0}}, 9),
            ({"steps_per_checkpoint": 3}, 11),
            ({"steps_per_checkpoint": 5, "optimizer": {"schedule": "constant"}}, 14),
            ({"precision": "64", "model": {"functionals": ["PBE"], "self_product": True}}, 12),
        ],
        ids=["passes", "no average", "every 3 steps", "every 5 steps", "double precision"],
    )
    def test_after_ctrl_c(self, world, straight, tmp_path, monkeypatch, changes, step):
        tiny = recipe(world, **changes)
        with monkeypatch.context() as patch:
            interrupt_at(patch, step, ctrl_c)
            with pytest.raises(TrainingStopped):
                train(tiny, tmp_path / "run")
        assert not (tmp_path / "run" / "tiny.safetensors").exists()
        train(tiny, tmp_path / "run", resume=True)
        assert_same_weights(straight(tiny), tmp_path / "run")

    def test_after_two_stops_and_a_move_of_the_folder(self, world, straight, tmp_path, monkeypatch):
        tiny = recipe(world)
        for place, step, resume in (("first", 6, False), ("second", 5, True)):
            with monkeypatch.context() as patch:
                interrupt_at(patch, step, ctrl_c)
                with pytest.raises(TrainingStopped):
                    train(tiny, tmp_path / place, resume=resume)
            (tmp_path / place).rename(tmp_path / {"first": "second", "second": "third"}[place])
        train(tiny, tmp_path / "third", resume=True)
        assert_same_weights(straight(tiny), tmp_path / "third")

    def test_after_the_last_epoch_but_before_the_model_file(self, world, straight, tmp_path, monkeypatch):
        tiny = recipe(world)
        with monkeypatch.context() as patch:
            patch.setattr("voigt.training.run.save_model", lambda *_args: ctrl_c())
            with pytest.raises(KeyboardInterrupt):
                train(tiny, tmp_path / "run")
        train(tiny, tmp_path / "run", resume=True)
        assert_same_weights(straight(tiny), tmp_path / "run")

    def test_after_kill_9_while_the_checkpoint_was_written(self, world, straight, tmp_path):
        """The process dies for good, at the worst moment: the new last.ckpt is complete but not yet in its place."""
        script = f"""
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import voigt.files
from tests.training.synthetic import recipe
from voigt.training.run import train
replace, count = os.replace, 0
def dying(source, target):
    global count
    count += Path(target).name == "last.ckpt"
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
voigt.files.os.replace = dying
train(recipe(Path({str(world)!r})), {str(tmp_path / "run")!r})
"""
        paths = [str(REPOSITORY / "src"), str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        process = subprocess.run(
            [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert process.returncode == -signal.SIGKILL, process.stderr
        assert process.stderr == ""  # no advice from Lightning on the way
        assert checkpoint(tmp_path / "run")["epoch"] == 1  # the second of four
        tiny = recipe(world)
        train(tiny, tmp_path / "run", resume=True)
        assert_same_weights(straight(tiny), tmp_path / "run")

    def test_more_epochs_continue_a_finished_run(self, world, tmp_path):
        short = recipe(world, epochs=2, optimizer={"schedule": "constant"})
        train(short, tmp_path / "run")
        longer = recipe(world, epochs=4, optimizer={"schedule": "constant"})
        result = train(longer, tmp_path / "run", resume=True)
        train(longer, tmp_path / "straight")
        assert_same_weights(tmp_path / "straight", tmp_path / "run")
        assert result.metrics["epoch"] > 2
        with pytest.raises(RecipeError, match="epochs \\(fewer\\)"):
            train(short, tmp_path / "run", resume=True)

    def test_another_recipe_or_other_data_are_refused(self, world, straight, tmp_path):
        folder = straight(recipe(world))
        with pytest.raises(RecipeError, match=r"other settings of model, batch_size; resume with the recipe"):
            train(recipe(world, model={"channels": 12}, batch_size=3), folder, resume=True)
        write_data(tmp_path, labeled_crystals(seed=1))
        with pytest.raises(RecipeError, match="content of the data files"):
            train(recipe(tmp_path), folder, resume=True)

    def test_nothing_to_resume(self, world, tmp_path):
        with pytest.raises(RecipeError, match=r"nothing to resume in .*absent.*start without --resume"):
            train(recipe(world), tmp_path / "absent", resume=True)
        assert not (tmp_path / "absent").exists()

    def test_a_damaged_checkpoint(self, world, straight, tmp_path):
        whole = (straight(recipe(world)) / "checkpoints" / "last.ckpt").read_bytes()
        (tmp_path / "checkpoints").mkdir()
        for content in (whole[: len(whole) // 2], b"", b"not a checkpoint"):
            (tmp_path / "checkpoints" / "last.ckpt").write_bytes(content)
            with pytest.raises(WeightsError, match=r"last\.ckpt is not a complete checkpoint .*another folder"):
                train(recipe(world), tmp_path, resume=True)


class TestInterruption:
    def test_message_and_what_to_do(self, world, tmp_path, monkeypatch):
        interrupt_at(monkeypatch, 6, ctrl_c)
        with pytest.raises(TrainingStopped, match=r"training stopped; everything .* in .*run, continue with --resume"):
            train(recipe(world), tmp_path / "run")

    def test_before_the_first_validation_there_is_nothing_to_resume(self, world, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            interrupt_at(patch, 2, ctrl_c)
            with pytest.raises(TrainingStopped, match="nothing to resume: start again"):
                train(recipe(world, epochs=1), tmp_path / "run")
        assert train(recipe(world, epochs=1), tmp_path / "run").model.is_file()

    def test_a_real_ctrl_c_and_the_handler_afterwards(self, world, tmp_path, monkeypatch, request):
        # A shell that starts the tests in the background makes them deaf to Ctrl-C.
        inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
        request.addfinalizer(lambda: signal.signal(signal.SIGINT, inherited))
        before = signal.getsignal(signal.SIGINT)
        interrupt_at(monkeypatch, 6, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(TrainingStopped):
            train(recipe(world), tmp_path / "run")
        assert signal.getsignal(signal.SIGINT) is before


class TestFullDisk:
    @pytest.fixture
    def quota(self):
        """Two functions: let the kernel refuse files above 20 kB, as on a full disk; let it allow them again."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        lift = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (soft, hard))
        yield partial(resource.setrlimit, resource.RLIMIT_FSIZE, (20_000, hard)), lift
        lift()

    def test_earlier_checkpoints_survive_and_resume(self, world, straight, tmp_path, monkeypatch, quota):
        shrink, lift = quota
        tiny = recipe(world)
        with monkeypatch.context() as patch:
            interrupt_at(patch, 10, shrink)  # in the third epoch
            with pytest.raises(OutputError, match=r"cannot write to .*run: .*large.*free space, .* --resume"):
                train(tiny, tmp_path / "run")
        assert checkpoint(tmp_path / "run")["epoch"] == 1
        lift()
        train(tiny, tmp_path / "run", resume=True)
        assert_same_weights(straight(tiny), tmp_path / "run")

    def test_no_space_left(self, world, tmp_path, monkeypatch):
        def full(handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("voigt.files.os.fsync", full)
        with pytest.raises(OutputError, match=r"No space left on device; free space, there was no validation yet"):
            train(recipe(world), tmp_path / "run")
        assert not list((tmp_path / "run").rglob("*.ckpt*"))

    def test_the_folder_is_a_file(self, world, tmp_path):
        (tmp_path / "run").write_text("in the way")
        with pytest.raises(OutputError, match="cannot write to"):
            train(recipe(world), tmp_path / "run")


class TestEarlyStopping:
    def test_stops_when_nothing_improves(self, world, tmp_path):
        # A learning rate below the resolution of the weights: every validation is the first one again.
        still = recipe(world, epochs=9, patience=2, optimizer={"lr": 1e-30})
        result = train(still, tmp_path / "run")
        assert [row["epoch"] for row in table(tmp_path / "run")] == [1, 2, 3]
        assert result.metrics["epoch"] == 1
        assert train(still, tmp_path / "run", resume=True).metrics == result.metrics
        assert len(table(tmp_path / "run")) == 3

    def test_goes_on_while_it_improves(self, finished, world, tmp_path):
        assert all(later["val/loss"] < row["val/loss"] for row, later in pairwise(table(finished.folder)[:4]))
        train(recipe(world, patience=1), tmp_path / "run")
        assert len(table(tmp_path / "run")) == 4


class TestOverflow:
    def poison(self, monkeypatch, calls: range, poisoned: Callable[[torch.Tensor], torch.Tensor]) -> None:
        compute, count = training_module.total_loss, 0

        def sometimes(*args: Any) -> Any:
            nonlocal count
            count += 1
            total, parts = compute(*args)
            return (poisoned(total) if count in calls else total), parts

        monkeypatch.setattr(training_module, "total_loss", sometimes)

    @pytest.mark.parametrize("kind", ["loss", "gradient"])
    def test_one_lost_step_does_not_poison_the_weights(self, world, tmp_path, monkeypatch, kind):
        def poisoned(total: torch.Tensor) -> torch.Tensor:
            # sqrt has slope infinity at zero, times zero: NaN in the gradient of a finite loss.
            return total * torch.nan if kind == "loss" else total + (total * 0.0).sqrt()

        self.poison(monkeypatch, range(6, 7), poisoned)
        train(recipe(world, epochs=3), tmp_path / "run")
        state = checkpoint(tmp_path / "run")
        assert all(torch.isfinite(value).all() for value in state["current_model_state"].values())
        assert all(torch.isfinite(value).all() for value in state["state_dict"].values())
        assert all(row["train/loss"] < 1 for row in table(tmp_path / "run"))

    def test_a_run_that_is_lost_ends_with_advice(self, world, tmp_path, monkeypatch):
        monkeypatch.setattr(training_module, "LOST_STEPS", 3)
        self.poison(monkeypatch, range(2, 100), lambda total: total * torch.inf)
        with pytest.raises(RecipeError, match=r"not finite any more; lower optimizer\.lr"):
            train(recipe(world), tmp_path / "run")


def test_a_split_without_labels_is_refused_before_training(tmp_path):
    frames = labeled_crystals()
    for atoms in frames[9:]:
        del atoms.arrays["born_charges"]
    write_data(tmp_path, frames)
    with pytest.raises(TargetError, match="'born_charges' in val"):
        train(recipe(tmp_path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_lightning_keeps_quiet_and_settings_are_restored(world, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("voigt"), "propagate", True)  # the command line keeps its log to itself
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, "voigt")
    levels = {name: logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")}
    torch.set_num_threads(2)
    try:
        train(recipe(world, epochs=1, threads=1), tmp_path / "run")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert {name: logging.getLogger(name).level for name in levels} == levels
    assert [record for record in caplog.records if record.name.startswith("lightning")] == []
    text = caplog.text
    assert "9 training, 3 validation crystals" in text
    assert "epoch 1/1" in text
    assert "val/born_charges_mae=" in text


def test_equal_seeds_give_equal_runs(world, straight, tmp_path):
    train(recipe(world), tmp_path / "run")
    assert_same_weights(straight(recipe(world)), tmp_path / "run")
    other = load_model(straight(recipe(world, seed=1)) / "tiny.safetensors").members[0]
    same = load_model(tmp_path / "run" / "tiny.safetensors").members[0]
    assert not torch.equal(other.interactions[0].linear.weight, same.interactions[0].linear.weight)


class TestLearningRate:
    def test_cosine(self):
        settings = OptimizerSettings(warmup_steps=0, final=0.1)
        assert learning_rate(0, 100, settings) == pytest.approx(1.0)
        assert learning_rate(50, 100, settings) == pytest.approx(0.1 + 0.9 / 2)
        assert learning_rate(100, 100, settings) == pytest.approx(0.1)
        assert learning_rate(150, 100, settings) == pytest.approx(0.1)

    def test_warm_up_is_linear(self):
        settings = OptimizerSettings(warmup_steps=4, schedule="constant")
        assert [learning_rate(step, 100, settings) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])

"""What is written beside the steps of a training, whatever the validation says."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.synthetic import recipe, write_data

from voigt.training.checkpoints import read_checkpoint
from voigt.training.module import TrainingModule
from voigt.training.run import TrainingStopped, train


@pytest.fixture
def world(tmp_path):
    write_data(tmp_path)
    return tmp_path


def checkpoint(folder: Path, name: str) -> dict[str, Any]:
    return read_checkpoint(folder / "checkpoints" / f"{name}.ckpt")


def losses_become(monkeypatch: pytest.MonkeyPatch, *losses: float) -> None:
    """Let validations report these losses, pass by pass."""
    monkeypatch.setattr(
        TrainingModule,
        "on_validation_epoch_end",
        lambda self: self.log_dict({"val/loss": losses[self.current_epoch]}, batch_size=1),
    )


class TestValidationsThatDoNotImprove:
    """best.ckpt is that of the lowest loss; last.ckpt is always that of the last validation."""

    def test_the_last_checkpoint_is_the_last(self, world, monkeypatch):
        losses_become(monkeypatch, 2.0, 1.0, 3.0, 4.0)
        result = train(recipe(world), world / "run")
        assert checkpoint(world / "run", "best")["epoch"] == 1
        last = checkpoint(world / "run", "last")
        assert (last["epoch"], last["global_step"]) == (3, 16)
        assert result.metrics["epoch"] == 2

    def test_no_step_is_lost_on_resumption(self, world, monkeypatch):
        losses_become(monkeypatch, 1.0, 2.0, 3.0, 0.5)
        tiny = recipe(world, patience=3)
        train(tiny, world / "straight")
        step = TrainingModule.training_step
        seen = []

        def counted(self: TrainingModule, batch: Any, index: int) -> torch.Tensor:
            seen.append(index)
            if len(seen) == 14:  # in the fourth pass, after two validations without improvement
                raise KeyboardInterrupt
            return step(self, batch, index)

        with monkeypatch.context() as patch:
            patch.setattr(TrainingModule, "training_step", counted)
            with pytest.raises(TrainingStopped):
                train(tiny, world / "run")
            assert checkpoint(world / "run", "last")["epoch"] == 2
            train(tiny, world / "run", resume=True)
        assert len(seen) == 14 + 4
        one, other = (checkpoint(world / name, "last") for name in ("straight", "run"))
        for part in ("state_dict", "current_model_state"):
            assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
        with (world / "run" / "metrics.csv").open(newline="") as stream:
            assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2", "3", "4"]

    def test_patience_counts_on_after_a_stop(self, world, monkeypatch):
        """Two validations without improvement before the stop and one after it make three."""
        losses_become(monkeypatch, 1.0, 2.0, 3.0, 4.0, 0.1, 0.1)
        tiny = recipe(world, patience=3, epochs=6)
        step, count = TrainingModule.training_step, 0

        def stopped(self: TrainingModule, batch: Any, index: int) -> torch.Tensor:
            nonlocal count
            count += 1
            if count == 13:
                raise KeyboardInterrupt
            return step(self, batch, index)

        with monkeypatch.context() as patch:
            patch.setattr(TrainingModule, "training_step", stopped)
            with pytest.raises(TrainingStopped):
                train(tiny, world / "run")
        train(tiny, world / "run", resume=True)
        assert checkpoint(world / "run", "last")["epoch"] == 3

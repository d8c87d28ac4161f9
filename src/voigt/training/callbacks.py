"""What happens around the steps of a training: running average, checkpoints, the table of figures, progress."""

from __future__ import annotations

import csv
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar, TQDMProgressBar, WeightAveraging
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from voigt.files import atomic_write
from voigt.training.checkpoints import checkpoint_bytes, read_checkpoint

log = logging.getLogger("voigt.training")


class RunningAverage(WeightAveraging):
    """Exponential average whose decay rises to `decay`, so that the first steps are soon forgotten."""

    def __init__(self, decay: float) -> None:
        def average(old: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
            rate = min(decay, (1.0 + float(count)) / (10.0 + float(count)))
            return torch.lerp(new, old, rate)

        super().__init__(use_buffers=False, avg_fn=average)


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints of our own format, see `voigt.training.checkpoints`, that replace the old file at once.

    Lightning's own are pickles, which can run code, and are copied from the system's temporary folder: a kill during
    the copy would leave half a file where the last good one was.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        content = checkpoint_bytes(checkpoint)
        with atomic_write(path, "wb") as stream:
            stream.write(content)

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = None,  # noqa: ARG002
        weights_only: bool | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        return read_checkpoint(path)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class Checkpoints(ModelCheckpoint):
    """`last.ckpt` after every validation and `best.ckpt`, in a folder that may be moved between stop and resumption."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "best", monitor="val/loss", save_top_k=1, enable_version_counter=False)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save; Lightning's own `save_last` leaves the old file where the loss has not improved."""
        super().on_train_epoch_end(trainer, pl_module)
        trainer.save_checkpoint(Path(str(self.dirpath)) / "last.ckpt")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        folder = Path(str(self.dirpath))

        def here(path: str) -> str:  # whatever the file says, nothing else is read or removed
            return str(folder / "best.ckpt") if path else ""

        moved = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        models = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "dirpath": self.dirpath, "best_k_models": models})


class RunRecord(Callback):
    """What the run is and how far it has come: in every checkpoint, and as a table with one row per validation.

    Rows and the state of torch's random numbers (by which networks choose frames) travel in the checkpoint, so that a
    resumed run goes on with the table that it left and draws what the lost one would have drawn. So does the time
    spent, over all processes of the run, in seconds of one device.
    """

    def __init__(self, table: Path, description: Mapping[str, Any]) -> None:
        self.table, self.description = table, description
        self.rows: list[dict[str, float]] = []
        self.started = False
        self.spent, self.since = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Time spent so far, without what was lost between a checkpoint and a kill."""
        return self.spent + time.monotonic() - self.since

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Start the clock; by now everything has been restored from the checkpoint.

        ValueError: the restored state of the optimizer is that of other parameters.
        """
        for optimizer in trainer.optimizers:
            for parameter, moments in optimizer.state.items():
                tensors = [entry for entry in moments.values() if isinstance(entry, Tensor) and entry.ndim]
                if any(entry.shape != parameter.shape for entry in tensors):
                    raise ValueError("the state of the optimizer belongs to other parameters")
        self.started = True
        self.since = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the table anew."""
        figures = _figures(trainer)
        place = {"epoch": pl_module.current_epoch + 1, "step": trainer.global_step}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append({**place, "seconds": round(self.seconds, 1), "lr": rate, **figures})
        write_rows(self.table, self.rows)

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Add the description and the validation figures of this moment."""
        figures = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val/")}
        checkpoint["voigt_metrics"] = figures | {"epoch": float(pl_module.current_epoch + 1)}
        checkpoint["voigt_run"] = dict(self.description)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "random": torch.get_rng_state(), "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
        self.spent = float(state_dict.get("seconds", 0.0))
        if "random" in state_dict:  # older checkpoints have none; their networks drew nothing
            torch.set_rng_state(state_dict["random"].cpu())


def write_rows(table: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Figures of every validation as CSV, atomically; the columns are all keys that some row has."""
    with atomic_write(table) as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)


class ProgressLines(Callback):
    """One line after each validation, at most one a minute."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds, self.last, self.start = seconds, float("-inf"), time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Report the current figures."""
        now = time.monotonic()
        done = trainer.current_epoch + 1 == trainer.max_epochs
        if now - self.last < self.seconds and not done:
            return
        self.last = now
        text = " ".join(f"{key}={value:.4f}" for key, value in _figures(trainer).items())
        log.info("epoch %d/%s %.0f s %s", trainer.current_epoch + 1, trainer.max_epochs, now - self.start, text)


def _figures(trainer: lightning.Trainer) -> dict[str, float]:
    figures = {key: float(value) for key, value in trainer.callback_metrics.items()}
    return {key: figures[key] for key in sorted(figures) if key.startswith(("train/", "val/"))}


def progress_callbacks() -> list[Any]:
    """A progress bar on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        return [ProgressLines()]
    try:
        return [RichProgressBar(leave=True)]
    except ModuleNotFoundError:
        return [TQDMProgressBar()]

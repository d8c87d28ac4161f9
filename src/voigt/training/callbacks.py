"""Progress lines where there is no terminal, and the running average of weights."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar, TQDMProgressBar, WeightAveraging
from torch import Tensor

log = logging.getLogger("voigt.training")


class RunningAverage(WeightAveraging):
    """Exponential average whose decay rises from 0.1 to `decay`, so that the first steps are soon forgotten."""

    def __init__(self, decay: float) -> None:
        def average(old: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
            rate = min(decay, (1.0 + float(count)) / (10.0 + float(count)))
            return torch.lerp(new, old, rate)

        super().__init__(use_buffers=False, avg_fn=average)


class ProgressLines(Callback):
    """One line after each validation, at most one a minute."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds, self.last, self.start = seconds, 0.0, time.monotonic()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Report the current figures."""
        now = time.monotonic()
        done = trainer.current_epoch + 1 == trainer.max_epochs
        if trainer.sanity_checking or (now - self.last < self.seconds and not done):
            return
        self.last = now
        figures = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith(("train/", "val/"))}
        text = " ".join(f"{key}={value:.4f}" for key, value in sorted(figures.items()))
        log.info("epoch %d/%s %.0f s %s", trainer.current_epoch + 1, trainer.max_epochs, now - self.start, text)


def progress_callbacks() -> list[Any]:
    """A progress bar on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        return [ProgressLines()]
    try:
        return [RichProgressBar(leave=True)]
    except ModuleNotFoundError:
        return [TQDMProgressBar()]

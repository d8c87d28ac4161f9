"""The training loop's step, as a Lightning module around any Voigt network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from voigt.errors import RecipeError
from voigt.graphs import CrystalBatch
from voigt.models.network import Network
from voigt.training.losses import labeled, tensor_loss, total_loss
from voigt.training.recipe import OptimizerSettings, Recipe

LOST_STEPS = 100
"""Training ends with an error after so many consecutive steps without a finite gradient."""


class TrainingModule(lightning.LightningModule):
    """Loss, optimizer and validation figures of a recipe."""

    def __init__(self, recipe: Recipe, network: Network, total_steps: int) -> None:
        super().__init__()
        self.recipe, self.network, self.total_steps = recipe, network, total_steps
        self.lost, self.finite = 0, True
        self.sums: Sums = {}

    def training_step(self, batch: CrystalBatch, _index: int) -> Tensor:
        loss, parts = batch_loss(self.network, batch, self.recipe)
        self.finite = bool(torch.isfinite(loss))
        if self.finite:
            figures = {f"train/{name}": value.detach() for name, value in parts.items()}
            self.log_dict({"train/loss": loss.detach(), **figures}, on_step=False, on_epoch=True, batch_size=1)
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002
    ) -> None:
        """Clip the norm; leave the step out if loss or gradient overflowed, so that it cannot poison the weights."""
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val or math.inf)
        if self.finite and torch.isfinite(norm):
            self.lost = 0
            return
        self.lost += 1
        if self.lost > LOST_STEPS:
            raise diverged()
        optimizer.zero_grad()  # AdamW passes over parameters without a gradient

    def on_validation_epoch_start(self) -> None:
        self.sums = {}

    def validation_step(self, batch: CrystalBatch, _index: int) -> None:
        add_validation(self.sums, self.network(batch), batch, self.recipe)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(validation_figures(self.sums, self.recipe), batch_size=1)

    def configure_optimizers(self) -> Any:
        settings = self.recipe.optimizer
        optimizer = make_optimizer(self.network, settings)
        schedule = LambdaLR(optimizer, lambda step: learning_rate(step, self.total_steps, settings))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def batch_loss(network: Network, batch: CrystalBatch, recipe: Recipe) -> tuple[Tensor, dict[str, Tensor]]:
    """What a training step makes smaller, and its parts by name."""
    outputs, regularizers = network.training_pass(batch)
    loss, parts = total_loss(outputs, batch.targets, recipe.targets)
    return loss + sum(regularizers.values()), parts | regularizers


def make_optimizer(network: Network, settings: OptimizerSettings, recorded: bool = False) -> torch.optim.AdamW:
    """AdamW of what is not frozen; its weight decay leaves biases alone.

    `recorded`: for a CUDA graph, which needs its rate as a tensor.
    """
    learned = [p for p in network.parameters() if p.requires_grad]
    matrices = [p for p in learned if p.ndim > 1]
    others = [p for p in learned if p.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=torch.tensor(settings.lr, device=matrices[0].device) if recorded else settings.lr,
        fused=True,
        capturable=recorded,
    )


Sums = dict[str, list[tuple[float, int]]]
"""Figures of validation batches: (mean, number of labels) of each."""


def add_validation(sums: Sums, predicted: Mapping[str, Tensor], batch: CrystalBatch, recipe: Recipe) -> None:
    """Add loss and mean absolute error of the targets of one batch to `sums`."""
    for name, settings in recipe.targets.items():
        label = batch.targets[name]
        present = labeled(label, settings)
        count = int(present.sum())
        if not count:
            continue
        value, label = predicted[name][present], label[present]
        for key, mean in (
            (f"val/{name}", tensor_loss(value, label, settings)),
            (f"val/{name}_mae", (value - label).abs().mean()),
        ):
            sums.setdefault(key, []).append((float(mean), count))


def validation_figures(sums: Sums, recipe: Recipe) -> dict[str, float]:
    """Means over all validation batches, and the loss that weights are chosen by."""
    means = {key: sum(v * n for v, n in rows) / sum(n for _, n in rows) for key, rows in sums.items()}
    kept = {name: settings for name, settings in recipe.targets.items() if not settings.auxiliary}
    loss = sum(settings.weight * means.get(f"val/{name}", 0.0) for name, settings in kept.items())
    return {"val/loss": loss, **means}


def diverged() -> RecipeError:
    """The error of a training whose gradients have not been finite for LOST_STEPS steps."""
    return RecipeError("the loss is not finite any more; lower optimizer.lr or optimizer.clip")


def learning_rate(step: int, total: int, settings: OptimizerSettings) -> float:
    """Learning rate at a step as a share of the peak."""
    warm = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    if settings.schedule == "constant":
        return warm
    fall = 0.5 * (1.0 + math.cos(math.pi * min(step / max(total, 1), 1.0)))
    return warm * (settings.final + (1.0 - settings.final) * fall)

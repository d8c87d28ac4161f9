"""The training loop's step, as a Lightning module around any Voigt network."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from voigt.errors import RecipeError
from voigt.graphs import CrystalBatch
from voigt.models.network import Network
from voigt.training.losses import tensor_loss, total_loss
from voigt.training.recipe import OptimizerSettings, Recipe

LOST_STEPS = 100
"""Training ends with an error after so many consecutive steps without a finite gradient."""


class TrainingModule(lightning.LightningModule):
    """Loss, optimizer and validation figures of a recipe."""

    def __init__(self, recipe: Recipe, network: Network, total_steps: int) -> None:
        super().__init__()
        self.recipe, self.network, self.total_steps = recipe, network, total_steps
        self.lost, self.finite = 0, True
        self.sums: dict[str, list[tuple[float, int]]] = {}

    def training_step(self, batch: CrystalBatch, _index: int) -> Tensor:
        outputs, regularizers = self.network.training_pass(batch)
        loss, parts = total_loss(outputs, batch.targets, self.recipe.targets)
        loss = loss + sum(regularizers.values())
        parts |= regularizers
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
            raise RecipeError("the loss is not finite any more; lower optimizer.lr or optimizer.clip")
        optimizer.zero_grad()  # AdamW passes over parameters without a gradient

    def on_validation_epoch_start(self) -> None:
        self.sums = {}

    def validation_step(self, batch: CrystalBatch, _index: int) -> None:
        predicted = self.network(batch)
        for name, settings in self.recipe.targets.items():
            label = batch.targets[name]
            present = torch.isfinite(label.reshape(len(label), -1)).all(dim=1)
            count = int(present.sum())
            if not count:
                continue
            value, label = predicted[name][present], label[present]
            self._add(f"val/{name}", tensor_loss(value, label, settings), count)
            self._add(f"val/{name}_mae", (value - label).abs().mean(), count)

    def _add(self, key: str, value: Tensor, count: int) -> None:
        self.sums.setdefault(key, []).append((float(value), count))

    def on_validation_epoch_end(self) -> None:
        means = {key: sum(v * n for v, n in rows) / sum(n for _, n in rows) for key, rows in self.sums.items()}
        kept = {name: settings for name, settings in self.recipe.targets.items() if not settings.auxiliary}
        loss = sum(settings.weight * means.get(f"val/{name}", 0.0) for name, settings in kept.items())
        self.log_dict({"val/loss": loss, **means}, batch_size=1)

    def configure_optimizers(self) -> Any:
        settings = self.recipe.optimizer
        matrices = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=settings.lr,
            fused=True,
        )
        schedule = LambdaLR(optimizer, lambda step: learning_rate(step, self.total_steps, settings))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def learning_rate(step: int, total: int, settings: OptimizerSettings) -> float:
    """Learning rate at a step as a share of the peak."""
    warm = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    if settings.schedule == "constant":
        return warm
    fall = 0.5 * (1.0 + math.cos(math.pi * min(step / max(total, 1), 1.0)))
    return warm * (settings.final + (1.0 - settings.final) * fall)

"""Losses on Cartesian tensors; absent labels (NaN) count for nothing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from voigt.training.recipe import TargetSettings

LOG_FLOOR = 0.01
"""Norms below this, in units of the scale, count as it in the logarithm."""


def tensor_loss(predicted: Tensor, label: Tensor, settings: TargetSettings) -> Tensor:
    """Mean loss over atoms or crystals that have a label; 0 if none has.

    Parameters
    ----------
    predicted, label
        (n, 3, ..., 3) in the property's unit; a label that is absent is NaN.
    settings
        Kind of loss, scale, delta.
    """
    if label.ndim == 1:
        predicted, label = predicted[:, None], label[:, None]
    predicted, label = predicted.flatten(1), label.flatten(1)
    present = torch.isfinite(label).all(dim=1)
    if not bool(present.any()):
        return predicted.sum() * 0.0
    predicted, label = predicted[present], label[present]
    if settings.loss in ("relative", "log"):
        compare = _relative if settings.loss == "relative" else _logarithmic
        losses = compare(predicted, label, settings.scale)
        if settings.sign_cost is not None:
            losses = torch.minimum(losses, compare(predicted, -label, settings.scale) + settings.sign_cost)
        return losses.mean()
    difference = (predicted - label) / settings.scale
    if settings.loss == "l1":
        return difference.abs().mean()
    if settings.loss == "l2":
        return difference.square().mean()
    return torch.nn.functional.huber_loss(difference, torch.zeros_like(difference), delta=settings.delta)


def _relative(predicted: Tensor, label: Tensor, scale: float) -> Tensor:
    norm = torch.linalg.vector_norm(label, dim=1).clamp(min=1e-6 * scale)
    ratio: Tensor = torch.linalg.vector_norm(predicted - label, dim=1) / norm
    return ratio


def _logarithmic(predicted: Tensor, label: Tensor, scale: float) -> Tensor:
    """Difference of the logarithms of the norms, plus that of the normalized tensors."""
    sizes = [torch.linalg.vector_norm(tensor, dim=1).clamp(min=LOG_FLOOR * scale) for tensor in (predicted, label)]
    shape = torch.linalg.vector_norm(predicted / sizes[0][:, None] - label / sizes[1][:, None], dim=1)
    result: Tensor = torch.log(sizes[0] / sizes[1]).abs() + shape
    return result


def total_loss(
    predicted: Mapping[str, Tensor], labels: Mapping[str, Tensor], targets: Mapping[str, TargetSettings]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum over properties, and each property's own loss."""
    parts = {name: tensor_loss(predicted[name], labels[name], settings) for name, settings in targets.items()}
    total = torch.stack([settings.weight * parts[name] for name, settings in targets.items()]).sum()
    return total, parts

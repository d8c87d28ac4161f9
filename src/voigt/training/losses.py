"""Losses on Cartesian tensors; absent labels (NaN) count for nothing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

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

    The same operations whatever the labels: nothing waits for a device.
    """
    if label.ndim == 1:
        predicted, label = predicted[:, None], label[:, None]
    predicted, label = predicted.flatten(1), label.flatten(1)
    present = labeled(label, settings)
    # Before any computation: a NaN would pass into the gradients even from a branch that is not taken.
    kept = present[:, None]
    predicted, label = torch.where(kept, predicted, 0.0), torch.where(kept, label, 0.0)
    if settings.loss in ("relative", "log"):
        compare = _relative if settings.loss == "relative" else _logarithmic
        losses = compare(predicted, label, settings)
        if settings.sign_cost is not None:
            losses = torch.minimum(losses, compare(predicted, -label, settings) + settings.sign_cost)
    else:
        difference = (predicted - label) / settings.scale
        if settings.loss == "l1":
            losses = difference.abs().mean(dim=1)
        elif settings.loss == "l2":
            losses = difference.square().mean(dim=1)
        else:
            nothing = torch.zeros_like(difference)
            losses = nn.functional.huber_loss(difference, nothing, reduction="none", delta=settings.delta).mean(dim=1)
    return torch.where(present, losses, 0.0).sum() / present.sum().clamp(min=1)


def labeled(label: Tensor, settings: TargetSettings) -> Tensor:
    """(n,) which of the labels (n, ...) count."""
    label = label.flatten(1) if label.ndim > 1 else label[:, None]
    present = torch.isfinite(label).all(dim=1)
    return present if settings.zeros else present & (label != 0).any(dim=1)


def _relative(predicted: Tensor, label: Tensor, settings: TargetSettings) -> Tensor:
    least = 1e-6 * settings.scale if settings.floor is None else settings.floor
    norm = torch.linalg.vector_norm(label, dim=1).clamp(min=least)
    ratio: Tensor = torch.linalg.vector_norm(predicted - label, dim=1) / norm
    return ratio


def _logarithmic(predicted: Tensor, label: Tensor, settings: TargetSettings) -> Tensor:
    """Difference of the logarithms of the norms, plus that of the normalized tensors."""
    least = LOG_FLOOR * settings.scale
    sizes = [torch.linalg.vector_norm(tensor, dim=1).clamp(min=least) for tensor in (predicted, label)]
    shape = torch.linalg.vector_norm(predicted / sizes[0][:, None] - label / sizes[1][:, None], dim=1)
    result: Tensor = torch.log(sizes[0] / sizes[1]).abs() + shape
    return result


def heads_loss(predicted: Tensor, label: Tensor, settings: TargetSettings) -> Tensor:
    """Loss of a network with several heads: their mean against the label, each against its teacher.

    Parameters
    ----------
    predicted
        (n, heads, 3, ..., 3).
    label
        (n, 1 + heads, 3, ..., 3): the label, then what the members of the teacher say; NaN where absent.
    settings
        Kind of loss, scale, delta.
    """
    learned = tensor_loss(predicted.mean(dim=1), label[:, 0], settings)
    taught = tensor_loss(predicted.flatten(0, 1), label[:, 1:].flatten(0, 1), settings)
    return learned + taught


def total_loss(
    predicted: Mapping[str, Tensor], labels: Mapping[str, Tensor], targets: Mapping[str, TargetSettings]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum over properties, and each property's own loss."""
    parts = {
        name: (tensor_loss if predicted[name].shape == labels[name].shape else heads_loss)(
            predicted[name], labels[name], settings
        )
        for name, settings in targets.items()
    }
    total = torch.stack([settings.weight * parts[name] for name, settings in targets.items()]).sum()
    return total, parts

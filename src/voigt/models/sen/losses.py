"""Losses beside those of the properties: likelihood, reconstruction, sparsity, the two stages of a gap, symmetry."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from voigt.graphs import CrystalBatch
from voigt.models.sen.capsules import Objects, Parts

_LAST_OF_SYSTEM = (2, 15, 74, 142, 167, 194, 230)


def counted_crystals(batch: CrystalBatch) -> Tensor:
    """(n_crystals,) weights that sum to one: equal for crystals with a label, 0 for those that only fill a batch."""
    labels = [torch.isfinite(label) for label in batch.targets.values()]
    weights = torch.stack(labels).any(dim=0).to(batch.cell) if labels else batch.cell.new_ones(batch.num_crystals)
    return weights / weights.sum().clamp(min=1.0)


def sparsity(presence: Tensor, counted: Tensor) -> Tensor:
    """Entropy of the normalized presences within a crystal minus that of their mean over the batch (SCAE).

    Small when each crystal uses few capsules and all crystals together use all of them.

    Parameters
    ----------
    presence
        (n_crystals, objects), not negative.
    counted
        (n_crystals,) weights of the crystals, summing to one.
    """
    within = presence / presence.sum(dim=1, keepdim=True).clamp(min=1e-9)
    return counted @ entropy(within) - entropy(counted @ within)


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy over the last axis, in nats."""
    return -(probabilities * torch.log(probabilities.clamp(min=1e-9))).sum(dim=-1)


def likelihood_loss(parts: Parts, objects: Objects, counted: Tensor) -> Tensor:
    """Mean over crystals, by their weights, of -log p of the parts' poses, each part weighted by its presence."""
    return -counted @ (parts.presence * objects.log_likelihood).sum(dim=1)


def posterior_presence(parts: Parts, objects: Objects) -> Tensor:
    """(n_crystals, objects) share of the present parts that belongs to each object."""
    return (parts.presence[..., None] * objects.posterior[..., :-1]).sum(dim=1)


def reconstruction_loss(logits: Tensor, fractions: Tensor, counted: Tensor) -> Tensor:
    """Cross entropy of the elements that parts tell with those of the atoms that formed them.

    Parameters
    ----------
    logits
        (n_crystals, parts, elements).
    fractions
        (n_crystals, parts, elements) weights of the elements in each part, summing to one; a target.
    counted
        (n_crystals,) weights of the crystals, summing to one.
    """
    return -counted @ (fractions.detach() * logits.log_softmax(dim=-1)).sum(dim=-1).mean(dim=1)


def gap_losses(size: Tensor, metal_logit: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of 'is a metal' and the mean absolute error of the size in insulators.

    Parameters
    ----------
    size, metal_logit
        (n_crystals,).
    label
        (n_crystals,) eV; NaN where absent; 0 is a metal.
    """
    known = torch.isfinite(label)
    metal = (label == 0.0).to(size.dtype)
    cross = nn.functional.binary_cross_entropy_with_logits(metal_logit, metal, reduction="none")
    insulator = known & (label > 0.0)
    error = (size - torch.where(insulator, label, 0.0)).abs()
    return _mean(cross, known), _mean(error, insulator)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values; 0, with a gradient of 0, if there are none."""
    return torch.where(chosen, values, 0.0).sum() / chosen.sum().clamp(min=1)


def class_loss(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross entropy; labels of -1 are unknown and count for nothing."""
    known = label >= 0
    logs = logits.log_softmax(dim=1)
    place = label.clamp(min=0)
    cross = -logs.gather(1, place[:, None])[:, 0] * weight[place] * known
    return cross.sum() / (weight[place] * known).sum().clamp(min=1e-9)


@functools.lru_cache
@torch.inference_mode(False)
def _limits(device: torch.device) -> Tensor:
    """Copied to a device once, outside of recordings."""
    return torch.tensor(_LAST_OF_SYSTEM, device=device)


def system_index(space_group: Tensor) -> Tensor:
    """(n,) space-group numbers -> 0 (triclinic) to 6 (cubic); unknown (0) -> -1."""
    index = torch.searchsorted(_limits(space_group.device), space_group)
    return torch.where(space_group > 0, index, -1)

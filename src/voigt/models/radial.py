"""Functions of distance and direction that methods share."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def envelope(distance: Tensor, cutoff: float, kind: str) -> Tensor:
    """(n_edges,) -> (n_edges, 1): ones for "none", else falls smoothly to 0 at the cutoff."""
    x = (distance / cutoff).clamp(max=1.0)[:, None]
    if kind == "cosine":
        return 0.5 * (1.0 + torch.cos(math.pi * x))
    if kind == "polynomial":  # p = 6: value and two derivatives vanish at the cutoff
        return 1.0 - 28.0 * x**6 + 48.0 * x**7 - 21.0 * x**8
    return torch.ones_like(x)


def harmonics(unit: Tensor) -> Tensor:
    """(n, 3) unit vectors -> (n, 8): their components and those of the quadrupole; the squares of each sum to one."""
    x, y, z = unit.unbind(dim=1)
    root = math.sqrt(3.0)
    products = [root * y * z, root * z * x, root * x * y, root / 2 * (x * x - y * y), 1.5 * z * z - 0.5]
    return torch.cat([unit, torch.stack(products, dim=1)], dim=1)

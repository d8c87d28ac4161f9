"""Places of the elements in the periodic table, as indices for embeddings."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

NUM_ELEMENTS = 119
"""Rows of an embedding indexed by atomic number (0 is unused)."""

_NOBLE = (2, 10, 18, 36, 54, 86, 118)


def periodic_table() -> NDArray[np.int64]:
    """Group, period and block of every element.

    Returns
    -------
    (119, 3) integers: group 1-18 (19 for the f block), period 1-7, block 0-3 (s, p, d, f); row 0 is zero.
    """
    table = np.zeros((NUM_ELEMENTS, 3), dtype=np.int64)
    for z in range(1, NUM_ELEMENTS):
        period = next(k for k, last in enumerate(_NOBLE, start=1) if z <= last)
        first = 1 if period == 1 else _NOBLE[period - 2] + 1
        last = _NOBLE[period - 1]
        place, to_end = z - first, last - z
        if place < 2 and z != 2:
            group, block = place + 1, 0
        elif to_end < 6:
            group, block = 18 - to_end, 0 if z == 2 else 1
        elif to_end < 16:
            group, block = 18 - to_end, 2
        else:
            group, block = 19, 3
        table[z] = group, period, block
    return table


class ElementEmbedding(nn.Module):
    """Learned features of an element, optionally shared within its group, period and block."""

    table: Tensor

    def __init__(self, width: int, shared: bool, rows: int = NUM_ELEMENTS) -> None:
        super().__init__()
        self.element = nn.Embedding(rows, width)
        self.shared = None
        if shared:
            self.shared = nn.ModuleList(nn.Embedding(size, width) for size in (20, 8, 4))
            nn.init.normal_(self.element.weight, std=0.3)
            self.register_buffer("table", torch.as_tensor(periodic_table()), False)

    def forward(self, numbers: Tensor) -> Tensor:
        """(...) atomic numbers -> (..., width)."""
        features: Tensor = self.element(numbers)
        if self.shared is not None:
            place = self.table[numbers]
            for k, layer in enumerate(self.shared):
                features = features + layer(place[..., k])
        return features

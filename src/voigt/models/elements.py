"""Places of the elements in the periodic table, as indices for embeddings and as cells to draw."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

NUM_ELEMENTS = 119
"""Rows of an embedding indexed by atomic number (0 is unused)."""

F_COLUMN = 2
"""Of `table_layout`: the f block stands below the place it is taken from, right of group 2."""
GAP = 0.5
"""Cells between the main body and the f block."""

_NOBLE = (2, 10, 18, 36, 54, 86, 118)
_F_BLOCK = 3  # in the last column of `periodic_table`


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


def table_layout() -> NDArray[np.float64]:
    """Upper left corners of the cells of the 18-column form.

    Lanthanum to ytterbium and actinium to nobelium stand below the rest; lutetium and lawrencium are in group 3.
    Returns (119, 2) column and row, in cells from the upper left; row 0 of the array (no element) is NaN.
    """
    group, period, block = periodic_table().T
    places = np.stack([group - 1.0, period - 1.0], axis=1)
    for row in (6, 7):
        inner = np.flatnonzero((block == _F_BLOCK) & (period == row))
        places[inner, 0] = F_COLUMN + np.arange(len(inner))
        places[inner, 1] = row + 1 + GAP
    places[0] = np.nan
    return places


def nearest_elements(z: int, known: Collection[int]) -> tuple[int, ...]:
    """The known elements whose chemistry is nearest to that of an element: what an embedding of it may start from.

    Those of its group that are fewest periods away; in the f block those of its series that are nearest, or the one
    of the other series below or above it. If there is none, the nearest by atomic number.

    Parameters
    ----------
    z
        Atomic number, 1 to 118.
    known
        Atomic numbers to choose from, not empty.

    Returns
    -------
    Atomic numbers, ascending; two of them if both sides are equally near. `z` alone if it is known.

    Examples
    --------
    >>> nearest_elements(37, {19, 55, 8}), nearest_elements(61, {60, 62, 93}), nearest_elements(93, {61, 39})
    ((19, 55), (60, 62), (61,))
    """
    table, layout = periodic_table(), table_layout()
    group, period, block = table[z]
    if block == _F_BLOCK:
        chosen = [k for k in known if table[k, 1] == period and table[k, 2] == _F_BLOCK]
        chosen = chosen or [k for k in known if table[k, 2] == _F_BLOCK and layout[k, 0] == layout[z, 0]]
    else:
        chosen = [k for k in known if table[k, 0] == group]
    far = {k: abs(int(table[k, 1] - period)) or abs(k - z) for k in chosen} or {k: abs(k - z) for k in known}
    return tuple(sorted(k for k, distance in far.items() if distance == min(far.values())))


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

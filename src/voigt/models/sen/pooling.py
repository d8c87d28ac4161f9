"""Set2Set: a crystal asks its atoms several times what they are (Vinyals et al., arXiv 1511.06391)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from voigt.models.linear import linear
from voigt.models.sen.segments import Orbits


class Cell(nn.LSTMCell):
    """`torch.nn.LSTMCell` written out, since `torch.func` does not know its kernel."""

    def forward(self, given: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(n, inputs) and two of (n, width) -> two of (n, width)."""
        hidden, memory = state
        gates = linear(given, self.weight_ih, self.bias_ih) + linear(hidden, self.weight_hh, self.bias_hh)
        entering, forgetting, new, leaving = gates.chunk(4, dim=1)
        memory = forgetting.sigmoid() * memory + entering.sigmoid() * new.tanh()
        return leaving.sigmoid() * memory.tanh(), memory


class Set2Set(nn.Module):
    """Order-independent pooling by repeated attention."""

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.width, self.steps = width, steps
        self.cell = Cell(2 * width, width)

    def forward(self, rows: Tensor, orbits: Orbits) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(n_orbits, width) -> (n_crystals, 2 width), and per step the weights of the orbits (n_orbits,)."""
        hidden = rows.new_zeros(orbits.num_crystals, self.width)
        memory, joined = hidden, rows.new_zeros(orbits.num_crystals, 2 * self.width)
        weights = []
        for _ in range(self.steps):
            hidden, memory = self.cell(joined, (hidden, memory))
            logits = (rows * hidden[orbits.crystal]).sum(dim=1, keepdim=True)
            weight = orbits.softmax(logits * self.width**-0.5)
            joined = torch.cat([hidden, orbits.sum(weight * rows)], dim=1)
            weights.append(weight[:, 0])
        return joined, tuple(weights)

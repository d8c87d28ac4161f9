"""Layers that act on the features of one atom: linear maps of each type, and the tensor square."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from voigt.graphs.padding import rounded
from voigt.models.equivariant.paths import NODE_ROWS, NODE_TYPES, NUM_ROWS
from voigt.models.linear import STEPS, linear
from voigt.tensors.irreps import couples, wigner_3j

ATOMS = 128
"""Whose squares a CPU computes at a time: products of 128 atoms with 96 channels take four megabytes of its cache."""


def initial_weights(shape: Sequence[int], init: str) -> nn.Parameter:
    """Standard normal or uniform(-1, 1) weights."""
    tensor = torch.empty(*shape)
    return nn.Parameter(tensor.normal_() if init == "normal" else tensor.uniform_(-1.0, 1.0))


class NodeLinear(nn.Module):
    """Channel mixing separately for each of the four types; bias on scalars; weights scaled by 1/sqrt(channels)."""

    def __init__(self, channels: int, init: str) -> None:
        super().__init__()
        self.weight = initial_weights((len(NODE_TYPES), channels, channels), init)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = 1.0 / math.sqrt(x.shape[-1])
        weight = (self.weight * scale).transpose(1, 2)
        rows = [linear(x[:, NODE_ROWS[kind]], weight[k]) for k, kind in enumerate(NODE_TYPES)]
        rows[0] = rows[0] + self.bias
        return torch.cat(rows, dim=1)


class SelfProduct(nn.Module):
    """Weighted tensor square of node features, channel by channel: correlations of two neighbors at once.

    x is a sum over neighbors, so that products of its components hold the angles between any two of them. All
    couplings of two types into a third are one constant matrix on the 78 products x_i x_j with i <= j.
    """

    coupling: Tensor
    path_of_row: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        blocks: list[Tensor] = []
        path_rows: list[int] = []
        spans: list[tuple[int, int, int]] = []
        for out in NODE_TYPES:
            row, path = len(path_rows), len(blocks)
            for i, first in enumerate(NODE_TYPES):
                for second in NODE_TYPES[i:]:
                    if not couples(first, second, out):
                        continue
                    symbol = wigner_3j(first, second, out)
                    if first == second and np.allclose(symbol, -symbol.transpose(1, 0, 2)):
                        continue  # an antisymmetric square of one vector is zero
                    block = torch.zeros(NUM_ROWS, NUM_ROWS, symbol.shape[2], dtype=torch.float64)
                    # Wigner's symbol has norm 1: the root makes every component of the product of order one.
                    block[NODE_ROWS[first], NODE_ROWS[second]] = torch.tensor(symbol * math.sqrt(symbol.shape[2]))
                    path_rows += [len(blocks)] * symbol.shape[2]
                    blocks.append(block)
            spans.append((row, len(path_rows), len(blocks) - path))
        self.spans = spans
        """First and last row, and number of couplings, of each output type."""
        full = torch.cat(blocks, dim=2)
        # x_i x_j = x_j x_i: the coefficients of both add up, and those of squares must not be counted twice.
        full = full + full.transpose(0, 1)
        full[range(NUM_ROWS), range(NUM_ROWS)] *= 0.5
        upper = torch.triu_indices(NUM_ROWS, NUM_ROWS)
        self.register_buffer("coupling", full[upper[0], upper[1]].T.contiguous(), False)
        self.register_buffer("path_of_row", torch.tensor(path_rows), False)
        # A sum of n couplings of order one is divided by the root of n.
        fan = torch.cat([torch.full((count,), count**-0.5) for _, _, count in spans])
        self.register_buffer("fan", fan[:, None], False)
        self.weight = nn.Parameter(torch.randn(len(blocks), channels))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 12, channels) -> (n, 12, channels)."""
        if x.device.type == "cpu" and len(x) > ATOMS:
            return torch.cat([self._square(part) for part in x.split(ATOMS)])
        return self._square(x)

    def _square(self, x: Tensor) -> Tensor:
        # Squares of squares overflow: the square acts on features whose mean square cannot exceed one.
        x = x / torch.sqrt(1.0 + x.square().sum(dim=1, keepdim=True).mean(dim=2, keepdim=True))
        # Few numbers of atoms: see `linear`.
        idle = rounded(len(x), STEPS) - len(x)
        rows = nn.functional.pad(x.transpose(0, 1), (0, 0, 0, idle)).contiguous()
        pairs = torch.cat([rows[i] * rows[i:] for i in range(NUM_ROWS)]).flatten(1)
        coupled = linear(self.coupling.to(x.dtype), pairs.T).view(-1, *rows.shape[1:])
        coupled = coupled * (self.weight * self.get_buffer("fan")).index_select(0, self.path_of_row)[:, None]
        # The couplings into one type lie one after another: sum them component by component.
        sums = [coupled[a:b].unflatten(0, (count, -1)).sum(0) for a, b, count in self.spans]
        return torch.cat(sums).transpose(0, 1)[: len(x)]

"""Composition branch: what the formula alone says of a crystal (Roost, Nat. Commun. 11, 6280 (2020))."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from voigt.graphs import CrystalBatch
from voigt.models.elements import NUM_ELEMENTS, ElementEmbedding
from voigt.models.linear import Linear
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.segments import Orbits


@dataclass(frozen=True)
class Formula:
    """Elements of each crystal in a padded table.

    Attributes
    ----------
    numbers
        (n_crystals, most elements) atomic numbers, 0 in empty places.
    fractions
        (n_crystals, most elements) atomic fractions, 0 in empty places.
    """

    numbers: Tensor
    fractions: Tensor


def formula_of(batch: CrystalBatch, orbits: Orbits) -> Formula:
    """Elements with their fractions, in ascending order of atomic numbers."""
    numbers = batch.numbers[batch.representative]
    place = batch.orbit_crystal * NUM_ELEMENTS + numbers
    size = orbits.num_crystals * NUM_ELEMENTS
    table = orbits.share.new_zeros(size).index_add(0, place, orbits.share[:, 0]).view(-1, NUM_ELEMENTS)
    present = table > 0
    most = int(present.sum(dim=1).max()) if batch.most_elements is None else batch.most_elements
    # Elements that are there come first in a stable order.
    order = torch.argsort((~present).to(torch.uint8), dim=1, stable=True)[:, :most]
    return Formula(order * present.gather(1, order), table.gather(1, order))


class WeightedAttention(nn.Module):
    """Gates and values of one hidden layer each; softmax of the gates, times a fraction to a learned power."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.gate, self.value = Linear(width, heads), Linear(width, width)
        self.power = nn.Parameter(torch.ones(heads))

    def forward(self, gates: Tensor, values: Tensor, fractions: Tensor) -> tuple[Tensor, Tensor]:
        """Pool over the last but one axis.

        Parameters
        ----------
        gates, values
            (..., n, width) hidden layers of the two.
        fractions
            (..., n), 0 in empty places.

        Returns
        -------
        (..., width), and the weights (..., n), which sum to one.
        """
        present = fractions[..., None] > 0
        # An empty place gets log 1 here and minus infinity below: a logarithm of 0 would poison the gradient.
        weight = torch.log(torch.where(present, fractions[..., None], 1.0)) * self.power
        attention = (self.gate(gates) + weight).masked_fill(~present, -torch.inf).softmax(dim=-2).mean(dim=-1)
        # The value's last layer is linear: it may act on the mean instead of on every pair.
        pooled: Tensor = self.value((attention[..., None] * values).sum(dim=-2))
        return pooled, attention


class Messages(nn.Module):
    """Messages between all pairs of elements of a formula, added to the elements' vectors."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.normal = nn.LayerNorm(width)
        self.own, self.other = Linear(width, 2 * width), Linear(width, 2 * width, bias=False)
        self.attention = WeightedAttention(width, heads)

    def forward(self, rows: Tensor, fractions: Tensor) -> Tensor:
        """(n_crystals, n, width), (n_crystals, n) -> (n_crystals, n, width)."""
        here = self.normal(rows)
        hidden = nn.functional.selu(self.own(here)[:, :, None] + self.other(here)[:, None])
        gates, values = hidden.chunk(2, dim=-1)
        shared = fractions[:, None].expand(-1, rows.shape[1], -1)
        result: Tensor = rows + self.attention(gates, values, shared)[0]
        return result


class Composition(nn.Module):
    """Messages between all pairs of elements of a formula, then weighted attention over the elements.

    Layers and heads have weights of their own; the released code uses one module for all of them.
    """

    def __init__(self, hypers: SENHypers) -> None:
        super().__init__()
        width, heads = hypers.composition_width, hypers.composition_heads
        self.embedding = ElementEmbedding(width - 1, shared=True)
        self.layers = nn.ModuleList(Messages(width, heads) for _ in range(hypers.composition_layers))
        self.hidden = Linear(width, 2 * width)
        self.pool = WeightedAttention(width, heads)

    def forward(self, formula: Formula) -> tuple[Tensor, Tensor]:
        """Formula -> (n_crystals, composition_width), and the weights of the elements, (n_crystals, most elements)."""
        fractions = formula.fractions
        rows = torch.cat([self.embedding(formula.numbers), fractions[..., None]], dim=-1)
        for layer in self.layers:
            rows = layer(rows, fractions)
        gates, values = nn.functional.selu(self.hidden(rows)).chunk(2, dim=-1)
        pooled, weights = self.pool(gates, values, fractions)
        return pooled, weights

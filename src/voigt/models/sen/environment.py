"""Structure-chemical loops: bonds, atoms and state of a crystal by turns, each with attention over its channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn

from voigt.graphs import CrystalBatch
from voigt.models.linear import Linear, linear
from voigt.models.radial import envelope, harmonics
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.segments import Orbits

BondFunction = Callable[..., tuple[Tensor, Tensor, Tensor | None]]
"""`update_bonds`, or the same compiled."""


@dataclass(frozen=True)
class Environment:
    """What the loops make of a batch.

    Attributes
    ----------
    atoms
        (n_orbits, width) vectors of the atoms after the last loop.
    bonds
        (n_orbits, edge_width) vectors of the bonds of each atom, joined.
    state
        (n_crystals, width) vector of the crystal.
    stages
        Atoms' vectors before the first loop and after each; empty unless `record`.
    attention
        (n_orbits, width) softmax over channels of each loop's update of the atoms, mean over heads; empty unless
        `record`.
    """

    atoms: Tensor
    bonds: Tensor
    state: Tensor
    stages: tuple[Tensor, ...]
    attention: tuple[Tensor, ...]


LARGEST_LOGIT = 2.0


def softmax_over_channels(logits: Tensor) -> Tensor:
    """Softmax over the last axis of L tanh(x / L) for logits x, which are so bounded by L = `LARGEST_LOGIT` = 2."""
    # 2 tanh(x / 2) = 4 sigmoid(x) - 2, where the constant has no part in a softmax. The exponents are no larger than 4,
    # so that no maximum need be looked for; and a sigmoid is four times as quick as torch's tanh.
    raised = torch.exp(2.0 * LARGEST_LOGIT * torch.sigmoid(logits))
    return raised / raised.sum(dim=-1, keepdim=True)


def channel_attention(values: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """SELU of the sum over heads of values times the softmax of logits over channels, both (n, heads, width).

    The weights are scaled to a mean of one, so that the width of the network does not set the size of its vectors, and
    the logits are bounded: without, training ends with all attention on one channel, and vectors in the hundreds.

    Returns
    -------
    (n, width) new vectors, (n, heads, width) weights that sum to one.
    """
    _, heads, width = values.shape
    weights = softmax_over_channels(logits)
    mixed = (values * weights).sum(dim=1) * (width / math.sqrt(heads))
    return nn.functional.selu(mixed), weights


class ChannelAttention(nn.Module):
    """Update of the vectors of atoms or of the state from several inputs side by side.

    The paper reshapes the inputs to an image of 12 x 16 pixels and runs a 3 x 3 convolution over it; the place of a
    feature in a vector has no meaning, so that a full linear map takes its place.
    """

    def __init__(self, inputs: int, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.linear = Linear(inputs, 2 * heads * width)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(n, inputs) -> (n, width), and the attention (n, heads, width)."""
        values, logits = self.linear(rows).view(-1, 2, self.heads, self.width).unbind(dim=1)
        return channel_attention(values, logits)


def update_bonds(
    bonds: Tensor,
    sender: Tensor,
    source: Tensor,
    target: Tensor,
    weight: Tensor,
    receiver: Tensor,
    factor: Tensor,
    shape: Tensor | None,
    strength: Tensor | None,
    heads: int,
    mixing: float,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One update of all bonds, and their sums over the bonds of each receiving atom.

    One function for all, so that compiled it goes over the edges only a few times and writes little in between.

    Parameters
    ----------
    bonds
        (n_edges, F).
    sender, receiver
        (n_orbits, 2 heads F) what a sending and a receiving atom (with its crystal's state) add.
    source, target
        (n_edges,) rows of these.
    weight
        (F, 2 heads F) linear map of the bond itself.
    factor
        (n_edges, 1) share of the bond in the sum.
    shape
        (n_edges, 8) harmonics; None: no moments are wanted.
    strength
        (direction_width, F) linear map of a bond to what it gives to the moments.
    heads, mixing
        As in the hyper-parameters.

    Returns
    -------
    New bonds (n_edges, F), their sums (n_orbits, F), and moments (n_orbits, 8, direction_width) or None.
    """
    width, count = bonds.shape[1], len(receiver)

    def mapped(columns: slice) -> Tensor:
        # One linear layer on (bond, sender, receiver, state), as a sum: the parts of atoms run once per atom.
        atoms = sender[:, columns].index_select(0, source) + receiver[:, columns].index_select(0, target)
        return (linear(bonds, weight[:, columns].T) + atoms).view(-1, heads, width)

    half = heads * width
    new, _ = channel_attention(mapped(slice(0, half)), mapped(slice(half, 2 * half)))
    bonds = bonds + mixing * new
    joined = receiver.new_zeros(count, width).index_add(0, target, bonds * factor)
    if shape is None or strength is None:
        return bonds, joined, None
    rows = shape[:, :, None] * linear(bonds, strength)[:, None]
    return bonds, joined, receiver.new_zeros(count, *rows.shape[1:]).index_add(0, target, rows)


@lru_cache
def compiled_update() -> BondFunction:
    """`update_bonds` through torch.compile with sizes left open; the first call takes about half a minute."""
    return cast(BondFunction, torch.compile(update_bonds, dynamic=True))


class Moments(nn.Module):
    """Invariants of the dipole and quadrupole moments of an atom's neighbors: the angles between its bonds."""

    def __init__(self, hypers: SENHypers) -> None:
        super().__init__()
        self.of_bonds = Linear(hypers.edge_width, hypers.direction_width, bias=False)
        self.mix = Linear(hypers.direction_width, hypers.direction_width, bias=False)
        self.normal = nn.LayerNorm(2 * hypers.direction_width)

    def forward(self, moment: Tensor) -> Tensor:
        """(n_orbits, 8, direction_width), to which bonds give through `of_bonds` -> (n_orbits, 2 direction_width)."""
        # Scalar products of two moments of the same degree, channel by channel, do not change with the axes.
        products = moment * self.mix(moment)
        result: Tensor = self.normal(torch.cat([products[:, :3].sum(dim=1), products[:, 3:].sum(dim=1)], dim=1))
        return result


class Loop(nn.Module):
    """One structure-chemical loop."""

    def __init__(self, hypers: SENHypers) -> None:
        super().__init__()
        width, edge, heads = hypers.width, hypers.edge_width, hypers.heads
        self.heads, self.mixing = heads, hypers.mixing
        self.normal_atoms, self.normal_state = nn.LayerNorm(width), nn.LayerNorm(width)
        self.bond_own = Linear(2 * width, 2 * heads * edge)
        self.bond_sender = Linear(width, 2 * heads * edge, bias=False)
        self.bond_weight = nn.Parameter(torch.empty(edge, 2 * heads * edge).uniform_(-1, 1) / math.sqrt(edge))
        moments = 2 * hypers.direction_width if hypers.directions == "moments" else 0
        self.normal_bonds = nn.LayerNorm(edge)
        self.moments = Moments(hypers) if moments else None
        self.atom = ChannelAttention(edge + 2 * width + moments, width, heads)
        self.crystal = ChannelAttention(edge + 2 * width, width, heads)


class Loops(nn.Module):
    """All structure-chemical loops (SEN, Nat. Commun. 14, 5198 (2023); blocks after MEGNet)."""

    centers: Tensor

    def __init__(self, hypers: SENHypers) -> None:
        super().__init__()
        self.hypers = hypers
        centers = torch.linspace(0.0, hypers.cutoff, hypers.num_radial)
        self.register_buffer("centers", centers, persistent=False)
        first = Linear(hypers.num_radial, hypers.edge_width)
        nn.init.normal_(first.weight)  # the default start would make all distances look nearly the same
        last = Linear(hypers.edge_width, hypers.edge_width)
        self.bond = nn.Sequential(first, nn.SELU(), last, nn.LayerNorm(hypers.edge_width))
        self.loops = nn.ModuleList(Loop(hypers) for _ in range(hypers.loops))
        self.update: BondFunction = update_bonds

    def forward(self, batch: CrystalBatch, orbits: Orbits, atoms: Tensor, state: Tensor, record: bool) -> Environment:
        """(n_orbits, width) and (n_crystals, width) before the loops -> after them."""
        hypers = self.hypers
        source, target = batch.orbit[batch.edge_source], batch.edge_target
        distance = torch.linalg.vector_norm(batch.edge_vector, dim=1)
        bonds = self.bond(torch.exp(-(((distance[:, None] - self.centers) / hypers.radial_width) ** 2)))
        factor = envelope(distance, hypers.cutoff, hypers.envelope)
        shape = harmonics(batch.edge_vector / distance[:, None]) if hypers.directions == "moments" else None
        if shape is not None:
            shape = shape * (factor / math.sqrt(hypers.average_neighbors))
        if hypers.aggregate == "mean":
            total = factor.new_zeros(len(atoms), 1).index_add(0, target, factor)
            factor = factor / total.clamp(min=1e-6)[target]
        else:
            factor = factor / hypers.average_neighbors
        joined = atoms.new_zeros(len(atoms), hypers.edge_width)
        stages, attention = [atoms] if record else [], []
        for loop in self.loops:
            if not isinstance(loop, Loop):
                raise TypeError("loops holds Loop only")
            here, whole = loop.normal_atoms(atoms), loop.normal_state(state)
            around = whole[orbits.crystal]
            receiver = loop.bond_own(torch.cat([here, around], dim=1))
            sender = loop.bond_sender(here)
            strength = None if loop.moments is None else loop.moments.of_bonds.weight
            ends = (sender, source, target, loop.bond_weight, receiver)
            bonds, joined, moment = self.update(bonds, *ends, factor, shape, strength, loop.heads, loop.mixing)
            joined = loop.normal_bonds(joined)
            parts = [joined, here, around]
            if moment is not None and loop.moments is not None:
                parts.append(loop.moments(moment))
            new, weights = loop.atom(torch.cat(parts, dim=1))
            atoms = atoms + loop.mixing * new
            means = torch.cat([orbits.mean(joined), orbits.mean(atoms), whole], dim=1)
            state = state + loop.mixing * loop.crystal(means)[0]
            if record:
                stages.append(atoms)
                attention.append(weights.mean(dim=1))
        return Environment(atoms, joined, state, tuple(stages), tuple(attention))

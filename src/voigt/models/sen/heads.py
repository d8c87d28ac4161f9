"""Heads: a scalar as a sum of contributions of atoms, capsules and the whole crystal; symmetry as a class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from voigt.models.linear import Linear
from voigt.models.readout import Readout
from voigt.models.sen.capsules import POSE, Parts
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.segments import Orbits
from voigt.tensors.properties import Property

SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")


@dataclass(frozen=True)
class Scalar:
    """A head's output and what it is the sum of.

    Attributes
    ----------
    value
        (n_crystals,).
    share
        (n_orbits,) share of one atom of each orbit; over the atoms of a crystal they add up to `value`.
    """

    value: Tensor
    share: Tensor


class CapsuleReadout(Readout):
    """A scalar from atoms, part capsules and the crystal's vector.

    Each part n gives p_n (of its pose and features) and q_n = presence_n p_n, as in the released code; instead of two
    linear layers over all of these and the crystal's vector, the terms are added up, so that the output can be split
    into shares of atoms: a part's term goes to its atoms as they formed it, the crystal's to all atoms alike.
    """

    def __init__(self, prop: Property, hypers: SENHypers, positive_only: bool = False) -> None:
        super().__init__(prop, hypers.element_reference)
        width, parts = hypers.width, hypers.part_capsules
        self.positive_only = positive_only
        self.scale: nn.Parameter = nn.Parameter(torch.ones(()), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(1))
        self.normal = nn.LayerNorm(width)
        self.atom = Linear(width, width)
        self.around = Linear(hypers.embedding, width, bias=False)
        self.weight = nn.Parameter(torch.randn(1, width) * width**-0.5)
        self.part = nn.Sequential(Linear(POSE + hypers.part_features, 32), nn.SELU())
        self.part_weight = nn.Parameter(torch.randn(parts, 32) * 0.02)
        self.mixed = nn.Parameter(torch.full((parts, 2), parts**-0.5))
        self.whole = nn.Sequential(Linear(hypers.embedding + hypers.object_width, width), nn.SELU(), Linear(width, 1))

    def forward(
        self, atoms: Tensor, parts: Parts, crystal: Tensor, objects: Tensor, numbers: Tensor, orbits: Orbits
    ) -> Scalar:
        """Vectors of atoms (n_orbits, width), parts, crystals, their objects; numbers of the representatives."""
        part = (self.part(torch.cat([parts.pose, parts.features], dim=-1)) * self.part_weight).sum(dim=-1)
        terms = part * self.mixed[:, 0] + parts.presence * part * self.mixed[:, 1]
        whole = self.whole(torch.cat([crystal, objects], dim=-1))
        hidden = nn.functional.selu(self.atom(self.normal(atoms)) + self.around(crystal)[orbits.crystal])
        of_atoms = hidden @ self.weight.T + whole[orbits.crystal]
        # Per atom, in units of (1 / atoms in the cell): the mean over atoms is the sum of the shares.
        of_parts = (parts.assignment * terms[orbits.crystal]).sum(dim=1, keepdim=True) / orbits.share
        rows = self.scale * (of_atoms + of_parts) + self.bias
        if self.reference is not None:
            rows = rows + self.reference(numbers)
        return Scalar(orbits.mean(rows)[:, 0], (rows * orbits.share / orbits.count)[:, 0])


class SymmetryHead(nn.Module):
    """Crystal system and space group from the crystal's vector and its capsules."""

    def __init__(self, hypers: SENHypers) -> None:
        super().__init__()
        parts = hypers.part_capsules
        self.inner = nn.Sequential(Linear(hypers.embedding + parts * (1 + hypers.part_features), 128), nn.SELU())
        self.system = Linear(128, len(SYSTEMS)) if hypers.crystal_system else None
        self.group = Linear(128, 230) if hypers.space_group else None

    def forward(self, crystal: Tensor, parts: Parts) -> tuple[Tensor | None, Tensor | None]:
        """Logits of the seven systems and of the 230 groups; None for a task that has no weight."""
        hidden = self.inner(torch.cat([crystal, parts.presence, parts.features.flatten(1)], dim=1))
        return (None if self.system is None else self.system(hidden)), (
            None if self.group is None else self.group(hidden)
        )


def gap_of(size: Tensor, metal_logit: Tensor) -> Tensor:
    """Band gap of smallest expected absolute error from the two stages.

    With probability 1 - p the crystal is a metal, gap 0; else the gap is spread around its median `size`. For p <= 1/2
    the median of this mixture is 0; above, it is the (1 - 1/(2p)) quantile of the insulator's gap, which for a gap
    spread evenly between 0 and twice its median is (2 - 1/p) size: `size` for a certain insulator, continuously 0 for
    an uncertain one.

    Parameters
    ----------
    size
        (n_crystals,) gap if it is an insulator, eV; a negative one counts as 0.
    metal_logit
        (n_crystals,) log odds of a metal.
    """
    insulator = torch.sigmoid(-metal_logit).clamp(min=1e-6)
    return size.clamp(min=0.0) * (2.0 - 1.0 / insulator).clamp(min=0.0)

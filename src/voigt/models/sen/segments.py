"""Sums, means and softmax over the atoms of each crystal, on the asymmetric unit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from voigt.graphs import CrystalBatch


@dataclass(frozen=True)
class Orbits:
    """The atoms of a batch, one row per orbit.

    Attributes
    ----------
    crystal
        (n_orbits,) crystal of each orbit.
    count
        (n_orbits, 1) atoms of the orbit.
    share
        (n_orbits, 1) the same over the atoms of the crystal.
    num_crystals
        Crystals in the batch.
    """

    crystal: Tensor
    count: Tensor
    share: Tensor
    num_crystals: int

    def mean(self, rows: Tensor) -> Tensor:
        """(n_orbits, F) -> (n_crystals, F) mean over all atoms."""
        return rows.new_zeros(self.num_crystals, rows.shape[1]).index_add(0, self.crystal, rows * self.share)

    def sum(self, rows: Tensor) -> Tensor:
        """(n_orbits, F) -> (n_crystals, F) sum over orbits, for rows that are weighted already."""
        return rows.new_zeros(self.num_crystals, *rows.shape[1:]).index_add(0, self.crystal, rows)

    def softmax(self, logits: Tensor) -> Tensor:
        """(n_orbits, H) -> weights of the orbits that sum to one over the atoms of each crystal.

        Every atom of an orbit counts: a supercell has the same weights, shared out over more atoms.
        """
        weighted = logits + torch.log(self.share)
        index = self.crystal[:, None].expand_as(weighted)
        top = weighted.detach().new_full((self.num_crystals, weighted.shape[1]), -torch.inf)
        top = top.scatter_reduce(0, index, weighted.detach(), "amax")
        parts = torch.exp(weighted - top[self.crystal])
        return parts / self.sum(parts)[self.crystal]


def orbits_of(batch: CrystalBatch) -> Orbits:
    """Rows of a batch, in its precision."""
    one = batch.cell.new_ones(len(batch.orbit))  # torch.bincount would wait for a device
    count = batch.cell.new_zeros(len(batch.representative)).index_add(0, batch.orbit, one)[:, None]
    count = count.clamp(min=1.0)  # a padded batch has orbits without atoms, which nothing counts
    share = count / batch.num_atoms[batch.orbit_crystal][:, None]
    return Orbits(batch.orbit_crystal, count, share, batch.num_crystals)

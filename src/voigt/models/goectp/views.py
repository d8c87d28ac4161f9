"""A crystal seen in several canonical frames: one copy of it for every frame, with vectors in canonical components."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from voigt.graphs import CrystalBatch


@dataclass(frozen=True)
class Views:
    """Frames through which the crystals of a batch are looked at, in the order of the crystals.

    Attributes
    ----------
    frame
        (n_views, 3, 3) orthogonal Q: vector = Q @ canonical components.
    crystal
        (n_views,) crystal of each view.
    atom
        (n_view_atoms,) atom of the batch that each atom of the views copies.
    atom_view
        (n_view_atoms,) view of each of them.
    single
        Every crystal has exactly one view, so that atoms and edges are those of the batch.
    """

    frame: Tensor
    crystal: Tensor
    atom: Tensor
    atom_view: Tensor
    single: bool

    @property
    def count(self) -> int:
        return len(self.crystal)


def views_of(batch: CrystalBatch, random: bool) -> Views:
    """All frames of the batch, or one of each crystal's frames at random."""
    frame, crystal = batch.frames, batch.frame_crystal
    if len(crystal) == batch.num_crystals:
        atoms = torch.arange(len(batch.numbers), device=crystal.device)
        return Views(frame, crystal, atoms, batch.atom_crystal, single=True)
    if random:
        counts = torch.bincount(crystal, minlength=batch.num_crystals)
        first = torch.cumsum(counts, 0) - counts
        # Drawn on the CPU in any case: the choice must not depend on the device.
        chosen = first + (torch.rand(batch.num_crystals).to(counts.device) * counts).long()
        frame, crystal = frame[chosen], crystal[chosen]
    start = torch.cumsum(batch.num_atoms, 0) - batch.num_atoms
    sizes = batch.num_atoms[crystal]
    single = len(crystal) == batch.num_crystals
    views = torch.arange(len(crystal), device=crystal.device)
    return Views(frame, crystal, ranges(start[crystal], sizes), torch.repeat_interleave(views, sizes), single)


def ranges(start: Tensor, count: Tensor) -> Tensor:
    """start[0], start[0] + 1, ... (count[0] of them), then the same for start[1], ..."""
    end = torch.cumsum(count, 0)
    offset = torch.repeat_interleave(start - (end - count), count)
    return offset + torch.arange(len(offset), device=start.device)


def canonical(batch: CrystalBatch, views: Views) -> CrystalBatch:
    """One copy of each crystal for each of its views, edge vectors in canonical components."""
    if views.single:
        frame = views.frame[batch.orbit_crystal[batch.edge_target]]
        rotation = _conjugated(batch.rotation, views.frame[batch.atom_crystal])
        return replace(batch, edge_vector=_components(batch.edge_vector, frame), rotation=rotation)
    crystals = batch.num_crystals
    orbits = torch.bincount(batch.orbit_crystal, minlength=crystals)
    edge_crystal = batch.orbit_crystal[batch.edge_target]
    edges = torch.bincount(edge_crystal, minlength=crystals)
    starts = [torch.cumsum(n, 0) - n for n in (batch.num_atoms, orbits, edges)]
    sizes = [n[views.crystal] for n in (batch.num_atoms, orbits, edges)]
    orbit_rows, edge_rows = (ranges(starts[k][views.crystal], sizes[k]) for k in (1, 2))
    # What an index moves by when its crystal is copied.
    atom_shift, orbit_shift = (torch.cumsum(sizes[k], 0) - sizes[k] - starts[k][views.crystal] for k in (0, 1))
    atom_view = views.atom_view
    index = torch.arange(views.count, device=orbits.device)
    orbit_view, edge_view = (torch.repeat_interleave(index, sizes[k]) for k in (1, 2))
    return replace(
        batch,
        numbers=batch.numbers[views.atom],
        cell=batch.cell[views.crystal],
        atom_crystal=atom_view,
        orbit_crystal=orbit_view,
        num_atoms=sizes[0],
        representative=batch.representative[orbit_rows] + atom_shift[orbit_view],
        orbit=batch.orbit[views.atom] + orbit_shift[atom_view],
        rotation=_conjugated(None if batch.rotation is None else batch.rotation[views.atom], views.frame[atom_view]),
        edge_source=batch.edge_source[edge_rows] + atom_shift[edge_view],
        edge_target=batch.edge_target[edge_rows] + orbit_shift[edge_view],
        edge_vector=_components(batch.edge_vector[edge_rows], views.frame[edge_view]),
        lattice=batch.lattice[views.crystal],
        functional=tuple(batch.functional[k] for k in views.crystal.tolist()),
        functional_row=None if batch.functional_row is None else batch.functional_row[views.crystal],
        targets={},
    )


def _conjugated(rotation: Tensor | None, frame: Tensor) -> Tensor | None:
    """Operations in canonical axes, Q^T R Q."""
    return None if rotation is None else frame.mT @ rotation @ frame


def _components(vector: Tensor, frame: Tensor) -> Tensor:
    """Canonical components Q^T v."""
    return torch.einsum("eia,ei->ea", frame, vector)

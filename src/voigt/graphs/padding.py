"""Batches that are filled up, so that few different sizes occur."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from voigt.graphs.batch import CrystalBatch

STEPS = 4
"""Numbers of edges between one power of two and the next: at most a fourth is idle. Edges are nearly all of the work;
crystals, atoms and orbits are filled up to powers of two, so that sizes come again soon."""
ELEMENTS = 8
"""Multiples of it bound how many elements a crystal has."""
IDLE_NEIGHBORS = 64
"""Idle edges of an idle orbit, about: whoever sums the edges of a receiver one by one must not wait for these."""


def rounded(size: int, steps: int = 1) -> int:
    """The next power of two, or with `steps` above one (a power of two) the next of so many sizes between two of them.

    Examples
    --------
    >>> [rounded(size) for size in (1, 5, 9, 1000)]
    [1, 8, 16, 1024]
    >>> [rounded(size, 4) for size in (1, 5, 9, 1000)]
    [4, 5, 10, 1024]
    """
    step = _step(size, steps)
    return max(-(-size // step), steps) * step


def rounded_down(size: int, steps: int = 1) -> int:
    """The largest of the same sizes that is not above `size`; smaller than `steps` all sizes count.

    Examples
    --------
    >>> [rounded_down(size, 4) for size in (1, 5, 9, 1000)]
    [1, 5, 8, 896]
    """
    step = _step(size, steps)
    return size // step * step


def _step(size: int, steps: int) -> int:
    step = 1
    while steps * 2 * step <= size:
        step *= 2
    return step


def padded(batch: CrystalBatch) -> CrystalBatch:
    """The batch and idle crystals behind it, of all of them as many atoms, orbits and edges as `rounded` says.

    An idle crystal is one hydrogen atom; the last one takes what is left over. Networks give the others what they give
    them without padding. Canonical axes and labels are not padded: batches that have them are refused.

    Raises
    ------
    ValueError
        The batch has canonical axes or labels.
    """
    if len(batch.frames) or batch.targets:
        raise ValueError("batches with canonical axes or labels are not padded")
    atoms, orbits = len(batch.numbers), len(batch.representative)
    crystals = rounded(batch.num_crystals + 1) - batch.num_crystals
    more_edges = rounded(len(batch.edge_source) + 1, STEPS) - len(batch.edge_source)
    more_orbits = rounded(orbits + max(crystals, more_edges // IDLE_NEIGHBORS)) - orbits
    more_atoms = rounded(atoms + crystals) - atoms
    like, index = batch.cell, batch.numbers
    # The n-th idle crystal has the n-th idle atom and orbit; all further ones belong to the last crystal.
    atom_crystal = torch.arange(more_atoms, device=index.device).clamp(max=crystals - 1)
    orbit_crystal = torch.arange(more_orbits, device=index.device).clamp(max=crystals - 1)
    # Idle edges are shared out to all idle orbits, and come from their representatives: targets go on ascending.
    receiver = torch.arange(more_edges, device=index.device) * more_orbits // more_edges
    counts = torch.ones(crystals, dtype=index.dtype, device=index.device)
    counts[-1] += more_atoms - crystals
    cells = torch.eye(3, dtype=like.dtype, device=like.device).expand(crystals, 3, 3)
    turns = torch.eye(3, dtype=like.dtype, device=like.device).expand(more_atoms, 3, 3)

    def longer(tensor: Tensor, more: Tensor) -> Tensor:
        return torch.cat([tensor, more.to(tensor)])

    def constant(tensor: Tensor, count: int, value: float) -> Tensor:
        return torch.cat([tensor, tensor.new_full((count, *tensor.shape[1:]), value)])

    return replace(
        batch,
        numbers=constant(index, more_atoms, 1),
        cell=longer(batch.cell, cells),
        lattice=longer(batch.lattice, cells),
        atom_crystal=longer(batch.atom_crystal, atom_crystal + batch.num_crystals),
        orbit_crystal=longer(batch.orbit_crystal, orbit_crystal + batch.num_crystals),
        num_atoms=longer(batch.num_atoms, counts),
        representative=longer(batch.representative, orbit_crystal + atoms),
        orbit=longer(batch.orbit, atom_crystal + orbits),
        rotation=None if batch.rotation is None else longer(batch.rotation, turns),
        edge_source=longer(batch.edge_source, orbit_crystal[receiver] + atoms),
        edge_target=longer(batch.edge_target, receiver + orbits),
        edge_vector=constant(batch.edge_vector, more_edges, 1.0),
        functional=batch.functional + (None,) * crystals,
        space_group=constant(batch.space_group, crystals, 0),
        functional_row=None if batch.functional_row is None else constant(batch.functional_row, crystals, 0),
    )


def bounded_elements(batch: CrystalBatch) -> CrystalBatch:
    """The batch with a bound of the elements of a crystal, which is counted on the processor.

    `batch` must still be there.
    """
    kinds = torch.unique(torch.stack([batch.atom_crystal, batch.numbers]), dim=1)[0]
    most = int(torch.bincount(kinds).max()) if len(kinds) else 1
    return replace(batch, most_elements=-(-most // ELEMENTS) * ELEMENTS)

"""Several crystals as one batch of flat tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from voigt.graphs.graph import CrystalGraph


@dataclass(frozen=True)
class CrystalBatch:
    """Several crystals as flat tensors; fields as in CrystalGraph, indices shifted.

    Attributes
    ----------
    atom_crystal
        (n_atoms,) crystal of each atom.
    orbit_crystal
        (n_orbits,) crystal of each representative.
    num_atoms
        (n_crystals,) atoms per crystal.
    frame_crystal, operation_crystal
        (n_frames,), (n_operations,) crystal of each frame and operation.
    functional
        One label per crystal.
    space_group
        (n_crystals,) number of the space group, 0 where symmetry was not searched.
    functional_row
        (n_crystals,) place of each functional among those of the network that the batch is made for; None: the network
        looks `functional` up.
    most_elements
        No crystal has more elements; None: count them.
    """

    numbers: Tensor
    cell: Tensor
    atom_crystal: Tensor
    orbit_crystal: Tensor
    num_atoms: Tensor
    representative: Tensor
    orbit: Tensor
    rotation: Tensor | None
    edge_source: Tensor
    edge_target: Tensor
    edge_vector: Tensor
    lattice: Tensor
    frames: Tensor
    frame_crystal: Tensor
    operations: Tensor
    operation_crystal: Tensor
    functional: tuple[str | None, ...]
    targets: Mapping[str, Tensor]
    space_group: Tensor
    functional_row: Tensor | None = None
    most_elements: int | None = None

    @property
    def num_crystals(self) -> int:
        return len(self.num_atoms)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> CrystalBatch:
        """Move every tensor to `device` and every floating tensor to `dtype`."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)

        changed: dict[str, Any] = {name: move(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        changed["targets"] = {name: move(value) for name, value in self.targets.items()}
        return replace(self, **changed)


def collate(graphs: Sequence[CrystalGraph]) -> CrystalBatch:
    """Join crystals into one batch. Labels must have the same names in all of them.

    Examples
    --------
    >>> from voigt.graphs.graph import build_graph
    >>> from voigt.structures import read_one
    >>> batch = collate([build_graph(read_one(f"examples/{name}"), 4.0) for name in ("MgO.vasp", "ZnO.cif")])
    >>> batch.num_atoms.tolist(), batch.atom_crystal.tolist()
    ([2, 4], [0, 0, 1, 1, 1, 1])
    """
    num_atoms = torch.tensor([graph.num_atoms for graph in graphs])
    num_orbits = torch.tensor([len(graph.representative) for graph in graphs])
    atom_start = torch.cumsum(num_atoms, 0) - num_atoms
    orbit_start = torch.cumsum(num_orbits, 0) - num_orbits
    crystals = torch.arange(len(graphs))
    num_frames = torch.tensor([len(graph.frames) for graph in graphs])
    num_operations = torch.tensor([len(graph.operations) for graph in graphs])

    def join(name: str, start: Tensor | None = None) -> Tensor:
        parts = [getattr(graph, name) for graph in graphs]
        if start is not None:
            parts = [part + shift for part, shift in zip(parts, start, strict=True)]
        return torch.cat(parts)

    rotation = None
    if any(graph.rotation is not None for graph in graphs):
        identity = torch.eye(3, dtype=graphs[0].cell.dtype)
        rotation = torch.cat([identity.expand(g.num_atoms, 3, 3) if g.rotation is None else g.rotation for g in graphs])
    return CrystalBatch(
        numbers=join("numbers"),
        cell=torch.stack([graph.cell for graph in graphs]),
        atom_crystal=torch.repeat_interleave(crystals, num_atoms),
        orbit_crystal=torch.repeat_interleave(crystals, num_orbits),
        num_atoms=num_atoms,
        representative=join("representative", atom_start),
        orbit=join("orbit", orbit_start),
        rotation=rotation,
        edge_source=join("edge_source", atom_start),
        edge_target=join("edge_target", orbit_start),
        edge_vector=join("edge_vector"),
        lattice=torch.stack([graph.lattice for graph in graphs]),
        frames=join("frames"),
        frame_crystal=torch.repeat_interleave(crystals, num_frames),
        operations=join("operations"),
        operation_crystal=torch.repeat_interleave(crystals, num_operations),
        functional=tuple(graph.functional for graph in graphs),
        targets={name: torch.cat([graph.targets[name] for graph in graphs]) for name in graphs[0].targets},
        space_group=torch.tensor([graph.space_group for graph in graphs]),
    )


MAX_EDGES = 20_000
"""Edges of a batch on a CPU where nothing else is said."""


def pack(num_edges: Sequence[int], max_edges: int) -> list[list[int]]:
    """Group consecutive crystals so that no batch exceeds an edge budget (a larger crystal gets its own batch).

    Examples
    --------
    >>> pack([40, 50, 20, 300, 10], 100)
    [[0, 1], [2], [3], [4]]
    """
    batches: list[list[int]] = []
    used = 0
    for index, count in enumerate(num_edges):
        if not batches or used + count > max_edges:
            batches.append([])
            used = 0
        batches[-1].append(index)
        used += count
    return batches

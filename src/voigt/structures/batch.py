"""Crystals as tensors: graphs of single crystals and flat batches of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ase
import numpy as np
import torch
from torch import Tensor

from voigt.structures.neighbors import neighbor_list
from voigt.structures.symmetry import Symmetry


@dataclass(frozen=True)
class CrystalGraph:
    """One crystal with its neighbours, ready to be batched.

    Only one atom of every orbit (`representative`) receives messages; the features of the others follow by the
    symmetry operation that maps the representative onto them. Without symmetry every atom represents itself.

    Attributes
    ----------
    numbers
        (n_atoms,) atomic numbers.
    cell
        (3, 3) rows are lattice vectors, Angstrom.
    representative
        (n_orbits,) atom index of each orbit's representative.
    orbit
        (n_atoms,) row of `representative` that stands for each atom.
    rotation
        (n_atoms, 3, 3) Cartesian operation from the representative to the atom; None if every atom is its own.
    edge_source, edge_target
        (n_edges,) sending atom, and receiving orbit, in ascending order of the receivers (networks rely on it).
    edge_vector
        (n_edges, 3) r_source - r_target, Angstrom.
    functional
        Label of the functional whose response is asked for or labelled; None if unknown.
    targets
        Property name -> Cartesian tensor, (n_atoms, ...) or (1, ...); NaN where a label is absent.
    """

    numbers: Tensor
    cell: Tensor
    representative: Tensor
    orbit: Tensor
    rotation: Tensor | None
    edge_source: Tensor
    edge_target: Tensor
    edge_vector: Tensor
    functional: str | None = None
    targets: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def num_atoms(self) -> int:
        return len(self.numbers)

    @property
    def num_edges(self) -> int:
        return len(self.edge_source)


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
    functional
        One label per crystal.
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
    functional: tuple[str | None, ...]
    targets: Mapping[str, Tensor]

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


def build_graph(
    atoms: ase.Atoms,
    cutoff: float,
    mic: bool = False,
    symmetry: Symmetry | None = None,
    functional: str | None = None,
    targets: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
) -> CrystalGraph:
    """Neighbours of one crystal as tensors.

    Parameters
    ----------
    atoms
        A checked crystal.
    cutoff, mic
        As in `neighbor_list`.
    symmetry
        When given, edges are kept only towards one atom of each orbit: about a third of them in typical crystals.
        The result of a model is the same up to the tolerance with which the operations hold.
    functional
        Label of the functional, e.g. "PBEsol".
    targets
        Labels, see CrystalGraph.
    dtype
        Floating type of the tensors.
    """
    pairs = neighbor_list(atoms, cutoff, mic)
    count = len(atoms)
    if symmetry is None or len(np.unique(symmetry.orbits)) == count:
        representative, orbit, rotation = np.arange(count), np.arange(count), None
        source, target, vector = pairs.source, pairs.target, pairs.vector
    else:
        representative, orbit = np.unique(symmetry.orbits, return_inverse=True)
        rotation = torch.as_tensor(symmetry.orbit_rotations, dtype=dtype)
        keep = symmetry.orbits[pairs.target] == pairs.target
        source, target, vector = pairs.source[keep], orbit[pairs.target[keep]], pairs.vector[keep]
    return CrystalGraph(
        numbers=torch.tensor(atoms.numbers, dtype=torch.int64),
        cell=torch.tensor(atoms.cell.array, dtype=dtype),
        representative=torch.as_tensor(representative),
        orbit=torch.as_tensor(orbit),
        rotation=rotation,
        edge_source=torch.as_tensor(source),
        edge_target=torch.as_tensor(target),
        edge_vector=torch.as_tensor(vector, dtype=dtype),
        functional=functional,
        targets={} if targets is None else targets,
    )


def collate(graphs: Sequence[CrystalGraph]) -> CrystalBatch:
    """Join crystals into one batch. Labels must have the same names in all of them."""
    num_atoms = torch.tensor([graph.num_atoms for graph in graphs])
    num_orbits = torch.tensor([len(graph.representative) for graph in graphs])
    atom_start = torch.cumsum(num_atoms, 0) - num_atoms
    orbit_start = torch.cumsum(num_orbits, 0) - num_orbits
    crystals = torch.arange(len(graphs))

    def join(name: str, start: Tensor | None = None) -> Tensor:
        parts = [getattr(graph, name) for graph in graphs]
        if start is not None:
            parts = [part + shift for part, shift in zip(parts, start, strict=True)]
        return torch.cat(parts)

    rotation = None
    if any(graph.rotation is not None for graph in graphs):
        identity = torch.eye(3, dtype=graphs[0].cell.dtype)
        rotation = torch.cat(
            [identity.expand(g.num_atoms, 3, 3) if g.rotation is None else g.rotation for g in graphs]
        )
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
        functional=tuple(graph.functional for graph in graphs),
        targets={name: torch.cat([graph.targets[name] for graph in graphs]) for name in graphs[0].targets},
    )


def pack(graphs: Sequence[CrystalGraph], max_edges: int) -> list[list[int]]:
    """Group consecutive crystals so that no batch exceeds an edge budget (a larger crystal gets its own batch)."""
    batches: list[list[int]] = []
    used = 0
    for index, graph in enumerate(graphs):
        if not batches or used + graph.num_edges > max_edges:
            batches.append([])
            used = 0
        batches[-1].append(index)
        used += graph.num_edges
    return batches

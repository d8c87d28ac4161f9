"""Crystals as tensors: graphs of single crystals and flat batches of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import ase
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voigt.graphs.canonical_axes import canonical_frames
from voigt.graphs.neighbors import neighbor_list
from voigt.structures.symmetry import Symmetry
from voigt.structures.symmetry.lattices import standard_lattice

LATTICE_STRAIN = 1e-3
"""Smallest strain by which a lattice may miss its symmetry: frames of relaxed cells need not split for less."""


@dataclass(frozen=True)
class FrameOptions:
    """Which canonical frames a graph carries.

    Attributes
    ----------
    mode
        "none": the axes of the input cell; "single": one frame; "average": those of all equivalent lattice vectors.
    cell
        Lattice vectors that define the frame: as given, Niggli-reduced, or of the primitive cell, Niggli-reduced.
    reduce
        Whether the network may work on the asymmetric unit.
    cosets
        In mode "average": leave out frames that a symmetry operation of the crystal makes from another one; the
        operations then finish the mean (tensors of whole crystals only).
    symprec
        Tolerance of the search for the primitive cell, Angstrom.
    """

    mode: Literal["none", "single", "average"]
    cell: Literal["none", "niggli", "primitive"]
    reduce: bool = False
    cosets: bool = True
    symprec: float = 1e-3


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
    lattice
        (3, 3) rows are lattice vectors in canonical axes (the symmetric H of L = QH), Angstrom; the cell itself
        without frames.
    frames
        (n_frames, 3, 3) orthogonal Q: a vector is Q times its canonical components; empty without frames.
    operations
        (n_operations, 3, 3) point operations that finish the mean over frames; empty if there is nothing to finish.
    functional
        Label of the functional whose response is asked for or labelled; None if unknown.
    targets
        Property name -> Cartesian tensor, (n_atoms, ...) or (1, ...); NaN where a label is absent.
    warnings
        Sentences on frames that react to small changes of the cell.
    space_group
        Number of the space group (1 to 230); 0 if symmetry was not searched.
    """

    numbers: Tensor
    cell: Tensor
    representative: Tensor
    orbit: Tensor
    rotation: Tensor | None
    edge_source: Tensor
    edge_target: Tensor
    edge_vector: Tensor
    lattice: Tensor
    frames: Tensor
    operations: Tensor
    functional: str | None = None
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    space_group: int = 0

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
    frame_crystal, operation_crystal
        (n_frames,), (n_operations,) crystal of each frame and operation.
    functional
        One label per crystal.
    space_group
        (n_crystals,) number of the space group, 0 where symmetry was not searched.
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
    frame: FrameOptions | None = None,
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
    frame
        Canonical frames to find; None: none.

    Raises
    ------
    InputError
        The cell has no canonical frame (it is singular, or no primitive cell is found).
    """
    pairs = neighbor_list(atoms, cutoff, mic)
    count = len(atoms)
    whole = frame is not None and not frame.reduce
    if symmetry is None or whole or len(np.unique(symmetry.orbits)) == count:
        representative, orbit, rotation = np.arange(count), np.arange(count), None
        source, target, vector = pairs.source, pairs.target, pairs.vector
    else:
        representative, orbit = np.unique(symmetry.orbits, return_inverse=True)
        rotation = torch.as_tensor(symmetry.orbit_rotations, dtype=dtype)
        keep = symmetry.orbits[pairs.target] == pairs.target
        source, target, vector = pairs.source[keep], orbit[pairs.target[keep]], pairs.vector[keep]
    cell, none = torch.tensor(atoms.cell.array, dtype=dtype), torch.empty((0, 3, 3), dtype=dtype)
    graph = CrystalGraph(
        numbers=torch.tensor(atoms.numbers, dtype=torch.int64),
        cell=cell,
        representative=torch.as_tensor(representative),
        orbit=torch.as_tensor(orbit),
        rotation=rotation,
        edge_source=torch.as_tensor(source),
        edge_target=torch.as_tensor(target),
        edge_vector=torch.as_tensor(vector, dtype=dtype),
        lattice=cell,
        frames=none,
        operations=none,
        functional=functional,
        targets={} if targets is None else targets,
        space_group=0 if symmetry is None else symmetry.number,
    )
    return graph if frame is None else with_frames(graph, atoms, frame, symmetry)


def with_frames(
    graph: CrystalGraph, atoms: ase.Atoms, options: FrameOptions, symmetry: Symmetry | None
) -> CrystalGraph:
    """The graph of a crystal with canonical frames added; several networks may share all the rest.

    Raises
    ------
    InputError
        The cell has no canonical frame (it is singular, or no primitive cell is found).
    """
    lattice, frames, operations, warnings = _frames(atoms, options, symmetry)
    dtype = graph.cell.dtype
    return replace(
        graph,
        lattice=torch.as_tensor(lattice, dtype=dtype),
        frames=torch.as_tensor(frames, dtype=dtype),
        operations=torch.as_tensor(operations, dtype=dtype),
        warnings=warnings,
    )


def _frames(
    atoms: ase.Atoms, options: FrameOptions, symmetry: Symmetry | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], tuple[str, ...]]:
    """Lattice in canonical axes, frames, operations that finish their mean, and what is to be said of them."""
    none = np.empty((0, 3, 3))
    known = None if symmetry is None or symmetry.symprec != options.symprec else symmetry.primitive
    lattice = standard_lattice(atoms, options.cell, options.symprec, known)
    if options.mode == "none":
        return lattice, np.eye(3)[None], none, ()
    group = None if symmetry is None or not options.cosets else symmetry.rotations
    # A lattice must be granted the operations that the crystal was granted with this tolerance.
    strain = max(LATTICE_STRAIN, options.symprec / abs(float(np.linalg.det(lattice))) ** (1 / 3))
    found = canonical_frames(lattice, options.mode, group, strain)
    operations = found.operations if options.mode == "average" else none
    return found.stretch, found.rotations, operations, found.warnings


def collate(graphs: Sequence[CrystalGraph]) -> CrystalBatch:
    """Join crystals into one batch. Labels must have the same names in all of them."""
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
        lattice=torch.stack([graph.lattice for graph in graphs]),
        frames=join("frames"),
        frame_crystal=torch.repeat_interleave(crystals, num_frames),
        operations=join("operations"),
        operation_crystal=torch.repeat_interleave(crystals, num_operations),
        functional=tuple(graph.functional for graph in graphs),
        targets={name: torch.cat([graph.targets[name] for graph in graphs]) for name in graphs[0].targets},
        space_group=torch.tensor([graph.space_group for graph in graphs]),
    )


def pack(num_edges: Sequence[int], max_edges: int) -> list[list[int]]:
    """Group consecutive crystals so that no batch exceeds an edge budget (a larger crystal gets its own batch)."""
    batches: list[list[int]] = []
    used = 0
    for index, count in enumerate(num_edges):
        if not batches or used + count > max_edges:
            batches.append([])
            used = 0
        batches[-1].append(index)
        used += count
    return batches

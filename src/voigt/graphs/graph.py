"""One crystal as tensors: neighbors, orbits, canonical axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import ase
import numpy as np
import torch
from torch import Tensor

from voigt.graphs.canonical_axes import AxesOptions, canonical_axes
from voigt.graphs.neighbors import neighbor_list
from voigt.notes import Note
from voigt.structures.symmetry import Symmetry
from voigt.structures.symmetry.lattices import standard_lattice

LATTICE_STRAIN = 1e-3
"""Lattices may miss their symmetry by this strain at least, so that relaxed cells do not get other frames."""


@dataclass(frozen=True)
class CrystalGraph:
    """One crystal with its neighbors, ready to be batched.

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
        Label of the functional of the response that is predicted or labeled; None if unknown.
    targets
        Property name -> Cartesian tensor, (n_atoms, ...) or (1, ...); NaN where a label is absent.
    notes
        On canonical axes that react to small changes of the cell.
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
    notes: tuple[Note, ...] = ()
    space_group: int = 0

    @property
    def num_atoms(self) -> int:
        return len(self.numbers)

    @property
    def num_edges(self) -> int:
        return len(self.edge_source)


def build_graph(
    atoms: ase.Atoms,
    cutoff: float,
    mic: bool = False,
    symmetry: Symmetry | None = None,
    functional: str | None = None,
    targets: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
    frame: AxesOptions | None = None,
) -> CrystalGraph:
    """Neighbors of one crystal as tensors.

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
        Canonical axes to find; None: none.

    Raises
    ------
    InputError
        The cell has no canonical axes (it is singular, or no primitive cell is found).

    Examples
    --------
    >>> from voigt.structures import read_one
    >>> from voigt.structures.symmetry import find_symmetry
    >>> atoms = read_one("examples/NaCl.cif")
    >>> graph = build_graph(atoms, 4.0, symmetry=find_symmetry(atoms))
    >>> graph.num_atoms, len(graph.representative), graph.num_edges
    (8, 2, 36)
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
    return graph if frame is None else with_axes(graph, atoms, frame, symmetry)


def with_axes(graph: CrystalGraph, atoms: ase.Atoms, options: AxesOptions, symmetry: Symmetry | None) -> CrystalGraph:
    """The graph of a crystal with canonical axes added; several networks may share all the rest.

    Raises
    ------
    InputError
        The cell has no canonical axes (it is singular, or no primitive cell is found).
    """
    dtype = graph.cell.dtype
    primitive = None if symmetry is None or symmetry.symprec != options.symprec else symmetry.primitive
    lattice = standard_lattice(atoms, options.cell, options.symprec, primitive)
    if options.mode == "none":  # the axes of the input cell are the only frame
        return replace(graph, lattice=torch.as_tensor(lattice, dtype=dtype), frames=torch.eye(3, dtype=dtype)[None])
    group = None if symmetry is None or not options.cosets else symmetry.rotations
    # A lattice must be granted the operations that the crystal was granted with this tolerance.
    strain = max(LATTICE_STRAIN, options.symprec / abs(float(np.linalg.det(lattice))) ** (1 / 3))
    axes = canonical_axes(lattice, options.mode, group, strain)
    operations = axes.operations if options.mode == "average" else np.empty((0, 3, 3))
    return replace(
        graph,
        lattice=torch.as_tensor(axes.stretch, dtype=dtype),
        frames=torch.as_tensor(axes.rotations, dtype=dtype),
        operations=torch.as_tensor(operations, dtype=dtype),
        notes=tuple(Note("canonical_axes", text) for text in axes.warnings),
    )

"""Empty space in a cell: sheets, slabs, wires and molecules that are kept apart by vacuum."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

MINIMUM_GAP = 1.5
"""Angstrom between the van der Waals surfaces on both sides of an empty layer. In a crystal layers touch: among the
16,000 of benchmarks/accuracy/vacuum.py the widest layer without vacuum has 1.25. Six Angstrom between the outer atoms
of slabs leave 1.6 or more."""
MOST_PACKED = 0.3
"""Share of the cell inside of van der Waals spheres (overlaps counted twice) below which wires and molecules are apart;
molecules in a crystal fill about 0.7 or more."""
BONDED = 1.25
"""Atoms closer than this many sums of covalent radii are bonded."""
LARGEST_RADIUS = 2.2
"""Angstrom; the radii of the large cations were found between molecules and are too large for ions."""
MOST_INDEX, MOST_LAYERS = 6, 64
"""Largest index of a layer and number of layers that are looked at, so that huge cells stay quick."""
NAMES = ("molecules or clusters", "wires", "a sheet or slab")


@dataclass(frozen=True)
class Vacuum:
    """Vacuum in a cell and what it surrounds.

    Attributes
    ----------
    dimension
        Directions in which atoms that touch go on without end: 0 for molecules, 1 for wires, 2 for sheets and slabs.
    normal
        (3,) unit vector across the widest empty layer.
    height
        Repeat of the cell along `normal`, Angstrom.
    gap
        Width of that layer between van der Waals surfaces, Angstrom; the rest of `height` is filled.
    packed
        Share of the cell that is inside of van der Waals spheres.
    """

    dimension: int
    normal: NDArray[np.float64]
    height: float
    gap: float
    packed: float

    @property
    def thickness(self) -> float:
        """What the layer takes of `height` with its van der Waals surfaces, Angstrom."""
        return self.height - self.gap

    @property
    def text(self) -> str:
        """What the cell holds, for the middle of a sentence."""
        if self.gap < MINIMUM_GAP:
            return f"{NAMES[self.dimension]} in vacuum, atoms take {100 * self.packed:.0f} % of the cell"
        return f"{NAMES[self.dimension]} with {self.gap:.1f} Angstrom of vacuum"


def find_vacuum(atoms: ase.Atoms) -> Vacuum | None:
    """Vacuum in the cell of a checked crystal, or None.

    A cell holds vacuum if an empty layer of more than `MINIMUM_GAP` goes through it, or if nothing in it is bonded in
    more than one direction and atoms take less than `MOST_PACKED` of it. Layers and molecules of a crystal touch, and
    the pores of a framework are no vacuum.

    Examples
    --------
    >>> from ase.build import mx2
    >>> sheet = mx2("MoS2", vacuum=8.0)
    >>> sheet.pbc = True
    >>> vacuum = find_vacuum(sheet)
    >>> vacuum.text, round(vacuum.thickness, 1)
    ('a sheet or slab with 12.2 Angstrom of vacuum', 7.0)
    """
    radii = _radii(atoms.numbers)
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    packed = float((4.0 / 3.0 * np.pi * radii**3).sum()) / volume
    gaps, vectors = _empty_layers(atoms, radii)
    widest = int(np.argmax(gaps))
    gap, height = float(gaps[widest]), 1.0 / float(np.linalg.norm(vectors[widest]))
    if gap >= MINIMUM_GAP:
        dimension = 3 - int(np.linalg.matrix_rank(vectors[gaps >= MINIMUM_GAP]))
    elif packed >= MOST_PACKED or (dimension := bonded_dimension(atoms)) > 1:
        return None
    return Vacuum(dimension, vectors[widest] * height, height, gap, packed)


def bonded_dimension(atoms: ase.Atoms) -> int:
    """Number of independent directions in which the bonds of a crystal go on without end, of the best connected part.

    Examples
    --------
    >>> from voigt.structures import read_one
    >>> bonded_dimension(read_one("examples/MgO.vasp"))
    3
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components

    first, second, shift = _bonds(atoms)
    count = len(atoms)
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(count, count)).tocsr()
    parts, part = connected_components(graph, directed=False)
    # Positions of atoms in cells of their own part: along a tree of bonds the part is whole; a bond that leaves this
    # tree by a lattice vector leads from the part to an image of itself.
    offset = np.zeros((count, 3), dtype=np.int64)
    along = {}
    for i, j, s in zip(first.tolist(), second.tolist(), shift, strict=True):
        along[i, j] = s
    for label in range(parts):
        root = int(np.argmax(part == label))
        order, before = breadth_first_order(graph, root, directed=False)
        for atom in order[1:].tolist():
            other = int(before[atom])
            offset[atom] = offset[other] + along[other, atom]
    loops = offset[first] + shift - offset[second]
    keep = loops.any(axis=1)
    best = 0
    for label in np.unique(part[first[keep]]):
        vectors = np.unique(loops[keep & (part[first] == label)], axis=0)
        best = max(best, int(np.linalg.matrix_rank(vectors)))
    return best


def _bonds(atoms: ase.Atoms) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Bonded pairs in both directions, with the lattice vector from the cell of the first to that of the second."""
    from ase.data import covalent_radii
    from vesin import NeighborList

    reach = covalent_radii[atoms.numbers]
    i, j, shift, distance = NeighborList(cutoff=2 * BONDED * float(reach.max()), full_list=True, n_threads=1).compute(
        points=np.ascontiguousarray(atoms.positions, dtype=np.float64),
        box=np.ascontiguousarray(atoms.cell.array, dtype=np.float64),
        periodic=True,
        quantities="ijSd",
    )
    i, j = i.astype(np.int64), j.astype(np.int64)
    bonded = distance < BONDED * (reach[i] + reach[j])
    return i[bonded], j[bonded], shift[bonded].astype(np.int64)


def _empty_layers(atoms: ase.Atoms, radii: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Width of the widest empty layer across each short reciprocal lattice vector, Angstrom, and these vectors.

    The width is negative where spheres overlap. Only periods that hold the layer and an atom are looked at.
    """
    reciprocal = np.linalg.inv(atoms.cell.array).T
    vectors = _short_vectors(atoms.cell.array, reciprocal, 1.0 / (MINIMUM_GAP + 2 * float(radii.min())))
    if not len(vectors):
        return np.array([-np.inf]), reciprocal[:1]
    height = 1.0 / np.linalg.norm(vectors, axis=1)
    place = (atoms.positions @ vectors.T) % 1.0 * height
    low, high = place - radii[:, None], place + radii[:, None]
    order = np.argsort(low, axis=0)
    low, high = np.take_along_axis(low, order, axis=0), np.take_along_axis(high, order, axis=0)
    # Twice the period, since the spheres of one end reach around to the other.
    low, high = np.concatenate([low, low + height]), np.concatenate([high, high + height])
    covered = np.maximum.accumulate(high, axis=0)
    return (low[len(atoms) :] - covered[len(atoms) - 1 : -1]).max(axis=0), vectors


def _short_vectors(cell: NDArray[np.float64], reciprocal: NDArray[np.float64], longest: float) -> NDArray[np.float64]:
    """Reciprocal lattice vectors up to a length, one of each line, the shortest MOST_LAYERS."""
    bounds = np.minimum(np.linalg.norm(cell, axis=1) * longest, MOST_INDEX).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-b, b + 1) for b in bounds), indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid[len(grid) // 2 + 1 :]  # one of each pair of opposite vectors, without zero
    grid = grid[np.gcd.reduce(grid, axis=1) == 1]
    vectors = grid @ reciprocal
    length = np.linalg.norm(vectors, axis=1)
    order = np.argsort(length)
    return np.asarray(vectors[order[length[order] <= longest][:MOST_LAYERS]])


def _radii(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    from ase.data.vdw_alvarez import vdw_radii

    known = vdw_radii[np.minimum(numbers, len(vdw_radii) - 1)]  # up to Lr; no radius is known of the last ones
    return np.asarray(np.nan_to_num(known, nan=LARGEST_RADIUS)).clip(max=LARGEST_RADIUS)

"""Labeled graphs that stay on a device: batches are put together there, by index, without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voigt.errors import RecipeError
from voigt.graphs import CrystalBatch, CrystalGraph, collate
from voigt.tensors.properties import PROPERTIES

AXES = ("atoms", "orbits", "edges")


@dataclass(frozen=True)
class BatchShape:
    """How many atoms, orbits and edges a padded batch has; what its crystals leave free belongs to an idle crystal."""

    atoms: int
    orbits: int
    edges: int


class ResidentGraphs:
    """Graphs of many crystals as flat tensors on one device.

    Parameters
    ----------
    graphs
        With labels; all of them are copied.
    functionals
        Those of the network; empty if it is not conditioned on any.
    device
        Where they stay.

    Raises
    ------
    RecipeError
        The graphs have canonical axes, whose number varies from crystal to crystal.

    Attributes
    ----------
    sizes
        Axis name -> (n_graphs,) how many "atoms", "orbits", "edges" each graph has, on the host.
    """

    def __init__(self, graphs: Sequence[CrystalGraph], functionals: tuple[str, ...], device: torch.device) -> None:
        joined = collate([*graphs, _idle(graphs[0])])
        if len(joined.frames):
            raise RecipeError("networks with canonical axes are trained without --device and --seconds")
        crystals, count = joined.num_crystals, torch.bincount
        counts = {
            "atoms": joined.num_atoms,
            "orbits": count(joined.orbit_crystal, minlength=crystals),
            "edges": count(joined.orbit_crystal[joined.edge_target], minlength=crystals),
        }
        starts = {axis: torch.cumsum(number, 0) - number for axis, number in counts.items()}
        edge_crystal = joined.orbit_crystal[joined.edge_target]
        # Indices inside each crystal; a batch adds where the crystal begins.
        local = replace(
            joined,
            representative=joined.representative - starts["atoms"][joined.orbit_crystal],
            orbit=joined.orbit - starts["orbits"][joined.atom_crystal],
            edge_source=joined.edge_source - starts["atoms"][edge_crystal],
            edge_target=joined.edge_target - starts["orbits"][edge_crystal],
            functional_row=_functional_rows(joined.functional, functionals),
        )
        self.device = device
        self.idle = len(graphs)
        kinds = np.unique(np.stack([joined.atom_crystal.numpy(), joined.numbers.numpy()]), axis=1)[0]
        self.most_elements = int(np.bincount(kinds).max())
        self.sizes: dict[str, NDArray[np.int64]] = {axis: number[:-1].numpy() for axis, number in counts.items()}
        self._all = local.to(device)
        self._row = None if local.functional_row is None else local.functional_row.to(device)
        self._count = {axis: number.to(device) for axis, number in counts.items()}
        self._start = {axis: number.to(device) for axis, number in starts.items()}

    def __len__(self) -> int:
        return self.idle

    def batch(self, chosen: Tensor, shape: BatchShape) -> CrystalBatch:
        """Crystals as one batch of a fixed shape, for which nothing is asked of the device.

        Parameters
        ----------
        chosen
            (n_crystals,) which graphs, on the device.
        shape
            One atom and one orbit more at least than the crystals have together, and no fewer edges.

        Returns
        -------
        CrystalBatch
            Of n_crystals + 1: the last is idle, has no label, and takes the atoms, orbits and edges left over.
        """
        crystals = torch.cat([chosen, torch.full_like(chosen[:1], self.idle)])
        atom, atom_crystal, first_atom = self._places("atoms", chosen, crystals, shape.atoms)
        orbit, orbit_crystal, first_orbit = self._places("orbits", chosen, crystals, shape.orbits)
        edge, edge_crystal, _ = self._places("edges", chosen, crystals, shape.edges)
        graphs, cell = self._all, self._all.cell[crystals]
        targets = {
            name: label[atom if PROPERTIES[name].per == "atom" else crystals] for name, label in graphs.targets.items()
        }
        left = shape.atoms - first_atom[-1:]
        return CrystalBatch(
            numbers=graphs.numbers[atom],
            cell=cell,
            atom_crystal=atom_crystal,
            orbit_crystal=orbit_crystal,
            num_atoms=torch.cat([self._count["atoms"][chosen], left]),
            representative=graphs.representative[orbit] + first_atom[orbit_crystal],
            orbit=graphs.orbit[atom] + first_orbit[atom_crystal],
            rotation=None if graphs.rotation is None else graphs.rotation[atom],
            edge_source=graphs.edge_source[edge] + first_atom[edge_crystal],
            edge_target=graphs.edge_target[edge] + first_orbit[edge_crystal],
            edge_vector=graphs.edge_vector[edge],
            lattice=cell,
            frames=cell[:0],
            frame_crystal=chosen[:0],
            operations=cell[:0],
            operation_crystal=chosen[:0],
            functional=(None,) * len(crystals),
            targets=targets,
            space_group=graphs.space_group[crystals],
            functional_row=None if self._row is None else self._row[crystals],
            most_elements=self.most_elements,
        )

    def _places(self, axis: str, chosen: Tensor, crystals: Tensor, total: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the flat tensors, crystal of the batch they belong to, and where each crystal begins in the batch."""
        ends = torch.cumsum(self._count[axis][chosen], 0)
        first = torch.cat([torch.zeros_like(ends[:1]), ends])
        place = torch.arange(total, device=self.device)
        crystal = torch.searchsorted(ends, place, right=True)
        inside = torch.where(crystal < len(chosen), place - first[crystal], 0)
        return self._start[axis][crystals][crystal] + inside, crystal, first

    def need(self, chosen: NDArray[np.int64]) -> BatchShape:
        """The smallest shape that holds some graphs."""
        atoms, orbits, edges = (int(self.sizes[axis][chosen].sum()) for axis in AXES)
        return BatchShape(atoms + 1, orbits + 1, max(edges, 1))


def _idle(like: CrystalGraph) -> CrystalGraph:
    """A crystal of one atom with one neighbor and without labels."""
    kind = like.cell.dtype
    none, zero = torch.empty((0, 3, 3), dtype=kind), torch.zeros(1, dtype=torch.int64)
    unlabeled = {
        name: torch.full((1, *label.shape[1:]), torch.nan, dtype=label.dtype) for name, label in like.targets.items()
    }
    return CrystalGraph(
        numbers=zero + 1,
        cell=torch.eye(3, dtype=kind),
        representative=zero,
        orbit=zero,
        rotation=None,
        edge_source=zero,
        edge_target=zero,
        edge_vector=torch.ones((1, 3), dtype=kind),
        lattice=torch.eye(3, dtype=kind),
        frames=none,
        operations=none,
        targets=unlabeled,
    )


def _functional_rows(given: Sequence[str | None], known: tuple[str, ...]) -> Tensor | None:
    """(n_crystals,) place of each functional among the known ones, 0 where none is stated."""
    if not known:
        return None
    return torch.tensor([0 if name is None else known.index(name) for name in given])


def batch_shapes(graphs: ResidentGraphs, batch_size: int, seed: int, count: int = 6) -> list[BatchShape]:
    """A few shapes, ascending, that hold nearly all random batches; what they do not hold is computed without padding.

    Each is the largest need of some thousand batches times a factor; the smallest factor serves the smallest batch.
    """
    random = np.random.default_rng(seed)
    chosen = random.integers(0, len(graphs), (2000, batch_size))
    need = {axis: graphs.sizes[axis][chosen].sum(axis=1) for axis in AXES}
    largest = {axis: float(total.max()) for axis, total in need.items()}
    # What decides is the axis on which a batch is fullest.
    fullness = np.max([need[axis] / largest[axis] for axis in AXES], axis=0)
    factors = np.quantile(fullness, np.linspace(0.0, 1.0, count + 1)[1:])
    return [BatchShape(*(int(np.ceil(factor * largest[axis])) + 1 for axis in AXES)) for factor in factors]


def fitting(shapes: Sequence[BatchShape], need: BatchShape) -> BatchShape | None:
    """The smallest shape that holds a batch; None if none does."""
    for shape in shapes:
        if shape.atoms >= need.atoms and shape.orbits >= need.orbits and shape.edges >= need.edges:
            return shape
    return None

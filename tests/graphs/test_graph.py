"""Graphs of single crystals: all edges, or those into one atom of each orbit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests import crystals

from voigt.graphs import build_graph, neighbor_list
from voigt.structures.symmetry import find_symmetry

CUTOFF = 4.0
STRUCTURES = [
    crystals.nameless(),
    crystals.rocksalt(cubic=True),
    crystals.quartz(),
    crystals.cesium_chloride(),
    crystals.perovskite().repeat((2, 1, 1)),
]


@pytest.mark.parametrize("atoms", STRUCTURES, ids=lambda atoms: str(atoms.symbols))
def test_reduced_edges_are_the_edges_into_representatives(atoms):
    symmetry = find_symmetry(atoms)
    pairs = neighbor_list(atoms, CUTOFF)
    graph = build_graph(atoms, CUTOFF, symmetry=symmetry, dtype=torch.float64)
    representatives = np.unique(symmetry.orbits)
    assert graph.representative.tolist() == representatives.tolist()
    into = np.isin(pairs.target, representatives)
    assert graph.num_edges == into.sum()
    assert torch.equal(graph.representative[graph.edge_target], torch.as_tensor(pairs.target[into]))
    assert torch.equal(graph.edge_source, torch.as_tensor(pairs.source[into]))
    assert torch.equal(graph.edge_vector, torch.as_tensor(pairs.vector[into]))
    # Atoms of one orbit have equally many neighbors: weighting by orbit size gives back all edges.
    size = torch.bincount(graph.orbit)
    per_orbit = torch.bincount(graph.edge_target, minlength=len(size))
    assert int((size * per_orbit).sum()) == len(pairs.target)


def test_without_symmetry_every_atom_is_its_own_representative():
    graph = build_graph(crystals.quartz(), CUTOFF)
    assert graph.rotation is None
    assert graph.representative.tolist() == graph.orbit.tolist() == list(range(9))
    assert graph.num_edges == len(neighbor_list(crystals.quartz(), CUTOFF).target)
    # A crystal in which no two atoms are equivalent needs no rotations either.
    assert build_graph(crystals.nameless(), CUTOFF, symmetry=find_symmetry(crystals.nameless())).rotation is None


def test_mic_reaches_the_neighbor_list():
    assert build_graph(crystals.cesium_chloride(), CUTOFF).num_edges == 16
    assert build_graph(crystals.cesium_chloride(), CUTOFF, mic=True).num_edges == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_floating_tensors_have_the_requested_type(dtype):
    graph = build_graph(crystals.quartz(), CUTOFF, symmetry=find_symmetry(crystals.quartz()), dtype=dtype)
    assert {t.dtype for t in (graph.cell, graph.rotation, graph.edge_vector)} == {dtype}
    integers = (graph.numbers, graph.representative, graph.orbit, graph.edge_source, graph.edge_target)
    assert {t.dtype for t in integers} == {torch.int64}


def test_a_graph_does_not_follow_later_changes_of_its_atoms():
    atoms = crystals.nameless()
    graph = build_graph(atoms, CUTOFF, dtype=torch.float64)
    numbers, cell = graph.numbers.clone(), graph.cell.clone()
    atoms.numbers[0] = 92
    atoms.cell[0, 0] = 50.0
    assert torch.equal(graph.numbers, numbers)
    assert torch.equal(graph.cell, cell)

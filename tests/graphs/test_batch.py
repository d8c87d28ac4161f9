"""Batches: indices point where they should, and nothing is lost or mixed up."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from tests import crystals
from torch import Tensor

from voigt.graphs import CrystalBatch, CrystalGraph, build_graph, collate, pack
from voigt.structures.symmetry import find_symmetry

CUTOFF = 4.0


def structures():
    return [crystals.nameless(), crystals.rocksalt(cubic=True), crystals.quartz(), crystals.cesium_chloride()]


def graphs(symmetric: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> list[CrystalGraph]:
    return [
        build_graph(
            atoms,
            CUTOFF,
            symmetry=find_symmetry(atoms) if k in symmetric else None,
            functional=("PBE", None, "PBEsol", "PBE")[k],
            targets={
                "born_charges": torch.full((len(atoms), 3, 3), float(k), dtype=dtype),
                "eps_inf": torch.full((1, 3, 3), 10.0 + k, dtype=dtype),
            },
            dtype=dtype,
        )
        for k, atoms in enumerate(structures())
    ]


def unbatch(batch: CrystalBatch, crystal: int) -> dict[str, Tensor]:
    """Crystal number `crystal` of a batch, its indices counted from its own first atom and orbit."""
    atoms = torch.nonzero(batch.atom_crystal == crystal)[:, 0]
    orbits = torch.nonzero(batch.orbit_crystal == crystal)[:, 0]
    edges = torch.nonzero(batch.orbit_crystal[batch.edge_target] == crystal)[:, 0]
    return {
        "numbers": batch.numbers[atoms],
        "cell": batch.cell[crystal],
        "representative": batch.representative[orbits] - atoms[0],
        "orbit": batch.orbit[atoms] - orbits[0],
        "edge_source": batch.edge_source[edges] - atoms[0],
        "edge_target": batch.edge_target[edges] - orbits[0],
        "edge_vector": batch.edge_vector[edges],
        "rotation": torch.eye(3).expand(len(atoms), 3, 3) if batch.rotation is None else batch.rotation[atoms],
    }


@pytest.mark.parametrize("symmetric", [(), (1, 2), (0, 1, 2, 3)], ids=["none", "some", "all"])
def test_a_batch_is_its_crystals(symmetric):
    parts = graphs(symmetric)
    batch = collate(parts)
    assert batch.num_crystals == 4
    assert batch.num_atoms.tolist() == [len(atoms) for atoms in structures()] == [4, 8, 9, 2]
    assert len(batch.edge_source) == sum(part.num_edges for part in parts)
    for k, part in enumerate(parts):
        for name, value in unbatch(batch, k).items():
            expected = getattr(part, name)
            if expected is None:
                expected = torch.eye(3, dtype=torch.float64).expand(part.num_atoms, 3, 3)
            assert torch.equal(value.to(expected.dtype), expected), (k, name)
    assert batch.functional == ("PBE", None, "PBEsol", "PBE")


def test_edges_join_atoms_of_one_crystal():
    batch = collate(graphs((1, 2)))
    receiving = batch.orbit_crystal[batch.edge_target]
    assert torch.equal(batch.atom_crystal[batch.edge_source], receiving)
    assert torch.equal(batch.atom_crystal[batch.representative], batch.orbit_crystal)
    assert torch.equal(batch.orbit_crystal[batch.orbit], batch.atom_crystal)
    assert torch.equal(batch.numbers[batch.representative[batch.orbit]], batch.numbers)


def test_targets_keep_the_order_of_atoms_and_crystals():
    batch = collate(graphs())
    assert torch.equal(batch.targets["born_charges"][:, 0, 0], batch.atom_crystal.double())
    assert torch.equal(batch.targets["eps_inf"][:, 1, 2], torch.tensor([10.0, 11, 12, 13], dtype=torch.float64))


def test_rotations_are_filled_with_identities_where_some_crystals_have_none():
    assert collate(graphs()).rotation is None
    batch = collate(graphs((2,)))
    assert batch.rotation.shape == (23, 3, 3)
    others = batch.atom_crystal != 2
    assert torch.equal(batch.rotation[others], torch.eye(3, dtype=torch.float64).expand(int(others.sum()), 3, 3))
    quartz = torch.as_tensor(find_symmetry(crystals.quartz()).orbit_rotations)
    assert torch.equal(batch.rotation[~others], quartz)
    assert (quartz - torch.eye(3, dtype=torch.float64)).abs().max() > 0.5


def test_to_changes_floating_tensors_only():
    batch = collate(graphs((2,)))
    moved = batch.to(dtype=torch.float32)
    for entry in dataclasses.fields(CrystalBatch):
        before, after = getattr(batch, entry.name), getattr(moved, entry.name)
        if isinstance(before, Tensor):
            assert after.dtype == (torch.float32 if before.is_floating_point() else torch.int64), entry.name
            assert torch.equal(after, before.to(after.dtype))
    assert {value.dtype for value in moved.targets.values()} == {torch.float32}
    assert moved.functional == batch.functional
    assert batch.cell.dtype == torch.float64  # the original is left alone
    assert batch.to("meta").edge_vector.device.type == "meta"
    assert batch.to("meta").targets["eps_inf"].device.type == "meta"


def test_pack_keeps_the_order_and_the_budget():
    parts = graphs() * 3
    sizes = [part.num_edges for part in parts]
    budget = 2 * max(sizes)
    batches = pack([part.num_edges for part in parts], budget)
    assert [index for batch in batches for index in batch] == list(range(len(parts)))
    assert all(sum(sizes[k] for k in batch) <= budget for batch in batches)
    # Each batch is full: the first crystal of the next one would not have fitted.
    for batch, following in itertools.pairwise(batches):
        assert sum(sizes[k] for k in batch) + sizes[following[0]] > budget
    assert 1 < len(batches) < len(parts)


def test_a_crystal_beyond_the_budget_gets_its_own_batch():
    small, large = build_graph(crystals.cesium_chloride(), CUTOFF), build_graph(crystals.quartz(), CUTOFF)
    assert large.num_edges > 3 * small.num_edges
    assert pack([graph.num_edges for graph in (small, large, small, small)], 2 * small.num_edges) == [[0], [1], [2, 3]]
    assert pack([], 100) == []

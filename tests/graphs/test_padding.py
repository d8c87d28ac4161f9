"""Batches that are filled up: valid, of few sizes, and the crystals in front are untouched."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from ase.build import bulk
from tests import crystals
from torch import Tensor

from voigt.graphs import AxesOptions, CrystalBatch, build_graph, collate
from voigt.graphs.padding import ELEMENTS, STEPS, bounded_elements, padded, rounded
from voigt.structures.symmetry import find_symmetry

CUTOFF = 4.0
MAKERS = {
    "nameless": crystals.nameless,
    "quartz": crystals.quartz,
    "wurtzite": crystals.wurtzite,
    "perovskite": crystals.perovskite,
    "supercell": lambda: crystals.rocksalt(cubic=True).repeat((2, 1, 1)),
    "no neighbors": lambda: bulk("Po", "sc", a=30.0),
}
BATCHES = {
    "one": ["nameless"],
    "an atom alone": ["no neighbors"],
    "two": ["quartz", "no neighbors"],
    "all": list(MAKERS),
    "twice": [*MAKERS, *MAKERS],
}


def batch_of(names: list[str], reduced: bool, dtype: torch.dtype = torch.float64) -> CrystalBatch:
    atoms = [MAKERS[name]() for name in names]
    return collate(
        [build_graph(one, CUTOFF, symmetry=find_symmetry(one) if reduced else None, dtype=dtype) for one in atoms]
    )


def sizes(batch: CrystalBatch) -> tuple[int, ...]:
    return batch.num_crystals, len(batch.numbers), len(batch.representative), len(batch.edge_source)


def test_sizes_grow_by_at_most_a_fourth() -> None:
    found = [rounded(size, STEPS) for size in range(1, 100_000)]
    assert found == sorted(found)
    for size, result in enumerate(found, start=1):
        assert result >= size
        assert result <= 1.25 * size or size < 4
    assert all(rounded(result, STEPS) == result for result in set(found))
    assert rounded(0, STEPS) == rounded(1, STEPS) == 4


def test_powers_of_two() -> None:
    for size in range(1, 5000):
        result = rounded(size)
        assert size <= result < 2 * size or result == size == 1
        assert result.bit_count() == 1


def test_few_sizes_occur() -> None:
    """Four between one power of two and the next."""
    for power in range(3, 20):
        assert len({rounded(size, STEPS) for size in range(2**power + 1, 2 ** (power + 1) + 1)}) == 4


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("names", BATCHES.values(), ids=BATCHES)
def test_padded_batches_are_batches(names: list[str], reduced: bool) -> None:
    """All that `collate` promises: networks rely on it."""
    batch = batch_of(names, reduced)
    filled = padded(batch)
    *counts, edges = sizes(filled)
    assert all(size == rounded(size) for size in counts)
    assert edges == rounded(edges, STEPS)
    assert all(new > old for new, old in zip(sizes(filled), sizes(batch), strict=True))
    count, atoms, orbits, _ = sizes(filled)
    ranges = {"atom_crystal": count, "orbit_crystal": count, "representative": atoms, "orbit": orbits}
    for name, size in (*ranges.items(), ("edge_source", atoms), ("edge_target", orbits)):
        index = getattr(filled, name)
        assert 0 <= int(index.min()) <= int(index.max()) < size, name
    for name in ("atom_crystal", "orbit_crystal", "edge_target"):
        assert bool((getattr(filled, name).diff() >= 0).all()), name
    assert torch.equal(torch.bincount(filled.atom_crystal, minlength=count), filled.num_atoms)
    assert int(filled.num_atoms.min()) >= 1
    assert int(torch.bincount(filled.orbit_crystal, minlength=count).min()) >= 1
    # Representative and copies are of one crystal and element, and whoever sends to an atom is of its crystal.
    assert torch.equal(filled.orbit_crystal[filled.orbit], filled.atom_crystal)
    assert torch.equal(filled.atom_crystal[filled.representative], filled.orbit_crystal)
    assert torch.equal(filled.numbers[filled.representative][filled.orbit], filled.numbers)
    assert torch.equal(filled.atom_crystal[filled.edge_source], filled.orbit_crystal[filled.edge_target])
    assert float(filled.edge_vector.norm(dim=1).min()) > 0
    assert (filled.rotation is None) == (batch.rotation is None)
    if filled.rotation is not None:
        one = torch.eye(3, dtype=torch.float64).expand(atoms, 3, 3)
        torch.testing.assert_close(filled.rotation @ filled.rotation.mT, one, rtol=0, atol=1e-12)
    assert len(filled.functional) == len(filled.space_group) == len(filled.cell) == len(filled.lattice) == count


@pytest.mark.parametrize("reduced", [False, True])
def test_crystals_stay_in_front_of_the_padding(reduced: bool) -> None:
    batch = dataclasses.replace(
        batch_of(BATCHES["all"], reduced), functional_row=torch.tensor([1, 0, 2, 0, 1, 0]), most_elements=8
    )
    filled = padded(batch)
    assert filled.most_elements == 8
    tensors = {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
    assert len(tensors) > 14
    for name, value in tensors.items():
        more = getattr(filled, name)
        assert more.dtype == value.dtype
        assert torch.equal(more[: len(value)], value), name
    # No idle atom or edge belongs to a crystal.
    assert int(filled.atom_crystal[len(batch.numbers) :].min()) == batch.num_crystals
    assert int(filled.orbit_crystal[len(batch.representative) :].min()) == batch.num_crystals
    assert int(filled.edge_source[len(batch.edge_source) :].min()) >= len(batch.numbers)
    assert int(filled.edge_target[len(batch.edge_source) :].min()) >= len(batch.representative)


def test_no_idle_atom_has_crowds_of_neighbors() -> None:
    """A device sums the edges of a receiver one by one: one that had all idle edges would keep it waiting."""
    for count in (1, 3, 17, 60):
        batch = batch_of(["supercell"] * count, reduced=False)
        filled = padded(batch)
        crowd = torch.bincount(filled.edge_target)
        idle = crowd[len(batch.representative) :]
        assert int(idle.sum()) == len(filled.edge_target) - len(batch.edge_target)
        assert int(idle.max()) <= 128


def test_single_precision_stays() -> None:
    filled = padded(batch_of(BATCHES["two"], True, torch.float32))
    floats = {value.dtype for value in vars(filled).values() if isinstance(value, Tensor) and value.is_floating_point()}
    assert floats == {torch.float32}


def test_axes_and_labels_are_refused() -> None:
    batch = batch_of(["quartz"], True)
    with pytest.raises(ValueError, match="labels"):
        padded(dataclasses.replace(batch, targets={"band_gap": torch.ones(1)}))
    framed = collate(
        [build_graph(crystals.quartz(), CUTOFF, dtype=torch.float64, frame=AxesOptions("single", "niggli"))]
    )
    with pytest.raises(ValueError, match="axes"):
        padded(framed)


@pytest.mark.parametrize("names", BATCHES.values(), ids=BATCHES)
def test_elements_of_a_crystal_are_bounded(names: list[str]) -> None:
    batch = batch_of(names, True)
    counted = [len({int(z) for z in batch.numbers[batch.atom_crystal == k]}) for k in range(batch.num_crystals)]
    bound = bounded_elements(batch).most_elements
    assert bound is not None
    assert max(counted) <= bound < max(counted) + ELEMENTS
    assert bound % ELEMENTS == 0


def test_many_elements_are_counted() -> None:
    atoms = bulk("Po", "sc", a=3.4).repeat((19, 1, 1))
    atoms.numbers = range(1, 20)
    batch = collate([build_graph(atoms, CUTOFF), build_graph(crystals.quartz(), CUTOFF)])
    assert bounded_elements(batch).most_elements == 24

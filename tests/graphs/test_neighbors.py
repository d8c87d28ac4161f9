"""Neighbor lists against ASE's, pair for pair, and against a plain sum over images."""

from __future__ import annotations

import itertools

import ase
import numpy as np
import pytest
from ase.neighborlist import primitive_neighbor_list
from tests import crystals

from voigt.graphs.neighbors import Neighbors, neighbor_list


def random_crystal(seed: int) -> ase.Atoms:
    """1 to 9 atoms, half of them in skewed cells, half in left-handed ones, a third with atoms outside the cell."""
    random = np.random.default_rng(seed)
    cell = np.diag(random.uniform(1.8, 7.0, size=3)) + random.normal(scale=0.3, size=(3, 3))
    if seed % 2:
        cell = cell @ crystals.random_rotation(seed)
        cell[1] += random.integers(-2, 3) * cell[0]
        cell[2] += random.integers(-2, 3) * cell[1]
    if seed % 4 < 2:
        cell = cell[[1, 0, 2]]
    count = random.integers(1, 10)
    fractional = random.uniform(size=(count, 3))
    if seed % 3 == 0:
        fractional += random.integers(-4, 5, size=(count, 3))
    return ase.Atoms(random.integers(1, 90, size=count), fractional @ cell, cell=cell, pbc=True)


def rows(target: np.ndarray, source: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Pairs in an order that does not depend on who listed them."""
    table = np.column_stack([target, source, vector])
    return table[np.lexsort(np.round(table, 6).T[::-1])]


def assert_same_pairs(ours: Neighbors, target: np.ndarray, source: np.ndarray, vector: np.ndarray) -> None:
    assert len(ours.target) == len(target)
    np.testing.assert_allclose(rows(ours.target, ours.source, ours.vector), rows(target, source, vector), atol=1e-9)


@pytest.mark.parametrize("seed", range(60))
def test_pairs_are_those_of_ase(seed):
    atoms = random_crystal(seed)
    cutoff = np.random.default_rng(seed).uniform(1.5, 6.0)
    target, source, vector, distance = primitive_neighbor_list(
        "ijDd", [True] * 3, atoms.cell.array, atoms.positions, cutoff, self_interaction=False
    )
    near = distance > 0.1  # two random atoms may fall onto each other
    assert_same_pairs(neighbor_list(atoms, cutoff), target[near], source[near], vector[near])


def test_random_crystals_are_as_varied_as_they_claim():
    atoms = [random_crystal(seed) for seed in range(60)]
    volumes = np.array([np.linalg.det(a.cell.array) for a in atoms])
    fractional = [a.get_scaled_positions(wrap=False) for a in atoms]
    assert (volumes < 0).sum() > 15
    assert (volumes > 0).sum() > 15
    assert sum(len(a) <= 2 for a in atoms) > 5
    assert sum(bool((np.abs(f) > 1.5).any()) for f in fractional) > 10
    heights = [1 / np.linalg.norm(np.linalg.inv(a.cell.array), axis=0) for a in atoms]
    assert sum(h.min() < 1.5 for h in heights) > 5  # thinner than any cutoff


@pytest.mark.parametrize("seed", range(0, 12))
def test_pairs_are_those_of_a_sum_over_images(seed):
    atoms = random_crystal(seed)
    cutoff = 3.5
    heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    spread = np.ptp(atoms.get_scaled_positions(wrap=False), axis=0)
    reach = (np.ceil(cutoff / heights) + np.ceil(spread)).astype(int)
    target, source, vector = [], [], []
    images = np.array(list(itertools.product(*(range(-n, n + 1) for n in reach)))) @ atoms.cell.array
    for i, j in itertools.product(range(len(atoms)), repeat=2):
        difference = atoms.positions[j] - atoms.positions[i] + images
        distance = np.linalg.norm(difference, axis=1)
        inside = difference[(distance < cutoff) & (distance > 0.1)]
        target += [i] * len(inside)
        source += [j] * len(inside)
        vector.append(inside)
    assert_same_pairs(neighbor_list(atoms, cutoff), np.array(target), np.array(source), np.concatenate(vector))


@pytest.mark.parametrize("mic", [False, True])
def test_vector_points_from_target_to_source_through_a_lattice_translation(mic):
    for seed in range(10):
        atoms = random_crystal(seed)
        pairs = neighbor_list(atoms, 4.0, mic=mic)
        difference = pairs.vector - (atoms.positions[pairs.source] - atoms.positions[pairs.target])
        images = difference @ np.linalg.inv(atoms.cell.array)
        np.testing.assert_allclose(images, np.rint(images), atol=1e-8)
        np.testing.assert_allclose(np.linalg.norm(pairs.vector, axis=1), pairs.distance, rtol=1e-12)
        assert np.all(np.diff(pairs.target) >= 0)
        assert (pairs.source.dtype, pairs.target.dtype) == (np.int64, np.int64)


@pytest.mark.parametrize(
    ("make", "cutoff", "coordination"),
    [
        (crystals.rocksalt, 3.0, [6, 6]),
        (crystals.cesium_chloride, 4.0, [8, 8]),
        (crystals.zincblende, 3.0, [4, 4]),
        (crystals.fluorite, 2.6, [8, 4, 4]),
        (crystals.perovskite, 2.9, [12, 6, 6, 6, 6]),  # O: 2 Ti and 4 Sr; its O neighbors at 2.76 make 8 more
    ],
    ids=["NaCl", "CsCl", "ZnS", "CaF2", "SrTiO3"],
)
def test_coordination_numbers(make, cutoff, coordination):
    atoms = make()
    pairs = neighbor_list(atoms, cutoff)
    unlike = atoms.numbers[pairs.source] != atoms.numbers[pairs.target]
    assert np.bincount(pairs.target[unlike], minlength=len(atoms)).tolist() == coordination


@pytest.mark.parametrize("mic", [False, True])
def test_a_pair_at_exactly_the_cutoff_is_left_out(mic):
    atoms = ase.Atoms("NaCl", [(0, 0, 0), (3.0, 0, 0)], cell=20 * np.eye(3), pbc=True)
    assert len(neighbor_list(atoms, 3.0, mic=mic).target) == 0
    assert len(neighbor_list(atoms, np.nextafter(3.0, 4.0), mic=mic).target) == 2


@pytest.mark.parametrize("mic", [False, True])
def test_an_atom_without_neighbors_has_empty_arrays(mic):
    pairs = neighbor_list(ase.Atoms("Xe", cell=20 * np.eye(3), pbc=True), 5.0, mic=mic)
    assert (pairs.source.shape, pairs.target.shape) == ((0,), (0,))
    assert (pairs.vector.shape, pairs.distance.shape) == ((0, 3), (0,))


def test_a_list_survives_the_next_call():
    first = neighbor_list(crystals.rocksalt(), 5.0)
    vector = first.vector.copy()
    neighbor_list(crystals.quartz(), 5.0)
    np.testing.assert_array_equal(first.vector, vector)


def test_one_atom_meets_its_own_images():
    pairs = neighbor_list(ase.Atoms("Po", cell=3.0 * np.eye(3), pbc=True), 4.5)
    assert len(pairs.distance) == 6 + 12  # at a and at a sqrt(2)
    assert not pairs.source.any()
    assert len(neighbor_list(ase.Atoms("Po", cell=3.0 * np.eye(3), pbc=True), 4.5, mic=True).distance) == 0


@pytest.mark.parametrize("seed", range(20))
def test_mic_keeps_the_nearest_image_of_each_pair(seed):
    atoms = random_crystal(seed)
    cutoff = 4.0
    everyone, nearest = neighbor_list(atoms, cutoff), neighbor_list(atoms, cutoff, mic=True)
    best: dict[tuple[int, int], float] = {}
    for i, j, distance in zip(everyone.target, everyone.source, everyone.distance, strict=True):
        if i != j:
            best[i, j] = min(distance, best.get((i, j), np.inf))
    nearest_distance = {(i, j): d for i, j, d in zip(nearest.target, nearest.source, nearest.distance, strict=True)}
    assert len(nearest_distance) == len(nearest.target)
    assert nearest_distance.keys() == best.keys()
    assert all(nearest_distance[pair] == pytest.approx(best[pair], rel=1e-12) for pair in best)


def test_mic_undercounts_cesium_chloride():
    # The eight neighbors of each atom are images of one atom: the released script sees one.
    atoms = crystals.cesium_chloride()
    assert np.bincount(neighbor_list(atoms, 4.0).target).tolist() == [8, 8]
    assert np.bincount(neighbor_list(atoms, 4.0, mic=True).target).tolist() == [1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_mic_is_complete_where_translations_exceed_two_cutoffs(seed):
    cutoff = 3.0
    random = np.random.default_rng(seed)
    cell = 6.6 * np.eye(3) + random.normal(scale=0.15, size=(3, 3))
    atoms = ase.Atoms("O12", random.uniform(size=(12, 3)) @ cell, cell=cell, pbc=True)
    shortest = neighbor_list(ase.Atoms("O", cell=cell, pbc=True), 8.0).distance.min()
    assert shortest > 2 * cutoff
    everyone, nearest = neighbor_list(atoms, cutoff), neighbor_list(atoms, cutoff, mic=True)
    assert len(everyone.target) > 12
    assert_same_pairs(nearest, everyone.target, everyone.source, everyone.vector)

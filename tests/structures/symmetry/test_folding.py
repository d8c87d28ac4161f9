"""Large cells: the operations of their primitive cells, whatever the supercell, the order of atoms and the noise."""

from __future__ import annotations

import ase
import numpy as np
import pytest
import spglib
import torch
from ase.build import make_supercell
from tests import crystals

from voigt.structures.symmetry import find_symmetry
from voigt.structures.symmetry import space_group as module
from voigt.tensors.projection import project_atoms

SKEW = np.array([[3, 1, 0], [-1, 4, 1], [0, 1, 3]])

CASES = {
    "rocksalt 4x4x4": lambda: crystals.rocksalt().repeat(4),
    "rocksalt 2x3x5": lambda: crystals.rocksalt(cubic=True).repeat((2, 3, 5)),
    "perovskite not diagonal": lambda: make_supercell(crystals.perovskite(), SKEW),
    "wurtzite left-handed": lambda: crystals.left_handed(crystals.wurtzite().repeat((3, 3, 4))),
    "quartz 3x1x5": lambda: crystals.quartz().repeat((3, 1, 5)),
    "quartz mirrored": lambda: crystals.rotated(crystals.quartz().repeat((3, 2, 3)), -np.eye(3)),
    "baddeleyite 3x3x2": lambda: crystals.baddeleyite().repeat((3, 3, 2)),
    "calcium titanate turned": lambda: crystals.rotated(
        crystals.calcium_titanate().repeat((2, 3, 1)), crystals.random_rotation(5)
    ),
}


def shuffled(atoms: ase.Atoms, seed: int = 0) -> ase.Atoms:
    """In another order, moved, some atoms outside the cell."""
    random = np.random.default_rng(seed)
    other = atoms[random.permutation(len(atoms))]
    other.positions += random.integers(-2, 3, size=(len(atoms), 3)) @ atoms.cell.array + [0.3, -0.2, 0.1]
    return other


def with_all_operations(atoms: ase.Atoms, field: np.ndarray) -> np.ndarray:
    """Mean over every operation that spglib lists, translations and all, one after the other."""
    cell, places = atoms.cell.array, atoms.get_scaled_positions()
    dataset = spglib.get_symmetry_dataset((cell, places, atoms.numbers), symprec=1e-3)
    total = np.zeros_like(field)
    for rotation, translation in zip(dataset.rotations, dataset.translations, strict=True):
        apart = (places @ rotation.T + translation)[:, None] - places
        image = np.linalg.norm((apart - np.rint(apart)) @ cell, axis=-1).argmin(axis=1)
        turn = cell.T @ rotation @ np.linalg.inv(cell.T)
        total += turn.T @ field[image] @ turn
    return total / len(dataset.rotations)


@pytest.mark.parametrize("name", sorted(CASES))
def test_operations_and_sites_are_those_of_spglib(name: str) -> None:
    atoms = shuffled(CASES[name]())
    assert len(atoms) > module.LARGE
    dataset = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=1e-3)
    found = find_symmetry(atoms)
    assert (found.number, found.international) == (dataset.number, dataset.international)
    assert found.translations * len(found.rotations) == len(dataset.rotations)
    for ours, theirs in ((found.sites, dataset.mapping_to_primitive), (found.orbits, dataset.equivalent_atoms)):
        same = theirs[:, None] == theirs
        assert np.array_equal(ours, same.argmax(axis=1))
    field = np.random.default_rng(1).normal(size=(len(atoms), 3, 3))
    operations = (found.rotations, found.permutations, found.sites)
    given = (torch.tensor(field), *map(torch.as_tensor, operations))
    np.testing.assert_allclose(project_atoms(*given).numpy(), with_all_operations(atoms, field), atol=1e-9)
    # What belongs to the orbit of an atom follows from it.
    projected = project_atoms(*given).numpy()
    turned = found.orbit_rotations @ projected[found.orbits] @ found.orbit_rotations.transpose(0, 2, 1)
    np.testing.assert_allclose(turned, projected, atol=1e-9)
    # Letters depend on the choice of origin; which atoms share one does not, nor the order of their site symmetry.
    assert len(found.wyckoffs) == len(found.site_symmetries) == len(atoms)
    assert all(len({found.wyckoffs[a] for a in np.flatnonzero(found.orbits == o)}) == 1 for o in set(found.orbits))


@pytest.mark.parametrize(("noise", "copies"), [(1e-5, 500), (2e-4, 500), (3e-2, 1)])
def test_noise_below_the_tolerance_hides_no_translation(noise: float, copies: int) -> None:
    """Each atom is off its ideal place by less than a tolerance, or far more."""
    atoms = crystals.rocksalt(cubic=True).repeat(5)
    atoms.rattle(noise, seed=1)
    found = find_symmetry(atoms)
    assert (found.translations, found.number) == (copies, 225 if copies > 1 else 1)
    perfect = find_symmetry(crystals.rocksalt(cubic=True).repeat(5))
    if copies > 1:
        assert np.array_equal(found.sites, perfect.sites)
        assert len(found.rotations) == 48


@pytest.mark.parametrize("kind", ["moved", "other element", "exchanged"])
def test_one_defect_leaves_no_translation(kind: str) -> None:
    atoms = crystals.rocksalt(cubic=True).repeat(4)
    if kind == "moved":
        atoms.positions[7, 0] += 0.1
    elif kind == "other element":
        atoms.numbers[[8, 9]] = [19, 35]
    else:
        atoms.numbers[[6, 7]] = atoms.numbers[[7, 6]]
    found = find_symmetry(atoms)
    assert found.translations == 1
    dataset = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=1e-3)
    assert (found.number, len(found.rotations)) == (dataset.number, len(dataset.rotations))
    assert len(found.rotations) > 1


def test_a_distortion_that_doubles_the_cell_keeps_the_other_translations() -> None:
    atoms = crystals.perovskite().repeat((2, 2, 6))
    layers = np.rint(atoms.positions[:, 2] / crystals.perovskite().cell[2, 2]).astype(int)
    atoms.positions[:, 0] += np.where((atoms.numbers == 8) & (layers % 2 == 0), 0.05, 0.0)
    dataset = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=1e-3)
    found = find_symmetry(atoms)
    assert (found.number, found.translations) == (dataset.number, len(atoms) // len(set(dataset.mapping_to_primitive)))
    assert 1 < found.translations < 24


def test_large_cells_without_translations_are_searched_without_spglib(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes minutes for long ones. Here a molecule of inversion symmetry in a sea of noise: P-1."""
    random = np.random.default_rng(3)
    half = random.uniform(-0.49, 0.49, (600, 3))
    atoms = ase.Atoms(
        np.tile(random.choice([8, 14], 600), 2),
        scaled_positions=np.concatenate([half, -half]) + 0.13,
        cell=[[40.0, 1.0, 0.3], [0.2, 41.0, 2.0], [1.1, 0.4, 43.0]],
        pbc=True,
    )
    monkeypatch.setattr(spglib, "get_symmetry_dataset", None)
    found = find_symmetry(atoms)
    assert (found.number, len(found.rotations)) == (2, 2)
    assert np.array_equal(np.sort(found.permutations[1]), np.arange(1200))
    assert np.array_equal(found.permutations[1], np.roll(np.arange(1200), 600))
    atoms.positions[3] += 0.1
    assert find_symmetry(atoms).number == 1
    assert set(find_symmetry(atoms).wyckoffs) == {"a"}


@pytest.mark.parametrize("times", [3, 400])
def test_oblique_lattice_vectors_have_the_same_operations(times: int) -> None:
    atoms = crystals.zincblende()
    expected = find_symmetry(atoms)
    atoms.set_cell(np.array([[1, 0, 0], [times, 1, 0], [-times, 2, 1]]) @ atoms.cell.array)
    found = find_symmetry(atoms)
    assert (found.number, len(found.rotations)) == (expected.number, len(expected.rotations))

"""Operations found directly are those of spglib, and what is near the tolerance is left to it."""

from __future__ import annotations

import math

import ase
import numpy as np
import pytest
import spglib
from ase.build import bulk
from ase.spacegroup import crystal
from tests import crystals

from voigt.structures.symmetry.group import lattice_basis
from voigt.structures.symmetry.search import Operations, lattice_rotations, search_operations

SYMPREC = 1e-3

# Reduced cells of the lattices, and the order of their point groups (International Tables).
LATTICES = {
    "orthorhombic P": (np.diag([3.0, 4.0, 5.0]), 8),
    "cubic P": (4 * np.eye(3), 48),
    "cubic F": (np.array([[0, 2, 2], [2, 0, 2], [2, 2, 0.0]]), 48),
    "cubic I": (np.array([[-2, 2, 2], [2, -2, 2], [2, 2, -2.0]]), 48),
    "hexagonal": (np.array([[3, 0, 0], [-1.5, 1.5 * math.sqrt(3), 0], [0, 0, 5]]), 24),
    "tetragonal P": (np.diag([3.0, 3.0, 4.0]), 16),
    "tetragonal I": (np.array([[-1.9, 1.9, 2.3], [1.9, -1.9, 2.3], [1.9, 1.9, -2.3]]), 16),
    "rhombohedral": (np.array([[2, 0.3, 0.3], [0.3, 2, 0.3], [0.3, 0.3, 2]]), 12),
}


def spinel() -> ase.Atoms:
    """MgAl2O4, 227, the cubic cell."""
    sites = [(1 / 8, 1 / 8, 1 / 8), (0.5, 0.5, 0.5), (0.2624, 0.2624, 0.2624)]
    return crystal(["Mg", "Al", "O"], sites, spacegroup=227, setting=2, cellpar=[8.0898] * 3 + [90] * 3)


def garnet() -> ase.Atoms:
    """Y3Al5O12, 230, the cubic cell of 160 atoms."""
    sites = [(1 / 8, 0, 1 / 4), (0, 0, 0), (3 / 8, 0, 1 / 4), (-0.0318, 0.0511, 0.1498)]
    return crystal(["Y", "Al", "Al", "O"], sites, spacegroup=230, cellpar=[12.0] * 3 + [90] * 3)


def skewed(atoms: ase.Atoms) -> ase.Atoms:
    """The same crystal by longer lattice vectors."""
    other = atoms.copy()
    other.set_cell(np.array([[1, 0, 0], [2, 1, 0], [-1, 3, 1]]) @ atoms.cell.array)
    return other


def primitive(atoms: ase.Atoms) -> ase.Atoms:
    """A primitive cell by spglib."""
    described = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    cell, positions, numbers = spglib.standardize_cell(described, to_primitive=True, no_idealize=True, symprec=SYMPREC)
    return ase.Atoms(numbers=numbers, scaled_positions=positions, cell=cell, pbc=True)


def moved(atoms: ase.Atoms) -> ase.Atoms:
    """Turned, with another origin and atoms outside the cell."""
    other = crystals.rotated(atoms, crystals.random_rotation(7))
    shifts = np.random.default_rng(3).integers(-2, 3, size=(len(atoms), 3))
    other.positions += shifts @ other.cell.array + [0.31, -0.17, 0.53]
    return other


CASES = {
    "fcc": bulk("Cu"),
    "bcc": bulk("Fe"),
    "hcp": bulk("Mg"),
    "one atom": bulk("Po", "sc", a=3.35),
    "diamond": bulk("Si"),
    "rocksalt": crystals.rocksalt(),
    "rocksalt cubic": crystals.rocksalt(cubic=True),
    "rocksalt 2x2x2": crystals.rocksalt().repeat(2),
    "zincblende moved": moved(crystals.zincblende()),
    "zincblende cubic moved": moved(crystals.zincblende(cubic=True)),
    "cesium chloride 3x3x3": crystals.cesium_chloride().repeat(3),
    "fluorite skewed": skewed(crystals.fluorite()),
    "perovskite": moved(crystals.perovskite()),
    "perovskite 1x1x2": crystals.perovskite().repeat((1, 1, 2)),
    "perovskite 2x2x1 skewed": skewed(crystals.perovskite().repeat((2, 2, 1))),
    "spinel": moved(primitive(spinel())),
    "spinel cubic": spinel(),
    "garnet": primitive(garnet()),
    "wurtzite": moved(crystals.wurtzite()),
    "wurtzite left-handed": crystals.left_handed(crystals.wurtzite()),
    "rutile": crystals.rutile(),
    "anatase": primitive(crystals.anatase()),
    "quartz": moved(crystals.quartz()),
    "quartz left-handed": crystals.left_handed(crystals.quartz()),
    "quartz mirrored": crystals.rotated(crystals.quartz(), -np.eye(3)),
    "lead titanate": crystals.lead_titanate(),
    "corundum": primitive(crystals.corundum()),
    "calcium titanate": moved(crystals.calcium_titanate()),
    "calcium titanate 1x2x1": crystals.calcium_titanate().repeat((1, 2, 1)),
}


def described(atoms: ase.Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers


def search(atoms: ase.Atoms, symprec: float = SYMPREC) -> Operations | None:
    return search_operations(*described(atoms), symprec)


def compare(atoms: ase.Atoms, found: Operations, symprec: float = SYMPREC) -> None:
    """Both have the same rotations, and each of spglib's operations puts the atoms where one of ours does."""
    cell, positions, _ = described(atoms)
    dataset = spglib.get_symmetry_dataset(described(atoms), symprec=symprec)
    group = found.group
    assert (group.number, group.international) == (dataset.number, dataset.international)
    assert group.point_group == dataset.pointgroup
    copies = len(found.sites) // len(np.unique(found.sites))
    assert copies * len(found.rotations) == len(dataset.rotations)
    exact = np.linalg.inv(cell.T) @ found.rotations @ cell.T
    rotations = np.rint(exact).astype(int)
    np.testing.assert_allclose(exact, rotations, atol=1e-6)
    seen = set()
    for rotation, translation in zip(dataset.rotations, dataset.translations, strict=True):
        (same,) = np.flatnonzero((rotations == rotation).all(axis=(1, 2))).tolist()
        # Each atom lands on one that some translation inside the cell brings to the image of ours.
        moved = (positions @ rotation.T + translation)[:, None] - positions
        lands = np.linalg.norm((moved - np.rint(moved)) @ cell, axis=-1).argmin(axis=1)
        apart = (positions @ rotation.T + translation) - positions[lands]
        assert np.linalg.norm((apart - np.rint(apart)) @ cell, axis=-1).max() < 2 * symprec
        assert np.array_equal(found.sites[lands], found.sites[found.permutations[same]])
        seen.add(same)
    assert len(seen) == len(rotations)


@pytest.mark.parametrize("name", sorted(CASES))
def test_operations_are_those_of_spglib(name):
    found = search(CASES[name])
    assert found is not None
    compare(CASES[name], found)
    np.testing.assert_allclose(found.rotations[0], np.eye(3), atol=1e-12)
    assert np.array_equal(found.permutations[0], np.arange(len(CASES[name])))


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_primitive_cell_is_one(name):
    found = search(CASES[name])
    assert found is not None
    dataset = spglib.get_symmetry_dataset(described(CASES[name]), symprec=SYMPREC)
    relation = found.primitive @ np.linalg.inv(dataset.primitive_lattice)
    np.testing.assert_allclose(relation, np.rint(relation), atol=1e-6)
    assert abs(np.linalg.det(relation)) == pytest.approx(1)


@pytest.mark.parametrize("number", range(16, 231))
def test_every_space_group_of_higher_lattices(number):
    lengths = [9.1, 10.3, 13.3] if number < 75 else [9.1, 9.1, 13.3] if number < 195 else [12.3] * 3
    atoms = crystal(
        ["Na", "Cl"],
        [(0.113, 0.236, 0.071), (0.291, 0.153, 0.387)],
        spacegroup=number,
        cellpar=[*lengths, 90, 90, 120 if 143 <= number <= 194 else 90],
    )
    atoms = primitive(atoms)
    found = search(atoms)
    assert found is not None
    assert found.group.number == number
    compare(atoms, found)


@pytest.mark.parametrize("name", sorted(LATTICES))
def test_point_groups_of_lattices(name):
    lattice, order = LATTICES[name]
    found = lattice_rotations(lattice, SYMPREC)
    assert found is not None
    assert len(found) == order
    assert np.array_equal(found[0], np.eye(3))
    turned = lattice.T @ found @ np.linalg.inv(lattice.T)
    np.testing.assert_allclose(turned @ turned.transpose(0, 2, 1), np.tile(np.eye(3), (order, 1, 1)), atol=1e-12)


@pytest.mark.parametrize("stretched", [1.0004, 1.003])
def test_a_lattice_near_a_higher_one_is_left_to_spglib(stretched):
    # 4 Angstrom: the edges differ by 1.6 and 12 tolerances.
    found = lattice_rotations(np.diag([4.0, 4.0, 4.0 * stretched]), SYMPREC)
    assert (found is None) if stretched < 1.001 else (found is not None and len(found) == 16)


@pytest.mark.parametrize("name", ["baddeleyite", "copper_tungstate", "nameless"])
def test_low_lattices_are_left_to_spglib(name):
    assert search(getattr(crystals, name)()) is None


@pytest.mark.parametrize(("tolerances", "order"), [(0.05, 48), (0.7, None), (2.0, None), (20.0, 8)])
def test_atoms_near_the_tolerance_are_left_to_spglib(tolerances, order):
    # Titanium off its center along z: 4/mmm with the oxygens in place, without inversion 4mm, 8 operations.
    atoms = crystals.perovskite()
    atoms.positions[1, 2] += tolerances * SYMPREC
    found = search(atoms)
    if order is None:
        assert found is None
    else:
        assert found is not None
        assert len(found.rotations) == order
        compare(atoms, found)


def test_a_translation_near_the_tolerance_is_left_to_spglib():
    atoms = crystals.rocksalt(cubic=True)
    atoms.positions[3] += [0.0007, 0, 0]
    assert search(atoms) is None


def test_atoms_of_a_kind_close_to_each_other_are_left_to_spglib():
    atoms = ase.Atoms("Na2", [(0, 0, 0), (0, 0, 0.005)], cell=4 * np.eye(3), pbc=True)
    assert search(atoms) is None


def test_a_cubic_cell_without_symmetry():
    positions = np.random.default_rng(5).uniform(size=(12, 3))
    atoms = ase.Atoms("Na4Cl4O4", scaled_positions=positions, cell=9 * np.eye(3), pbc=True)
    found = search(atoms)
    assert found is not None
    assert found.group.number == 1
    assert np.array_equal(found.permutations, [range(12)])


@pytest.mark.parametrize("symprec", [1e-3, 1e-2])
@pytest.mark.parametrize("name", ["rocksalt", "spinel", "wurtzite", "anatase", "calcium titanate", "rocksalt 2x2x2"])
def test_noise_never_gives_other_operations(name, symprec):
    answers = 0
    for seed, size in enumerate(np.geomspace(0.01, 30, 12)):
        atoms = CASES[name].copy()
        atoms.rattle(size * symprec, seed=seed)
        found = search(atoms, symprec)
        if found is not None:
            compare(atoms, found, symprec)
            answers += 1
    assert answers >= 2  # little noise and much


@pytest.mark.parametrize(
    "relation", [np.diag([2, 1, 3]), [[2, 1, 0], [0, 3, 1], [1, 0, 2]], [[1, 1, 0], [0, 1, 1], [1, 0, 1]]]
)
def test_basis_of_the_lattice_of_many_vectors(relation):
    rows = np.random.default_rng(4).integers(-5, 6, size=(8, 3)) @ relation
    basis = lattice_basis(np.vstack([relation, rows]).tolist())
    assert abs(round(np.linalg.det(basis))) == abs(round(np.linalg.det(relation)))
    assert np.array_equal(basis, np.triu(basis))
    combinations = rows @ np.linalg.inv(basis)
    np.testing.assert_allclose(combinations, np.rint(combinations), atol=1e-9)

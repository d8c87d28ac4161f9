"""Fingerprints of structures, distances between them, and leakage between the parts of a split."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import bulk
from tests import crystals

from voigt.data.labeled import labeled
from voigt.data.splitting import fingerprint, measure_leakage, structure_distance
from voigt.data.splitting.leakage import nearest

CRYSTALS = [crystals.quartz(), crystals.corundum(), crystals.baddeleyite(), crystals.lead_titanate()]


def distance(first: ase.Atoms, second: ase.Atoms) -> float:
    return structure_distance(fingerprint(first), fingerprint(second))


@pytest.mark.parametrize("atoms", CRYSTALS, ids=str)
def test_the_description_of_a_crystal_does_not_matter(atoms: ase.Atoms) -> None:
    other = atoms.repeat((1, 2, 1))
    other = other[np.random.default_rng(0).permutation(len(other))]
    other.rotate(40, (1, 2, 3), rotate_cell=True)
    other.positions += [1.0, 0.2, -3.0]
    other.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ other.cell.array)
    assert distance(atoms, other) == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize("atoms", CRYSTALS, ids=str)
def test_moving_atoms_by_at_most_x_changes_it_by_at_most_two_x(atoms: ase.Atoms) -> None:
    rng = np.random.default_rng(1)
    for size in (0.003, 0.03, 0.1):
        step = rng.normal(size=(len(atoms), 3))
        moved = atoms.copy()
        moved.positions += size * step / np.linalg.norm(step, axis=1).max()
        assert 0 < distance(atoms, moved) <= 2 * size


def test_distances_of_rocksalt_are_those_of_its_shells() -> None:
    """6 at a/2, 12 at a/sqrt2, then 8 at a sqrt3/2: 24 neighbors end in the third shell."""
    found = fingerprint(crystals.rocksalt())
    expected = 5.64 * np.array([0.5] * 6 + [np.sqrt(0.5)] * 12 + [np.sqrt(0.75)] * 6)
    for row in found.means * found.edge:
        assert row == pytest.approx(expected)


def test_a_strain_of_all_lengths_does_not_matter_but_one_of_an_axis_does() -> None:
    atoms = crystals.lead_titanate()
    for factors, same in (((1.02, 1.02, 1.02), True), ((1.0, 1.0, 1.02), False)):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * np.array(factors), scale_atoms=True)
        assert (distance(atoms, strained) < 1e-9) is same


def test_other_elements_or_shares_are_infinitely_far() -> None:
    assert distance(crystals.rocksalt(), bulk("KCl", "rocksalt", a=5.64)) == np.inf
    assert distance(crystals.rutile(), ase.Atoms("Ti2O2", cell=[4] * 3, pbc=True, positions=np.eye(4, 3) * 2)) == np.inf


def test_a_molecule_in_vacuum_has_a_fingerprint() -> None:
    found = fingerprint(ase.Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]], cell=[25.0] * 3, pbc=True))
    assert found.means[0, 0] * found.edge == pytest.approx(0.74)
    assert np.isfinite(found.means).all()


def test_leakage_by_hand() -> None:
    structures = [
        crystals.rocksalt(),
        bulk("KCl", "rocksalt", a=6.29),
        crystals.rocksalt(),
        bulk("KBr", "rocksalt", a=6.6),
    ]
    structures.append(crystals.fluorite())
    data = [labeled(f"c{k}", "memory", atoms, {}, None) for k, atoms in enumerate(structures)]
    (found,) = measure_leakage(data, ["train", "train", "test", "test", "test"])
    assert found.part == "test"
    assert found.composition == pytest.approx([0.0, 0.5, 1.0])  # KBr from KCl: half of the atoms; CaF2: all of them
    assert found.formulas.tolist() == [True, False, False]
    assert found.near_duplicates == 1
    assert found.structure[:2] == pytest.approx([0, 0], abs=1e-9)
    assert found.structure[2] > 0.1
    record = found.record()
    assert record["formula_in_train"] == 1
    assert record["same_geometry_in_train"] == 2


def test_no_training_no_leakage() -> None:
    data = [labeled("a", "memory", crystals.rocksalt(), {}, None)]
    assert measure_leakage(data, ["test"]) == []


def test_nearest_agrees_with_all_distances() -> None:
    rng = np.random.default_rng(0)
    points, others = rng.random((40, 5)), rng.random((30, 5))
    expected = np.abs(points[:, None] - others).sum(axis=2).min(axis=1)
    assert nearest(points, others, "cityblock") == pytest.approx(expected)

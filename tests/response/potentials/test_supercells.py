"""Supercells: far enough in every direction, as symmetric as the crystal, and with few atoms."""

from __future__ import annotations

from collections.abc import Callable

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.spacegroup import crystal
from phonopy import Phonopy
from tests import crystals
from tests.response.projects import Springs, to_ase

from voigt.response.phonons.cells import to_phonopy
from voigt.response.phonons.project import calculated_project
from voigt.response.potentials.supercells import Supercell, sublattices, supercell_for
from voigt.structures.symmetry import find_symmetry

MAKERS = [
    crystals.rocksalt,
    crystals.wurtzite,
    crystals.corundum,
    crystals.perovskite,
    crystals.quartz,
    crystals.anatase,
    crystals.baddeleyite,
    crystals.copper_tungstate,
    crystals.nameless,
    lambda: crystals.rocksalt(cubic=True),
    lambda: ase.Atoms("H", cell=[[3, 0, 0], [5.9, 1.2, 0], [0.4, 2.0, 7]], pbc=True),
]


def shortest_by_trial(rows: np.ndarray) -> float:
    grid = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), axis=-1).reshape(-1, 3)
    return float(np.linalg.norm(grid[np.any(grid != 0, axis=1)] @ rows, axis=1).min())


def atoms_of(atoms: ase.Atoms, found: Supercell) -> int:
    return len(atoms) * round(np.linalg.det(found.matrix))


@pytest.mark.parametrize("make", MAKERS)
def test_every_image_is_far_enough(make: Callable[[], ase.Atoms]) -> None:
    """By trying all short vectors; and phonopy builds the same lattice of the matrix."""
    atoms = make()
    found = supercell_for(atoms)
    rows = found.matrix.T @ atoms.cell.array
    assert found.complete
    assert found.shortest >= 10
    assert shortest_by_trial(rows) == pytest.approx(found.shortest)
    theirs = Phonopy(to_phonopy(atoms), found.matrix, primitive_matrix=np.eye(3)).supercell
    np.testing.assert_allclose(theirs.cell, rows, atol=1e-9)
    assert len(theirs) == atoms_of(atoms, found)


@pytest.mark.parametrize("make", MAKERS[:9])
def test_the_supercell_has_the_point_group_of_the_crystal(make: Callable[[], ase.Atoms]) -> None:
    atoms = make()
    matrix = supercell_for(atoms).matrix
    rows = matrix.T @ atoms.cell.array
    turned = rows @ find_symmetry(atoms).rotations.transpose(0, 2, 1) @ np.linalg.inv(rows)
    np.testing.assert_allclose(turned, np.rint(turned), atol=1e-6)


def test_no_more_atoms_than_the_rule_of_faces_needs() -> None:
    """Faces 10 Angstrom apart are sure to do; few crystals need as many."""
    fewer = 0
    for make in MAKERS:
        atoms = make()
        volume = atoms.cell.volume
        areas = np.linalg.norm(np.cross(np.roll(atoms.cell.array, -1, 0), np.roll(atoms.cell.array, -2, 0)), axis=1)
        by_faces = len(atoms) * int(np.prod(np.ceil(10 * areas / volume - 1e-9)))
        assert atoms_of(atoms, supercell_for(atoms)) <= by_faces
        fewer += atoms_of(atoms, supercell_for(atoms)) < by_faces
    assert fewer > len(MAKERS) / 2


def test_the_perovskite_is_face_centered() -> None:
    """2 x 2 x 2 is too short, 3 x 3 x 3 has 27 cells and misses the boundary of the zone; between them are 16 cells."""
    atoms = crystals.perovskite()
    found = supercell_for(atoms)
    assert atoms_of(atoms, found) == 80
    assert found.shortest == pytest.approx(2 * np.sqrt(2) * 3.905)
    for q in ((0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0)):
        np.testing.assert_allclose(found.matrix.T @ q, np.rint(found.matrix.T @ q))


def test_a_large_crystal_gets_what_fits() -> None:
    large = crystal(
        ["Na", "Cl", "O"], [(0.1, 0.2, 0.3), (0.3, 0.05, 0.2), (0.4, 0.3, 0.1)], spacegroup=62,
        cellpar=[6, 7, 8, 90, 90, 90],
    )  # fmt: skip
    found = supercell_for(large, most_atoms=60)
    assert not found.complete
    assert atoms_of(large, found) <= 60
    assert found.shortest == pytest.approx(7)  # 2 x 1 x 1
    assert supercell_for(large, most_atoms=10).matrix.tolist() == np.eye(3).tolist()
    assert supercell_for(large).complete


def test_every_sublattice_comes_once() -> None:
    """As many as there are: 1, 7, 13, 35, 31, 91 (A001001); no two of them the same lattice."""
    for count, number in enumerate((1, 7, 13, 35, 31, 91), start=1):
        matrices = sublattices(count)
        assert len(matrices) == number
        assert np.allclose(np.linalg.det(matrices), count)
        for first in range(number):
            between = matrices[first] @ np.linalg.inv(np.delete(matrices, first, axis=0))
            assert not np.isclose(between, np.rint(between)).all(axis=(1, 2)).any()


def test_frequencies_of_a_skewed_supercell_are_those_of_a_straight_one() -> None:
    """Cesium chloride with springs to first and second neighbors."""
    atoms = crystals.cesium_chloride()
    skewed = calculated_project(atoms, "CsCl", Springs(4.5))
    straight = calculated_project(atoms, "CsCl", Springs(4.5), dim=[3, 3, 3])
    assert len(skewed.phonon.supercell) < len(straight.phonon.supercell)
    assert np.count_nonzero(skewed.phonon.supercell_matrix) > 3
    points = [[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0.5], [0.1, 0.2, 0.4]]
    found = []
    for project in (skewed, straight):
        project.phonon.run_qpoints(points)
        found.append(project.phonon.qpoints.frequencies)
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)
    assert to_ase(skewed.phonon.primitive).symbols.formula.count() == {"Cs": 1, "Cl": 1}


def test_the_distance_that_was_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bound that two cells each way just keep."""
    monkeypatch.setattr("voigt.response.phonons.project.supercell_for", lambda atoms: supercell_for(atoms, 10.0, 20))
    project = calculated_project(crystals.rocksalt(), "salt", Springs())
    assert len(project.phonon.supercell) == 16
    texts = [note.text for note in project.notes if note.kind == "processing"]
    assert any("are 8.0 Angstrom from their images: 10 would take more than 300 atoms; --dim" in text for text in texts)
    assert not supercell_for(bulk("Si", cubic=True).repeat((1, 1, 5)), most_atoms=40).complete

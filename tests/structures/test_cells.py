"""Cells that libraries die of are named before; long, empty and oblique ones that people use pass."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, nanotube
from ase.geometry import minkowski_reduce

from voigt.errors import InputError
from voigt.structures.cells import MAXIMUM_ATOMS, cell_faults, is_skewed, require_sound, short_vectors
from voigt.structures.checks import problems

BROKEN = {
    "needle": (np.diag([1e6, 4.0, 4.0]), "has a cell edge of 1e6 Angstrom, more than 10000;"),
    "plate": (np.diag([1e3, 1e3, 1.6e-5]), "has a cell with a height of 1.6e-5 Angstrom, less than 0.1;"),
    "thin needle": (np.diag([1e-9, 5e3, 5e3]), "Angstrom^3 per atom, less than 1;"),
    "oblique plate": (np.array([[1e3, 0, 0], [0, 1e3, 0], [700, 300, 1e-4]]), "with a height of 0.001 Angstrom"),
    "huge": (np.full((3, 3), 1e308) * np.eye(3), "has a cell edge of 1e308 Angstrom"),
    "tiny": (1e-300 * np.eye(3), "has a cell of 0 Angstrom^3 per atom"),
    "denormal": (np.diag([5e-324, 4.0, 4.0]), "Angstrom^3 per atom"),
    "zero vector": (np.diag([4.0, 4.0, 0.0]), "has a cell of 0 Angstrom^3 per atom"),
    "left-handed plate": (np.diag([1e3, 1e3, 1.6e-5])[[1, 0, 2]], "a height of 1.6e-5 Angstrom"),
    "infinite": (np.diag([np.inf, 4.0, 4.0]), "the cell is not finite"),
    "not a number": (np.diag([np.nan, 4.0, 4.0]), "the cell is not finite"),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_broken_cells_are_named(name: str) -> None:
    cell, words = BROKEN[name]
    atoms = Atoms("MgO", positions=[[0, 0, 0], [2, 2, 0]], cell=cell, pbc=True)
    (fault,) = problems(atoms)
    assert words in fault
    with pytest.raises(InputError):
        require_sound(cell, atoms.positions)


def slab() -> Atoms:
    """Two layers of MgO under 200 Angstrom of vacuum."""
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    atoms.center(vacuum=100.0, axis=2)
    return atoms


def tube() -> Atoms:
    atoms = nanotube(5, 5, length=1, vacuum=75.0)
    atoms.pbc = True
    return atoms


def sheet() -> Atoms:
    atoms = graphene(vacuum=100.0)
    atoms.pbc = True
    return atoms


def oblique() -> Atoms:
    """Rock salt by lattice vectors of hundreds of Angstrom."""
    atoms = bulk("MgO", "rocksalt", a=4.21)
    atoms.set_cell(np.array([[1, 0, 0], [90, 1, 0], [-70, 31, 1]]) @ atoms.cell.array)
    return atoms


@pytest.mark.parametrize(
    "atoms",
    [
        slab(),
        tube(),
        sheet(),
        oblique(),
        bulk("MgO", "rocksalt", a=4.21, cubic=True).repeat((1, 1, 240)),
        bulk("MgO", "rocksalt", a=4.21, cubic=True).repeat((8, 8, 10)),
        Atoms("H", cell=[30.0] * 3, pbc=True),
    ],
    ids=["slab", "nanotube", "sheet", "oblique", "superlattice of 1,000 Angstrom", "5,120 atoms", "atom in a box"],
)
def test_what_people_use_passes(atoms: Atoms) -> None:
    assert problems(atoms) == []


def test_too_many_atoms_and_positions_too_far() -> None:
    count = MAXIMUM_ATOMS + 1
    many = Atoms(np.full(count, 2), positions=np.zeros((count, 3)), cell=[200.0] * 3, pbc=True)
    assert any(f"holds {count} atoms, more than {MAXIMUM_ATOMS}" in fault for fault in problems(many))
    far = Atoms("MgO", positions=[[0, 0, 0], [2e300, 2, 2]], cell=[4.0] * 3, pbc=True)
    (fault,) = problems(far)
    assert "has an atom 2e+300 Angstrom from the origin" in fault


@pytest.mark.parametrize("spread", [1e-3, 1.0])
def test_thousands_of_atoms_in_one_place_are_named_at_once(spread: float) -> None:
    """Their pairs alone would fill the memory: 5,000 atoms have 12 million."""
    random = np.random.default_rng(1)
    atoms = Atoms(np.full(5000, 8), positions=random.uniform(0, spread, (5000, 3)), cell=[40.0] * 3, pbc=True)
    (fault,) = problems(atoms)
    assert "Angstrom apart" in fault


def test_a_crowd_without_close_pairs_is_named() -> None:
    """A grid of 0.6 Angstrom in a corner of a large cell."""
    grid = 0.6 * np.stack(np.meshgrid(*[np.arange(12)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    atoms = Atoms(np.full(len(grid), 8), positions=grid, cell=[60.0] * 3, pbc=True)
    (fault,) = problems(atoms)
    assert "atoms within 5 Angstrom of atom" in fault


@pytest.mark.parametrize("seed", range(20))
def test_short_vectors_are_those_of_ase(seed: int) -> None:
    """Lengths of a Minkowski-reduced basis are unique."""
    random = np.random.default_rng(seed)
    cell = random.normal(size=(3, 3)) * random.uniform(2, 8, size=(3, 1))
    for _ in range(6):
        i, j = random.permutation(3)[:2]
        cell[i] += random.integers(-9, 10) * cell[j]
    basis, reduced = short_vectors(cell)
    assert round(abs(np.linalg.det(basis))) == 1
    np.testing.assert_allclose(basis @ cell, reduced, atol=1e-9)
    expected = np.linalg.norm(minkowski_reduce(cell)[0], axis=1)
    np.testing.assert_allclose(np.linalg.norm(reduced, axis=1), np.sort(expected), rtol=1e-9)


def test_only_oblique_cells_are_reduced() -> None:
    assert not any(is_skewed(bulk("Cu", kind, a=3.6).cell.array) for kind in ("fcc", "bcc", "sc"))
    assert is_skewed(oblique().cell.array)
    assert cell_faults(oblique().cell.array, 2) == []

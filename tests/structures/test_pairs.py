"""Pairs by either way to find them, in oblique, long and flat cells, against ASE and against the ordinary cell."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import primitive_neighbor_list

from voigt.errors import InputError
from voigt.structures import pairs as module
from voigt.structures.pairs import Pairs, periodic_pairs


def rows(pairs: Pairs) -> np.ndarray:
    """In an order that does not depend on who listed them."""
    table = np.column_stack([pairs.first, pairs.second, pairs.vector, pairs.distance])
    return table[np.lexsort(np.round(table, 5).T[::-1])]


def rattled() -> Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    atoms.rattle(0.1, seed=4)
    return atoms


@pytest.mark.parametrize("steps", [((0, 1, 3), (2, 0, -2)), ((1, 0, 90), (2, 1, 11), (0, 2, -1))])
def test_oblique_lattice_vectors_change_nothing(steps: tuple[tuple[int, int, int], ...]) -> None:
    atoms = rattled()
    cell = atoms.cell.array.copy()
    for i, j, times in steps:
        cell[i] += times * cell[j]
    expected = rows(periodic_pairs(atoms.positions, atoms.cell.array, 5.0))
    np.testing.assert_allclose(rows(periodic_pairs(atoms.positions, cell, 5.0)), expected, atol=1e-9)
    left = cell[[1, 0, 2]]
    np.testing.assert_allclose(rows(periodic_pairs(atoms.positions, left, 5.0)), expected, atol=1e-9)


@pytest.mark.parametrize("edges", [(1000.0, 700.0, 3.0), (5000.0, 3.1, 3.0), (400.0, 300.0, 0.9), (60.0, 2.0, 7.0)])
@pytest.mark.parametrize("cutoff", [0.5, 3.5])
def test_flat_and_long_cells(edges: tuple[float, float, float], cutoff: float) -> None:
    """The neighbor list divides by zero in some of these."""
    random = np.random.default_rng(2)
    cell = np.diag(edges) + np.tril(random.normal(size=(3, 3)), -1)
    positions = np.concatenate([random.uniform(-4, 4, (6, 3)), random.uniform(0, 1, (4, 3)) @ cell])
    i, j, vector, distance = primitive_neighbor_list("ijDd", [True] * 3, cell, positions, cutoff)
    expected = rows(Pairs(i, j, vector, distance))
    np.testing.assert_allclose(rows(periodic_pairs(positions, cell, cutoff)), expected, atol=1e-6)


def test_both_ways_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = rattled()
    expected = rows(periodic_pairs(atoms.positions, atoms.cell.array, 6.0))
    monkeypatch.setattr(module, "_fits_vesin", lambda *_: False)
    np.testing.assert_allclose(rows(periodic_pairs(atoms.positions, atoms.cell.array, 6.0)), expected, atol=1e-9)


def test_too_many_pairs_are_an_input_error() -> None:
    with pytest.raises(InputError, match="pairs of atoms within 6 Angstrom"):
        periodic_pairs(np.random.default_rng(0).uniform(0, 2, (5000, 3)), 2 * np.eye(3), 6.0)

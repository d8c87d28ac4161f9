"""Coordination numbers that every textbook states."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import bulk
from tests import crystals

from voigt.interpretation.coordination import coordination


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (crystals.rocksalt(), [6, 6]),
        (crystals.zincblende(), [4, 4]),
        (bulk("Al", "fcc", a=4.05), [12]),
        (crystals.rutile(), [6, 6, 3, 3, 3, 3]),
        (crystals.quartz(), [4, 4, 4, 2, 2, 2, 2, 2, 2]),
        (bulk("C", "diamond", a=3.567), [4, 4]),
    ],
    ids=["rocksalt", "zincblende", "fcc", "rutile", "quartz", "diamond"],
)
def test_of_textbook_structures(atoms: ase.Atoms, expected: list[int]) -> None:
    np.testing.assert_array_equal(coordination(atoms), expected)


def test_the_choice_of_the_cell_changes_nothing() -> None:
    atoms = crystals.rutile()
    np.testing.assert_array_equal(coordination(atoms.repeat((2, 1, 1))), np.tile(coordination(atoms), 2))


def test_an_atom_alone_has_none() -> None:
    assert coordination(ase.Atoms("He", cell=[12.0] * 3, pbc=True)).tolist() == [0]

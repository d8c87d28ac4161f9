"""What composition and charge say of a metal."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import bulk, make_supercell
from tests import crystals

from voigt.structures.domain import metal_reason, stated_charge, valences_balance
from voigt.structures.symmetry import find_symmetry

ODD = "its primitive cell has an odd number of electrons"


def doped() -> ase.Atoms:
    """MgO with one Mg in four replaced by Al: one electron too many."""
    atoms = bulk("MgO", "rocksalt", a=4.2553, cubic=True)
    atoms.numbers[0] = 13
    return atoms


def reason(atoms: ase.Atoms, charge: float = 0.0) -> str | None:
    return metal_reason(atoms, find_symmetry(atoms), charge)


@pytest.mark.parametrize(
    "formula", ["GaAs", "InSb", "Mg2Si", "Cu2O", "CuGaSe2", "Li3N", "ZnGeP2", "Cu2ZnGeSe4", "CsBr"]
)
def test_semiconductors_have_balanced_valences(formula: str) -> None:
    assert valences_balance(ase.Atoms(formula).numbers)


@pytest.mark.parametrize(
    "formula", ["MgB2", "TiN", "WC", "NiAl", "Ge2", "LaB6", "CaAl2Si2", "Ag2O2", "SrVO3", "NaO", "Cu"]
)
def test_metals_and_elements_of_many_valences_have_not(formula: str) -> None:
    assert not valences_balance(ase.Atoms(formula).numbers)


def test_the_charge_of_the_cell_counts() -> None:
    assert reason(doped()) == ODD
    assert reason(doped(), 1.0) is None
    assert reason(doped(), -1.0) is None
    assert reason(doped(), 2.0) == ODD
    assert reason(crystals.rocksalt(), 1.0) == ODD
    assert reason(bulk("Al"), 1.0) == "it holds no non-metal"


def test_a_charge_is_shared_by_the_primitive_cells() -> None:
    twice = make_supercell(doped(), np.diag([2, 1, 1]))
    assert reason(twice) == ODD
    assert reason(twice, 2.0) is None
    assert reason(twice, 1.0) is None  # half an electron per cell says nothing


@pytest.mark.parametrize(
    ("stated", "expected"),
    [(1, 1.0), (-2.5, -2.5), (np.int64(3), 3.0), (np.float32(0.5), 0.5), ("1", 0.0), (None, 0.0), (True, 0.0),
     (float("nan"), 0.0), (np.zeros(3), 0.0), ([1], 0.0)],
)  # fmt: skip
def test_a_stated_charge_is_a_number(stated: object, expected: float) -> None:
    assert stated_charge(ase.Atoms("H", info={"charge": stated})) == expected


def test_no_charge_is_none() -> None:
    assert stated_charge(ase.Atoms("H")) == 0.0

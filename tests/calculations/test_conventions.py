"""What a crystal tells about the conventions of its tensors, and what it cannot tell."""

from __future__ import annotations

from itertools import permutations

import ase
import numpy as np
import pytest
from tests import crystals

from voigt.calculations.conventions import (
    doubts,
    field_index,
    forbidden_share,
    has_sign_of_electron,
    shear_order,
    transposition,
)
from voigt.structures.symmetry import find_symmetry
from voigt.tensors.properties import PROPERTIES

PIEZO, ELASTIC, BORN = PROPERTIES["piezo_total"], PROPERTIES["elastic"], PROPERTIES["born_charges"]
SHEARS = ("yz", "zx", "xy")


def piezo_of_quartz() -> np.ndarray:
    """Class 32: e11 = -e12 = -e26, e14 = -e25 (Nye, Physical Properties of Crystals)."""
    e = np.zeros((3, 6))
    e[0, :2], e[0, 3] = (0.17, -0.17), 0.04
    e[1, 4:] = -0.04, -0.17
    return e


def stiffness_of_quartz() -> np.ndarray:
    """Class 32, GPa: C14 = -C24 = C56."""
    c = np.diag([87.0, 87.0, 106.0, 58.0, 58.0, 40.0])
    c[0, 1] = c[1, 0] = 7.0
    c[:2, 2] = c[2, :2] = 12.0
    c[0, 3] = c[3, 0] = c[4, 5] = c[5, 4] = 18.0
    c[1, 3] = c[3, 1] = -18.0
    return c


def stiffness_of_rutile() -> np.ndarray:
    c = np.diag([270.0, 270.0, 480.0, 124.0, 124.0, 194.0])
    c[0, 1] = c[1, 0] = 175.0
    c[:2, 2] = c[2, :2] = 147.0
    return c


def misread(prop, stored: np.ndarray, written: tuple[str, ...]) -> np.ndarray:
    """Of a file whose shear columns are in the order `written`, read as if they were yz zx xy."""
    columns = [0, 1, 2, *(3 + SHEARS.index(name) for name in written)]
    return prop.from_storage(stored[:, columns] if prop.rank == 3 else stored[np.ix_(columns, columns)])


@pytest.mark.parametrize("written", [order for order in permutations(SHEARS) if order != SHEARS])
@pytest.mark.parametrize(("prop", "stored"), [(PIEZO, piezo_of_quartz()), (ELASTIC, stiffness_of_quartz())])
def test_a_wrong_order_of_columns_is_found_in_quartz(prop, stored, written):
    symmetry = find_symmetry(crystals.quartz(), 1e-2)
    assert shear_order(prop, prop.from_storage(stored), symmetry).decided
    found = shear_order(prop, misread(prop, stored, written), symmetry)
    assert found.given > 0.05
    assert found.better == written


def test_rutile_tells_some_orders_and_not_others():
    """C44 = C55 differ from C66: exchanging yz and zx changes nothing."""
    symmetry = find_symmetry(crystals.rutile(), 1e-2)
    right = shear_order(ELASTIC, ELASTIC.from_storage(stiffness_of_rutile()), symmetry)
    assert right.better is None
    assert not right.decided
    assert right.others["zx", "yz", "xy"] < 1e-6
    wrong = shear_order(ELASTIC, misread(ELASTIC, stiffness_of_rutile(), ("xy", "yz", "zx")), symmetry)
    assert wrong.better is not None
    assert wrong.better[0] == "xy"  # which of two is told by nothing


def test_a_cubic_crystal_tells_no_order():
    c = np.diag([300.0, 300.0, 300.0, 150.0, 150.0, 150.0])
    c[:3, :3] += 90.0 * (1 - np.eye(3))
    found = shear_order(ELASTIC, ELASTIC.from_storage(c), find_symmetry(crystals.rocksalt(), 1e-2))
    assert max(found.others.values()) < 1e-12
    assert not found.decided


def test_neither_symmetry_nor_sum_rule_tells_the_field_index():
    """Charges that obey both are as good transposed: only their documentation or a dipole tells."""
    atoms = crystals.quartz()
    symmetry = find_symmetry(atoms, 1e-2)
    rng = np.random.default_rng(0)
    z = np.zeros((9, 3, 3))
    seeds = rng.normal(size=(9, 3, 3))
    for rotation, permutation in zip(symmetry.rotations, symmetry.permutations, strict=True):
        z += np.einsum("ja,njk,kb->nab", rotation, seeds[permutation], rotation)
    z += np.where(atoms.numbers == 14, 20.0, -10.0)[:, None, None] * np.eye(3)
    z -= z.mean(axis=0)
    assert transposition(z) > 0.1
    for charges in (z, z.transpose(0, 2, 1)):
        assert forbidden_share(BORN, charges, symmetry) < 1e-5
        np.testing.assert_allclose(charges.sum(axis=0), 0, atol=1e-12)
        assert list(doubts(atoms, {"born_charges": charges})) == []


def test_dipoles_tell_the_field_index():
    rng = np.random.default_rng(1)
    z, steps = rng.normal(size=(5, 3, 3)), 0.02 * rng.normal(size=(7, 5, 3))
    dipoles = np.array([sum(z[a] @ step[a] for a in range(5)) for step in steps]) + 1e-4 * rng.normal(size=(7, 3))
    assert field_index(z, steps, dipoles) == "first"
    assert field_index(z.transpose(0, 2, 1), steps, dipoles) == "second"
    assert field_index(z + z.transpose(0, 2, 1), steps, dipoles) == "unknown"
    assert field_index(np.zeros((5, 3, 3)), steps, np.zeros((7, 3))) == "unknown"


def test_a_turned_tensor_is_in_doubt_and_stays_as_it_is():
    turn = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    eps = turn @ np.diag([6.0, 6.0, 7.5]) @ turn.T
    (sentence,) = doubts(crystals.rutile(), {"eps_inf": eps})
    assert sentence.startswith("eps_inf breaks the symmetry P4_2/mnm of its structure by")
    assert "voigt data audit" in sentence


def test_the_sign_of_the_electron_is_noticed():
    salt = crystals.perovskite()
    z = np.array([2.5, 7.0, -5.7, -1.9, -1.9])[:, None, None] * np.eye(3)
    assert not has_sign_of_electron(salt, z)
    assert has_sign_of_electron(salt, -z)
    assert not has_sign_of_electron(ase.Atoms("GaAs"), np.array([-2, 2])[:, None, None] * np.eye(3))


def test_moduli_in_kbar_are_noticed():
    sentences = list(doubts(crystals.rutile(), {"elastic": ELASTIC.from_storage(10 * stiffness_of_rutile())}))
    assert sentences == ["elastic: stiffer than diamond, as values in kBar are; divide by 10 if so"]


def test_a_crystal_without_symmetry_raises_no_doubts():
    atoms = ase.Atoms(
        "NaCl",
        scaled_positions=[[0, 0, 0], [0.45, 0.52, 0.49]],
        cell=[[5, 0.2, 0.1], [0, 4.6, 0.3], [0, 0, 5.3]],
        pbc=True,
    )
    rng = np.random.default_rng(2)
    targets = {"piezo_total": PIEZO.from_storage(rng.normal(size=(3, 6))), "eps_inf": np.diag([3.0, 4.0, 5.0])}
    assert list(doubts(atoms, targets)) == []

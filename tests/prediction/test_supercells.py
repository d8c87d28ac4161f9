"""A supercell is predicted as its primitive cell: the same tensors, atom by atom, and the diagnostics of the larger."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import make_supercell
from tests import crystals

from voigt.api import predict
from voigt.prediction.result import Prediction

CELLS = {
    "2x2x2 of many": lambda: crystals.rutile().repeat((3, 3, 3)),
    "3x1x1": lambda: crystals.rutile().repeat((3, 1, 1)),
    "not diagonal": lambda: make_supercell(crystals.rutile(), np.array([[3, 1, 0], [-1, 2, 1], [0, 1, 3]])),
    "left-handed": lambda: crystals.left_handed(crystals.rutile().repeat((3, 2, 3))),
}


def one(atoms: ase.Atoms) -> Prediction:
    (result,) = predict(atoms)
    assert isinstance(result, Prediction)
    return result


@pytest.mark.parametrize("name", sorted(CELLS))
@pytest.mark.parametrize("noise", [0.0, 2e-5])
def test_a_supercell_is_predicted_as_its_primitive_cell(name: str, noise: float) -> None:
    small = crystals.rutile()
    atoms = CELLS[name]()
    atoms.info["order"] = "kept"
    copies = len(atoms) // len(small)
    # Which atom of the small cell each is: the nearest of it, up to lattice vectors.
    apart = (atoms.positions[:, None] - small.positions) @ np.linalg.inv(small.cell.array)
    which = np.linalg.norm((apart - np.rint(apart)) @ small.cell.array, axis=-1).argmin(axis=1)
    order = np.random.default_rng(5).permutation(len(atoms))
    atoms, which = atoms[order], which[order]
    if noise:
        atoms.rattle(noise, seed=2)
    expected, found = one(small), one(atoms)
    close = 1e-4 if noise == 0.0 else 5e-3
    np.testing.assert_allclose(found.values["born_charges"], expected.values["born_charges"][which], atol=close)
    np.testing.assert_allclose(found.raw["born_charges"], expected.raw["born_charges"][which], atol=close)
    np.testing.assert_allclose(found.values["eps_inf"], expected.values["eps_inf"], atol=close)
    assert found.drift is not None
    assert expected.drift is not None
    np.testing.assert_allclose(found.drift, copies * expected.drift, atol=copies * close)
    np.testing.assert_allclose(found.values["born_charges"].sum(axis=0), 0, atol=1e-6 * len(atoms))
    assert np.array_equal(found.atoms.numbers, atoms.numbers)
    assert found.atoms.info["order"] == "kept"
    assert found.symmetry.number == expected.symmetry.number == 136
    assert found.symmetry.translations == copies
    for letter in set(expected.symmetry.wyckoffs):
        members = np.array(expected.symmetry.wyckoffs)[which] == letter
        assert len(set(np.array(found.symmetry.wyckoffs)[members])) == 1

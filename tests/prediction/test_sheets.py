"""The response of a sheet and of its cell, from that of the crystal that the layers make."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from voigt.prediction.sheets import sheet_of
from voigt.structures.vacuum import Vacuum

THICKNESS = 3.33
Z = np.array([0.0, 0.0, 1.0])


def vacuum(height: float, normal: np.ndarray = Z) -> Vacuum:
    return Vacuum(2, normal, height, height - THICKNESS, 0.2)


def test_capacitors_in_parallel_and_in_series() -> None:
    """In the plane permittivities add up by thickness, across it their inverses do."""
    sheet = sheet_of(np.diag([4.97, 3.5, 2.95]), vacuum(20.0))
    filled = THICKNESS / 20.0
    expected = [1 + filled * 3.97, 1 + filled * 2.5, 1 / (1 - filled + filled / 2.95)]
    np.testing.assert_allclose(sheet.cell, np.diag(expected), atol=1e-12)
    polarizability = np.array([3.97, 2.5, 1 - 1 / 2.95]) * THICKNESS / (4 * np.pi)
    np.testing.assert_allclose(sheet.polarizability, np.diag(polarizability), atol=1e-12)


def test_the_polarizability_does_not_know_the_vacuum() -> None:
    eps = np.array([[4.0, 0.3, 0.5], [0.3, 5.0, -0.2], [0.5, -0.2, 3.0]])
    near, far = sheet_of(eps, vacuum(10.0)), sheet_of(eps, vacuum(2000.0))
    np.testing.assert_allclose(near.polarizability, far.polarizability)
    # The dipole of a thin sheet in a wide cell: eps_cell - 1 = 4 pi alpha / height.
    np.testing.assert_allclose((far.cell - np.eye(3)) * 2000 / (4 * np.pi), far.polarizability, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(near.polarizability, near.polarizability.T)


def test_without_vacuum_the_cell_is_the_crystal() -> None:
    eps = np.array([[4.0, 0.3, 0.5], [0.3, 5.0, -0.2], [0.5, -0.2, 3.0]])
    np.testing.assert_allclose(sheet_of(eps, vacuum(THICKNESS)).cell, eps, atol=1e-12)


def test_energy_of_a_laminate() -> None:
    """Fields that satisfy Maxwell's equations layer by layer have the mean displacement eps_cell times mean field."""
    eps = np.array([[4.0, 0.3, 0.5], [0.3, 5.0, -0.2], [0.5, -0.2, 3.0]])
    sheet, filled = sheet_of(eps, vacuum(11.0)), THICKNESS / 11.0
    for plane, displacement in (([1.0, 0.0], 0.0), ([0.3, -2.0], 1.7)):
        inside = np.array([*plane, (displacement - eps[2, :2] @ plane) / eps[2, 2]])
        outside = np.array([*plane, displacement])
        field = filled * inside + (1 - filled) * outside
        np.testing.assert_allclose(sheet.cell @ field, filled * eps @ inside + (1 - filled) * outside, atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_it_turns_with_the_crystal(sign: int) -> None:
    eps, turn = np.array([[4.0, 0.3, 0.5], [0.3, 5.0, -0.2], [0.5, -0.2, 3.0]]), Rotation.random(rng=0).as_matrix()
    straight, turned = sheet_of(eps, vacuum(15.0)), sheet_of(turn @ eps @ turn.T, vacuum(15.0, sign * turn @ Z))
    np.testing.assert_allclose(turned.cell, turn @ straight.cell @ turn.T, atol=1e-12)
    np.testing.assert_allclose(turned.polarizability, turn @ straight.polarizability @ turn.T, atol=1e-12)

"""Refraction: minerals as handbooks describe them, the index ellipsoid, and other axes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group

from voigt.errors import DomainError, InputError
from voigt.response.optics import reflectivity_normal, refractive_indices


def seen_along(eps: np.ndarray, k: np.ndarray) -> np.ndarray:
    """The two indices of light with wave normal k: half axes of the cut through the index ellipsoid normal to k."""
    plane = np.linalg.svd(np.atleast_2d(k))[2][1:]
    return 1 / np.sqrt(np.linalg.eigvalsh(plane @ np.linalg.inv(eps) @ plane.T))


def test_calcite_is_uniaxial_negative():
    found = refractive_indices(np.diag([1.658, 1.658, 1.486]) ** 2)  # sodium D line
    assert (found.kind, found.sign, found.axial_angle) == ("uniaxial", -1, 0)
    np.testing.assert_allclose(found.indices, [1.486, 1.658, 1.658])
    np.testing.assert_allclose(found.optic_axes, [[0, 0, 1]])
    assert found.birefringence == pytest.approx(0.172)
    assert found.mean_index == pytest.approx((1.486 + 2 * 1.658) / 3)
    assert found.mean_permittivity == pytest.approx((1.486**2 + 2 * 1.658**2) / 3)


def test_quartz_is_uniaxial_positive():
    found = refractive_indices(np.diag([1.553, 1.544, 1.544]) ** 2)  # optic axis along x here
    assert (found.kind, found.sign) == ("uniaxial", 1)
    np.testing.assert_allclose(found.optic_axes, [[1, 0, 0]])
    assert found.birefringence == pytest.approx(0.009)


def test_fluorite_is_isotropic():
    found = refractive_indices(1.434**2 * np.eye(3))
    assert (found.kind, found.sign, found.axial_angle) == ("isotropic", 0, None)
    assert found.optic_axes.shape == (0, 3)
    assert found.birefringence == pytest.approx(0, abs=1e-12)
    assert found.mean_index == pytest.approx(1.434)


@pytest.mark.parametrize(
    ("indices", "sign", "axial_angle", "spread"),
    [  # handbook values; 2V from measured indices is no more certain than that
        ((1.530, 1.681, 1.685), -1, 18, 2),  # aragonite
        ((1.635, 1.651, 1.670), +1, 86, 4),  # forsterite
    ],
    ids=["aragonite", "forsterite"],
)
def test_biaxial_minerals(indices: tuple[float, ...], sign: int, axial_angle: float, spread: float):
    found = refractive_indices(np.diag(indices) ** 2)
    assert (found.kind, found.sign) == ("biaxial", sign)
    assert found.axial_angle == pytest.approx(axial_angle, abs=spread)


@pytest.mark.parametrize("seed", range(5))
def test_no_birefringence_along_the_optic_axes(seed: int):
    rng = np.random.default_rng(seed)
    turn = ortho_group.rvs(3, random_state=seed)
    eps = turn @ np.diag(rng.uniform(1.5, 6.0, size=3)) @ turn.T
    found = refractive_indices(eps)
    assert found.kind == "biaxial"
    for axis in found.optic_axes:
        assert np.ptp(seen_along(eps, axis)) < 1e-8
        np.testing.assert_allclose(seen_along(eps, axis), found.indices[1])  # the middle index is what light sees there
    assert np.ptp(seen_along(eps, found.optic_axes.sum(axis=0))) > 1e-3
    between = np.degrees(np.arccos(abs(found.optic_axes[0] @ found.optic_axes[1])))
    assert found.axial_angle == pytest.approx(between)
    # Positive: the acute angle is bisected by the axis of the largest index.
    one, other = found.optic_axes
    bisector = one + other if one @ other > 0 else one - other
    along = 2 if found.sign > 0 else 0
    assert abs(found.axes[along] @ bisector) == pytest.approx(np.linalg.norm(bisector))
    np.testing.assert_allclose(found.axes @ eps @ found.axes.T, np.diag(found.indices**2), atol=1e-12)


def test_light_along_an_axis_of_a_uniaxial_crystal():
    for diagonal in ([2.2, 2.2, 2.7], [2.7, 2.7, 2.2]):
        eps = np.diag(diagonal)
        assert np.ptp(seen_along(eps, refractive_indices(eps).optic_axes[0])) < 1e-12
        ordinary = np.sqrt(diagonal[0])
        assert np.isclose(refractive_indices(eps).indices, ordinary).sum() == 2


@pytest.mark.parametrize("diagonal", [(2.2, 2.2, 2.7), (2.7, 2.7, 2.2), (2.0, 2.3, 3.5), (3.0, 3.0, 3.0)])
def test_other_axes(diagonal: tuple[float, ...]):
    r = ortho_group.rvs(3, random_state=7)
    before, after = refractive_indices(np.diag(diagonal)), refractive_indices(r @ np.diag(diagonal) @ r.T)
    np.testing.assert_allclose(after.indices, before.indices)
    assert (after.kind, after.sign) == (before.kind, before.sign)
    for name in ("mean_index", "mean_permittivity", "birefringence"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=1e-12)
    assert after.axial_angle == pytest.approx(before.axial_angle)
    assert after.optic_axes.shape == before.optic_axes.shape
    for axis in after.optic_axes:
        assert np.abs(before.optic_axes @ r.T @ axis).max() == pytest.approx(1)


def test_tolerance_decides_the_class():
    noisy = np.diag([2.4, 2.4006, 2.4003])
    assert refractive_indices(noisy).kind == "isotropic"
    assert refractive_indices(noisy, tolerance=1e-6).kind == "biaxial"
    nearly = refractive_indices(np.diag([2.4, 2.4006, 3.0]))
    assert (nearly.kind, nearly.sign) == ("uniaxial", 1)
    np.testing.assert_allclose(nearly.optic_axes, [[0, 0, 1]])


def test_reflection():
    assert reflectivity_normal(2.417) == pytest.approx(0.172, abs=1e-3)  # diamond
    assert reflectivity_normal(1.5) == pytest.approx(0.04)  # window glass
    np.testing.assert_allclose(reflectivity_normal([1.0, 3.0]), [0, 0.25])
    assert isinstance(reflectivity_normal(1.5), float)


def test_antisymmetric_noise_is_dropped_and_low_permittivity_accepted():
    eps = np.diag([0.95, 2.0, 3.0])
    noise = np.array([[0, 0.1, 0], [-0.1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(refractive_indices(eps + noise).indices, np.sqrt([0.95, 2, 3]))


def test_what_cannot_be_answered():
    with pytest.raises(DomainError, match=r"eigenvalue -2"):
        refractive_indices(np.diag([-2.0, 1.0, 1.0]))
    with pytest.raises(InputError, match=r"\(2, 3, 3\)"):
        refractive_indices(np.ones((2, 3, 3)))
    with pytest.raises(InputError, match="finite"):
        refractive_indices(np.full((3, 3), np.nan))

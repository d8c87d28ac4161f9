"""What the page shows besides tensors, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from voigt.app.derived import derived
from voigt.tensors.voigt import elastic_from_voigt


def cubic(c11: float, c12: float, c44: float) -> np.ndarray:
    matrix = np.diag([c11, c11, c11, c44, c44, c44])
    matrix[:3, :3] += c12 * (1 - np.eye(3))
    return elastic_from_voigt(matrix)


def test_silicon() -> None:
    """Young's modulus of cubic crystals is extreme along [100] and [111]; 165.6, 63.9, 79.5 GPa are measured."""
    c11, c12, c44 = 165.6, 63.9, 79.5
    found = derived({"elastic": cubic(c11, c12, c44)})
    assert found.moduli is not None
    assert found.optics is None
    assert found.moduli.bulk_hill == pytest.approx((c11 + 2 * c12) / 3)
    s11 = (c11 + c12) / ((c11 - c12) * (c11 + 2 * c12))
    s12 = -c12 / ((c11 - c12) * (c11 + 2 * c12))
    along_diagonal = 1 / (s11 - 2 * (s11 - s12 - 1 / (2 * c44)) / 3)
    assert found.moduli.young_range == pytest.approx([1 / s11, along_diagonal])
    # With the vector that the schema states.
    n = np.array([2.0, -1.0, 0.5]) / np.linalg.norm([2.0, -1.0, 0.5])
    s = np.array([n[0] ** 2, n[1] ** 2, n[2] ** 2, n[1] * n[2], n[2] * n[0], n[0] * n[1]])
    products = (n[0] * n[1]) ** 2 + (n[1] * n[2]) ** 2 + (n[2] * n[0]) ** 2
    assert s @ np.array(found.moduli.compliance) @ s == pytest.approx(s11 - 2 * (s11 - s12 - 1 / (2 * c44)) * products)


def test_what_makes_no_sense_is_left_out_with_a_reason() -> None:
    found = derived({"elastic": cubic(100.0, 150.0, 50.0), "eps_inf": np.diag([-1.0, 2.0, 2.0])})
    assert found.moduli is None
    assert found.optics is None
    assert found.reasons["moduli"] == "not mechanically stable: smallest eigenvalue -50.0 GPa, no averages"
    assert "optics" in found.reasons
    assert found.principal[0].values == pytest.approx([-1.0, 2.0, 2.0])


def test_calcite_is_uniaxial_and_negative() -> None:
    """Indices of calcite at 589 nm: 1.658 (ordinary), 1.486."""
    found = derived({"eps_inf": np.diag([1.658**2, 1.658**2, 1.486**2])}).optics
    assert found is not None
    assert (found.kind, found.sign) == ("uniaxial", -1)
    assert found.indices == pytest.approx([1.486, 1.658, 1.658])
    assert found.birefringence == pytest.approx(0.172)
    np.testing.assert_allclose(np.abs(found.axes[0]), [0, 0, 1], atol=1e-12)

"""Spherical harmonics are e3nn's, to rounding."""

from __future__ import annotations

import math

import pytest
import torch
from e3nn import o3

from voigt.models.equivariant.harmonics import SphericalHarmonics

DEGREES = [(0,), (0, 1, 2), (3,), (4,), (4, 1)]


def vectors(dtype: torch.dtype) -> torch.Tensor:
    directions = torch.randn(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.cat([3.0 * directions, torch.eye(3), -torch.eye(3)]).to(dtype)


@pytest.mark.parametrize("normalization", ["component", "integral"])
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_harmonics_are_those_of_e3nn(degrees, normalization, dtype, digits):
    vector = vectors(dtype)
    expected = o3.spherical_harmonics(list(degrees), vector, True, normalization)
    harmonics = SphericalHarmonics(degrees, normalization)(vector)
    assert harmonics.dtype == dtype
    torch.testing.assert_close(harmonics, expected, rtol=0, atol=digits * math.sqrt(2 * max(degrees) + 1))


def test_slopes_are_those_of_e3nn():
    vector = vectors(torch.float64).requires_grad_()
    weight = torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (slope,) = torch.autograd.grad((SphericalHarmonics((0, 1, 2), "component")(vector) @ weight).sum(), vector)
    reference = o3.spherical_harmonics([0, 1, 2], vector, True, "component")
    (expected,) = torch.autograd.grad((reference @ weight).sum(), vector)
    torch.testing.assert_close(slope, expected, rtol=0, atol=1e-12)


def test_a_vector_of_length_zero_has_no_direction():
    harmonics = SphericalHarmonics((0, 1, 2), "component")(torch.zeros(1, 3))
    assert harmonics.tolist() == [[1.0] + [0.0] * 8]

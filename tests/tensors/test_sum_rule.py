"""Acoustic sum rule: what it must give, what it must keep, and that it can be trained through."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from voigt.tensors.sum_rule import acoustic_sum_rule, charge_drift

COUNTS = (5, 1, 3)
CRYSTAL = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))


def charges(seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(sum(COUNTS), 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def positive_weights(seed: int = 1) -> torch.Tensor:
    return torch.rand(sum(COUNTS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def test_drift_is_the_sum_over_each_crystal():
    z = charges()
    expected = torch.stack([z[:5].sum(0), z[5], z[6:].sum(0)])
    torch.testing.assert_close(charge_drift(z, CRYSTAL, 3), expected)


def test_atoms_need_not_be_sorted_by_crystal_and_crystals_may_be_empty():
    z = charges()
    order = torch.tensor([8, 0, 5, 3, 7, 1, 6, 2, 4])
    shuffled = acoustic_sum_rule(z[order], CRYSTAL[order], 4)
    torch.testing.assert_close(shuffled, acoustic_sum_rule(z, CRYSTAL, 3)[order])
    assert torch.count_nonzero(charge_drift(z, CRYSTAL, 4)[3]) == 0


def test_equal_weights_are_gonze_and_lee_equation_49():
    z = charges()
    expected = torch.cat([part - part.mean(dim=0) for part in z.split(COUNTS)])
    torch.testing.assert_close(acoustic_sum_rule(z, CRYSTAL, 3), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("weights", [None, positive_weights()])
@pytest.mark.parametrize("total_charge", [None, torch.tensor([2.0, 0.0, -1.0])])
def test_sum_is_the_total_charge_times_the_identity(weights, total_charge):
    charge = torch.zeros(3) if total_charge is None else total_charge
    expected = charge[:, None, None].double() * torch.eye(3, dtype=torch.float64)
    corrected = acoustic_sum_rule(charges(), CRYSTAL, 3, total_charge, weights)
    assert float((charge_drift(corrected, CRYSTAL, 3) - expected).abs().max()) < 1e-12
    torch.testing.assert_close(
        acoustic_sum_rule(corrected, CRYSTAL, 3, total_charge, weights), corrected, rtol=0, atol=1e-14
    )


def test_a_large_crystal_stays_below_1e_12():
    z = torch.randn(400, 3, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    corrected = acoustic_sum_rule(z, torch.zeros(400, dtype=torch.int64), 1)
    assert float(corrected.sum(dim=0).abs().max()) < 1e-12


def test_correction_is_shared_in_proportion_to_the_weights():
    z, weights = charges(), positive_weights()
    change = acoustic_sum_rule(z, CRYSTAL, 3, weights=weights) - z
    for part, share, total in zip(change.split(COUNTS), weights.split(COUNTS), z.split(COUNTS), strict=True):
        expected = -(share / share.sum())[:, None, None] * total.sum(dim=0)
        torch.testing.assert_close(part, expected)
    torch.testing.assert_close(acoustic_sum_rule(z, CRYSTAL, 3, weights=7.0 * weights) - z, change)


def test_an_atom_of_weight_zero_keeps_its_charge():
    z, weights = charges(), positive_weights()
    weights[2] = 0.0
    corrected = acoustic_sum_rule(z, CRYSTAL, 3, weights=weights)
    assert torch.equal(corrected[2], z[2])
    assert float(charge_drift(corrected, CRYSTAL, 3).abs().max()) < 1e-12


def test_a_crystal_whose_weights_are_all_zero_gets_equal_ones():
    z, weights = charges(), positive_weights()
    weights[:5] = 0.0
    corrected = acoustic_sum_rule(z, CRYSTAL, 3, weights=weights)
    torch.testing.assert_close(corrected[:5], z[:5] - z[:5].mean(dim=0))
    torch.testing.assert_close(corrected[5:], acoustic_sum_rule(z, CRYSTAL, 3, weights=positive_weights())[5:])


@pytest.mark.parametrize("improper", [False, True])
def test_equivariant_with_random_weights_and_charges(improper):
    rotation = torch.tensor(Rotation.random(random_state=3).as_matrix() * (-1 if improper else 1))
    z, weights, charge = charges(), positive_weights(), torch.tensor([1.0, -2.0, 0.5])
    turned = acoustic_sum_rule(rotation @ z @ rotation.T, CRYSTAL, 3, charge, weights)
    expected = rotation @ acoustic_sum_rule(z, CRYSTAL, 3, charge, weights) @ rotation.T
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-13)


def test_exact_charges_are_left_alone():
    # Rocksalt MgO: Z* = +-1.98 e, and an asymmetric pair that cancels.
    mg = torch.tensor([[1.98, 0.1, 0.0], [-0.2, 1.98, 0.0], [0.0, 0.0, 1.98]], dtype=torch.float64)
    z = torch.stack([mg, -mg])
    assert torch.equal(acoustic_sum_rule(z, torch.zeros(2, dtype=torch.int64), 1), z)


def test_gradients_of_charges_weights_and_total_charge():
    z = charges().requires_grad_()
    weights = positive_weights().requires_grad_()
    charge = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda a, b, c: acoustic_sum_rule(a, CRYSTAL, 3, total_charge=b, weights=c), (z, charge, weights)
    )
    assert torch.autograd.gradcheck(lambda a: acoustic_sum_rule(a, CRYSTAL, 3), z)


def test_gradients_stay_finite_when_all_weights_are_zero():
    z, weights = charges().requires_grad_(), torch.zeros(sum(COUNTS), dtype=torch.float64, requires_grad=True)
    acoustic_sum_rule(z, CRYSTAL, 3, weights=weights).square().sum().backward()
    assert torch.isfinite(z.grad).all()
    assert torch.isfinite(weights.grad).all()


def test_dtype_is_that_of_the_charges():
    z = charges(dtype=torch.float32)
    corrected = acoustic_sum_rule(z, CRYSTAL, 3, torch.zeros(3, dtype=torch.float64), positive_weights())
    assert corrected.dtype == torch.float32
    np.testing.assert_allclose(charge_drift(corrected, CRYSTAL, 3).numpy(), 0, atol=2e-6)

"""Losses against numbers worked out by hand; absent labels leave no trace."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from voigt.training.losses import LOG_FLOOR, heads_loss, tensor_loss, total_loss
from voigt.training.recipe import TargetSettings

ZERO = torch.zeros(2, 3, 3)


def settings(**changes: object) -> TargetSettings:
    return TargetSettings(**changes)


def diagonal(*values: float) -> torch.Tensor:
    return torch.stack([value * torch.eye(3) for value in values])


def test_l1_is_the_mean_over_components():
    # 3 of 9 components off by 3, and by 1: (9 + 3) / 18.
    assert float(tensor_loss(ZERO, diagonal(3.0, -1.0), settings())) == pytest.approx(12 / 18)


def test_l2_is_the_mean_square():
    assert float(tensor_loss(ZERO, diagonal(3.0, -1.0), settings(loss="l2"))) == pytest.approx((27 + 3) / 18)


def test_huber_is_square_inside_delta_and_linear_outside():
    # d = 0.5: 0.5 d^2 = 0.125; d = 3: delta (d - delta / 2) = 5 with delta = 2.
    loss = tensor_loss(ZERO, diagonal(0.5, 3.0), settings(loss="huber", delta=2.0))
    assert loss.item() == pytest.approx(3 * (0.125 + 2 * (3 - 1)) / 18)


def test_scale_divides_differences():
    label = diagonal(3.0, -1.0)
    assert float(tensor_loss(ZERO, label, settings(scale=4.0))) == pytest.approx(12 / 18 / 4)
    assert float(tensor_loss(ZERO, label, settings(loss="l2", scale=4.0))) == pytest.approx(30 / 18 / 16)
    huber = float(tensor_loss(ZERO, label, settings(loss="huber", scale=4.0, delta=0.5)))
    assert huber == pytest.approx(3 * (0.5 * (0.75 - 0.25) + 0.5 * 0.25**2) / 18)


def test_relative_is_frobenius_over_frobenius():
    # |d| / |label|: sqrt(3) 1 / (sqrt(3) 4), and a wrong sign counts twice.
    loss = tensor_loss(diagonal(5.0, -2.0), diagonal(4.0, 2.0), settings(loss="relative"))
    assert loss.item() == pytest.approx((0.25 + 2.0) / 2)


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_relative_does_not_depend_on_the_unit(factor):
    generator = torch.Generator().manual_seed(0)
    predicted, label = torch.randn(2, 5, 3, 3, generator=generator)
    loss = tensor_loss(predicted, label, settings(loss="relative"))
    torch.testing.assert_close(tensor_loss(factor * predicted, factor * label, settings(loss="relative")), loss)


def test_relative_of_a_zero_label_is_finite():
    predicted = torch.ones(1, 3, 3, requires_grad=True)
    loss = tensor_loss(predicted, torch.zeros(1, 3, 3), settings(loss="relative"))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(predicted.grad).all()


class TestLog:
    """|log(|p| / |t|)| + |p / |p| - t / |t||: sizes by their ratio, then what is left of the shape."""

    @pytest.mark.parametrize("size", [1e-3, 0.2, 1.0, 5.0, 1e4])
    @pytest.mark.parametrize("shape", [(3, 3), (3, 3, 3), (3, 3, 3, 3)])
    def test_of_a_multiple_of_the_label_is_the_logarithm_of_the_factor(self, shape, size):
        label = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        loss = tensor_loss(size * label, label, settings(loss="log", scale=1e-6))
        assert loss.item() == pytest.approx(abs(math.log(size)), abs=1e-12)

    def test_too_small_counts_as_much_as_too_large_by_the_same_factor(self):
        label = diagonal(0.3, 40.0)
        small, large = (tensor_loss(s * label, label, settings(loss="log")).item() for s in (0.25, 4.0))
        assert small == pytest.approx(large) == pytest.approx(math.log(4))

    def test_of_the_opposite_sign_and_of_another_axis(self):
        # Unit tensors that are opposite are 2 apart, orthogonal ones sqrt(2).
        label = torch.diag(torch.tensor([2.0, 0.0, 0.0]))[None]
        assert tensor_loss(-label, label, settings(loss="log")).item() == pytest.approx(2)
        other = torch.diag(torch.tensor([0.0, 6.0, 0.0]))[None]
        expected = math.log(3) + math.sqrt(2)
        assert tensor_loss(other, label, settings(loss="log")).item() == pytest.approx(expected)

    @pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
    def test_does_not_depend_on_the_unit(self, factor):
        predicted, label = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
        loss = tensor_loss(predicted, label, settings(loss="log"))
        scaled = tensor_loss(factor * predicted, factor * label, settings(loss="log", scale=factor))
        torch.testing.assert_close(scaled, loss)

    def test_below_the_floor_sizes_are_equal(self):
        """The loss of a prediction for the label zero: distance from the floor in logarithms, none below it."""
        scale = 5.0
        floor = LOG_FLOOR * scale
        unit = torch.zeros(1, 3, 3)
        unit[0, 0, 1] = 1.0
        zero = torch.zeros(1, 3, 3)
        of = settings(loss="log", scale=scale)
        assert tensor_loss(100 * floor * unit, zero, of).item() == pytest.approx(math.log(100) + 1)
        assert tensor_loss(0.3 * floor * unit, zero, of).item() == pytest.approx(0.3)  # linear, as it is next to zero
        assert tensor_loss(zero, 100 * floor * unit, of).item() == pytest.approx(math.log(100) + 1)
        assert tensor_loss(0.2 * floor * unit, 0.7 * floor * unit, of).item() == pytest.approx(0.5)
        assert tensor_loss(zero, zero, of).item() == 0

    @pytest.mark.parametrize("label", [0.0, 1e-12, 1.0])
    def test_gradient_at_a_zero_prediction_is_finite(self, label):
        predicted = torch.zeros(2, 3, 3, requires_grad=True)
        loss = tensor_loss(predicted, torch.full((2, 3, 3), label), settings(loss="log"))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(predicted.grad).all()
        # Towards the label, so that a network that starts at zero leaves it.
        assert bool((predicted.grad < 0).all()) == (label > 0)


class TestSignCost:
    """Labels whose sign is a convention: each crystal may count as reversed, at a price."""

    @pytest.mark.parametrize("kind", ["relative", "log"])
    def test_each_crystal_takes_the_cheaper_sign(self, kind):
        label = torch.randn(3, 3, 3, 3, generator=torch.Generator().manual_seed(0))
        predicted = label * torch.tensor([1.0, -1.0, -1.0])[:, None, None, None]
        reversed_label = 2.0  # relative: |p - t| / |t| = 2; log: unit tensors 2 apart
        for cost in (0.0, 0.5, 2.5):
            loss = tensor_loss(predicted, label, settings(loss=kind, sign_cost=cost)).item()
            assert loss == pytest.approx(2 * min(cost, reversed_label) / 3, abs=1e-6)
        assert tensor_loss(predicted, label, settings(loss=kind)).item() == pytest.approx(4 / 3)

    @pytest.mark.parametrize("kind", ["l1", "l2", "huber"])
    def test_is_for_norms_only(self, kind):
        with pytest.raises(ValidationError, match="sign_cost needs loss 'relative' or 'log'"):
            settings(loss=kind, sign_cost=0.5)


@pytest.mark.parametrize("kind", ["l1", "l2", "huber", "relative", "log"])
class TestEveryKind:
    def test_absent_labels_count_for_nothing(self, kind):
        label = diagonal(3.0, -1.0)
        padded = torch.cat([label, torch.full((2, 3, 3), torch.nan)])
        predicted = torch.full((4, 3, 3), 7.0)
        partial = padded.clone()
        partial[2] = 1.0
        partial[2, 0, 1] = torch.nan  # one missing component makes the tensor absent
        expected = tensor_loss(predicted[:2], label, settings(loss=kind))
        for given in (padded, partial):
            torch.testing.assert_close(tensor_loss(predicted, given, settings(loss=kind)), expected)

    def test_gradients_of_absent_labels_are_zero_and_none_is_nan(self, kind):
        predicted = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        label = torch.ones(3, 3, 3)
        label[1] = torch.nan
        tensor_loss(predicted, label, settings(loss=kind)).backward()
        assert torch.isfinite(predicted.grad).all()
        assert torch.count_nonzero(predicted.grad[1]) == 0
        assert torch.count_nonzero(predicted.grad[0]) > 0

    def test_no_label_at_all(self, kind):
        predicted = torch.randn(3, 3, 3, requires_grad=True)
        loss = tensor_loss(predicted, torch.full((3, 3, 3), torch.nan), settings(loss=kind))
        loss.backward()
        assert loss.item() == 0
        assert torch.count_nonzero(predicted.grad) == 0

    def test_exact_prediction_has_loss_zero_and_finite_gradient(self, kind):
        predicted = diagonal(2.0, 3.0).requires_grad_()
        loss = tensor_loss(predicted, predicted.detach().clone(), settings(loss=kind))
        loss.backward()
        assert loss.item() == 0
        assert torch.isfinite(predicted.grad).all()

    def test_scalars(self, kind):
        loss = tensor_loss(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([2.0, 4.0, torch.nan]), settings(loss=kind))
        expected = {"l1": 1.5, "l2": 2.5, "huber": (0.5 + 1.5) / 2, "relative": 0.5, "log": math.log(2)}
        assert loss.item() == pytest.approx(expected[kind])

    def test_rotation_of_both_changes_frobenius_norms_only(self, kind):
        generator = torch.Generator().manual_seed(2)
        predicted, label = torch.randn(2, 6, 3, 3, generator=generator, dtype=torch.float64)
        rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
        turned = tensor_loss(rotation @ predicted @ rotation.T, rotation @ label @ rotation.T, settings(loss=kind))
        invariant = torch.allclose(turned, tensor_loss(predicted, label, settings(loss=kind)))
        assert invariant == (kind in ("l2", "relative", "log"))


def test_total_is_the_weighted_sum():
    targets = {"born_charges": settings(weight=2.0), "band_gap": settings(loss="l2", weight=0.5)}
    predicted = {"born_charges": ZERO, "band_gap": torch.tensor([1.0])}
    labels = {"born_charges": diagonal(3.0, -1.0), "band_gap": torch.tensor([4.0])}
    total, parts = total_loss(predicted, labels, targets)
    assert parts["born_charges"].item() == pytest.approx(12 / 18)
    assert parts["band_gap"].item() == pytest.approx(9)
    assert total.item() == pytest.approx(2 * 12 / 18 + 0.5 * 9)


def test_a_property_without_labels_in_the_batch_leaves_the_others_alone():
    targets = {"born_charges": settings(), "band_gap": settings()}
    predicted = {"born_charges": ZERO.clone().requires_grad_(), "band_gap": torch.ones(1, requires_grad=True)}
    labels = {"born_charges": diagonal(3.0, -1.0), "band_gap": torch.tensor([torch.nan])}
    total, _ = total_loss(predicted, labels, targets)
    total.backward()
    assert total.item() == pytest.approx(12 / 18)
    assert torch.isfinite(predicted["born_charges"].grad).all()
    assert float(predicted["band_gap"].grad) == 0


def test_heads_learn_from_label_and_teacher():
    """The label holds for the mean of the heads, what a member of the teacher says for one of them."""
    heads = torch.stack([diagonal(2.0, 5.0), diagonal(4.0, 6.0)], dim=1)  # means 3, 5.5
    nothing = torch.full((2, 3, 3), torch.nan)
    label = torch.stack([diagonal(1.0, 7.0), nothing, nothing], dim=1)
    assert float(heads_loss(heads, label, settings())) == pytest.approx((2.0 + 1.5) / 2 / 3)
    taught = torch.stack([nothing, diagonal(2.0, 5.0), diagonal(5.0, 8.0)], dim=1)
    assert float(heads_loss(heads, taught, settings())) == pytest.approx((1.0 + 2.0) / 4 / 3)
    both = torch.where(torch.isnan(label), taught, label)
    total, _ = total_loss({"eps_inf": heads}, {"eps_inf": both}, {"eps_inf": settings()})
    assert float(total) == pytest.approx((2.0 + 1.5) / 2 / 3 + (1.0 + 2.0) / 4 / 3)

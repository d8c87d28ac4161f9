"""Errors of tensors against numbers worked out by hand, closed forms and scipy."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy.stats import norm, ortho_group, spearmanr

from voigt.evaluation import metrics
from voigt.evaluation.bootstrap import calibration, estimates
from voigt.evaluation.metrics import Ratio
from voigt.tensors.properties import PROPERTIES, get_property
from voigt.tensors.voigt import elastic_from_voigt, piezo_from_voigt

IDENTITY = np.eye(3)
EINSUM = {2: "ia,jb,mab->mij", 3: "ia,jb,kc,mabc->mijk", 4: "ia,jb,kc,ld,mabcd->mijkl"}


def turn(tensor: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    rank = tensor.ndim - 1
    return np.einsum(EINSUM[rank], *[rotation] * rank, tensor)


def test_errors_of_two_tensors_worked_out_by_hand() -> None:
    label = np.array([2 * IDENTITY, -4 * IDENTITY])
    predicted = label.copy()
    predicted[0, 0, 0] += 0.9
    predicted[0, 0, 1] += 0.3  # only one of xy, yx: antisymmetric part 0.15
    predicted[1, 2, 2] -= 0.6
    assert metrics.mae(predicted, label).value == pytest.approx(1.8 / 18)
    assert metrics.rmse(predicted, label).value == pytest.approx(math.sqrt((0.81 + 0.09 + 0.36) / 18))
    assert metrics.mae_diagonal(predicted, label).value == pytest.approx(1.5 / 6)
    assert metrics.mae_offdiagonal(predicted, label).value == pytest.approx(0.3 / 12)
    assert metrics.mae_antisymmetric(predicted, label).value == pytest.approx(0.15 / 6)
    assert metrics.frobenius(predicted, label).value == pytest.approx((math.sqrt(0.9) + 0.6) / 2)
    # (0.9 / 2)^2 and (-0.6 / -4)^2 over six diagonal components.
    assert metrics.rmspe_diagonal(predicted, label).value == pytest.approx(100 * math.sqrt((0.45**2 + 0.15**2) / 6))


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_constant_offset_is_its_own_mae_and_rmse(name: str) -> None:
    declared = get_property(name)
    label = np.random.default_rng(0).normal(size=(7, *declared.shape))
    values = {m.key: m.ratio(label - 0.25, label).value for m in metrics.metrics_for(declared)}
    assert values["mae"] == pytest.approx(0.25)
    assert values["rmse"] == pytest.approx(0.25)
    if declared.rank:
        assert values["frobenius"] == pytest.approx(0.25 * 3 ** (declared.rank / 2))
    if declared.formula == "ij":
        assert values["mae_antisymmetric"] == pytest.approx(0.0, abs=1e-12)


def test_a_transposed_tensor_has_only_antisymmetric_error() -> None:
    label = np.random.default_rng(1).normal(size=(5, 3, 3))
    predicted = label.swapaxes(1, 2)
    assert metrics.mae_diagonal(predicted, label).value == 0.0
    assert metrics.mae_antisymmetric(predicted, label).value == pytest.approx(
        metrics.mae_offdiagonal(predicted, label).value
    )
    symmetrized = (label + predicted) / 2
    # A symmetric prediction misses the whole antisymmetric part of the label.
    by_hand = np.mean([[abs(z[1, 2] - z[2, 1]), abs(z[0, 2] - z[2, 0]), abs(z[0, 1] - z[1, 0])] for z in label]) / 2
    assert metrics.mae_antisymmetric(symmetrized, label).value == pytest.approx(by_hand)


def test_ewt_is_strict_at_its_edge() -> None:
    label = np.stack([4 * IDENTITY] * 4)
    # Exact in binary: relative errors 1/4, just below, 1/8 and 0.
    predicted = label * (1 + np.array([0.25, 0.25 - 2**-20, 0.125, 0.0]))[:, None, None]
    assert metrics.ewt(predicted, label, 25).value == 75.0
    assert metrics.ewt(predicted, label, 12.5).value == 25.0
    assert metrics.ewt(predicted, label, 5).value == 25.0


def test_zero_labels_are_met_by_zero_predictions_only() -> None:
    label = np.zeros((4, 3, 3, 3))
    label[3, 0, 0, 0] = 1.0
    predicted = np.zeros_like(label)
    predicted[1] = 1e-8  # rounding in single precision
    predicted[2, 2, 1, 1] = 0.01
    predicted[3] = 1.04 * label[3]
    assert metrics.ewt(predicted, label, 5).value == 75.0
    assert metrics.ewt(predicted, label, 5, nonzero=True).value == 100.0
    assert math.isnan(metrics.ewt(predicted[:3], label[:3], 5, nonzero=True).value)


def test_rmspe_leaves_out_small_labels() -> None:
    label = np.diag([2.0, -0.49, 0.5])[None]
    predicted = np.diag([2.2, 5.0, 0.5])[None]
    assert metrics.rmspe_diagonal(predicted, label).value == pytest.approx(100 * math.sqrt(0.1**2 / 2))
    assert metrics.small_diagonals(label).value == pytest.approx(100 / 3)
    assert math.isnan(metrics.rmspe_diagonal(predicted, 0.1 * label).value)


@pytest.mark.parametrize("name", ["born_charges", "eps_inf", "piezo_total", "elastic"])
@pytest.mark.parametrize("reflected", [False, True])
def test_norms_do_not_change_when_both_tensors_are_turned(name: str, reflected: bool) -> None:
    declared = get_property(name)
    rng = np.random.default_rng(2)
    label = rng.normal(size=(40, *declared.shape))
    predicted = label * rng.uniform(0.7, 1.3, size=label.shape)
    rotation = ortho_group.rvs(3, random_state=3)
    rotation *= np.linalg.det(rotation) * (-1 if reflected else 1)
    turned = turn(predicted, rotation), turn(label, rotation)
    for metric in metrics.metrics_for(declared):
        if metric.key in ("rmse", "frobenius", "ewt25", "ewt10", "ewt5"):
            before = metric.ratio(predicted, label).value
            assert metric.ratio(*turned).value == pytest.approx(before, rel=1e-10)
    # The mean absolute component is no invariant: a test that turning did something.
    assert metrics.mae(*turned).value != pytest.approx(metrics.mae(predicted, label).value, rel=1e-4)


def test_matrix_metrics_use_the_literature_s_storage() -> None:
    rng = np.random.default_rng(4)
    piezo = rng.normal(size=(2, 5, 3, 6))
    difference = np.mean([np.linalg.norm(p - q) for p, q in zip(*piezo, strict=True)])
    entries = {m.key: m for m in metrics.metrics_for(get_property("piezo_total"))}
    predicted, label = piezo_from_voigt(piezo[0]), piezo_from_voigt(piezo[1])
    assert entries["frobenius_matrix"].ratio(predicted, label).value == pytest.approx(difference)
    assert entries["frobenius"].ratio(predicted, label).value > difference  # shear components count twice
    stiffness = np.zeros((1, 6, 6))
    stiffness[0, 3, 3] = 2.0  # C44 stands in four places of the Cartesian tensor
    elastic = {m.key: m for m in metrics.metrics_for(get_property("elastic"))}
    tensor = elastic_from_voigt(stiffness)
    assert elastic["frobenius_matrix"].ratio(tensor, 0 * tensor).value == pytest.approx(2.0)
    assert elastic["frobenius"].ratio(tensor, 0 * tensor).value == pytest.approx(4.0)
    assert elastic["mae_matrix"].ratio(tensor, 0 * tensor).value == pytest.approx(2 / 36)


def test_metrics_follow_the_declaration() -> None:
    keys = {name: {m.key for m in metrics.metrics_for(get_property(name))} for name in PROPERTIES}
    assert keys["band_gap"] == {"mae", "rmse"}
    assert "mae_antisymmetric" in keys["born_charges"]
    assert "mae_antisymmetric" not in keys["eps_inf"]
    assert "rmspe_diagonal" not in keys["elastic"]
    assert "ewt25_nonzero" in {m.key for m in metrics.metrics_for(get_property("piezo_total"), zero_labels=True)}


def test_charge_drift_of_two_cells() -> None:
    charges = np.zeros((3, 3, 3))
    charges[0] = 1.0 * IDENTITY
    charges[1] = -0.4 * IDENTITY  # first cell: 0.6 on the diagonal, two atoms
    charges[2, 0, 1] = -0.9  # second cell: one component, one atom
    crystal = np.array([7, 7, 9])
    assert metrics.drift(charges, crystal).value == pytest.approx((0.6 * 3 / 9 + 0.9 / 9) / 2)
    assert metrics.drift(charges, crystal, per_atom=True).value == pytest.approx((0.3 * 3 / 9 + 0.9 / 9) / 2)


def test_ratio_of_a_subset_equals_the_metric_of_the_subset() -> None:
    rng = np.random.default_rng(5)
    predicted, label = rng.normal(size=(2, 30, 3, 3))
    mask = rng.random(30) < 0.4
    for metric in metrics.metrics_for(get_property("born_charges")):
        subset = metric.ratio(predicted[mask], label[mask]).value
        assert metric.ratio(predicted, label).where(mask).value == pytest.approx(subset)
    assert math.isnan(metrics.mae(predicted, label).where(np.zeros(30, dtype=bool)).value)


def test_interval_of_a_normal_sample_is_close_to_theory() -> None:
    rng = np.random.default_rng(6)
    size = 800
    sample = rng.normal(3.0, 0.5, size=size)
    (found,) = estimates([Ratio(sample, np.ones(size))], np.arange(size), resamples=4000)
    half = norm.ppf(0.975) * sample.std(ddof=1) / math.sqrt(size)
    assert found.value == pytest.approx(sample.mean())
    assert found.low == pytest.approx(sample.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(sample.mean() + half, abs=0.1 * half)


def test_crystals_are_resampled_whole() -> None:
    """Thirty equal atoms per crystal tell no more than one: the interval must not shrink by sqrt(30)."""
    per_crystal = np.random.default_rng(7).normal(size=60)
    (one,) = estimates([Ratio(per_crystal, np.ones(60))], np.arange(60))
    atoms = np.repeat(per_crystal, 30)
    (many,) = estimates([Ratio(atoms, np.ones(1800))], np.repeat(np.arange(60), 30))
    assert (many.low, many.high) == pytest.approx((one.low, one.high))
    (independent,) = estimates([Ratio(atoms, np.ones(1800))], np.arange(1800))
    assert independent.high - independent.low < 0.3 * (many.high - many.low)


def test_the_seed_decides_the_interval_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Ratio(np.random.default_rng(8).exponential(size=50), np.ones(50))
    first, again, other = (estimates([sample], np.arange(50), seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert first != other
    monkeypatch.setattr("voigt.evaluation.bootstrap._COUNTS_AT_ONCE", 170)
    assert estimates([sample], np.arange(50), seed=1)[0] == first


def test_too_few_crystals_give_no_interval() -> None:
    atoms = Ratio(np.arange(40.0), np.ones(40))
    (found,) = estimates([atoms], np.repeat(np.arange(4), 10))
    assert found.value == 19.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert estimates([], np.zeros(0, dtype=np.int64)) == []


def test_a_thousand_resamples_of_five_hundred_crystals_take_less_than_a_second() -> None:
    rng = np.random.default_rng(9)
    ratios = [Ratio(rng.random(7500), np.ones(7500)) for _ in range(30)]
    start = time.perf_counter()
    estimates(ratios, np.repeat(np.arange(500), 15), resamples=1000)
    assert time.perf_counter() - start < 1.0


def test_calibration_agrees_with_scipy_and_ignores_missing_spreads() -> None:
    rng = np.random.default_rng(10)
    spread = rng.integers(1, 20, size=200).astype(float)  # many ties
    error = spread * rng.exponential(size=200)
    found = calibration(np.append(spread, np.nan), np.append(error, 1e6))
    assert found is not None
    assert found.items == 200
    assert found.spearman == pytest.approx(spearmanr(spread, error).statistic)
    assert found.quartile_spread == pytest.approx([chunk.mean() for chunk in np.split(np.sort(spread), 4)])
    assert found.quartile_error[0] < found.quartile_error[3]
    assert calibration(spread[:3], error[:3]) is None


def test_quartiles_of_eight_items_by_hand() -> None:
    found = calibration(np.array([8.0, 7, 6, 5, 4, 3, 2, 1]), np.array([10.0, 20, 30, 40, 50, 60, 70, 80]))
    assert found is not None
    assert found.spearman == pytest.approx(-1.0)
    assert found.quartile_spread == pytest.approx((1.5, 3.5, 5.5, 7.5))
    assert found.quartile_error == pytest.approx((75, 55, 35, 15))

"""Measures against closed forms and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import digamma

from voigt.interpretation.crystals import relative_entropy
from voigt.interpretation.measures import (
    Scatter,
    conditional,
    contingency,
    dependence,
    distances,
    entropy,
    expected_information,
    participation_ratio,
    separation,
    silhouette,
    standardized,
)


def scatter_of(*groups: np.ndarray) -> Scatter:
    found = Scatter()
    for group in groups:
        found.add(group)
    return found


@pytest.mark.parametrize("sizes", [(100,), (1, 99), (7, 30, 1, 62)])
def test_covariance_does_not_depend_on_how_the_vectors_come(sizes: tuple[int, ...]) -> None:
    rows = np.random.default_rng(1).normal(size=(100, 5)) @ np.random.default_rng(2).normal(size=(5, 5)) + 1e4
    found = scatter_of(*np.split(rows, np.cumsum(sizes)[:-1]))
    assert found.count == 100
    np.testing.assert_allclose(found.covariance, np.cov(rows.T), rtol=1e-9)


@pytest.mark.parametrize("d", [1, 3, 10])
def test_participation_ratio_of_a_round_cloud_is_its_dimension(d: int) -> None:
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(20, d)))[0]
    n = 20_000
    ratio = participation_ratio(scatter_of(rng.normal(size=(n, d)) @ plane.T).covariance)
    # Of n Gaussian vectors E[tr C]^2 / E[tr C^2] = d^2 / (d + d (d + 1) / n), up to 1 / n.
    assert ratio == pytest.approx(d**2 / (d + d * (d + 1) / n), rel=5e-3)


def test_participation_ratio_of_known_eigenvalues() -> None:
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]
    assert participation_ratio(turn @ np.diag([4.0, 2.0, 1.0, 0.0]) @ turn.T) == pytest.approx(49 / 21)
    assert participation_ratio(np.diag([5.0, 0.0, 0.0])) == 1.0
    assert participation_ratio(np.zeros((3, 3))) == 0.0


def test_standardized_columns_leave_out_constants() -> None:
    rows = np.random.default_rng(4).normal([5.0, -3.0, 0.0], [2.0, 0.01, 1.0], size=(50, 3))
    rows = np.column_stack([rows, np.full(50, 0.7), np.zeros(50)])
    found = standardized(rows)
    np.testing.assert_allclose(found.mean(axis=0), np.zeros(3), atol=1e-12)
    np.testing.assert_allclose(found.std(axis=0), np.ones(3))


def test_silhouette_is_that_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(60, 4))
    labels = rng.integers(0, 4, size=60)
    labels[0] = 9  # alone with its label
    assert silhouette(distances(rows), labels) == pytest.approx(sklearn.silhouette_score(rows, labels), abs=1e-12)


def test_silhouette_of_two_pairs_by_hand() -> None:
    rows = np.array([[0.0], [1.0], [10.0], [12.0]])
    a, b = np.array([1.0, 1.0, 2.0, 2.0]), np.array([11.0, 10.0, 9.5, 11.5])
    assert silhouette(distances(rows), np.array([0, 0, 1, 1])) == pytest.approx(np.mean((b - a) / b))
    assert silhouette(np.zeros((4, 4)), np.array([0, 0, 1, 1])) == 0.0


def test_separate_clusters_beat_chance_and_noise_does_not() -> None:
    rng = np.random.default_rng(6)
    labels = np.repeat([0, 1, 2], 20)
    apart = separation(rng.normal(size=(60, 3)) * 1e-3 + labels[:, None] * np.ones(3), labels)
    assert apart is not None
    assert apart.silhouette > 0.99
    assert apart.chance < 0.1
    assert apart.p_value == pytest.approx(1 / 201)
    mixed = separation(rng.normal(size=(60, 3)), labels)
    assert mixed is not None
    assert abs(mixed.silhouette - mixed.chance) < 4 * mixed.deviation
    assert mixed.p_value > 0.02


@pytest.mark.parametrize("labels", [[3, 3, 3], [1, 2, 3]])
def test_no_separation_without_two_clusters(labels: list[int]) -> None:
    assert separation(np.eye(3), np.array(labels)) is None


def test_entropies() -> None:
    assert entropy(np.full(16, 3.0)) == pytest.approx(4.0)
    assert entropy(np.array([0.0, 1.0, 0.0])) == 0.0
    p = 0.11
    assert entropy(np.array([p, 1 - p])) == pytest.approx(-p * np.log2(p) - (1 - p) * np.log2(1 - p))
    rows = np.array([[0.25] * 4, [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    np.testing.assert_allclose(relative_entropy(rows), [1.0, 0.0, 0.5], atol=1e-12)
    # Uniform over the simplex of k corners: mean entropy H(k) - 1 nats, H the harmonic number.
    drawn = np.random.default_rng(7).dirichlet(np.ones(16), size=4000)
    harmonic = digamma(17) - digamma(1)
    assert relative_entropy(drawn).mean() * np.log(16) == pytest.approx(harmonic - 1, abs=0.01)


@pytest.mark.parametrize(("kinds", "others"), [(16, 3), (16, 40), (2, 2), (1, 5)])
def test_dependence_is_that_of_scikit_learn(kinds: int, others: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(kinds + others)
    first = rng.integers(0, kinds, size=150)
    second = np.where(rng.random(150) < 0.4, first % others, rng.integers(0, others, size=150))
    found = dependence(first.tolist(), second.tolist())
    assert found is not None
    assert (found.items, found.labels) == (150, len(set(second.tolist())))
    bits = sklearn.mutual_info_score(first, second) / np.log(2)
    assert found.bits == pytest.approx(bits, abs=1e-9)
    assert found.normalized == pytest.approx(sklearn.normalized_mutual_info_score(first, second), abs=1e-9)
    assert found.adjusted == pytest.approx(sklearn.adjusted_mutual_info_score(first, second), abs=1e-9)


def test_labels_that_determine_each_other_share_their_entropy() -> None:
    found = dependence(["a", "b", "c", "d"] * 8, [3, 2, 1, 0] * 8)
    assert found is not None
    assert (found.bits, found.normalized, found.adjusted) == pytest.approx((2.0, 1.0, 1.0))
    assert dependence([], []) is None
    assert found.p_value == pytest.approx(1 / 201)  # no permutation of 32 labels does as well


def test_labels_dealt_at_random_are_no_better_than_permuted_ones() -> None:
    rng = np.random.default_rng(5)
    values = []
    for _ in range(20):
        found = dependence(rng.integers(0, 8, 100).tolist(), rng.integers(0, 5, 100).tolist(), permutations=50)
        assert found is not None
        values.append(found.p_value)
    assert 0.3 < np.mean(values) < 0.7  # spread evenly between 0 and 1


def test_expected_information_is_the_mean_over_permutations() -> None:
    rng = np.random.default_rng(8)
    first, second = rng.integers(0, 5, size=40), rng.integers(0, 8, size=40)
    table = contingency(first.tolist(), second.tolist())
    dealt = []
    for _ in range(1500):
        found = contingency(first.tolist(), rng.permutation(second).tolist())
        dealt.append(entropy(found.sum(axis=1)) + entropy(found.sum(axis=0)) - entropy(found.ravel()))
    expected = expected_information(table.sum(axis=1), table.sum(axis=0))
    assert expected == pytest.approx(np.mean(dealt), abs=5 * np.std(dealt) / np.sqrt(1500))
    assert expected > 0.3  # bits from nothing: what the adjustment is for


def test_what_is_told_beyond_a_third_label() -> None:
    rng = np.random.default_rng(0)
    third, second = rng.integers(3, size=600), rng.integers(2, size=600)
    found = conditional(second, second, third)
    assert found is not None
    apart = [entropy(np.bincount(second[third == k]).astype(float)) * (third == k).mean() for k in range(3)]
    assert found.bits == pytest.approx(sum(apart))
    assert (found.adjusted, found.p_value) == (pytest.approx(1.0), pytest.approx(1 / 201))
    nothing = conditional(third, second, third)  # the third label leaves nothing open
    assert nothing is not None
    assert (nothing.bits, nothing.adjusted) == (pytest.approx(0.0, abs=1e-12), 0.0)
    assert conditional([], [], []) is None


def test_without_a_third_label_it_is_the_mutual_information() -> None:
    rng = np.random.default_rng(1)
    first = rng.integers(4, size=300)
    second = np.where(rng.random(300) < 0.4, first, rng.integers(4, size=300))
    told, alone = conditional(first, second, np.zeros(300)), dependence(first, second)
    assert told is not None
    assert alone is not None
    assert told.bits == pytest.approx(alone.bits)
    assert told.chance == pytest.approx(expected_information(np.bincount(first), np.bincount(second)), rel=0.1)


def test_chance_is_not_taken_for_more() -> None:
    """Labels that know of the first only through the third, in many small classes: p values are even."""
    rng, values = np.random.default_rng(2), []
    for seed in range(40):
        third = rng.integers(30, size=200)
        first, second = (third + (rng.random(200) < 0.2)) % 5, (third + (rng.random(200) < 0.2)) % 7
        found = conditional(first, second, third, permutations=50, seed=seed)
        assert found is not None
        values.append(found.p_value)
    assert 0.35 < np.mean(values) < 0.65
    assert np.mean(np.array(values) < 0.1) < 0.25

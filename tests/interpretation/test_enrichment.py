"""Shares and chance against closed forms."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from voigt.interpretation.enrichment import enrichment


def test_sites_count_by_their_weights_and_crystals_once() -> None:
    """Three crystals; the second has the label "a" twice, and both of its sites belong to the first group in part."""
    labels = ["a", "b", "a", "a", "b"]
    crystal = np.array([0, 0, 1, 1, 2])
    weights = np.array([[0.5, 0.0], [0.0, 0.5], [0.3, 0.2], [0.2, 0.3], [0.1, 0.9]])
    uses = np.array([[True, True], [True, False], [False, True]])
    found = enrichment(labels, crystal, weights, uses)
    assert found.labels == ("a", "b")
    np.testing.assert_allclose(found.share, [[1.0 / 1.1, 0.5 / 1.9], [0.1 / 1.1, 1.4 / 1.9]])
    np.testing.assert_allclose(found.share_in_set, [0.5, 0.5])
    np.testing.assert_allclose(found.lift, 2 * found.share)
    # The second crystal is one item of "a", which belongs to the first group: 0.5 of it, as much as of the other.
    assert found.held_in.tolist() == [[2, 0], [0, 2]]
    assert found.crystals.tolist() == [2, 2]
    np.testing.assert_allclose(found.p_value, [[1 / comb(4, 2), 1.0], [1.0, 1 / comb(4, 2)]])
    np.testing.assert_allclose(found.purity, [[1.0, 0.5], [0.5, 1.0]])
    np.testing.assert_allclose(found.purity_in_set, [2 / 3, 2 / 3])


@pytest.mark.parametrize(("held", "of"), [(4, 4), (3, 5)])
def test_chance_is_hypergeometric(held: int, of: int) -> None:
    """Twenty crystals of one site, six of them in the group, `of` with the label, `held` of these in the group."""
    labels = ["x"] * of + ["y"] * (20 - of)
    group = np.zeros(20, dtype=int)
    group[:held] = 1
    group[of : of + 6 - held] = 1
    found = enrichment(labels, np.arange(20), np.eye(2)[group], np.eye(2)[group] > 0)
    chance = sum(comb(of, k) * comb(20 - of, 6 - k) for k in range(held, min(of, 6) + 1)) / comb(20, 6)
    assert found.p_value[0, 1] == pytest.approx(chance)


def test_a_group_that_nobody_uses() -> None:
    found = enrichment(["a", "b"], np.arange(2), np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[True, False]] * 2))
    assert found.share[:, 1].tolist() == [0.0, 0.0]
    assert np.isnan(found.purity[:, 1]).all()
    assert (found.p_value == 1.0).all()

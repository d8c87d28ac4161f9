import numpy as np
import pytest

from voigt.errors import InputError
from voigt.screening.query.pareto import pareto_front


def brute_force(values: np.ndarray, maximize: list[bool]) -> np.ndarray:
    """The definition, pair by pair."""
    signed = np.where(maximize, values, -values)
    front = np.zeros(len(values), dtype=bool)
    for i, point in enumerate(signed):
        if np.isnan(point).any():
            continue
        dominated = False
        for other in signed:
            if not np.isnan(other).any() and (other >= point).all() and (other > point).any():
                dominated = True
        front[i] = not dominated
    return front


@pytest.mark.parametrize("maximize", [[True], [False], [True, True], [True, False], [False, False],
                                      [True, True, True], [False, True, False], [True, False, True, True]])
@pytest.mark.parametrize("levels", [3, 12, 10**6])
def test_front_is_that_of_the_definition_with_ties_missing_values_and_infinities(maximize, levels):
    random = np.random.default_rng(levels + len(maximize))
    for _ in range(8):
        values = random.integers(0, levels, size=(45, len(maximize))).astype(float)
        values[random.random(values.shape) < 0.05] = np.nan
        values[random.random(values.shape) < 0.03] = np.inf
        values[random.random(values.shape) < 0.03] = -np.inf
        assert np.array_equal(pareto_front(values, maximize), brute_force(values, maximize))


def test_on_a_circle_every_point_of_the_quadrant_is_on_the_front():
    angles = 2 * np.pi * (np.arange(400) + 0.5) / 400  # none on an axis, mirror images equal
    circle = np.round(np.stack([np.cos(angles), np.sin(angles)], axis=1), 9)
    for signs in ([True, True], [True, False], [False, False]):
        quadrant = ((circle > 0) == signs).all(axis=1)
        assert np.array_equal(pareto_front(circle, signs), quadrant)


def test_equal_points_stand_or_fall_together():
    values = [[2, 2], [2, 2], [3, 1], [1, 1], [1, 1], [3, 0]]
    assert pareto_front(values, [True, True]).tolist() == [True, True, True, False, False, False]


def test_a_missing_value_neither_wins_nor_dominates():
    assert pareto_front([[np.nan, 99], [1, 1], [0, np.nan]], [True, True]).tolist() == [False, True, False]
    assert not pareto_front(np.full((4, 2), np.nan), [True, True]).any()


def test_no_points_have_an_empty_front():
    assert pareto_front(np.empty((0, 2)), [True, True]).shape == (0,)


def test_the_front_does_not_depend_on_order_or_scale():
    random = np.random.default_rng(3)
    values = random.normal(size=(300, 2))
    order = random.permutation(300)
    front = pareto_front(values, [True, False])
    assert np.array_equal(pareto_front(values[order], [True, False]), front[order])
    assert np.array_equal(pareto_front(np.exp(values) * 1e-6, [True, False]), front)


def test_a_hundred_thousand_points_all_on_the_front_take_no_quadratic_time():
    # 10^10 comparisons would take minutes, and their mask 10 GB.
    steps = np.arange(100_000.0)
    assert pareto_front(np.stack([steps, -steps], axis=1), [True, True]).all()


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((3, 3)), np.zeros((3, 2, 1))])
def test_values_need_one_column_for_each_objective(values):
    with pytest.raises(InputError, match="one column for each objective"):
        pareto_front(values, [True, True])
    with pytest.raises(InputError, match="one column"):
        pareto_front(np.zeros((3, 0)), [])

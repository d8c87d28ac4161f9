"""Before, after, trivial, and the verdict."""

from __future__ import annotations

import numpy as np
import pytest
from tests.finetuning.worlds import frames

from voigt.data.labeled import labeled
from voigt.evaluation.scored import Scored
from voigt.finetuning.comparison import compare, comparison_table, verdict

NUMBERS = np.array([12, 8])


def side(errors, labels=None):
    """Charges of 1 and -1 in every frame, predicted with a constant error of all components."""
    label = np.stack([np.eye(3), -np.eye(3)])
    return [
        Scored(f"t{k}", NUMBERS, None, None, {"born_charges": label}, {"born_charges": label + error})
        for k, error in enumerate(errors)
    ]


def train():
    atoms = frames(1)[0][[0, 4]]
    atoms.numbers = NUMBERS
    label = np.stack([np.eye(3), -np.eye(3)])
    return [labeled("a", "file", atoms, {"born_charges": 1.5 * label}, None)]


def compared(before, after):
    return compare(side(before), side(after), train(), ("born_charges",))


def test_errors_are_means_over_components():
    entry = compared([0.4] * 6, [0.1] * 6)[0]
    assert entry.before.value == pytest.approx(0.4)
    assert entry.after.value == pytest.approx(0.1)
    # The averages of the training labels are 1.5: off by 0.5 on three of nine components.
    assert entry.trivial.value == pytest.approx(0.5 / 3)
    assert entry.gain.value == pytest.approx(0.3)


def test_a_sure_gain_is_worth_using():
    found = compared([0.4, 0.5, 0.4, 0.5, 0.4, 0.5], [0.1, 0.12, 0.1, 0.1, 0.1, 0.1])
    assert found[0].worth
    assert verdict(found).startswith("Worth using")


def test_a_gain_within_the_scatter_is_not_worth_using():
    found = compared([0.1, 0.1, 0.1, 0.1, 0.1, 0.1], [0.01, 0.2, 0.01, 0.2, 0.01, 0.2])
    assert found[0].worth is False
    assert verdict(found).startswith("Not worth using")


def test_the_trivial_baseline_must_be_beaten_too():
    found = compared([0.9] * 6, [0.5] * 6)
    assert found[0].gain.low > 0
    assert found[0].worth is False
    assert "does not beat averages" in verdict(found)


def test_four_frames_give_no_verdict():
    found = compared([0.4] * 4, [0.1] * 4)
    assert found[0].worth is None
    assert verdict(found).startswith("Not known")


def test_without_a_test_part_nothing_is_known():
    assert verdict(()).startswith("Not known")


def test_frames_that_one_model_cannot_predict_are_left_out_of_all():
    before = side([0.4] * 6)
    before[0] = Scored("t0", NUMBERS, None, None, before[0].labels, {})
    assert compare(before, side([0.1] * 6), train(), ("born_charges",))[0].frames == 5


def test_the_table_has_a_row_for_each_property():
    lines = comparison_table(compared([0.4] * 6, [0.1] * 6)).splitlines()
    assert len(lines) == 3
    assert "0.4000" in lines[2]

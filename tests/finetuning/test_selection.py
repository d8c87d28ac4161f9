"""Which frames are chosen."""

from __future__ import annotations

import numpy as np
import pytest
from ase.io import read
from tests.finetuning.worlds import frames, small_model

from voigt.errors import InputError
from voigt.finetuning.selection import greedy, select_frames, write_choice
from voigt.models.checkpoint import load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(small_model(tmp_path_factory.mktemp("model"), members=2))


def places(choices):
    return [choice.index for choice in choices]


class TestGreedy:
    def test_the_largest_spread_comes_first(self):
        points = np.array([[0.0], [1.0], [2.0]])
        assert greedy(np.array([1.0, 3.0, 2.0]), points, np.empty((0, 1)), 1)[0].index == 1

    def test_a_twin_of_a_chosen_frame_is_left_to_the_end(self):
        points = np.array([[0.0], [0.0], [1.0]])
        assert places(greedy(np.array([3.0, 2.9, 0.5]), points, np.empty((0, 1)), 3)) == [0, 2, 1]

    def test_what_resembles_labeled_frames_is_of_little_use(self):
        points = np.array([[0.0], [1.0]])
        assert places(greedy(np.array([2.0, 1.5]), points, np.array([[0.1]]), 1)) == [1]

    def test_no_frame_is_chosen_twice(self):
        assert sorted(places(greedy(np.ones(4), np.zeros((4, 2)), np.empty((0, 2)), 4))) == [0, 1, 2, 3]


class TestFrames:
    def test_near_duplicates_are_not_all_taken(self, model):
        first, second, third = frames(3)
        twin = first.copy()
        twin.positions += 1e-5
        chosen = places(select_frames(model, [first, twin, second, third], 3))
        assert not {0, 1} <= set(chosen)

    def test_a_rotated_frame_is_a_twin(self, model):
        first, second = frames(2)
        turned = first.copy()
        turned.rotate(40, (1, 2, 3), rotate_cell=True)
        assert not {0, 1} <= set(places(select_frames(model, [first, turned, second], 2)))

    def test_frames_of_other_elements_can_be_compared(self, model):
        mixed = [*frames(2), *frames(2, "CaO")]
        assert len(select_frames(model, mixed, 3)) == 3

    def test_more_frames_than_there_are_cannot_be_chosen(self, model):
        with pytest.raises(InputError, match="choose fewer"):
            select_frames(model, frames(2), 3)

    def test_chosen_frames_keep_their_labels(self, tmp_path):
        path = tmp_path / "out.extxyz"
        given = frames(1)
        write_choice(given, path)
        back = read(path)
        np.testing.assert_allclose(back.arrays["born_charges"], given[0].arrays["born_charges"], atol=1e-7)
        assert back.info["functional"] == "PBEsol"

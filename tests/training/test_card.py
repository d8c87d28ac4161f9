"""What a model file says of its training: in how many of its crystals each element occurs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.data import atomic_numbers
from benchmarks.tools.count_elements import counts_of
from tests.training.synthetic import labeled_crystals, recipe, write_data

from voigt.errors import RecipeError
from voigt.models.checkpoint import ModelCard, load_model, save_model, write_counts
from voigt.models.methods import build_network
from voigt.training.card import element_counts, model_card
from voigt.training.datamodule import read_data
from voigt.training.recipe import Recipe


def numbered(**counts: int) -> dict[int, int]:
    """Atomic numbers instead of symbols."""
    return {atomic_numbers[symbol]: count for symbol, count in counts.items()}


# MgO CaO MgS CaS TiO2 TiS2 TiN MgCaO2 MgTiO3; the last quarter of the formulas is for validation.
BY_HAND = numbered(N=1, O=5, Mg=4, S=3, Ca=3, Ti=4)


def card_of(tiny: Recipe) -> ModelCard:
    return model_card(tiny, read_data(tiny), {"val/loss": 1.0})


def test_counts_by_hand(tmp_path: Path) -> None:
    write_data(tmp_path)
    tiny = recipe(tmp_path)
    assert card_of(tiny).element_counts == BY_HAND
    path = tmp_path / "model.safetensors"
    save_model([build_network(tiny.model)], path, card_of(tiny))
    assert load_model(path).card == card_of(tiny)


def test_only_labels_that_teach_the_model_count(tmp_path: Path) -> None:
    frames = {atoms.info["id"].partition("-")[0]: atoms for atoms in labeled_crystals()}
    del frames["MgO"].info["eps_inf"]
    frames["TiS2"].info["eps_inf"] = [0.0] * 9
    del frames["TiN"].arrays["born_charges"]
    write_data(tmp_path, list(frames.values()))
    either = recipe(tmp_path)
    assert element_counts(either, read_data(either)) == BY_HAND
    one = recipe(tmp_path, targets={"born_charges": {"auxiliary": True}, "eps_inf": {"zeros": False}})
    assert element_counts(one, read_data(one)) == numbered(N=1, O=4, Mg=3, S=2, Ca=3, Ti=3)  # no MgO, no TiS2
    other = recipe(tmp_path, targets={"born_charges": {}, "eps_inf": {"auxiliary": True}})
    assert element_counts(other, read_data(other)) == numbered(O=5, Mg=4, S=3, Ca=3, Ti=3)  # no TiN


class TestTool:
    """benchmarks.tools.count_elements, for files that do not state the counts."""

    @pytest.fixture
    def old(self, tmp_path: Path) -> Path:
        write_data(tmp_path)
        tiny = recipe(tmp_path)
        path = tmp_path / "old.safetensors"
        save_model([build_network(tiny.model) for _ in range(2)], path, replace(card_of(tiny), element_counts={}))
        return path

    def test_counts_are_added_and_nothing_else_changes(self, old: Path) -> None:
        before = load_model(old)
        write_counts(old, counts_of(before, old.parent))
        after = load_model(old)
        assert after.card == replace(before.card, element_counts=BY_HAND)
        assert [member.hypers for member in after.members] == [member.hypers for member in before.members]
        for one, other in zip(before.members, after.members, strict=True):
            for (name, left), right in zip(one.named_parameters(), other.parameters(), strict=True):
                assert np.array_equal(left.detach(), right.detach()), name
        assert sorted(path.name for path in old.parent.iterdir()) == ["data.extxyz", "old.safetensors"]

    def test_data_that_have_changed_are_refused(self, old: Path) -> None:
        write_data(old.parent, labeled_crystals(seed=1))
        with pytest.raises(RecipeError, match=r"old was trained on other data than data\.extxyz"):
            counts_of(load_model(old), old.parent)

"""Ensembles: members that differ, one file, and the mean as the prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.training.synthetic import crystal, recipe, write_data

import voigt
from voigt.errors import RecipeError, WeightsError
from voigt.models.checkpoint import ModelCard, load_model, save_model
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivar.model import Equivar
from voigt.training.ensemble import join_models, train_ensemble


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_data(folder)
    return folder


@pytest.fixture(scope="module")
def joined(world):
    """File of an ensemble of three."""
    return train_ensemble(recipe(world, epochs=2, seed=5), 3, world / "ensemble")


def members(joined):
    return [joined.parent / f"member-{k}" / "tiny.safetensors" for k in range(3)]


def test_one_file_with_members_that_differ_by_their_seed(world, joined):
    assert joined == world / "ensemble" / "tiny.safetensors"
    loaded = load_model(joined)
    assert len(loaded.members) == 3
    weights = [member.interactions[0].linear.weight for member in loaded.members]
    assert not any((weights[k] == weights[k - 1]).all() for k in range(3))
    assert [load_model(file).card.recipe["seed"] for file in members(joined)] == [5, 6, 7]


def test_the_prediction_is_the_mean_and_the_spread_the_deviation(joined):
    atoms = crystal("CaTiO3", seed=99)
    (together,) = voigt.predict(atoms, model=joined)
    single = [voigt.predict(atoms, model=file)[0] for file in members(joined)]
    for name in ("born_charges", "eps_inf"):
        values = np.stack([prediction.values[name] for prediction in single])
        np.testing.assert_allclose(together.values[name], values.mean(axis=0), atol=1e-5)
        assert values.std(axis=0).max() > 1e-3
        raw = np.stack([prediction.raw[name] for prediction in single])
        np.testing.assert_allclose(together.raw[name], raw.mean(axis=0), atol=1e-5)
        assert set(together.spread) == {"born_charges", "eps_inf"}


def test_the_card_has_the_mean_figures(joined):
    cards = [load_model(file).card for file in members(joined)]
    card = load_model(joined).card
    for key, value in card.metrics.items():
        assert value == pytest.approx(sum(entry.metrics[key] for entry in cards) / 3)
    assert card.metrics["val/loss"] > 0
    assert card.elements == cards[0].elements
    assert card.data == cards[0].data
    assert card.element_counts == cards[0].element_counts != {}


def test_resuming_keeps_finished_members_and_trains_the_others(world, joined):
    before = [member.state_dict() for member in load_model(joined).members]
    files = members(joined)
    stamps = [file.stat().st_mtime_ns for file in files]
    files[2].unlink()
    (files[2].parent / "checkpoints" / "last.ckpt").unlink()
    again = train_ensemble(recipe(world, epochs=2, seed=5), 3, world / "ensemble", resume=True)
    assert [file.stat().st_mtime_ns for file in files[:2]] == stamps[:2]
    after = [member.state_dict() for member in load_model(again).members]
    assert all(torch.equal(one[key], other[key]) for one, other in zip(before, after, strict=True) for key in one)


def test_without_resume_an_earlier_ensemble_is_refused(world, joined):
    with pytest.raises(RecipeError, match="member-0 holds an earlier run"):
        train_ensemble(recipe(world, epochs=2, seed=5), 3, world / "ensemble")


class TestJoin:
    def stored(self, folder, name, elements=(8, 12), counts=None, **hypers):
        path = folder / f"{name}.safetensors"
        network = Equivar(EquivarHypers(**{"channels": 4, "interactions": 1, "hidden": 4, **hypers}))
        card = ModelCard(elements=elements, metrics={"val/loss": 1.0}, element_counts=counts or {})
        save_model([network], path, card)
        return path

    @pytest.mark.parametrize(
        ("key", "value"),
        [("cutoff", 4.0), ("neighbors", "mic"), ("functionals", ("PBE",)), ("properties", ("eps_inf",))],
    )
    def test_members_must_answer_the_same_question(self, tmp_path, key, value):
        first, second = self.stored(tmp_path, "a"), self.stored(tmp_path, "b", **{key: value})
        with pytest.raises(RecipeError, match=f"differ in {key}"):
            join_models([first, second], tmp_path / "joined.safetensors")
        assert not (tmp_path / "joined.safetensors").exists()

    def test_widths_may_differ_and_elements_are_those_of_all(self, tmp_path):
        first = self.stored(tmp_path, "a", elements=(8, 12, 20))
        second = self.stored(tmp_path, "b", elements=(8, 20, 22), channels=6)
        loaded = load_model(join_models([first, second, first], tmp_path / "joined.safetensors"))
        assert [member.hypers.channels for member in loaded.members] == [4, 6, 4]
        assert loaded.card.elements == (8, 20)

    def test_the_smaller_counts_of_elements_are_kept(self, tmp_path):
        first = self.stored(tmp_path, "a", counts={8: 9, 12: 4})
        second = self.stored(tmp_path, "b", counts={8: 7, 12: 5, 20: 1})
        old = self.stored(tmp_path, "old")
        joined = load_model(join_models([first, second], tmp_path / "joined.safetensors"))
        assert joined.card.element_counts == {8: 7, 12: 4}
        assert load_model(join_models([first, old], tmp_path / "more.safetensors")).card.element_counts == {}

    def test_a_file_that_is_no_model(self, tmp_path):
        (tmp_path / "b").write_text("no")
        with pytest.raises(WeightsError):
            join_models([self.stored(tmp_path, "a"), tmp_path / "b"], tmp_path / "joined.safetensors")


def test_members_start_from_the_members_of_the_model_they_are_tuned_from(world, joined):
    tuned = recipe(world, epochs=1, seed=0).model_copy(update={"finetune": str(joined), "member": 1, "name": "tuned"})
    train_ensemble(tuned, 3, world / "tuned")
    starts = [load_model(world / "tuned" / f"member-{k}" / "tuned.safetensors").card.recipe["member"] for k in range(3)]
    assert starts == [1, 2, 0]

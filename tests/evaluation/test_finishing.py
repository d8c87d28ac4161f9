"""What a model file gets after training: intervals of the validation split, and the range of the training split."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from tests import crystals
from tests.predictions import save_tiny_model

from voigt.data.labeled import file_digest
from voigt.errors import RecipeError
from voigt.evaluation.finishing import drawn, finish_model, training_data
from voigt.models.checkpoint import available_models, load_model, save_model
from voigt.models.intervals import COVERAGE
from voigt.prediction.calibration import errors_of, items, predicted
from voigt.prediction.training_range import SUFFIX, load_range

RECIPE = {
    "name": "salt",
    "data": [{"path": "salts.extxyz", "where": "sound"}],
    "model": {"channels": 8, "interactions": 1, "cutoff": 4.0, "hidden": 8},
    "targets": {"born_charges": {"loss": "l1"}},
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that states recipe and data: 60 crystals of training, 30 of validation, 10 of test, 5 unsound."""
    rng = np.random.default_rng(0)
    frames = []
    for k in range(105):
        atoms = crystals.rocksalt()
        atoms.rattle(0.03, seed=k)
        noise = 0.05 * rng.normal(size=(3, 3))
        atoms.set_array("born_charges", np.stack([np.eye(3) + noise, -np.eye(3) - noise]).reshape(2, 9))
        split = "train" if k < 60 else "val" if k < 90 else "test"
        atoms.info.update(id=f"c{k}", split=split, sound=k < 100)
        frames.append(atoms)
    ase.io.write(tmp_path / "salts.extxyz", frames)
    path = save_tiny_model(tmp_path / "salt.safetensors", 2, ("born_charges",), ("PBE",), ("Na", "Cl"))
    loaded = load_model(path)
    card = replace(loaded.card, recipe=RECIPE, data={"salts.extxyz": file_digest(tmp_path / "salts.extxyz")})
    save_model(loaded.members, path, card)
    return path


def test_a_finished_model_has_intervals_and_a_range(model: Path, tmp_path: Path) -> None:
    data = training_data(load_model(model).card, tmp_path)
    assert {part: len(members) for part, members in data.parts.items()} == {"train": 60, "val": 30, "test": 10}
    before = load_model(model).members[0].state_dict()
    done = finish_model(model, data)
    assert done.crystals == (60, 30)
    loaded = load_model(model)
    assert loaded.intervals == done.intervals
    assert loaded.intervals["born_charges"].crystals == 30
    assert load_range(model) == done.range
    assert model.with_suffix(SUFFIX).is_file()
    assert all((value == before[name]).all() for name, value in loaded.members[0].state_dict().items())


def test_intervals_are_those_of_the_validation_split(model: Path, tmp_path: Path) -> None:
    """As conformal prediction says: at least nine of ten of the crystals they were fitted to are covered."""
    data = training_data(load_model(model).card, tmp_path)
    finish_model(model, data)
    loaded = load_model(model)
    pairs = predicted(loaded, drawn(loaded, data, "val", 100))
    errors = errors_of("born_charges", pairs, loaded.card)
    inside = [prediction.interval["born_charges"][0] for _, prediction in pairs]
    assert len(pairs) == 30
    covered = np.mean(errors.error.reshape(30, -1)[:, 0] <= inside)
    assert covered >= COVERAGE - 2 * math.sqrt(COVERAGE * (1 - COVERAGE) / 30)


def test_only_known_elements_and_so_many_are_drawn(model: Path, tmp_path: Path) -> None:
    loaded = load_model(model)
    data = training_data(loaded.card, tmp_path)
    chosen = drawn(loaded, data, "train", 7)
    assert len(chosen) == 7
    assert [crystal.id for crystal in drawn(loaded, data, "train", 7)] == [crystal.id for crystal in chosen]
    stranger = replace(loaded, card=replace(loaded.card, elements=(11,)))
    assert drawn(stranger, data, "train", 7) == []


def test_few_crystals_leave_a_model_without_intervals(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = training_data(load_model(model).card, tmp_path)
    few = replace(data, parts={**data.parts, "val": data.parts["val"][:5]})
    with caplog.at_level(logging.INFO, "voigt"):
        assert finish_model(model, few).intervals == {}
    assert "no intervals of born_charges: 5 validation crystals have a label, 20 are needed" in caplog.messages
    assert load_range(model) is not None


def test_a_model_without_a_recipe_is_refused(tmp_path: Path) -> None:
    loaded = load_model(save_tiny_model(tmp_path / "tiny.safetensors"))
    with pytest.raises(RecipeError, match="states no recipe"):
        training_data(loaded.card, tmp_path)


def test_data_that_are_missing_are_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="data not found"):
        training_data(load_model(model).card, tmp_path / "elsewhere")


SHIPPED = sorted(name for name in available_models() if load_model(name).intervals)
MOST = 300
"""Test crystals of a model: some thousand predictions in all."""


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_intervals_of_models_that_ship_hold_on_test_crystals(name: str, dft_data: Callable[[str], Path]) -> None:
    """Within three standard errors of so many formulas, those of the validation split included."""
    loaded = load_model(name)
    first = str(loaded.card.recipe["data"][0]["path"])
    root = Path(str(dft_data(first)).removesuffix(first))
    pairs = predicted(loaded, drawn(loaded, training_data(loaded.card, root), "test", MOST))
    for prop, rule in loaded.intervals.items():
        errors = errors_of(prop, pairs, loaded.card)
        assert errors is not None
        width = np.concatenate(
            [
                np.atleast_1d(pairs[place][1].interval[prop])[items(prop, pairs[place][1])]
                for place in dict.fromkeys(errors.crystal.tolist())
            ]
        )
        covered = float(np.average(errors.error <= width, weights=errors.weight))
        formulas = errors.weight.sum()
        allowed = 3 * math.sqrt(COVERAGE * (1 - COVERAGE) * (1 / formulas + 1 / rule.crystals))
        assert covered == pytest.approx(COVERAGE, abs=allowed), prop

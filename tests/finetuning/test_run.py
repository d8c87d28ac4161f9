"""The whole way: from a model and frames to a better model and its pages."""

from __future__ import annotations

import csv
import json

import pytest
from tests.finetuning.worlds import frames, small_model, write_frames

import voigt.finetuning.run as module
from voigt.api import predict
from voigt.errors import RecipeError
from voigt.finetuning.run import Options, finetune
from voigt.models.checkpoint import load_model
from voigt.training.recipe import load_recipe

QUICK = Options(minutes=0.08, members=2)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    place = tmp_path_factory.mktemp("finetuning")
    start = small_model(place)
    data = write_frames(place / "salt.extxyz", frames(140, functional="SCAN"))
    said = []
    result = finetune(str(start), [data], place / "run", QUICK, said.append)
    return place, result, said


def test_the_model_is_better_than_before(done):
    _, result, _ = done
    entry = result.comparisons[0]
    assert entry.name == "born_charges"
    assert entry.frames == 21
    assert entry.after.value < 0.5 * entry.before.value


def test_the_model_predicts_with_spread_and_interval(done):
    place, result, _ = done
    prediction = predict(place / "salt.extxyz", result.model)[0]
    assert set(prediction.values) == {"born_charges", "eps_inf"}
    assert prediction.functionals["born_charges"] == "SCAN"
    assert "born_charges" in prediction.spread
    assert "born_charges" in load_model(result.model).intervals


def test_the_recipe_is_written_with_reasons_and_can_be_read(done, monkeypatch):
    place, _, said = done
    monkeypatch.delenv("VOIGT_DATA", raising=False)
    recipe = load_recipe(place / "run" / "recipe.yaml")
    assert recipe.split.kind == "blocks"
    assert recipe.start_functionals.keys() == {"SCAN"}
    assert recipe.targets["eps_inf"].loss == "relative"
    assert any("one formula" in sentence for sentence in said)
    assert "# " in (place / "run" / "recipe.yaml").read_text()


def test_pages_figures_and_tables_are_there(done):
    place, result, _ = done
    with (place / "run" / "learning_curve.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["member"] for row in rows} == {"0", "1"}
    assert float(rows[0]["val_mae_born_charges"]) > 0
    assert (place / "run" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert result.verdict in result.report.read_text()
    assert json.loads((place / "run" / "comparison.json").read_text())["verdict"] == result.verdict
    assert "test frames" in result.model.with_suffix(".md").read_text()


def test_a_finished_call_is_read_back(done, monkeypatch):
    place, result, _ = done

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(module, "train_on_device", never)
    again = finetune(str(place / "start.safetensors"), [place / "salt.extxyz"], place / "run", QUICK)
    assert again.comparisons == result.comparisons


def test_another_call_does_not_touch_the_folder(done):
    place, _, _ = done
    with pytest.raises(RecipeError, match="seed"):
        finetune(str(place / "start.safetensors"), [place / "salt.extxyz"], place / "run", Options(0.08, 1, None, 2))


def test_an_interrupted_call_goes_on_where_it_was(tmp_path, monkeypatch):
    start, data = small_model(tmp_path), write_frames(tmp_path / "salt.extxyz", frames(20))
    original, calls = module.train_on_device, []

    def killed_at_the_second(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module, "train_on_device", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        finetune(str(start), [data], tmp_path / "run", Options(0.05, members=2))
    first = (tmp_path / "run" / "member-0" / "salt.safetensors").read_bytes()
    monkeypatch.setattr(module, "train_on_device", original)
    assert finetune(str(start), [data], tmp_path / "run", Options(0.05, members=2)).model.is_file()
    assert (tmp_path / "run" / "member-0" / "salt.safetensors").read_bytes() == first


def test_damaged_state_is_named(done, tmp_path):
    place, _, _ = done
    (tmp_path / "finetune.json").write_text("{")
    with pytest.raises(RecipeError, match="cannot be read"):
        finetune(str(place / "start.safetensors"), [place / "salt.extxyz"], tmp_path, QUICK)


def test_missing_data_is_named(done, tmp_path):
    place, _, _ = done
    with pytest.raises(RecipeError, match="nowhere"):
        finetune(str(place / "start.safetensors"), [place / "nowhere.extxyz"], tmp_path / "x", QUICK)

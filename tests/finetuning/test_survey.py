"""What the data hold, and the split that they allow."""

from __future__ import annotations

import numpy as np
import pytest
from tests.finetuning.worlds import frames, small_model, write_frames

from voigt.data.labeled import labeled
from voigt.errors import TargetError
from voigt.finetuning.survey import choose_split, nearest_functionals, survey
from voigt.models.checkpoint import load_model


def crystals(images):
    return [labeled(atoms.info["id"], "file", atoms, {}, None) for atoms in images]


def of_many_formulas(count):
    images = frames(count)
    metals = ("Mg", "Ca", "Sr", "Ba", "Zn", "Cd", "Ni", "Co", "Fe", "Mn", "V", "Ti")
    for k, atoms in enumerate(images):
        atoms.symbols[atoms.symbols == "Mg"] = metals[k % len(metals)]
    return images


class TestSplit:
    def test_what_the_frames_state_counts(self):
        images = frames(6)
        for atoms, part in zip(images, ("train", "val", "test") * 2, strict=True):
            atoms.info["split"] = part
        assert choose_split([crystals(images)])[0].kind == "stored"

    def test_a_stated_split_without_validation_is_of_no_use(self):
        images = frames(6)
        for atoms, part in zip(images, ("train", "test") * 3, strict=True):
            atoms.info["split"] = part
        assert choose_split([crystals(images)])[0].kind == "blocks"

    def test_frames_of_one_formula_are_split_in_time(self):
        settings, why = choose_split([crystals(frames(20))])
        assert settings.kind == "blocks"
        assert "one formula" in why

    def test_compounds_are_split_by_formula_and_no_part_is_empty(self):
        from voigt.data.labeled import as_crystals
        from voigt.data.splits import split_crystals

        found = as_crystals(crystals(of_many_formulas(24)))
        settings, _ = choose_split([found])
        parts = split_crystals(found, settings)
        assert settings.kind == "formula"
        assert all(parts.values())
        assert not {found[i].group for i in parts["test"]} & {found[i].group for i in parts["train"]}

    def test_four_frames_are_too_few(self):
        with pytest.raises(TargetError, match="too few"):
            choose_split([crystals(frames(4))])


class TestSurvey:
    def test_takes_the_labels_that_the_model_gives(self, tmp_path):
        images = frames(6)
        for atoms in images:
            atoms.info["band_gap"] = 1.0
        found = survey(load_model(small_model(tmp_path)), [write_frames(tmp_path / "a.extxyz", images)])
        assert found.properties == ("born_charges", "eps_inf")
        assert found.new_elements == ()

    def test_says_which_labels_there_are_if_none_fits(self, tmp_path):
        images = frames(6)
        for atoms in images:
            del atoms.info["eps_inf"], atoms.arrays["born_charges"]
            atoms.info["band_gap"] = 1.0
        with pytest.raises(TargetError, match="labels found: band_gap"):
            survey(load_model(small_model(tmp_path)), [write_frames(tmp_path / "a.extxyz", images)])

    def test_names_elements_that_are_new(self, tmp_path):
        path = write_frames(tmp_path / "a.extxyz", frames(6, "CaO"))
        assert survey(load_model(small_model(tmp_path)), [path]).new_elements == (20,)

    def test_labels_without_a_functional_get_a_name(self, tmp_path):
        path = write_frames(tmp_path / "a.extxyz", frames(6, functional=None))
        model = load_model(small_model(tmp_path))
        assert survey(model, [path]).functionals == ("unstated",)
        assert survey(model, [path], "PBE").functionals == ("PBE",)

    def test_a_new_functional_starts_as_the_one_that_predicts_its_labels_best(self, tmp_path):
        model = load_model(small_model(tmp_path))
        network = model.members[0]
        network.functional.weight.data[0] += 3.0
        images = frames(6, functional="SCAN")
        from voigt.prediction.labeled import predict_labeled
        from voigt.prediction.result import Settings

        asked = [labeled(str(k), "file", atoms, {}, None) for k, atoms in enumerate(frames(6, functional="PBE"))]
        for place, result in predict_labeled(model, asked, Settings()):
            images[place].arrays["born_charges"] = np.array(result.values["born_charges"]).reshape(-1, 9)
            images[place].info["eps_inf"] = np.array(result.values["eps_inf"]).ravel().tolist()
        found, split = crystals(images), choose_split([crystals(images)])[0]
        assert nearest_functionals(model, found, split, ("SCAN",)) == {"SCAN": "PBE"}

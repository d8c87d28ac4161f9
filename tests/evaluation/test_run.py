"""A model against files: the right crystals, the right functional, the right label beside every prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import ase
import ase.io
import numpy as np
import pytest
from ase.build import bulk
from tests import crystals
from tests.matbench_tables import structure, write_table
from tests.predictions import save_tiny_model

from voigt.api import load_model, predict
from voigt.data import SplitSettings, read_labeled
from voigt.data.labeled import file_digest
from voigt.errors import DomainError, TargetError
from voigt.evaluation.run import crystal_parts, evaluate_model
from voigt.models.checkpoint import LoadedModel
from voigt.notes import MEANING
from voigt.prediction.result import Settings
from voigt.structures import read
from voigt.training.datamodule import read_data
from voigt.training.recipe import parse_recipe

SPLITS = ("train",) * 4 + ("val",) * 2 + ("test",) * 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp("models") / "tiny.safetensors"))


def labeled(model: LoadedModel, count: int = 10) -> list[ase.Atoms]:
    """Frames whose labels are the model's own predictions for their functional, plus 0.1 e and 0.2."""
    frames = []
    for k in range(count):
        atoms = crystals.perovskite()
        atoms.symbols[:] = ["Ba", "Ti", "O", "O", "O"] if k % 2 else ["Mg", "Si", "O", "O", "O"]
        atoms.rattle(0.05, seed=k)
        functional = "PBEsol" if k % 3 else "PBE"
        (own,) = predict(atoms, model, Settings(functional=functional))
        atoms.set_array("born_charges", own.values["born_charges"].reshape(-1, 9) + 0.1)
        atoms.info.update(
            id=f"c{k}", split=SPLITS[k], functional=functional, closed_shell=k != 9, eps_inf=own.values["eps_inf"] + 0.2
        )
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def frames(model: LoadedModel) -> list[ase.Atoms]:
    return labeled(model)


@pytest.fixture
def data(frames: list[ase.Atoms], tmp_path: Path) -> Path:
    path = tmp_path / "data.extxyz"
    ase.io.write(path, frames)
    return path


def mae(found: object, name: str = "born_charges") -> float:
    return found.evaluation.properties[name].scores["mae"].model.value


def test_predictions_meet_their_labels_under_their_functional(model: LoadedModel, data: Path) -> None:
    """Every component is off by 0.1 e and 0.2: only if crystal, atom and functional match is the MAE exactly that."""
    found = evaluate_model(model, [data])
    assert [crystal.id for crystal in found.scored] == ["c6", "c7", "c8", "c9"]
    assert mae(found) == pytest.approx(0.1, abs=1e-6)
    assert mae(found, "eps_inf") == pytest.approx(0.2, abs=1e-6)
    assert dict(found.evaluation.functionals) == {"PBE": 2, "PBEsol": 2}
    assert {crystal.crystal_system for crystal in found.scored} == {"triclinic"}


def test_splits_and_conditions(model: LoadedModel, data: Path) -> None:
    assert [c.id for c in evaluate_model(model, [data], split="val").scored] == ["c4", "c5"]
    assert len(evaluate_model(model, [data], split="all").scored) == 10
    assert [c.id for c in evaluate_model(model, [data], where="closed_shell").scored] == ["c6", "c7", "c8"]
    with pytest.raises(TargetError, match=r"no crystal in split 'tset'; it has test \(4\), train \(4\), val \(2\)"):
        evaluate_model(model, [data], split="tset")


def test_of_a_file_that_states_no_split_every_crystal_is_a_test(
    model: LoadedModel, frames: list[ase.Atoms], tmp_path: Path
) -> None:
    undivided = [atoms.copy() for atoms in frames]
    for atoms in undivided:
        del atoms.info["split"]
    ase.io.write(tmp_path / "data.extxyz", undivided)
    found = evaluate_model(model, [tmp_path / "data.extxyz"])
    assert len(found.scored) == 10
    assert any("split not stated, all crystals" in note for note in found.notes)
    with pytest.raises(TargetError, match="no crystal in split 'train'"):
        evaluate_model(model, [tmp_path / "data.extxyz"], split="train")


def test_baseline_is_the_mean_of_the_training_split(model: LoadedModel, data: Path, frames: list[ase.Atoms]) -> None:
    found = evaluate_model(model, [data], properties=["born_charges"])
    errors = []
    for test in frames[6:]:
        for symbol, label in zip(test.symbols, test.arrays["born_charges"].reshape(-1, 3, 3), strict=True):
            traces = [
                np.trace(z.reshape(3, 3))
                for train in frames[:4]
                if train.info["functional"] == test.info["functional"]
                for s, z in zip(train.symbols, train.arrays["born_charges"], strict=True)
                if s == symbol
            ]
            mean = np.mean(traces) / 3 if traces else 0.0
            errors.append(abs(label - mean * np.eye(3)))
    score = found.evaluation.properties["born_charges"].scores["mae"]
    assert score.baseline is not None
    assert score.baseline.value == pytest.approx(np.mean(errors), abs=1e-6)
    without = evaluate_model(model, [data], baseline=False).evaluation.properties["born_charges"].scores["mae"]
    assert without.baseline is None


def test_a_file_without_training_split_has_no_baseline(
    model: LoadedModel, frames: list[ase.Atoms], tmp_path: Path
) -> None:
    ase.io.write(tmp_path / "test.extxyz", frames[6:])
    found = evaluate_model(model, [tmp_path / "test.extxyz"])
    assert found.evaluation.properties["born_charges"].scores["mae"].baseline is None
    assert any(note.startswith("no baseline: test.extxyz") for note in found.notes)


def test_several_files(model: LoadedModel, frames: list[ase.Atoms], data: Path, tmp_path: Path) -> None:
    """The second file has no eps_inf, and its own training split."""
    others = [frame.copy() for frame in frames]
    for frame in others:
        frame.info.pop("eps_inf")
    ase.io.write(tmp_path / "other.extxyz", others)
    found = evaluate_model(model, [data, tmp_path / "other.extxyz"])
    assert len(found.scored) == 8
    assert found.evaluation.properties["born_charges"].crystals == 8
    assert found.evaluation.properties["eps_inf"].crystals == 4
    assert found.evaluation.properties["born_charges"].scores["mae"].baseline is not None


def test_unseen_elements_are_left_out_and_counted(model: LoadedModel, frames: list[ase.Atoms], tmp_path: Path) -> None:
    changed = [frame.copy() for frame in frames]
    changed[7].symbols[0] = "Pb"
    ase.io.write(tmp_path / "data.extxyz", changed)
    found = evaluate_model(model, [tmp_path / "data.extxyz"])
    assert found.evaluation.properties["born_charges"].unpredicted == 1
    assert mae(found) == pytest.approx(0.1, abs=1e-6)
    unseen = f"1 crystals left out ({MEANING['unseen_elements']}), e.g. c7: Pb not among"
    assert any(note.startswith(unseen) for note in found.notes)
    everything = evaluate_model(model, [tmp_path / "data.extxyz"], allow_unseen=True)
    assert everything.evaluation.properties["born_charges"].unpredicted == 0


def trained_on(model: LoadedModel, data: Path, recipe: Mapping[str, object]) -> LoadedModel:
    """The model with a card that names a file and a recipe."""
    card = replace(model.card, recipe=recipe, data={data.name: file_digest(data)})
    return LoadedModel(model.name, model.members, card)


def test_a_split_that_training_made_is_made_again(model: LoadedModel, data: Path) -> None:
    """Stored splits would let a model trained on blocks see its own training crystals. The card is an old one."""
    split = {"kind": "blocks", "fractions": [0.5, 0.2, 0.3], "seed": 0, "gap": 0}
    trained = trained_on(model, data, {"split": split})
    assert [crystal.id for crystal in evaluate_model(trained, [data]).scored] == ["c7", "c8", "c9"]
    elsewhere = LoadedModel(model.name, model.members, replace(trained.card, data={"data.extxyz": "another"}))
    assert [crystal.id for crystal in evaluate_model(elsewhere, [data]).scored] == ["c6", "c7", "c8", "c9"]


FORMULAS = ("MgO", "NaCl", "NaF", "LiF", "CaO", "KCl", "SrO", "BaO", "LiCl", "RbF", "CsF", "ZnO")
KINDS = get_args(SplitSettings.model_fields["kind"].annotation)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty-six frames with stored parts, formulas and fold numbers that all cut across each other."""
    frames = []
    for k in range(36):
        atoms = bulk(FORMULAS[k % 12], "rocksalt", a=4.5 + 0.02 * k)
        part = ("train", "test", "train", "val", "train")[k % 5]
        atoms.info.update(id=f"c{k}", eps_inf=(2.0 + k) * np.eye(3), split=part, fold=k * 7 % 4)
        atoms.info["closed_shell"] = k % 9 != 2
        frames.append(atoms)
    path = tmp_path_factory.mktemp("many") / "many.extxyz"
    ase.io.write(path, frames)
    return path


@pytest.mark.parametrize("where", [None, "closed_shell"])
@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_those_of_the_training(model: LoadedModel, many: Path, kind: str, where: str | None) -> None:
    """Whatever the kind of split: a test part of evaluation with a training crystal in it would flatter the model."""
    split = {"kind": kind, "fractions": (0.5, 0.25, 0.25), "seed": 1, "gap": 1, "column": "fold", "fold": 2}
    content = {
        "name": "any",
        "data": [{"path": many.name, "where": where}],
        "data_root": str(many.parent),
        "targets": {"eps_inf": {}},
        "split": {**split, "val_fraction": 0.3},
    }
    recipe = parse_recipe(content, "test")
    data = read_data(recipe)
    parts = {part: [data.crystals[i].id for i in members] for part, members in data.parts.items()}
    assert all(len(members) >= 2 for members in parts.values())
    trained = trained_on(model, many, recipe.model_dump(mode="json"))
    for part, expected in parts.items():
        scored = evaluate_model(trained, [many], part, where, "PBEsol", allow_unseen=True, baseline=False).scored
        assert [crystal.id for crystal in scored] == expected
    # To look at more crystals of the file than training read must not move training crystals to the test part.
    test = {crystal.id for crystal in evaluate_model(trained, [many], allow_unseen=True, baseline=False).scored}
    assert not test.intersection(parts["train"] + parts["val"])


def test_an_unknown_kind_of_split_is_refused(model: LoadedModel, data: Path) -> None:
    trained = trained_on(model, data, {"split": {"kind": "random", "seed": 0}})
    with pytest.raises(TargetError, match="split of this model's training cannot be made again"):
        evaluate_model(trained, [data])


def test_blocks_of_crystals_that_share_an_id_are_refused(model: LoadedModel, tmp_path: Path) -> None:
    """Tables may name two rows alike; which of them was in which block cannot be said then."""
    crystals_of = structure(bulk("MgO", "rocksalt", a=4.2))
    path = write_table(tmp_path / "twins.parquet", [{"mp_id": "mp-1", "band_gap": 1.0, **crystals_of}] * 8)
    trained = trained_on(model, path, {"split": {"kind": "blocks"}})
    with pytest.raises(TargetError, match="the same id"):
        crystal_parts(path, read_labeled(path, ["band_gap"]), trained.card)


def test_labels_of_an_unknown_functional_are_told(model: LoadedModel, frames: list[ase.Atoms], tmp_path: Path) -> None:
    changed = [frame.copy() for frame in frames]
    changed[7].info["functional"] = "LDA"
    del changed[8].info["functional"]
    ase.io.write(tmp_path / "data.extxyz", changed)
    notes = evaluate_model(model, [tmp_path / "data.extxyz"]).notes
    assert "1 crystals labeled LDA are predicted for PBEsol" in notes
    assert "1 crystals labeled none are predicted for PBEsol" in notes
    notes = evaluate_model(model, [tmp_path / "data.extxyz"], functional="PBE").notes
    assert not any("labeled none" in note for note in notes)


def test_wrong_names_and_labels(model: LoadedModel, data: Path, frames: list[ase.Atoms], tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="does not predict elastic"):
        evaluate_model(model, [data], properties=["elastic"])
    bare = [frame.copy() for frame in frames]
    for frame in bare:
        frame.info.pop("eps_inf")
        del frame.arrays["born_charges"]
    path = tmp_path / "bare.extxyz"
    ase.io.write(path, bare)
    with pytest.raises(TargetError, match="no crystal has a label of born_charges, eps_inf"):
        evaluate_model(model, [path])
    with pytest.raises(TargetError, match="no crystal has a label 'eps_inf'"):
        evaluate_model(model, [path], properties=["eps_inf"])
    for frame in bare:
        frame.set_array("born_charges", np.zeros((5, 9)))
    ase.io.write(path, bare)
    with pytest.raises(TargetError, match="zero in every crystal"):
        evaluate_model(model, [path])


def test_progress_is_told_for_every_crystal(model: LoadedModel, data: Path) -> None:
    told: list[None] = []
    evaluate_model(model, [data], advance=lambda: told.append(None))
    assert len(told) == 4


def test_the_model_is_evaluated_as_it_is_used(model: LoadedModel, data: Path) -> None:
    """Same numbers as voigt.predict on the same frames (users met frameworks where they differ)."""
    found = evaluate_model(model, [data])
    used = {frame.id: frame.atoms for frame in read([data])}
    for crystal in found.scored:
        (prediction,) = predict(used[crystal.id], model, Settings(functional=crystal.functional))
        np.testing.assert_allclose(crystal.predicted["born_charges"], prediction.values["born_charges"], atol=1e-5)
        np.testing.assert_allclose(crystal.raw["born_charges"], prediction.raw["born_charges"], atol=1e-5)

"""Cross-validation: what is held out is unseen, every fold starts afresh, and the mean is that of the folds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tests.training.synthetic import labeled_crystals, recipe, write_data

from voigt.errors import RecipeError, TargetError
from voigt.models.checkpoint import load_model
from voigt.training import run
from voigt.training.crossval import cross_validate, fold_data
from voigt.training.datamodule import read_data
from voigt.training.start import initial_network


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two shakings of every formula, the last three frames a test split."""
    folder = tmp_path_factory.mktemp("world")
    frames = labeled_crystals(0) + labeled_crystals(1)
    for atoms in frames[-3:]:
        atoms.info["split"] = "test"
    write_data(folder, frames)
    return folder


@pytest.fixture(scope="module")
def crossed(world):
    """Result of three folds, and the weights each of them started from."""
    started = []

    def recorded(tiny, graphs):
        network = initial_network(tiny, graphs)
        started.append({name: value.clone() for name, value in network.state_dict().items()})
        return network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "initial_network", recorded)
        result = cross_validate(recipe(world, epochs=2), 3, world / "cv")
    return result, started


class TestFoldData:
    def test_groups_are_not_shared_and_every_crystal_is_held_out_once(self, world):
        tiny = recipe(world)
        data = read_data(tiny)
        parts = [fold.parts for fold in fold_data(data, tiny, 4)]
        held = list(itertools.chain(*(part["val"] for part in parts)))
        assert sorted(held) == sorted(data.parts["train"] + data.parts["val"])
        for part in parts:
            assert sorted(part["train"] + part["val"]) == sorted(held)
            groups = [{data.crystals[i].group for i in part[name]} for name in ("train", "val")]
            assert not groups[0] & groups[1]
            assert part["test"] == data.parts["test"] == [21, 22, 23]
        sizes = [len(part["val"]) for part in parts]
        assert max(sizes) - min(sizes) <= 2

    def test_the_seed_of_the_split_decides(self, world):
        data = read_data(recipe(world))
        first, same, other = (
            [fold.parts for fold in fold_data(data, recipe(world, split={"seed": seed}), 3)] for seed in (0, 0, 5)
        )
        assert first == same != other

    def test_blocks_in_time_keep_their_distance(self, world):
        tiny = recipe(world, split={"kind": "blocks", "fractions": [0.5, 0.5, 0.0], "gap": 2})
        data = read_data(tiny)
        used = data.parts["train"] + data.parts["val"]
        folds = fold_data(data, tiny, 3)
        assert list(itertools.chain(*(fold.parts["val"] for fold in folds))) == used
        for fold in folds:
            held, kept = np.array(fold.parts["val"]), np.array(fold.parts["train"])
            assert set(np.diff(held)) <= {1, 3}  # 3 where the split itself left its gap
            assert np.abs(held[:, None] - kept).min() == 3
            assert {*held, *kept} < set(used)

    def test_impossible(self, world):
        tiny = recipe(world)
        with pytest.raises(TargetError, match="12 distinct groups cannot make 13 folds"):
            fold_data(read_data(tiny), tiny, 13)
        with pytest.raises(TargetError, match="at least 2"):
            fold_data(read_data(tiny), tiny, 1)


class TestCrossValidate:
    def test_fresh_weights_for_every_fold(self, crossed):
        _, started = crossed
        key = "interactions.0.linear.weight"
        for first, second in itertools.combinations(started, 2):
            assert not torch.equal(first[key], second[key])

    def test_the_seed_decides(self, world, crossed):
        result, _ = crossed
        tiny = recipe(world, epochs=2)
        fold = fold_data(read_data(tiny), tiny, 3)[1]
        again = run.train(tiny.model_copy(update={"seed": 1}), world / "again", data=fold)
        assert again.metrics == result.folds[1].metrics
        for left, right in zip(again.network.parameters(), result.folds[1].network.parameters(), strict=True):
            assert torch.equal(left, right)

    def test_mean_and_deviation(self, crossed):
        result, _ = crossed
        for name in ("val/born_charges_mae", "val/eps_inf"):
            values = [fold.metrics[name] for fold in result.folds]
            assert len(set(values)) == 3
            assert result.mean[name] == pytest.approx(sum(values) / 3)
            assert result.std[name] == pytest.approx((sum((v - sum(values) / 3) ** 2 for v in values) / 2) ** 0.5)
        assert "epoch" not in result.mean

    def test_files(self, world, crossed):
        result, _ = crossed
        assert [fold.model for fold in result.folds] == [world / f"cv/fold-{k}/tiny.safetensors" for k in range(3)]
        assert load_model(result.folds[2].model).card.recipe["seed"] == 2

    def test_a_second_start_is_refused_and_resuming_keeps_finished_folds(self, world, crossed):
        result, _ = crossed
        tiny = recipe(world, epochs=2)
        with pytest.raises(RecipeError, match="fold-0 holds an earlier run"):
            cross_validate(tiny, 3, world / "cv")
        stamps = [fold.model.stat().st_mtime_ns for fold in result.folds]
        again = cross_validate(tiny, 3, world / "cv", resume=True)
        assert [fold.model.stat().st_mtime_ns for fold in again.folds] == stamps
        assert again.mean == result.mean

    def test_other_folds_are_not_continued(self, world, crossed):
        with pytest.raises(RecipeError, match="choice of crystals"):
            cross_validate(recipe(world, epochs=2), 2, world / "cv", resume=True)

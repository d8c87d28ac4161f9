"""From a recipe to batches: which crystals, with which labels, in which order."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from tests import crystals
from tests.training.synthetic import FORMULAS, labeled_crystals, labels, recipe, write_data

from voigt.errors import InputError, RecipeError, TargetError
from voigt.training.datamodule import (
    BudgetBatches,
    CrystalDataModule,
    ShuffledBatches,
    check_parts,
    read_data,
    training_graph,
)


def order(sampler: ShuffledBatches, epochs: int) -> list[list[int]]:
    batches = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        batches += list(sampler)
    return batches


class TestReadData:
    def test_parts_of_several_files_are_joined(self, tmp_path):
        write_data(tmp_path)
        write_data(tmp_path, labeled_crystals(1, FORMULAS[:4]), "more.extxyz")
        data = read_data(recipe(tmp_path, data=[{"path": "data.extxyz"}, {"path": "more.extxyz"}]))
        assert {name: len(members) for name, members in data.parts.items()} == {"train": 12, "val": 4, "test": 0}
        for part in ("train", "val"):
            assert {crystal.split for crystal in data.select(part)} == {part}
        assert {crystal.id for crystal in data.select("train")} >= {"MgO-0", "MgO-1"}
        assert list(data.digests) == ["data.extxyz", "more.extxyz"]
        assert data.digests["data.extxyz"] != data.digests["more.extxyz"]

    def test_limits_are_nested_and_leave_other_files_alone(self, tmp_path):
        frames = labeled_crystals(0, FORMULAS * 4)
        for k, atoms in enumerate(frames):
            atoms.info["id"] = f"{k}-0"
        write_data(tmp_path, frames)
        write_data(tmp_path, labeled_crystals(1), "more.extxyz")

        def chosen(limit: int) -> set[str]:
            data = read_data(recipe(tmp_path, data=[{"path": "data.extxyz", "limit": limit}, {"path": "more.extxyz"}]))
            members = [crystal.id for crystal in data.select("train")]
            assert len(members) == limit + 9
            return {name for name in members if name.endswith("-0")}

        assert chosen(5) < chosen(20)
        assert chosen(5) != {f"{k}-0" for k in range(5)}  # at random, not the first ones

    def test_max_train_takes_the_first(self, tmp_path):
        write_data(tmp_path)
        data = read_data(recipe(tmp_path, split={"max_train": 3}))
        assert data.parts["train"] == [0, 1, 2]
        assert len(data.parts["val"]) == 3

    @pytest.mark.parametrize("kind", ["formula", "blocks"])
    def test_other_splits(self, tmp_path, kind):
        write_data(tmp_path)
        data = read_data(recipe(tmp_path, split={"kind": kind, "fractions": [0.5, 0.25, 0.25], "seed": 1}))
        assert sorted(itertools.chain(*data.parts.values())) == list(range(12))
        if kind == "blocks":
            assert data.parts["train"] == list(range(6))

    def test_a_split_that_leaves_nothing_is_refused(self, tmp_path):
        write_data(tmp_path)
        with pytest.raises(TargetError, match="leaves no crystal for 'val'"):
            read_data(recipe(tmp_path, split={"kind": "blocks", "gap": 12}))

    def test_elements_and_functionals_of_a_part(self, tmp_path):
        frames = labeled_crystals()
        for atoms in frames[:2]:
            atoms.info["functional"] = "LDA"
        write_data(tmp_path, frames)
        both = recipe(tmp_path, model={"functionals": ["PBE", "LDA"]})
        data = read_data(both)
        assert data.functionals("train") == ("PBE", "LDA")  # seven and two
        assert data.functionals("val") == ("PBE",)
        assert data.elements("train") == (7, 8, 12, 16, 20, 22)  # N of TiN to Ti
        assert data.elements("test") == ()

    def test_all_missing_files_are_named(self, tmp_path):
        write_data(tmp_path)
        names = ("absent.extxyz", "data.extxyz", "gone.parquet")
        with pytest.raises(RecipeError) as caught:
            read_data(recipe(tmp_path, data=[{"path": name} for name in names]))
        assert str(tmp_path / "absent.extxyz") in str(caught.value)
        assert str(tmp_path / "gone.parquet") in str(caught.value)
        assert "data.extxyz" not in str(caught.value)
        assert "VOIGT_DATA" in str(caught.value)


class TestFolds:
    def data(self, folder, **split):
        frames = labeled_crystals(0, FORMULAS * 20)
        for k, atoms in enumerate(frames):
            atoms.info["id"] = f"c{k}"
            if k % 6:
                atoms.info["fold"] = k % 3
        write_data(folder, frames)
        return read_data(recipe(folder, split={"kind": "folds", "column": "fold", "val_fraction": 0.2, **split}))

    def test_parts(self, tmp_path):
        data = self.data(tmp_path, fold=1)
        assert data.parts["test"] == [k for k in range(240) if k % 3 == 1]
        rest = sorted(data.parts["train"] + data.parts["val"])
        assert rest == [k for k in range(240) if k % 3 != 1 and k % 6]
        assert 10 < len(data.parts["val"]) < 50

    def test_fewer_training_crystals_are_chosen_at_random_and_nested(self, tmp_path):
        everything, many, few = (
            self.data(tmp_path, **settings).parts for settings in ({}, {"max_train": 60}, {"max_train": 20})
        )
        assert set(few["train"]) < set(many["train"]) < set(everything["train"])
        assert (len(many["train"]), len(few["train"])) == (60, 20)
        assert few["train"] != everything["train"][:20]
        assert max(few["train"]) > 120
        assert everything["val"] == few["val"]
        assert everything["test"] == few["test"]

    def test_a_wrong_column_is_named(self, tmp_path):
        with pytest.raises(TargetError, match=r"no crystal has the info key 'flod'; correct split\.column"):
            self.data(tmp_path, column="flod")
        with pytest.raises(TargetError, match=r"'functional' must be a fold number, found 'PBE'"):
            self.data(tmp_path, column="functional")
        with pytest.raises(TargetError, match="no crystal is in fold 3, folds found: 0, 1, 2"):
            self.data(tmp_path, fold=3)


class TestFunctionals:
    def sources(self, folder, *functionals):
        sources = []
        for k, functional in enumerate(functionals):
            frames = labeled_crystals(k)
            for atoms in frames:
                del atoms.info["functional"]
            write_data(folder, frames, f"{k}.extxyz")
            sources.append({"path": f"{k}.extxyz", "functional": functional})
        return sources

    def test_are_never_mixed_silently(self, tmp_path):
        for second in ("PBEsol", None):
            sources = self.sources(tmp_path, "PBE", second)
            with pytest.raises(RecipeError, match=r"mix the functionals PBE.*model\.functionals"):
                read_data(recipe(tmp_path, data=sources))
        sources = self.sources(tmp_path, "PBE", "PBEsol")
        assert read_data(recipe(tmp_path, data=sources, model={"functionals": ["PBE", "PBEsol"]})).crystals

    def test_must_be_those_of_the_model(self, tmp_path):
        sources = self.sources(tmp_path, "PBE", "SCAN")
        with pytest.raises(RecipeError, match=r"labels of functional SCAN, model\.functionals is PBE, PBEsol"):
            read_data(recipe(tmp_path, data=sources, model={"functionals": ["PBE", "PBEsol"]}))
        with pytest.raises(RecipeError, match="none stated"):
            read_data(recipe(tmp_path, data=self.sources(tmp_path, None), model={"functionals": ["PBE"]}))

    def test_one_unnamed_functional_needs_no_label(self, tmp_path):
        assert read_data(recipe(tmp_path, data=self.sources(tmp_path, None))).crystals

    def test_reach_the_graph_only_if_the_model_asks(self, tmp_path):
        write_data(tmp_path)
        plain, conditioned = recipe(tmp_path), recipe(tmp_path, model={"functionals": ["PBE"]})
        crystal = read_data(plain).crystals[0]
        assert training_graph(crystal, plain).functional is None
        assert training_graph(crystal, conditioned).functional == "PBE"


class TestCheckParts:
    def test_a_part_without_labels_is_refused(self, tmp_path):
        frames = labeled_crystals()
        for atoms in frames[9:]:
            del atoms.info["eps_inf"]
        write_data(tmp_path, frames)
        tiny = recipe(tmp_path)
        with pytest.raises(TargetError, match="no crystal has a label 'eps_inf' in val;"):
            check_parts(read_data(tiny), tiny)

    def test_one_label_is_enough(self, tmp_path):
        frames = labeled_crystals()
        for atoms in frames[1:9]:
            del atoms.info["eps_inf"]
        write_data(tmp_path, frames)
        tiny = recipe(tmp_path)
        check_parts(read_data(tiny), tiny)


class TestGraphs:
    def test_labels_are_those_of_the_crystal(self, tmp_path):
        write_data(tmp_path)
        tiny = recipe(tmp_path)
        crystal = read_data(tiny).crystals[5]
        graph = training_graph(crystal, tiny)
        born, eps = labels(crystal.atoms)
        np.testing.assert_allclose(graph.targets["born_charges"].numpy(), born, atol=1e-6)
        np.testing.assert_allclose(graph.targets["eps_inf"].numpy(), eps[None], atol=1e-6)

    def test_absent_labels_are_nan_of_the_right_shape(self, tmp_path):
        frames = labeled_crystals()
        del frames[0].info["eps_inf"], frames[1].arrays["born_charges"]
        frames[2].info["band_gap"] = 1.0
        write_data(tmp_path, frames)
        tiny = recipe(tmp_path, targets={"born_charges": {}, "eps_inf": {}, "band_gap": {}})
        first, second, third = (training_graph(crystal, tiny) for crystal in read_data(tiny).crystals[:3])
        assert first.targets["eps_inf"].shape == (1, 3, 3)
        assert first.targets["eps_inf"].isnan().all()
        assert second.targets["born_charges"].shape == (second.num_atoms, 3, 3)
        assert second.targets["born_charges"].isnan().all()
        assert not first.targets["born_charges"].isnan().any()
        assert third.targets["band_gap"].tolist() == [1.0]

    @pytest.mark.parametrize(("precision", "dtype"), [("32", torch.float32), ("64", torch.float64)])
    def test_precision(self, tmp_path, precision, dtype):
        write_data(tmp_path)
        tiny = recipe(tmp_path, precision=precision)
        graph = training_graph(read_data(tiny).crystals[0], tiny)
        assert {graph.edge_vector.dtype, graph.targets["eps_inf"].dtype} == {dtype}

    def test_symmetry_reduces_edges_only_if_wanted(self, tmp_path):
        atoms = crystals.rutile()
        atoms.arrays["born_charges"] = np.ones((6, 9))
        atoms.info.update(split="train", id="rutile", functional="PBE")
        write_data(tmp_path, [atoms, *labeled_crystals()])
        reduced, full = recipe(tmp_path), recipe(tmp_path, symmetry=None)
        crystal = read_data(full).crystals[0]
        assert len(training_graph(crystal, reduced).representative) == 2  # Ti and O
        assert training_graph(crystal, full).num_edges > 2 * training_graph(crystal, reduced).num_edges
        assert training_graph(crystal, reduced).targets["born_charges"].shape == (6, 3, 3)

    def test_a_crystal_without_space_group_is_named_with_the_remedy(self, tmp_path, monkeypatch):
        monkeypatch.setattr("spglib.get_symmetry_dataset", lambda *_args, **_options: None)
        write_data(tmp_path)
        tiny = recipe(tmp_path)
        with pytest.raises(InputError, match=r"data\.extxyz, id MgO-0: .*symmetry.*null"):
            training_graph(read_data(tiny).crystals[0], tiny)


class TestShuffledBatches:
    def test_every_crystal_once_in_a_pass(self):
        for epoch in range(3):
            sampler = ShuffledBatches(12, 4, seed=0, steps=None)
            sampler.set_epoch(epoch)
            assert len(sampler) == 3
            assert sorted(itertools.chain(*sampler)) == list(range(12))

    def test_passes_differ_and_seeds_differ(self):
        first = order(ShuffledBatches(12, 4, 0, None), 2)
        assert first[:3] != first[3:]
        assert first != order(ShuffledBatches(12, 4, 1, None), 2)
        assert first == order(ShuffledBatches(12, 4, 0, None), 2)

    def test_a_later_epoch_needs_no_history(self):
        sampler = ShuffledBatches(10, 3, 0, None)
        sampler.set_epoch(5)
        assert list(sampler) == order(ShuffledBatches(10, 3, 0, None), 6)[-3:]

    def test_the_stream_does_not_depend_on_how_it_is_cut(self):
        by_pass = order(ShuffledBatches(12, 4, 0, None), 4)
        assert order(ShuffledBatches(12, 4, 0, 2), 6) == by_pass
        assert order(ShuffledBatches(12, 4, 0, 5), 2) == by_pass[:10]

    def test_incomplete_batches_are_dropped_and_all_crystals_come_in_the_long_run(self):
        batches = order(ShuffledBatches(10, 4, 0, None), 60)
        assert {len(batch) for batch in batches} == {4}
        count = Counter(itertools.chain(*batches))
        assert set(count) == set(range(10))
        assert min(count.values()) > 30  # 48 expected, standard deviation 3

    def test_fewer_crystals_than_a_batch(self):
        sampler = ShuffledBatches(3, 16, 0, None)
        assert [sorted(batch) for batch in sampler] == [[0, 1, 2]]


def test_validation_batches_hold_every_crystal_once_within_the_budget(tmp_path):
    write_data(tmp_path)
    tiny = recipe(tmp_path)
    graphs = [training_graph(crystal, tiny) for crystal in read_data(tiny).crystals]
    largest = max(graph.num_edges for graph in graphs)
    for budget in (1, 2 * largest, 10**6):
        batches = list(BudgetBatches(graphs, budget))
        assert sorted(itertools.chain(*batches)) == list(range(12))
        assert all(len(batch) == 1 or sum(graphs[i].num_edges for i in batch) <= budget for batch in batches)
    assert len(list(BudgetBatches(graphs, 1))) == 12
    assert len(list(BudgetBatches(graphs, 10**6))) == 1


def test_batches_of_the_module(tmp_path):
    write_data(tmp_path)
    tiny = recipe(tmp_path, batch_size=4)
    module = CrystalDataModule(tiny, read_data(tiny))
    batches = list(module.train_dataloader())
    assert [batch.num_crystals for batch in batches] == [4, 4]
    (validation,) = module.val_dataloader()
    assert validation.num_crystals == 3
    assert validation.targets["eps_inf"].shape == (3, 3, 3)

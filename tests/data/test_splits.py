"""Splits that do not leak, do not depend on order, and say when there is nothing to split."""

from __future__ import annotations

import hashlib
import re
from itertools import pairwise

import numpy as np
import pytest
from ase.formula import Formula

from voigt.data import SplitSettings, as_crystals, read_labeled
from voigt.data.splits import (
    block_folds,
    block_split,
    check_filled,
    fold_split,
    formula_split,
    grouped_folds,
    recorded_split,
    split_crystals,
    stored_split,
)
from voigt.errors import TargetError

GROUPS = [f"compound-{k}" for k in range(600) for _ in range(1 + k % 3)]


def test_stored_split_by_hand():
    assert stored_split(["train", "val", "train", "test"]) == {"train": [0, 2], "val": [1], "test": [3]}


def test_stored_split_faults():
    with pytest.raises(TargetError, match=r"found '', 'valid'.*choose another split"):
        stored_split(["train", "valid", "val", ""])
    with pytest.raises(TargetError, match="no crystal for 'val'"):
        check_filled(stored_split(["train", "train"]))
    with pytest.raises(TargetError, match="no crystal for 'train'"):
        check_filled(stored_split(["val", "test"]))


class TestFormulaSplit:
    def test_every_frame_once_and_no_group_on_two_sides(self):
        parts = formula_split(GROUPS, (0.8, 0.1, 0.1), 0)
        assert sorted(index for part in parts.values() for index in part) == list(range(len(GROUPS)))
        names = {part: {GROUPS[index] for index in members} for part, members in parts.items()}
        assert not names["train"] & names["val"]
        assert not names["train"] & names["test"]
        assert not names["val"] & names["test"]

    @pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (6, 2, 2), (0.5, 0.5, 0.0)])
    def test_fractions_of_groups(self, fractions):
        parts = formula_split(GROUPS, fractions, 1)
        for name, share in zip(("train", "val", "test"), np.array(fractions) / sum(fractions), strict=True):
            found = len({GROUPS[index] for index in parts[name]}) / 600
            # Binomial: four standard deviations.
            assert abs(found - share) <= 4 * np.sqrt(share * (1 - share) / 600)

    def test_order_and_company_do_not_matter(self):
        order = np.random.default_rng(0).permutation(len(GROUPS))[:700]
        whole = formula_split(GROUPS, (0.8, 0.1, 0.1), 3)
        part = formula_split([GROUPS[index] for index in order], (0.8, 0.1, 0.1), 3)
        for name in whole:
            assert {GROUPS[index] for index in whole[name]} >= {GROUPS[order[index]] for index in part[name]}

    def test_seed_matters(self):
        assert formula_split(GROUPS, (0.8, 0.1, 0.1), 0) != formula_split(GROUPS, (0.8, 0.1, 0.1), 1)

    def test_one_formula_cannot_be_split(self):
        with pytest.raises(TargetError, match="other fractions"):
            check_filled(formula_split(["ZrO2"] * 50, (0.8, 0.1, 0.1), 0))


class TestBlocks:
    def test_consecutive_with_gaps(self):
        parts = block_split(100, (0.7, 0.1, 0.2), gap=3)
        assert parts == {"train": list(range(70)), "val": list(range(73, 80)), "test": list(range(83, 100))}

    def test_without_gap_every_frame_is_used(self):
        parts = block_split(97, (0.7, 0.1, 0.2))
        assert [index for part in parts.values() for index in part] == list(range(97))

    def test_too_short(self):
        with pytest.raises(TargetError, match="'val'"):
            check_filled(block_split(20, (0.8, 0.1, 0.1), gap=5))


class TestFolds:
    @pytest.mark.parametrize("folds", [2, 5, 10])
    def test_groups_stay_together_and_folds_are_balanced(self, folds):
        number = grouped_folds(GROUPS, folds, 0)
        sizes = np.bincount(number, minlength=folds)
        assert sizes.max() - sizes.min() <= 3  # the largest group
        for name in set(GROUPS):
            assert len(set(number[[index for index, own in enumerate(GROUPS) if own == name]])) == 1

    def test_order_does_not_matter_but_the_seed_does(self):
        order = np.random.default_rng(1).permutation(len(GROUPS))
        number = grouped_folds(GROUPS, 5, 0)
        assert np.array_equal(grouped_folds([GROUPS[index] for index in order], 5, 0), number[order])
        assert not np.array_equal(grouped_folds(GROUPS, 5, 1), number)

    def test_block_folds_are_runs_of_equal_length(self):
        number = block_folds(23, 5)
        assert all(b - a in (0, 1) for a, b in pairwise(number))
        assert set(np.bincount(number)) <= {4, 5}
        assert len(set(number)) == 5

    def test_impossible_numbers_of_folds(self):
        with pytest.raises(TargetError, match=r"2 distinct groups cannot make 3 folds"):
            grouped_folds(["a", "b", "b", "b"], 3, 0)
        with pytest.raises(TargetError, match="3 frames cannot make 4 folds"):
            block_folds(3, 4)
        for function in (lambda: grouped_folds(["a", "b"], 1, 0), lambda: block_folds(3, 1)):
            with pytest.raises(TargetError, match="at least 2"):
                function()


class TestFoldsOfOthers:
    FOLDS = tuple(None if k % 7 == 0 else k % 5 for k in range(4000))
    IDS = tuple(f"mp-{k}" for k in range(4000))

    def test_the_fold_is_the_test_part_and_rows_without_one_are_left_out(self):
        parts = fold_split(self.FOLDS, self.IDS, 2, 0.05, 0)
        assert parts["test"] == [k for k, fold in enumerate(self.FOLDS) if fold == 2]
        rest = [k for k, fold in enumerate(self.FOLDS) if fold not in (None, 2)]
        assert sorted(parts["train"] + parts["val"]) == rest
        # Binomial: four standard deviations.
        assert abs(len(parts["val"]) / len(rest) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / len(rest))

    def test_validation_crystals_do_not_depend_on_the_order(self):
        order = np.random.default_rng(0).permutation(4000)
        parts = fold_split(self.FOLDS, self.IDS, 1, 0.1, 0)
        moved = fold_split([self.FOLDS[i] for i in order], [self.IDS[i] for i in order], 1, 0.1, 0)
        assert {self.IDS[i] for i in parts["val"]} == {self.IDS[order[i]] for i in moved["val"]}
        assert set(parts["val"]) != set(fold_split(self.FOLDS, self.IDS, 1, 0.1, 1)["val"])

    def test_a_larger_share_holds_the_smaller_one(self):
        small, large = (set(fold_split(self.FOLDS, self.IDS, 1, share, 0)["val"]) for share in (0.05, 0.2))
        assert small < large

    def test_faults(self):
        with pytest.raises(TargetError, match=r"no crystal is in fold 5, folds found: 0, 1, 2, 3, 4"):
            fold_split(self.FOLDS, self.IDS, 5, 0.05, 0)
        with pytest.raises(TargetError, match="no crystal for 'val'"):
            check_filled(fold_split([0, 1, 1], ["a", "b", "c"], 0, 1e-9, 0))


class TestRecordedSplit:
    """What a model file says of its training."""

    def test_keys_that_came_later_take_their_defaults(self):
        assert recorded_split({}) == recorded_split({"split": {}}) == SplitSettings()
        old = {"kind": "blocks", "fractions": [0.5, 0.2, 0.3], "seed": 3, "gap": 2, "max_train": None}
        assert recorded_split({"split": old}) == SplitSettings(kind="blocks", fractions=(0.5, 0.2, 0.3), seed=3, gap=2)

    def test_comes_back_from_a_recipe(self):
        settings = SplitSettings(kind="folds", column="fold", fold=3, val_fraction=0.2, seed=5, max_train_atoms=40)
        assert recorded_split({"split": settings.model_dump(mode="json")}) == settings

    @pytest.mark.parametrize("split", [{"kind": "random"}, {"kind": "blocks", "shuffle": True}, {"kind": "folds"}])
    def test_what_is_not_known_is_refused(self, split):
        with pytest.raises(TargetError, match=r"cannot be made again \(.*(kind|shuffle|column).*update voigt"):
            recorded_split({"split": split})

    def test_a_kind_without_a_rule_is_refused(self):
        with pytest.raises(TargetError, match="unknown kind of split 'random'"):
            split_crystals(as_crystals([]), SplitSettings.model_construct(kind="random"))


class TestRealData:
    """The split of the DFT files, by the rule that their description states."""

    @staticmethod
    def rule(formula: str) -> str:
        digest = hashlib.sha256(b"xtal-split-v1.3763:" + formula.encode()).hexdigest()
        place = int(digest[:8], 16) / 2**32
        return "train" if place < 0.8 else "val" if place < 0.9 else "test"

    @staticmethod
    def comments(path) -> tuple[list[str], list[str]]:
        """The info keys split and formula of every frame, without parsing the atoms."""
        lines = [line for line in path.read_text().splitlines() if "Lattice=" in line]
        splits = [re.search(r"\bsplit=(\w+)", line).group(1) for line in lines]
        return splits, [re.search(r"\bformula=(\S+)", line).group(1) for line in lines]

    def test_phonondb(self, dft_data):
        splits, formulas = self.comments(dft_data("born/phonondb.extxyz"))
        parts = stored_split(splits)
        assert {name: len(members) for name, members in parts.items()} == {"train": 3471, "val": 449, "test": 504}
        groups = [Formula(formula).reduce()[0].format("hill") for formula in formulas]
        names = [{groups[index] for index in members} for members in parts.values()]
        assert not names[0] & names[1]
        assert not names[0] & names[2]
        assert not names[1] & names[2]
        assert sum(self.rule(formula) == split for formula, split in zip(formulas, splits, strict=True)) == len(splits)

    def test_a_formula_has_one_split_in_all_files(self, dft_data):
        where: dict[str, set[str]] = {}
        for file in ("phonondb", "mp"):
            for split, formula in zip(*self.comments(dft_data(f"born/{file}.extxyz")), strict=True):
                where.setdefault(Formula(formula).reduce()[0].format("hill"), set()).add(split)
        assert [formula for formula, parts in where.items() if len(parts) > 1] == []

    @pytest.mark.parametrize(("task", "rows", "known"), [("gap", 106113, 81227), ("e_form", 132752, 99573)])
    def test_fold_numbers_of_the_scalars_are_those_of_matbench(self, dft_data, task, rows, known):
        """MatBench v0.1: KFold(5, shuffle, seed 18012019) over the rows of the task, whose ids count from 1."""
        model_selection = pytest.importorskip("sklearn.model_selection")
        official = np.full(rows, -1)
        splitter = model_selection.KFold(5, shuffle=True, random_state=18012019)
        for fold, (_, test) in enumerate(splitter.split(np.zeros(rows))):
            official[test] = fold
        table = read_labeled(dft_data("scalars/mp_scalars.parquet"), ["band_gap"])
        names, folds = table.column(f"{task}_mbid"), table.column(f"{task}_fold")
        pairs = [(int(name.rpartition("-")[2]), fold) for name, fold in zip(names, folds, strict=True) if name]
        assert len(pairs) == known
        row, fold = np.array(pairs).T
        np.testing.assert_array_equal(official[row - 1], fold)

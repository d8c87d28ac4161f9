"""Splits by formula, prototype, composition, time and at random, and what they keep together."""

from __future__ import annotations

from collections import Counter

import ase
import numpy as np
import pytest
from ase.build import bulk
from tests import crystals

from voigt.data.labeled import LabeledCrystal, labeled
from voigt.data.splitting import SplitRequest, prototype, split_labels
from voigt.data.splitting.clusters import cluster, fractions_of
from voigt.data.splitting.methods import balanced_split
from voigt.errors import InputError, TargetError


def many(structures: list[ase.Atoms]) -> list[LabeledCrystal]:
    return [labeled(f"c{k}", "memory", atoms, {}, None) for k, atoms in enumerate(structures)]


def salts() -> list[LabeledCrystal]:
    """Halides of two structures and two functionals."""
    structures = []
    for metal, a in (("Li", 5.1), ("Na", 5.6), ("K", 6.3), ("Rb", 6.6), ("Cs", 7.0)):
        for halogen in ("F", "Cl", "Br", "I"):
            structures += [bulk(metal + halogen, "rocksalt", a=a), bulk(metal + halogen, "rocksalt", a=a * 1.01)]
            structures.append(bulk(metal + halogen, "cesiumchloride", a=0.6 * a))
    return many(structures)


@pytest.mark.parametrize("method", ["formula", "composition"])
def test_a_formula_stays_on_one_side(method: str) -> None:
    crystals_ = salts()
    labels = split_labels(crystals_, SplitRequest(method, (0.5, 0.25, 0.25), seed=0))
    sides = {crystal.group: set() for crystal in crystals_}
    for crystal, label in zip(crystals_, labels, strict=True):
        sides[crystal.group].add(label)
    assert all(len(parts) == 1 for parts in sides.values())
    assert set(labels) == {"train", "val", "test"}


def test_a_prototype_stays_on_one_side() -> None:
    structures = [make() for make in (crystals.wurtzite, crystals.rutile, crystals.quartz, crystals.corundum)]
    structures += [crystals.perovskite(), crystals.fluorite(), crystals.calcium_titanate(), crystals.anatase()]
    crystals_ = [*salts()[:12], *many(structures)]
    labels = split_labels(crystals_, SplitRequest("prototype", (0.6, 0.2, 0.2)))
    names = [prototype(crystal.atoms) for crystal in crystals_]
    assert len(set(names)) == 10
    assert len(set(zip(names, labels, strict=True))) == 10


def test_random_and_formula_splits_do_not_depend_on_the_machine_but_on_the_seed() -> None:
    first, again, other = (
        split_labels(salts(), SplitRequest("random", (0.6, 0.2, 0.2), seed=seed)) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert Counter(first) == {"train": 36, "val": 12, "test": 12}


def trajectory(frames: int, segments: int = 1) -> list[LabeledCrystal]:
    structures = []
    for segment in range(segments):
        for frame in range(frames):
            atoms = crystals.rocksalt()
            atoms.info.update(segment=segment, frame=frame)
            structures.append(atoms)
    return many(structures)


def test_blocks_of_time_in_each_segment_with_gaps() -> None:
    labels = split_labels(trajectory(20, 2), SplitRequest("time", (0.6, 0.2, 0.2), gap=2))
    one = ["train"] * 12 + [""] * 2 + ["val"] * 2 + [""] * 2 + ["test"] * 2
    assert labels == one + one


def test_time_is_that_of_the_frames_not_of_the_file() -> None:
    crystals_ = trajectory(20)[::-1]
    labels = split_labels(crystals_, SplitRequest("time", (0.5, 0.25, 0.25)))
    assert labels == ["test"] * 5 + ["val"] * 5 + ["train"] * 10


def test_a_short_segment_is_for_training() -> None:
    crystals_ = [*trajectory(20), *trajectory(3)]
    for crystal in crystals_[20:]:
        crystal.atoms.info["segment"] = 9
    assert split_labels(crystals_, SplitRequest("time"))[20:] == ["train"] * 3


def test_whole_groups_fill_the_parts_evenly() -> None:
    rng = np.random.default_rng(0)
    groups = [f"g{k}" for k, size in enumerate(rng.integers(1, 12, size=200)) for _ in range(size)]
    parts = balanced_split(groups, (0.8, 0.1, 0.1), seed=3)
    assert sorted(index for members in parts.values() for index in members) == list(range(len(groups)))
    for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert len(parts[name]) == pytest.approx(share * len(groups), rel=0.12)


def test_a_group_larger_than_a_part_goes_to_training() -> None:
    parts = balanced_split(["big"] * 50 + [f"s{k}" for k in range(10)], (0.8, 0.1, 0.1), seed=0)
    assert set(range(50)) <= set(parts["train"])
    assert parts["val"]
    assert parts["test"]


def test_impossible_requests_name_all_faults() -> None:
    with pytest.raises(InputError, match=r"unknown way to split.*fractions must be.*gap"):
        SplitRequest("luck", (0.0, 1.0, float("nan")), gap=-1)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="goes with 'composition'"):
        SplitRequest("formula", clusters=5)


def test_parts_left_empty_are_refused() -> None:
    with pytest.raises(TargetError, match=r"nothing of 3 crystals is left for \w+ and \w+; give more"):
        split_labels(many([crystals.rocksalt() for _ in range(3)]), SplitRequest("formula", (0.9, 0.05, 0.05), seed=4))


def test_prototypes_do_not_depend_on_origin_cell_or_elements() -> None:
    """The corner of a perovskite may be Sr or Ti."""
    moved = crystals.perovskite()
    moved.positions += 1.9525
    other = crystals.perovskite()
    other.symbols = ["Ba", "Zr", "S", "S", "S"]
    names = {prototype(atoms) for atoms in (crystals.perovskite(), moved, other, moved.repeat((2, 1, 1)))}
    assert len(names) == 1
    assert prototype(crystals.rocksalt()) != prototype(crystals.zincblende())
    assert prototype(crystals.rutile()) != prototype(crystals.anatase())


def test_clusters_are_those_of_the_chemistry() -> None:
    oxides = [ase.Atoms(f"{metal}O") for metal in ("Mg", "Ca", "Sr", "Ba")]
    nitrides = [ase.Atoms(f"{metal}N") for metal in ("Al", "Ga", "In", "B")]
    labels = cluster(fractions_of(oxides + nitrides), 2, seed=0)
    assert len(set(labels[:4])) == len(set(labels[4:])) == 1
    assert labels[0] != labels[4]


def test_there_are_no_more_clusters_than_compositions() -> None:
    labels = cluster(np.array([[0.0], [0.0], [1.0]]), 5, seed=0)
    assert labels[0] == labels[1] != labels[2]

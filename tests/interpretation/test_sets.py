"""Figures and maps of several crystals."""

from __future__ import annotations

import json
from dataclasses import replace

import ase
import numpy as np
import pytest
from ase.build import bulk
from tests import crystals
from tests.interpretation.explanations import OBJECTS, PARTS, made_up

from voigt.errors import DomainError
from voigt.interpretation import maps, measures
from voigt.interpretation.crystals import CrystalExplanation
from voigt.interpretation.sets import Collection, sample, summary_record
from voigt.interpretation.table import summary_lines
from voigt.writers.table import plain_text

CUBIC = (crystals.perovskite, crystals.rocksalt, crystals.fluorite, crystals.zincblende, crystals.cesium_chloride)
OTHERS = (crystals.rutile, crystals.anatase, crystals.lead_titanate)


def by_element(atoms: ase.Atoms, seed: int) -> CrystalExplanation:
    """An explanation in which the element decides which capsule an atom forms, and the crystal system the embedding."""
    found = made_up(atoms, f"crystal {seed}", seed)
    weights = np.ones((len(atoms), PARTS))
    weights[np.arange(len(atoms)), atoms.numbers % PARTS] = 10.0
    cubic = found.symmetry.crystal_system == "cubic"
    embedding = np.random.default_rng(seed).normal(10.0 if cubic else 0.0, 0.01, size=20)
    even = np.full(PARTS, 1 / PARTS)
    assignment = weights / weights.sum(axis=0)
    matrices = replace(found.matrices, assignment=assignment, presence=even, embedding=embedding)
    return replace(found, matrices=matrices)


def collected(found: list[CrystalExplanation]) -> Collection:
    collection = Collection()
    for crystal in found:
        collection.add(crystal)
    return collection


@pytest.fixture
def collection() -> Collection:
    return collected([by_element(make(), seed) for seed, make in enumerate((*CUBIC, *OTHERS))])


def test_capsules_that_follow_the_element_are_found(collection: Collection) -> None:
    summary = collection.summary()
    element, site, orbit = (summary.sites[name] for name in ("element", "site symmetry", "Wyckoff orbit"))
    assert element is not None
    assert site is not None
    assert orbit is not None
    assert element.bits == pytest.approx(entropy_of_capsules(), abs=1e-9)
    assert element.labels == 11  # O Na Cl F Ca S Ti Zn Sr Cs Pb
    assert element.adjusted > 0.7
    assert site.adjusted < 0.6
    # One entry of each orbit, not of each atom: 3 + 2 + 2 + 2 + 2 of the cubic crystals, 2 + 2 + 4 of the others.
    assert element.items == 19
    assert orbit.items == 19


def entropy_of_capsules() -> float:
    """Entropy in bits of Z mod 16 over the orbits, which the element determines."""
    numbers = [n for make in (*CUBIC, *OTHERS) for n in orbit_numbers(make())]
    return measures.entropy(np.bincount([n % PARTS for n in numbers]).astype(float))


def orbit_numbers(atoms: ase.Atoms) -> list[int]:
    found = made_up(atoms)
    return [int(atoms.numbers[k]) for k in found.representatives]


def test_embeddings_that_follow_the_system_are_found(collection: Collection) -> None:
    summary = collection.summary()
    assert summary.systems == {"tetragonal": 3, "cubic": 5}
    assert summary.separation is not None
    assert summary.separation.silhouette > 0.98
    assert summary.separation.chance < 0.3
    # All of the variance is between the systems: one dimension, of eight vectors.
    assert summary.embedding.ratio == pytest.approx(1.0, abs=1e-3)
    assert (summary.embedding.width, summary.embedding.vectors) == (20, 8)
    assert [stage.vectors for stage in summary.stages] == [19] * 4


def test_stages_are_measured_over_one_atom_of_each_orbit() -> None:
    found = [made_up(make(), str(k), k) for k, make in enumerate((*CUBIC, *OTHERS))]
    summary = collected(found).summary()
    rows = np.concatenate([crystal.matrices.atom_stages[2][crystal.representatives] for crystal in found])
    values = np.linalg.eigvalsh(np.cov(rows.T))
    assert summary.stages[2].ratio == pytest.approx(values.sum() ** 2 / (values**2).sum())


def test_the_choice_of_the_cell_changes_nothing() -> None:
    makers = (crystals.rocksalt, crystals.zincblende)
    one = collected([by_element(make(), k) for k, make in enumerate(makers)]).summary()
    two = collected([by_element(make(cubic=True), k) for k, make in enumerate(makers)]).summary()
    assert one.sites == two.sites
    assert [stage.vectors for stage in one.stages] == [stage.vectors for stage in two.stages]


def test_crystals_of_one_orbit_say_nothing_of_sites() -> None:
    summary = collected([made_up(bulk("Cu"), "Cu"), made_up(bulk("C", "diamond", a=3.567), "C", 1)]).summary()
    assert set(summary.sites.values()) == {None}
    assert summary.separation is None
    text = plain_text(summary_lines(summary))
    assert "in every crystal all atoms are equivalent" in text
    assert "no silhouette" in text
    json.dumps(summary_record(summary), allow_nan=False)


def test_presence_entropies() -> None:
    sharp, even = np.zeros(PARTS), np.full(PARTS, 1 / PARTS)
    sharp[3] = 1.0
    found = [made_up(crystals.rocksalt(), "a"), made_up(crystals.fluorite(), "b")]
    found = [
        replace(crystal, matrices=replace(crystal.matrices, presence=presence))
        for crystal, presence in zip(found, (sharp, even), strict=True)
    ]
    summary = collected(found).summary()
    assert summary.presence_entropy == pytest.approx((2.0, 2.0))  # 0 and 4 bits
    mean = (sharp + even) / 2
    assert summary.usage_entropy == pytest.approx(-(mean * np.log2(mean)).sum())
    np.testing.assert_allclose(summary.presence, mean)
    # 1 and 16 parts; over the set part 3 with 17/32 and the others with 1/32.
    over = 2 ** -(17 / 32 * np.log2(17 / 32) + 15 / 32 * np.log2(1 / 32))
    assert summary.effective_parts == pytest.approx((8.5, over))


def test_objects_explain_what_is_present() -> None:
    """Part 3 is the only one that is present: three quarters of it belong to objects 1 and 4, the rest to none."""
    posterior = np.full((PARTS, OBJECTS + 1), 1 / (OBJECTS + 1))
    posterior[3] = 0.0
    posterior[3, [1, 4, OBJECTS]] = 0.375, 0.375, 0.25
    found = [made_up(crystals.rocksalt(), "a"), made_up(crystals.fluorite(), "b")]
    found = [
        replace(crystal, matrices=replace(crystal.matrices, presence=np.eye(PARTS)[3], posterior=posterior))
        for crystal in found
    ]
    summary = collected(found).summary()
    assert summary.explained == pytest.approx(0.75)
    assert summary.effective_objects == pytest.approx(2.0)
    assert (summary.overlap, summary.overlapping) == (None, 0)
    text = plain_text(summary_lines(summary))
    assert "explain 75 % of the present parts" in text
    assert "effective objects 2.0" in text


def test_summary_as_text_and_json(collection: Collection) -> None:
    summary = collection.summary()
    text = plain_text(summary_lines(summary))
    assert text.startswith("8 crystals: 3 tetragonal, 5 cubic")
    assert summary.separation is not None
    assert f"silhouette {summary.separation.silhouette:.3f}\n" in text
    content = json.loads(json.dumps(summary_record(summary), allow_nan=False))
    assert content["silhouette_by_crystal_system"]["silhouette"] == summary.separation.silhouette
    assert content["capsule_and_site"]["element"]["items"] == 19
    assert len(content["participation_ratio"]["atom_stages"]) == 4
    assert len(content["presence"]["mean"]) == PARTS


def test_samples_are_repeated_and_in_order() -> None:
    assert sample(5, 5).tolist() == [0, 1, 2, 3, 4]
    drawn = sample(1000, 10)
    assert len(set(drawn.tolist())) == 10
    assert drawn.tolist() == sorted(drawn.tolist())
    np.testing.assert_array_equal(drawn, sample(1000, 10))


def test_a_map_keeps_clusters_apart() -> None:
    pytest.importorskip("sklearn")
    labels = np.repeat([0, 1, 2], 15)
    rows = np.random.default_rng(0).normal(size=(45, 6)) + 12.0 * np.eye(6)[labels]
    place = maps.tsne(rows)
    assert place.shape == (45, 2)
    assert measures.silhouette(measures.distances(place), labels) > 0.7
    np.testing.assert_array_equal(place, maps.tsne(rows))


def test_maps_show_every_crystal(collection: Collection) -> None:
    pytest.importorskip("sklearn")
    found = dict(maps.set_figures(collection))
    assert list(found) == ["map_crystal_system", "map_formation_energy", "map_band_gap"]
    axis = found["map_crystal_system"].axes[0]
    assert sorted(len(points.get_offsets()) for points in axis.collections) == [3, 5]
    legend = axis.get_legend()
    assert legend is not None
    assert [entry.get_text() for entry in legend.get_texts()] == ["tetragonal (3)", "cubic (5)"]
    (points,) = found["map_formation_energy"].axes[0].collections
    np.testing.assert_allclose(points.get_array(), collection.values["formation_energy"])


def test_no_map_of_a_few_crystals() -> None:
    assert maps.set_figures(collected([made_up(crystals.rocksalt(), "a")])) == []


def test_without_scikit_learn_a_sentence_says_how_to_install_it(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "find_spec", lambda _: None)
    with pytest.raises(DomainError, match=r"pip install 'voigt\[explain\]'"):
        maps.set_figures(collection)
    assert collection.summary().crystals == 8  # the numbers need no extra

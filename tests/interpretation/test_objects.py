"""What objects stand for, in collections made up so that it is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import comb

import ase
import numpy as np
import pytest
from tests import crystals
from tests.interpretation.explanations import OBJECTS, PARTS, made_up

from voigt.interpretation.crystals import CrystalExplanation, held_by_objects
from voigt.interpretation.objects import ATOMS, POLYHEDRA, SIGNIFICANT, Meaning, Motif, Objects
from voigt.interpretation.sets import Collection, SetSummary, summary_record
from voigt.interpretation.table import summary_lines
from voigt.writers.table import plain_text

SOUGHT, OTHER = 3, 6


def renamed(atoms: ase.Atoms, **names: str) -> ase.Atoms:
    """The same crystal of other elements."""
    other = atoms.copy()
    other.symbols = [names.get(symbol, symbol) for symbol in atoms.symbols]
    return other


def collected(found: list[CrystalExplanation]) -> SetSummary:
    collection = Collection()
    for crystal in found:
        collection.add(crystal)
    return collection.summary()


def sorted_by(atoms: ase.Atoms, element: str, seed: int = 0) -> CrystalExplanation:
    """Parts compete for atoms: the first takes those of an element, the second the others; each has its object."""
    found = made_up(atoms, f"crystal {seed}", seed)
    chosen = np.array([symbol == element for symbol in atoms.symbols])
    assignment = np.full((len(atoms), PARTS), 1 / len(atoms))
    assignment[:, 1] = ~chosen / (~chosen).sum()
    if chosen.any():
        assignment[:, 0] = chosen / chosen.sum()
    presence = np.zeros(PARTS)
    presence[:2] = chosen.mean(), (~chosen).mean()
    posterior = np.eye(OBJECTS + 1)[[SOUGHT, *[OTHER] * (PARTS - 1)]]
    matrices = replace(found.matrices, assignment=assignment, presence=presence, posterior=posterior)
    return replace(found, matrices=matrices)


PEROVSKITES = [
    renamed(crystals.perovskite(), Sr=a, Ti=b)
    for a, b in (("Sr", "Ti"), ("Ba", "Ti"), ("Ca", "Ti"), ("Pb", "Ti"), ("Sr", "Zr"), ("Ba", "Sn"))
]
ROCKSALTS = [renamed(crystals.rocksalt(), Na=a, Cl=b) for a, b in (("Na", "Cl"), ("K", "Br"), ("Li", "F"), ("Mg", "O"))]


def only(objects: Objects, capsule: int) -> Meaning:
    (found,) = [meaning for meaning in objects.in_use if meaning.capsule == capsule]
    return found


def named(meaning: Meaning, label: str) -> Motif:
    (found,) = [motif for motif in meaning.motifs if motif.label == label]
    return found


@pytest.fixture(scope="module")
def summary() -> SetSummary:
    """Ten crystals in which an object holds the Ti octahedra of four, and nothing else."""
    return collected([sorted_by(atoms, "Ti", seed) for seed, atoms in enumerate([*PEROVSKITES, *ROCKSALTS])])


def test_what_objects_hold_of_a_crystal() -> None:
    """One atom in five is Ti; objects share the parts by the posterior, and all adds up to one."""
    crystal = sorted_by(crystals.perovskite(), "Ti")
    held = held_by_objects(crystal)
    assert held.shape == (3, OBJECTS + 1)
    np.testing.assert_allclose(held[:, SOUGHT], [0, 0.2, 0], atol=1e-15)
    np.testing.assert_allclose(held[:, OTHER], [0.2, 0, 0.6], atol=1e-15)
    posterior = np.full((PARTS, OBJECTS + 1), 0.0)
    posterior[:, SOUGHT], posterior[:, OBJECTS] = 0.25, 0.75
    held = held_by_objects(replace(crystal, matrices=replace(crystal.matrices, posterior=posterior)))
    np.testing.assert_allclose(held[:, SOUGHT], [0.05, 0.05, 0.15])
    np.testing.assert_allclose(held[:, OBJECTS], [0.15, 0.15, 0.45])
    assert held_by_objects(made_up(crystals.baddeleyite())).sum() == pytest.approx(1.0)


def test_an_object_that_holds_the_titanium_octahedra(summary: SetSummary) -> None:
    assert [meaning.capsule for meaning in summary.objects.in_use] == [SOUGHT, OTHER]
    found = only(summary.objects, SOUGHT)
    # Ti is a fifth of four crystals in ten, and nowhere the most.
    assert (found.main_in, found.used_in, found.present) == (0, 4, pytest.approx(0.08))
    motif = named(found, "Ti octahedron (O6)")
    assert (motif.share, motif.share_in_set) == (pytest.approx(1.0), pytest.approx(0.08))
    assert (motif.lift, motif.center_lift) == (pytest.approx(12.5), pytest.approx(12.5))
    assert (motif.held_in, motif.crystals) == (4, 4)
    assert (motif.purity, motif.purity_in_set) == (1.0, pytest.approx(0.4))
    assert motif.information == pytest.approx(np.log2(12.5))
    # Of each perovskite there are three pairs of crystal and polyhedron, of each rocksalt two; four are the object's.
    # Eighteen labels are in three crystals, hence 36 tests of two objects; Ti alone has the same p, the lowest.
    assert motif.p_value == pytest.approx(36 / 2 / comb(26, 4))
    assert [motif.label for motif in found.leading(POLYHEDRA, 2)] == ["Ti octahedron (O6)"]
    assert [motif.label for motif in found.leading(ATOMS, 2)] == ["Ti"]


def test_groups_are_named_where_they_say_more() -> None:
    """With Zr octahedra too the object holds one of the group rather than either; of labels within it none is shown."""
    both = [*PEROVSKITES, *[renamed(PEROVSKITES[0], Ti="Zr", Sr=a) for a in ("Ba", "Ca", "Pb")], *ROCKSALTS]
    found = []
    for seed, atoms in enumerate(both):
        element = "Zr" if "Zr" in atoms.symbols else "Ti"
        found.append(sorted_by(atoms, element, seed))
    meaning = only(collected(found).objects, SOUGHT)
    leading = meaning.leading(POLYHEDRA, 2)
    assert [motif.label for motif in leading] == ["Ti group octahedron (O)"]
    assert (leading[0].held_in, leading[0].within) == (8, None)
    assert leading[0].lift == pytest.approx(13 / 8 * 5)
    assert named(meaning, "Ti octahedron (O6)").within == "Ti group octahedron (O)"
    assert named(meaning, "Zr octahedron (O6)").share == pytest.approx(0.5)
    assert [motif.label for motif in meaning.leading(ATOMS, 2)] == ["Ti group"]


def test_polyhedra_are_told_from_their_centers() -> None:
    """An object that holds Ti octahedra but no Ti tetrahedra: the lift of the center is half of that of the motif."""
    tetrahedra = [renamed(crystals.zincblende(), Zn="Ti", S=anion) for anion in ("S", "Se", "O", "N")]
    found = [sorted_by(atoms, "Ti", seed) for seed, atoms in enumerate([*PEROVSKITES[:4], *ROCKSALTS])]
    found += [sorted_by(atoms, "Xe", seed) for seed, atoms in enumerate(tetrahedra)]
    motif = named(only(collected(found).objects, SOUGHT), "Ti octahedron (O6)")
    assert motif.lift == pytest.approx(12 / (4 * 0.2))
    assert motif.center_lift == pytest.approx(12 / (4 * 0.2 + 4 * 0.5))


def test_a_group_that_is_oxidized_in_some_crystals() -> None:
    """Oxides of alkaline earths belong to one object, their alloys to the other, which holds all else."""
    oxides = [renamed(crystals.rocksalt(), Na=metal, Cl="O") for metal in ("Mg", "Ca", "Sr", "Ba")]
    alloys = [renamed(crystals.cesium_chloride(), Cs=metal, Cl="Au") for metal in ("Mg", "Ca", "Sr", "Ba")]
    found = [sorted_by(atoms, atoms.get_chemical_symbols()[0], k) for k, atoms in enumerate(oxides)]
    found += [sorted_by(atoms, "Xe", k) for k, atoms in enumerate([*alloys, *ROCKSALTS[:3]])]
    (motif,) = only(collected(found).objects, SOUGHT).leading(ATOMS, 3)
    assert (motif.label, motif.kind, motif.within) == ("oxidized alkaline earth", "state", "alkaline earth")
    assert (motif.lift, motif.center_lift) == (pytest.approx(11 / 2), pytest.approx(11 / 4))
    assert (motif.held_in, motif.crystals) == (4, 4)


def test_neither_the_cell_nor_a_rotation_matters(summary: SetSummary) -> None:
    turned = []
    for seed, atoms in enumerate([*PEROVSKITES, *ROCKSALTS]):
        larger = crystals.rotated(atoms.repeat((1, 2, 1)), crystals.random_rotation(seed))
        turned.append(sorted_by(larger, "Ti", seed))
    again = collected(turned).objects
    assert again.element == summary.objects.element
    assert again.beyond == summary.objects.beyond
    for one, other in zip(summary.objects.in_use, again.in_use, strict=True):
        assert (one.capsule, one.main_in, one.used_in) == (other.capsule, other.main_in, other.used_in)
        assert [motif.label for motif in one.motifs] == [motif.label for motif in other.motifs]
        for first, second in zip(one.motifs, other.motifs, strict=True):
            assert first.lift == pytest.approx(second.lift)
            assert (first.p_value, first.purity) == (second.p_value, second.purity)


MAKERS: tuple[Callable[[], ase.Atoms], ...] = (
    crystals.rocksalt, crystals.cesium_chloride, crystals.zincblende, crystals.wurtzite, crystals.fluorite,
    crystals.perovskite, crystals.rutile, crystals.anatase, crystals.quartz, crystals.corundum, crystals.baddeleyite,
)


@pytest.mark.parametrize("seed", range(5))
def test_random_objects_stand_for_nothing(seed: int) -> None:
    """Four crystals of each of eleven structures, every one with objects of its own."""
    made = [make() for make in MAKERS]
    found = [made_up(atoms, str(k), 1000 * seed + k) for k, atoms in enumerate(made * 4)]
    objects = collected(found).objects
    assert len(objects.in_use) == OBJECTS
    assert [motif for meaning in objects.in_use for motif in meaning.motifs] == []
    assert objects.element is not None
    assert objects.element.p_value > 0.02
    text = plain_text(summary_lines(collected(found)))
    assert text.count("nothing more often than by chance") == OBJECTS


def test_what_decides_the_object(summary: SetSummary) -> None:
    """Whether an atom is Ti decides everything: the element tells all, and nothing is left for the rest."""
    element = summary.objects.element
    assert element is not None
    # 26 pairs of crystal and element, four of them of the object.
    share = np.array([4, 22]) / 26
    assert element.bits == pytest.approx(-(share * np.log2(share)).sum())
    assert element.p_value < SIGNIFICANT
    for told in summary.objects.beyond.values():
        assert told is not None
        assert (told.bits, told.adjusted) == (pytest.approx(0.0, abs=1e-12), 0.0)


def test_surroundings_that_decide_beyond_the_element() -> None:
    """Ti of octahedra belongs to one object, Ti of tetrahedra to the other; anions do not differ."""
    tetrahedra = [renamed(crystals.zincblende(), Zn="Ti", S="O") for _ in range(6)]
    octahedra = [renamed(crystals.rocksalt(), Na="Ti", Cl="O") for _ in range(6)]
    found = [sorted_by(atoms, "Ti", k) for k, atoms in enumerate(octahedra)]
    found += [sorted_by(atoms, "Xe", k) for k, atoms in enumerate(tetrahedra)]
    told = collected(found).objects.beyond
    shape, groups = told["polyhedron"], told["groups of neighbors"]
    assert shape is not None
    assert groups is not None
    assert shape.bits == pytest.approx(0.5)  # one bit of the Ti, none of the O
    assert (shape.adjusted, groups.bits) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-12))
    assert shape.p_value < SIGNIFICANT


def test_as_text_and_json(summary: SetSummary) -> None:
    text = plain_text(summary_lines(summary))
    assert f"object {SOUGHT}: 8.0 % of the present parts; main in 0, used by 4\n" in text
    (row,) = [line.split() for line in text.splitlines() if line.startswith("  Ti octahedron (O6) ")]
    assert row[3:] == ["100.0", "%", "12.5", "12.5", "0.001", "100.0", "%", "40.0", "%"]
    content = json.loads(json.dumps(summary_record(summary), allow_nan=False))
    first = content["objects"]["in_use"][0]
    assert (first["capsule"], first["used_in"]) == (SOUGHT, 4)
    motifs = {motif["label"]: motif for motif in first["motifs"]}
    assert motifs["Ti octahedron (O6)"]["lift"] == pytest.approx(12.5)
    assert motifs["Ti octahedron (O6)"]["within"] == "Ti group octahedron (O)"
    assert content["object_and_site"]["element"]["bits"] == summary.objects.element.bits
    assert set(content["object_and_site"]["beyond_the_element"]) == {
        "oxidized_or_not", "coordination_number", "polyhedron", "groups_of_neighbors"
    }


def test_no_object_in_use() -> None:
    """All parts belong to none."""
    found = [sorted_by(atoms, "Ti") for atoms in ROCKSALTS]
    nothing = np.eye(OBJECTS + 1)[[OBJECTS] * PARTS]
    found = [replace(one, matrices=replace(one.matrices, posterior=nothing)) for one in found]
    summary = collected(found)
    assert summary.objects.in_use == ()
    assert "none has 2 % of the present parts" in plain_text(summary_lines(summary))

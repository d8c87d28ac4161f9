"""One explained crystal: orbits, shares, JSON, table, figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import ase
import numpy as np
import pytest
from matplotlib.figure import Figure
from tests import crystals
from tests.interpretation.explanations import OBJECTS, PARTS, WIDTH, made_up

from voigt.interpretation import figures
from voigt.interpretation.crystals import (
    CrystalExplanation,
    find_orbits,
    main_object,
    orbit_sums,
    overlap,
    strongest_capsules,
    strongest_orbits,
)
from voigt.interpretation.records import record, write_json
from voigt.interpretation.table import crystal_lines
from voigt.structures.symmetry import find_symmetry
from voigt.writers.figures import save_figure
from voigt.writers.table import plain_text


@pytest.fixture
def perovskite() -> CrystalExplanation:
    return made_up(crystals.perovskite(), "SrTiO3")


def forming(orbits: int, shares: dict[tuple[int, int], float]) -> np.ndarray:
    """Relative weights of the atoms of orbits in the forming of capsules: one, but for those that are given."""
    weights = np.ones((orbits, PARTS))
    for place, value in shares.items():
        weights[place] = value
    return weights


def test_orbits_of_the_tables() -> None:
    atoms = crystals.perovskite()
    found = find_orbits(atoms, find_symmetry(atoms))
    assert [orbit.atoms for orbit in found] == [(0,), (1,), (2, 3, 4)]
    assert [orbit.element for orbit in found] == ["Sr", "Ti", "O"]
    # 221: the corner and the center have all of m-3m, the middle of a face 4/mm.m.
    assert [orbit.site_symmetry for orbit in found] == ["m-3m", "m-3m", "4/mm.m"]
    assert {found[0].site, found[1].site} == {"1a", "1b"}
    assert found[2].label in ("O 3c", "O 3d")  # the same site, by the choice of origin


def test_orbits_of_one_element_on_sites_of_one_kind_are_told_apart() -> None:
    atoms = crystals.baddeleyite()  # 14: Zr and two O, all at 4e
    found = find_orbits(atoms, find_symmetry(atoms))
    assert [orbit.label for orbit in found] == ["Zr 4e", "O 4e [4]", "O 4e [8]"]


def test_shares_of_an_orbit_are_those_of_its_atoms_added(perovskite: CrystalExplanation) -> None:
    shares = perovskite.matrices.shares["formation_energy"]
    sums = orbit_sums(perovskite, shares)
    np.testing.assert_allclose(sums, [shares[0], shares[1], 3 * shares[2]])
    assert sums.sum() == pytest.approx(perovskite.matrices.prediction["formation_energy"])
    columns = orbit_sums(perovskite, perovskite.matrices.assignment)
    np.testing.assert_allclose(columns.sum(axis=0), np.ones(PARTS))


def test_strongest_orbits_and_capsules() -> None:
    weights = forming(3, {(0, 7): 5.0, (1, 2): 9.0, (2, 11): 2.0})
    found = made_up(crystals.perovskite(), assignment=weights)
    # One atom with weight 9 against four with weight 1; three atoms with weight 2 against two with weight 1.
    first, second = strongest_orbits(found, 2)
    assert (first[0].element, second[0].element) == ("Ti", "O")
    assert (first[1], second[1]) == pytest.approx((9 / 13, 3 / 13))
    (oxygen,) = strongest_orbits(found, 11, count=1)
    assert oxygen == (found.orbits[2], pytest.approx(6 / 8))
    capsules = strongest_capsules(present(found, np.full(PARTS, 1 / PARTS)))
    assert capsules is not None
    assert capsules.tolist() == [7, 2, 11]


def present(crystal: CrystalExplanation, presence: np.ndarray) -> CrystalExplanation:
    """The same with other presences."""
    return replace(crystal, matrices=replace(crystal.matrices, presence=presence))


def test_the_strongest_capsule_is_the_part_that_holds_most_of_the_atom() -> None:
    """Parts 2 and 3 hold 0.9 and 0.1 of the atoms: Ti forms half of part 3, but one atom of part 2 in five is more."""
    weights = np.ones((3, PARTS))
    weights[1, 3] = 4.0  # 4 of 8
    presence = np.zeros(PARTS)
    presence[2], presence[3] = 0.9, 0.1
    capsules = strongest_capsules(present(made_up(crystals.perovskite(), assignment=weights), presence))
    assert capsules is not None
    assert capsules.tolist() == [2, 2, 2]
    presence[2], presence[3] = 0.6, 0.4
    capsules = strongest_capsules(present(made_up(crystals.perovskite(), assignment=weights), presence))
    assert capsules is not None
    assert capsules.tolist() == [2, 3, 2]


def test_overlap_of_parts() -> None:
    """Two parts count: (1, 0, 0, 0, 0) and (1, 1, 0, 0, 0) over the atoms have a cosine of 1 / sqrt 2."""
    weights = np.ones((3, PARTS))
    weights[:, 2] = 1.0, 0.0, 0.0
    weights[:, 3] = 1.0, 1.0, 0.0
    presence = np.zeros(PARTS)
    presence[2], presence[3] = 0.7, 0.3
    found = present(made_up(crystals.perovskite(), assignment=weights), presence)
    assert overlap(found) == pytest.approx(0.5**0.5)
    alone = np.eye(PARTS)[2]
    assert overlap(present(found, alone)) is None  # one part overlaps with nothing
    assert overlap(made_up(crystals.rocksalt())) is None  # two orbits leave little choice


def test_a_crystal_of_one_orbit_has_no_strongest_capsule() -> None:
    diamond = ase.build.bulk("C", "diamond", a=3.567)
    assert strongest_capsules(made_up(diamond)) is None


def test_the_last_column_of_the_posterior_is_no_object(perovskite: CrystalExplanation) -> None:
    posterior = np.full((PARTS, OBJECTS + 1), 0.05)
    posterior[3, 4], posterior[5, OBJECTS] = 0.5, 0.5
    found = replace(perovskite, matrices=replace(perovskite.matrices, posterior=posterior))
    assert main_object(found, 3) == (4, 0.5)
    assert main_object(found, 5) == (None, 0.5)
    content = record(found)
    assert content["capsules"][3]["object"] == {"capsule": 4, "probability": 0.5}
    assert content["capsules"][5]["object"] == {"capsule": "none", "probability": 0.5}


def test_record_holds_every_matrix(perovskite: CrystalExplanation) -> None:
    matrices = perovskite.matrices
    content = json.loads(json.dumps(record(perovskite, stages=True), allow_nan=False))
    assert content["spacegroup"] == {"number": 221, "international": "Pm-3m", "crystal_system": "cubic"}
    assert (content["model"], content["member"]) == ("made-up", 1)
    assert content["predictions"]["formation_energy"] == {
        "value": matrices.prediction["formation_energy"],
        "unit": "eV/atom",
        "sum_of_shares": matrices.additive["formation_energy"],
    }
    assert content["predictions"]["band_gap"]["sum_of_shares"] > content["predictions"]["band_gap"]["value"]
    atoms, capsules, orbits = content["atoms"], content["capsules"], content["orbits"]
    np.testing.assert_array_equal([atom["assignment"] for atom in atoms], matrices.assignment)
    np.testing.assert_array_equal([atom["atom_attention"] for atom in atoms], matrices.atom_attention.T)
    np.testing.assert_array_equal([atom["bond_attention"] for atom in atoms], matrices.bond_attention.T)
    np.testing.assert_array_equal([list(capsule["pose"].values()) for capsule in capsules], matrices.pose)
    np.testing.assert_array_equal([capsule["features"] for capsule in capsules], matrices.features)
    np.testing.assert_array_equal([capsule["posterior"] for capsule in capsules], matrices.posterior)
    np.testing.assert_array_equal([capsule["presence"] for capsule in capsules], matrices.presence)
    np.testing.assert_array_equal(content["atom_stages"], matrices.atom_stages)
    np.testing.assert_array_equal(content["channel_attention"], matrices.channel_attention)
    assert list(capsules[0]["pose"]) == ["xx", "xy", "shift_x", "yx", "yy", "shift_y"]
    assert [atom["element"] for atom in atoms] == ["Sr", "Ti", "O", "O", "O"]
    assert [atom["orbit"] for atom in atoms] == [0, 1, 2, 2, 2]
    assert orbits[2]["atoms"] == [2, 3, 4]
    for name in ("formation_energy", "band_gap"):
        total = sum(atom["shares"][name] for atom in atoms)
        assert total == pytest.approx(matrices.additive[name])
        assert sum(orbit["shares"][name] for orbit in orbits) == pytest.approx(total)
    assert sum(orbit["atom_attention"][1] for orbit in orbits) == pytest.approx(1.0)
    assert all(sum(entry["share"] for entry in capsule["orbits"]) == pytest.approx(1.0) for capsule in capsules)


def test_stages_are_written_only_if_asked_for(perovskite: CrystalExplanation) -> None:
    longer, shorter = record(perovskite, stages=True), record(perovskite)
    assert longer.keys() - shorter.keys() == {"atom_stages", "channel_attention", "space_group_probabilities"}


def test_what_is_not_finite_is_null(perovskite: CrystalExplanation, tmp_path: Path) -> None:
    likelihood = perovskite.matrices.log_likelihood.copy()
    likelihood[4] = -np.inf
    found = replace(perovskite, matrices=replace(perovskite.matrices, log_likelihood=likelihood))
    assert write_json([found, found], tmp_path / "a.json", lambda: None) == 2
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["crystals"][1]["capsules"][4]["log_likelihood"] is None
    assert content["set"] is None


def test_table_states_shares_by_orbit() -> None:
    weights = forming(3, {(1, 2): 9.0})
    found = made_up(crystals.perovskite(), "SrTiO3", assignment=weights)
    text = plain_text(crystal_lines(found))
    lines = text.splitlines()
    assert lines[0].split("  ") == ["SrTiO3", "Pm-3m (221)", "5 atoms", "id SrTiO3", "model made-up", "member 1 of 4"]
    (oxygen,) = [line.split() for line in lines if line.startswith("   2  O ")]
    shares = found.matrices.shares
    expected = [1 * shares["formation_energy"][2], 3 * shares["formation_energy"][2]]
    expected += [1 * shares["band_gap"][2], 3 * shares["band_gap"][2]]
    assert oxygen[4] == "3"
    assert [float(word) for word in oxygen[5:]] == pytest.approx(expected, abs=6e-4)
    (capsule,) = [line for line in lines if line.startswith("      2  ")]
    assert f"{found.orbits[1].label} 69 %, {found.orbits[2].label} 23 %" in capsule
    presences = [float(line.split()[1]) for line in lines if line[:7].strip().isdigit() and "%" in line]
    assert len(presences) == PARTS
    assert presences == sorted(presences, reverse=True)
    assert "probability of a metal 0.750" in text
    assert "it is cubic" in text


def test_one_property_of_two_is_shown_alone(perovskite: CrystalExplanation) -> None:
    alone = replace(perovskite, properties=("formation_energy",))
    text = plain_text(crystal_lines(alone))
    assert "gap" not in text
    assert "metal" not in text
    assert list(record(alone)["predictions"]) == ["formation_energy"]


def test_rows_of_figures_stand_orbit_by_orbit() -> None:
    atoms = crystals.perovskite()[[2, 0, 3, 1, 4]]  # O Sr O Ti O
    rows = figures.grouped_rows(made_up(atoms))
    assert rows.atoms == (0, 2, 4, 1, 3)
    assert [label.split()[0] for label in rows.labels] == ["O1", "O2", "O3", "Sr1", "Ti1"]
    assert rows.breaks == (3, 4)


def test_large_crystals_are_drawn_by_orbit() -> None:
    found = made_up(crystals.corundum().repeat((3, 1, 1)))  # 36 + 54 atoms; the longer cell has fewer operations
    rows = figures.grouped_rows(found)
    assert rows.atoms == tuple(orbit.atoms[0] for orbit in found.orbits)
    sizes = [len(orbit.atoms) for orbit in found.orbits]
    assert sum(sizes) == 90
    assert [label.split(" ×")[1] for label in rows.labels] == [str(size) for size in sizes]


def test_figures_show_the_matrices() -> None:
    perovskite = made_up(crystals.perovskite()[[2, 0, 3, 1, 4]])  # orbits do not stand together in the input
    found = dict(figures.crystal_figures(perovskite))
    assert list(found) == ["assignment", "posterior", "presence", "channel_attention", "shares"]
    matrices = perovskite.matrices
    order = list(figures.grouped_rows(perovskite).atoms)
    np.testing.assert_allclose(image_of(found["assignment"], 1), 100 * matrices.assignment[order])
    np.testing.assert_allclose(image_of(found["posterior"], 0), matrices.posterior)
    for k in range(3):
        expected = matrices.channel_attention[k][perovskite.representatives] * WIDTH
        np.testing.assert_allclose(image_of(found["channel_attention"], k), expected)
    heights = [bar.get_height() for bar in found["shares"].axes[0].patches]
    np.testing.assert_allclose(heights, matrices.shares["formation_energy"][order])
    parts, objects = ([bar.get_height() for bar in axis.patches] for axis in found["presence"].axes)
    np.testing.assert_allclose(parts, matrices.presence)
    np.testing.assert_allclose(objects, matrices.object_presence)


@pytest.mark.parametrize("atoms", [ase.build.bulk("Cu"), crystals.corundum()], ids=["one atom", "thirty atoms"])
def test_figures_of_small_and_large_crystals_can_be_written(atoms: ase.Atoms, tmp_path: Path) -> None:
    for stem, figure in figures.crystal_figures(made_up(atoms, gap=False)):
        save_figure(figure, tmp_path / f"{stem}.png")
        assert (tmp_path / f"{stem}.png").read_bytes().startswith(b"\x89PNG")


def image_of(figure: Figure, axis: int) -> np.ndarray:
    return np.asarray(figure.axes[axis].images[0].get_array())

"""Coordination polyhedra that every textbook states."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.spacegroup import crystal as of_group
from tests import crystals

from voigt.interpretation.coordination import Polyhedron, polyhedra


def labels(atoms: ase.Atoms) -> list[str]:
    """Labels by elements, each once."""
    return list(dict.fromkeys(found.by_elements for found in everywhere(atoms)))


def everywhere(atoms: ase.Atoms) -> list[Polyhedron]:
    return polyhedra(atoms, range(len(atoms)))


def pyrite() -> ase.Atoms:
    """FeS2: the S-S bond of a pair (2.16) is shorter than Fe-S (2.26)."""
    return of_group(["Fe", "S"], [(0, 0, 0), (0.3851, 0.3851, 0.3851)], spacegroup=205, cellpar=[5.418] * 3 + [90] * 3)


def molybdenite() -> ase.Atoms:
    return of_group(["Mo", "S"], [(1 / 3, 2 / 3, 0.25), (1 / 3, 2 / 3, 0.621)], spacegroup=194,
                    cellpar=[3.160, 3.160, 12.294, 90, 90, 120])


def cadmium_iodide() -> ase.Atoms:
    return of_group(["Cd", "I"], [(0, 0, 0), (1 / 3, 2 / 3, 0.25)], spacegroup=164,
                    cellpar=[4.24, 4.24, 6.84, 90, 90, 120])


def calcite() -> ase.Atoms:
    return of_group(["Ca", "C", "O"], [(0, 0, 0), (0, 0, 0.25), (0.257, 0, 0.25)], spacegroup=167,
                    cellpar=[4.99, 4.99, 17.06, 90, 90, 120])


def brucite() -> ase.Atoms:
    """Mg(OH)2: around O, the bond to H (1.0) is half as long as those to Mg (2.1)."""
    return of_group(["Mg", "O", "H"], [(0, 0, 0), (1 / 3, 2 / 3, 0.22), (1 / 3, 2 / 3, 0.43)], spacegroup=164,
                    cellpar=[3.142, 3.142, 4.766, 90, 90, 120])


def spinel() -> ase.Atoms:
    return of_group(["Mg", "Al", "O"], [(0.125,) * 3, (0.5,) * 3, (0.2624,) * 3], spacegroup=227, setting=2,
                    cellpar=[8.08] * 3 + [90] * 3)


def aluminide() -> ase.Atoms:
    """Ni3Al, L1_2."""
    atoms = bulk("Ni", a=3.57, cubic=True)
    atoms.symbols[0] = "Al"
    return atoms


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (crystals.rocksalt(), ["Na octahedron (Cl6)", "Cl octahedron (Na6)"]),
        (crystals.cesium_chloride(), ["Cs cube (Cl8)", "Cl cube (Cs8)"]),
        (crystals.zincblende(), ["Zn tetrahedron (S4)", "S tetrahedron (Zn4)"]),
        (crystals.wurtzite(), ["Zn tetrahedron (O4)", "O tetrahedron (Zn4)"]),
        (crystals.fluorite(), ["Ca cube (F8)", "F tetrahedron (Ca4)"]),
        (crystals.perovskite(), ["Sr cuboctahedron (O12)", "Ti octahedron (O6)", "O linear (Ti2)"]),
        (crystals.rutile(), ["Ti octahedron (O6)", "O triangle (Ti3)"]),
        (crystals.anatase(), ["Ti octahedron (O6)", "O triangle (Ti3)"]),
        (crystals.quartz(), ["Si tetrahedron (O4)", "O bent (Si2)"]),
        (crystals.corundum(), ["Al octahedron (O6)", "O CN 4 (Al4)"]),
        (crystals.baddeleyite(), ["Zr CN 7 (O7)", "O triangle (Zr3)", "O tetrahedron (Zr4)"]),
        (spinel(), ["Mg tetrahedron (O4)", "Al octahedron (O6)", "O tetrahedron (MgAl3)"]),
        (calcite(), ["Ca octahedron (O6)", "C triangle (O3)", "O triangle (Ca2C)"]),
        (brucite(), ["Mg octahedron (O6)", "O tetrahedron (Mg3H)", "H CN 1 (O)"]),
        (molybdenite(), ["Mo prism (S6)", "S pyramid (Mo3)"]),
        (cadmium_iodide(), ["Cd octahedron (I6)", "I pyramid (Cd3)"]),
        (pyrite(), ["Fe octahedron (S6)", "S tetrahedron (Fe3S)"]),
        (bulk("Cu"), ["Cu cuboctahedron (Cu12)"]),
        (bulk("Mg"), ["Mg anticuboctahedron (Mg12)"]),
        (bulk("Fe"), ["Fe CN 14 (Fe14)"]),  # both shells of a body-centered lattice, which differ by 15 %
        (bulk("C", "diamond", a=3.567), ["C tetrahedron (C4)"]),
        (aluminide(), ["Al cuboctahedron (Ni12)", "Ni cuboctahedron (Al4Ni8)"]),
    ],
    ids=lambda value: value.get_chemical_formula() if isinstance(value, ase.Atoms) else "",
)
def test_of_textbook_structures(atoms: ase.Atoms, expected: list[str]) -> None:
    assert labels(atoms) == expected


def test_numbers_and_groups() -> None:
    strontium, titanium, oxygen, *_ = everywhere(crystals.perovskite())
    assert (strontium.number, titanium.number, oxygen.number) == (12, 6, 2)
    assert titanium.by_groups == "Ti group octahedron (O)"
    assert oxygen.by_groups == "O linear (Ti group)"
    bismuth = polyhedra(oxychloride(), [0])[0]
    assert (bismuth.by_elements, bismuth.neighbor_groups) == ("Bi square antiprism (Cl4O4)", "halogen, O")


@pytest.mark.parametrize(
    ("atoms", "oxidized"),
    [
        (crystals.rutile(), {"Ti": True, "O": False}),
        (calcite(), {"Ca": True, "C": True, "O": False}),
        (brucite(), {"Mg": True, "O": False, "H": True}),
        (pyrite(), {"Fe": True, "S": False}),  # not by the other S of a pair, which is as electronegative
        (aluminide(), {"Al": False, "Ni": False}),
        (bulk("GaAs", "zincblende", a=5.65), {"Ga": False, "As": False}),
        (bulk("GaN", "zincblende", a=4.50), {"Ga": True, "N": False}),
    ],
    ids=lambda value: value.get_chemical_formula() if isinstance(value, ase.Atoms) else "",
)
def test_who_is_oxidized(atoms: ase.Atoms, oxidized: dict[str, bool]) -> None:
    assert {found.center: found.oxidized for found in everywhere(atoms)} == oxidized


def test_states_are_of_groups() -> None:
    titanium, oxygen = (polyhedra(crystals.rutile(), [k])[0] for k in (0, 2))
    assert (titanium.state, oxygen.state) == ("oxidized Ti group", "O, not oxidized")


def oxychloride() -> ase.Atoms:
    """BiOCl: four O at 2.3 and four Cl at 3.1 Angstrom, which coordinate alike for their radii."""
    return of_group(["Bi", "O", "Cl"], [(0, 0.5, 0.17), (0, 0, 0), (0, 0.5, 0.645)], spacegroup=129,
                    cellpar=[3.89, 3.89, 7.37, 90, 90, 90])


@pytest.mark.parametrize("make", [crystals.calcium_titanate, crystals.baddeleyite, spinel, pyrite, brucite])
def test_neither_the_cell_nor_its_place_matters(make) -> None:
    atoms = make()
    expected = everywhere(atoms)
    assert everywhere(atoms.repeat((2, 1, 1))) == expected * 2
    assert everywhere(crystals.left_handed(atoms)) == expected
    for determinant in (1, -1):
        turned = crystals.rotated(atoms, crystals.random_rotation(3, determinant))
        turned.positions += (0.3, -7.0, 21.0)
        assert everywhere(turned) == expected
    rattled = atoms.copy()
    rattled.rattle(2e-4, seed=1)  # less than what symmetry is found to
    assert everywhere(rattled) == expected


def test_an_atom_alone_has_none() -> None:
    (alone,) = everywhere(ase.Atoms("He", cell=[12.0] * 3, pbc=True))
    assert (alone.number, alone.by_elements, alone.by_groups) == (0, "He CN 0", "noble gas CN 0")


def test_only_the_centers_that_are_asked_for() -> None:
    atoms = crystals.rutile()
    assert polyhedra(atoms, [5, 0]) == [everywhere(atoms)[k] for k in (5, 0)]
    assert polyhedra(atoms, np.array([], dtype=int).tolist()) == []

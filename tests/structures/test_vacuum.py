"""Which cells hold vacuum: sheets, slabs, wires and molecules, but no crystal however loosely it is packed."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import add_adsorbate, bulk, fcc111, graphene, make_supercell, molecule, mx2, nanotube, surface
from ase.spacegroup import crystal
from tests import crystals

from voigt.structures.vacuum import bonded_dimension, find_vacuum


def periodic(atoms: ase.Atoms) -> ase.Atoms:
    atoms.pbc = True
    return atoms


def boxed(name: str, margin: float) -> ase.Atoms:
    atoms = molecule(name)
    atoms.center(vacuum=margin)
    return periodic(atoms)


def boron_nitride(height: float) -> ase.Atoms:
    places = [(1 / 3, 2 / 3, 0.5), (2 / 3, 1 / 3, 0.5)]
    return ase.Atoms("BN", scaled_positions=places, cell=[2.504, 2.504, height, 90, 90, 120], pbc=True)


def graphite() -> ase.Atoms:
    places = [(0, 0, 0.25), (1 / 3, 2 / 3, 0.25), (0, 0, 0.75), (2 / 3, 1 / 3, 0.75)]
    return ase.Atoms("C4", scaled_positions=places, cell=[2.461, 2.461, 6.708, 90, 90, 120], pbc=True)


def molybdenite() -> ase.Atoms:
    """2H-MoS2."""
    places = [(1 / 3, 2 / 3, 0.25), (1 / 3, 2 / 3, 0.621)]
    return crystal(["Mo", "S"], places, spacegroup=194, cellpar=[3.16, 3.16, 12.29, 90, 90, 120])


def cadmium_iodide() -> ase.Atoms:
    places = [(0, 0, 0), (1 / 3, 2 / 3, 0.249)]
    return crystal(["Cd", "I"], places, spacegroup=164, cellpar=[4.24, 4.24, 6.84, 90, 90, 120])


def dry_ice() -> ase.Atoms:
    """CO2, Pa-3."""
    return crystal(["C", "O"], [(0, 0, 0), (0.1185, 0.1185, 0.1185)], spacegroup=205, cellpar=[5.624] * 3 + [90] * 3)


def benzene() -> ase.Atoms:
    """Solid benzene, Pbca: Bacon, Curry and Wilson (1964)."""
    carbon = [(-0.0569, 0.1387, -0.0054), (-0.1335, 0.0460, 0.1264), (-0.0774, -0.0925, 0.1295)]
    hydrogen = [(-0.0976, 0.2447, -0.0177), (-0.2409, 0.0794, 0.2218), (-0.1371, -0.1631, 0.2312)]
    cell = [7.39, 9.42, 6.81, 90, 90, 90]
    return crystal(["C"] * 3 + ["H"] * 3, carbon + hydrogen, spacegroup=61, cellpar=cell)


@pytest.mark.parametrize(
    "atoms",
    [graphite(), molybdenite(), cadmium_iodide(), dry_ice(), benzene(), boron_nitride(3.33), crystals.quartz(),
     crystals.rocksalt(), crystals.cesium_chloride(), bulk("Xe", "fcc", a=6.2), bulk("Cs", "bcc", a=6.14),
     make_supercell(crystals.rocksalt(), 3 * np.eye(3))],
    ids=lambda atoms: atoms.get_chemical_formula(),
)  # fmt: skip
def test_crystals_hold_none(atoms: ase.Atoms) -> None:
    assert find_vacuum(atoms) is None


def test_pores_of_a_framework_are_none() -> None:
    """Sodalite, SiO2: cages of 6 Angstrom, bonded in three dimensions."""
    places = [(0.25, 0.5, 0.0), (0.1536, 0.1536, 0.5)]
    atoms = crystal(["Si", "O"], places, spacegroup=229, cellpar=[8.9] * 3 + [90] * 3)
    assert bonded_dimension(atoms) == 3
    assert find_vacuum(atoms) is None


@pytest.mark.parametrize("margin", [5.0, 8.0, 20.0])
@pytest.mark.parametrize(
    ("build", "dimension"),
    [
        (lambda margin: fcc111("Al", (2, 1, 4), vacuum=margin), 2),
        (lambda margin: graphene(vacuum=margin), 2),
        (lambda margin: mx2("MoS2", vacuum=margin), 2),
        (lambda margin: surface(crystals.rocksalt(cubic=True), (1, 1, 0), 4, vacuum=margin), 2),
        (lambda margin: nanotube(6, 0, length=1, vacuum=margin), 1),
        (lambda margin: boxed("CH4", margin), 0),
        (lambda margin: boxed("C6H6", margin), 0),
    ],
)
def test_what_is_built_in_vacuum_is_found(build, dimension: int, margin: float) -> None:
    atoms = periodic(build(margin))
    vacuum = find_vacuum(atoms)
    assert vacuum is not None
    assert vacuum.dimension == dimension
    # Between the outermost planes are twice the margin; of these the surfaces take a radius of 1.1 to 2.2 each.
    if dimension == 2:
        assert 2 * margin - 4.5 < vacuum.gap < 2 * margin - 2.2
        assert abs(vacuum.normal[2]) == pytest.approx(1.0)
        assert vacuum.height == pytest.approx(atoms.get_volume() / np.linalg.norm(np.cross(*atoms.cell.array[:2])))


def test_the_description_of_the_cell_does_not_matter() -> None:
    """A skewed cell, atoms on both sides of its border, a supercell, another orientation."""
    straight = find_vacuum(boron_nitride(20.0))
    assert straight is not None
    skewed = boron_nitride(20.0)
    skewed.set_cell(skewed.cell.array + np.array([[0, 0, 0], [0, 0, 0], [3.756, 2.1685, 0]]))
    skewed.positions += [0.0, 0.0, 10.1]
    skewed.wrap()
    wide = make_supercell(boron_nitride(20.0), [[3, 1, 0], [0, 2, 0], [0, 0, 1]])
    turned = boron_nitride(20.0)
    turned.rotate(70, (1, 2, 3), rotate_cell=True)
    for atoms in (skewed, wide, turned):
        found = find_vacuum(atoms)
        assert found is not None
        assert (found.dimension, found.gap) == (2, pytest.approx(straight.gap, abs=1e-6))
        assert found.thickness == pytest.approx(straight.thickness, abs=1e-6)
    assert straight.thickness == pytest.approx(2 * 1.91, abs=0.01)  # of boron


def test_a_slab_with_a_molecule_on_it_is_one() -> None:
    slab = fcc111("Pt", (2, 2, 3), vacuum=8.0)
    add_adsorbate(slab, molecule("CO"), 2.0, "ontop")
    slab.center(vacuum=8.0, axis=2)
    vacuum = find_vacuum(periodic(slab))
    assert vacuum is not None
    assert vacuum.dimension == 2


def test_a_gas_without_an_empty_layer_is_found_by_its_packing() -> None:
    rng = np.random.default_rng(0)
    places = (np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3) + 0.6 * rng.random((27, 3))) / 3
    gas = ase.Atoms("He27", scaled_positions=places, cell=[18.0] * 3, pbc=True)
    vacuum = find_vacuum(gas)
    assert vacuum is not None
    assert vacuum.dimension == 0


@pytest.mark.parametrize(
    ("atoms", "dimension"),
    [(graphite(), 2), (dry_ice(), 0), (benzene(), 0), (crystals.quartz(), 3), (bulk("Cu"), 3), (cadmium_iodide(), 2)],
)
def test_dimension_of_the_bonds(atoms: ase.Atoms, dimension: int) -> None:
    assert bonded_dimension(atoms) == dimension
    assert bonded_dimension(make_supercell(atoms, [[1, 1, 0], [0, 2, 0], [0, 0, 1]])) == dimension


def test_selenium_is_bonded_along_its_chains() -> None:
    places = [(0.2254, 0, 1 / 3), (0, 0.2254, 2 / 3), (-0.2254, -0.2254, 0)]
    atoms = ase.Atoms("Se3", scaled_positions=places, cell=[4.366, 4.366, 4.954, 90, 90, 120], pbc=True)
    assert bonded_dimension(atoms) == 1
    assert find_vacuum(atoms) is None


def test_elements_of_which_no_radius_is_known() -> None:
    crowded = bulk("Og", "fcc", a=6.0)
    assert find_vacuum(crowded) is None
    apart = find_vacuum(bulk("Og", "fcc", a=40.0))
    assert apart is not None
    assert apart.dimension == 0
    assert bonded_dimension(bulk("Og", "fcc", a=4.5)) == 3


@pytest.mark.parametrize(
    "atoms",
    [
        surface(bulk("MgO", "rocksalt", a=4.21, cubic=True), (1, 0, 0), 3, vacuum=3.0),
        surface(bulk("Si", cubic=True), (1, 0, 0), 3, vacuum=3.0),
        mx2("MoS2", vacuum=3.0),
    ],
    ids=lambda atoms: atoms.get_chemical_formula(),
)
def test_slabs_six_angstrom_apart_are_slabs(atoms: ase.Atoms) -> None:
    """Between layers of a crystal, atoms are three to four Angstrom apart."""
    vacuum = find_vacuum(periodic(atoms))
    assert vacuum is not None
    assert vacuum.dimension == 2

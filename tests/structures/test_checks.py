"""Every reason why a crystal cannot be used is found, named and given a remedy; sound crystals pass."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list as ase_neighbor_list

from voigt.structures.checks import close_pairs, problems


def rocksalt() -> Atoms:
    return bulk("NaCl", "rocksalt", a=5.64)


def only(atoms: Atoms) -> str:
    faults = problems(atoms)
    assert len(faults) == 1, faults
    return faults[0]


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("NaCl", "rocksalt", a=5.64, cubic=True),
        bulk("Si", "diamond", a=5.43),
        bulk("Fe", "bcc", a=2.87),
        bulk("ZnO", "wurtzite", a=3.25, c=5.21),
        Atoms("Po", cell=[3.35] * 3, pbc=True),
        # solid hydrogen: the shortest bond there is
        Atoms("H2", positions=[[0, 0, 0], [0.74, 0, 0]], cell=[3.0] * 3, pbc=True),
    ],
    ids=["NaCl", "Si", "Fe", "ZnO", "one atom", "H2"],
)
def test_sound_crystals_pass(atoms: Atoms) -> None:
    assert problems(atoms) == []


def test_left_handed_cell_and_positions_outside_are_fine() -> None:
    atoms = rocksalt()
    left = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell.array[[1, 0, 2]], pbc=True)
    assert np.linalg.det(left.cell.array) * np.linalg.det(atoms.cell.array) < 0
    assert problems(left) == [] == problems(atoms)
    atoms.positions += [137.0, -88.0, 1e6]
    before = atoms.copy()
    assert problems(atoms) == []
    assert atoms == before


def test_no_atoms() -> None:
    assert "no atoms" in only(Atoms(cell=[4] * 3, pbc=True))


def test_no_cell_names_lattice_as_the_remedy() -> None:
    message = only(Atoms("NaCl", positions=[[0, 0, 0], [2.4, 0, 0]]))
    assert "no cell" in message
    assert 'Lattice="' in message


@pytest.mark.parametrize(("pbc", "shown"), [([True, True, False], "T T F"), (False, "F F F")])
def test_periodicity(pbc: bool | list[bool], shown: str) -> None:
    atoms = rocksalt()
    atoms.pbc = pbc
    message = only(atoms)
    assert f'pbc="{shown}"' in message
    assert 'set pbc="T T T"' in message


@pytest.mark.parametrize(
    "cell",
    [[[4, 0, 0], [0, 4, 0], [4, 4, 0]], [[4, 0, 0], [0, 4, 0], [0, 0, 0]], np.eye(3) * 0.564],
    ids=["dependent", "flat", "nanometers"],
)
def test_zero_or_tiny_volume(cell: list[list[float]]) -> None:
    atoms = Atoms("NaCl", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=np.eye(3), pbc=True)
    atoms.set_cell(cell)
    assert "Angstrom^3 per atom" in only(atoms)


def test_one_cubic_angstrom_per_atom_is_the_limit() -> None:
    for volume, expected in ((0.99, 1), (1.01, 0)):
        assert len(problems(Atoms("H", cell=[volume ** (1 / 3)] * 3, pbc=True))) == expected


def test_volume_is_per_atom() -> None:
    """The same 8 Angstrom^3 hold one atom, or four with more than one each, but not nine."""
    rng = np.random.default_rng(1)
    cell = np.eye(3) * 2.0
    one = Atoms("He", cell=cell, pbc=True)
    assert not any("per atom" in problem for problem in problems(one))
    many = Atoms("He9", scaled_positions=rng.random((9, 3)), cell=cell, pbc=True)
    assert any("per atom" in problem for problem in problems(many))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value: float) -> None:
    atoms = rocksalt()
    atoms.positions[1, 2] = value
    assert "atom 1 (Cl) is not finite" in only(atoms)
    atoms = rocksalt()
    atoms.cell.array[0, 1] = value
    assert "cell is not finite" in only(atoms)


@pytest.mark.parametrize("repeat", [1, 5], ids=["few atoms", "many atoms"])
def test_close_atoms_are_named_with_their_distance(repeat: int) -> None:
    """Both ways to find pairs: all pairs, and the neighbor list of large cells."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(repeat)
    atoms += Atoms("O", positions=[atoms.positions[3] + [0.0, 0.2, 0.0]])
    last = len(atoms) - 1
    message = only(atoms)
    assert f"atoms 3 ({atoms.symbols[3]}) and {last} (O) are 0.200 Angstrom apart" in message
    assert "such pairs" not in message


@pytest.mark.parametrize("repeat", [1, 5], ids=["few atoms", "many atoms"])
def test_close_atoms_are_found_however_far_outside(repeat: int) -> None:
    """Neighbor lists count cells in 32 bits."""
    atoms = bulk("NaCl", "rocksalt", a=4.0, cubic=True).repeat(repeat)
    atoms += Atoms("O", positions=[atoms.positions[3] + [2e10, 0.2, 0.0]])
    assert f"and {len(atoms) - 1} (O) are 0.200 Angstrom apart" in only(atoms)


def test_close_atoms_through_the_boundary() -> None:
    atoms = Atoms("KF", positions=[[0.1, 2, 2], [3.8, 2, 2]], cell=[4] * 3, pbc=True)
    assert "atoms 0 (K) and 1 (F) are 0.300 Angstrom apart" in only(atoms)


def test_own_image_too_close() -> None:
    atoms = Atoms("Na", cell=[0.4, 10, 10], pbc=True)
    assert "atom 0 (Na) and its own periodic image are 0.400 Angstrom apart" in only(atoms)


def test_duplicates_are_counted_once_each() -> None:
    atoms = rocksalt()
    atoms += atoms.copy()
    message = only(atoms)
    assert "0.000 Angstrom" in message
    assert "(one of 2 such pairs)" in message


def test_half_an_angstrom_is_the_limit() -> None:
    for distance, expected in ((0.49, 1), (0.51, 0)):
        atoms = Atoms("H2", positions=[[0, 0, 0], [distance, 0, 0]], cell=[4] * 3, pbc=True)
        assert len(problems(atoms)) == expected


@pytest.mark.parametrize(("count", "seed"), [(1, 0), (2, 1), (2, 2), (12, 3), (12, 4), (220, 5)])
def test_close_pairs_agree_with_ase(count: int, seed: int) -> None:
    """Random skewed cells, low ones too, with positions far outside; 220 atoms take the neighbor list."""
    rng = np.random.default_rng(seed)
    cell = np.triu(rng.uniform(-3, 3, (3, 3)), 1) + np.diag(rng.uniform(0.7, 3.0, 3))
    cell *= max(1.0, (count / 12) ** (1 / 3))
    positions = rng.uniform(-30, 30, (count, 3))
    atoms = Atoms(f"H{count}", positions=positions, cell=cell, pbc=True)
    atoms.wrap()
    for cutoff in (0.3, 0.6):
        i, j, distance = close_pairs(positions, cell, cutoff)
        expected_i, expected_j, expected = ase_neighbor_list("ijd", atoms, cutoff)
        pairs = {frozenset(pair) for pair in zip(i.tolist(), j.tolist(), strict=True)}
        assert pairs == {frozenset(pair) for pair in zip(expected_i.tolist(), expected_j.tolist(), strict=True)}
        assert pairs or count < 12
        if pairs:
            assert distance.min() == pytest.approx(expected.min(), abs=1e-9)


@pytest.mark.parametrize(("number", "shown"), [(0, "'X'"), (119, "'Z=119'"), (-3, "'Z=-3'")])
def test_unknown_elements(number: int, shown: str) -> None:
    atoms = rocksalt()
    atoms.numbers[1] = number
    message = only(atoms)
    assert "atom 1 is of unknown element" in message
    assert shown in message


def test_heaviest_element_is_known() -> None:
    assert problems(Atoms([118], cell=[5] * 3, pbc=True)) == []


@pytest.mark.parametrize(
    ("occupancy", "shown"),
    [
        ({"0": {"Na": 1.0}, "1": {"Cl": 0.8}}, "site 1 (Cl 0.8)"),
        ({"0": {"Na": 0.5, "K": 0.5}, "1": {"Cl": 1.0}}, "site 0 (Na 0.5, K 0.5)"),
        ({"0": {"Na": 1.0, "K": 1.0}}, "site 0 (Na 1.0, K 1.0)"),
        ({0: {"Na": 0.9}, 1: {"Cl": 0.9}}, "site 0 (Na 0.9) and 1 more"),
        ({"0": {"Na": float("nan")}}, "site 0 (Na nan)"),
    ],
)
def test_partial_occupancies(occupancy: dict[object, dict[str, float]], shown: str) -> None:
    atoms = rocksalt()
    atoms.info["occupancy"] = occupancy
    message = only(atoms)
    assert f"partially occupied at {shown};" in message
    assert "ordered" in message


@pytest.mark.parametrize("occupancy", [{"0": {"Na": 1}, "1": {"Cl": 0.9999}}, {"0": {"Na": "?"}}, 0.5, "full"])
def test_full_occupancies_and_other_uses_of_the_key_pass(occupancy: object) -> None:
    atoms = rocksalt()
    atoms.info["occupancy"] = occupancy
    assert problems(atoms) == []


def test_all_problems_at_once() -> None:
    atoms = Atoms("XNaCl", positions=[[0, 0, 0], [0.1, 0, 0], [2, 2, 2]], cell=[4] * 3, pbc=[True, False, True])
    atoms.info["occupancy"] = {"1": {"Na": 0.5}}
    faults = problems(atoms)
    assert len(faults) == 4
    for part in ("unknown element", "partially occupied", "periodic in three dimensions", "0.100 Angstrom"):
        assert sum(part in problem for problem in faults) == 1
    assert all(";" in problem and "\n" not in problem for problem in faults)


def test_a_column_of_occupancies_counts() -> None:
    for name in ("occupancy", "occupancies"):
        atoms = bulk("NaCl", "rocksalt", a=5.64)
        atoms.set_array(name, np.array([0.5, 1.0]))
        (problem,) = problems(atoms)
        assert "partially occupied at site 0 (Na 0.5)" in problem
        atoms.set_array(name, np.array([np.nan, 1.0]))
        assert problems(atoms) == []

"""Zeros and independent components of all 32 point groups, against Nye's matrices written by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import spglib
import torch
from tests import crystals

from voigt.structures.symmetry import find_symmetry
from voigt.tensors.pattern import Pattern, exact_group, find_pattern
from voigt.tensors.projection import independent_components
from voigt.tensors.properties import PROPERTIES

EPS, PIEZO, ELASTIC, BORN = (PROPERTIES[name] for name in ("eps_inf", "piezo_total", "elastic", "born_charges"))

# Matrices of J. F. Nye, Physical Properties of Crystals (1957), tables 3, 8 and 9, in the axes of the IEEE standard,
# with spglib's settings: monoclinic axis y, trigonal and hexagonal x along a, so that x is the twofold axis of 32 and
# perpendicular to the mirror of 3m, as in Nye. "." is zero, "o" is not; Voigt order xx yy zz yz zx xy.
EPS_PATTERNS = {
    "triclinic": "ooo ooo ooo",
    "monoclinic": "o.o .o. o.o",
    "diagonal": "o.. .o. ..o",
}
PIEZO_PATTERNS = {
    "1": "oooooo oooooo oooooo",
    "2": "...o.o ooo.o. ...o.o",
    "m": "ooo.o. ...o.o ooo.o.",
    "222": "...o.. ....o. .....o",
    "mm2": "....o. ...o.. ooo...",
    "4": "...oo. ...oo. ooo...",
    "-4": "...oo. ...oo. oo...o",
    "422": "...o.. ....o. ......",
    "4mm": "....o. ...o.. ooo...",
    "-42m": "...o.. ....o. .....o",
    "3": "oo.ooo oo.ooo ooo...",
    "32": "oo.o.. ....oo ......",
    "3m": "....oo oo.o.. ooo...",
    "6": "...oo. ...oo. ooo...",
    "-6": "oo...o oo...o ......",
    "622": "...o.. ....o. ......",
    "6mm": "....o. ...o.. ooo...",
    "-6m2": ".....o oo.... ......",
    "23": "...o.. ....o. .....o",
    "-43m": "...o.. ....o. .....o",
}
PIEZO_COUNTS = {
    **{"1": 18, "2": 8, "m": 10, "222": 3, "mm2": 5, "4": 4, "-4": 4, "422": 1, "4mm": 3, "-42m": 2, "3": 6, "32": 2},
    **{"3m": 4, "6": 4, "-6": 2, "622": 1, "6mm": 3, "-6m2": 1, "23": 1, "-43m": 1},
}
ELASTIC_PATTERNS = {
    "triclinic": ("oooooo " * 6, 21),
    "monoclinic": ("ooo.o. ooo.o. ooo.o. ...o.o ooo.o. ...o.o", 13),
    "orthorhombic": ("ooo... ooo... ooo... ...o.. ....o. .....o", 9),
    "tetragonal (7)": ("ooo..o ooo..o ooo... ...o.. ....o. oo...o", 7),
    "tetragonal (6)": ("ooo... ooo... ooo... ...o.. ....o. .....o", 6),
    "trigonal (7)": ("ooooo. ooooo. ooo... oo.o.o oo..oo ...ooo", 7),
    "trigonal (6)": ("oooo.. oooo.. ooo... oo.o.. ....oo ....oo", 6),
    "hexagonal": ("ooo... ooo... ooo... ...o.. ....o. .....o", 5),
    "cubic": ("ooo... ooo... ooo... ...o.. ....o. .....o", 3),
}
# Point group -> pattern of eps, number of its components, pattern of C.
CLASSES = {
    **dict.fromkeys(("1", "-1"), ("triclinic", 6, "triclinic")),
    **dict.fromkeys(("2", "m", "2/m"), ("monoclinic", 4, "monoclinic")),
    **dict.fromkeys(("222", "mm2", "mmm"), ("diagonal", 3, "orthorhombic")),
    **dict.fromkeys(("4", "-4", "4/m"), ("diagonal", 2, "tetragonal (7)")),
    **dict.fromkeys(("422", "4mm", "-42m", "4/mmm"), ("diagonal", 2, "tetragonal (6)")),
    **dict.fromkeys(("3", "-3"), ("diagonal", 2, "trigonal (7)")),
    **dict.fromkeys(("32", "3m", "-3m"), ("diagonal", 2, "trigonal (6)")),
    **dict.fromkeys(("6", "-6", "6/m", "622", "6mm", "-6m2", "6/mmm"), ("diagonal", 2, "hexagonal")),
    **dict.fromkeys(("23", "m-3", "432", "-43m", "m-3m"), ("diagonal", 1, "cubic")),
}
# The first space group of each class; spglib's settings of them have the axes named above.
NUMBERS = {
    **{"1": 1, "-1": 2, "2": 3, "m": 6, "2/m": 10, "222": 16, "mm2": 25, "mmm": 47, "4": 75, "-4": 81, "4/m": 83},
    **{"422": 89, "4mm": 99, "-42m": 111, "4/mmm": 123, "3": 143, "-3": 147, "32": 150, "3m": 156, "-3m": 164},
    **{"6": 168, "-6": 174, "6/m": 175, "622": 177, "6mm": 183, "-6m2": 187, "6/mmm": 191, "23": 195, "m-3": 200},
    **{"432": 207, "-43m": 215, "m-3m": 221},
}


def group_of(point_group: str) -> np.ndarray:
    """Rotations in the conventional axes: a along x, c along z (hexagonal: b at 120 degrees)."""
    hexagonal = np.array([[1.0, -0.5, 0.0], [0.0, np.sqrt(0.75), 0.0], [0.0, 0.0, 1.4]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        hall = next(h for h in range(1, 531) if spglib.get_spacegroup_type(h).number == NUMBERS[point_group])
    integer = spglib.get_symmetry_from_database(hall)["rotations"]
    lattice = hexagonal if 143 <= NUMBERS[point_group] <= 194 else np.eye(3)
    return lattice @ integer @ np.linalg.inv(lattice)


def drawn(found: Pattern) -> str:
    return " ".join("".join("." if zero else "o" for zero in row) for row in found.zero)


def names(found: Pattern) -> list[str]:
    """Independent components as Nye numbers them, from 1."""
    return [f"{i + 1}{j + 1}" for i, j in zip(*np.nonzero(found.independent), strict=True)]


@pytest.mark.parametrize("point_group", NUMBERS)
def test_every_point_group_has_the_matrices_of_the_textbook(point_group: str) -> None:
    group = group_of(point_group)
    eps, count, elastic = CLASSES[point_group]
    stiffness, constants = ELASTIC_PATTERNS[elastic]
    found = {prop.name: find_pattern(group, prop) for prop in (EPS, PIEZO, ELASTIC)}
    assert (drawn(found["eps_inf"]), found["eps_inf"].count) == (EPS_PATTERNS[eps], count)
    assert (drawn(found["elastic"]), found["elastic"].count) == (stiffness.strip(), constants)
    piezo = PIEZO_PATTERNS.get(point_group, "...... ...... ......")
    assert (drawn(found["piezo_total"]), found["piezo_total"].count) == (piezo, PIEZO_COUNTS.get(point_group, 0))


def test_there_are_32_point_groups() -> None:
    assert len(NUMBERS) == len(CLASSES) == 32


@pytest.mark.parametrize("point_group", NUMBERS)
@pytest.mark.parametrize("prop", [EPS, PIEZO, ELASTIC, BORN], ids=lambda prop: prop.name)
def test_independent_components_determine_the_tensor_in_any_axes(point_group: str, prop) -> None:
    """In general axes hardly an entry vanishes, and yet as many entries as the trace says fix all the others."""
    turn = crystals.random_rotation(3)
    group = turn @ group_of(point_group) @ turn.T
    found = find_pattern(group, prop)
    assert found.count == independent_components(torch.tensor(group), prop.formula)
    assert not (found.independent & found.zero).any()
    samples = np.random.default_rng(0).normal(size=(60, *prop.shape))
    tensors = np.array([averaged(sample, group, prop) for sample in samples]).reshape(60, -1)
    assert np.linalg.matrix_rank(tensors, tol=1e-9) == found.count
    chosen = tensors[:, found.independent.reshape(-1)]
    if found.count:
        solution = np.linalg.lstsq(chosen, tensors, rcond=None)[0]
        np.testing.assert_allclose(chosen @ solution, tensors, atol=1e-8)


def averaged(tensor: np.ndarray, group: np.ndarray, prop) -> np.ndarray:
    """Average over the group and over the index symmetry, by the definition, in the layout of files."""
    if prop.rank == 2:
        mean = np.einsum("gia,gjb,ab->ij", group, group, tensor) / len(group)
        return mean if prop.formula == "ij" else (mean + mean.T) / 2
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (2, 0), (0, 1)]
    if prop.rank == 3:
        mean = np.einsum("gia,gjb,gkc,abc->ijk", group, group, group, tensor, optimize=True) / len(group)
        mean = mean + mean.transpose(0, 2, 1)
        return np.array([[mean[i, j, k] for j, k in pairs] for i in range(3)])
    mean = np.einsum("gia,gjb,gkc,gld,abcd->ijkl", group, group, group, group, tensor, optimize=True) / len(group)
    mean = mean + mean.transpose(1, 0, 2, 3)
    mean = mean + mean.transpose(0, 1, 3, 2)
    mean = mean + mean.transpose(2, 3, 0, 1)
    return np.array([[mean[i, j, k, m] for k, m in pairs] for i, j in pairs])


@pytest.mark.parametrize(
    ("atoms", "prop", "expected"),
    [
        (crystals.quartz(), PIEZO, ["11", "14"]),
        (crystals.wurtzite(), PIEZO, ["15", "31", "33"]),
        (crystals.zincblende(), PIEZO, ["14"]),
        (crystals.rocksalt(), PIEZO, []),
        (crystals.zincblende(), ELASTIC, ["11", "12", "44"]),
        (crystals.wurtzite(), ELASTIC, ["11", "12", "13", "33", "44"]),
        (crystals.quartz(), ELASTIC, ["11", "12", "13", "14", "33", "44"]),
        (crystals.rutile(), ELASTIC, ["11", "12", "13", "33", "44", "66"]),
        (crystals.calcium_titanate(), ELASTIC, ["11", "12", "13", "22", "23", "33", "44", "55", "66"]),
        (crystals.rutile(), EPS, ["11", "33"]),
        (crystals.baddeleyite(), EPS, ["11", "13", "22", "33"]),
        (crystals.nameless(), EPS, ["11", "12", "13", "22", "23", "33"]),
    ],
)
def test_crystals_of_the_literature(atoms, prop, expected: list[str]) -> None:
    assert names(find_pattern(find_symmetry(atoms).rotations, prop)) == expected


def test_trigonal_and_tetragonal_crystals_with_seven_constants() -> None:
    assert names(find_pattern(group_of("-3"), ELASTIC)) == ["11", "12", "13", "14", "15", "33", "44"]
    assert names(find_pattern(group_of("4/m"), ELASTIC)) == ["11", "12", "13", "16", "33", "44", "66"]


def test_operations_may_be_repeated_as_in_a_supercell() -> None:
    symmetry = find_symmetry(crystals.zincblende() * (2, 2, 2))
    rotations = np.tile(symmetry.rotations, (symmetry.translations, 1, 1))
    assert len(rotations) == 24 * 8
    assert names(find_pattern(rotations, PIEZO)) == names(find_pattern(symmetry.rotations, PIEZO)) == ["14"]


def test_a_cell_that_has_its_symmetry_only_nearly() -> None:
    """Lattice vectors off by 1e-4: the rotations form no exact group, and the counts are still the textbook's."""
    rng = np.random.default_rng(1)
    for atoms, prop, expected in (
        (crystals.quartz(), PIEZO, ["11", "14"]),
        (crystals.corundum(), ELASTIC, ["11", "12", "13", "14", "33", "44"]),
    ):
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-1e-5, 1e-5, (3, 3))), scale_atoms=True)
        symmetry = find_symmetry(atoms, symprec=0.01)
        assert abs(symmetry.rotations - exact_group(symmetry.rotations)[0]).max() > 1e-6
        assert names(find_pattern(symmetry.rotations, prop, tolerance=1e-3)) == expected


def test_the_nearest_group_is_a_group() -> None:
    exact = group_of("m-3m")
    left, _, right = np.linalg.svd(exact + np.random.default_rng(0).uniform(-0.01, 0.01, exact.shape))
    group = exact_group(left @ right)
    assert len(group) == 48
    products = (group[:, None] @ group[None]).reshape(-1, 9)
    nearest = abs(products[:, None] - group.reshape(48, 9)).max(axis=2).min(axis=1)
    assert nearest.max() < 1e-12
    assert abs(group - exact).max() < 0.03


def test_rotations_that_are_no_group_are_refused() -> None:
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    with pytest.raises(ValueError, match="2 rotations are not a group"):
        find_pattern(np.array([np.eye(3), quarter]), EPS)


def test_scalars_and_sites() -> None:
    scalar = find_pattern(group_of("m-3m"), PROPERTIES["band_gap"])
    assert (scalar.zero.shape, scalar.count) == ((), 1)
    # A Born charge on a threefold axis keeps an antisymmetric part along it.
    site = find_pattern(group_of("3"), BORN)
    assert drawn(site) == "oo. oo. ..o"
    assert names(site) == ["11", "12", "33"]

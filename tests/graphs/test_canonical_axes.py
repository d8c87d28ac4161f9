"""Frames: exact, the same for every description of a crystal, and with its symmetry when averaged."""

from __future__ import annotations

import itertools

import ase
import numpy as np
import pytest
import scipy.linalg
import spglib
import torch
from ase.cell import Cell
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from pymatgen.core import Lattice
from tests import crystals

from voigt.errors import InputError
from voigt.graphs.canonical_axes import (
    CanonicalAxes,
    canonical_axes,
    cartesian_operations,
    polar,
    polar_torch,
)
from voigt.structures.symmetry import find_symmetry
from voigt.structures.symmetry.lattices import lattice_operations, standard_lattice

# Primitive vectors of the 14 Bravais lattices: constructor of the conventional cell, centering, order of the holohedry.
BRAVAIS = {
    "aP": ([4.1, 5.3, 6.7, 81, 94, 107], "P", 2),
    "mP": ([4.1, 5.3, 6.7, 90, 103, 90], "P", 4),
    "mC": ([8.3, 5.3, 6.7, 90, 103, 90], "C", 4),
    "oP": ([4.1, 5.3, 6.7, 90, 90, 90], "P", 8),
    "oC": ([4.1, 9.3, 6.7, 90, 90, 90], "C", 8),
    "oI": ([4.1, 5.3, 6.7, 90, 90, 90], "I", 8),
    "oF": ([7.1, 8.3, 11.7, 90, 90, 90], "F", 8),
    "tP": ([4.1, 4.1, 6.7, 90, 90, 90], "P", 16),
    "tI": ([4.1, 4.1, 6.7, 90, 90, 90], "I", 16),
    "tI flat": ([6.1, 6.1, 4.7, 90, 90, 90], "I", 16),
    "hR": ([5.2, 5.2, 5.2, 71, 71, 71], "P", 12),
    "hR obtuse": ([5.2, 5.2, 5.2, 104, 104, 104], "P", 12),
    "hP": ([4.1, 4.1, 6.7, 90, 90, 120], "P", 24),
    "cP": ([4.1, 4.1, 4.1, 90, 90, 90], "P", 48),
    "cI": ([4.1, 4.1, 4.1, 90, 90, 90], "I", 48),
    "cF": ([5.1, 5.1, 5.1, 90, 90, 90], "F", 48),
}
CENTERING = {
    "P": np.eye(3),
    "C": np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]),
    "F": np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
}
SHEAR = np.array([[1, 2, -1], [0, 1, 3], [0, 0, 1]])
SWAP = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])  # to the other hand


def bravais(name: str) -> NDArray[np.float64]:
    parameters, centering, _ = BRAVAIS[name]
    return CENTERING[centering] @ Cell.fromcellpar(parameters).array


def turn(tensor: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    for axis in range(tensor.ndim):
        tensor = np.moveaxis(np.tensordot(rotation, tensor, axes=(1, axis)), 0, axis)
    return tensor


def network(
    vectors: NDArray[np.float64], weights: NDArray[np.float64], stretch: NDArray[np.float64], rank: int
) -> NDArray[np.float64]:
    """A random function of a crystal seen from a frame: blind to order and origin of atoms, not to directions."""
    rng = np.random.default_rng(rank)
    seen = np.tanh(vectors @ rng.normal(size=(3, 12)) + rng.normal(size=12))
    hidden = np.tanh(3 * weights @ seen + 0.3 * stretch.ravel() @ rng.normal(size=(9, 12)))
    return (hidden @ rng.normal(size=(12, 3**rank))).reshape((3,) * rank)


def evaluate(atoms: ase.Atoms, frames: CanonicalAxes, rank: int) -> NDArray[np.float64]:
    """Mean over the operations of the mean over the frames, as a model takes it."""
    target, source, vectors, distance = neighbor_list("ijDd", atoms, 3.6)
    weights = (1 - distance / 3.6) ** 3 * np.sin(atoms.numbers[target]) * (1 + np.cos(atoms.numbers[source] ** 2))
    weights /= len(atoms)
    per_frame = [turn(network(vectors @ frame, weights, frames.stretch, rank), frame) for frame in frames.rotations]
    mean = np.mean(per_frame, axis=0)
    return np.mean([turn(mean, operation) for operation in frames.operations], axis=0)


def averaged(atoms: ase.Atoms, rank: int, kind: str = "primitive", mode: str = "average") -> NDArray[np.float64]:
    frames = canonical_axes(standard_lattice(atoms, kind, 1e-3), mode, find_symmetry(atoms).rotations)
    return evaluate(atoms, frames, rank)


def redescribed(atoms: ase.Atoms, combination: NDArray[np.int64]) -> ase.Atoms:
    """The same atoms in a cell of other vectors of the same lattice."""
    result = atoms.copy()
    result.set_cell(combination @ atoms.cell.array, scale_atoms=False)
    result.wrap()
    return result


# --- polar decomposition


@pytest.mark.parametrize("determinant", [1, -1])
def test_polar_is_that_of_scipy_for_either_hand(determinant):
    cells = np.random.default_rng(0).normal(size=(4, 25, 3, 3)) * 5
    cells *= (determinant * np.sign(np.linalg.det(cells)))[..., None, None]
    rotation, stretch = polar(cells)
    assert rotation.shape == stretch.shape == (4, 25, 3, 3)
    for index in np.ndindex(4, 25):
        unitary, positive = scipy.linalg.polar(cells[index].T)
        np.testing.assert_allclose(rotation[index], unitary, atol=2e-13)
        np.testing.assert_allclose(stretch[index], positive, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotation), determinant, atol=1e-13)


@pytest.mark.parametrize("values", [(5, 5, 5), (4, 4, 9), (3, 8, 8), (3, 3, 3e5), (3, 3e5, 3e5)])
def test_polar_knows_no_special_case_of_singular_values(values):
    first, second = crystals.random_rotation(1), crystals.random_rotation(2, -1)
    lattice = first @ np.diag(values) @ second.T
    rotation, stretch = polar(lattice.T)
    np.testing.assert_allclose(rotation, first @ second.T, atol=1e-15 * values[2] + 1e-14)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(stretch, second @ np.diag(values) @ second.T, atol=1e-14 * values[2])


@pytest.mark.parametrize("cell", [np.zeros((3, 3)), np.diag([3.0, 4.0, 0.0]), np.ones((3, 3)), np.full((3, 3), np.nan)])
def test_a_singular_cell_is_refused(cell):
    with pytest.raises(InputError, match="without volume"):
        polar(np.stack([np.eye(3), cell]))
    with pytest.raises(InputError, match="without volume"):
        lattice_operations(cell)
    with pytest.raises(InputError, match=r"finite|less than 1"):
        standard_lattice(ase.Atoms("H", cell=cell, pbc=True), "niggli", 1e-3)


def test_torch_twin_gives_the_same_and_derivatives_at_equal_singular_values():
    cells = np.random.default_rng(3).normal(size=(7, 3, 3)) * 5
    for ours, twin in zip(polar(cells), polar_torch(torch.tensor(cells)), strict=True):
        np.testing.assert_allclose(twin.numpy(), ours, atol=1e-12)
    cubic = torch.tensor(5.1 * crystals.random_rotation(4) @ np.diag([1, 1, -1.0]), requires_grad=True)
    assert torch.autograd.gradcheck(polar_torch, (cubic,), atol=1e-7)
    assert torch.autograd.gradcheck(polar_torch, (torch.tensor(bravais("tI"), requires_grad=True),), atol=1e-7)


# --- group of a lattice


@pytest.mark.parametrize("noise", [0.0, 1e-6, 2e-4])
@pytest.mark.parametrize("name", BRAVAIS)
def test_holohedry_of_every_bravais_lattice(name, noise):
    order = BRAVAIS[name][2]
    rng = np.random.default_rng(5)
    base = bravais(name)
    for change in (np.eye(3), SHEAR, SWAP, -SHEAR @ SWAP @ SHEAR.T):
        lattice = change @ base @ crystals.random_rotation(6) @ (np.eye(3) + noise * rng.uniform(-1, 1, (3, 3)))
        operations = lattice_operations(lattice)
        assert len(operations) == order
        assert np.array_equal(operations[0], np.eye(3))
        known = {operation.tobytes() for operation in operations}
        assert len(known) == order
        assert all((a @ b).tobytes() in known for a, b in itertools.product(operations, operations))
        turns = cartesian_operations(lattice, operations)
        np.testing.assert_allclose(turns @ turns.swapaxes(1, 2), np.broadcast_to(np.eye(3), turns.shape), atol=1e-13)
        moved = turns @ lattice.T - lattice.T @ operations
        size = np.linalg.norm(lattice, axis=1).max()
        assert np.abs(moved).max() < (1e-11 if noise == 0 else 20 * noise) * size


@pytest.mark.parametrize("name", BRAVAIS)
def test_broken_symmetry_is_seen_beyond_the_tolerance(name):
    strained = bravais(name) @ (np.eye(3) + 0.03 * np.array([[0.1, 0.7, -0.4], [0.7, -1, 0.9], [-0.4, 0.9, 0.6]]))
    assert len(lattice_operations(strained)) == 2


def test_a_wide_tolerance_still_gives_a_group():
    rng = np.random.default_rng(8)
    orders = set()
    for _ in range(60):
        operations = lattice_operations(5 * np.eye(3) + 0.12 * rng.normal(size=(3, 3)), tolerance=0.02)
        known = {operation.tobytes() for operation in operations}
        products = (operations[:, None] @ operations).reshape(-1, 3, 3)
        assert {product.tobytes() for product in products} == known
        orders.add(len(operations))
    assert len(orders) > 2
    assert orders <= {2, 4, 8, 12, 16, 24, 48}


# --- standard lattice


@pytest.mark.parametrize("name", BRAVAIS)
def test_reduced_lattice_is_that_of_pymatgen_and_is_not_rotated(name):
    cell = -SHEAR @ bravais(name) @ crystals.random_rotation(9)
    atoms = ase.Atoms("H", cell=cell, pbc=True)
    np.testing.assert_array_equal(standard_lattice(atoms, "none", 1e-3), cell)
    for kind in ("niggli", "primitive"):
        reduced = standard_lattice(atoms, kind, 1e-3)
        relation = reduced @ np.linalg.inv(cell)
        np.testing.assert_allclose(relation, np.rint(relation), atol=1e-9)
        assert np.linalg.det(relation) == pytest.approx(1)  # the same lattice, not turned, and of the same hand
        theirs = Lattice(cell).get_niggli_reduced_lattice()
        assert sorted(np.linalg.norm(reduced, axis=1)) == pytest.approx(sorted(theirs.abc), abs=1e-6)
        ours = np.abs(np.cos(np.radians(Cell(reduced).angles())))
        assert sorted(ours) == pytest.approx(sorted(np.abs(np.cos(np.radians(theirs.angles)))), abs=1e-6)


@pytest.mark.parametrize("kind", ["none", "niggli", "primitive"])
@pytest.mark.parametrize("name", ["zincblende", "quartz", "corundum", "anatase", "calcium_titanate", "nameless"])
def test_turning_the_crystal_turns_its_standard_lattice(name, kind):
    atoms = redescribed(getattr(crystals, name)(), SHEAR)
    if name == "zincblende":
        atoms = atoms.repeat((2, 1, 1))
    straight = standard_lattice(atoms, kind, 1e-3)
    for seed, determinant in itertools.product(range(4), (1, -1)):
        rotation = crystals.random_rotation(seed, determinant)
        np.testing.assert_allclose(
            standard_lattice(crystals.rotated(atoms, rotation), kind, 1e-3), straight @ rotation.T, atol=1e-9
        )


def test_primitive_lattice_is_found_in_supercells_and_centered_cells():
    primitive = crystals.rocksalt()
    for atoms in (crystals.rocksalt(cubic=True), primitive.repeat((2, 1, 3)), redescribed(primitive, SHEAR @ SWAP)):
        shaken = atoms.copy()
        shaken.positions += np.random.default_rng(0).uniform(-1e-4, 1e-4, shaken.positions.shape)
        lattice = standard_lattice(shaken, "primitive", 1e-3)
        assert abs(np.linalg.det(lattice)) == pytest.approx(primitive.get_volume())
        relation = lattice @ np.linalg.inv(primitive.cell.array)
        np.testing.assert_allclose(relation, np.rint(relation), atol=1e-9)


def test_atoms_on_top_of_each_other_have_no_primitive_cell():
    with pytest.raises(InputError, match="no primitive cell found for H2"):
        standard_lattice(ase.Atoms("H2", cell=3 * np.eye(3), pbc=True), "primitive", 1e-3)


@pytest.mark.parametrize("fails", [("niggli_reduce",), ("niggli_reduce", "delaunay_reduce")])
@pytest.mark.parametrize("raises", [False, True])
def test_delaunay_reduction_steps_in_where_that_of_niggli_fails(monkeypatch, fails, raises):
    def fail(*_, **__):
        if raises:
            raise spglib.SpglibError
        return None

    atoms = redescribed(crystals.wurtzite(), SHEAR)
    before = averaged(atoms, 3)
    for name in fails:
        monkeypatch.setattr(spglib, name, fail)
    if len(fails) == 2:
        with pytest.raises(InputError, match="cannot be reduced"):
            standard_lattice(atoms, "niggli", 1e-3)
        return
    for hand in (1, -1):
        lattice = standard_lattice(redescribed(atoms, hand * np.eye(3)), "niggli", 1e-3)
        assert np.linalg.det(lattice) * np.linalg.det(atoms.cell.array) * hand > 0
        assert np.linalg.norm(lattice, axis=1).max() < 5.3
    assert len(lattice_operations(lattice)) == 24
    np.testing.assert_allclose(averaged(atoms, 3), before, atol=1e-10)


# --- frames

NAMES = ["zincblende", "wurtzite", "quartz", "rutile", "anatase", "corundum", "baddeleyite", "nameless"]


@pytest.mark.parametrize("rank", [2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_cosets_give_the_mean_over_the_whole_group_and_the_symmetry_of_the_crystal(name, rank):
    atoms = crystals.rotated(getattr(crystals, name)(), crystals.random_rotation(11, -1))
    lattice = standard_lattice(atoms, "primitive", 1e-3)
    rotations = find_symmetry(atoms).rotations
    everything = canonical_axes(lattice, "average")
    cosets = canonical_axes(lattice, "average", rotations)
    assert len(everything.rotations) == everything.distinct == len(lattice_operations(lattice))
    assert len(cosets.rotations) * len(cosets.operations) == everything.distinct
    np.testing.assert_allclose(cosets.rotations[0], polar(lattice)[0], atol=1e-12)
    value = evaluate(atoms, cosets, rank)
    np.testing.assert_allclose(value, evaluate(atoms, everything, rank), atol=1e-12)
    for rotation in rotations:
        np.testing.assert_allclose(turn(value, rotation), value, atol=1e-12)
    single = evaluate(atoms, canonical_axes(lattice, "single"), rank)
    if len(rotations) > 1:  # the symmetry is the work of the average
        assert max(np.abs(turn(single, rotation) - single).max() for rotation in rotations) > 1e-2


@pytest.mark.parametrize("mode", ["single", "average"])
@pytest.mark.parametrize("kind", ["none", "primitive"])
@pytest.mark.parametrize("name", ["zincblende", "quartz", "nameless"])
def test_the_result_turns_and_mirrors_with_the_crystal(name, kind, mode):
    atoms = redescribed(getattr(crystals, name)(), SHEAR)
    for rank, determinant in itertools.product((2, 3, 4), (1, -1)):
        straight = averaged(atoms, rank, kind, mode)
        rotation = crystals.random_rotation(rank, determinant)
        copy = averaged(crystals.rotated(atoms, rotation), rank, kind, mode)
        np.testing.assert_allclose(copy, turn(straight, rotation), atol=1e-11)


def descriptions(name: str) -> list[ase.Atoms]:
    atoms = getattr(crystals, name)()
    others = [crystals.zincblende(cubic=True)] if name == "zincblende" else []
    return [
        atoms,
        *others,
        redescribed(atoms, SHEAR),
        redescribed(atoms, SHEAR @ SWAP),
        redescribed(atoms, np.diag([1, 1, -1])),
        atoms.repeat((1, 2, 1)),
        redescribed(atoms.repeat((2, 1, 1)), SHEAR.T),
    ]


@pytest.mark.parametrize("name", ["zincblende", "wurtzite", "quartz", "rutile", "baddeleyite", "nameless"])
def test_every_description_of_a_crystal_gives_the_same(name):
    for rank in (2, 3):
        first, *others = [averaged(atoms, rank) for atoms in descriptions(name)]
        assert np.abs(first).max() > 1e-3 or (name, rank) in {("rutile", 3), ("baddeleyite", 3)}
        for other in others:
            np.testing.assert_allclose(other, first, atol=1e-10)


@pytest.mark.parametrize("name", ["zincblende", "quartz", "nameless"])
def test_single_frame_of_the_cell_as_given_depends_on_the_description(name):
    """The limit of the published method, which the mean over frames lifts."""
    first, *others = [averaged(atoms, 2, "none", "single") for atoms in descriptions(name)]
    assert max(np.abs(other - first).max() for other in others) > 1e-3


@pytest.mark.parametrize("name", ["cF", "tI", "hP", "hR", "mC"])
def test_a_lattice_with_noise_gives_the_same_frames_whichever_equivalent_basis_describes_it(name):
    rng = np.random.default_rng(12)
    lattice = standard_lattice(ase.Atoms("H", cell=bravais(name), pbc=True), "niggli", 1e-3)
    lattice = lattice @ (np.eye(3) + 2e-4 * rng.uniform(-1, 1, (3, 3)))
    first = canonical_axes(lattice, "average")
    assert np.abs(first.rotations[0] @ first.stretch - lattice.T).max() < 5e-3
    for operation in lattice_operations(lattice):
        other = canonical_axes((lattice.T @ operation).T, "average")
        np.testing.assert_allclose(other.stretch, first.stretch, atol=1e-12)
        apart = np.abs(other.rotations[:, None] - first.rotations).max(axis=(2, 3))
        assert apart.min(axis=0).max() < 1e-12
        assert apart.min(axis=1).max() < 1e-12


def test_centering_repeats_rotations_and_changes_nothing():
    atoms = crystals.zincblende(cubic=True)
    rotations = find_symmetry(atoms).rotations
    assert len(rotations) == 24
    rotations = np.tile(rotations, (4, 1, 1))
    for mode, count in (("single", 1), ("average", 2)):
        frames = canonical_axes(standard_lattice(atoms, "primitive", 1e-3), mode, rotations)
        assert len(frames.operations) == 24
        assert len(frames.rotations) == count


def test_operations_that_are_none_of_the_lattice_are_left_out_with_a_warning():
    atoms = crystals.perovskite()
    rotations = find_symmetry(atoms).rotations
    doubled = atoms.repeat((1, 1, 2))
    frames = canonical_axes(doubled.cell.array, "average", rotations)
    assert frames.distinct == 16
    assert len(frames.operations) == 16
    assert len(frames.rotations) == 1
    assert any("32 symmetry operations" in warning for warning in frames.warnings)
    everything = canonical_axes(doubled.cell.array, "average")
    np.testing.assert_allclose(evaluate(doubled, frames, 3), evaluate(doubled, everything, 3), atol=1e-12)


# --- warnings


def test_ordinary_lattices_raise_no_warning():
    for name in BRAVAIS:
        frames = canonical_axes(
            standard_lattice(ase.Atoms("H", cell=bravais(name), pbc=True), "niggli", 1e-3), "average"
        )
        assert frames.warnings == ()
    assert canonical_axes(4 * np.eye(3), "single").gap == pytest.approx(1)


def test_a_needle_is_reported_and_a_sheet_is_not():
    needle = canonical_axes(np.diag([3.0, 4.0, 200.0]), "single")
    assert needle.gap == pytest.approx(7 / 400)
    assert len(needle.warnings) == 1
    assert "needle-like" in needle.warnings[0]
    assert "200" in needle.warnings[0]
    assert canonical_axes(np.diag([3.0, 100.0, 110.0]), "single").warnings == ()


@pytest.mark.parametrize("gap_of", [0.004, 0.02])
def test_gap_bounds_how_far_the_frame_turns(gap_of):
    lattice = np.diag([gap_of * 100, gap_of * 100, 100.0])
    frames = canonical_axes(lattice, "single")
    change = np.zeros((3, 3))
    change[2, 0], change[0, 2] = 1e-4, -1e-4
    turned = canonical_axes(lattice + change, "single").rotations[0] - frames.rotations[0]
    assert np.abs(turned).max() <= np.linalg.norm(change) / (frames.gap * 100)


def test_a_nearly_cubic_lattice_is_reported():
    frames = canonical_axes(np.diag([4.0, 4.0, 4.02]), "average")
    assert frames.distinct == 16
    assert "has 16 symmetry operations and is within a strain of 0.01 of having more" in " ".join(frames.warnings)
    assert canonical_axes(np.diag([4.0, 4.0, 4.3]), "average").warnings == ()


def test_a_lattice_about_to_change_its_reduced_cell_is_reported():
    """Angle alpha crosses 90 degrees while the two others are far from it: all acute on one side, obtuse beyond."""
    cells = {alpha: Cell.fromcellpar([4, 5.1, 6.3, alpha, 75, 70]).array for alpha in (87.0, 89.85, 90.15)}
    frames = {}
    for alpha, cell in cells.items():
        lattice = standard_lattice(ase.Atoms("H", cell=cell, pbc=True), "niggli", 1e-3)
        frames[alpha] = canonical_axes(lattice, "average")
    jump = np.abs(frames[89.85].stretch - frames[90.15].stretch).max()
    assert jump > 0.1  # the two cells differ by a hundredth of an Angstrom
    assert "another reduced cell" in " ".join(frames[89.85].warnings)
    assert "another reduced cell" in " ".join(frames[90.15].warnings)
    assert frames[87.0].warnings == ()


# --- direction of labels


def test_labels_go_to_canonical_axes_by_the_transpose_of_the_rotation():
    """Q.T e Q is the same for all rotated copies of a crystal; the inverse, Q e Q.T, is not.

    The code released with the first paper has the inverse: with rows A it forms A.T = Q P and labels Q e Q.T.
    """
    atoms = crystals.nameless()
    tensor = np.array([[3.0, 0.4, -0.2], [0.4, 5.0, 0.7], [-0.2, 0.7, 8.0]])
    piezo = np.random.default_rng(0).normal(size=(3, 3, 3))
    right, wrong, odd = [], [], []
    for seed, determinant in itertools.product(range(5), (1, -1)):
        rotation = crystals.random_rotation(seed, determinant)
        copy = crystals.rotated(atoms, rotation)
        frame = canonical_axes(standard_lattice(copy, "niggli", 1e-3), "single").rotations[0]
        assert np.abs(frame - frame.T).max() > 0.1  # not its own inverse
        label = rotation @ tensor @ rotation.T
        right.append(frame.T @ label @ frame)
        wrong.append(frame @ label @ frame.T)
        odd.append(turn(turn(piezo, rotation), frame.T))
    assert np.ptp(right, axis=0).max() < 1e-12
    assert np.ptp(odd, axis=0).max() < 1e-12
    assert np.ptp(wrong, axis=0).max() > 1

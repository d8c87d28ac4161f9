"""Space groups of known crystals, and operations that do what they say to positions and to tensors on atoms."""

from __future__ import annotations

import pickle
from dataclasses import replace

import ase
import numpy as np
import pytest
import spglib
from ase.neighborlist import neighbor_list as ase_neighbor_list
from ase.spacegroup import crystal
from tests import crystals

from voigt.errors import InputError
from voigt.structures.symmetry import Symmetry, crystal_system, find_symmetry
from voigt.structures.symmetry import space_group as module
from voigt.structures.symmetry.space_group import nearest_orthogonal

# Crystal -> number, symbol, point group, system, inversion center, operations in the cell given, orbits.
KNOWN = {
    "rocksalt": (225, "Fm-3m", "m-3m", "cubic", True, 48, 2),
    "cesium_chloride": (221, "Pm-3m", "m-3m", "cubic", True, 48, 2),
    "zincblende": (216, "F-43m", "-43m", "cubic", False, 24, 2),
    "wurtzite": (186, "P6_3mc", "6mm", "hexagonal", False, 12, 2),
    "fluorite": (225, "Fm-3m", "m-3m", "cubic", True, 48, 2),
    "perovskite": (221, "Pm-3m", "m-3m", "cubic", True, 48, 3),
    "lead_titanate": (99, "P4mm", "4mm", "tetragonal", False, 8, 4),
    "rutile": (136, "P4_2/mnm", "4/mmm", "tetragonal", True, 16, 2),
    "anatase": (141, "I4_1/amd", "4/mmm", "tetragonal", True, 32, 2),
    "quartz": (154, "P3_221", "32", "trigonal", False, 6, 2),
    "corundum": (167, "R-3c", "-3m", "trigonal", True, 36, 2),
    "calcium_titanate": (62, "Pnma", "mmm", "orthorhombic", True, 8, 4),
    "baddeleyite": (14, "P2_1/c", "2/m", "monoclinic", True, 4, 3),
    "copper_tungstate": (2, "P-1", "-1", "triclinic", True, 2, 6),
    "nameless": (1, "P1", "1", "triclinic", False, 1, 4),
}

# One primitive symmorphic group for each of the 32 point groups: number, order, inversion (International Tables).
POINT_GROUPS = {
    "1": (1, 1, False), "-1": (2, 2, True), "2": (3, 2, False), "m": (6, 2, False), "2/m": (10, 4, True),
    "222": (16, 4, False), "mm2": (25, 4, False), "mmm": (47, 8, True),
    "4": (75, 4, False), "-4": (81, 4, False), "4/m": (83, 8, True), "422": (89, 8, False), "4mm": (99, 8, False),
    "-42m": (111, 8, False), "4/mmm": (123, 16, True),
    "3": (143, 3, False), "-3": (147, 6, True), "32": (149, 6, False), "3m": (156, 6, False), "-3m": (162, 12, True),
    "6": (168, 6, False), "-6": (174, 6, False), "6/m": (175, 12, True), "622": (177, 12, False),
    "6mm": (183, 12, False), "-6m2": (187, 12, False), "6/mmm": (191, 24, True),
    "23": (195, 12, False), "m-3": (200, 24, True), "432": (207, 24, False), "-43m": (215, 24, False),
    "m-3m": (221, 48, True),
}  # fmt: skip

CELLS = {
    "triclinic": [5.1, 6.3, 7.2, 82, 95, 107],
    "monoclinic": [5.1, 6.3, 7.2, 90, 101, 90],
    "orthorhombic": [5.1, 6.3, 7.2, 90, 90, 90],
    "tetragonal": [6.1, 6.1, 8.2, 90, 90, 90],
    "trigonal": [6.1, 6.1, 8.2, 90, 90, 120],
    "hexagonal": [6.1, 6.1, 8.2, 90, 90, 120],
    "cubic": [9.3, 9.3, 9.3, 90, 90, 90],
}


def described_in_many_ways() -> dict[str, ase.Atoms]:
    """Known crystals; the same left-handed, rotated, mirrored, in supercells, and with atoms outside the cell."""
    scattered = crystals.rutile()
    shifts = np.random.default_rng(1).integers(-3, 4, size=(len(scattered), 3))
    scattered.positions += shifts @ scattered.cell.array + [0.3, -0.2, 0.7]
    cases = {name: getattr(crystals, name)() for name in KNOWN}
    cases |= {
        "quartz left-handed": crystals.left_handed(crystals.quartz()),
        "wurtzite left-handed": crystals.left_handed(crystals.wurtzite()),
        "baddeleyite left-handed": crystals.left_handed(crystals.baddeleyite()),
        "quartz rotated": crystals.rotated(crystals.quartz(), crystals.random_rotation(1)),
        "quartz mirrored": crystals.rotated(crystals.quartz(), crystals.random_rotation(2, -1)),
        "calcium_titanate mirrored": crystals.rotated(crystals.calcium_titanate(), crystals.random_rotation(3, -1)),
        "rocksalt cubic": crystals.rocksalt(cubic=True),
        "zincblende 2x1x1": crystals.zincblende().repeat((2, 1, 1)),
        "perovskite 2x2x2": crystals.perovskite().repeat(2),
        "wurtzite 1x3x1 left-handed": crystals.left_handed(crystals.wurtzite().repeat((1, 3, 1))),
        "rutile scattered": scattered,
    }
    return cases


CASES = described_in_many_ways()


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request) -> tuple[ase.Atoms, Symmetry]:
    atoms = CASES[request.param]
    return atoms, find_symmetry(atoms)


def images_apart(atoms: ase.Atoms, vectors: np.ndarray) -> np.ndarray:
    """Distance of Cartesian vectors (..., 3) from the nearest lattice translation (small ones only)."""
    fractional = vectors @ np.linalg.inv(atoms.cell.array)
    return np.linalg.norm((fractional - np.rint(fractional)) @ atoms.cell.array, axis=-1)


def covariant_field(atoms: ase.Atoms) -> np.ndarray:
    """A tensor per atom that the crystal alone determines: product of two different sums over neighbors of f d d^T.

    Not symmetric, polar, and made with ASE's neighbor list.
    """
    target, source, vector, distance = ase_neighbor_list("ijDd", atoms, 4.2)
    dyads = np.einsum("ea,eb->eab", vector, vector)
    smooth = (1 - distance / 4.2) ** 2
    first, second = np.zeros((2, len(atoms), 3, 3))
    np.add.at(first, target, (smooth * atoms.numbers[source])[:, None, None] * dyads)
    np.add.at(second, target, (smooth * distance**2 / atoms.numbers[source])[:, None, None] * dyads)
    return first @ second


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_space_group_is_that_of_the_literature(name):
    number, symbol, point_group, system, center, operations, orbits = KNOWN[name]
    found = find_symmetry(getattr(crystals, name)())
    assert (found.number, found.international, found.point_group) == (number, symbol, point_group)
    assert (found.crystal_system, found.centrosymmetric) == (system, center)
    assert len(found.rotations) * found.translations == operations
    assert len(set(found.orbits)) == orbits


@pytest.mark.parametrize("point_group", sorted(POINT_GROUPS))
def test_each_point_group_of_the_international_tables(point_group):
    number, order, center = POINT_GROUPS[point_group]
    # Three kinds of atoms at general positions have no symmetry but that of the group.
    general = [(0.113, 0.236, 0.071), (0.291, 0.153, 0.387), (0.177, 0.342, 0.266)]
    atoms = crystal(["Na", "Cl", "O"], general, spacegroup=number, cellpar=CELLS[crystal_system(number)])
    found = find_symmetry(atoms)
    assert (found.number, found.point_group) == (number, point_group)
    assert len(found.rotations) == order
    assert found.centrosymmetric == center
    assert len(atoms) == 3 * order
    assert len(set(found.orbits)) == 3
    assert set(found.site_symmetries) == {"1"}


@pytest.mark.parametrize(
    ("first", "last", "system"),
    [
        (1, 2, "triclinic"),
        (3, 15, "monoclinic"),
        (16, 74, "orthorhombic"),
        (75, 142, "tetragonal"),
        (143, 167, "trigonal"),
        (168, 194, "hexagonal"),
        (195, 230, "cubic"),
    ],
)
def test_crystal_systems_are_ranges_of_numbers(first, last, system):
    assert {crystal_system(number) for number in range(first, last + 1)} == {system}


def test_handedness_of_the_crystal_not_of_the_cell_decides():
    assert find_symmetry(crystals.left_handed(crystals.quartz())).number == 154
    assert find_symmetry(crystals.rotated(crystals.quartz(), -np.eye(3))).number == 152


def test_rotations_are_orthogonal_and_hold_the_identity(case):
    _, found = case
    products = found.rotations @ found.rotations.transpose(0, 2, 1)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-12)
    assert np.abs(found.rotations - np.eye(3)).max(axis=(1, 2)).min() < 1e-9


def test_operations_form_a_group(case):
    _, found = case
    # An operation is known by what it does to space and to the atoms, up to translations inside the cell.
    keys = {
        (tuple(np.rint(rotation * 1e5).astype(int).ravel()), tuple(found.sites[permutation]))
        for rotation, permutation in zip(found.rotations, found.permutations, strict=True)
    }
    assert len(keys) == len(found.rotations)
    some = np.random.default_rng(2).choice(len(found.rotations), size=min(12, len(found.rotations)), replace=False)
    for g in some:
        rotations = found.rotations[g] @ found.rotations
        permutations = found.permutations[g][found.permutations]  # first h, then g
        products = {
            (tuple(np.rint(rotation * 1e5).astype(int).ravel()), tuple(found.sites[permutation]))
            for rotation, permutation in zip(rotations, permutations, strict=True)
        }
        assert products == keys


def test_permutations_move_atoms_as_the_rotations_do(case):
    # R r_a + t = r_perm(a) + lattice with one t for all atoms: differences from the first atom do not know t.
    atoms, found = case
    assert np.all(np.sort(found.permutations, axis=1) == np.arange(len(atoms)))
    assert np.all(atoms.numbers[found.permutations] == atoms.numbers)
    moved = np.einsum("gij,aj->gai", found.rotations, atoms.positions) - atoms.positions[found.permutations]
    assert images_apart(atoms, moved - moved[:, :1]).max() < 1e-5


def test_rotations_map_the_lattice_onto_itself(case):
    atoms, found = case
    moved = atoms.cell.array @ found.rotations.transpose(0, 2, 1)
    integers = moved @ np.linalg.inv(atoms.cell.array)
    np.testing.assert_allclose(integers, np.rint(integers), atol=1e-6)


def test_tensors_on_atoms_move_with_the_operations(case):
    atoms, found = case
    field = covariant_field(atoms)
    scale = np.abs(field).max()
    for rotation, permutation in zip(found.rotations[:200], found.permutations[:200], strict=True):
        np.testing.assert_allclose(field[permutation], rotation @ field @ rotation.T, atol=1e-6 * scale)


def test_orbit_rotations_carry_the_representative_onto_each_atom(case):
    atoms, found = case
    field = covariant_field(atoms)
    carried = found.orbit_rotations @ field[found.orbits] @ found.orbit_rotations.transpose(0, 2, 1)
    np.testing.assert_allclose(carried, field, atol=1e-6 * np.abs(field).max())
    own = found.orbits == np.arange(len(atoms))
    np.testing.assert_allclose(found.orbit_rotations[own], np.broadcast_to(np.eye(3), (own.sum(), 3, 3)), atol=1e-9)


def test_the_field_of_these_tests_is_not_symmetric():
    # Else a transposed or missing rotation of the antisymmetric part would go unseen.
    field = covariant_field(crystals.baddeleyite())
    assert np.abs(field - field.transpose(0, 2, 1)).max() > 0.05 * np.abs(field).max()


def test_orbits_are_those_of_spglib(case):
    atoms, found = case
    dataset = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=1e-3)
    theirs = dataset.crystallographic_orbits
    same = theirs[:, None] == theirs[None, :]
    assert np.array_equal(found.orbits[:, None] == found.orbits[None, :], same)
    assert np.array_equal(found.orbits, same.argmax(axis=1))  # the lowest index of each


def test_wyckoff_letters_and_site_symmetries():
    found = find_symmetry(crystals.perovskite())
    assert len(found.wyckoffs) == 5
    assert list(found.wyckoffs[:2]) in (["a", "b"], ["b", "a"])
    assert found.site_symmetries == ("m-3m", "m-3m", "4/mm.m", "4/mm.m", "4/mm.m")
    assert set(find_symmetry(crystals.zincblende()).site_symmetries) == {"-43m"}


def test_a_supercell_has_the_pure_translations():
    found = find_symmetry(crystals.rocksalt().repeat(2))
    assert (found.number, found.translations, len(found.rotations), len(set(found.orbits))) == (225, 8, 48, 2)
    # Of rock salt in a primitive cell all atoms of one kind are copies of one.
    assert [set(found.sites[found.described.numbers == z]) for z in (11, 17)] == [{0}, {1}]


def test_centring_translations_are_among_the_operations():
    for cubic, translations in ((True, 4), (False, 1)):
        found = find_symmetry(crystals.rocksalt(cubic=cubic))
        assert (len(found.rotations), found.translations) == (48, translations)


def test_a_crystal_relaxed_only_to_the_tolerance():
    atoms = crystals.perovskite()
    atoms.rattle(1e-4, seed=1)
    atoms.set_cell(atoms.cell.array * [[1.00001], [1.0], [0.99999]], scale_atoms=True)
    found = find_symmetry(atoms, symprec=1e-2)
    assert (found.number, len(found.rotations)) == (221, 48)
    np.testing.assert_allclose(
        found.rotations @ found.rotations.transpose(0, 2, 1), np.tile(np.eye(3), (48, 1, 1)), atol=1e-12
    )
    assert all(sorted(permutation) == [0, 1, 2, 3, 4] for permutation in found.permutations.tolist())
    assert find_symmetry(atoms, symprec=1e-6).number != 221


def test_a_distorted_crystal_has_no_operation_but_the_identity():
    atoms = crystals.quartz()
    atoms.rattle(0.05, seed=2)
    found = find_symmetry(atoms)
    assert (found.number, found.rotations.shape) == (1, (1, 3, 3))
    assert np.array_equal(found.orbits, np.arange(len(atoms)))


def test_atoms_on_top_of_each_other_are_an_input_error():
    atoms = ase.Atoms("Na2", [(0, 0, 0), (0, 0, 0)], cell=4 * np.eye(3), pbc=True)
    with pytest.raises(InputError, match="Na2"):
        find_symmetry(atoms)


def test_rock_salt_is_not_given_to_spglib_unless_labels_of_sites_are_read(monkeypatch):
    # 18 ms of 18.4 are spent there.
    asked = []
    search = spglib.get_symmetry_dataset

    def counted(*args, **options):
        asked.append(args)
        return search(*args, **options)

    monkeypatch.setattr(spglib, "get_symmetry_dataset", counted)
    found = find_symmetry(crystals.rocksalt())
    assert (found.number, len(found.rotations), len(asked)) == (225, 48, 0)
    assert set(found.site_symmetries) == {"m-3m"}
    assert sorted(found.wyckoffs) == ["a", "b"]
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["zincblende", "baddeleyite"])
@pytest.mark.parametrize("read", [False, True])
def test_symmetry_goes_to_other_processes(name, read):
    found = find_symmetry(getattr(crystals, name)())
    labels = found.wyckoffs if read else None
    other = pickle.loads(pickle.dumps(found))
    assert np.array_equal(other.permutations, found.permutations)
    assert np.array_equal(other.rotations, found.rotations)
    assert other.wyckoffs == (labels or found.wyckoffs)
    assert (other.international, other.site_symmetries) == (found.international, found.site_symmetries)


@pytest.mark.parametrize("name", ["baddeleyite", "copper_tungstate", "rutile", "corundum", "rocksalt"])
def test_permutations_by_pairs_by_tree_and_one_by_one_agree(name, monkeypatch):
    atoms = getattr(crystals, name)().repeat((2, 1, 1))
    described = module.Description(atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers, 1e-3)
    dataset = described.dataset()
    given = (described, dataset.rotations, dataset.translations)
    by_pairs = module._permutations(*given)
    # A tolerance of nothing leaves every operation to the comparison of all atoms with all.
    one_by_one = module._permutations(replace(described, symprec=0.0), *given[1:])
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 7)
    by_tree = np.empty_like(by_pairs)
    assert len(module._from_tree(*given, by_tree)) == 0
    assert len(by_pairs) > 1
    assert np.array_equal(by_pairs, by_tree)
    assert np.array_equal(by_pairs, one_by_one)
    assert np.array_equal(by_pairs, module._permutations(*given))


def test_a_large_cell_without_symmetry():
    random = np.random.default_rng(6)
    grid = np.stack(np.meshgrid(*[np.arange(12)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = grid[random.permutation(len(grid))[:1500]]
    atoms = ase.Atoms(
        numbers=random.choice([8, 14, 22], 1500),
        scaled_positions=(chosen + random.uniform(0, 0.4, (1500, 3))) / 12,
        cell=36 * np.eye(3),
        pbc=True,
    )
    found = find_symmetry(atoms)
    assert found.number == 1
    assert np.array_equal(found.permutations, [np.arange(1500)])


def test_nearest_orthogonal_matrices():
    random = np.random.default_rng(8)
    for size in (1e-6, 1e-3, 0.02, 0.3):
        matrices = np.stack([crystals.random_rotation(seed, 1 - 2 * (seed % 2)) for seed in range(20)])
        matrices = matrices + size * random.normal(size=matrices.shape) / 3
        left, _, right = np.linalg.svd(matrices)
        np.testing.assert_allclose(nearest_orthogonal(matrices), left @ right, atol=1e-12)


def test_a_flat_cell_is_an_input_error():
    atoms = ase.Atoms("NaCl", [(0, 0, 0), (1, 1, 1)], cell=[[4, 0, 0], [0, 4, 0], [4, 4, 0]], pbc=True)
    with pytest.raises(InputError, match=r"0 Angstrom\^3"):
        find_symmetry(atoms)


@pytest.mark.parametrize("tolerance", [np.nan, np.inf, -1.0, 0.0])
def test_tolerances_that_are_no_lengths(tolerance: float) -> None:
    with pytest.raises(InputError, match="above zero"):
        find_symmetry(crystals.rocksalt(), tolerance)

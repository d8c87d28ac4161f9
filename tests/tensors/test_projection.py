"""Projection onto crystal symmetry: counts and patterns of Nye's tables, site symmetry of real structures.

Operations come straight from spglib (its database of 530 settings, or its search in a structure).
"""

from __future__ import annotations

import functools
import warnings

import ase
import ase.build
import ase.neighborlist
import ase.spacegroup
import numpy as np
import pytest
import spglib
import torch

from voigt.tensors import projection
from voigt.tensors.projection import independent_components, project_atoms, project_crystal, residual, rotate
from voigt.tensors.sum_rule import acoustic_sum_rule
from voigt.tensors.voigt import elastic_to_voigt, piezo_to_voigt

SYMMETRIC, GENERAL, PIEZO, ELASTIC = "ij=ji", "ij", "ijk=ikj", "ijkl=jikl=klij"

# Independent components by class: J. F. Nye, Physical Properties of Crystals (1957), tables 3, 8 and 9 for eps
# (symmetric), e and C in a fixed frame; the general second-rank tensor has the thermoelectric counts (ibid., ch. XII).
NYE = {
    #         eps  ij   e   C
    "1":      (6, 9, 18, 21),
    "-1":     (6, 9, 0, 21),
    "2":      (4, 5, 8, 13),
    "m":      (4, 5, 10, 13),
    "2/m":    (4, 5, 0, 13),
    "222":    (3, 3, 3, 9),
    "mm2":    (3, 3, 5, 9),
    "mmm":    (3, 3, 0, 9),
    "4":      (2, 3, 4, 7),
    "-4":     (2, 3, 4, 7),
    "4/m":    (2, 3, 0, 7),
    "422":    (2, 2, 1, 6),
    "4mm":    (2, 2, 3, 6),
    "-42m":   (2, 2, 2, 6),
    "4/mmm":  (2, 2, 0, 6),
    "3":      (2, 3, 6, 7),
    "-3":     (2, 3, 0, 7),
    "32":     (2, 2, 2, 6),
    "3m":     (2, 2, 4, 6),
    "-3m":    (2, 2, 0, 6),
    "6":      (2, 3, 4, 5),
    "-6":     (2, 3, 2, 5),
    "6/m":    (2, 3, 0, 5),
    "622":    (2, 2, 1, 5),
    "6mm":    (2, 2, 3, 5),
    "-6m2":   (2, 2, 1, 5),
    "6/mmm":  (2, 2, 0, 5),
    "23":     (1, 1, 1, 3),
    "m-3":    (1, 1, 0, 3),
    "432":    (1, 1, 0, 3),
    "-43m":   (1, 1, 1, 3),
    "m-3m":   (1, 1, 0, 3),
}  # fmt: skip


@functools.cache
def settings() -> dict[str, list[int]]:
    """Hall numbers of each point group."""
    found: dict[str, list[int]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for hall in range(1, 531):
            found.setdefault(spglib.get_spacegroup_type(hall).pointgroup_international, []).append(hall)
    return found


@functools.cache
def cartesian_group(hall: int) -> torch.Tensor:
    """Rotations of a setting in a Cartesian frame in general position.

    A random metric averaged over the group fits the setting whatever its axes (rhombohedral, other unique axis).
    """
    integer = np.unique(spglib.get_symmetry_from_database(hall)["rotations"], axis=0).astype(float)
    raw = np.random.default_rng(hall).normal(size=(3, 3))
    metric = np.mean(integer.transpose(0, 2, 1) @ (raw @ raw.T + np.eye(3)) @ integer, axis=0)
    lattice = np.linalg.qr(raw)[0] @ np.linalg.cholesky(metric).T  # columns are lattice vectors: L^T L = metric
    rotations = lattice @ integer @ np.linalg.inv(lattice)
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rotations.shape),
                               atol=1e-12)  # fmt: skip
    return torch.tensor(rotations)


def hall_numbers(point_group: str) -> tuple[int, int]:
    """Two settings of a point group, usually with different axes."""
    return settings()[point_group][0], settings()[point_group][-1]


def generated(*generators: np.ndarray) -> torch.Tensor:
    """Group closed under products, from matrices written by hand."""
    group = [np.eye(3)]
    while True:
        new = [g @ h for g in group for h in generators]
        fresh = [m for i, m in enumerate(new) if not any(np.allclose(m, known) for known in group + new[:i])]
        if not fresh:
            return torch.tensor(np.array(group))
        group += fresh


def turn_z(angle: float) -> np.ndarray:
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def random_tensor(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_elastic(seed: int) -> torch.Tensor:
    raw = random_tensor(3, 3, 3, 3, seed=seed)
    raw = raw + raw.permute(1, 0, 2, 3)
    raw = raw + raw.permute(0, 1, 3, 2)
    return raw + raw.permute(2, 3, 0, 1)


def operations(atoms: ase.Atoms) -> tuple[torch.Tensor, torch.Tensor]:
    """Cartesian rotations and atom permutations of a structure."""
    fractional = atoms.get_scaled_positions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        symmetry = spglib.get_symmetry((atoms.cell.array, fractional, atoms.numbers), symprec=1e-5)
    lattice = atoms.cell.array.T
    rotations = lattice @ symmetry["rotations"] @ np.linalg.inv(lattice)
    permutations = []
    for rotation, translation in zip(symmetry["rotations"], symmetry["translations"], strict=True):
        moved = fractional @ rotation.T + translation
        gap = moved[:, None] - fractional[None]
        distance = np.linalg.norm((gap - np.round(gap)) @ atoms.cell.array, axis=-1)
        assert (distance.min(axis=1) < 1e-4).all()
        permutations.append(distance.argmin(axis=1))
    return torch.tensor(rotations), torch.tensor(np.array(permutations))


def rocksalt() -> ase.Atoms:
    return ase.build.bulk("MgO", "rocksalt", a=4.21)


def perovskite() -> ase.Atoms:
    """Cubic SrTiO3; O sites 4/mm.m with the fourfold axes along x, y, z in turn."""
    corners = [(0, 0, 0), (0.5, 0.5, 0.5), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
    return ase.Atoms("SrTiO3", scaled_positions=corners, cell=[3.905] * 3, pbc=True)


def crystal(number: int, cell: tuple[float, ...], special: tuple[float, float, float]) -> ase.Atoms:
    """Al on a special position and O on a general one: a crystal with exactly the symmetry of a space group."""
    general = (0.137, 0.291, 0.353)
    return ase.spacegroup.crystal(("Al", "O"), (special, general), spacegroup=number, cellpar=cell)


def trigonal() -> ase.Atoms:
    return crystal(143, (5.1, 5.1, 6.3, 90, 90, 120), (0, 0, 0.07))  # P3, Al on the threefold axis


def monoclinic() -> ase.Atoms:
    return crystal(10, (5.1, 6.2, 7.3, 90, 103, 90), (0, 0, 0))  # P2/m, Al on 2/m with unique axis y


STRUCTURES = {"rocksalt": rocksalt, "perovskite": perovskite, "P3": trigonal, "P2/m": monoclinic}


# Counts


@pytest.mark.parametrize("point_group", NYE)
def test_counts_of_nyes_tables_in_two_settings(point_group):
    for hall in hall_numbers(point_group):
        counts = [independent_components(cartesian_group(hall), f) for f in (SYMMETRIC, GENERAL, PIEZO, ELASTIC)]
        assert tuple(counts) == NYE[point_group], f"Hall number {hall}"


def test_there_are_32_point_groups():
    assert set(settings()) == set(NYE)
    assert len(NYE) == 32


def character_count(rotations: np.ndarray, formula: str) -> float:
    """Multiplicity of the trivial representation from traces alone: Sym2 has character (chi(g)^2 + chi(g^2)) / 2."""
    chi = {k: np.trace(np.linalg.matrix_power(rotations, k), axis1=1, axis2=2) for k in (1, 2, 4)}
    pair, pair_of_square = (chi[1] ** 2 + chi[2]) / 2, (chi[2] ** 2 + chi[4]) / 2
    character = {
        SYMMETRIC: pair,
        GENERAL: chi[1] ** 2,
        PIEZO: chi[1] * pair,
        ELASTIC: (pair**2 + pair_of_square) / 2,
    }[formula]
    return float(character.mean())


@pytest.mark.parametrize("point_group", NYE)
def test_counts_agree_with_the_character_formula(point_group):
    # Traces do not depend on the basis, so the integer matrices of the database serve as they are.
    integer = spglib.get_symmetry_from_database(hall_numbers(point_group)[0])["rotations"]
    group = cartesian_group(hall_numbers(point_group)[0])
    for formula in (SYMMETRIC, GENERAL, PIEZO, ELASTIC):
        assert character_count(integer, formula) == pytest.approx(independent_components(group, formula), abs=1e-12)


def test_scalars_and_vectors():
    # A polarization survives in the ten polar classes only.
    polar = {"1": 3, "m": 2, "2": 1, "mm2": 1, "4": 1, "4mm": 1, "3": 1, "3m": 1, "6": 1, "6mm": 1}
    for point_group in NYE:
        group = cartesian_group(hall_numbers(point_group)[0])
        assert independent_components(group, "") == 1
        projector = project_crystal(torch.eye(3, dtype=torch.float64), group, 1)  # of the three unit vectors
        assert round(float(projector.trace())) == polar.get(point_group, 0), point_group


def test_rotations_that_are_no_group_are_refused():
    with pytest.raises(ValueError, match="2 rotations are not a group"):
        independent_components(torch.tensor(np.array([np.eye(3), turn_z(90)])), SYMMETRIC)


# Patterns


def projected_piezo(*generators: np.ndarray) -> np.ndarray:
    raw = random_tensor(3, 3, 3, seed=3)
    return piezo_to_voigt(project_crystal(raw + raw.mT, generated(*generators), 3)).numpy()


def test_piezo_pattern_of_quartz():
    # Class 32, x along a twofold axis (IRE): e11 = -e12 = -e26, e14 = -e25, all else zero.
    e = projected_piezo(turn_z(120), np.diag([1.0, -1.0, -1.0]))
    expected = np.zeros((3, 6))
    expected[0, 0], expected[0, 1], expected[1, 5] = e[0, 0], -e[0, 0], -e[0, 0]
    expected[0, 3], expected[1, 4] = e[0, 3], -e[0, 3]
    np.testing.assert_allclose(e, expected, atol=1e-13)
    assert abs(e[0, 0]) > 0.01
    assert abs(e[0, 3]) > 0.01


def test_piezo_pattern_of_wurtzite_and_zincblende():
    # 6mm: e31 = e32, e33, e15 = e24. -43m: e14 = e25 = e36.
    e = projected_piezo(turn_z(60), np.diag([1.0, -1.0, 1.0]))
    expected = np.zeros((3, 6))
    expected[2, :3] = e[2, 0], e[2, 0], e[2, 2]
    expected[0, 4] = expected[1, 3] = e[0, 4]
    np.testing.assert_allclose(e, expected, atol=1e-13)
    threefold = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    e = projected_piezo(threefold, -turn_z(90))
    expected = np.zeros((3, 6))
    expected[[0, 1, 2], [3, 4, 5]] = e[0, 3]
    np.testing.assert_allclose(e, expected, atol=1e-13)
    assert abs(e[0, 3]) > 0.01


def test_elastic_pattern_of_corundum():
    # Class -3m: C11 = C22, C13 = C23, C44 = C55, C14 = -C24 = C56, C66 = (C11 - C12) / 2.
    group = generated(turn_z(120), np.diag([1.0, -1.0, -1.0]), -np.eye(3))
    assert len(group) == 12
    c = elastic_to_voigt(project_crystal(random_elastic(4), group, 4)).numpy()
    expected = np.zeros((6, 6))
    expected[:3, :3] = [[c[0, 0], c[0, 1], c[0, 2]], [c[0, 1], c[0, 0], c[0, 2]], [c[0, 2], c[0, 2], c[2, 2]]]
    expected[3, 3] = expected[4, 4] = c[3, 3]
    expected[5, 5] = (c[0, 0] - c[0, 1]) / 2
    for (i, j), sign in {(0, 3): 1, (1, 3): -1, (4, 5): 1}.items():
        expected[i, j] = expected[j, i] = sign * c[0, 3]
    np.testing.assert_allclose(c, expected, atol=1e-12)
    assert abs(c[0, 3]) > 0.01


@pytest.mark.parametrize("point_group", [name for name, counts in NYE.items() if counts[2] == 0])
def test_piezo_vanishes_under_inversion_and_in_432(point_group):
    raw = random_tensor(3, 3, 3, seed=5)
    projected = project_crystal(raw + raw.mT, cartesian_group(hall_numbers(point_group)[0]), 3)
    assert float(projected.abs().max()) < 1e-13
    assert residual(raw, projected) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("rank", "formula"), [(2, GENERAL), (3, PIEZO), (4, ELASTIC)])
@pytest.mark.parametrize("point_group", ["2/m", "4", "32", "-6m2", "-43m"])
def test_projected_crystal_tensors_are_invariant_closest_and_fixed(point_group, rank, formula):
    group = cartesian_group(hall_numbers(point_group)[0])
    tensor = random_tensor(*(3,) * rank, seed=6)
    projected = project_crystal(tensor, group, rank)
    for rotation in group:
        torch.testing.assert_close(rotate(projected, rotation, rank), projected, rtol=0, atol=1e-12)
    torch.testing.assert_close(project_crystal(projected, group, rank), projected, rtol=0, atol=1e-13)
    # Orthogonal projection: what was removed is perpendicular to what is kept.
    assert float(((tensor - projected) * projected).sum()) == pytest.approx(0.0, abs=1e-12)
    assert residual(tensor, projected) > 0.1


def test_crystal_projection_takes_leading_axes_and_scalars():
    group = cartesian_group(hall_numbers("3m")[0])
    batch = random_tensor(2, 5, 3, 3, seed=7)
    one_by_one = torch.stack([torch.stack([project_crystal(t, group, 2) for t in row]) for row in batch])
    torch.testing.assert_close(project_crystal(batch, group, 2), one_by_one)
    assert torch.equal(project_crystal(batch[..., 0, 0], group, 0), batch[..., 0, 0])


@pytest.mark.parametrize(
    ("rank", "equation"), [(1, "ia,a->i"), (2, "ia,jb,ab->ij"), (3, "ia,jb,kc,abc->ijk"), (4, "ia,jb,kc,ld,abcd->ijkl")]
)
def test_rotate_is_the_transformation_law(rank, equation):
    rotations = cartesian_group(hall_numbers("32")[0])[:4]
    tensors = random_tensor(4, *(3,) * rank, seed=8)
    expected = [np.einsum(equation, *[r] * rank, t) for r, t in zip(rotations.numpy(), tensors.numpy(), strict=True)]
    np.testing.assert_allclose(rotate(tensors, rotations, rank).numpy(), expected, atol=1e-13)
    crossed = rotate(tensors, rotations[:, None], rank)
    assert crossed.shape == (4, 4, *(3,) * rank)
    torch.testing.assert_close(crossed[2, 1], rotate(tensors[1], rotations[2], rank))


def test_elastic_projection_agrees_with_pymatgen():
    tensors = pytest.importorskip("pymatgen.core.tensors")
    core = pytest.importorskip("pymatgen.core")
    atoms = ase.build.bulk("ZnO", "wurtzite", a=3.25, c=5.2)
    structure = core.Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.get_scaled_positions())
    tensor = random_elastic(9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = tensors.Tensor(tensor.numpy()).fit_to_structure(structure, symprec=1e-4)
    np.testing.assert_allclose(project_crystal(tensor, operations(atoms)[0], 4).numpy(), theirs, atol=1e-10)


# Atoms


def cubic_cells() -> list[ase.Atoms]:
    conventional = ase.build.bulk("MgO", "rocksalt", a=4.21, cubic=True)
    return [rocksalt(), conventional, ase.build.bulk("CsCl", "cesiumchloride", a=4.12)]


@pytest.mark.parametrize("atoms", cubic_cells(), ids=["rocksalt primitive", "rocksalt conventional", "CsCl"])
def test_born_charges_on_cubic_sites_are_multiples_of_the_identity(atoms):
    projected = project_atoms(random_tensor(len(atoms), 3, 3, seed=10), *operations(atoms))
    for species in set(atoms.numbers):
        same = projected[torch.tensor(atoms.numbers == species)]
        identity = torch.eye(3, dtype=torch.float64).expand_as(same)
        torch.testing.assert_close(same, same[0, 0, 0] * identity, rtol=0, atol=1e-13)
        assert abs(float(same[0, 0, 0])) > 1e-3


def test_perovskite_oxygen_has_two_charges_along_and_across_the_chain():
    projected = project_atoms(random_tensor(5, 3, 3, seed=11), *operations(perovskite())).numpy()
    for cubic in projected[:2]:
        np.testing.assert_allclose(cubic, cubic[0, 0] * np.eye(3), atol=1e-13)
    along, across = projected[2, 0, 0], projected[2, 1, 1]
    assert abs(along - across) > 0.01
    for axis, oxygen in enumerate(projected[2:]):  # the Ti-O-Ti chain through O number k runs along axis k
        expected = across * np.eye(3)
        expected[axis, axis] = along
        np.testing.assert_allclose(oxygen, expected, atol=1e-13)


def test_a_threefold_axis_keeps_the_antisymmetric_part_along_it():
    atoms = trigonal()
    assert len(atoms) == 4
    z = random_tensor(len(atoms), 3, 3, seed=12)
    site = project_atoms(z, *operations(atoms))[0]
    antisymmetric = (z[0, 0, 1] - z[0, 1, 0]) / 2
    in_plane = (z[0, 0, 0] + z[0, 1, 1]) / 2
    expected = torch.zeros(3, 3, dtype=torch.float64)
    expected[0, 0], expected[1, 1], expected[2, 2] = in_plane, in_plane, z[0, 2, 2]
    expected[0, 1], expected[1, 0] = antisymmetric, -antisymmetric
    assert abs(float(antisymmetric)) > 0.05
    torch.testing.assert_close(site, expected, rtol=0, atol=1e-12)


def test_a_twofold_axis_keeps_two_different_off_diagonal_charges():
    atoms = monoclinic()
    assert len(atoms) == 5
    z = random_tensor(len(atoms), 3, 3, seed=13)
    site = project_atoms(z, *operations(atoms))[0]
    allowed = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=torch.float64)  # unique axis y
    torch.testing.assert_close(site, z[0] * allowed, rtol=0, atol=1e-12)
    assert abs(float(site[0, 2] - site[2, 0])) > 0.05


@pytest.mark.parametrize("name", STRUCTURES)
def test_projected_charges_obey_every_operation_and_are_fixed(name):
    atoms = STRUCTURES[name]()
    rotations, permutations = operations(atoms)
    z = random_tensor(len(atoms), 3, 3, seed=14)
    projected = project_atoms(z, rotations, permutations)
    for rotation, permutation in zip(rotations, permutations, strict=True):
        # Z[perm[a]] = R Z[a] R^T, the definition.
        expected = torch.einsum("ia,nab,jb->nij", rotation, projected, rotation)
        torch.testing.assert_close(projected[permutation], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(project_atoms(projected, rotations, permutations), projected, rtol=0, atol=1e-13)
    assert float(((z - projected) * projected).sum()) == pytest.approx(0.0, abs=1e-11)


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_field_made_from_the_structure_is_left_alone(name):
    # Z_a = sum_b w(r) r (x) g_b, where g_b is itself a sum over neighbors: covariant and not symmetric.
    atoms = STRUCTURES[name]()
    first, second, vectors = ase.neighborlist.neighbor_list("ijD", atoms, 6.0)
    weight = np.exp(-np.linalg.norm(vectors, axis=1)) * atoms.numbers[second]
    gradient = np.zeros((len(atoms), 3))
    np.add.at(gradient, first, weight[:, None] * vectors)
    z = np.zeros((len(atoms), 3, 3))
    np.add.at(z, first, np.einsum("e,ei,ej->eij", weight, vectors, vectors + gradient[second]))
    field = torch.tensor(z)
    projected = project_atoms(field, *operations(atoms))
    assert residual(field, projected) < 1e-12
    assert (residual(field, field.mT) > 1e-3) == (name in ("P3", "P2/m"))


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("charge", [0.0, 2.0])
def test_projection_and_sum_rule_commute(name, charge):
    atoms = STRUCTURES[name]()
    rotations, permutations = operations(atoms)
    z = random_tensor(len(atoms), 3, 3, seed=15)
    crystal_of_atom, total = torch.zeros(len(atoms), dtype=torch.int64), torch.tensor([charge])
    weights = torch.tensor(atoms.numbers, dtype=torch.float64)  # the same on equivalent atoms

    def neutral(tensor: torch.Tensor) -> torch.Tensor:
        return acoustic_sum_rule(tensor, crystal_of_atom, 1, total, weights)

    one = neutral(project_atoms(z, rotations, permutations))
    other = project_atoms(neutral(z), rotations, permutations)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-13)
    torch.testing.assert_close(one.sum(dim=0), charge * torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", STRUCTURES)
def test_projection_and_equal_sum_rule_are_what_phonopy_does(name):
    symmetry = pytest.importorskip("phonopy.structure.symmetry")
    phonopy_atoms = pytest.importorskip("phonopy.structure.atoms").PhonopyAtoms
    atoms = STRUCTURES[name]()
    z, eps = random_tensor(len(atoms), 3, 3, seed=16), random_tensor(3, 3, seed=17)
    cell = phonopy_atoms(numbers=atoms.numbers, cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # phonopy warns that random charges break the symmetry
        born, dielectric = symmetry.symmetrize_borns_and_epsilon(z.numpy(), eps.numpy(), cell)
    rotations, permutations = operations(atoms)
    ours = acoustic_sum_rule(
        project_atoms(z, rotations, permutations), torch.zeros(len(atoms), dtype=torch.int64), 1
    )
    np.testing.assert_allclose(ours.numpy(), born, atol=1e-12)
    np.testing.assert_allclose(project_crystal(eps, rotations, 2).numpy(), dielectric, atol=1e-12)


def test_many_atoms_are_projected_in_chunks(monkeypatch):
    rotations, permutations = operations(perovskite())
    z = random_tensor(5, 3, 3, seed=18)
    at_once = project_atoms(z, rotations, permutations)
    monkeypatch.setattr(projection, "_ATOM_TENSORS_AT_ONCE", 35)  # 7 of 48 operations
    torch.testing.assert_close(project_atoms(z, rotations, permutations), at_once, rtol=0, atol=1e-14)


def test_float32_and_gradients():
    rotations, permutations = operations(trigonal())
    z = random_tensor(4, 3, 3, seed=19)
    single = project_atoms(z.float(), rotations.float(), permutations)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), project_atoms(z, rotations, permutations), rtol=0, atol=1e-6)
    assert project_crystal(z.float(), rotations.float(), 2).dtype == torch.float32
    assert torch.autograd.gradcheck(lambda t: project_atoms(t, rotations, permutations), z.requires_grad_())


def test_residual_is_the_forbidden_fraction():
    tensor = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert residual(tensor, torch.tensor([[3.0, 0.0], [0.0, 0.0]])) == pytest.approx(0.8)
    assert residual(torch.zeros(3, 3), torch.zeros(3, 3)) == 0.0


def test_residual_of_rounding_is_zero():
    rounding = 1e-9 * random_tensor(3, 3, 3, seed=20)
    forbidden = torch.zeros_like(rounding)
    assert residual(rounding, forbidden) == pytest.approx(1.0)
    assert residual(rounding, forbidden, floor=1e-6) == 0.0
    assert residual(1e4 * rounding, forbidden, floor=1e-6) == pytest.approx(1.0)

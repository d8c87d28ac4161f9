"""phonopy reads back from BORN exactly the tensors of the input, whatever cell and order of atoms it got."""

from __future__ import annotations

import warnings
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import torch
from phonopy import Phonopy
from phonopy.file_IO import get_BORN_lines, parse_BORN
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.symmetry import symmetrize_borns_and_epsilon
from tests import crystals

from voigt.errors import InputError
from voigt.response.phonons.born_files import abinit_arrays, born_file, corrected, euphonic_arrays, nac_params
from voigt.structures.symmetry import find_symmetry
from voigt.tensors.projection import project_atoms, project_crystal
from voigt.tensors.sum_rule import acoustic_sum_rule


def shuffled(atoms: ase.Atoms, seed: int = 3) -> ase.Atoms:
    return atoms[np.random.default_rng(seed).permutation(len(atoms))]


def with_field(atoms: ase.Atoms) -> ase.Atoms:
    """Random Born charges and permittivity with all of the crystal's symmetry and no net charge, kept in the atoms."""
    rng = np.random.default_rng(0)
    symmetry = find_symmetry(atoms, 1e-5)
    rotations, permutations = torch.as_tensor(symmetry.rotations), torch.as_tensor(symmetry.permutations)
    z = project_atoms(
        torch.as_tensor(rng.normal(size=(len(atoms), 3, 3))), rotations, permutations, torch.as_tensor(symmetry.sites)
    )
    z = acoustic_sum_rule(z, torch.zeros(len(atoms), dtype=torch.int64), 1)
    root = rng.normal(size=(3, 3))
    atoms.set_array("z", z.numpy().reshape(-1, 9))
    atoms.info["eps"] = project_crystal(torch.as_tensor(np.eye(3) + root @ root.T), rotations, 2).numpy()
    return atoms


def tensors(atoms: ase.Atoms) -> tuple[np.ndarray, np.ndarray]:
    return atoms.arrays["z"].reshape(-1, 3, 3).copy(), atoms.info["eps"].copy()


def phonopy_of(atoms: ase.Atoms, **options: object) -> Phonopy:
    unitcell = PhonopyAtoms(cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions(), numbers=atoms.numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that "auto" changed the cell
        return Phonopy(unitcell, **options)


def at_same_site(phonon: Phonopy, atoms: ase.Atoms) -> list[int]:
    """Index in `atoms` of every atom of the primitive cell, by Cartesian position modulo the primitive lattice."""
    inverse = np.linalg.inv(phonon.primitive.cell)
    found = []
    for position in phonon.primitive.positions:
        difference = (atoms.positions - position) @ inverse
        distance = np.linalg.norm((difference - np.rint(difference)) @ phonon.primitive.cell, axis=1)
        found.append(int(distance.argmin()))
        assert distance.min() < 1e-8
    return found


CELLS = {
    "NaCl primitive": lambda: with_field(crystals.rocksalt()),
    "NaCl conventional": lambda: with_field(crystals.rocksalt(cubic=True)),
    "NaCl conventional shuffled": lambda: shuffled(with_field(crystals.rocksalt(cubic=True))),
    "NaCl supercell": lambda: with_field(crystals.rocksalt()) * (2, 2, 2),
    "NaCl supercell shuffled": lambda: shuffled(with_field(crystals.rocksalt(cubic=True)) * (2, 2, 2)),
    "wurtzite": lambda: with_field(crystals.wurtzite()),
    "wurtzite shuffled supercell": lambda: shuffled(with_field(crystals.wurtzite()) * (2, 1, 1), seed=5),
    "PbTiO3": lambda: with_field(crystals.lead_titanate()),
    "quartz": lambda: with_field(crystals.quartz()),
    "quartz shuffled and rotated": lambda: with_field(
        crystals.rotated(shuffled(crystals.quartz()), crystals.random_rotation(4))
    ),
    "corundum hexagonal": lambda: with_field(crystals.corundum()),
    "anatase body-centered": lambda: shuffled(with_field(crystals.anatase())),
    "CaTiO3": lambda: with_field(crystals.calcium_titanate()),
    "no symmetry": lambda: with_field(crystals.nameless()),
}


@pytest.mark.parametrize("name", CELLS)
def test_phonopy_reads_back_every_atom(name: str, tmp_path: Path) -> None:
    atoms = CELLS[name]()
    z, eps = tensors(atoms)
    path = tmp_path / "BORN"
    path.write_text(born_file(atoms, z, eps))
    phonon = phonopy_of(atoms)
    read = parse_BORN(phonon.primitive, filename=path)
    np.testing.assert_allclose(read["born"], z[at_same_site(phonon, atoms)], atol=1e-8)
    np.testing.assert_allclose(read["dielectric"], eps, atol=1e-8)
    assert read["factor"] == pytest.approx(14.399652, abs=1e-6)  # e^2 / (4 pi eps0) in eV Angstrom
    assert set(read) == {"born", "dielectric", "factor"}


@pytest.mark.parametrize("name", CELLS)
def test_nac_params_are_those_of_the_primitive_cell(name: str) -> None:
    atoms = CELLS[name]()
    z, eps = tensors(atoms)
    phonon = phonopy_of(atoms)
    parameters = nac_params(atoms, z, eps)
    np.testing.assert_allclose(parameters["born"], z[at_same_site(phonon, atoms)], atol=1e-12)
    phonon.nac_params = parameters  # KeyError if something is missing
    np.testing.assert_allclose(phonon.nac_params["dielectric"], eps)


@pytest.mark.parametrize("name", CELLS)
def test_same_atoms_and_numbers_as_phonopys_own_writer(name: str) -> None:
    """get_BORN_lines gives the primitive matrix's independent atoms as phonopy-vasp-born does, with 8 decimals."""
    atoms = CELLS[name]()
    z, eps = tensors(atoms)
    phonon = phonopy_of(atoms)
    theirs = get_BORN_lines(phonon.unitcell, z, eps, primitive_matrix=phonon.primitive_matrix)
    ours = born_file(atoms, z, eps).splitlines()
    assert len(ours) == len(theirs)
    words = theirs[0].split()
    expected = [f"{n} ({atoms.symbols[int(n) - 1]})" for n in words[words.index("atoms") + 1 :]]
    assert ours[0].endswith("of atoms " + " ".join(expected))
    numbers = [[float(word) for word in line.split()] for line in ours[1:]]
    np.testing.assert_allclose(numbers, [[float(word) for word in line.split()] for line in theirs[1:]], atol=1.1e-8)


@pytest.mark.parametrize("turned", [False, True])
def test_the_wave_vector_contracts_with_the_field_index(turned: bool, tmp_path: Path) -> None:
    """D_NA = (4 pi/V) (q.Z_i)_a (q.Z_j)_b / (q.eps.q) / sqrt(m_i m_j), (q.Z)_a = sum_b q_b Z[b, a] (Gonze-Lee 1997)."""
    atoms = crystals.quartz()
    if turned:
        atoms = crystals.rotated(atoms, crystals.random_rotation(8))
    z, eps = tensors(with_field(atoms))
    assert abs(z - z.transpose(0, 2, 1)).max() > 0.1  # otherwise the test says nothing
    path = tmp_path / "BORN"
    path.write_text(born_file(atoms, z, eps))
    phonon = phonopy_of(atoms, primitive_matrix="P")
    parameters = parse_BORN(phonon.primitive, filename=path)
    parameters["method"] = "wang"
    phonon.force_constants = np.zeros((len(atoms), len(atoms), 3, 3))
    phonon.nac_params = parameters
    direction = np.array([0.3, -0.5, 0.8])
    phonon.dynamical_matrix.run([0, 0, 0], q_direction=phonon.primitive.cell @ direction)
    found = phonon.dynamical_matrix.dynamical_matrix.real

    def expected(charges: np.ndarray) -> np.ndarray:
        vectors = np.einsum("b,nba->na", direction, charges) / np.sqrt(phonon.primitive.masses)[:, None]
        scale = 4 * np.pi * 14.39965172592227 / atoms.get_volume() / (direction @ eps @ direction)
        return scale * np.outer(vectors, vectors)

    np.testing.assert_allclose(found, expected(z), atol=1e-7)
    assert abs(found - expected(z.transpose(0, 2, 1))).max() > 1e-3


def test_the_unit_cell_can_be_kept_as_primitive_cell(tmp_path: Path) -> None:
    atoms = CELLS["NaCl conventional shuffled"]()
    z, eps = tensors(atoms)
    path = tmp_path / "BORN"
    path.write_text(born_file(atoms, z, eps, primitive_matrix="P"))
    phonon = phonopy_of(atoms, primitive_matrix="P")
    np.testing.assert_allclose(parse_BORN(phonon.primitive, filename=path)["born"], z, atol=1e-8)


def test_a_supercell_in_phonopy_does_not_change_the_file(tmp_path: Path) -> None:
    atoms = CELLS["anatase body-centered"]()
    z, eps = tensors(atoms)
    path = tmp_path / "BORN"
    path.write_text(born_file(atoms, z, eps))
    phonon = phonopy_of(atoms, supercell_matrix=[2, 2, 1])
    read = parse_BORN(phonon.primitive, filename=path)
    np.testing.assert_allclose(read["born"], z[at_same_site(phonon, atoms)], atol=1e-8)


def test_a_charged_cell_keeps_its_charge(tmp_path: Path) -> None:
    """phonopy's own writer subtracts the mean; a charged defect cell has a sum."""
    atoms = CELLS["wurtzite"]()
    z, eps = tensors(atoms)
    z = z + 0.5 * np.eye(3)
    path = tmp_path / "BORN"
    path.write_text(born_file(atoms, z, eps))
    read = parse_BORN(phonopy_of(atoms).primitive, filename=path)
    np.testing.assert_allclose(read["born"].sum(axis=0), 4 * 0.5 * np.eye(3), atol=1e-8)


def test_radioactive_elements_have_no_mass_in_phonopy() -> None:
    atoms = ase.Atoms("PoO", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=3.5 * np.eye(3), pbc=True)
    text = born_file(atoms, np.array([2 * np.eye(3), -2 * np.eye(3)]), 5 * np.eye(3))
    assert "of atoms 1 (Po) 2 (O)" in text


def test_tensors_without_the_symmetry_are_refused() -> None:
    atoms = CELLS["NaCl conventional"]()
    z, eps = tensors(atoms)
    z[0] = 1.5 * z[0]
    with pytest.raises(InputError, match="break the symmetry"):
        born_file(atoms, z, eps)
    z, eps = tensors(atoms)
    with pytest.raises(InputError, match="break the symmetry"):
        born_file(atoms, z, eps + np.diag([0, 0, 0.1]))
    with pytest.raises(InputError, match="break the symmetry"):
        born_file(atoms, np.full_like(z, np.nan), eps)


def test_cells_that_phonopy_cannot_use_are_named() -> None:
    atoms = with_field(crystals.left_handed(crystals.quartz()))
    z, eps = tensors(atoms)
    with pytest.raises(InputError, match="right-handed cells only; exchange two lattice vectors"):
        born_file(atoms, z, eps)
    with pytest.raises(InputError, match="1 Born charges do not belong to 9 atoms"):
        nac_params(crystals.quartz(), z[:1], eps)
    on_top = ase.Atoms("NaNa", positions=[(0, 0, 0), (0, 0, 0)], cell=4 * np.eye(3), pbc=True)
    with pytest.raises(InputError, match="phonopy cannot use this cell"):
        born_file(on_top, np.zeros((2, 3, 3)), np.eye(3))


def test_the_example_crystal_lists_four_of_five_atoms(examples: Path) -> None:
    """P4mm: Ba, Ti, the apical O and one of the two equatorial O."""
    atoms = with_field(ase.io.read(examples / "BaTiO3.vasp"))
    z, eps = tensors(atoms)
    lines = born_file(atoms, z, eps).splitlines()
    assert len(lines) == 2 + 4


def test_corrections_are_steps_that_say_what_they_did() -> None:
    atoms = CELLS["quartz"]()
    z, eps = tensors(atoms)
    rng = np.random.default_rng(2)
    noisy, noise = z + 0.02 * rng.normal(size=z.shape), np.diag([0.0, 0.1, 0.0])
    done = corrected(atoms, noisy, eps + noise)
    np.testing.assert_allclose(done.born_charges.sum(axis=0), 0, atol=1e-12)
    # phonopy's own average over the space group, which leaves the sum rule alone.
    theirs, eps_theirs = symmetrize_borns_and_epsilon(noisy, eps + noise, phonopy_of(atoms).unitcell)
    np.testing.assert_allclose(done.born_charges, theirs - theirs.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(done.eps_inf, eps_theirs, atol=1e-6)
    projected = corrected(atoms, noisy, eps + noise, sum_rule=False).born_charges
    change, surplus = abs(projected - noisy).max(), abs(projected.sum(axis=0)).max()
    group = find_symmetry(atoms).international
    assert done.steps[0].startswith(
        f"symmetry {group} imposed: Born charges change by up to {change:.2g} e, eps_inf by"
    )
    assert done.steps[1].startswith(f"sum rule imposed: up to {surplus:.2g} e per cell shared out")
    assert done.steps[1].endswith("among 9 atoms")


def test_corrections_can_be_left_out() -> None:
    atoms = CELLS["quartz"]()
    z, eps = tensors(atoms)
    z = z + 0.1 * np.random.default_rng(2).normal(size=z.shape)
    done = corrected(atoms, z, eps, symmetrize=False, sum_rule=False)
    np.testing.assert_array_equal(done.born_charges, z)
    assert done.steps[0] == "symmetry not imposed"
    assert done.steps[1].startswith("sum rule not imposed: Born charges miss it by up to")
    charged = corrected(atoms, z, eps, symmetrize=False, total_charge=2.0)
    np.testing.assert_allclose(charged.born_charges.sum(axis=0), 2 * np.eye(3), atol=1e-12)
    with pytest.raises(InputError, match="not finite"):
        corrected(atoms, z * np.nan, eps)
    with pytest.raises(InputError, match="8 Born charges do not belong to 9 atoms"):
        corrected(atoms, z[:8], eps)
    with pytest.raises(InputError, match="3 x 3 tensor"):
        corrected(atoms, z, np.diag(eps))


def test_arrays_for_other_programs_have_the_field_last() -> None:
    """Gonze and Lee (1997), eq. 60, as Euphonic and ABINIT sum it: q with the last index."""
    atoms = CELLS["quartz"]()
    z, eps = tensors(atoms)
    parameters = nac_params(atoms, z, eps)
    q = np.array([0.3, -0.5, 0.8])
    phonon = phonopy_of(atoms, primitive_matrix="P")
    phonon.force_constants = np.zeros((9, 9, 3, 3))
    phonon.nac_params = {**parameters, "method": "wang"}
    phonon.dynamical_matrix.run([0, 0, 0], q_direction=phonon.primitive.cell @ q)
    expected = phonon.dynamical_matrix.dynamical_matrix.real
    euphonic, abinit = euphonic_arrays(parameters), abinit_arrays(parameters)
    assert (euphonic["born_unit"], euphonic["dielectric_unit"]) == ("e", "e**2/(bohr*hartree)")
    scale = 4 * np.pi * parameters["factor"] / phonon.primitive.volume
    for born, dielectric in (
        (euphonic["born"], euphonic["dielectric"]),
        (abinit["becs_cart"], abinit["emacro_cart"]),
    ):
        contracted = np.einsum("ijk,k->ij", born, q) / np.sqrt(phonon.primitive.masses)[:, None]
        np.testing.assert_allclose(scale * np.outer(contracted, contracted) / (q @ dielectric @ q), expected, atol=1e-7)

"""Phonopy projects: BORN expanded to all atoms, eps_ionic where there are forces."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from tests import crystals
from tests.calculations.runs import asymmetric, only, run_file, triclinic
from tests.response.projects import spring_phonon, write_project

from voigt.calculations.codes.phonopy_projects import read, recognizes
from voigt.notes import Failure
from voigt.response.phonons import born_file, gamma_modes, infrared

EPS = np.diag([5.5, 5.5, 5.5])
CHARGE = 2.5 * np.eye(3)
PEROVSKITE = crystals.perovskite()
Z = np.array(
    [
        2.5 * np.eye(3),
        7.1 * np.eye(3),
        np.diag([-2.0, -2.0, -5.6]),
        np.diag([-2.0, -5.6, -2.0]),
        np.diag([-5.6, -2.0, -2.0]),
    ]
)


def files_in(folder: Path) -> list:
    return [run_file(path.name, path.read_text()) for path in sorted(folder.iterdir()) if path.is_file()]


def test_charges_of_independent_atoms_become_those_of_all(tmp_path):
    write_project(tmp_path, spring_phonon(PEROVSKITE), "conf")
    (tmp_path / "BORN").write_text(born_file(PEROVSKITE, Z, EPS))
    (tmp_path / "FORCE_SETS").unlink()
    assert len((tmp_path / "BORN").read_text().splitlines()) < 2 + 5  # not all atoms are listed
    found = only(list(read(files_in(tmp_path))))
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-6)
    np.testing.assert_allclose(found.targets["born_charges"], Z, atol=1e-6)
    assert found.atoms.get_chemical_formula() == "O3SrTi"
    assert set(found.targets) == {"born_charges", "eps_inf"}


@pytest.mark.parametrize("layout", ["params", "sposcar"])
def test_forces_give_the_permittivity_of_the_ions(tmp_path, layout):
    salt = crystals.rocksalt()
    phonon = spring_phonon(salt)
    write_project(tmp_path, phonon, layout)
    charges = np.array([1.1 * np.eye(3), -1.1 * np.eye(3)])
    (tmp_path / "BORN").write_text(born_file(salt, charges, 2.4 * np.eye(3)))
    found = only(list(read(files_in(tmp_path))))
    phonon.symmetrize_force_constants()
    expected = infrared(gamma_modes(phonon), charges, 2.4 * np.eye(3)).eps_ionic
    np.testing.assert_allclose(found.targets["eps_ionic"], expected, rtol=1e-3, atol=1e-6)
    assert any("from the modes at Gamma" in text for text in found.provenance.conversions)
    assert found.provenance.code == "phonopy"


def test_soft_modes_leave_out_the_permittivity_of_the_ions(tmp_path):
    salt = crystals.rocksalt()
    phonon = spring_phonon(salt)
    # Each atom is drawn back to its place, and yet the two sublattices drift apart.
    same = phonon.supercell.numbers[:, None] == phonon.supercell.numbers
    constants = np.where(same, -1.2 / 7, 0.2 / 8)
    np.fill_diagonal(constants, 1.0)
    phonon.force_constants = constants[:, :, None, None] * np.eye(3)
    write_project(tmp_path, phonon, "yaml_constants")
    (tmp_path / "BORN").write_text(born_file(salt, np.array([CHARGE, -CHARGE]), EPS))
    found = only(list(read(files_in(tmp_path))))
    assert set(found.targets) == {"born_charges", "eps_inf"}
    assert any("eps_ionic is left out" in problem for problem in found.problems)


def test_forces_that_cannot_be_used_are_named_and_the_charges_delivered(tmp_path):
    salt = crystals.rocksalt()
    write_project(tmp_path, spring_phonon(salt), "disp")
    (tmp_path / "FORCE_SETS").write_text("3\n1\n\nnonsense\n")
    (tmp_path / "BORN").write_text(born_file(salt, np.array([CHARGE, -CHARGE]), EPS))
    found = only(list(read(files_in(tmp_path))))
    assert set(found.targets) == {"born_charges", "eps_inf"}
    assert found.problems[0].startswith("FORCE_SETS is not used, so that there is no eps_ionic")
    assert "/tmp" not in found.problems[0]


def test_born_without_a_cell_or_of_another_crystal_is_named(tmp_path):
    text = born_file(crystals.rocksalt(), np.array([CHARGE, -CHARGE]), EPS)
    (failure,) = read([run_file("BORN", text)])
    assert isinstance(failure, Failure)
    assert "has no cell beside it" in failure.problem
    write_project(tmp_path, spring_phonon(PEROVSKITE), "params")
    (tmp_path / "BORN").write_text(text)
    (failure,) = read(files_in(tmp_path))
    assert isinstance(failure, Failure)
    assert failure.source == "run/BORN"


def test_projects_without_charges_are_nobodys(tmp_path):
    write_project(tmp_path, spring_phonon(crystals.rocksalt()), "params")
    assert list(read(files_in(tmp_path))) == []


def test_born_is_recognized_by_what_it_holds():
    text = born_file(crystals.rocksalt(), np.array([CHARGE, -CHARGE]), EPS)
    assert recognizes(run_file("charges.txt", text))
    assert recognizes(run_file("charges.txt", text.replace(text.split()[0], "default")))
    assert not recognizes(run_file("numbers.txt", "1 2 3\n4 5 6\n7 8 9\n"))


@pytest.mark.parametrize("surplus", [0.0, 0.3])
def test_rows_of_born_are_the_field_and_nothing_is_made_neutral(tmp_path, surplus):
    """BORN written by hand for a crystal without symmetry, whose charges are not symmetric."""
    atoms = triclinic()
    z = asymmetric(1, 5, 3, 3)
    z += (surplus * np.eye(3) - z.sum(axis=0)) / 5
    ase.io.write(tmp_path / "POSCAR", atoms, format="vasp", direct=True)
    rows = [" ".join(f"{value:.8f}" for value in tensor.ravel()) for tensor in (EPS, *z)]
    (tmp_path / "BORN").write_text("\n".join(["default", *rows]) + "\n")
    found = only(list(read(files_in(tmp_path))))
    np.testing.assert_allclose(found.targets["born_charges"], z, atol=1e-7)
    np.testing.assert_allclose(found.atoms.positions, atoms.positions, atol=1e-6)

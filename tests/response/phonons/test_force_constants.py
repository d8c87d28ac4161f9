"""Force constants from a calculator: closed forms, symmetry of displacements, and calculators that fail."""

from __future__ import annotations

import sys
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.phonons import Phonons
from phonopy import Phonopy
from scipy.constants import angstrom, atomic_mass, e
from tests import crystals
from tests.response.projects import STIFFNESS, Springs

from voigt.errors import InputError
from voigt.response.phonons.force_constants import load_calculator
from voigt.response.phonons.modes import gamma_modes
from voigt.response.phonons.project import calculated_project, read_project


def written(atoms: ase.Atoms, folder: Path) -> Path:
    path = folder / "crystal.cif"
    ase.io.write(path, atoms)
    return path


class Nonsense(Springs):
    def calculate(self, *arguments: object, **options: object) -> None:
        super().calculate(*arguments, **options)
        self.results["forces"][0, 0] = np.nan


class Broken(Calculator):
    implemented_properties = ("forces",)

    def calculate(self, *arguments: object, **options: object) -> None:
        raise RuntimeError("no parameters\nfor Na")


def test_springs_in_closed_form(tmp_path: Path) -> None:
    """w_TO^2 = 2k/mu, from a file of one structure; two displacements are enough for NaCl."""
    calls = []
    path = written(crystals.rocksalt(), tmp_path)
    project = read_project(path, Springs(), dim=[2, 2, 2], advance=lambda: calls.append(1))
    assert len(calls) == 2
    assert "crystal.cif" in project.source
    assert project.notes[0].text == "forces of Springs on 2 supercells of 16 atoms, displaced by 0.01 Angstrom"
    modes = gamma_modes(project.phonon)
    mu = 1 / np.sum(1 / (modes.masses * atomic_mass))
    expected = np.sqrt(2 * STIFFNESS * e / angstrom**2 / mu) / (2e12 * np.pi)
    np.testing.assert_allclose(modes.frequencies, [0, 0, 0, *[expected] * 3], atol=1e-4)


def test_emt_against_phonons_of_ase(tmp_path: Path) -> None:
    """ASE displaces every atom both ways and knows no symmetry. Zone-boundary X of copper."""
    atoms = bulk("Cu", a=3.6)
    project = read_project(written(atoms, tmp_path), EMT(), dim=[2, 2, 2], displacement=0.02)
    project.phonon.run_qpoints([[0.5, 0.5, 0]])
    theirs = Phonons(atoms, EMT(), supercell=(2, 2, 2), delta=0.02, name=str(tmp_path / "ase"))
    theirs.run()
    theirs.read(acoustic=True)
    energies = theirs.band_structure([[0.5, 0.5, 0]])[0]
    thz = energies / 4.135667696e-3
    np.testing.assert_allclose(project.phonon.qpoints.frequencies[0], np.sort(thz), rtol=2e-3)
    assert thz.min() > 1


def test_a_strained_structure_is_told(tmp_path: Path) -> None:
    atoms = crystals.wurtzite()
    atoms.symbols[:] = "Cu"
    atoms.positions[0, 2] += 0.2
    project = read_project(written(atoms, tmp_path), EMT(), dim=[1, 1, 1])
    assert "not relaxed with this calculator (forces up to" in project.notes[1].text
    assert project.notes[1].kind == "not_relaxed"


def test_a_group_that_hardly_holds_is_not_imposed(monkeypatch: pytest.MonkeyPatch) -> None:
    """symfc stops at operations that hold only within a loose tolerance; sum rule and symmetry of the matrix remain."""
    own = Phonopy.symmetrize_force_constants

    def stubborn(phonon: Phonopy, show_drift: bool = True, use_symfc_projector: bool = False) -> None:
        assert not use_symfc_projector
        own(phonon, show_drift=show_drift)

    monkeypatch.setattr(Phonopy, "symmetrize_force_constants", stubborn)
    project = calculated_project(bulk("Cu", a=3.594), "copper", EMT(), dim=[2, 2, 2])
    assert any("not the space group" in note.text for note in project.notes)
    np.testing.assert_allclose(project.phonon.force_constants.sum(axis=1), 0, atol=1e-8)
    np.testing.assert_allclose(gamma_modes(project.phonon).frequencies, 0, atol=1e-4)


def test_calculators_that_fail_are_named(tmp_path: Path) -> None:
    path = written(crystals.rocksalt(), tmp_path)
    with pytest.raises(InputError, match="Nonsense gives forces that are not finite"):
        read_project(path, Nonsense(), dim=[2, 2, 2])
    with pytest.raises(InputError, match=r"Broken gives no forces: RuntimeError: no parameters for Na$"):
        read_project(path, Broken(), dim=[2, 2, 2])
    with pytest.raises(InputError, match="EMT gives no forces"):
        read_project(path, EMT(), dim=[2, 2, 2])  # EMT has neither Na nor Cl


def test_factories_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_potentials.py").write_text(
        "from ase.calculators.emt import EMT\n\n\ndef good():\n    return EMT()\n\n\n"
        "def bad():\n    raise OSError('no weights')\n\n\ndef odd():\n    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert isinstance(load_calculator("my_potentials:good"), EMT)
    assert isinstance(load_calculator("ase.calculators.emt:EMT"), EMT)
    for spec, problem in {
        "my_potentials": "write module:factory",
        "my_potentials:nothing": "has no attribute 'nothing'",
        "my_potentials:bad": "OSError: no weights; give a callable without arguments",
        "my_potentials:odd": "returns int, not an ASE calculator",
        "no_such_module:make": "No module named 'no_such_module'",
    }.items():
        with pytest.raises(InputError, match=problem):
            load_calculator(spec)
    assert sys.path == before
    sys.modules.pop("my_potentials", None)


def test_the_order_of_the_files_wins_over_nothing(tmp_path: Path) -> None:
    """phonopy.conf tells the supercell of a folder that has a structure only."""
    ase.io.write(tmp_path / "POSCAR", crystals.rocksalt(), format="vasp")
    (tmp_path / "phonopy.conf").write_text("DIM = 2 2 2\n")
    assert len(read_project(tmp_path, Springs()).phonon.supercell) == 16
    with pytest.raises(InputError, match="displace atoms with phonopy-init --dim 2 2 2 -d and calculate forces, or"):
        read_project(tmp_path)

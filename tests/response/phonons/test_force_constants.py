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
from scipy.constants import angstrom, atomic_mass, e
from tests import crystals
from tests.response.projects import STIFFNESS, Springs

from voigt.errors import InputError
from voigt.response.phonons.force_constants import load_calculator, supercell_for
from voigt.response.phonons.modes import gamma_modes
from voigt.response.phonons.project import read_project


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


def test_the_supercell_is_long_enough_in_every_direction() -> None:
    """No lattice vector below 10 Angstrom, checked by trying all short ones."""
    cells = [crystals.rocksalt(), crystals.wurtzite(), crystals.corundum(), crystals.rocksalt(cubic=True)]
    for atoms in [*cells, ase.Atoms("H", cell=[[3, 0, 0], [5.9, 1.2, 0], [0.4, 2.0, 7]], pbc=True)]:
        matrix = supercell_for(atoms.cell.array)
        rows = matrix @ atoms.cell.array
        grid = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3), axis=-1).reshape(-1, 3)
        lengths = np.linalg.norm(grid[np.any(grid != 0, axis=1)] @ rows, axis=1)
        assert lengths.min() >= 10 - 1e-9
    np.testing.assert_array_equal(supercell_for(np.diag([10.0, 5.0, 3.0])), np.diag([1, 2, 4]))


def test_a_strained_structure_is_told(tmp_path: Path) -> None:
    atoms = crystals.wurtzite()
    atoms.symbols[:] = "Cu"
    atoms.positions[0, 2] += 0.2
    project = read_project(written(atoms, tmp_path), EMT(), dim=[1, 1, 1])
    assert "not relaxed with this calculator (forces up to" in project.notes[1].text
    assert [note.kind for note in project.notes if note.is_warning] == ["not_relaxed"]


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

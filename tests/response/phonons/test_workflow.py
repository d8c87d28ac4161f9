"""The workflows from Python give what their parts give, and say by kind what happened."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import pytest
from tests import crystals
from tests.response.projects import Springs, spring_phonon, write_project

from voigt.errors import DomainError, InputError
from voigt.response.phonons.nac import gamma_phonons
from voigt.response.phonons.project import read_project
from voigt.response.phonons.tensors import ProjectSettings, project_tensors, with_parameters
from voigt.response.phonons.workflow import run_infrared, run_ionic_piezo, run_phonons

BORN = "14.399652\n2.4 0 0 0 2.4 0 0 0 2.4\n1.1 0 0 0 1.1 0 0 0 1.1\n-1.1 0 0 0 -1.1 0 0 0 -1.1\n"


@pytest.fixture
def salt(tmp_path: Path) -> Path:
    folder = write_project(tmp_path / "salt", spring_phonon(crystals.rocksalt()), "conf")
    (folder / "BORN").write_text(BORN)
    return folder


def test_phonons_with_the_tensors_of_the_project(salt: Path) -> None:
    result = run_phonons(salt, ProjectSettings(tensors="project"), directions=[[1, 1, 0]])
    project = read_project(salt)
    assert project.own_nac is not None
    expected = gamma_phonons(project.phonon, with_parameters(project, project.own_nac), [[1, 1, 0]])
    np.testing.assert_allclose(result.phonons.along[0].frequencies, expected.along[0].frequencies, atol=1e-6)
    assert (result.bands, result.bands_without_nac, result.refused) == (None, None, False)
    assert {note.kind for note in result.notes} == {"processing"}


def test_what_is_left_aside_is_a_note(salt: Path) -> None:
    project = read_project(salt)
    for settings, aside in (
        (ProjectSettings(tensors="none"), True),
        (ProjectSettings(tensors="project"), False),
        (ProjectSettings(born=salt / "BORN"), True),
    ):
        tensors = project_tensors(project, settings)
        assert ("set_aside" in {note.kind for note in tensors.notes}) == aside
    assert run_phonons(salt, ProjectSettings(tensors="none")).polar is None
    with pytest.raises(InputError, match="needs Born charges"):
        run_infrared(salt, ProjectSettings(tensors="none"))


def test_unusable_charges_of_a_project_are_the_reason(salt: Path) -> None:
    (salt / "BORN").write_text("14.4\n1 2 3\n")
    project = read_project(salt)
    (note,) = [note for note in project.notes if note.is_warning]
    assert (note.kind, note.properties) == ("unusable_born", ("born_charges", "eps_inf"))
    with pytest.raises(InputError, match="BORN file format of line 2 is incorrect"):
        project_tensors(project, ProjectSettings(tensors="project"))


def test_infrared_response_and_its_relations(salt: Path) -> None:
    result = run_infrared(salt, ProjectSettings(tensors="project"), linewidths=0.3)
    assert result.directions == (("[100]", "[010]", "[001]"),)
    np.testing.assert_allclose(result.tensors.born_charges.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(result.spectrum.permittivity[0].real, result.response.eps_0, rtol=1e-6, atol=1e-9)
    assert result.relations[0].product == pytest.approx(result.relations[0].ratio, rel=1e-5)
    skewed = run_infrared(salt, ProjectSettings(tensors="project"), directions=[[1, 0, 0]])
    assert "no_axis" not in {note.kind for note in skewed.notes}


def test_progress_and_piezoelectricity_with_a_calculator(tmp_path: Path) -> None:
    atoms = crystals.rocksalt()
    atoms.write(tmp_path / "salt.vasp", format="vasp")
    (tmp_path / "my.BORN").write_text(BORN)
    settings = ProjectSettings(calculator=Springs(), dim=[1, 1, 1], born=tmp_path / "my.BORN", model="none")
    calls: list[int] = []
    result = run_infrared(tmp_path / "salt.vasp", settings, advance=lambda: calls.append(1))
    assert len(calls) == 2
    piezo = run_ionic_piezo(result, settings)
    assert piezo.e.shape == (3, 3, 3)
    assert piezo.d is None
    assert "elastic tensor" in str(piezo.reason)
    with pytest.raises(InputError, match="--calculator"):
        run_ionic_piezo(result, ProjectSettings())


def test_a_probable_metal_is_refused_unless_allowed(tmp_path: Path, tiny_model: str) -> None:
    atoms = crystals.rocksalt()
    atoms.symbols[:] = "MgAl"
    folder = write_project(tmp_path / "alloy", spring_phonon(atoms), "params")
    settings = ProjectSettings(model=tiny_model)
    refused = run_phonons(folder, settings)
    assert (refused.refused, refused.polar, refused.prediction) == (True, None, None)
    with pytest.raises(DomainError, match="probably a metal"):
        run_infrared(folder, settings)
    allowed = ProjectSettings(model=tiny_model, allow_metal=True)
    result = run_phonons(folder, allowed)
    assert not result.refused
    assert result.prediction is not None
    assert "likely_metal" in {note.kind for note in result.notes}


def test_a_metal_that_composition_does_not_show(tmp_path: Path) -> None:
    """MgB2 has a non-metal and an even number of electrons; the gap model that ships finds no gap."""
    atoms = ase.Atoms(
        "MgB2",
        scaled_positions=[[0, 0, 0], [1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]],
        cell=[3.086, 3.086, 3.524, 90, 90, 120],
    )
    folder = write_project(tmp_path / "MgB2", spring_phonon(atoms), "params")
    result = run_phonons(folder)
    assert (result.refused, result.polar, result.prediction) == (True, None, None)
    assert "probably a metal" in result.nac
    assert "likely_metal" in {note.kind for note in result.notes}
    with pytest.raises(DomainError, match="MgB2: no infrared response: probably a metal"):
        run_infrared(folder)
    assert run_phonons(folder, ProjectSettings(allow_metal=True)).polar is not None


def test_a_sheet_in_vacuum_has_no_correction_of_a_crystal(tmp_path: Path) -> None:
    """Boron nitride, one layer."""
    atoms = ase.Atoms("BN", scaled_positions=[[0, 0, 0.5], [1 / 3, 2 / 3, 0.5]], cell=[2.504, 2.504, 18, 90, 90, 120])
    folder = write_project(tmp_path / "BN", spring_phonon(atoms, (2, 2, 1)), "params")
    result = run_phonons(folder)
    assert (result.refused, result.polar) == (True, None)
    assert result.nac.startswith("inactive: the cell holds a sheet or slab with")
    assert "vacuum" in {note.kind for note in result.notes}
    with pytest.raises(DomainError, match="BN: no infrared response: the cell holds a sheet"):
        run_infrared(folder)
    assert run_phonons(folder, ProjectSettings(allow_vacuum=True)).polar is not None
    assert not run_phonons(folder, ProjectSettings(tensors="none")).refused

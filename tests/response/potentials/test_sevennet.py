"""The potential that is installed for development: magnesium oxide, and what it says of elements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from tests.conftest import REPOSITORY

from voigt.errors import InputError
from voigt.response.phonons.modes import gamma_modes
from voigt.response.phonons.tensors import ProjectSettings
from voigt.response.phonons.workflow import run_infrared
from voigt.response.potentials import DEFAULT, find_potential, load_potential, relax

pytest.importorskip("sevenn", reason="the extra [potential] is not installed")


def test_it_loads_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    calculator = load_potential(DEFAULT)
    assert capfd.readouterr() == ("", "")
    assert set(calculator.implemented_properties) >= {"energy", "forces", "stress"}
    assert find_potential(DEFAULT).identity.startswith("sevennet-l3i5, sevenn 0.13.")


@pytest.mark.parametrize("name", ["sevennet-l3i5", "sevennet-0"])
def test_the_elements_are_those_of_the_package(name: str) -> None:
    assert find_potential(name).elements == set(load_potential(name)._inner.type_map)


def test_stress_is_the_derivative_of_the_energy() -> None:
    atoms = bulk("MgO", "rocksalt", a=4.1)
    atoms.calc = load_potential(DEFAULT)
    stress, energies = atoms.get_stress(voigt=False), []
    for strain in (-1e-3, 1e-3):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * (1 + strain), scale_atoms=True)
        strained.calc = atoms.calc
        energies.append(strained.get_potential_energy())
    assert np.trace(stress) * atoms.get_volume() == pytest.approx((energies[1] - energies[0]) / 2e-3, rel=1e-2)


def test_the_lattice_constant_of_magnesium_oxide() -> None:
    """PBE has 4.25 Angstrom (Materials Project mp-1265: 4.258)."""
    result = relax(bulk("MgO", "rocksalt", a=4.15), load_potential(DEFAULT), "cell")
    assert result.converged
    assert np.linalg.norm(result.atoms.cell[0]) * np.sqrt(2) == pytest.approx(4.255, abs=0.02)


def test_magnesium_oxide_from_its_structure_alone(tmp_path: Path) -> None:
    """TO 359, LO 665 cm^-1, as ASE's interface to the package gave with phonopy's commands and predicted charges."""
    settings = ProjectSettings(potential=DEFAULT, relax="none", dim=[2, 2, 2], folder=tmp_path)
    result = run_infrared(REPOSITORY / "examples" / "MgO.vasp", settings)
    frequencies = gamma_modes(result.project.phonon).wavenumbers
    np.testing.assert_allclose(frequencies[:3], 0, atol=1)
    np.testing.assert_allclose(frequencies[3:], 359, atol=10)
    (relation,) = result.relations
    assert relation.longitudinal[0] * 33.35641 == pytest.approx(665, abs=10)
    assert result.project.source == "MgO.vasp, potential sevennet-l3i5"
    again = run_infrared(REPOSITORY / "examples" / "MgO.vasp", settings)
    np.testing.assert_array_equal(again.response.eps_0, result.response.eps_0)


def test_elements_that_it_does_not_know() -> None:
    with pytest.raises(InputError, match=r"^sevennet-l3i5 was not trained on Po; take another potential$"):
        relax(bulk("Po", "sc", a=3.3), load_potential(DEFAULT))

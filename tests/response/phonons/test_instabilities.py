"""Soft modes of double wells in closed form, and the minima that following them leads to."""

from __future__ import annotations

import numpy as np
import pytest
from tests import crystals
from tests.response.potentials.toys import Wells, wells
from tests.response.projects import Springs

from voigt.errors import InputError
from voigt.notes import Note
from voigt.response.phonons.instabilities import soft_modes, wave_cell
from voigt.response.phonons.modes import gamma_modes
from voigt.response.phonons.project import Project, calculated_project, unit_cell
from voigt.response.potentials.evaluation import energy_of
from voigt.structures.symmetry import find_symmetry

THZ = 15.633302
"""Of a stiffness of 1 eV/Angstrom^2 and a mass of 1 amu."""


def notes_of(project: Project, kind: str) -> list[Note]:
    return [note for note in project.notes if note.kind == kind]


def followed(calculator: Wells, dim: list[int] | None = None) -> Project:
    return calculated_project(wells(), "wells", calculator, dim=dim, follow=True)


def test_a_stable_crystal_has_none() -> None:
    project = calculated_project(crystals.rocksalt(), "salt", Springs(5.0), dim=[2, 2, 2])
    assert soft_modes(project.phonon) == ()
    assert notes_of(project, "soft_modes") == []
    stable = calculated_project(wells(), "wells", Wells(depth=-1.0), dim=[1, 1, 1], follow=True)
    assert notes_of(stable, "soft_modes") == []
    assert not any("followed" in note.text for note in stable.notes)


def test_a_well_at_gamma_in_closed_form() -> None:
    """omega^2 = -a (1/m + 1/M), since cations move against anions."""
    project = calculated_project(wells(), "wells", Wells(), dim=[1, 1, 1], displacement=1e-3)
    (mode,) = soft_modes(project.phonon)
    assert not mode.q.any()
    assert mode.frequency == pytest.approx(-THZ * np.sqrt(1 / 100 + 1 / 20), rel=1e-3)
    assert mode.eigenvectors.shape == (3, 2, 3)
    (note,) = notes_of(project, "soft_modes")
    assert f"soft modes of {-mode.frequency:.2f}i THz at Gamma" in note.text
    assert note.is_warning
    assert note.remedy.startswith("follow=True")
    assert note.for_command_line().remedy.startswith("--follow")


def test_the_softest_one_is_at_the_corner_of_the_zone() -> None:
    """With neighbors that move in opposite directions: a + 6 g at R, where anions are at rest, a - 6 g at Gamma."""
    project = calculated_project(wells(), "wells", Wells(depth=0.3, coupling=0.1), dim=[2, 2, 2], displacement=1e-3)
    modes = soft_modes(project.phonon)
    assert modes[0].q.tolist() == [0.5, 0.5, 0.5]
    assert modes[0].frequency == pytest.approx(-THZ * np.sqrt(0.9 / 100), rel=1e-3)
    assert "0.5" not in modes[0].name
    assert modes[0].name.endswith("i THz at q = (1/2 1/2 1/2)")
    assert all(mode.q.any() for mode in modes)
    stars = [tuple(sorted(mode.q.tolist())) for mode in modes]
    assert len(stars) == len(set(stars))  # one of the equivalent wave vectors each


@pytest.mark.parametrize("q", [(0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0), (1 / 3, 1 / 3, 0), (0.25, 0, 0), (0, 0, 0)])
def test_waves_have_the_curvature_of_their_mode(q: tuple[float, float, float]) -> None:
    """Twice the energy of a displacement Q of the waves is (2 pi f)^2 Q^2, for the calculator itself."""
    dim = [3, 3, 1] if 1 / 3 in q else [4, 1, 1] if 0.25 in q else [2, 2, 2]
    calculator = Wells(depth=0.6, coupling=0.05)
    phonon = calculated_project(wells(), "wells", calculator, dim=dim, displacement=1e-3).phonon
    (mode,) = [mode for mode in soft_modes(phonon) if np.allclose(np.sort(np.abs((mode.q + 0.5) % 1 - 0.5)), sorted(q))]
    atoms, basis = wave_cell(phonon, mode)
    assert len(atoms) == 2 * round(1 / min([x for x in q if x] or [1]))
    np.testing.assert_allclose(np.einsum("kai,lai->kl", basis, basis), np.eye(len(basis)), atol=1e-9)
    step, rest = 1e-2, energy_of(atoms, calculator)
    roots = np.sqrt(atoms.get_masses())[:, None]
    for wave in basis:
        energies = []
        for sign in (-1, 1):
            moved = atoms.copy()
            moved.positions += sign * step * wave / roots
            energies.append(energy_of(moved, calculator) - rest)
        curvature = sum(energies) / step**2
        assert curvature == pytest.approx(-((mode.frequency / THZ) ** 2), rel=2e-2)


def test_following_a_mode_at_gamma_finds_the_minimum() -> None:
    """Each component of the displacement goes to sqrt(a/b): along a diagonal, E = -3 a^2 / (4 b) per cell."""
    project = followed(Wells(), [1, 1, 1])
    atoms = unit_cell(project)
    cations = atoms.get_distance(0, 1, mic=True, vector=True)
    shift = np.abs(cations) - Wells.lattice / 2
    np.testing.assert_allclose(np.abs(shift), np.sqrt(1 / Wells.quartic), atol=2e-3)
    assert find_symmetry(atoms).international == "R3m"
    (note,) = [note for note in project.notes if note.text.startswith("followed")]
    gain = 3 / (4 * Wells.quartic) / 2
    assert f"at Gamma: from Pm-3m to R3m, 2 atoms, {1000 * gain:.2g} meV per atom lower" in note.text
    assert gamma_modes(project.phonon).frequencies.min() > -0.05
    assert notes_of(project, "soft_modes") == []


def test_following_a_mode_at_the_corner_doubles_the_cell() -> None:
    """Components sqrt((a + 6 g) / b) of opposite signs in neighboring cells."""
    calculator = Wells(depth=0.3, coupling=0.1)
    project = followed(calculator)
    atoms = unit_cell(project)
    assert len(atoms) == 4
    gain = 3 * 0.9**2 / (4 * Wells.quartic) / 2
    start, end = energy_of(wells(), calculator) / 2, energy_of(atoms, calculator) / 4
    assert start - end == pytest.approx(gain, rel=1e-3)
    assert notes_of(project, "soft_modes") == []
    assert any("followed the soft mode of" in note.text and "4 atoms" in note.text for note in project.notes)


def test_what_is_not_followed_to_the_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No round is left: the note has no advice to follow."""
    monkeypatch.setattr("voigt.response.phonons.project.FOLLOWED", 0)
    (note,) = notes_of(followed(Wells(), [1, 1, 1]), "soft_modes")
    assert note.remedy == ""


def test_a_mode_that_leads_nowhere_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voigt.response.phonons.instabilities.GAINED", 10.0)
    project = followed(Wells(), [1, 1, 1])
    assert any("led to no lower energy" in note.text for note in project.notes)
    np.testing.assert_allclose(unit_cell(project).positions, wells().positions)
    assert notes_of(project, "soft_modes") != []


def test_a_calculator_without_energy_cannot_be_followed() -> None:
    class Blind(Wells):
        implemented_properties = ("forces",)

        def calculate(self, *arguments: object, **options: object) -> None:
            super().calculate(*arguments, **options)
            del self.results["energy"]

    with pytest.raises(InputError, match="Blind gives no energy"):
        followed(Blind(), [1, 1, 1])

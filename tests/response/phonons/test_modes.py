"""Modes at Gamma against closed forms and phonopy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import phonopy
import pytest
from tests.response.ionic_crystals import Diatomic, random_crystal

from voigt.errors import InputError
from voigt.response.phonons.modes import (
    GammaModes,
    acoustic,
    acoustic_pseudo_inverse,
    degenerate_sets,
    gamma_modes,
    irreps,
    modes_of,
    unstable_directions,
)


def load(folder: Path, symmetrize: bool = True, full: bool = False) -> tuple[dict, phonopy.Phonopy]:
    """A folder of the phonon data set, without NAC, and its reference values."""
    reference = json.loads((folder / "reference.json").read_text())
    phonon = phonopy.load(
        unitcell_filename=folder / "POSCAR-unitcell",
        supercell_matrix=reference["supercell_matrix"],
        primitive_matrix=reference["primitive_matrix"],
        force_sets_filename=folder / "FORCE_SETS",
        is_nac=False,
        symmetrize_fc=symmetrize,
        is_compact_fc=not full,
    )
    return reference, phonon


def test_diatomic_crystal_has_the_frequency_of_the_reduced_mass() -> None:
    crystal = Diatomic()
    modes = crystal.modes()
    np.testing.assert_allclose(modes.frequencies[:3], 0, atol=1e-6)
    np.testing.assert_allclose(modes.frequencies[3:], crystal.transverse, rtol=1e-12)
    # Opposite motion, the light atom further: e_i = sqrt(mu / M_i).
    sizes = np.linalg.norm(modes.eigenvectors[3:], axis=2)
    np.testing.assert_allclose(sizes, np.sqrt(crystal.masses[::-1] / crystal.masses.sum())[None].repeat(3, 0))


@pytest.mark.parametrize(("folder", "full"), [("ZnS_mp-10695", True), ("HgS_mp-634", False)])
def test_frequencies_are_those_of_phonopy(dft_data: Callable[[str], Path], folder: str, full: bool) -> None:
    reference, phonon = load(dft_data(f"phonons/{folder}"), full=full)
    modes = gamma_modes(phonon)
    # The references are rounded to 1e-5 THz; acoustic modes vanish to the square root of rounding errors.
    np.testing.assert_allclose(modes.frequencies, reference["gamma_no_nac_THz"], atol=6e-5)
    phonon.run_qpoints([[0, 0, 0]])
    np.testing.assert_allclose(modes.frequencies[3:], phonon.qpoints.frequencies[0, 3:], atol=1e-6)


def test_nac_params_do_not_enter(dft_data: Callable[[str], Path]) -> None:
    _, phonon = load(dft_data("phonons/ZnS_mp-10695"))
    without = gamma_modes(phonon).frequencies
    born = 2.0 * np.array([np.eye(3), -np.eye(3)])
    phonon.nac_params = {"born": born, "dielectric": 5 * np.eye(3), "factor": 14.3996}
    phonon.run_qpoints([[0, 0, 0]], nac_q_direction=[1, 0, 0])
    assert phonon.qpoints.frequencies[0, -1] > without[-1] + 0.5
    np.testing.assert_array_equal(gamma_modes(phonon).frequencies, without)


def test_eigenvectors_solve_the_eigenvalue_problem() -> None:
    phi, masses, _, _, volume = random_crystal(0)
    modes = modes_of(phi, masses, volume)
    flat = modes.eigenvectors.reshape(12, 12)
    np.testing.assert_allclose(flat @ flat.T, np.eye(12), atol=1e-12)
    dynamical = np.einsum("ijab,i,j->iajb", phi, masses**-0.5, masses**-0.5).reshape(12, 12)
    # sqrt(eV/(amu A^2)) / 2 pi = 15.633302 THz is phonopy's factor.
    np.testing.assert_allclose(flat @ dynamical @ flat.T, np.diag((modes.frequencies / 15.633302) ** 2), atol=1e-6)


def test_imaginary_frequencies_are_negative_and_acoustic_modes_told_by_their_motion() -> None:
    """A soft mode below the translations, and one that is as low as they are."""
    crystal = Diatomic()
    phi = crystal.force_constants * np.array([-1.0, 1e-16, 1.0])[:, None] * np.eye(3)
    modes = modes_of(phi, crystal.masses, crystal.volume)
    assert modes.frequencies[0] == pytest.approx(-crystal.transverse)
    chosen = acoustic(modes)
    assert chosen.sum() == 3
    assert not chosen[0]
    velocities = modes.eigenvectors[chosen] / np.sqrt(modes.masses)[:, None]
    np.testing.assert_allclose(velocities[:, 0], velocities[:, 1], atol=1e-12)
    # Translations remain three exact modes although a vibration has their frequency.
    np.testing.assert_allclose(np.linalg.svd(velocities[:, 0])[1], crystal.masses.sum() ** -0.5)


def test_modes_that_mix_translations_and_vibrations_are_refused() -> None:
    crystal = Diatomic()
    single = GammaModes(np.zeros(6), np.eye(6).reshape(6, 2, 3), np.ones(2), crystal.volume)
    mixed = GammaModes(np.zeros(12), np.eye(12).reshape(12, 4, 3), np.ones(4), crystal.volume)
    assert acoustic(single).sum() == 3  # half of each: just recognized
    with pytest.raises(InputError, match="mix translations"):
        acoustic(mixed)


def test_sets_are_runs_of_close_frequencies() -> None:
    found = degenerate_sets([3.0, 1.0, 1.0004, 2.0, 1.0011, 3.0], tolerance=1e-3)
    assert [part.tolist() for part in found] == [[1, 2, 4], [3], [0, 5]]


def test_pseudo_inverse_gives_the_displacements_that_forces_cause() -> None:
    phi, *_ = random_crystal(3)
    inverse = acoustic_pseudo_inverse(phi)
    rng = np.random.default_rng(0)
    forces = rng.normal(size=(4, 3))
    forces -= forces.mean(axis=0)
    u = np.einsum("ijab,jb->ia", inverse, forces)
    np.testing.assert_allclose(np.einsum("ijab,jb->ia", phi, u), forces, atol=1e-12)
    np.testing.assert_allclose(u.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(inverse.sum(axis=1), 0, atol=1e-12)


def test_unstable_directions_are_counted() -> None:
    crystal = Diatomic()
    assert unstable_directions(crystal.force_constants) == 0
    assert unstable_directions(crystal.force_constants * np.diag([-1.0, 1.0, -1.0])) == 2


def test_irreps_of_zincblende_and_of_neighbors_in_frequency(dft_data: Callable[[str], Path]) -> None:
    """International Tables: zincblende has two T2. Cinnabar (D3): A2 and E that differ by 7e-4 THz stay apart."""
    _, phonon = load(dft_data("phonons/ZnS_mp-10695"))
    assert irreps(phonon, gamma_modes(phonon)) == (("T2", (0, 1, 2)), ("T2", (3, 4, 5)))
    _, phonon = load(dft_data("phonons/HgS_mp-634"))
    found = irreps(phonon, gamma_modes(phonon))
    assert found is not None
    # Hg on 3a (site symmetry 2), S on 3b: 18 modes = 2 A1 + 4 A2 + 6 E (A2 + E acoustic).
    counts = {label: sum(1 for other, _ in found if other == label) for label, _ in found}
    assert counts == {"A1": 2, "A2": 4, "E": 6}


def test_bad_input_is_one_sentence() -> None:
    crystal = Diatomic()
    with pytest.raises(InputError, match="positive masses"):
        modes_of(crystal.force_constants, [1.0], 10.0)
    with pytest.raises(InputError, match="positive masses"):
        modes_of(crystal.force_constants, [1.0, -1.0], 10.0)
    with pytest.raises(InputError, match="not of shape"):
        modes_of(crystal.force_constants[0], crystal.masses, 10.0)
    with pytest.raises(InputError, match="finite"):
        modes_of(crystal.force_constants * np.nan, crystal.masses, 10.0)
    unit = phonopy.structure.atoms.PhonopyAtoms(["Na"], cell=3 * np.eye(3), scaled_positions=[[0, 0, 0]])
    phonon = phonopy.Phonopy(unit, np.eye(3), primitive_matrix="P")
    with pytest.raises(InputError, match="no force constants"):
        gamma_modes(phonon)
    phonon.force_constants = np.full((1, 1, 3, 3), np.nan)
    with pytest.raises(InputError, match="not finite"):
        gamma_modes(phonon)

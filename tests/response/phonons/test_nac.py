"""LO-TO splitting against closed forms and the formula written out here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from phonopy import Phonopy
from scipy.constants import angstrom, atomic_mass, e, epsilon_0
from tests import crystals
from tests.response.projects import STIFFNESS, spring_phonon, write_project

from voigt.errors import InputError
from voigt.response.phonons.modes import gamma_force_constants
from voigt.response.phonons.nac import (
    band_structure,
    distinct,
    gamma_phonons,
    inactive_reason,
    limit_at_gamma,
    match,
    optical_limit,
    parse_direction,
)
from voigt.response.phonons.project import Project, read_project, unit_cell
from voigt.response.phonons.tensors import with_nac, with_parameters
from voigt.structures.symmetry import find_symmetry
from voigt.tensors.projection import project_atoms, project_crystal
from voigt.tensors.sum_rule import acoustic_sum_rule

DIRECTIONS = ([1, 0, 0], [0, 0, 1], [0.3, -0.5, 0.8])


@pytest.fixture(scope="module")
def salt(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = write_project(tmp_path_factory.mktemp("salt"), spring_phonon(crystals.rocksalt()), "params")
    return read_project(folder)


@pytest.fixture(scope="module")
def quartz(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Trigonal; springs to the second neighbors, one unit cell."""
    phonon = spring_phonon(crystals.quartz(), (1, 1, 1), cutoff=2.8)
    return read_project(write_project(tmp_path_factory.mktemp("quartz"), phonon, "params"))


def salt_charges(project: Project, charge: float = 1.1) -> np.ndarray:
    signs = np.where(unit_cell(project).symbols == "Na", charge, -charge)
    return signs[:, None, None] * np.eye(3)


def quartz_tensors(project: Project) -> tuple[np.ndarray, np.ndarray]:
    """Random tensors with the crystal's symmetry and sum rule; charges are not symmetric matrices."""
    rng = np.random.default_rng(0)
    symmetry = find_symmetry(unit_cell(project), 1e-5)
    rotations, permutations = torch.as_tensor(symmetry.rotations), torch.as_tensor(symmetry.permutations)
    z = project_atoms(torch.as_tensor(2 * rng.normal(size=(9, 3, 3))), rotations, permutations)
    z = acoustic_sum_rule(z, torch.zeros(9, dtype=torch.int64), 1).numpy()
    assert abs(z - z.transpose(0, 2, 1)).max() > 0.3  # otherwise the tests below say nothing
    return z, project_crystal(torch.as_tensor(np.diag([2.0, 2.5, 3.1])), rotations, 2).numpy()


def by_hand(phonon: Phonopy, z: np.ndarray, eps: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Frequencies in THz of D + D_NA, D_NA = (e^2/eps0 V) (q.Z_i)_a (q.Z_j)_b / (q.eps.q) / sqrt(m_i m_j), in SI."""
    masses = np.repeat(phonon.primitive.masses, 3) * atomic_mass
    count = len(masses) // 3
    phi = gamma_force_constants(phonon).transpose(0, 2, 1, 3).reshape(3 * count, 3 * count) * e / angstrom**2
    polar = np.array([[sum(direction[b] * z[i, b, a] for b in range(3)) for a in range(3)] for i in range(count)])
    volume = phonon.primitive.volume * angstrom**3
    field = np.outer(polar, polar) * e**2 / (epsilon_0 * volume * (direction @ eps @ direction))
    squares = np.linalg.eigvalsh((phi + field) / np.sqrt(np.outer(masses, masses)))
    return np.sign(squares) * np.sqrt(abs(squares)) / (2 * np.pi * 1e12)


def test_optical_modes_near_zero_do_not_mix_with_translations(salt: Project) -> None:
    """Springs so weak that all modes lie within 1e-6 THz: the field alone is left, w_LO^2 = Z^2 e^2/(eps0 eps V mu)."""
    polar = with_nac(salt, salt_charges(salt), 2.4 * np.eye(3))
    polar.force_constants = np.asarray(polar.force_constants) * 1e-14
    found = optical_limit(polar, [0, 0, 1])
    masses = polar.primitive.masses * atomic_mass
    square = (1.1 * e) ** 2 / (epsilon_0 * 2.4 * polar.primitive.volume * angstrom**3) * (1 / masses).sum()
    np.testing.assert_allclose(found, [0, 0, np.sqrt(square) / (2 * np.pi * 1e12)], atol=1e-4)


def test_rock_salt_in_closed_form(salt: Project) -> None:
    """Springs k to six neighbors: w_TO^2 = 2k/mu; w_LO^2 = w_TO^2 + Z^2 e^2 / (eps0 eps V mu)."""
    phonons = gamma_phonons(salt.phonon, with_nac(salt, salt_charges(salt), 2.4 * np.eye(3)))
    mu = 1 / np.sum(1 / (salt.phonon.primitive.masses * atomic_mass))
    transverse = 2 * STIFFNESS * e / angstrom**2 / mu
    volume = salt.phonon.primitive.volume * angstrom**3
    longitudinal = transverse + (1.1 * e) ** 2 / (epsilon_0 * 2.4 * volume * mu)
    to, lo = np.sqrt(transverse) / (2e12 * np.pi), np.sqrt(longitudinal) / (2e12 * np.pi)
    np.testing.assert_allclose(phonons.modes.frequencies, [0, 0, 0, to, to, to], atol=1e-4)
    np.testing.assert_array_equal(phonons.rigid, [True, True, True, False, False, False])
    assert len(phonons.along) == 3
    for along in phonons.along:
        np.testing.assert_allclose(along.frequencies[3:], [to, to, lo], atol=1e-4)
        np.testing.assert_allclose(sorted(phonons.splitting(along)[3:]), [0, 0, lo - to], atol=1e-4)
        np.testing.assert_allclose(along.overlap[3:], 1, atol=1e-6)
    assert [names for _, names in distinct(phonons)] == [("[100]", "[010]", "[001]")]
    assert phonons.labels == ("T1u",) * 6
    assert len(phonons.imaginary) == 0


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_first_index_is_that_of_the_field(direction: list[float], quartz: Project) -> None:
    z, eps = quartz_tensors(quartz)
    rows = np.array(direction)
    right, _ = limit_at_gamma(with_nac(quartz, z, eps), direction)
    np.testing.assert_allclose(right[3:], by_hand(quartz.phonon, z, eps, rows)[3:], atol=1e-4)
    transposed = np.ascontiguousarray(z.transpose(0, 2, 1))
    wrong, _ = limit_at_gamma(with_nac(quartz, transposed, eps), direction)
    np.testing.assert_allclose(wrong[3:], by_hand(quartz.phonon, transposed, eps, rows)[3:], atol=1e-4)
    assert abs(right - wrong).max() > 0.05  # the trap: plausible numbers all the same


def test_acoustic_modes_are_at_zero_without_nac(quartz: Project) -> None:
    phonons = gamma_phonons(quartz.phonon, None)
    assert phonons.along == ()
    assert phonons.rigid.sum() == 3
    np.testing.assert_allclose(phonons.modes.frequencies[phonons.rigid], 0, atol=1e-3)
    assert phonons.modes.frequencies[~phonons.rigid].min() > 0.5


def test_modes_without_a_dipole_along_q_do_not_move(quartz: Project) -> None:
    """32 in D3: along z the A2 modes split and the E modes do not, along x the E modes do; A1 never."""
    z, eps = quartz_tensors(quartz)
    phonons = gamma_phonons(quartz.phonon, with_nac(quartz, z, eps), [[1, 0, 0], [0, 0, 1]])
    labels, optical = np.array(phonons.labels), ~phonons.rigid
    assert sorted(set(labels)) == ["A1", "A2", "E"]
    in_plane, axial = (phonons.splitting(along) for along in phonons.along)
    np.testing.assert_allclose(in_plane[labels == "A1"], 0, atol=1e-3)
    np.testing.assert_allclose(axial[labels == "A1"], 0, atol=1e-3)
    np.testing.assert_allclose(in_plane[optical & (labels == "A2")], 0, atol=1e-3)
    np.testing.assert_allclose(axial[optical & (labels == "E")], 0, atol=1e-3)
    assert axial[optical & (labels == "A2")].max() > 0.1
    e_modes = in_plane[optical & (labels == "E")].reshape(-1, 2)
    np.testing.assert_allclose(e_modes[:, 0], 0, atol=1e-3)  # one of each pair stays transverse
    assert e_modes[:, 1].max() > 0.1


def test_a_longitudinal_mode_need_not_be_the_next_in_order(dft_data: Callable[[str], Path]) -> None:
    """Calcite along x: the Eu mode at 8.65 THz rises to 11.39 past an A2u and an A2g mode, which stay."""
    folder = dft_data("phonons/CaCO3_mp-3953")
    project = read_project(folder)
    assert project.own_nac is not None
    phonons = gamma_phonons(project.phonon, with_parameters(project, project.own_nac), [[1, 0, 0]])
    (along,) = phonons.along
    reference = json.loads((folder / "reference.json").read_text())
    np.testing.assert_allclose(along.frequencies, reference["gamma_nac_THz"]["100"], atol=2e-5)
    polar = [k for k in range(30) if phonons.splitting(along)[k] > 0.01]
    assert {phonons.labels[k] for k in polar} == {"Eu"}
    risen = int(np.argmin(abs(along.frequencies[along.partner] - 11.393)))
    assert phonons.modes.frequencies[risen] == pytest.approx(8.654, abs=1e-3)
    assert along.overlap[risen] > 0.8
    between = [k for k in range(30) if 8.66 < phonons.modes.frequencies[k] < 11.39]
    assert [phonons.labels[k] for k in between] == ["A2u", "A2g"]
    np.testing.assert_allclose(phonons.splitting(along)[between], 0, atol=1e-3)


def test_a_supercell_as_unit_cell_gives_the_same(salt: Project, tmp_path: Path) -> None:
    atoms = crystals.rocksalt(cubic=True)[[5, 0, 3, 7, 1, 6, 2, 4]]
    project = read_project(write_project(tmp_path, spring_phonon(atoms, (1, 1, 1)), "params"))
    assert (len(project.phonon.unitcell), len(project.phonon.primitive)) == (8, 2)
    frequencies = [limit_at_gamma(with_nac(p, salt_charges(p), 2.4 * np.eye(3)), [1, 1, 0])[0] for p in (salt, project)]
    np.testing.assert_allclose(frequencies[0][3:], frequencies[1][3:], atol=1e-5)


def test_imaginary_modes_are_named() -> None:
    phonon = spring_phonon(crystals.rocksalt())
    phonon.force_constants = -phonon.force_constants
    phonons = gamma_phonons(phonon, None)
    np.testing.assert_array_equal(np.sort(phonons.imaginary), [0, 1, 2])  # ascending: imaginary ones come first


def test_why_nac_is_inactive() -> None:
    z = np.zeros((2, 3, 3))
    assert inactive_reason(z) == "all Born charges are below 0.001 e"
    z[0, 0, 1] = -0.5
    assert inactive_reason(z) is None


def test_directions() -> None:
    np.testing.assert_allclose(parse_direction("1 0 0"), [1, 0, 0])
    np.testing.assert_allclose(parse_direction("1,-1/2, 0"), np.array([2, -1, 0]) / np.sqrt(5))
    for text in ("1 0", "a b c", "1/0 0 0"):
        with pytest.raises(InputError, match="not three numbers"):
            parse_direction(text)
    with pytest.raises(InputError, match="at q = 0 itself there is no NAC"):
        parse_direction("0 0 0")


def test_without_a_direction_there_is_no_splitting(salt: Project) -> None:
    polar = with_nac(salt, salt_charges(salt), 2.4 * np.eye(3))
    np.testing.assert_allclose(limit_at_gamma(polar, None)[0], limit_at_gamma(salt.phonon, [1, 0, 0])[0], atol=1e-6)


def test_matching_finds_a_permutation() -> None:
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(12, 12)) + 1j * rng.normal(size=(12, 12)))[0].reshape(12, 4, 3)
    order = rng.permutation(12)
    phases = np.exp(2j * np.pi * rng.random(12))[:, None, None]
    found, overlap = match(basis[order], basis * phases)
    np.testing.assert_array_equal(found, order)
    np.testing.assert_allclose(overlap, 1)


def test_bands_meet_at_gamma_what_the_table_says(salt: Project) -> None:
    polar = with_nac(salt, salt_charges(salt), 2.4 * np.eye(3))
    bands = band_structure(polar, points=9)
    assert bands[0].labels == ("G", "X")
    labels = [segment.labels for segment in bands]
    assert ("X", "W") in labels
    assert ("U", "X") in labels
    expected = limit_at_gamma(polar, [1, 0, 0])[0]
    for segment in bands:
        if "G" in segment.labels:
            end = 0 if segment.labels[0] == "G" else -1
            np.testing.assert_allclose(segment.frequencies[end][3:], expected[3:], atol=1e-4)
        # Special points are those of this very cell: fcc X lies at 1/a, W at sqrt(5)/2/a from Gamma.
        for name, place in zip(segment.labels, segment.qpoints[[0, -1]], strict=True):
            length = np.linalg.norm(np.linalg.inv(polar.primitive.cell) @ place) * 5.640
            known = {"G": 0.0, "X": 1.0, "W": np.sqrt(5) / 2, "L": np.sqrt(3) / 2}
            assert length == pytest.approx(known.get(name, length), abs=1e-9)

"""Infrared response against closed forms, phonopy, DFPT and the mathematics of causal functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import phonopy
import pytest
from scipy.optimize import brentq
from tests import crystals
from tests.response.ionic_crystals import Diatomic, random_crystal, springs

from voigt.errors import InputError
from voigt.response.phonons.infrared_modes import (
    DEBYE,
    KM_PER_MOL,
    Infrared,
    infrared,
    ionic_permittivity,
)
from voigt.response.phonons.longitudinal_modes import is_axis, longitudinal, longitudinal_frequencies
from voigt.response.phonons.modes import acoustic, gamma_force_constants, gamma_modes, irreps, modes_of
from voigt.response.phonons.nac import optical_limit
from voigt.response.phonons.project import Project, read_project, unit_cell
from voigt.response.phonons.spectra import (
    distinct_directions,
    frequency_grid,
    parse_linewidth,
    permittivity,
    reflectivity,
    spectrum,
)
from voigt.response.phonons.tensors import with_parameters
from voigt.writers.infrared import table

X, Z = [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]


@pytest.fixture(scope="module")
def diatomic() -> Infrared:
    crystal = Diatomic()
    return infrared(crystal.modes(), crystal.born, crystal.eps_inf)


@pytest.fixture(scope="module")
def nameless() -> Infrared:
    phi, masses, born, eps, volume = random_crystal(1)
    return infrared(modes_of(phi, masses, volume), born, eps)


@pytest.fixture(scope="module")
def project(dft_data: Callable[[str], Path]) -> Callable[[str], Project]:
    """A project of the phonon data set, read once."""
    kept: dict[str, Project] = {}

    def read(name: str) -> Project:
        if name not in kept:
            kept[name] = read_project(dft_data(f"phonons/{name}"))
        return kept[name]

    return read


def of(project: Project) -> Infrared:
    """Response with the project's own DFPT charges."""
    assert project.own_nac is not None
    modes = gamma_modes(project.phonon)
    return infrared(modes, project.own_nac["born"], project.own_nac["dielectric"], irreps(project.phonon, modes))


def test_diatomic_crystal_in_closed_form(diatomic: Infrared) -> None:
    crystal = Diatomic()
    assert [entry.kind for entry in diatomic.sets] == ["acoustic", "optical"]
    np.testing.assert_allclose(diatomic.eps_ionic, crystal.eps_ionic * np.eye(3), atol=1e-9)
    np.testing.assert_allclose(diatomic.eps_0, (crystal.eps_ionic + crystal.eps) * np.eye(3), atol=1e-9)
    for direction in (X, [1, 2, -0.3]):
        found = longitudinal_frequencies(diatomic, direction)
        np.testing.assert_allclose(found, [crystal.transverse] * 2 + [crystal.longitudinal], rtol=1e-9)


def test_effective_charge_and_intensity_of_the_diatomic_crystal(diatomic: Infrared) -> None:
    """Z_m = Z / sqrt(mu); 42.2561 km/mol per (D/Angstrom)^2/amu is the factor of quantum chemistry."""
    crystal = Diatomic()
    reduced = crystal.masses.prod() / crystal.masses.sum()
    np.testing.assert_allclose(np.linalg.norm(diatomic.charges[3:], axis=1), crystal.charge / np.sqrt(reduced))
    np.testing.assert_allclose(diatomic.charges[:3], 0, atol=1e-12)
    np.testing.assert_allclose(diatomic.optical[0].strength, crystal.charge**2 / reduced * np.eye(3), atol=1e-12)
    assert pytest.approx(4.80320, abs=1e-5) == DEBYE
    assert pytest.approx(42.2561, abs=2e-4) == KM_PER_MOL
    assert diatomic.optical[0].intensity == pytest.approx(3 * crystal.charge**2 / reduced * 4.80320**2, rel=1e-5)


def test_relation_of_lyddane_sachs_and_teller_is_exact(diatomic: Infrared) -> None:
    crystal = Diatomic()
    found = longitudinal(diatomic, [1, 1, 1])
    expected = (crystal.longitudinal / crystal.transverse) ** 2
    assert found.reason is None
    assert (found.product, found.ratio) == (pytest.approx(expected), pytest.approx(expected))
    np.testing.assert_allclose(found.transverse, [crystal.transverse])
    np.testing.assert_allclose(found.longitudinal, [crystal.longitudinal])


def test_chain_has_one_active_direction() -> None:
    """A diatomic chain along z, held sideways by springs that connect unlike and carry no charge of their own."""
    phi = springs([(0, 1, np.diag([1.0, 1.0, 6.0]))], 2)
    born = np.array([np.diag([0.0, 0.0, 1.3]), np.diag([0.0, 0.0, -1.3])])
    found = infrared(modes_of(phi, [10.0, 40.0], 30.0), born, np.diag([1.5, 1.5, 2.0]))
    sideways, along = found.optical
    assert (sideways.active, along.active) == (False, True)
    assert sideways.intensity < 1e-20
    # 180.951 eV Angstrom is e^2 / eps_0.
    np.testing.assert_allclose(found.eps_ionic, np.diag([0, 0, 1.3**2 * 180.9513 / (30.0 * 6.0)]), rtol=1e-6)
    assert longitudinal(found, X).transverse.size == 0
    np.testing.assert_allclose(longitudinal_frequencies(found, X), found.modes.frequencies[3:])


@pytest.mark.parametrize("seed", range(3))
def test_sum_over_modes_is_the_inverse_of_the_force_constants(seed: int) -> None:
    phi, masses, born, eps, volume = random_crystal(seed)
    found = infrared(modes_of(phi, masses, volume), born, eps)
    np.testing.assert_allclose(found.eps_ionic, ionic_permittivity(phi, born, volume), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.sum([entry.share for entry in found.sets], axis=0), found.eps_ionic)
    assert np.linalg.eigvalsh(found.eps_ionic).min() > 0
    # Isotopes change frequencies but no static response.
    other = infrared(modes_of(phi, masses[::-1] * 2, volume), born, eps)
    assert abs(other.modes.frequencies - found.modes.frequencies).max() > 0.1
    np.testing.assert_allclose(other.eps_ionic, found.eps_ionic, rtol=1e-9, atol=1e-12)


def test_first_index_of_the_charges_is_the_field() -> None:
    """Transposed charges give another crystal: the force that a field exerts is e E.Z, not e Z.E."""
    phi, masses, born, eps, volume = random_crystal(2)
    right, wrong = (infrared(modes_of(phi, masses, volume), z, eps) for z in (born, born.swapaxes(1, 2)))
    field = np.array([0.3, -0.5, 0.8])
    forces = np.einsum("a,iab->ib", field, born).ravel()
    u = np.linalg.pinv(phi.transpose(0, 2, 1, 3).reshape(12, 12), rcond=1e-10) @ forces
    polarization = np.einsum("iab,ib->a", born, u.reshape(4, 3)) * 180.9513 / volume
    np.testing.assert_allclose(right.eps_ionic @ field, polarization, rtol=1e-6)
    assert abs(wrong.eps_ionic @ field - polarization).max() > 0.1
    assert abs(longitudinal_frequencies(right, X) - longitudinal_frequencies(wrong, X)).max() > 0.1


def test_zeros_of_the_permittivity_are_the_longitudinal_frequencies(nameless: Infrared) -> None:
    """Zeros bracketed between the poles of n.eps.n, found without the non-analytical term."""
    n = np.array([0.2, -0.7, 0.4])
    n /= np.linalg.norm(n)
    found = longitudinal(nameless, n)

    def along(frequency: float) -> float:
        return float((n @ permittivity(nameless, [frequency], 0.0)[0] @ n).real)

    brackets = [*found.transverse, found.transverse[-1] * 10]
    zeros = [brentq(along, a * (1 + 1e-9), b * (1 - 1e-9)) for a, b in pairwise(brackets)]
    np.testing.assert_allclose(found.longitudinal, zeros, rtol=1e-8)
    np.testing.assert_allclose(longitudinal_frequencies(nameless, n), zeros, rtol=1e-8)
    assert found.product == pytest.approx(found.ratio)
    assert (found.axis, found.reason) == (False, None)


def test_one_atom_has_no_optical_modes() -> None:
    found = infrared(modes_of(np.zeros((1, 1, 3, 3)), [28.0], 20.0), np.zeros((1, 3, 3)), 12 * np.eye(3))
    assert [(entry.kind, entry.members) for entry in found.sets] == [("acoustic", (0, 1, 2))]
    np.testing.assert_array_equal(found.eps_0, 12 * np.eye(3))
    relation = longitudinal(found, X)
    assert (len(relation.transverse), relation.product, relation.ratio) == (0, 1.0, 1.0)
    assert len(table(found)) == 3


def test_degenerate_modes_may_be_rotated(diatomic: Infrared) -> None:
    crystal = Diatomic()
    rotation = crystals.random_rotation(4)
    modes = crystal.modes()
    mixed = modes.eigenvectors.copy()
    mixed[3:] = np.einsum("mn,nia->mia", rotation, modes.eigenvectors[3:])
    other = infrared(replace(modes, eigenvectors=mixed), crystal.born, crystal.eps_inf)
    assert abs(other.charges - diatomic.charges).max() > 0.1
    for a, b in zip(other.sets, diatomic.sets, strict=True):
        np.testing.assert_allclose(a.strength, b.strength, atol=1e-12)
        np.testing.assert_allclose(a.share, b.share, atol=1e-12)
        assert a.intensity == pytest.approx(b.intensity, abs=1e-12)
    grid = np.linspace(0, 20, 50)
    np.testing.assert_allclose(permittivity(other, grid, 0.3), permittivity(diatomic, grid, 0.3), atol=1e-10)


def test_response_turns_with_the_crystal(nameless: Infrared) -> None:
    phi, masses, born, eps, volume = random_crystal(1)
    rotation = crystals.random_rotation(5, determinant=-1)

    def turn(tensor: np.ndarray) -> np.ndarray:
        return rotation @ tensor @ rotation.T

    other = infrared(modes_of(turn(phi), masses, volume), turn(born), turn(eps))
    np.testing.assert_allclose(other.eps_0, turn(nameless.eps_0), atol=1e-9)
    np.testing.assert_allclose([e.intensity for e in other.sets], [e.intensity for e in nameless.sets], atol=1e-9)


def test_supercell_has_the_same_permittivity() -> None:
    """Two cells side by side: springs inside the pairs, and between pairs ones that both have twice in one cell."""
    inside, between = np.diag([4.0, 5.0, 6.0]), np.diag([1.0, 2.0, 0.5])
    born = np.array([np.eye(3), -np.eye(3)]) * 1.4
    single = infrared(modes_of(springs([(0, 1, inside), (1, 0, between)], 2), [20.0, 30.0], 40.0), born, 2 * np.eye(3))
    pairs = [(0, 1, inside), (1, 2, between), (2, 3, inside), (3, 0, between)]
    double = infrared(
        modes_of(springs(pairs, 4), [20.0, 30.0, 20.0, 30.0], 80.0), np.tile(born, (2, 1, 1)), 2 * np.eye(3)
    )
    np.testing.assert_allclose(double.eps_ionic, single.eps_ionic, rtol=1e-9, atol=1e-12)
    grid = np.linspace(0, 15, 30)
    np.testing.assert_allclose(permittivity(double, grid, 0.2), permittivity(single, grid, 0.2), atol=1e-9)


def test_imaginary_modes_are_named_counted_and_left_out() -> None:
    crystal = Diatomic()
    phi = crystal.force_constants * np.diag([-1.0, 1.0, 1.0])
    found = infrared(modes_of(phi, crystal.masses, crystal.volume), crystal.born, crystal.eps_inf)
    (bad,) = found.excluded
    assert bad.members == (0,)
    assert bad.frequency == pytest.approx(-crystal.transverse)
    assert [note.kind for note in found.notes] == ["unstable_modes"]
    (sentence,) = found.warnings
    assert sentence.startswith("1 optical mode with imaginary")
    assert f"mode 1 at {crystal.transverse:.2f}i THz" in sentence
    np.testing.assert_allclose(found.eps_ionic, np.diag([0, crystal.eps_ionic, crystal.eps_ionic]), atol=1e-9)
    along = longitudinal(found, X)
    assert along.reason is not None
    assert np.isnan(along.product)


def test_a_mode_at_zero_does_not_make_the_permittivity_infinite() -> None:
    crystal = Diatomic()
    phi = crystal.force_constants * np.diag([0.0, 1.0, 1.0])
    found = infrared(modes_of(phi, crystal.masses, crystal.volume), crystal.born, crystal.eps_inf)
    assert [len(entry.members) for entry in found.excluded] == [1]
    np.testing.assert_allclose(found.eps_ionic, np.diag([0, crystal.eps_ionic, crystal.eps_ionic]), atol=1e-9)
    assert "vanishing" in found.warnings[0]


def test_charges_that_break_the_sum_rule_are_told() -> None:
    crystal = Diatomic()
    found = infrared(crystal.modes(), crystal.born + 0.1 * np.eye(3), crystal.eps_inf)
    assert any("sum to 0.2 e" in sentence for sentence in found.warnings)


def test_permittivity_is_causal(nameless: Infrared) -> None:
    """Kramers and Kronig at several frequencies, and the f-sum rule: int w Im eps dw = pi/2 e^2/(eps_0 V) sum Z^2/M."""
    # tan(x) grid: dense at the modes, far tails.
    x = np.linspace(0, np.pi / 2, 40_001)[1:-1]
    grid, weight = 8 * np.tan(x), 8 / np.cos(x) ** 2 * (x[1] - x[0])
    imaginary = permittivity(nameless, grid, 0.6).imag
    assert np.linalg.eigvalsh(imaginary[::100]).min() >= 0
    for frequency in (0.0, 3.7, 11.0):
        # The singularity is taken off by a function whose principal value vanishes.
        at = permittivity(nameless, [frequency], 0.6)[0]
        numerator = grid[:, None, None] * imaginary - frequency * at.imag
        integral = (numerator / (grid**2 - frequency**2)[:, None, None] * weight[:, None, None]).sum(axis=0)
        np.testing.assert_allclose(at.real - nameless.eps_inf, 2 / np.pi * integral, atol=2e-3)
    _, masses, born, _, volume = random_crystal(1)
    # (e^2/amu)/(eps_0 Angstrom^3) = 180.9513 eV Angstrom with 15.633302 THz = sqrt(eV/(amu A^2)) / 2 pi.
    squared = np.einsum("iab,icb,i->ac", born, born, 1 / masses) * 180.9513 / volume * 15.633302**2
    integral = (grid[:, None, None] * imaginary * weight[:, None, None]).sum(axis=0)
    # The tail beyond the grid is Gamma w_p^2 / w_max.
    np.testing.assert_allclose(integral, np.pi / 2 * squared, rtol=1e-3)


def test_static_and_fast_limits(nameless: Infrared) -> None:
    np.testing.assert_allclose(permittivity(nameless, [0.0], 0.5)[0], nameless.eps_0, atol=1e-12)
    np.testing.assert_allclose(permittivity(nameless, [1e5], 0.5)[0], nameless.eps_inf, atol=1e-5)


def test_linewidth_is_the_full_width_of_the_peak(diatomic: Infrared) -> None:
    crystal = Diatomic()
    width = 0.02
    grid = crystal.transverse + np.array([-width / 2, 0.0, width / 2])
    peak = permittivity(diatomic, grid, width)[:, 0, 0].imag
    np.testing.assert_allclose(peak[[0, 2]] / peak[1], 0.5, rtol=5e-3)
    # One width for each set is the same as one for all; another width for another set is seen.
    np.testing.assert_array_equal(permittivity(diatomic, grid, [width])[:, 0, 0].imag, peak)


def test_every_mode_may_have_its_own_linewidth(nameless: Infrared) -> None:
    count = len(nameless.optical)
    widths = np.full(count, 0.1)
    widths[-1] = 0.4
    mode = nameless.optical[-1]
    top = [mode.frequency]
    ratio = permittivity(nameless, top, 0.1).imag[0, 0, 0] / permittivity(nameless, top, widths).imag[0, 0, 0]
    assert 3 < ratio < 4.05
    with pytest.raises(InputError, match=f"one linewidth or {count}"):
        permittivity(nameless, top, [0.1, 0.2])
    with pytest.raises(InputError, match="not negative"):
        permittivity(nameless, top, -0.1)
    with pytest.raises(InputError, match="hits a mode"):
        permittivity(nameless, top, 0.0)


def test_reststrahlen_band(diatomic: Infrared) -> None:
    """Without damping light is reflected totally between TO and LO, and not at all where eps = 1."""
    crystal = Diatomic()
    inside = np.linspace(crystal.transverse * 1.001, crystal.longitudinal * 0.999, 20)
    found = spectrum(diatomic, [*inside, crystal.longitudinal * 4], 0.0, [X])
    np.testing.assert_allclose(found.reflectivity[:-1, 0], 1.0, atol=1e-6)
    assert found.reflectivity[-1, 0] < 0.1
    unity = crystal.transverse * np.sqrt(1 + crystal.eps_ionic / (crystal.eps - 1))
    assert spectrum(diatomic, [unity], 0.0, [X]).reflectivity[0, 0] < 1e-12
    assert reflectivity(2.25) == pytest.approx(0.04)  # glass


def test_loss_peaks_at_the_longitudinal_frequency_and_absorption_at_the_transverse(diatomic: Infrared) -> None:
    crystal = Diatomic()
    grid = np.linspace(0, 2 * crystal.longitudinal, 20001)
    found = spectrum(diatomic, grid, 0.01, [X, [1, 1, 0]])
    assert grid[found.loss[:, 1].argmax()] == pytest.approx(crystal.longitudinal, abs=2e-3)
    assert grid[found.along[:, 0].imag.argmax()] == pytest.approx(crystal.transverse, abs=2e-3)
    assert found.absorption[0, 0] == 0.0
    # alpha = 4 pi k / lambda in the middle of the band: eps is nearly real there, so k = sqrt(-eps).
    middle = int(np.searchsorted(grid, (crystal.transverse + crystal.longitudinal) / 2))
    wavelength = 2.99792458e10 / (grid[middle] * 1e12)  # cm
    k = np.sqrt(-found.along[middle, 0].real)
    assert found.absorption[middle, 0] == pytest.approx(4 * np.pi * k / wavelength, rel=1e-4)


def test_grid_resolves_the_peaks_and_covers_the_bands(diatomic: Infrared) -> None:
    crystal = Diatomic()
    for width in (0.01, 0.5):
        grid = frequency_grid(diatomic, width, np.eye(3))
        assert grid[0] == 0
        assert grid[-1] == pytest.approx(1.25 * crystal.longitudinal)
        assert grid[1] <= width / 5
    assert len(frequency_grid(diatomic, 1e-9, np.eye(3))) <= 20_001


def test_linewidths_in_words() -> None:
    np.testing.assert_allclose(parse_linewidth("10cm-1"), [0.299792458])
    np.testing.assert_allclose(parse_linewidth(" 0.3 THz "), [0.3])
    np.testing.assert_allclose(parse_linewidth("1, 2e0,3THz"), [1, 2, 3])
    for words in ("10", "cm-1", "-1cm-1", "0THz", "nanTHz", "1,,2THz", "10 eV"):
        with pytest.raises(InputError, match="linewidth"):
            parse_linewidth(words)


def test_equivalent_directions_are_told_once(diatomic: Infrared, project: Callable[[str], Project]) -> None:
    axes = [*np.eye(3), [1, 1, 0], [0.5, -1, 0]]
    assert [names for _, names in distinct_directions(diatomic, axes)] == [
        ("[100]", "[010]", "[001]", "[110]", "[0.5 -1 0]")
    ]
    uniaxial = distinct_directions(of(project("HgS_mp-634")), axes)
    assert [names for _, names in uniaxial] == [("[100]", "[010]", "[110]", "[0.5 -1 0]"), ("[001]",)]


def test_tensors_of_another_cell_are_refused() -> None:
    crystal = Diatomic()
    with pytest.raises(InputError, match="primitive cell"):
        infrared(crystal.modes(), np.zeros((3, 3, 3)), np.eye(3))
    with pytest.raises(InputError, match="finite"):
        infrared(crystal.modes(), np.full((2, 3, 3), np.nan), np.eye(3))
    with pytest.raises(InputError, match="positive definite"):
        infrared(crystal.modes(), crystal.born, -np.eye(3))
    with pytest.raises(InputError, match="length zero"):
        longitudinal(infrared(crystal.modes(), crystal.born, crystal.eps_inf), [0, 0, 0])


def test_rock_salt_from_dft(project: Callable[[str], Project]) -> None:
    """Cubic isotropy, one T1u, and the closed form for two atoms with DFPT's numbers."""
    nacl = project("NaCl_mp-22862")
    found = of(nacl)
    assert [(entry.kind, entry.irrep, len(entry.members)) for entry in found.sets] == [
        ("acoustic", "T1u", 3),
        ("optical", "T1u", 3),
    ]
    np.testing.assert_allclose(found.eps_0, found.eps_0[0, 0] * np.eye(3), atol=1e-8)
    charge, frequency = 1.08875538, found.optical[0].frequency
    reduced = 22.98977 * 35.453 / (22.98977 + 35.453)
    expected = charge**2 / reduced * 180.9513 / nacl.phonon.primitive.volume * (15.633302 / frequency) ** 2
    assert found.eps_ionic[0, 0] == pytest.approx(expected, rel=1e-4)


DIRECTIONS = [("NaCl_mp-22862", X), ("HgS_mp-634", X), ("HgS_mp-634", Z), ("HgS_mp-634", [0.3, -0.5, 0.7])]


@pytest.mark.parametrize(("name", "direction"), DIRECTIONS)
def test_longitudinal_frequencies_are_those_of_phonopy(
    project: Callable[[str], Project], name: str, direction: list[float]
) -> None:
    crystal = project(name)
    assert crystal.own_nac is not None
    found = of(crystal)
    phonon = with_parameters(crystal, crystal.own_nac)
    phonon.run_qpoints([[0, 0, 0]], nac_q_direction=phonon.primitive.cell @ direction)
    expected = phonon.qpoints.frequencies[0]
    np.testing.assert_allclose(longitudinal_frequencies(found, direction), expected[3:], atol=2e-5)
    np.testing.assert_allclose(optical_limit(phonon, direction), expected[3:], atol=2e-5)
    product = np.prod((expected[3:] / found.modes.frequencies[~acoustic(found.modes)]) ** 2)
    algebra = longitudinal(found, direction)
    assert algebra.reason is None
    assert algebra.ratio == pytest.approx(product, rel=1e-4)
    assert algebra.product == pytest.approx(algebra.ratio, rel=1e-9)
    checked = longitudinal(found, direction, optical_limit(phonon, direction))
    assert checked.product == pytest.approx(product, rel=1e-5)
    assert checked.product != algebra.product
    with pytest.raises(InputError, match="optical modes"):
        longitudinal(found, direction, expected)


def test_the_relation_finds_frequencies_of_other_tensors(project: Callable[[str], Project]) -> None:
    crystal = project("HgS_mp-634")
    assert crystal.own_nac is not None
    charges = crystal.own_nac["born"]
    for other in (1.05 * charges, charges.transpose(0, 2, 1)):
        polar = with_parameters(crystal, {**crystal.own_nac, "born": other})
        relation = longitudinal(of(crystal), X, optical_limit(polar, X))
        assert abs(relation.product / relation.ratio - 1) > 1e-3


def test_cinnabar_is_uniaxial(project: Callable[[str], Project]) -> None:
    """Point group 32: E modes are polarized across the axis, A2 along it, A1 is silent; all axes across are alike."""
    found = of(project("HgS_mp-634"))
    for entry in found.optical:
        if entry.irrep == "A1":
            assert not entry.active
        elif entry.irrep == "A2":
            assert entry.share[2, 2] > 0
            np.testing.assert_allclose(entry.share[:2], 0, atol=1e-5)  # axes rounded in the file
        else:
            assert entry.share[0, 0] == pytest.approx(entry.share[1, 1], rel=1e-4)
            assert entry.share[2, 2] < 1e-5
    assert {entry.irrep for entry in found.optical} == {"A1", "A2", "E"}
    assert is_axis(found, [0.3, -0.8, 0])
    assert not is_axis(found, [1, 0, 1])
    assert not longitudinal(found, [1, 0, 1]).axis


def test_centrosymmetric_crystal_has_a_raman_mode_that_light_does_not_see(project: Callable[[str], Project]) -> None:
    """Antifluorite Rb2S: T2g is Raman active only, T1u carries everything."""
    crystal = project("Rb2S_mp-8041")
    found = of(crystal)
    raman, polar = found.optical
    assert (raman.irrep, polar.irrep) == ("T2g", "T1u")
    assert raman.intensity < 1e-10
    assert not raman.active
    np.testing.assert_allclose(polar.share, found.eps_ionic, atol=1e-10)
    # The longitudinal frequency of the silent mode is its own.
    np.testing.assert_allclose(longitudinal_frequencies(found, X)[:3], raman.frequency, atol=1e-6)


@pytest.mark.parametrize("name", ["HgS_mp-634", "Rb2S_mp-8041"])
def test_dft_crystals_without_modes(project: Callable[[str], Project], name: str) -> None:
    crystal = project(name)
    assert crystal.own_nac is not None
    direct = ionic_permittivity(
        gamma_force_constants(crystal.phonon), crystal.own_nac["born"], crystal.phonon.primitive.volume
    )
    np.testing.assert_allclose(of(crystal).eps_ionic, direct, rtol=1e-6, atol=1e-8)


def test_conventional_cell_has_the_same_permittivity(project: Callable[[str], Project]) -> None:
    """NaCl described by its cube of eight atoms: modes folded to Gamma from the zone's boundary are silent."""
    crystal = project("NaCl_mp-22862")
    assert crystal.own_nac is not None
    phonon = crystal.phonon
    twin = phonopy.Phonopy(phonon.unitcell, phonon.supercell_matrix, primitive_matrix="P")
    full = phonopy.harmonic.force_constants.compact_fc_to_full_fc(phonon.primitive, phonon.force_constants)
    twin.force_constants = full
    signs = np.where(unit_cell(crystal).numbers == 11, 1.0, -1.0)
    cube = infrared(gamma_modes(twin), signs[:, None, None] * crystal.own_nac["born"][0], crystal.own_nac["dielectric"])
    np.testing.assert_allclose(cube.eps_ionic, of(crystal).eps_ionic, rtol=1e-6, atol=1e-8)
    assert sum(len(entry.members) for entry in cube.sets if entry.active) == 3
    assert len(cube.modes.frequencies) == 24


@pytest.mark.parametrize(("name", "mp_id"), [("ScF3_mp-10694", "mp-10694"), ("BeS_mp-422", "mp-422")])
def test_dfpt_of_another_code_and_functional(
    dft_data: Callable[[str], Path], project: Callable[[str], Project], name: str, mp_id: str
) -> None:
    """Petousis et al., Sci. Data 4, 160134 (2017), with PBE: smaller cells of PBEsol are stiffer by some per cent."""
    key = re.compile(rf'\bid="?{mp_id}"?\s')
    with dft_data("tensors/dielectric.extxyz").open() as stream:
        line = next((line for line in stream if key.search(line) and 'eps_ionic="' in line), None)
    if line is None:
        pytest.skip(f"no label eps_ionic of {mp_id}")
    label = np.array(line.split('eps_ionic="')[1].split('"')[0].split(), dtype=float).reshape(3, 3)
    found = of(project(name)).eps_ionic
    assert np.trace(found) == pytest.approx(np.trace(label), rel=0.1)

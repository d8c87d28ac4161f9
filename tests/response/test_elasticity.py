"""Moduli, stability and sound: measured crystals, closed forms for cubic ones, pymatgen, and other axes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import ortho_group

from voigt.errors import DomainError, InputError
from voigt.response.elasticity import (
    born_stability,
    compliance,
    linear_compressibility,
    moduli,
    youngs_modulus,
)
from voigt.response.sound import christoffel, debye_temperature, mean_sound_velocity, sound_velocities
from voigt.tensors.voigt import elastic_from_voigt, elastic_to_voigt

AXES = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]])


def cubic(c11: float, c12: float, c44: float) -> np.ndarray:
    matrix = np.diag([c11 - c12] * 3 + [c44] * 3).astype(float)
    matrix[:3, :3] += c12
    return elastic_from_voigt(matrix)


def trigonal(c11: float, c12: float, c13: float, c14: float, c33: float, c44: float) -> np.ndarray:
    c66 = (c11 - c12) / 2
    rows = [
        [c11, c12, c13, c14, 0, 0],
        [c12, c11, c13, -c14, 0, 0],
        [c13, c13, c33, 0, 0, 0],
        [c14, -c14, 0, c44, 0, 0],
        [0, 0, 0, 0, c44, c14],
        [0, 0, 0, 0, c14, c66],
    ]
    return elastic_from_voigt(np.array(rows, dtype=float))


def triclinic(seed: int) -> np.ndarray:
    """A stable crystal without any symmetry, far from isotropic."""
    raw = np.random.default_rng(seed).normal(size=(6, 6))
    return elastic_from_voigt(20 * (raw @ raw.T + np.eye(6)))


def rotated(tensor: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.einsum("ia,jb,kc,ld,...abcd->...ijkl", r, r, r, r, tensor, optimize=True)


COPPER = cubic(168.4, 121.4, 75.4)  # Overton and Gaffney, Phys. Rev. 98, 969 (1955), 300 K
SILICON = cubic(165.7, 63.9, 79.6)  # Mason, Physical Acoustics and the Properties of Solids (1958)
MGO = cubic(297.9, 95.8, 154.4)  # Sinogeikin and Bass, Phys. Rev. B 59, R14141 (1999)
QUARTZ = trigonal(86.74, 6.99, 11.91, -17.91, 107.2, 57.94)  # Bechmann, Phys. Rev. 110, 1060 (1958)


def test_compliance_is_the_inverse_on_strains():
    elastic = triclinic(1)
    raw = np.random.default_rng(2).normal(size=(3, 3))
    strain = raw + raw.T
    stress = np.einsum("ijkl,kl->ij", elastic, strain)
    np.testing.assert_allclose(np.einsum("ijkl,kl->ij", compliance(elastic), stress), strain, atol=1e-12)


def test_compliance_of_quartz_as_tabulated():
    # s_IJ in 1e-12 / Pa of Bechmann (1958); a table of s_IJ doubles each shear index.
    doubled = np.array([1, 1, 1, 2, 2, 2])
    table = elastic_to_voigt(compliance(QUARTZ)) * doubled[:, None] * doubled * 1000
    indices = ([0, 0, 0, 0, 2, 3, 5], [0, 1, 2, 3, 2, 3, 5])
    np.testing.assert_allclose(table[indices], [12.77, -1.79, -1.22, 4.50, 9.60, 20.04, 29.12], atol=0.02)


def test_cubic_averages_in_closed_form():
    for c11, c12, c44 in [(168.4, 121.4, 75.4), (165.7, 63.9, 79.6), (50.0, 10.0, 60.0)]:
        found = moduli(cubic(c11, c12, c44))
        zener = 2 * c44 / (c11 - c12)
        bulk = (c11 + 2 * c12) / 3
        np.testing.assert_allclose([found.bulk_voigt, found.bulk_reuss, found.bulk_hill], bulk)
        np.testing.assert_allclose(found.shear_voigt, (c11 - c12 + 3 * c44) / 5)
        np.testing.assert_allclose(found.shear_reuss, 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12)))
        np.testing.assert_allclose(found.universal_anisotropy, 6 / 5 * (np.sqrt(zener) - 1 / np.sqrt(zener)) ** 2)
        ratio = found.shear_voigt / found.shear_reuss
        np.testing.assert_allclose(found.log_euclidean_anisotropy, np.sqrt(5) * np.log(ratio))


def test_isotropic_solid():
    young, poisson = 70.0, 0.33  # Lame constants give the tensor
    shear = young / 2 / (1 + poisson)
    lame = young * poisson / (1 + poisson) / (1 - 2 * poisson)
    elastic = cubic(lame + 2 * shear, lame, shear)
    found = moduli(elastic)
    np.testing.assert_allclose([found.young, found.poisson], [young, poisson])
    np.testing.assert_allclose(found.pugh, 2 * (1 + poisson) / 3 / (1 - 2 * poisson))
    np.testing.assert_allclose([found.universal_anisotropy, found.log_euclidean_anisotropy], 0, atol=1e-12)
    np.testing.assert_allclose(youngs_modulus(elastic, np.random.default_rng(0).normal(size=(5, 3))), young)


def test_measured_polycrystals():
    oxide = moduli(MGO)  # the paper's own Hill averages
    assert oxide.bulk_hill == pytest.approx(163.2, abs=0.1)
    assert oxide.shear_hill == pytest.approx(130.2, abs=0.1)
    copper = moduli(COPPER)  # handbook values of the polycrystal: E 110-130 GPa, nu 0.34-0.35, G 45-48 GPa
    assert 110 < copper.young < 130
    assert copper.poisson == pytest.approx(0.345, abs=0.005)
    # Angel et al., J. Appl. Cryst. 30, 461 (1997), from compression: 37.1 GPa; sound gives a little more.
    assert moduli(QUARTZ).bulk_hill == pytest.approx(37.5, abs=0.6)


@pytest.mark.parametrize("seed", range(5))
def test_pymatgen_agrees_on_triclinic_crystals(seed: int):
    elastic_module = pytest.importorskip("pymatgen.core.elasticity.elastic")
    elastic = triclinic(seed)
    other = elastic_module.ElasticTensor(elastic)
    found = moduli(elastic)
    pairs = [
        (found.bulk_voigt, other.k_voigt),
        (found.bulk_reuss, other.k_reuss),
        (found.bulk_hill, other.k_vrh),
        (found.shear_voigt, other.g_voigt),
        (found.shear_reuss, other.g_reuss),
        (found.shear_hill, other.g_vrh),
        (found.young, other.y_mod / 1e9),
        (found.poisson, other.homogeneous_poisson),
        (found.universal_anisotropy, other.universal_anisotropy),
    ]
    np.testing.assert_allclose(*np.transpose(pairs), rtol=1e-10)
    np.testing.assert_allclose(compliance(elastic), np.array(other.compliance_tensor), atol=1e-14)


def test_pymatgen_agrees_on_sound_and_debye_temperature():
    elastic_module = pytest.importorskip("pymatgen.core.elasticity.elastic")
    from pymatgen.core import Lattice, Structure

    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.212), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    other = elastic_module.ElasticTensor(MGO)
    found = sound_velocities(MGO, crystal.density * 1000)
    np.testing.assert_allclose(found.longitudinal, other.long_v(crystal), rtol=1e-6)
    np.testing.assert_allclose(found.transverse, other.trans_v(crystal), rtol=1e-6)
    temperature = debye_temperature(found.mean, len(crystal) / crystal.volume)
    np.testing.assert_allclose(temperature, other.debye_temperature(crystal), rtol=1e-6)


def test_young_of_copper_and_silicon_by_direction():
    # Simmons and Wang (1971); Hopcroft, Nix and Kenny, J. Microelectromech. Syst. 19, 229 (2010)
    np.testing.assert_allclose(youngs_modulus(COPPER, AXES), [66.7, 130.3, 191.1], atol=0.1)
    np.testing.assert_allclose(youngs_modulus(SILICON, AXES), [130, 169, 188], atol=0.5)


def test_young_of_cubic_crystals_in_closed_form():
    c11, c12, c44 = 168.4, 121.4, 75.4
    s11 = (c11 + c12) / (c11 - c12) / (c11 + 2 * c12)
    s12 = -c12 / (c11 - c12) / (c11 + 2 * c12)
    n = np.random.default_rng(3).normal(size=(2, 4, 3))
    cosines = n / np.linalg.norm(n, axis=-1, keepdims=True)
    products = (cosines**2 * np.roll(cosines, 1, axis=-1) ** 2).sum(axis=-1)
    expected = 1 / (s11 - 2 * (s11 - s12 - 1 / c44 / 2) * products)  # Nye, chapter VIII
    np.testing.assert_allclose(youngs_modulus(COPPER, n), expected)


def test_linear_compressibility_is_the_strain_under_pressure():
    elastic = triclinic(4)
    strain = np.linalg.solve(elastic_to_voigt(elastic), [1, 1, 1, 0, 0, 0])
    np.testing.assert_allclose(linear_compressibility(elastic, np.eye(3)), strain[:3])
    axes = ortho_group.rvs(3, random_state=1)
    np.testing.assert_allclose(1 / linear_compressibility(elastic, axes).sum(), moduli(elastic).bulk_reuss)


def test_born_criteria_of_cubic_crystals():
    assert born_stability(COPPER).stable
    sheared = born_stability(cubic(100, 120, 50))  # C11 < C12: tetragonal shear
    assert not sheared.stable
    assert sheared.smallest_eigenvalue == pytest.approx(-20)
    assert np.trace(sheared.mode) == pytest.approx(0)
    np.testing.assert_allclose(sheared.mode, np.diag(np.diag(sheared.mode)), atol=1e-12)
    twisted = born_stability(cubic(100, 50, -5))  # C44 < 0: shear of the cube axes
    assert twisted.smallest_eigenvalue == pytest.approx(-10)
    np.testing.assert_allclose(np.diag(twisted.mode), 0, atol=1e-12)
    burst = born_stability(cubic(10, -6, 50))  # C11 + 2 C12 < 0: volume
    np.testing.assert_allclose(burst.mode, np.eye(3) / np.sqrt(3), atol=1e-12)
    assert burst.smallest_eigenvalue == pytest.approx(-2)


def test_born_criteria_of_trigonal_crystals():
    """The inequalities of Mouhat and Coudert (2014) for the rhombohedral (I) class, on random constants."""
    rng = np.random.default_rng(5)
    samples = rng.uniform([20, -60, -60, -40, 20, -5], [120, 90, 90, 40, 120, 60], size=(400, 6))
    c11, c12, c13, c14, c33, c44 = samples.T
    expected = (c11 > np.abs(c12)) & (c44 > 0) & (c13**2 < c33 * (c11 + c12) / 2) & (c14**2 < c44 * (c11 - c12) / 2)
    assert 50 < expected.sum() < 350
    found = born_stability(np.stack([trigonal(*sample) for sample in samples]))
    np.testing.assert_array_equal(found.stable, expected)


def test_energy_of_the_softest_mode():
    elastic = triclinic(6)
    found = born_stability(elastic)
    np.testing.assert_allclose(found.mode, found.mode.T)
    assert np.linalg.norm(found.mode) == pytest.approx(1)
    energy = np.einsum("ij,ijkl,kl->", found.mode, elastic, found.mode)
    assert energy == pytest.approx(found.smallest_eigenvalue)
    raw = np.random.default_rng(7).normal(size=(500, 3, 3))
    strains = raw + raw.swapaxes(1, 2)
    strains /= np.linalg.norm(strains, axis=(1, 2), keepdims=True)
    assert np.einsum("nij,ijkl,nkl->n", strains, elastic, strains).min() > energy


def test_softest_mode_has_a_sign():
    modes = born_stability(np.stack([triclinic(seed) for seed in range(20)])).mode.reshape(20, 9)
    assert (modes.max(axis=1) == np.abs(modes).max(axis=1)).all()


def test_waves_in_cubic_crystals():
    """Kittel, Introduction to Solid State Physics, chapter 3."""
    c11, c12, c44, density = 165.7, 63.9, 79.6, 2329.0
    waves = christoffel(SILICON, density, AXES)
    expected = [
        [c44, c44, c11],
        [(c11 - c12) / 2, c44, (c11 + c12 + 2 * c44) / 2],
        [(c11 - c12 + c44) / 3] * 2 + [(c11 + 2 * c12 + 4 * c44) / 3],
    ]
    np.testing.assert_allclose(density * waves.velocities**2 / 1e9, expected)
    np.testing.assert_allclose(waves.velocities[0], [5843, 5843, 8433], rtol=1e-3)  # handbooks: 5.84, 8.43 km/s
    along_110 = np.array([[1, -1, 0], [0, 0, np.sqrt(2)], [1, 1, 0]]) / np.sqrt(2)
    np.testing.assert_allclose(np.abs(waves.polarizations[1] @ along_110.T), np.eye(3), atol=1e-12)


def test_waves_obey_the_equation_of_motion():
    elastic, density = triclinic(8), 4000.0
    n = np.random.default_rng(9).normal(size=3)
    n /= np.linalg.norm(n)
    waves = christoffel(elastic, density, 7 * n)
    assert waves.velocities.shape == (3,)
    assert (np.diff(waves.velocities) > 0).all()
    for velocity, u in zip(waves.velocities, waves.polarizations, strict=True):
        strain = (np.outer(u, n) + np.outer(n, u)) / 2  # of a plane wave, per wave number
        traction = np.einsum("ijkl,kl->ij", elastic, strain) @ n
        np.testing.assert_allclose(traction * 1e9, density * velocity**2 * u, rtol=1e-8, atol=1e-3)


def test_debye_temperature_of_copper_and_silicon():
    """Near 0 K the elastic and the calorimetric value are one: 344 K and 645 K."""
    # Overton and Gaffney (1955), 4 K; Hall, Phys. Rev. 161, 756 (1967), 4 K
    copper, silicon = cubic(176.2, 124.9, 81.8), cubic(167.5, 64.9, 79.6)
    per_volume = 4 / 3.603**3
    velocity = mean_sound_velocity(copper, 63.546 * 1660.539 * per_volume)
    assert debye_temperature(velocity, per_volume) == pytest.approx(344, abs=2)
    per_volume = 8 / 5.430**3
    velocity = mean_sound_velocity(silicon, 28.0855 * 1660.539 * per_volume)
    assert debye_temperature(velocity, per_volume) == pytest.approx(645, abs=4)


def test_mean_velocity_against_random_directions():
    elastic, density = cubic(100.0, 80.0, 60.0), 5000.0  # Zener ratio 6
    n = np.random.default_rng(10).normal(size=(40_000, 3))
    slowness = (christoffel(elastic, density, n).velocities ** -3.0).mean()
    np.testing.assert_allclose(mean_sound_velocity(elastic, density), slowness ** (-1 / 3), rtol=3e-3)
    turned = rotated(elastic, ortho_group.rvs(3, random_state=2))
    np.testing.assert_allclose(mean_sound_velocity(turned, density), mean_sound_velocity(elastic, density), rtol=1e-6)
    isotropic = cubic(100.0, 40.0, 30.0)
    np.testing.assert_allclose(mean_sound_velocity(isotropic, density), sound_velocities(isotropic, density).mean)


@pytest.mark.parametrize("seed", range(3))
def test_other_axes(seed: int):
    r = ortho_group.rvs(3, random_state=seed)
    elastic = triclinic(seed + 20)
    turned = rotated(elastic, r)
    for field in dataclasses.fields(moduli(elastic)):
        one, other = (getattr(moduli(tensor), field.name) for tensor in (elastic, turned))
        np.testing.assert_allclose(other, one, rtol=1e-9, err_msg=field.name)
    before, after = born_stability(elastic), born_stability(turned)
    np.testing.assert_allclose(after.smallest_eigenvalue, before.smallest_eigenvalue)
    np.testing.assert_allclose(abs(np.vdot(after.mode, r @ before.mode @ r.T)), 1)
    np.testing.assert_allclose(compliance(turned), rotated(compliance(elastic), r), atol=1e-12)
    n = np.random.default_rng(seed).normal(size=(4, 3))
    np.testing.assert_allclose(youngs_modulus(turned, n @ r.T), youngs_modulus(elastic, n))
    np.testing.assert_allclose(linear_compressibility(turned, n @ r.T), linear_compressibility(elastic, n))
    before, after = christoffel(elastic, 3000.0, n), christoffel(turned, 3000.0, n @ r.T)
    np.testing.assert_allclose(after.velocities, before.velocities)
    overlap = np.einsum("dmi,ij,dmj->dm", after.polarizations, r, before.polarizations)
    np.testing.assert_allclose(np.abs(overlap), 1)


def test_many_crystals_at_once():
    crystals = np.stack([COPPER, SILICON, QUARTZ, triclinic(30)]).reshape(2, 2, 3, 3, 3, 3)
    many = moduli(crystals)
    assert many.young.shape == (2, 2)
    assert many.young[1, 0] == pytest.approx(moduli(QUARTZ).young)
    assert born_stability(crystals).mode.shape == (2, 2, 3, 3)
    assert youngs_modulus(crystals, AXES).shape == (2, 2, 3)
    np.testing.assert_allclose(youngs_modulus(crystals, AXES)[0, 1], youngs_modulus(SILICON, AXES))
    waves = christoffel(crystals, 3000.0, AXES)
    assert waves.polarizations.shape == (2, 2, 3, 3, 3)
    np.testing.assert_allclose(waves.velocities[1, 0], christoffel(QUARTZ, 3000.0, AXES).velocities)
    assert mean_sound_velocity(crystals, 3000.0)[0, 0] == pytest.approx(mean_sound_velocity(COPPER, 3000.0))
    assert isinstance(moduli(COPPER).young, float)
    assert isinstance(youngs_modulus(COPPER, [0, 0, 1]), float)


def test_numerical_noise_in_the_index_symmetry_is_averaged():
    noise = np.random.default_rng(11).normal(size=(3, 3, 3, 3))
    parts = [noise - noise.transpose(order) for order in ((1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1))]
    parts[2] = (parts[2] + parts[2].transpose(1, 0, 2, 3)) / 2
    parts[2] = (parts[2] + parts[2].transpose(0, 1, 3, 2)) / 2
    np.testing.assert_allclose(compliance(QUARTZ + 0.1 * sum(parts)), compliance(QUARTZ), atol=1e-12)


def test_what_cannot_be_answered():
    with pytest.raises(InputError, match="elastic_from_voigt"):
        moduli(np.eye(6))
    with pytest.raises(InputError, match="not finite"):
        moduli(np.full((3, 3, 3, 3), np.nan))
    soft = np.stack([COPPER, cubic(100, 120, 50)])
    with pytest.raises(DomainError, match=r"1 of 2 .* -20 GPa.*born_stability"):
        moduli(soft)
    compliance(soft)  # exists all the same
    with pytest.raises(DomainError, match="singular"):
        compliance(cubic(100, 100, 50))
    with pytest.raises(DomainError, match="no sound"):
        christoffel(cubic(100, 120, 50), 1000.0, [1, 1, 0])
    with pytest.raises(InputError, match="density"):
        sound_velocities(COPPER, 0.0)
    with pytest.raises(InputError, match="density"):
        christoffel(COPPER, -1.0, [1, 0, 0])
    with pytest.raises(InputError, match="length zero"):
        youngs_modulus(COPPER, [[1, 0, 0], [0, 0, 0]])
    with pytest.raises(InputError, match=r"not of shape \(2,\)"):
        youngs_modulus(COPPER, [1, 0])

"""Infrared spectra of trajectories against harmonic closed forms and against other ways to compute them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase import units
from scipy import constants, signal
from tests import crystals

from voigt.errors import InputError
from voigt.response.arrays import neutralized
from voigt.response.field.trajectory_spectra import TrajectorySpectrum, trajectory_spectrum

TEMPERATURE = 300.0
LIGHT = constants.c * 100 * constants.femto  # cm/fs


def born(atoms: ase.Atoms, seed: int = 0) -> np.ndarray:
    return neutralized(np.random.default_rng(seed).normal(size=(len(atoms), 3, 3)))


def eigenvectors(atoms: ase.Atoms, seed: int = 1) -> np.ndarray:
    """(3 n - 3, n, 3) orthonormal in mass-weighted coordinates and free of translations: modes of some crystal."""
    roots = np.sqrt(atoms.get_masses())
    translations = np.array([np.outer(roots, axis).ravel() for axis in np.eye(3)]) / np.linalg.norm(roots)
    random = np.random.default_rng(seed).normal(size=(3 * len(atoms), 3 * len(atoms) - 3))
    basis, _ = np.linalg.qr(np.concatenate([translations.T, random], axis=1))
    return basis.T[3:].reshape(-1, len(atoms), 3)


def mode_charges(atoms: ase.Atoms, z: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """(M, 3) sum_a Z[a, i, j] e_m[a, j] / sqrt(m_a): Gonze and Lee (1997), mode effective charge per sqrt(amu)."""
    return np.einsum("aij,maj,a->mi", z, modes, atoms.get_masses() ** -0.5)


def harmonic(
    atoms: ase.Atoms, modes: np.ndarray, wavenumbers: list[float], time_step: float, count: int
) -> Iterator[ase.Atoms]:
    """Modes that swing with <(dQ/dt)^2> = kT each, as classical equipartition has it; velocities as ASE keeps them."""
    root_masses = np.sqrt(atoms.get_masses())[:, None]
    speeds = 2 * np.pi * LIGHT * np.array(wavenumbers)  # rad/fs
    top = np.sqrt(2 * units.kB * TEMPERATURE) * units.fs  # sqrt(amu) A/fs: largest dQ/dt
    phases = np.arange(len(wavenumbers)) * 1.3
    for step in range(count):
        angle = speeds * time_step * step + phases
        frame = atoms.copy()
        frame.positions += np.tensordot(top / speeds * np.sin(angle), modes, 1) / root_masses
        frame.set_velocities(np.tensordot(top * np.cos(angle), modes, 1) / root_masses / units.fs)
        yield frame


def closed_form(charge: np.ndarray, volume: float) -> np.ndarray:
    """Integral of n alpha over wavenumbers (1/cm) of one mode: e^2 Z_i Z_j / (4 eps0 c^2 V) in 1/cm^2."""
    per_mass = constants.e**2 * np.outer(charge, charge) / constants.atomic_mass
    return per_mass / (4 * constants.epsilon_0 * constants.c**2 * volume * constants.angstrom**3) / 100**2


@pytest.fixture
def atoms() -> ase.Atoms:
    return crystals.nameless()


@pytest.mark.parametrize("source", ["velocities", "positions"])
def test_one_mode_peaks_where_it_is_with_its_strength(atoms: ase.Atoms, source: str) -> None:
    z, mode = born(atoms), eigenvectors(atoms)[:1]
    charge = mode_charges(atoms, z, mode)[0]
    frames = harmonic(atoms, mode, [412.0], 2.0, 4000)
    found = trajectory_spectrum(frames, z, 2.0, resolution=10, temperature=TEMPERATURE, source=source)
    assert found.wavenumbers[found.isotropic.argmax()] == pytest.approx(412.0, abs=found.spacing)
    assert found.spacing < found.resolution / 2
    assert found.resolution == pytest.approx(10, rel=0.01)
    assert found.frequencies[found.isotropic.argmax()] == pytest.approx(412.0 * 0.0299792458, rel=0.01)
    np.testing.assert_allclose(found.strength(350, 470), np.outer(charge, charge), rtol=0.01, atol=1e-5)
    band = (found.wavenumbers > 350) & (found.wavenumbers < 470)
    integral = found.n_alpha[band].sum(axis=0) * found.spacing
    np.testing.assert_allclose(integral, closed_form(charge, atoms.get_volume()), rtol=0.01, atol=1e-2)
    np.testing.assert_allclose(found.isotropic, np.trace(found.n_alpha, axis1=1, axis2=2) / 3)
    assert abs(found.n_alpha[~band]).max() < 1e-3 * found.isotropic.max()


def test_fast_modes_keep_their_strength_when_velocities_are_differences(atoms: ase.Atoms) -> None:
    """5 fs between frames and 2800 1/cm: 12 fs a period, whose differences lose half of the intensity."""
    z, mode = born(atoms), eigenvectors(atoms)[:1]
    charge = mode_charges(atoms, z, mode)[0]
    frames = harmonic(atoms, mode, [2800.0], 5.0, 3000)
    found = trajectory_spectrum(frames, z, 5.0, temperature=TEMPERATURE, source="positions")
    np.testing.assert_allclose(found.strength(2700, 2900), np.outer(charge, charge), rtol=0.02, atol=1e-4)
    assert np.sinc(2800 * LIGHT * 5.0) ** 2 < 0.6


def test_intensities_of_two_modes_go_as_their_charges_squared(atoms: ase.Atoms) -> None:
    z, modes = born(atoms), eigenvectors(atoms)[:2]
    charges = mode_charges(atoms, z, modes)
    frames = harmonic(atoms, modes, [300.0, 520.0], 2.0, 5000)
    found = trajectory_spectrum(frames, z, 2.0, resolution=8, temperature=TEMPERATURE)
    low, high = (np.trace(found.strength(*band)) for band in ((250, 350), (470, 570)))
    ratio = (charges[1] @ charges[1]) / (charges[0] @ charges[0])
    assert high / low == pytest.approx(ratio, rel=0.01)
    assert abs(np.log(ratio)) > 0.2
    transposed = mode_charges(atoms, z.transpose(0, 2, 1), modes)
    wrong = (transposed[1] @ transposed[1]) / (transposed[0] @ transposed[0])
    assert abs(wrong / ratio - 1) > 0.1


def test_a_mode_without_charge_is_silent(atoms: ase.Atoms) -> None:
    """Two equal atoms that move against each other with equal charges: no dipole, as under inversion."""
    pair = ase.Atoms("O2", positions=[[0, 0, 0], [2, 0, 0]], cell=[4, 4, 4], pbc=True)
    mode = np.array([[[1, 0, 0], [-1, 0, 0]]]) / np.sqrt(2)
    z = np.array([np.eye(3), np.eye(3)])
    frames = list(harmonic(pair, mode, [400.0], 2.0, 3000))
    assert trajectory_spectrum(frames, z, 2.0, temperature=TEMPERATURE, sum_rule=False).isotropic.max() < 1e-12


@pytest.mark.parametrize("window", ["hann", "gaussian", "none"])
@pytest.mark.parametrize("detrend", ["mean", "line", "none"])
def test_density_is_that_of_scipy_welch(atoms: ase.Atoms, window: str, detrend: str) -> None:
    rng = np.random.default_rng(5)
    velocities = rng.normal(scale=0.01, size=(900, 4, 3)) + 0.02
    z = born(atoms)
    found = trajectory_spectrum(
        moving(atoms, velocities), z, 1.0, resolution=150, temperature=300, window=window, detrend=detrend
    )
    current = np.einsum("aij,kaj->ki", z, velocities)  # e A/fs
    size = round(1 / (found.spacing * LIGHT))
    kind, length = {"hann": ("hann", 334), "gaussian": (("gaussian", 379 / 6), 379), "none": ("boxcar", 223)}[window]
    assert found.segments == (900 - length) // (length // 2) + 1
    kinds = {"mean": "constant", "line": "linear", "none": False}[detrend]
    options = {"window": kind, "nperseg": length, "noverlap": length - length // 2, "nfft": size, "detrend": kinds}
    frequencies, power = signal.welch(current[:, 0], 1.0, **options)
    np.testing.assert_allclose(found.wavenumbers, frequencies / LIGHT)
    np.testing.assert_allclose(found.density[:, 0, 0], power * LIGHT, rtol=1e-9, atol=1e-15)
    cross = signal.csd(current[:, 0], current[:, 1], 1.0, **options)[1].real
    np.testing.assert_allclose(found.density[:, 0, 1], cross * LIGHT, rtol=1e-9, atol=1e-12)


def moving(atoms: ase.Atoms, velocities: np.ndarray) -> Iterator[ase.Atoms]:
    """Frames with given velocities in A/fs."""
    for row in velocities:
        frame = atoms.copy()
        frame.set_velocities(row / units.fs)
        yield frame


def test_density_is_the_transform_of_the_autocorrelation(atoms: ase.Atoms) -> None:
    """One stretch, no window: S(f) = dt sum_t C(t) cos(2 pi f t), C the sum over products of the current, twice for
    the one-sided density."""
    rng = np.random.default_rng(6)
    z, length, time_step = born(atoms), 64, 2.0
    velocities = rng.normal(scale=0.01, size=(length, 4, 3))
    resolution = 1 / (length * time_step * LIGHT)
    found = trajectory_spectrum(
        moving(atoms, velocities),
        z,
        time_step,
        resolution=resolution * 1.0001,
        temperature=300,
        window="none",
        detrend="none",
        remove_drift=False,
    )
    assert found.segments == 1
    current = np.einsum("aij,kaj->ki", z, velocities)
    correlation = [sum(current[k] @ current[k + t] for k in range(length - t)) / length for t in range(length)]
    lags = np.arange(length) * time_step
    for index in (3, 17, 40):
        frequency = found.wavenumbers[index] * LIGHT
        cosine = np.cos(2 * np.pi * frequency * lags) * np.array(correlation)
        expected = 2 * time_step * (cosine[0] + 2 * cosine[1:].sum()) * LIGHT
        assert np.trace(found.density[index]) == pytest.approx(expected, rel=1e-9)
    mean_square = (current**2).sum(axis=1).mean()
    assert np.trace(found.density.sum(axis=0)) * found.spacing == pytest.approx(mean_square, rel=1e-9)


def test_temperature_is_measured(atoms: ase.Atoms) -> None:
    """Of the nine modes that four atoms have, each holds kT."""
    modes = eigenvectors(atoms)
    assert len(modes) == 9
    frames = list(harmonic(atoms, modes, list(np.linspace(200, 700, 9)), 2.0, 3000))
    drifting = [frame.copy() for frame in frames]
    for frame in drifting:
        frame.set_velocities(frame.get_velocities() + [0.1, 0, 0])
    for trajectory in (frames, drifting):
        assert trajectory_spectrum(trajectory, born(atoms), 2.0, resolution=50).temperature == pytest.approx(
            TEMPERATURE, rel=0.01
        )


def test_drift_of_the_whole_crystal_does_not_absorb(atoms: ase.Atoms) -> None:
    z = np.random.default_rng(3).normal(size=(4, 3, 3))  # violates the sum rule
    rng = np.random.default_rng(4)
    velocities = rng.normal(scale=0.01, size=(400, 4, 3))
    shaken = velocities + rng.normal(scale=0.05, size=(400, 1, 3))
    still, moved = (
        trajectory_spectrum(moving(atoms, v), z, 1.0, resolution=200, temperature=300) for v in (velocities, shaken)
    )
    np.testing.assert_allclose(moved.density, still.density, rtol=1e-9, atol=1e-15)
    raw = trajectory_spectrum(
        moving(atoms, shaken), z, 1.0, resolution=200, temperature=300, sum_rule=False, remove_drift=False
    )
    assert raw.density.sum() > 2 * still.density.sum()


def test_quantum_corrections(atoms: ase.Atoms) -> None:
    """The harmonic one leaves the classical formula; the others differ from it by what Ramirez et al. (2004) list."""
    velocities = np.random.default_rng(8).normal(scale=0.01, size=(400, 4, 3))

    def absorption(correction: str, temperature: float = 300.0) -> TrajectorySpectrum:
        return trajectory_spectrum(
            moving(atoms, velocities), born(atoms), 1.0, resolution=200, temperature=temperature, correction=correction
        )

    harmonic_one = absorption("harmonic")
    x = constants.h * constants.c * 100 * harmonic_one.wavenumbers[1:] / (constants.k * 300)
    q = {"none": 1 + 0 * x, "standard": 2 / (1 + np.exp(-x)), "schofield": np.exp(x / 2)}
    for name, factor in q.items():
        ratio = factor / (x / (1 - np.exp(-x)))
        found = absorption(name)
        np.testing.assert_allclose(found.isotropic[1:], harmonic_one.isotropic[1:] * ratio, rtol=1e-9)
        np.testing.assert_allclose(found.density, harmonic_one.density)
        assert np.isfinite(found.isotropic[0])
        hot = absorption(name, 1e9)
        np.testing.assert_allclose(hot.isotropic, absorption("harmonic", 1e9).isotropic, rtol=1e-4)


def test_charges_at_every_nth_frame(atoms: ase.Atoms) -> None:
    """Charges that grow linearly with time are interpolated exactly, whatever the stretches."""
    velocities = np.random.default_rng(9).normal(scale=0.01, size=(601, 4, 3))
    z, ramp = born(atoms), 1 + np.arange(601) / 200
    knots = [*range(0, 601, 50)]
    options = {"resolution": 100, "temperature": 300}
    found = trajectory_spectrum(moving(atoms, velocities), ramp[knots, None, None, None] * z, 1.0, every=50, **options)
    scaled = trajectory_spectrum(moving(atoms, velocities * ramp[:, None, None]), z, 1.0, **options)
    np.testing.assert_allclose(found.density, scaled.density, rtol=1e-9, atol=1e-15)


def test_long_trajectories_are_never_held_as_a_whole(atoms: ase.Atoms) -> None:
    import weakref

    alive: set[int] = set()
    most = 0

    def stream() -> Iterator[ase.Atoms]:
        nonlocal most
        for index, frame in enumerate(harmonic(atoms, eigenvectors(atoms)[:1], [400.0], 2.0, 3000)):
            alive.add(index)
            weakref.finalize(frame, alive.discard, index)
            most = max(most, len(alive))
            yield frame

    assert trajectory_spectrum(stream(), born(atoms), 2.0, resolution=30).segments > 5
    assert 100 < most < 700


def test_a_trajectory_file(atoms: ase.Atoms, tmp_path: Path) -> None:
    frames = list(harmonic(atoms, eigenvectors(atoms)[:1], [400.0], 2.0, 600))
    ase.io.write(tmp_path / "md.traj", frames)
    options = {"resolution": 100, "temperature": 300}
    expected = trajectory_spectrum(frames, born(atoms), 2.0, **options)
    np.testing.assert_allclose(
        trajectory_spectrum(tmp_path / "md.traj", born(atoms), 2.0, **options).density, expected.density
    )
    with pytest.raises(InputError, match=r"cannot read the trajectory .*nowhere.traj"):
        trajectory_spectrum(tmp_path / "nowhere.traj", born(atoms), 2.0)


def test_bad_input_is_named(atoms: ase.Atoms) -> None:
    frames = list(harmonic(atoms, eigenvectors(atoms)[:1], [400.0], 2.0, 100))
    with pytest.raises(InputError, match=r"100 frames of 2 fs are too few for 10 1/cm, which takes 2502"):
        trajectory_spectrum(frames, born(atoms), 2.0)
    with pytest.raises(InputError, match="0 frames"):
        trajectory_spectrum([], born(atoms), 2.0)
    with pytest.raises(InputError, match="frame 0 has no velocities; use source='positions'"):
        trajectory_spectrum([atoms.copy() for _ in range(100)], born(atoms), 2.0, resolution=500)
    with pytest.raises(InputError, match="must be positive"):
        trajectory_spectrum(frames, born(atoms), 0.0)
    with pytest.raises(InputError, match="no window 'welch'"):
        trajectory_spectrum(frames, born(atoms), 2.0, window="welch")
    with pytest.raises(InputError, match=r"temperature is 0\.0 K"):
        trajectory_spectrum([atoms.copy() for _ in range(100)], born(atoms), 2.0, resolution=500, source="positions")
    with pytest.raises(InputError, match="frame 1 is the very object that frame 0 was"):
        trajectory_spectrum([atoms] * 2, born(atoms), 2.0)
    frames[70].cell[0, 0] += 0.1
    with pytest.raises(InputError, match="the cell of frame 70 differs"):
        trajectory_spectrum(frames, born(atoms), 2.0, resolution=500)

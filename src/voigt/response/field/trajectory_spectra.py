"""Infrared spectrum from molecular dynamics: the autocorrelation of the current dM/dt = e sum_a Z[a] v_a = V dP/dt.

The Fourier transform of the autocorrelation is the spectral density of dM/dt (Wiener-Khinchin), which is estimated from
windowed, overlapping stretches of the trajectory: Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967). With classical
nuclei, per polarization of the light and for any temperature T of the trajectory,

    n(w) alpha(w) = w eps''(w) / c = 1 / (2 eps0 c V k T) * integral dt exp(i w t) <dM(t)/dt dM(0)/dt>

McQuarrie, Statistical Mechanics (1976), chapter 21; Ramirez et al., J. Chem. Phys. 121, 3973 (2004). A harmonic mode of
effective charge Z_m (e per square root of amu) has the strength e^2 Z_m^2 / (4 eps0 c^2 V), integrated over
wavenumbers: the same as in the theory of harmonic crystals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import ase
import numpy as np
from ase import units
from scipy import constants
from scipy.fft import next_fast_len, rfft, rfftfreq
from scipy.signal import detrend as detrended
from scipy.signal import get_window

from voigt.errors import InputError
from voigt.reasons import plain_reason
from voigt.response.arrays import Array
from voigt.response.field.charges import Charges
from voigt.response.field.steps import Interval, checked_frames, fractional_steps, intervals

Window: TypeAlias = Literal["hann", "gaussian", "none"]
Correction: TypeAlias = Literal["harmonic", "none", "standard", "schofield"]

_CM_PER_FS = constants.c * 100 * constants.femto
"""Light runs this many cm in a fs: frequency (1/fs) = wavenumber (1/cm) times it."""
_CURRENT = constants.e * constants.angstrom / constants.femto
"""One e A/fs in C m/s."""
_MASS_CHARGE = constants.e**2 / constants.atomic_mass
"""One e^2/amu in C^2/kg."""


@dataclass(frozen=True)
class TrajectorySpectrum:
    """Infrared spectrum of a trajectory.

    Attributes
    ----------
    wavenumbers
        (K,) 1/cm, evenly spaced from 0 to the Nyquist limit of the frames.
    density
        (K, 3, 3) one-sided spectral density of dM/dt in (e A/fs)^2 per 1/cm, symmetric: its sum times `spacing` is
        <dM_i/dt dM_j/dt>. Classical, for every correction.
    temperature, volume
        K, given or measured from the velocities; A^3.
    segments
        Number of stretches averaged; they overlap by half.
    resolution
        Width of a sharp line, 1/cm (noise bandwidth of the window).
    correction
        Quantum correction in `n_alpha`, see `trajectory_spectrum`.
    """

    wavenumbers: Array
    density: Array
    temperature: float
    volume: float
    segments: int
    resolution: float
    correction: Correction

    @property
    def frequencies(self) -> Array:
        """(K,) THz."""
        return np.asarray(self.wavenumbers * constants.c * 100 * 1e-12)

    @property
    def spacing(self) -> float:
        """Step of `wavenumbers`, 1/cm; finer than the resolution."""
        return float(self.wavenumbers[1])

    @property
    def strength_density(self) -> Array:
        """(K, 3, 3) density / kT in e^2/amu per 1/cm: over a harmonic mode its integral is Z_m,i Z_m,j."""
        per_unit = _CURRENT**2 / (constants.k * self.temperature) / _MASS_CHARGE
        return np.asarray(self.density * per_unit)

    @property
    def n_alpha(self) -> Array:
        """(K, 3, 3) absorption coefficient (of intensity) times refractive index, w eps''(w) / c, in 1/cm.

        Light polarized along the unit vector n is absorbed as n.n_alpha.n; a powder or liquid as trace / 3.
        """
        # A one-sided density holds both signs of the frequency, hence 4 where the formula above has 2.
        current = self.density * _CURRENT**2 / 100  # per 1/m
        thermal = 4 * constants.epsilon_0 * constants.c**2 * constants.k * self.temperature
        per_meter = current / (thermal * self.volume * constants.angstrom**3)
        return np.asarray(per_meter / 100 * self._quantum_factor()[:, None, None])

    @property
    def isotropic(self) -> Array:
        """(K,) trace / 3 of `n_alpha`, 1/cm."""
        return np.asarray(np.trace(self.n_alpha, axis1=1, axis2=2) / 3)

    def strength(self, low: float, high: float) -> Array:
        """(3, 3) integral of `strength_density` over wavenumbers from low to high (1/cm), e^2/amu."""
        inside = (self.wavenumbers >= low) & (self.wavenumbers <= high)
        return np.asarray(self.strength_density[inside].sum(axis=0) * self.spacing)

    def _quantum_factor(self) -> Array:
        """(1 - exp(-x)) Q(x) / x with x = h nu / kT; 1 for the harmonic Q(x) = x / (1 - exp(-x))."""
        x = constants.h * constants.c * 100 * self.wavenumbers / (constants.k * self.temperature)
        if self.correction == "harmonic":
            return np.ones_like(x)
        x = np.maximum(x, 1e-9)
        balance = -np.expm1(-x) / x
        if self.correction == "standard":
            return np.asarray(balance * 2 / (1 + np.exp(-x)))
        return np.asarray(balance * np.exp(x / 2)) if self.correction == "schofield" else np.asarray(balance)


def trajectory_spectrum(
    frames: str | Path | Iterable[ase.Atoms],
    charges: Charges,
    time_step: float,
    *,
    resolution: float = 10.0,
    temperature: float | None = None,
    source: Literal["velocities", "positions"] = "velocities",
    every: int = 1,
    window: Window = "hann",
    detrend: Literal["mean", "line", "none"] = "mean",
    correction: Correction = "harmonic",
    sum_rule: bool = True,
    remove_drift: bool = True,
) -> TrajectorySpectrum:
    """Infrared spectrum of an equilibrium trajectory in a fixed cell. Memory does not grow with its length.

    Parameters
    ----------
    frames
        Trajectory file (read frame by frame with ase.io.iread) or any iterable of frames, evenly spaced in time.
    charges
        As `polarization_path` takes them: array, function, or model.
    time_step
        Time between frames, fs. Vibrations faster than the Nyquist limit 1 / (2 time_step) fold back onto slower ones:
        1 fs reaches 16,700 1/cm, 10 fs only 1,670 1/cm.
    resolution
        Width of a sharp line in 1/cm; decides the length of a stretch. Finer needs longer trajectories: 10 1/cm with
        Hann's window 5 ps, and several times that for the noise to average out.
    temperature
        K; None: from the mean kinetic energy, 3 n_atoms - 3 degrees of freedom.
    source
        "velocities" of the frames, or differences of "positions" (unwrapped), whose damping of fast vibrations,
        (sin(w dt / 2) / (w dt / 2))^2, is divided out.
    every
        Z is taken at every n-th frame and is linear in between.
    window
        "hann", "gaussian" (standard deviation: a sixth of the stretch) or "none".
    detrend
        What is taken out of dM/dt in each stretch: its mean, a straight line, or nothing.
    correction
        Classical vibrations lack detailed balance. Absorption is (1 - exp(-x)) times the quantum line shape, x = h nu /
        kT, and that is Q(x) times the classical one: "harmonic", Q = x / (1 - exp(-x)), the only one consistent with
        the fluctuation-dissipation theorem and exact for harmonic crystals, whose absorption then is the classical
        formula above; "none", Q = 1; "standard", Q = 2 / (1 + exp(-x)); "schofield", Q = exp(x / 2). Ramirez,
        Lopez-Ciudad, Kumar and Marx, J. Chem. Phys. 121, 3973 (2004).
    sum_rule, remove_drift
        As in `polarization_path`.

    Raises
    ------
    InputError
        As `polarization_path`; a trajectory shorter than a stretch; frames without velocities; an unreadable file; a
        temperature that is neither given nor measurable.
    """
    if not time_step > 0 or not resolution > 0:
        raise InputError(f"time_step and resolution must be positive, not {time_step} fs and {resolution} 1/cm")
    weights = _window(window, time_step, resolution)
    average = _Average(weights, time_step, detrend)
    kinetic, count, first = 0.0, 0, None
    for interval in intervals(checked_frames(_read(frames)), charges, every, sum_rule):
        first = interval.frames[0] if first is None else first
        vectors = _velocities(interval, time_step, source, remove_drift, is_first=count == 0)
        start = len(interval.frames) - len(vectors) if source == "velocities" else 0
        rates = interval.dipoles(vectors, start)
        if source == "positions":
            rates = (rates + interval.dipoles(vectors, start=1)) / 2
        kinetic += float(np.einsum("a,kai,kai->", first.get_masses(), vectors, vectors))
        count += len(vectors)
        average.add(rates)
    if first is None or not average.segments:
        raise InputError(
            f"{count} frames of {time_step:g} fs are too few for {resolution:g} 1/cm, which takes {len(weights)}; "
            f"give a longer trajectory or a resolution of {resolution * len(weights) / max(count, 8):.3g} 1/cm"
        )
    measured = kinetic / count / max(3 * len(first) - 3, 1) / units.fs**2 / units.kB
    temperature = measured if temperature is None else temperature
    if not temperature > 0:
        raise InputError(f"the temperature is {temperature} K; give the temperature of the trajectory")
    frequencies, density = average.result()
    if source == "positions":
        # Differences over a time step are means of the velocity over it, which damps fast vibrations.
        density = density / np.sinc(frequencies * time_step)[:, None, None] ** 2
    return TrajectorySpectrum(
        wavenumbers=frequencies / _CM_PER_FS,
        density=density * _CM_PER_FS,
        temperature=float(temperature),
        volume=float(first.get_volume()),
        segments=average.segments,
        resolution=float((weights**2).sum() / weights.sum() ** 2 / time_step / _CM_PER_FS),
        correction=correction,
    )


class _Average:
    """Mean spectral density of a stream of rows (n, 3), from stretches as long as the window that overlap by half."""

    def __init__(self, weights: Array, time_step: float, detrend: str) -> None:
        self.segments = 0
        self._weights, self._time_step, self._detrend = weights, time_step, detrend
        self._size = next_fast_len(2 * len(weights), real=True)  # padded: else the ends correlate with each other
        self._sum = np.zeros((self._size // 2 + 1, 3, 3))
        self._held = np.empty((0, 3))

    def add(self, rows: Array) -> None:
        length = len(self._weights)
        self._held = np.concatenate([self._held, rows])
        while len(self._held) >= length:
            stretch = self._held[:length]
            if self._detrend != "none":
                stretch = detrended(stretch, axis=0, type="linear" if self._detrend == "line" else "constant")
            # Wiener and Khinchin: the square of the Fourier amplitudes is the transform of the autocorrelation.
            amplitudes = rfft(self._weights[:, None] * stretch, self._size, axis=0)
            self._sum += np.einsum("ki,kj->kij", amplitudes, amplitudes.conj()).real
            self.segments += 1
            self._held = self._held[max(length // 2, 1) :]

    def result(self) -> tuple[Array, Array]:
        """Frequencies (1/fs) and one-sided density (rows squared times fs)."""
        scale = np.full(len(self._sum), 2 * self._time_step / (self._weights**2).sum() / self.segments)
        # Frequency 0 and, for an even length, the Nyquist limit have no partner of negative frequency.
        scale[0] /= 2
        if self._size % 2 == 0:
            scale[-1] /= 2
        return rfftfreq(self._size, self._time_step), self._sum * scale[:, None, None]


def _window(name: str, time_step: float, resolution: float) -> Array:
    """Weights of a stretch long enough for the resolution."""

    def of_length(length: int) -> Array:
        if name not in ("hann", "gaussian", "none"):
            raise InputError(f"no window '{name}'; choose hann, gaussian or none")
        kind = {"none": "boxcar", "hann": "hann"}.get(name, ("gaussian", length / 6))
        return np.asarray(get_window(kind, length), dtype=np.float64)

    trial = of_length(4096)
    bins = len(trial) * (trial**2).sum() / trial.sum() ** 2
    return of_length(max(8, int(np.ceil(bins / (resolution * _CM_PER_FS * time_step)))))


def _read(frames: str | Path | Iterable[ase.Atoms]) -> Iterator[ase.Atoms]:
    if not isinstance(frames, str | Path):
        yield from frames
        return
    from ase.io import iread

    try:
        yield from iread(frames, index=":")
    except Exception as error:  # readers raise anything from ValueError to their own types
        raise InputError(f"cannot read the trajectory {frames}: {plain_reason(error)}") from error


def _velocities(interval: Interval, time_step: float, source: str, remove_drift: bool, is_first: bool) -> Array:
    """(k, n_atoms, 3) in A/fs: of the frames (the first only if no interval before had it), or of the steps between."""
    frames = interval.frames
    if source == "positions":
        steps = fractional_steps(frames, start=interval.start)
        velocities = steps @ frames[0].cell.array / time_step
    else:
        chosen = frames if is_first else frames[1:]
        for index, frame in enumerate(chosen):
            if not frame.has("momenta"):
                number = interval.start + index + (not is_first)
                raise InputError(f"frame {number} has no velocities; use source='positions' if the file holds none")
        velocities = np.array([frame.get_velocities() for frame in chosen]) * units.fs
    if not remove_drift:
        return np.asarray(velocities)
    masses = frames[0].get_masses()
    return np.asarray(velocities - np.einsum("a,kai->ki", masses / masses.sum(), velocities)[:, None])

# ruff: noqa: T201
"""Infrared spectrum of MgO from molecular dynamics: the autocorrelation of dP/dt = (e/V) sum_a Z[a] v_a.

    python examples/trajectory_spectrum.py

The forces are those of springs fitted to the measured transverse frequency (see toy_springs.py), known in closed form:
at low amplitude the spectrum has to peak there. Its width is that of the window and of the few modes of 16 atoms, not
that of MgO. Any ASE calculator can take the place of the springs, and a trajectory file ("md.traj") that of `frames`.
"""

from pathlib import Path

import ase.io
import numpy as np
from ase import units
from ase.md.verlet import VelocityVerlet
from toy_springs import magnesium_oxide

import voigt
from voigt.response.field import trajectory_spectrum

TIME_STEP = 2.0  # fs


def frames(atoms, count):
    """Molecular dynamics at constant energy, one frame a step."""
    dynamics = VelocityVerlet(atoms, TIME_STEP * units.fs)
    for _ in dynamics.irun(count - 1):
        yield atoms.copy()


crystal = ase.io.read(Path(__file__).parent / "MgO.vasp").repeat((2, 2, 2))
charges = voigt.predict(crystal)[0].values["born_charges"]
crystal.calc = magnesium_oxide()
momenta = np.sqrt(units.kB * 600 * crystal.get_masses())[:, None] * np.random.default_rng(1).normal(size=(16, 3))
crystal.set_momenta(momenta - momenta.mean(axis=0))  # half of the energy will go into the springs: 300 K
spectrum = trajectory_spectrum(frames(crystal, 3000), charges, TIME_STEP, resolution=20)

# Sublattices against each other: of the six bonds of an atom two are stretched, four only turned.
masses = sorted(set(crystal.get_masses()))
stiffness = 2 * crystal.calc.bonds["Mg", "O"][0]
angular = np.sqrt(stiffness * (1 / masses[0] + 1 / masses[1])) * units.fs  # rad/fs
transverse = angular / (2 * np.pi) / 2.99792458e-5  # 1/cm
peak = spectrum.wavenumbers[spectrum.isotropic.argmax()]
print(f"{spectrum.segments} stretches, {spectrum.temperature:.0f} K, resolution {spectrum.resolution:.0f} 1/cm")
print(f"peak at {peak:.0f} 1/cm; the transverse optical mode of the springs is at {transverse:.0f} 1/cm")
print(f"absorption coefficient times refractive index there: {spectrum.isotropic.max():.0f} 1/cm")

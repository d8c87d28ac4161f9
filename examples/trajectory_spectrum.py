# ruff: noqa: T201
"""Infrared spectrum of MgO from molecular dynamics: the autocorrelation of dP/dt = (e/V) sum_a Z[a] v_a.

    python examples/trajectory_spectrum.py

The forces are a toy: springs between nearest neighbours, stiffer along the bond than across, harmonic around the given
structure. Their transverse optical mode at Gamma is known in closed form, and the spectrum has to peak there. Any ASE
calculator can take their place, and a trajectory file ("md.traj") the place of `frames`.
"""

from pathlib import Path

import ase.io
import numpy as np
from ase import units
from ase.calculators.harmonic import HarmonicCalculator, HarmonicForceField
from ase.md.verlet import VelocityVerlet
from ase.neighborlist import neighbor_list

import voigt
from voigt.response.trajectory_spectrum import trajectory_spectrum

ALONG, ACROSS = 8.0, 2.0  # eV/A^2
TIME_STEP = 2.0  # fs


def springs(atoms):
    """The toy: a spring with constants ALONG and ACROSS on every bond shorter than 2.3 A."""
    hessian = np.zeros((len(atoms), 3, len(atoms), 3))
    for i, j, vector in zip(*neighbor_list("ijD", atoms, 2.3), strict=True):
        bond = vector / np.linalg.norm(vector)
        block = ACROSS * np.eye(3) + (ALONG - ACROSS) * np.outer(bond, bond)
        hessian[i, :, i, :] += block
        hessian[i, :, j, :] -= block
    return HarmonicCalculator(HarmonicForceField(atoms.copy(), hessian.reshape(3 * len(atoms), -1)))


def frames(atoms, count):
    """Molecular dynamics at constant energy, one frame a step."""
    dynamics = VelocityVerlet(atoms, TIME_STEP * units.fs)
    for _ in dynamics.irun(count - 1):
        yield atoms.copy()


crystal = ase.io.read(Path(__file__).parent / "MgO.vasp").repeat((2, 2, 2))
charges = voigt.predict(crystal)[0].values["born_charges"]
crystal.calc = springs(crystal)
momenta = np.sqrt(units.kB * 600 * crystal.get_masses())[:, None] * np.random.default_rng(1).normal(size=(16, 3))
crystal.set_momenta(momenta - momenta.mean(axis=0))  # half of the energy will go into the springs: 300 K
spectrum = trajectory_spectrum(frames(crystal, 3000), charges, TIME_STEP, resolution=20)

# Sublattices against each other: six bonds each, two along and four across the displacement.
masses = sorted(set(crystal.get_masses()))
stiffness = 2 * ALONG + 4 * ACROSS
angular = np.sqrt(stiffness * (1 / masses[0] + 1 / masses[1])) * units.fs  # rad/fs
transverse = angular / (2 * np.pi) / 2.99792458e-5  # 1/cm
peak = spectrum.wavenumbers[spectrum.isotropic.argmax()]
print(f"{spectrum.segments} stretches, {spectrum.temperature:.0f} K, resolution {spectrum.resolution:.0f} 1/cm")
print(f"peak at {peak:.0f} 1/cm; the transverse optical mode of the springs is at {transverse:.0f} 1/cm")
print(f"absorption coefficient times refractive index there: {spectrum.isotropic.max():.0f} 1/cm")

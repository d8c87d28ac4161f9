# ruff: noqa: T201
"""MgO in an electric field that is switched on: molecular dynamics with BornField, and the permittivity that it shows.

    python examples/field_md.py

The forces are those of springs fitted to the transverse frequency (see toy_springs.py); any ASE calculator can take
their place. Z is predicted by the model that ships, anew when an atom has moved by more than 0.05 A. With friction the
crystal settles at the polarization dP = eps0 eps_ionic E, whose closed form for springs is known. That eps_ionic is
also near the measured 6.6 (Jasperse et al., Phys. Rev. 146, 526 (1966)) tests Z and the fit, not the springs.
"""

from pathlib import Path

import ase.io
import numpy as np
from ase import units
from ase.md.verlet import VelocityVerlet
from toy_springs import magnesium_oxide

from voigt.response.field import VACUUM_PERMITTIVITY, BornField

FIELD, RISE = 0.02, 30.0  # V/A, fs
SPRINGS = magnesium_oxide()


def field(time):
    """Along z, rising smoothly to FIELD within RISE."""
    return np.array([0, 0, FIELD * np.sin(np.pi / 2 * min(time / RISE, 1)) ** 2])


atoms = ase.io.read(Path(__file__).parent / "MgO.vasp")
atoms.calc = BornField(SPRINGS, field, tolerance=0.05)
dynamics = VelocityVerlet(atoms, 1 * units.fs)
atoms.calc.follow(dynamics)

print("time (fs)   E (V/A)   dP (e/A^2)   E_kin + U - work (eV)   total momentum")
for step in range(1, 401):
    dynamics.run(1)
    if step % 40 == 0:
        state = atoms.calc.state
        kept = atoms.get_kinetic_energy() + atoms.calc.base_energy - state.work
        momentum = abs(atoms.get_momenta().sum(axis=0)).max()
        change = atoms.calc.polarization_change[2]
        print(f"{state.time:9.0f}   {state.field[2]:7.4f}   {change:10.6f}   {kept:21.6f}   {momentum:14.1e}")
    if step >= 80:
        atoms.set_momenta(0.95 * atoms.get_momenta())  # friction, once the free swing has been seen

z = atoms.calc.state.charges[0, 2, 2]
k = 2 * SPRINGS.bonds["Mg", "O"][0]  # of the six bonds of an atom two are stretched, four only turned
expected = z**2 / (VACUUM_PERMITTIVITY * atoms.get_volume() * k)
measured = atoms.calc.polarization_change[2] / (VACUUM_PERMITTIVITY * FIELD)
print(f"eps_ionic from the polarization: {measured:.3f}; in closed form e^2 Z^2 / (eps0 V k): {expected:.3f}")
print(f"Z was predicted {atoms.calc.state.updates} times")

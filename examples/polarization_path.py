# ruff: noqa: T201
"""Spontaneous polarization of BaTiO3: Born charges along the path from the centrosymmetric structure to the polar one.

    python examples/polarization_path.py

Between the two structures the polarization is defined only modulo e R / V; along the path it is one number. Measured at
room temperature: 0.26 C/m^2 (Wieder, Phys. Rev. 99, 1161 (1955)). In this file titanium moves along -c, hence the sign.
"""

from pathlib import Path

import ase.io
import numpy as np

from voigt.response.field import polarization_path, predicted_charges

POLAR = ase.io.read(Path(__file__).parent / "BaTiO3.vasp")
CENTER = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])  # Ba Ti O O O


def frame(share: float):
    """The structure at a share of the way from the centrosymmetric (0) to the polar one (1)."""
    shift = POLAR.get_scaled_positions(wrap=False) - CENTER
    atoms = POLAR.copy()
    atoms.set_scaled_positions(CENTER + share * (shift - np.rint(shift)))
    return atoms


shares = np.linspace(0, 1, 9)
charges = predicted_charges()  # the Born model that ships
path = polarization_path([frame(share) for share in shares], charges)

print("share   dP along c (C/m^2)   Z*(Ti) along c (e)")
for share, change, z in zip(shares, path.si, charges([frame(share) for share in shares]), strict=True):
    print(f"{share:5.3f}   {change[2]:18.3f}   {z[1, 2, 2]:18.2f}")

frozen = polarization_path([frame(share) for share in shares], charges([frame(1.0)])[0])
print(f"with the charges of the polar structure throughout: {frozen.si[-1, 2]:.3f} C/m^2")
print(f"quantum along c: {path.quanta[2, 2] * 16.0218:.3f} C/m^2")

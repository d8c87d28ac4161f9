# ruff: noqa: T201
"""LO-TO splitting of MgO: force constants from a calculator, Born charges and eps_inf predicted, frequencies and bands.

    python examples/phonons_lo_to.py

Springs fitted to the measured transverse frequency (see toy_springs.py) know nothing of charges: all they give at
Gamma is that one frequency, three times. The longitudinal one follows from the prediction and can be compared with a
measurement; it is 3 % low, since eps_inf is that of PBEsol, which screens too much. Bands away from Gamma are those of
the toy, with dips that no real crystal has: give a real potential instead of `magnesium_oxide()`. Writes bands.png.
"""

from pathlib import Path

from toy_springs import magnesium_oxide

import voigt
from voigt.response.phonons import WAVENUMBER, band_structure, gamma_phonons, read_project, unit_cell, with_nac
from voigt.writers.figures import save_figure
from voigt.writers.phonon_figures import band_figure

# Jasperse et al., Phys. Rev. 146, 526 (1966): TO 401 1/cm, eps_0 9.64, eps_inf 3.01; LO by Lyddane, Sachs and Teller.
MEASURED = 718  # 1/cm

# Displaced supercells and force constants by phonopy. Of a phonopy project: read_project("DIR").
project = read_project(Path(__file__).parent / "MgO.vasp", magnesium_oxide(), dim=[3, 3, 3])
print(*project.notes, sep="\n")

crystal = voigt.predict(unit_cell(project))[0]
z, eps_inf = crystal.values["born_charges"], crystal.values["eps_inf"]
print(f"\npredicted: Z(Mg) {z[0, 0, 0]:.3f} e, eps_inf {eps_inf[0, 0]:.3f}")

# The NAC is applied once, by phonopy, in the limit q -> 0 along each direction.
polar = with_nac(project, z, eps_inf)
phonons = gamma_phonons(project.phonon, polar, directions=[(1, 0, 0), (1, 1, 0), (1, 1, 1)])
optical = phonons.modes.frequencies[3:]
print(f"optical modes without NAC, {phonons.labels[3]}: {', '.join(f'{f:.3f}' for f in optical)} THz")
for along in phonons.along:
    print(f"with NAC, q -> 0 along {along.name}: {', '.join(f'{f:.3f}' for f in along.frequencies[3:])} THz")
longitudinal = phonons.along[0].frequencies[-1] * WAVENUMBER
print(f"LO {longitudinal:.0f} 1/cm, measured {MEASURED} 1/cm; without NAC {optical[-1] * WAVENUMBER:.0f} 1/cm")

bands, plain = band_structure(polar), band_structure(project.phonon)
save_figure(band_figure("MgO, springs; NAC predicted", bands, plain), "bands.png")

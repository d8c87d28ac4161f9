# ruff: noqa: T201
"""Infrared spectrum of ZnO: mode by mode strengths, static permittivity, eps(omega) and reflectivity.

    python examples/infrared_spectrum.py

Frequencies without field are those of springs with a single stiffness fitted to the two measured transverse modes (see
toy_springs.py), so they are no result. What the prediction adds are strengths, permittivities and longitudinal
frequencies. These come out 12 % too low: PBEsol, which the model has learned, gives ZnO hardly a gap and screens it far
too much (eps_inf 7.8 to 8.7 in the training data, 7.6 to 7.8 here; measured 3.7: Ashkenov et al., J. Appl. Phys. 93,
126 (2003)). Widths of the peaks are an input. Writes reflectivity.png and permittivity.csv.
"""

from pathlib import Path

import ase.io
import numpy as np
from ase.optimize import BFGS
from toy_springs import zinc_oxide

import voigt
from voigt.response.phonons import (
    WAVENUMBER,
    frequency_grid,
    gamma_modes,
    infrared,
    irreps,
    longitudinal,
    read_project,
    spectrum,
)
from voigt.writers.figures import save_figure
from voigt.writers.infrared import write_csv
from voigt.writers.infrared_figures import spectrum_figure

MEASURED = {"along c": (380, 574), "across c": (407, 583)}  # TO, LO, 1/cm: Damen et al., Phys. Rev. 142, 570 (1966)
DIRECTIONS = {"along c": (0, 0, 1), "across c": (1, 0, 0)}
WIDTH = 15 / WAVENUMBER  # THz

# The ions have to be at rest in the potential that gives the force constants.
atoms = ase.io.read(Path(__file__).parent / "ZnO.cif")
atoms.calc = zinc_oxide()
BFGS(atoms, logfile=None).run(fmax=1e-5)
ase.io.write("ZnO.vasp", atoms, direct=True)
phonon = read_project("ZnO.vasp", zinc_oxide(), dim=[3, 3, 2]).phonon

crystal = voigt.predict("ZnO.vasp")[0]
modes = gamma_modes(phonon)
response = infrared(modes, crystal.values["born_charges"], crystal.values["eps_inf"], irreps(phonon, modes))

print("irrep      1/cm   intensity ((D/A)^2/amu)   share of eps_ionic: across, along c")
for entry in response.sets:
    if entry.kind == "optical":
        shares = f"{entry.share[0, 0]:17.3f} {entry.share[2, 2]:8.3f}" if entry.active else "          inactive"
        print(f"{entry.irrep:5} {entry.wavenumber:9.1f}   {entry.intensity:23.3f}   {shares}")
for name, direction in DIRECTIONS.items():
    n = np.array(direction)
    relation = longitudinal(response, n)
    to, lo = relation.transverse[0] * WAVENUMBER, relation.longitudinal[0] * WAVENUMBER
    print(f"{name}: eps_inf {n @ response.eps_inf @ n:.2f}, eps_0 {n @ response.eps_0 @ n:.2f}")
    print(f"  TO {to:.0f}, LO {lo:.0f} 1/cm; measured {MEASURED[name][0]} and {MEASURED[name][1]} 1/cm")
    print(f"  Lyddane, Sachs and Teller: (LO/TO)^2 = {relation.product:.4f}, eps_0/eps_inf = {relation.ratio:.4f}")

directions = list(DIRECTIONS.values())
light = spectrum(response, frequency_grid(response, WIDTH, directions), WIDTH, directions)
peak = light.reflectivity[:, 0].max()
print(f"highest reflectivity along c {peak:.2f}, at low frequencies {light.reflectivity[0, 0]:.2f}")
relations = [longitudinal(response, n) for n in directions]
figure = spectrum_figure("ZnO, springs; strengths predicted", light, list(DIRECTIONS), relations)
save_figure(figure, "reflectivity.png")
write_csv(light, "permittivity.csv")

# %% [markdown]
# # Phonons with LO-TO splitting
#
# In a polar crystal, longitudinal and transverse optical phonons differ in frequency at Γ. Force constants from a
# supercell do not know this: it takes Born charges and the high-frequency permittivity. Voigt predicts both.
#
# The forces of this page come from springs between neighbors, fitted to the measured transverse frequency of MgO, so
# that it runs in seconds. In your work they come from DFT (`voigt phonons DIR` reads a phonopy project) or from a
# machine-learned potential (any ASE calculator).
#
# ## Force constants

# %%
import sys

import ase.io
import voigt

sys.path.insert(0, "examples")
from toy_springs import magnesium_oxide

atoms = ase.io.read("examples/MgO.vasp")
crystal = voigt.predict(atoms)[0]
print(f"Z of Mg {crystal.values['born_charges'][0, 0, 0]:.2f} e, eps_inf {crystal.values['eps_inf'][0, 0]:.2f}")

# %% [markdown]
# Supercells with displaced atoms and the force constants are phonopy's work. `read_project("DIR")` reads a project
# that has them; with a calculator it makes them:

# %%
from voigt.response.phonons import read_project, with_nac

project = read_project("examples/MgO.vasp", magnesium_oxide(), dim=[3, 3, 3])
print(*(note.text for note in project.notes), sep="\n")

# %% [markdown]
# ## Frequencies at Γ
#
# The correction depends on the direction from which Γ is approached. Without it the three optical modes have one
# frequency. With it one of them, the longitudinal one, is higher.

# %%
from voigt.response.phonons import WAVENUMBER, gamma_phonons

polar = with_nac(project, crystal.values["born_charges"], crystal.values["eps_inf"])
phonons = gamma_phonons(project.phonon, polar, directions=[(1, 0, 0), (1, 1, 1)])
print("without", phonons.modes.frequencies[3:].round(2), "THz")
for along in phonons.along:
    print("along", along.name, along.frequencies[3:].round(2), "THz")
longitudinal = phonons.along[0].frequencies[-1] * WAVENUMBER
print(f"LO {longitudinal:.0f} 1/cm")

# %% [markdown]
# Measured are 718 cm⁻¹ (Jasperse et al., Phys. Rev. 146, 526 (1966)). The prediction is 3 % low, because PBEsol,
# which the model has learned, screens too much.

# %%
assert abs(longitudinal / 718 - 1) < 0.06

# %% [markdown]
# ## Bands

# %%
from voigt.response.phonons import band_structure
from voigt.writers.figures import save_figure
from voigt.writers.phonon_figures import band_figure

figure = band_figure("MgO: springs, predicted charges", band_structure(polar), band_structure(project.phonon))
save_figure(figure, "bands.png")

# %% [markdown]
# ![Bands of MgO with and without the correction](bands.png)
#
# Away from Γ these are the bands of the springs, which no real crystal has.
#
# ## Infrared response
#
# The same charges give oscillator strengths, the ionic permittivity and the spectrum:

# %%
from voigt.response.phonons import gamma_modes, infrared, irreps

modes = gamma_modes(project.phonon)
z, eps_inf = crystal.values["born_charges"], crystal.values["eps_inf"]
response = infrared(modes, z, eps_inf, irreps(project.phonon, modes))
for entry in response.optical:
    print(f"{entry.irrep} {entry.wavenumber:.0f} 1/cm, intensity {entry.intensity:.1f} (D/A)^2/amu")
print(f"static permittivity {response.eps_0[0, 0]:.1f} (measured 9.64)")

# %%
import matplotlib.pyplot as plt
from voigt.response.phonons import frequency_grid, spectrum

width = 15 / WAVENUMBER  # full width at half maximum, THz: a choice, since harmonic crystals have none
light = spectrum(response, frequency_grid(response, width, [(1, 0, 0)]), width, [(1, 0, 0)])
figure, axes = plt.subplots(figsize=(6, 3.5))
axes.plot(light.wavenumbers, light.reflectivity[:, 0])
axes.axvline(phonons.modes.frequencies[-1] * WAVENUMBER, color="gray", lw=0.8, ls=":")
axes.axvline(longitudinal, color="gray", lw=0.8, ls=":")
axes.set(xlabel="wavenumber (1/cm)", ylabel="reflectivity", ylim=(0, 1));

# %% [markdown]
# Between the transverse and the longitudinal frequency (dotted) the crystal reflects.
#
# ## In one command
#
# `voigt phonons DIR --band --plot bands.png` and `voigt infrared DIR --plot spectrum.png` do all of this for a
# phonopy project: [Phonons](../phonons.md). To let phonopy apply the correction itself, write its file: [BORN
# files](../born_files.md).
#
# ## What to look out for
#
# * The structure must be at rest in the potential that gives the force constants; relax it first.
# * The correction belongs to one source: charges of the project or predicted ones, never both.
# * [Results](../results.md#lo-to-splitting) shows the accuracy on 30 crystals with forces from DFT.

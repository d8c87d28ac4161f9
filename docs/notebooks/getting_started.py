# %% [markdown]
# # Getting started
#
# From a structure file to response tensors, in five minutes. Install Voigt with `pip install .` in a clone of its
# repository; the structures of this page are in the folder `examples` there.
#
# This page is a notebook kept as text: `jupytext --to ipynb getting_started.py` makes a Jupyter notebook of it.
#
# ## One crystal

# %%
import voigt

crystal = voigt.predict("examples/BaTiO3.vasp")[0]
print(crystal.id, crystal.symmetry.international, crystal.models)

# %% [markdown]
# `predict` reads CIF, POSCAR, extended XYZ and more, and returns one prediction per crystal. Born effective charges
# come one 3x3 tensor per atom. The first index is the direction of the field (or polarization), the second that of
# the displacement, as in VASP and phonopy. Titanium in the ferroelectric phase:

# %%
titanium = list(crystal.atoms.symbols).index("Ti")
crystal.values["born_charges"][titanium].round(2)

# %% [markdown]
# The nominal charge of Ti is +4. Charges far above it are the mark of a ferroelectric. All charges together are zero:

# %%
assert abs(crystal.values["born_charges"].sum(axis=0)).max() < 1e-6

# %% [markdown]
# The high-frequency dielectric tensor is that of the electrons, with the ions clamped. Its eigenvalues are the
# squares of the refractive indices:

# %%
from voigt.response import refractive_indices

print(crystal.values["eps_inf"].round(2))
print("refractive indices", refractive_indices(crystal.values["eps_inf"]).indices.round(2))

# %% [markdown]
# ## How sure is it?
#
# The model has five readouts, which have learned from an ensemble of five networks. Where they disagree, the prediction
# is a guess: `spread` has the standard deviation of every component. `interval` is made of it and of the errors on
# validation crystals: for nine of ten crystals the error is smaller. It counts all nine components together (the
# Frobenius norm of the difference from DFT). `warnings` says what else is wrong: an element outside the training set, a
# crystal that is probably a metal.

# %%
print("spread of Ti up to", crystal.spread["born_charges"][titanium].max().round(2), "e")
print(f"error of Ti below {crystal.interval['born_charges'][titanium]:.2f} e (90 %)")
print("warnings", crystal.warnings)

# %%
from ase.build import bulk

aluminum = voigt.predict(bulk("Al"))[0]
print(*aluminum.warnings)
print([note.kind for note in aluminum.notes])

# %% [markdown]
# ## Other properties
#
# Name what you want; the models that ship share the work. The elastic tensor of zinc oxide, and the moduli that
# follow:

# %%
from voigt.response import moduli

settings = voigt.Settings(properties=("elastic", "eps_total", "band_gap"))
zno = voigt.predict("examples/ZnO.cif", settings=settings)[0]
average = moduli(zno.values["elastic"])
print(f"bulk modulus {average.bulk_hill:.0f} GPa, Young's modulus {average.young:.0f} GPa")
print(f"static permittivity along c {zno.values['eps_total'][2, 2]:.1f}")
print(f"band gap of PBE {float(zno.values['band_gap']):.1f} eV")

# %% [markdown]
# ## Many crystals
#
# A file of 41 crystals takes seconds. Here is what everyone expects: the wider the gap, the lower the refractive
# index.

# %%
import matplotlib.pyplot as plt
import numpy as np

settings = voigt.Settings(properties=("eps_inf", "band_gap"))
crystals = voigt.predict("examples/families.xyz", settings=settings)
gap = np.array([float(entry.values["band_gap"]) for entry in crystals])
index = np.array([np.sqrt(np.trace(entry.values["eps_inf"]) / 3) for entry in crystals])
family = np.array([entry.id.split("-")[0] for entry in crystals])

figure, axes = plt.subplots(figsize=(6, 4))
for name in dict.fromkeys(family):
    axes.plot(gap[family == name], index[family == name], "o", label=name)
axes.set(xlabel="predicted PBE gap (eV)", ylabel="predicted refractive index")
axes.legend(frameon=False);

# %% [markdown]
# ## On the command line
#
# The same without Python. `-o` writes a file, its suffix chooses the format; `--born` writes the file that phonopy
# reads.

# %%
# !voigt predict examples/MgO.vasp --born BORN
# !voigt predict examples/families.xyz --properties eps_inf,band_gap -o predictions.csv --quiet

# %% [markdown]
# ## Where to go from here
#
# * [Phonons with LO-TO splitting](phonons.py) and [your own data](own_data.py), the other two notebooks
# * [Predicting](../prediction.md): inputs, corrections, warnings, output files
# * [Results](../results.md): how accurate the models are, and on what

# ruff: noqa: T201
"""From a structure file to BORN, what phonopy makes of it, and the same tensors for phonopy's API, Euphonic and ABINIT.

    python examples/born_file.py

LiNbO3 is given with 30 atoms in hexagonal axes; phonopy wants the independent atoms of its own primitive cell, three
of ten, in its order. Symmetry and acoustic sum rule are steps that say what they change. The charges of oxygen are no
symmetric matrices, so it matters which index is that of the field. Writes LiNbO3.BORN to the working folder.
"""

from pathlib import Path

import numpy as np
import phonopy
from phonopy.structure.atoms import PhonopyAtoms

import voigt
from voigt.response.phonons import abinit_arrays, born_file, corrected, euphonic_arrays, nac_params

AXES = "R"  # phonopy's primitive matrix of rhombohedral crystals in hexagonal axes; "auto" finds the same

# Raw tensors, so that the steps show; without these settings `voigt.predict` takes both steps itself.
settings = voigt.Settings(symmetrize=False, sum_rule=False)
raw = voigt.predict(Path(__file__).parent / "LiNbO3.cif", settings=settings)[0]
atoms = raw.atoms
done = corrected(atoms, raw.values["born_charges"], raw.values["eps_inf"])
print(*done.steps, "", sep="\n")

text = born_file(atoms, done.born_charges, done.eps_inf, primitive_matrix=AXES)
Path("LiNbO3.BORN").write_text(text, encoding="utf-8")
print(text)

# phonopy reads the file for the same cell and restores the other atoms of its primitive cell by symmetry.
cell = PhonopyAtoms(atoms.symbols, cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions())
phonon = phonopy.load(unitcell=cell, primitive_matrix=AXES, born_filename="LiNbO3.BORN", produce_fc=False)
read_back = phonon.nac_params
# Without a file: what `phonon.nac_params = ...` takes.
parameters = nac_params(atoms, done.born_charges, done.eps_inf, primitive_matrix=AXES)
difference = max(abs(read_back[key] - parameters[key]).max() for key in ("born", "dielectric"))
print(f"{len(atoms)} atoms given, {len(read_back['born'])} in phonopy's primitive cell")
print(f"largest difference between BORN read by phonopy and nac_params: {difference:.1e}")

euphonic, abinit = euphonic_arrays(parameters), abinit_arrays(parameters)
oxygen = phonon.primitive.symbols.index("O")
print("\nZ of an oxygen atom, e:", "phonopy [field, displacement]", parameters["born"][oxygen].round(3), sep="\n")
print("Euphonic [displacement, field]", euphonic["born"][oxygen].round(3), sep="\n")
print("ABINIT   [displacement, field], becs_cart of anaddb.nc", abinit["becs_cart"][oxygen].round(3), sep="\n")
print(f"largest |sum of Z|: {abs(parameters['born'].sum(axis=0)).max():.1e} e")
along, across = done.eps_inf[2, 2], np.trace(done.eps_inf[:2, :2]) / 2
print(f"eps_inf along c {along:.3f}, across {across:.3f}")

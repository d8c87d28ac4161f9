# ruff: noqa: T201
"""What relaxing ions add to the piezoelectricity of ZnS: e and d from Z, force constants and internal strain.

    python examples/ionic_piezo.py

Springs between neighbors (see toy_springs.py) keep bond lengths whatever their stiffness, and shear moves the two
sublattices by as much as that takes: e14 = Z e / a^2. In a real crystal bonds bend as well and ions move less
(Kleinman, Phys. Rev. 128, 2614 (1962)). Above all, the electrons answer to the strain and cancel most of it: the model
`piezo` predicts this clamped-ion part, which is not added here. So the figures show the way from a potential to e and
d, not the piezoelectricity of ZnS: e14 = 0.147 C/m^2, d14 = 3.18 pm/V (Berlincourt, Jaffe and Shiozawa, Phys.
Rev. 129, 1009 (1963)).
"""

import ase.io
from ase.build import bulk
from toy_springs import zinc_sulfide

import voigt
from voigt.response import strain_coefficients, strain_coefficients_to_voigt
from voigt.response.phonons import (
    gamma_force_constants,
    internal_displacements,
    internal_strain_by_calculator,
    ionic_piezo,
    read_project,
    unit_cell,
)
from voigt.tensors.voigt import piezo_to_voigt

LATTICE = 5.409  # A

ase.io.write("ZnS.vasp", bulk("ZnS", "zincblende", a=LATTICE), direct=True)
project = read_project("ZnS.vasp", zinc_sulfide(), dim=[2, 2, 2])
atoms = unit_cell(project)  # two atoms: here the primitive cell, whose atoms the force constants are for

tensors = voigt.predict(atoms, settings=voigt.Settings(properties=("born_charges", "elastic")))[0].values
z, elastic = tensors["born_charges"], tensors["elastic"]
force_constants = gamma_force_constants(project.phonon)
strain = internal_strain_by_calculator(atoms, zinc_sulfide())

shift = internal_displacements(force_constants, strain)
e_ionic = ionic_piezo(force_constants, strain, z, atoms.get_volume())
d_ionic = strain_coefficients(e_ionic, elastic)

kleinman = abs(shift[0, 0, 1, 2] - shift[1, 0, 1, 2]) / (LATTICE / 4)
print(f"Z(Zn) {z[0, 0, 0]:.3f} e, predicted; Kleinman's parameter {kleinman:.3f}, 1 where bonds keep their length")
print("ionic part of e, C/m^2 (rows x y z; columns xx yy zz yz zx xy)")
print(piezo_to_voigt(e_ionic).round(3) + 0.0)
print("ionic part of d = e S, pm/V, S from the predicted elastic tensor")
print(strain_coefficients_to_voigt(d_ionic).round(2) + 0.0)
closed_form = z[0, 0, 0] / LATTICE**2 * 16.02177  # C/m^2
print(f"|e14| {abs(e_ionic[0, 1, 2]):.4f} C/m^2; in closed form Z e / a^2 = {closed_form:.4f} C/m^2")

"""What inputs of codes say beside elements and places: ghosts, mixtures, charges, counts, and words of their own."""

from __future__ import annotations

from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.units import Bohr
from tests.structures.inputs import only, trouble

from voigt.structures import read, read_one
from voigt.structures.domain import stated_charge

EDGE = 4.2
"""Angstrom, of the cubic cell of all files here, which hold Mg at the origin and O in its center."""
CUBE = f"{EDGE} 0 0\n0 {EDGE} 0\n0 0 {EDGE}"
FDF = """NumberOfAtoms {count}
LatticeConstant 0.42 nm
%block ChemicalSpeciesLabel
1 12 Mg
2 {z} O
3 -8 O.ghost
%endblock ChemicalSpeciesLabel
AtomicCoordinatesFormat Fractional
%block AtomicCoordinatesAndAtomicSpecies
0 0 0 1
5.0d-1 0.5 1/2 2
{more}
%endblock AtomicCoordinatesAndAtomicSpecies
{end}
"""
XV = """8.0 0 0 0 0 0
0 8.0 0 0 0 0
0 0 8.0 0 0 0
3
1 12 0.0 0.0 0.0 0 0 0
2 8 4.0 4.0 4.0 0 0 0
3 -8 4.0 0.0 0.0 0 0 0
"""
CP2K = """&FORCE_EVAL
&DFT
CHARGE {charge}
&END DFT
&SUBSYS
&CELL
ABC [nm] 0.42 0.42 0.42
&END CELL
&COORD
{scaled}
Mg 0 0 0
O 0.5 5.0D-1 1/2
{more}
&END COORD
&KIND Og
ELEMENT_SYMBOL O
GHOST {ghost}
&END KIND
&END SUBSYS
&END FORCE_EVAL
"""
ABINIT = f"acell = 3*{EDGE} angstrom natom = 2 ntypat 2 typat 1 2 znucl 12 8 xred 0 0 0 "
ESPRESSO = """&system
ibrav={lattice}, nat=2, ntyp=2 {more}
/
ATOMIC_POSITIONS {unit}
Mg 0 0 0 ! at the origin
O {place} 1 1 0
{end}
"""
CELL = """%block lattice_abc
{edge}
90, 90, 90
%endblock lattice_abc
%block positions_frac
12 0, 0, 0
8 0.5, 0.5, 5.0d-1
%endblock positions_frac
{end}
"""
OUTCAR = """ POTCAR:    PAW_PBE Mg 13Apr2007
   TITEL  = PAW_PBE Mg 13Apr2007
   POMASS =   24.305; ZVAL   =    2.000    mass and valenz
   TITEL  = PAW_PBE O 08Apr2002
   POMASS =   16.000; ZVAL   =    6.000    mass and valenz
   ions per type =               1   1
   VCA    =   {weights}
   NELECT =       {electrons}    total number of electrons
      direct lattice vectors                 reciprocal lattice vectors
     4.200000000  0.000000000  0.000000000     0.238095238  0.000000000  0.000000000
     0.000000000  4.200000000  0.000000000     0.000000000  0.238095238  0.000000000
     0.000000000  0.000000000  4.200000000     0.000000000  0.000000000  0.238095238
 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
      0.00000      0.00000      0.00000         0.000000      0.000000      0.000000
      2.10000      2.10000      2.10000         0.000000      0.000000      0.000000
 -----------------------------------------------------------------------------------
"""
VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <parameters><v name="VCA"> {weights} </v><i name="NELECT">    {electrons}</i></parameters>
 <atominfo><array name="atoms"><set><rc><c>Mg</c><c>1</c></rc><rc><c>O </c><c>2</c></rc></set></array>
 <array name="atomtypes"><set><rc><c>   1</c><c>Mg</c><c>  24.30500000</c><c>   2.00000000</c><c> PAW_PBE </c></rc>
 <rc><c>   1</c><c>O </c><c>     16.00000000</c><c>      6.00000000</c><c> PAW_PBE </c></rc></set></array></atominfo>
 {steps}
 <structure name="{name}" ><crystal><varray name="basis" >
 <v> 4.2 0 0 </v><v> 0 4.2 0 </v><v> 0 0 4.2 </v></varray></crystal>
 <varray name="positions" ><v> 0 0 0 </v><v> 0.5 0.5 0.5 </v></varray></structure>
 {end}
"""


XSF = f"CRYSTAL\nPRIMVEC\n{CUBE}\nPRIMCOORD\n{{count}} 1\n12 0 0 0\nO 2.1 2.1 2.1\n"
POSCAR = f"MgO\n1.0\n{CUBE}\nMg O\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"


def fdf(count: int = 2, z: int = 8, more: str = "", end: str = "") -> str:
    return FDF.format(count=count, z=z, more=more, end=end)


def cp2k(scaled: str = "SCALED", more: str = "", ghost: str = "", charge: int = 0) -> str:
    return CP2K.format(scaled=scaled, more=more, ghost=ghost, charge=charge)


def espresso(place: str = "0.5 0.5 0.5", unit: str = "crystal", lattice: int = 1, more: str = "", end: str = "") -> str:
    more = more or ", A=4.2"
    return ESPRESSO.format(place=place, unit=unit, lattice=lattice, more=more, end=end)


def cell(edge: str = "4.2, 4.2, 4.2", end: str = "") -> str:
    return CELL.format(edge=edge, end=end)


def vasprun(electrons: float = 8.0, weights: str = "1.0 1.0", name: str = "finalpos", steps: str = "") -> str:
    return VASPRUN.format(electrons=electrons, weights=weights, name=name, steps=steps, end="</modeling>")


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def assert_is_oxide(atoms: ase.Atoms, edge: float = EDGE) -> None:
    assert atoms.get_chemical_symbols() == ["Mg", "O"]
    np.testing.assert_allclose(atoms.cell.cellpar(), [edge] * 3 + [90] * 3, rtol=1e-6)
    np.testing.assert_allclose(atoms.get_scaled_positions(), [[0, 0, 0], [0.5] * 3], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.fdf", fdf(3, more="0.5 0 0 3")),
        ("a.inp", cp2k(more="Og 0.5 0 0")),
        ("true.inp", cp2k(more="Og 0.5 0 0", ghost="true")),
        ("a.STRUCT_OUT", f"{CUBE}\n3\n1 12 0 0 0\n2 8 0.5 0.5 0.5\n3 -8 0.5 0 0\n"),
        ("geometry.in", f"lattice_vector {CUBE.replace(chr(10), chr(10) + 'lattice_vector ')}\natom 0 0 0 Mg\n"
         "atom 2.1 2.1 2.1 O\nempty 2.1 0 0 O\n"),
    ],
)  # fmt: skip
def test_ghosts_have_no_nuclei(tmp_path: Path, name: str, text: str) -> None:
    assert_is_oxide(read_one(written(tmp_path, name, text)))


def test_ghosts_in_a_restart_of_siesta(tmp_path: Path) -> None:
    assert_is_oxide(read_one(written(tmp_path, "a.XV", XV)), 8.0 * Bohr)


def test_what_may_follow_the_atoms(tmp_path: Path) -> None:
    grid = f"BEGIN_BLOCK_DATAGRID_3D\n density\n BEGIN_DATAGRID_3D_of_a_code\n2 2 2\n0 0 0\n{CUBE}\n1 2 3 4 5 6\n7 8\n"
    grid += "END_DATAGRID_3D\nEND_BLOCK_DATAGRID_3D\n"
    assert_is_oxide(read_one(written(tmp_path, "a.xsf", XSF.format(count=2) + grid)))
    for more in ("\n0 0 0\n0 0 0\n", "Cartesian\n0 0 0\n0 0 0\n", "Lattice velocities and vectors\n 1\n"):
        assert_is_oxide(read_one(written(tmp_path, "a.vasp", POSCAR + more)))


def test_lists_of_a_poscar_may_go_on_in_another_line(tmp_path: Path) -> None:
    lists = POSCAR.replace("Mg O\n1 1", "Mg\nO\n1\n1")
    assert_is_oxide(read_one(written(tmp_path, "a.vasp", lists)))
    fixed = lists.replace("Dir", "Selective\nDir").replace("0 0 0\n0.5 0.5 0.5", "0 0 0 T T F\n0.5 0.5 0.5 T T F")
    assert_is_oxide(read_one(written(tmp_path, "b.vasp", fixed)))


def test_a_kind_that_is_no_ghost_is_an_atom(tmp_path: Path) -> None:
    atoms = read_one(written(tmp_path, "a.inp", cp2k(more="Og 0.5 0 0", ghost="F")))
    assert atoms.get_chemical_symbols() == ["Mg", "O", "O"]


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("two.abi", "natom 2 ntypat 1 npsp 2 ntypalch 1 znucl 14 32 typat 1 1 mixalch .5 .5 acell 3*10.2 "
         "rprim 0 .5 .5 .5 0 .5 .5 .5 0 xred 0 0 0 1/4 1/4 1/4", "has mixed atoms (Si and Ge"),
        ("three.abi", "natom 2 ntypat 2 npsp 3 ntypalch 1 znucl 33 31 13 typat 1 2 mixalch .3 .7 acell 3*10.6 "
         "rprim 0 .5 .5 .5 0 .5 .5 .5 0 xred 0 0 0 1/4 1/4 1/4", "has mixed atoms (Ga and Al"),
        ("a.fdf", fdf(z=201), "has mixed atoms (the synthetic species 201)"),
        ("OUTCAR", OUTCAR.format(electrons=8.0, weights="1.00 0.70"), "has mixed atoms (VCA = 1 0.7)"),
        ("vasprun.xml", vasprun(weights="1.0 0.5"), "has mixed atoms (VCA = 1 0.5)"),
    ],
)  # fmt: skip
def test_virtual_crystals_are_disordered(tmp_path: Path, name: str, text: str, shown: str) -> None:
    assert shown in trouble(only(read(written(tmp_path, name, text))))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.fdf", fdf(end="NetCharge {}")),
        ("a.pwi", espresso(more=", A=4.2, tot_charge={}")),
        ("a.cell", cell(end="CHARGE : {}")),
        ("a.abi", ABINIT + "0.5 0.5 0.5 cellcharge {}"),
        ("old.abi", ABINIT + "0.5 0.5 0.5 charge {}"),
        ("a.inp", cp2k(charge=7).replace("CHARGE 7", "CHARGE {}")),
        ("aims.out", "Invoking FHI-aims ...\n  Charge =   {}.000000E+00: Charged system requested explicitly.\n"
         "  Updated atomic structure:\n  lattice_vector 4.2 0 0\n  lattice_vector 0 4.2 0\n  lattice_vector 0 0 4.2\n"
         "  atom 0 0 0 Mg\n  atom 2.1 2.1 2.1 O\n  Writing the current geometry to file\n"),
    ],
)  # fmt: skip
def test_a_stated_charge_is_that_of_the_cell(tmp_path: Path, name: str, text: str) -> None:
    for charge in (-1, 0, 2):
        path = written(tmp_path, name, text.replace("{}", str(charge)))
        atoms = read_one(path)
        assert_is_oxide(atoms)
        assert stated_charge(atoms) == charge
        assert ("charge" in atoms.info) == (charge != 0)


def test_vasp_tells_the_charge_by_its_electrons(tmp_path: Path) -> None:
    for electrons, charge in ((8.0, 0.0), (7.0, 1.0), (8.001, 0.0), (10.0, -2.0)):
        outcar = written(tmp_path, "OUTCAR", OUTCAR.format(electrons=electrons, weights="1.00 1.00"))
        for path in (outcar, written(tmp_path, "vasprun.xml", vasprun(electrons))):
            assert_is_oxide(read_one(path))
            assert stated_charge(read_one(path)) == charge
    holes = OUTCAR.format(electrons=8.5, weights="1.00 1.00") + " Core level calculations are selected\n"
    assert stated_charge(read_one(written(tmp_path, "OUTCAR", holes))) == 0.0


def test_runs_of_vasp_without_ionic_steps(tmp_path: Path) -> None:
    assert_is_oxide(read_one(written(tmp_path, "final.xml", vasprun())))
    spectrum = vasprun(name="initialpos", steps="<dielectricfunction></dielectricfunction>")
    assert_is_oxide(read_one(written(tmp_path, "spectrum.xml", spectrum)))
    begun = vasprun(name="initialpos")
    assert "no finished ionic step" in trouble(only(read(written(tmp_path, "begun.xml", begun))))


@pytest.mark.parametrize("word", ["", "T", ".t.", "true", ".TRUE.", "yes", "ON", "1"])
def test_logicals_of_cp2k(tmp_path: Path, word: str) -> None:
    assert_is_oxide(read_one(written(tmp_path, "a.inp", cp2k(f"scaled {word}"))))


def test_logicals_that_say_no_or_nothing(tmp_path: Path) -> None:
    for word in ("F", ".false.", "no", "OFF", "0"):
        place = f"O {2.1 / Bohr} {2.1 / Bohr} {2.1 / Bohr}"
        text = cp2k(f"SCALED {word}\nUNIT [bohr]").replace("O 0.5 5.0D-1 1/2", place)
        assert_is_oxide(read_one(written(tmp_path, "a.inp", text)))
    assert "write T or F" in trouble(only(read(written(tmp_path, "a.inp", cp2k("SCALED perhaps")))))


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("more.pwi", espresso(end="O 0 0.5 0.5"), "says nat = 2, but 3 atoms follow"),
        ("fewer.pwi", espresso(end="K_POINTS gamma").replace("nat=2", "nat=3"), "says nat = 3, but 2 atoms follow"),
        ("twice.pwi", espresso(end="ATOMIC_POSITIONS crystal\nO 0 0 0"), "ATOMIC_POSITIONS twice"),
        ("unit.pwi", espresso(unit="furlongs"), "'furlongs'"),
        ("more.abi", ABINIT + "0.5 0.5 0.5 0.5 0 0", "more than 6 numbers after xred"),
        ("fewer.abi", ABINIT + "0.5 0.5", "has 5 numbers after xred"),
        ("types.abi", ABINIT.replace("typat 1 2", "typat 1 2 2") + "0.5 0.5 0.5", "more than 2 numbers after typat"),
        ("a.xsf", XSF.format(count=1), "promises 1 atoms, but 2 follow"),
        ("a.vasp", POSCAR.replace("1 1", "1"), "names 2 elements"),
        ("b.vasp", POSCAR + "0.5 0.5 0\n", "promises 2 atoms in line 7, but more positions follow"),
        ("c.vasp", POSCAR.replace("Dir", "Selective\nDir") + "0.5 0.5 0 T T T\n", "more positions follow"),
        ("a.cell", cell().replace("12 0", "120 0"), "atomic number 120"),
        ("b.cell", cell(end="%block positions_abs\nMg 0 0 0\n%endblock positions_abs"), "has both blocks"),
        ("two.abi", ABINIT + "0.5 0.5 0.5 xcart 0 0 0 1 1 1", "gives the atoms as xred and xcart"),
        ("two/geometry.in", "lattice_vector 4 0 0\nlattice_vector 0 4 0\natom 0 0 0 Mg\n", "has 2 lattice vectors"),
        ("geometry.in", f"lattice_vector {CUBE.replace(chr(10), chr(10) + 'lattice_vector ')}\natom 0 0 0 Si1\n",
         "unknown element 'Si1'"),
    ],
)  # fmt: skip
def test_numbers_and_words_that_do_not_agree(tmp_path: Path, name: str, text: str, shown: str) -> None:
    assert shown in trouble(only(read(written(tmp_path, name, text))))


@pytest.mark.parametrize(
    "text",
    [
        espresso("5.0d-1 0.5D0 1/2"),
        espresso("1/2/2*2 1-1/2 (1+2)/6"),
        espresso("2^(-1) -0.5+1 -(-1/2)"),
        espresso(more=f", celldm(1)={EDGE / Bohr:.9f}d0"),
        espresso("0.5 0.5 0.5", "alat", 0, " ", f"CELL_PARAMETERS {{ angstrom }}\n{CUBE}"),
        espresso("2.1 2.1 2.1", "{ angstrom }", 0, " ", f"CELL_PARAMETERS (angstrom)\n{CUBE} ! cube"),
        espresso("2.1 2.1 2.1", "(Angstrom)"),
        espresso("0.5 0.5 0.5", ""),
    ],
)
def test_numbers_and_units_of_espresso(tmp_path: Path, text: str) -> None:
    atoms = read_one(written(tmp_path, "a.pwi", text))
    np.testing.assert_allclose(atoms.cell.lengths(), EDGE, rtol=2e-6)
    assert_is_oxide(atoms, float(atoms.cell.lengths()[0]))


@pytest.mark.parametrize("word", ["(__import__('os'))", "9^9^9^9", "(-1)^(1/2)", "1/0", "0.x", "1j", "(" * 200])
def test_words_that_are_no_coordinates(tmp_path: Path, word: str) -> None:
    problem = trouble(only(read(written(tmp_path, "a.pwi", espresso(f"{word} 0 0")))))
    assert "where a coordinate belongs" in problem


def test_units_and_atomic_numbers_of_castep(tmp_path: Path) -> None:
    assert_is_oxide(read_one(written(tmp_path, "a.cell", cell())))
    assert_is_oxide(read_one(written(tmp_path, "a.cell", cell("nm\n0.42 0.42 0.42"))))


def test_trajectories_keep_occupancies_and_charges(tmp_path: Path) -> None:
    salt = bulk("NaCl", "rocksalt", a=5.64)
    salt.info["charge"] = 1
    mixed = salt.copy()
    mixed.info["occupancy"] = {0: {"Na": 0.5, "K": 0.5}, 1: {"Cl": 1.0}}
    ase.io.write(tmp_path / "a.traj", [salt, mixed])
    whole, partial = read(tmp_path / "a.traj")
    assert stated_charge(whole.atoms) == 1
    assert "partially occupied at site 0 (Na 0.5, K 0.5)" in trouble(partial)

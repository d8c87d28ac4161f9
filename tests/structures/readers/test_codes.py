"""Inputs and outputs of other codes: one crystal from each, written by ASE or by hand."""

from __future__ import annotations

import textwrap
import warnings
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.geometry import cellpar_to_cell
from ase.units import Bohr
from numpy.typing import NDArray
from tests.structures.inputs import good, only, trouble

from voigt.structures import read, read_one

CELL = np.array([[4.1, 0.2, -0.3], [0.5, 5.2, 0.4], [-1.1, 0.7, 6.3]])
SITES = {"Mg": [[0.02, 0.03, 0.05]], "O": [[0.31, 0.44, 0.52], [0.71, 0.12, 0.83]]}
LINES = [(symbol, *place) for symbol, places in SITES.items() for place in places]


def triclinic() -> Atoms:
    places = [place for places in SITES.values() for place in places]
    return Atoms("MgO2", scaled_positions=places, cell=CELL, pbc=True)


def rows(values: Any, unit: float = 1.0) -> str:
    return "\n".join(" ".join(f"{value / unit:.12f}" for value in row) for row in np.asarray(values))


def sites(layout: str, cartesian: bool = False, unit: float = 1.0) -> str:
    crystal = triclinic()
    places = crystal.positions / unit if cartesian else crystal.get_scaled_positions()
    kind = {"Mg": 1, "O": 2}
    return "\n".join(
        layout.format(s=atom.symbol, k=kind[atom.symbol], z=atom.number, n=n, p=" ".join(f"{x:.12f}" for x in place))
        for n, (atom, place) in enumerate(zip(crystal, places, strict=True), start=1)
    )


def assert_is(atoms: Atoms, expected: Atoms, tolerance: float = 1e-6) -> None:
    assert atoms.get_chemical_symbols() == expected.get_chemical_symbols()
    assert atoms.pbc.all()
    np.testing.assert_allclose(atoms.cell.array, expected.cell.array, atol=tolerance)
    np.testing.assert_allclose(atoms.positions, expected.positions, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("a.pwi", "espresso-in", {"pseudopotentials": {"Mg": "Mg.upf", "O": "O.upf"}}),
        ("geometry.in", "aims", {}),
        ("fractional.in", "aims", {"scaled": True}),
        ("a.cell", "castep-cell", {}),
        ("a.xsf", "xsf", {}),
        ("a.gen", "gen", {}),
        ("fractional.gen", "gen", {"fractional": True}),
        ("a.abi", "abinit-in", {"species": [8, 12]}),
        ("a.traj", "traj", {}),
        ("XDATCAR", "vasp-xdatcar", {}),
        ("a.vasp", "vasp", {}),
    ],
)
def test_what_ase_writes_is_read_by_name_and_by_content(tmp_path: Path, name: str, kind: str, options: Any) -> None:
    path = tmp_path / name
    with warnings.catch_warnings():  # ASE looks for an installation of CASTEP and of aims
        warnings.simplefilter("ignore")
        ase.io.write(path, triclinic(), format=kind, **options)
    assert_is(read_one(path), triclinic())
    path.rename(tmp_path / "unnamed")
    assert_is(read_one(tmp_path / "unnamed"), triclinic())


@pytest.mark.parametrize(("name", "kind"), [("a.res", "res"), ("a.struct", "struct")])
def test_formats_that_keep_lengths_and_angles_only(tmp_path: Path, name: str, kind: str) -> None:
    ase.io.write(tmp_path / name, triclinic(), format=kind)
    atoms, expected = read_one(tmp_path / name), triclinic()
    assert atoms.get_chemical_symbols() == expected.get_chemical_symbols()
    np.testing.assert_allclose(atoms.cell.cellpar(), expected.cell.cellpar(), atol=1e-5)
    np.testing.assert_allclose(atoms.get_scaled_positions(), expected.get_scaled_positions(), atol=1e-6)


ESPRESSO = """
    Program PWSCF v.7.2 starts on  1Jan2024
     lattice parameter (alat)  =       {alat:.9f}  a.u.
     number of atoms/cell      =            3
     number of atomic types    =            2
     celldm(1)= {alat:.9f}  celldm(2)=   0.000000  celldm(3)=   0.000000
     crystal axes: (cart. coord. in units of alat)
               a(1) = (   1.000000   0.000000   0.000000 )
               a(2) = (   0.000000   1.000000   0.000000 )
               a(3) = (   0.000000   0.000000   1.000000 )
     site n.     atom                  positions (alat units)
         1           Mg  tau(   1) = (   0.0000000   0.0000000   0.0000000  )
         2           O   tau(   2) = (   0.5000000   0.5000000   0.0000000  )
         3           O   tau(   3) = (   0.5000000   0.0000000   0.5000000  )
     number of k points=     1
"""
AIMS = """
          Invoking FHI-aims ...
  | Unit cell:
  |        4.00000000        0.00000000        0.00000000
  |        0.00000000        4.00000000        0.00000000
  |        0.00000000        0.00000000        4.00000000
  | Atomic structure:
  |       Atom                x [A]            y [A]            z [A]
  |    1: Species Mg            0.00000000        0.00000000        0.00000000
  |    2: Species O             2.00000000        2.00000000        0.00000000
  |    3: Species O             2.00000000        0.00000000        2.00000000
  Begin self-consistency loop: Initialization.
"""
OUTCAR = """ vasp.6.4.2 20Jul23 (build Jul 25 2023 14:38:58) complex

 POTCAR:    PAW_PBE Mg_pv 13Apr2007
 POTCAR:    PAW_PBE O 08Apr2002
   TITEL  = PAW_PBE Mg_pv 13Apr2007
   TITEL  = PAW_PBE O 08Apr2002
   ions per type =               1   2
      direct lattice vectors                 reciprocal lattice vectors
     4.000000000  0.000000000  0.000000000     0.250000000  0.000000000  0.000000000
     0.000000000  4.000000000  0.000000000     0.000000000  0.250000000  0.000000000
     0.000000000  0.000000000  4.000000000     0.000000000  0.000000000  0.250000000
 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
      0.00000      0.00000      0.00000         0.000000      0.000000      0.000000
      2.00000      2.00000      0.00000         0.000000      0.000000      0.000000
      2.00000      0.00000      2.00000         0.000000      0.000000      0.000000
 -----------------------------------------------------------------------------------
"""
LATER_STEP = """      direct lattice vectors                 reciprocal lattice vectors
{vectors}
 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
{atoms}
 -----------------------------------------------------------------------------------
    total drift:                                0.000000      0.000000      0.000000
"""
CASTEP = """
 |      Welcome to Academic Release CASTEP version 23.1                       |
 | CCC   AA    SSS  TTTTT  EEEEE  PPPP        |
 ***************** Title *****************
 ***************************************
                           -------------------------------
                                      Unit Cell
                           -------------------------------
        Real Lattice(A)              Reciprocal Lattice(1/A)
{vectors}
                           -------------------------------
                                     Cell Contents
                           -------------------------------
                         Total number of ions in cell =    3
                      Total number of species in cell =    2

            xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
            x  Element         Atom        Fractional coordinates of atoms  x
            x                 Number           u          v          w      x
            x------------------------------------------------------x
{atoms}
            xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
Final energy, E             =  -100.0     eV
Final free energy (E-TS)    =  -100.0     eV
NB est. 0K energy (E-0.5TS)      =  -100.0     eV
Total time          =      1.00 s
Finalisation time   =      0.01 s
"""
ABINIT = """
.Version 9.10.3 of ABINIT
 -outvars: echo values of preprocessed input variables --------
            acell      7.0  7.0  7.0 Bohr
            natom           3
================================================================================
 -outvars: echo values of variables after computation  --------
            acell      2.0000000000E+00  3.0000000000E+00  4.0000000000E+00 Bohr
P           mkmem           1
-          fftalg         512
            natom           3
           ntypat           2
            rprim     {vectors}
            typat      1  2  2
            xred      {atoms}
            znucl       12.00000    8.00000
================================================================================
"""
CP2K = """
&GLOBAL
  RUN_TYPE ENERGY  ! a comment
&END GLOBAL
&FORCE_EVAL
  &DFT
    CHARGE 0
  &END DFT
  &SUBSYS
    &CELL
      {cell}
    &END CELL
    &COORD
      {coord}
    &END COORD
    &KIND Mgx
      ELEMENT Mg
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""
FDF = """
NumberOfAtoms 3
Number-Of-Species 2
LatticeConstant {constant}
%block LatticeVectors
{vectors}
%endblock LatticeVectors
%block ChemicalSpeciesLabel
 1 12 Mg.psf
 2  8 O.psf
%endblock Chemical_Species_Label
AtomicCoordinatesFormat {format}
%block AtomicCoordinatesAndAtomicSpecies
{atoms}
%endblock AtomicCoordinatesAndAtomicSpecies
"""
PHONOPY = """
phonopy:
  version: "2.38.0"
physical_unit:
  length: "{unit}"
primitive_cell:
  lattice:
  - [ 1.0, 0.0, 0.0 ]
unit_cell:
  lattice:
{vectors}
  points:
{atoms}
displacements: !!python/object/apply:os.system [false]
"""


def espresso(text: str) -> str:
    return textwrap.dedent(text)


def by_hand() -> dict[str, str]:
    """Name of a file -> its content, each of the same crystal."""
    three = rows(CELL)
    indented = "\n".join(f"  - [ {', '.join(f'{x / Bohr:.12f}' for x in row)} ]" for row in CELL)
    points = "\n".join(f"  - symbol: {s}\n    coordinates: [ {a}, {b}, {c} ]\n    mass: 1.0" for s, a, b, c in LINES)
    return {
        "angstrom.pwi": "&CONTROL\n/\n&system\n ibrav=0 nat=3 ntyp=2\n/\natomic_species\nMg 24.3 Mg.upf\nO1 16 O.upf\n"
        f"CELL_PARAMETERS {{angstrom}}\n{three}\nATOMIC_POSITIONS {{crystal}}\n" + sites("{s} {p}"),
        "bohr.in": "&system\n ibrav=0, nat=3, ntyp=2\n/\n"
        f"CELL_PARAMETERS bohr\n{rows(CELL, Bohr)}\nATOMIC_POSITIONS bohr\n" + sites("{s} {p}", True, Bohr),
        "alat.in": "&system\n ibrav=0, nat=3, ntyp=2, A=2.0\n/\n"
        f"CELL_PARAMETERS alat\n{rows(CELL, 2.0)}\nATOMIC_POSITIONS alat\n" + sites("{s} {p}", True, 2.0),
        "relaxed.pwo": ESPRESSO.format(alat=4.0 / Bohr)
        + f"CELL_PARAMETERS (angstrom)\n{three}\n\nATOMIC_POSITIONS (crystal)\n"
        + sites("{s} {p}")
        + "\n\n",
        "aims.out": AIMS
        + "  Updated atomic structure:\n                         x [A]             y [A]             z [A]\n"
        + "".join(f"  lattice_vector  {line}\n" for line in three.splitlines())
        + sites("            atom {p} {s}", True)
        + '\n  Writing the current geometry to file "geometry.in.next_step".\n',
        "OUTCAR": OUTCAR
        + LATER_STEP.format(
            vectors="\n".join(f"   {line}   0.1000000 0.2000000-0.3000000" for line in three.splitlines()),
            atoms=sites("  {p}   0.000000 0.000000 0.000000", True),
        ),
        "a.castep": CASTEP.format(
            vectors="\n".join(f"{line} 0.1 0.2 0.3" for line in three.splitlines()), atoms=sites("x {s} {n} {p} x")
        ),
        "a.cell": "! by hand\n%BLOCK LATTICE_CART\nbohr\n" + rows(CELL, Bohr) + "\n%ENDBLOCK LATTICE_CART\n"
        "%block positions_abs\nnm\n" + sites("{s} {p}", True, 10.0) + "\n%endblock positions_abs\n",
        "out.abo": ABINIT.format(
            vectors=rows(CELL / Bohr / np.array([[2.0], [3.0], [4.0]])), atoms=sites("{p}").replace("\n", "\n       ")
        ),
        "in.abi": f"acell 3*1.0 Angstrom # a comment\nrprim\n{three}\nnatom 3 ntypat 2 znucl 12 8 typat 1 2*2\n"
        "xred 1/50 0.3d-1 0.05\n 0.31 0.44 0.52 0.71 0.12 0.83\n ecut 20",
        "cartesian.abi": f"acell 1 1 1 rprim {rows(CELL, Bohr)} natom 3 ntypat 2 znucl 12 8 typat 1 2 2 "
        "xcart " + sites("{p}", True, Bohr),
        "vectors.inp": CP2K.format(
            cell="\n".join(
                f"{axis} [bohr] {line}" for axis, line in zip("ABC", rows(CELL, Bohr).splitlines(), strict=True)
            ),
            coord="UNIT bohr\n" + sites("{s} {p}", True, Bohr),
        ),
        "scaled-1.restart": CP2K.format(
            cell="\n".join(f"{axis} {line}" for axis, line in zip("ABC", three.splitlines(), strict=True)),
            coord="SCALED\n" + sites("{s} {p}").replace("Mg", "Mgx"),
        ),
        "fractional.fdf": FDF.format(
            constant="2.0 Ang", vectors=rows(CELL, 2.0), format="Fractional", atoms=sites("{p} {k}")
        ),
        "bohr.fdf": FDF.format(
            constant="1.0 Bohr", vectors=rows(CELL, Bohr), format="NotScaledCartesianAng", atoms=sites("{p} {k}", True)
        ),
        "a.STRUCT_OUT": f"{three}\n 3\n" + sites("{k} {z} {p}"),
        "a.XV": "\n".join(f"{line} 0.0 0.0 0.0" for line in rows(CELL, Bohr).splitlines())
        + "\n 3\n"
        + sites("{k} {z} {p} 0.0 0.0 0.0", True, Bohr),
        "phonopy_disp.yaml": PHONOPY.format(unit="au", vectors=indented, atoms=points),
        "a.gen": "3 F\n Mg O\n" + sites("{n} {k} {p}") + f"\n0 0 0\n{three}\n",
        "a.xsf": f"# by hand\nCRYSTAL\nPRIMVEC\n{three}\nPRIMCOORD\n3 1\n" + sites("{z} {p}", True),
    }


@pytest.mark.parametrize("name", by_hand())
def test_files_written_by_hand(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(by_hand()[name])
    assert_is(read_one(path), triclinic(), 2e-6)
    path.rename(tmp_path / "unnamed")
    assert_is(read_one(tmp_path / "unnamed"), triclinic(), 2e-6)


@pytest.mark.parametrize(
    ("name", "text"), [("x.pwo", ESPRESSO.format(alat=4.0 / Bohr)), ("x.out", AIMS), ("OUTCAR", OUTCAR)]
)
def test_outputs_of_one_step(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    expected = Atoms("MgO2", positions=[[0, 0, 0], [2, 2, 0], [2, 0, 2]], cell=[4, 4, 4], pbc=True)
    assert_is(read_one(tmp_path / name), expected)


@pytest.mark.parametrize(
    ("ibrav", "parameters", "expected"),
    [
        (1, "celldm(1)=8.0", bulk("Po", "sc", a=8.0 * Bohr)),
        (2, "A=5.4", bulk("Cu", "fcc", a=5.4)),
        (3, "A=3.2", bulk("W", "bcc", a=3.2)),
        (-3, "A=3.2", bulk("W", "bcc", a=3.2)),
        (4, "A=3.2, C=5.1", Atoms("Mg", cell=[3.2, 3.2, 5.1, 90, 90, 120], pbc=True)),
        (6, "celldm(1)=8.0, celldm(3)=1.2", Atoms("Sn", cell=np.array([8, 8, 9.6]) * Bohr, pbc=True)),
        (7, "A=3.2, C=5.0", Atoms("In2", positions=[[0, 0, 0], [1.6, 1.6, 2.5]], cell=[3.2, 3.2, 5.0], pbc=True)),
        (8, "A=3, B=4, C=5", Atoms("Ga", cell=[3, 4, 5], pbc=True)),
    ],
)
def test_lattices_of_espresso(tmp_path: Path, ibrav: int, parameters: str, expected: Atoms) -> None:
    """The same lattice, whatever vectors describe it: as many vectors of each length up to 9 Angstrom."""
    text = f"&system\n ibrav={ibrav}, {parameters}, nat=1, ntyp=1\n/\nATOMIC_POSITIONS crystal\n Po 0 0 0\n"
    (tmp_path / "a.pwi").write_text(text)
    atoms = read_one(tmp_path / "a.pwi")

    def shells(crystal: Atoms) -> NDArray[np.float64]:
        steps = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3), -1).reshape(-1, 3)
        points = np.concatenate([steps @ crystal.cell.array + place for place in crystal.positions])
        lengths = np.linalg.norm(points, axis=1)
        return np.sort(lengths[lengths < 9.0])

    np.testing.assert_allclose(shells(atoms), shells(expected), atol=1e-5)
    assert np.linalg.det(atoms.cell.array) > 0


def test_angles_of_abinit(tmp_path: Path) -> None:
    for angles in ([60.0] * 3, [80.0, 95.0, 110.0]):
        text = f"acell 7 7 7 angdeg {' '.join(map(str, angles))} znucl 84"
        (tmp_path / "a.abi").write_text(text)
        cell = read_one(tmp_path / "a.abi").cell
        np.testing.assert_allclose(cell.cellpar(), [7 * Bohr] * 3 + angles, atol=1e-8)
        assert np.linalg.det(cell.array) > 0


def test_lengths_and_angles_of_cp2k(tmp_path: Path) -> None:
    text = CP2K.format(cell="ABC 4 5 6\nALPHA_BETA_GAMMA 80 95 110", coord="SCALED\nMg 0 0 0\nO 0.5 0.5 0.5")
    (tmp_path / "a.inp").write_text(text)
    np.testing.assert_allclose(read_one(tmp_path / "a.inp").cell.array, cellpar_to_cell([4, 5, 6, 80, 95, 110]))


def test_trajectories_give_all_frames_and_optimizations_the_last(tmp_path: Path) -> None:
    frames = [triclinic() for _ in range(4)]
    for number, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=number)
    for name, kind in (("many.traj", "traj"), ("XDATCAR", "vasp-xdatcar"), ("many.axsf", "xsf")):
        ase.io.write(tmp_path / name, frames, format=kind)
        for structure, expected in zip(read(tmp_path / name), frames, strict=True):
            np.testing.assert_allclose(good(structure).positions, expected.positions, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        (
            "sg.pwi",
            "&system\nibrav=0 nat=1 ntyp=1\n/\nCELL_PARAMETERS angstrom\n4 0 0\n0 4 0\n0 0 4\n"
            "ATOMIC_POSITIONS crystal_sg\nNa 0 0 0\n",
            "crystal_sg",
        ),
        ("b.pwi", "&system\nibrav=14, A=4, nat=1, ntyp=1\n/\nATOMIC_POSITIONS crystal\nNa 0 0 0\n", "write ibrav = 0"),
        ("c.pwi", "&system\nibrav=2, nat=1, ntyp=1\n/\nATOMIC_POSITIONS crystal\nNa 0 0 0\n", "celldm(1)"),
        (
            "shelx.res",
            "TITL x\nCELL 0.71 4 4 4 90 90 90\nLATT 1\nSYMM -X,-Y,Z\nSFAC Na\nNa1 1 0 0 0 11.0\nEND\n",
            "lists only the atoms that differ by symmetry",
        ),
        (
            "disorder.res",
            "TITL x\nCELL 0.71 4 4 4 90 90 90\nLATT -1\nSFAC Na\nNa1 1 0 0 0 0.5\nEND\n",
            "partly occupied",
        ),
        (
            "mixed.cell",
            "%block lattice_abc\n4 4 4\n90 90 90\n%endblock\n%block positions_frac\n"
            "Al 0 0 0 MIXTURE:( 1 0.5 )\n%endblock\n",
            "mixed atoms",
        ),
        (
            "include.fdf",
            "%include other.fdf\n%block AtomicCoordinatesAndAtomicSpecies\n%endblock\n",
            "includes another file",
        ),
        (
            "file.fdf",
            "LatticeConstant 1 Ang\nAtomicCoordinatesAndAtomicSpecies < /etc/passwd\n",
            "includes another file",
        ),
        ("two.abi", "ndtset 2 acell1 3*7 acell2 3*8 znucl 12", "one of several data sets"),
        ("group.abi", "acell 3*7 spgroup 225 natom 8 natrd 2 znucl 12", "write out all atoms"),
        ("twice.inp", CP2K.format(cell="ABC 4 4 4\nMULTIPLE_UNIT_CELL 2 2 2", coord="Na 0 0 0"), "MULTIPLE_UNIT_CELL"),
        ("none.inp", CP2K.format(cell="ABC 4 4 4", coord=""), "no atoms in &COORD"),
        ("macro.inp", "@INCLUDE 'other.inp'\n&FORCE_EVAL\n&END\n", "preprocessor"),
        ("few.gen", "1 S\nNa\n1 1 0 0 0\n2 1 2 2 2\n0 0 0\n4 0 0\n0 4 0\n0 0 4\n", "promises 1 atoms"),
        (
            "few.XV",
            "4 0 0 0 0 0\n0 4 0 0 0 0\n0 0 4 0 0 0\n999999999999\n1 11 0 0 0 0 0 0\n",
            "promises 999999999999 atoms",
        ),
        ("OUTCAR", OUTCAR[: OUTCAR.index(" POSITION")], "no finished ionic step"),
        (
            "XDATCAR",
            "x\n1\n4 0 0\n0 4 0\n0 0 4\nNa\n1000000000000\nDirect configuration= 1\n0 0 0\n",
            "frame of 1 atoms",
        ),
        ("notes", "dear reader\n", "convert it: ase convert notes notes.cif"),
    ],
)
def test_what_cannot_be_read_as_it_is_meant_is_refused(tmp_path: Path, name: str, text: str, shown: str) -> None:
    (tmp_path / name).write_text(text)
    assert shown in trouble(only(read(tmp_path / name)))


@pytest.mark.parametrize("name", by_hand())
def test_a_file_that_breaks_off_or_has_another_letter_is_one_sentence(tmp_path: Path, name: str) -> None:
    text = by_hand()[name]
    path = tmp_path / name
    for place in np.linspace(0, len(text), 12, dtype=int):
        for broken in (
            text[:place],
            text[:place] + "\x1b[31m*" + text[place + 1 :],
            text[:place] + "9" * 5000 + text[place:],
        ):
            path.write_text(broken)
            for structure in read(path):
                reason = getattr(structure, "reason", "")
                assert reason.isprintable()
                assert "site-packages" not in reason
                assert "Error" not in reason.replace("RuntimeError", "Error")


def test_a_broken_frame_of_an_xdatcar_does_not_hide_the_others(tmp_path: Path) -> None:
    frames = [triclinic() for _ in range(5)]
    for number, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=number)
    ase.io.write(tmp_path / "XDATCAR", frames, format="vasp-xdatcar")
    lines = (tmp_path / "XDATCAR").read_text().splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if "configuration" in line]
    for broken in (
        [*lines[: starts[2] + 1], *lines[starts[2] + 2 :]],
        [*lines[: starts[2] + 1], "a b c\n", *lines[starts[2] + 2 :]],
    ):
        (tmp_path / "XDATCAR").write_text("".join(broken))
        entries = list(read(tmp_path / "XDATCAR"))
        assert len(entries) == 5
        assert trouble(entries[2])
        for number in (0, 1, 3, 4):
            np.testing.assert_allclose(good(entries[number]).positions, frames[number].positions, atol=1e-6)


def test_folders_read_inputs_of_codes_but_not_what_repeats_them(tmp_path: Path) -> None:
    for name, text in by_hand().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "control.in").write_text("xc pbe\n")
    (tmp_path / "run.res").write_text("of something else\n")
    names = {Path(structure.source).name for structure in read(tmp_path) if good(structure)}
    assert names == set(by_hand()) - {"OUTCAR", "aims.out", "phonopy_disp.yaml"}

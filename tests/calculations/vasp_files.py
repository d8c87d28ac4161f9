"""Small outputs of VASP 5 and 6: the lines that programs read, laid out as VASP prints them, with other numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ase
import numpy as np

COLUMNS = (0, 1, 2, 5, 3, 4)
"""xx yy zz yz zx xy in the order that VASP prints: XX YY ZZ XY YZ ZX."""
RULE = " " + "-" * 54
NAMES = ("XX", "YY", "ZZ", "XY", "YZ", "ZX")
END = "\n General timing and accounting informations for this job:\n\n     Total CPU time used (sec):        9.000\n"


def head(
    atoms: ase.Atoms,
    version: str = "6.4.1",
    settings: str = "   LEPSILON=     T    determine dielectric tensor\n",
    ibrion: int = -1,
    functional: str = "PE",
    hubbard: str = "",
    spin: int = 1,
) -> str:
    """The beginning of OUTCAR: potentials and settings."""
    symbols, counts = runs_of(atoms)
    potentials = "".join(f"   TITEL  = PAW_PBE {symbol} 01Jan2000\n" for symbol in symbols)
    valences = "".join("   POMASS =   20.000; ZVAL   =    4.000    mass and valenz\n" for _ in symbols)
    if hubbard:
        settings += " LDA+U is selected, type is set to LDAUTYPE =  2\n"
        settings += f"   U (eV)           for each species LDAUU = {hubbard}\n"
    return (
        f" vasp.{version} 01Jan23 (build Jan  1 2023) complex\n\n INCAR:\n{potentials}{valences}"
        f"   ions per type =            {' '.join(map(str, counts))}\n"
        " Grid dimensions read from file:\n generate k-points for:    6    6    4\n"
        f"   ISPIN  =      {spin}    spin polarized calculation?\n"
        "   LNONCOLLINEAR =      F non collinear calculations\n"
        "   ENCUT  =  520.0 eV  38.22 Ry    6.18 a.u.\n"
        "   NELM   =     60;   NELMIN=  2; NELMDL= -5     # of ELM steps\n"
        f"   IBRION =     {ibrion:2d}    ionic relax: 0-MD 1-quasi-New 2-CG\n"
        f"   NELECT =     {4 * len(atoms)}.0000    total number of electrons\n"
        f"   GGA     =    {functional}    GGA type\n   LEXCH   =     8    internal setting for exchange type\n"
        f"   METAGGA=  --\n   LHFCALC =     F    Hartree Fock is set to\n{settings}\n"
    )


def ionic_step(atoms: ase.Atoms, number: int = 1, rounds: int = 3, reached: bool = True) -> str:
    """One ionic step: rounds of the electrons, cell, positions and forces."""
    line = "-" * 39
    loops = "".join(f"{line} Iteration {number:4d}({k:4d})  {line}\n\n" for k in range(1, rounds + 1))
    said = "because EDIFF is reached" if reached else "EDIFF was not reached (unconverged)"
    cell = "".join(f"  {row(v, 13, 9)}   0.000000000  0.000000000  0.000000000\n" for v in atoms.cell.array)
    places = "".join(f"  {row(p, 13, 5)}      {row(np.zeros(3), 14, 6)}\n" for p in atoms.positions)
    return (
        f"{loops}------------------------ aborting loop {said} ----------------------------\n\n"
        " VOLUME and BASIS-vectors are now :\n"
        "      direct lattice vectors                 reciprocal lattice vectors\n"
        f"{cell}\n POSITION                                       TOTAL-FORCE (eV/Angst)\n {'-' * 83}\n"
        f"{places} {'-' * 83}\n\n"
    )


def permittivity(tensor: np.ndarray, words: str = "(including local field effects in DFT)") -> str:
    """A block of three rows; `words` behind MACROSCOPIC STATIC DIELECTRIC TENSOR."""
    rows = "".join(f"        {row(values, 13, 6)}\n" for values in tensor)
    return f" MACROSCOPIC STATIC DIELECTRIC TENSOR {words}\n{RULE}\n{rows}{RULE}\n\n"


def born(charges: np.ndarray, words: str = "(in e, cummulative output)") -> str:
    """Charges [atom, field, displacement], a row for each field."""
    ions = ""
    for number, tensor in enumerate(charges, start=1):
        rows = "".join(f"    {k + 1}{row(tensor[k], 12, 5)}\n" for k in range(3))
        ions += f" ion  {number:3d}\n{rows}"
    return f" BORN EFFECTIVE CHARGES {words}\n{RULE}\n{ions}\n\n"


def piezo(voigt: np.ndarray, words: str = " for field in x, y, z        (C/m^2)") -> str:
    """e[i, J] in the order xx yy zz yz zx xy, printed in the order of VASP."""
    rows = "".join(f" {axis}  {row(values[list(COLUMNS)], 12, 5)}\n" for axis, values in zip("xyz", voigt, strict=True))
    return f" PIEZOELECTRIC TENSOR {words}\n          {'          '.join(NAMES)}\n {'-' * 80}\n{rows} {'-' * 80}\n\n"


def moduli(voigt: np.ndarray, words: str = "TOTAL ELASTIC MODULI (kBar)") -> str:
    """C[I, J] in GPa and the order xx yy zz yz zx xy, printed in kBar and the order of VASP."""
    printed = voigt[np.ix_(COLUMNS, COLUMNS)] * 10
    rows = "".join(f" {name}     {row(values, 12, 4)}\n" for name, values in zip(NAMES, printed, strict=True))
    return f" {words}\n Direction    {'          '.join(NAMES)}\n {'-' * 80}\n{rows} {'-' * 80}\n\n"


def row(values: Sequence[float] | np.ndarray, width: int, digits: int) -> str:
    """Numbers in columns that run into each other where they are wide, as those of Fortran."""
    return "".join(f"{value:{width}.{digits}f}" for value in values)


def runs_of(atoms: ase.Atoms) -> tuple[list[str], list[int]]:
    """Elements one after another, as VASP wants the atoms, and how many there are of each."""
    symbols: list[str] = []
    counts: list[int] = []
    for symbol in atoms.get_chemical_symbols():
        if symbols[-1:] == [symbol]:
            counts[-1] += 1
        else:
            symbols.append(symbol)
            counts.append(1)
    return symbols, counts


def outcar(atoms: ase.Atoms, *blocks: str, version: str = "6.4.1", **settings: object) -> str:
    """A run without motion: head, one ionic step, tensors, the end."""
    return head(atoms, version, **settings) + ionic_step(atoms) + "".join(blocks) + END  # type: ignore[arg-type]


def vasprun(
    steps: Sequence[tuple[ase.Atoms, str]],
    version: str = "6.4.1",
    ibrion: int = -1,
    parameters: str = "",
    rounds: int = 3,
    ending: str = "</modeling>\n",
) -> str:
    """vasprun.xml: ionic steps, each a structure and the text of its tensors."""
    atoms = steps[0][0]
    symbols, counts = runs_of(atoms)
    types = "".join(
        f"    <rc><c>{count:4d}</c><c>{symbol:2s}</c><c> 20.00</c><c> 4.00</c><c> PAW_PBE {symbol} </c></rc>\n"
        for symbol, count in zip(symbols, counts, strict=True)
    )
    names = "".join(f"    <rc><c>{symbol:2s}</c><c>   1</c></rc>\n" for symbol in atoms.get_chemical_symbols())
    names_of_energies = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    energy = (
        "  <energy>\n" + "".join(f'   <i name="{key}">  -8.0 </i>\n' for key in names_of_energies) + "  </energy>\n"
    )
    scstep = f"  <scstep>\n{energy}  </scstep>\n"
    body = "".join(
        f" <calculation>\n{scstep * rounds}{structure(frame)}{forces(frame)}{tensors}{energy} </calculation>\n"
        for frame, tensors in steps
    )
    first = structure(atoms, ' name="initialpos"')
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">{version}  </i>
 </generator>
 <incar>
  <i name="ENCUT">    520.0</i>
 </incar>
 <kpoints>
  <generation param="Gamma">
   <v type="int" name="divisions">       6        6        4 </v>
  </generation>
  <varray name="kpointlist" >
   <v> 0.0 0.0 0.0 </v>
  </varray>
  <varray name="weights" >
   <v> 1.0 </v>
  </varray>
 </kpoints>
 <parameters>
  <i name="ENMAX">    520.00000000</i>
  <i type="int" name="NELM">    60</i>
  <i type="int" name="IBRION">    {ibrion}</i>
  <i type="int" name="ISPIN">     1</i>
  <i type="string" name="GGA">PE</i>
  <i type="logical" name="LEPSILON"> T  </i>
{parameters} </parameters>
 <atominfo>
  <atoms>  {len(atoms)} </atoms>
  <types>  {len(symbols)} </types>
  <array name="atoms" >
   <dimension dim="1">ion</dimension>
   <field type="string">element</field>
   <field type="int">atomtype</field>
   <set>
{names}   </set>
  </array>
  <array name="atomtypes" >
   <dimension dim="1">type</dimension>
   <set>
{types}   </set>
  </array>
 </atominfo>
{first}{body}{ending}"""


def structure(atoms: ase.Atoms, name: str = "") -> str:
    cell = "".join(f"    <v>{row(v, 17, 8)} </v>\n" for v in atoms.cell.array)
    places = "".join(f"   <v>{row(p, 17, 8)} </v>\n" for p in atoms.get_scaled_positions(wrap=False))
    return (
        f'  <structure{name}>\n   <crystal>\n   <varray name="basis" >\n{cell}   </varray>\n   </crystal>\n'
        f'   <varray name="positions" >\n{places}   </varray>\n  </structure>\n'
    )


def forces(atoms: ase.Atoms) -> str:
    rows = "   <v> 0.0 0.0 0.0 </v>\n"
    return (
        f'  <varray name="forces" >\n{rows * len(atoms)}  </varray>\n  <varray name="stress" >\n{rows * 3}  </varray>\n'
    )


def xml_matrix(name: str, tensor: np.ndarray) -> str:
    rows = "".join(f"   <v>{row(values, 17, 8)} </v>\n" for values in tensor)
    return f'  <varray name="{name}" >\n{rows}  </varray>\n'


def xml_born(charges: np.ndarray) -> str:
    sets = "".join("   <set>\n" + "".join(f"    <v>{row(v, 17, 8)} </v>\n" for v in z) + "   </set>\n" for z in charges)
    return f'  <array name="born_charges" >\n   <dimension dim="1">ion</dimension>\n{sets}  </array>\n'


def write(folder: Path, **files: str) -> Path:
    """Files of a run in a folder that is made; the names with underscores for points."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder

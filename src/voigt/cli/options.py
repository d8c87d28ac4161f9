"""Arguments and options that several commands share. A command states its own defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

# Every command

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Functional = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Functional whose response is wanted, e.g. PBEsol; voigt models lists them."),
]
AllowUnseen = Annotated[
    bool, typer.Option("--allow-unseen", help="Go on with elements that a model was not trained on.")
]

Device = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Of the networks: cpu, cuda, cuda:1, mps; auto takes CUDA if it is there."
    ),
]

# Crystals in files

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT",
        help="CIF, POSCAR, extended XYZ, vasprun.xml, ASE database, JSON, files of other codes, a folder of these, "
        "or - for standard input.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="A model that ships (see voigt models) or a file; by default those that ship and give the properties.",
    ),
]
Properties = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="What to predict; by default all that the model knows, or the expressions name."),
]
Symmetry = Annotated[bool, typer.Option("--symmetry/--no-symmetry", help="Project onto the crystal's space group.")]
SumRule = Annotated[
    bool, typer.Option("--sum-rule/--no-sum-rule", help="Make the Born charges sum to the charge of the cell.")
]
Symprec = Annotated[float, typer.Option(metavar="D", help="Tolerance of the space group, Angstrom.")]
QuietTables = Annotated[
    bool, typer.Option("--quiet", "-q", help="No warnings and progress, and no tables if results go to a file.")
]

PredictWorkers = Annotated[
    int,
    typer.Option(
        "--workers", metavar="N", min=0, help="Processes for many crystals; 0: one for each CPU, where it pays."
    ),
]

# Phonopy projects

Project = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="Phonopy project: phonopy.yaml or phonopy_params.yaml, or POSCAR-unitcell with FORCE_SETS or "
        "FORCE_CONSTANTS. With --potential or --calculator, a structure file will do.",
    ),
]
TensorModel = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help="A model that gives born_charges and eps_inf.")
]
Directions = Annotated[
    list[str] | None,
    typer.Option(metavar="'X Y Z'", help="Cartesian direction, repeatable; by default the three axes."),
]
Linewidth = Annotated[
    str,
    typer.Option(
        metavar="WIDTH",
        help="Full width of the peaks with its unit: 10cm-1, 0.3THz, or one for each optical row of the table, "
        "5,8,8cm-1.",
    ),
]
BornFile = Annotated[
    Path | None, typer.Option("--born", metavar="FILE", help="Born charges and eps_inf from this BORN file instead.")
]
Calculator = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FACTORY",
        help="Force constants from an ASE calculator: a callable without arguments that returns one.",
    ),
]
Potential = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Force constants from a machine-learned potential: sevennet-l3i5, sevennet-0, mace-mp-small or chgnet.",
    ),
]
Relax = Annotated[
    Literal["none", "positions", "cell"] | None,
    typer.Option(
        help="Relax atoms, or the cell too, in their space group; by default positions with --potential, none with "
        "--calculator."
    ),
]
Results = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="With --potential: keep finished forces here, to go on after a stop, and write phonopy_params.yaml.",
    ),
]
Workers = Annotated[
    int, typer.Option(metavar="N", help="With --potential: processes that calculate forces; 0: one for each CPU.")
]
Follow = Annotated[
    bool,
    typer.Option("--follow", help="Displace a crystal with soft modes along the softest, relax it, and begin again."),
]
Displacement = Annotated[
    float, typer.Option(metavar="D", help="With --potential or --calculator: displacement, Angstrom.")
]
Dim = Annotated[
    str | None,
    typer.Option(metavar="'N N N'", help="Supercell matrix, 3 or 9 integers, if files do not state it."),
]
PrimitiveAxes = Annotated[
    str | None, typer.Option(metavar="AXES", help="Primitive matrix: auto, P, F, I, A, C, R or 9 numbers.")
]
ImposeSymmetry = Annotated[
    bool, typer.Option("--symmetry/--no-symmetry", help="Impose the space group on tensors and force constants.")
]
ProjectSumRule = Annotated[bool, typer.Option("--sum-rule/--no-sum-rule", help="Make the Born charges sum to zero.")]
ProjectSymprec = Annotated[
    float | None,
    typer.Option(metavar="D", help="Tolerance of the space group, Angstrom; by default 1e-3, and 1e-5 in phonopy."),
]
AllowMetal = Annotated[
    bool, typer.Option("--allow-metal", help="Use predicted charges even if the crystal is probably a metal.")
]
AllowVacuum = Annotated[
    bool, typer.Option("--allow-vacuum", help="Use predicted charges even for a sheet, wire or molecule in vacuum.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Results only: no remarks and progress.")]

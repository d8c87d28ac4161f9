"""`voigt respond`: every response of a crystal from its structure alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voigt.cli import options, projects
from voigt.cli.devices import tell_device
from voigt.cli.faults import one_sentence, tell
from voigt.cli.progress import progress
from voigt.errors import InputError

if TYPE_CHECKING:
    from voigt.response.assembly import Response


def respond(
    structure: Annotated[
        str,
        typer.Argument(
            metavar="STRUCTURE", help="One crystal: CIF, POSCAR, extended XYZ or another file of structures."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write report.html, BORN, phonopy_params.yaml, tables and figures there; an interrupted run goes on.",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Use DIR even if it holds something else; files of one name are replaced."),
    ] = False,
    potential: options.Potential = None,
    calculator: options.Calculator = None,
    relax: options.Relax = None,
    follow: options.Follow = False,
    functional: options.Functional = None,
    dim: options.Dim = None,
    displacement: options.Displacement = 0.01,
    workers: options.Workers = 1,
    linewidth: options.Linewidth = "10cm-1",
    direction: options.Directions = None,
    symprec: options.Symprec = 1e-3,
    allow_unseen: options.AllowUnseen = False,
    allow_metal: options.AllowMetal = False,
    allow_vacuum: options.AllowVacuum = False,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Everything that a structure gives: a potential moves the ions, networks say what that does to the field.

    Relaxed structure, Born charges, permittivity, phonons with LO-TO splitting, infrared spectrum, elastic and
    piezoelectric tensors, refraction: a summary, and with -o a folder of all of it. The potential is sevennet-l3i5 if
    none is given. Exit codes: 0 all done, 2 the call was wrong.
    """
    with one_sentence(debug):
        from voigt.models.devices import find_device
        from voigt.response import assembly
        from voigt.response.phonons.files import parse_dim
        from voigt.response.phonons.force_constants import load_calculator
        from voigt.response.phonons.spectra import parse_linewidth
        from voigt.response.potentials import DEFAULT, find_potential
        from voigt.structures import read_one
        from voigt.writers.response import claim_folder

        if potential is not None and calculator is not None:
            raise InputError("--potential and --calculator are two sources of forces; give one")
        if overwrite and output is None:
            raise InputError("--overwrite is about the folder of -o; give one")
        of_user = None if calculator is None else load_calculator(calculator)
        settings = assembly.ResponseSettings(
            potential=find_potential(potential or DEFAULT).name,
            calculator=of_user,
            functional=functional,
            relax=relax or ("none" if of_user is not None else "positions"),
            dim=None if dim is None else parse_dim(dim),
            displacement=displacement,
            workers=workers,
            follow=follow,
            symprec=symprec,
            allow_unseen=allow_unseen,
            allow_metal=allow_metal,
            allow_vacuum=allow_vacuum,
            linewidths=parse_linewidth(linewidth),
            directions=projects.parsed_directions(direction),
            device=device,
        )
        if output is not None:
            folder = claim_folder(output, read_one(structure), overwrite=overwrite)
            # Results of a calculator of the user are not kept: nobody knows whether it is the same the next time.
            settings = replace(settings, folder=folder if of_user is None else None)
        tell_device(find_device(device), quiet)
        with progress("supercells", quiet=quiet) as advance:
            response = assembly.respond(structure, settings, advance=advance)
        _deliver(response, output, quiet)


def _deliver(response: Response, folder: Path | None, quiet: bool) -> None:
    from voigt.writers.response import summary_lines, write_response

    if not quiet:
        projects.tell_notes(note for note in response.notes if note.is_warning)
    typer.echo("\n".join(summary_lines(response)))
    if folder is not None:
        first, *others = write_response(response, folder)
        if not quiet:
            tell(f"wrote {first} and {len(others)} files beside it")

"""`voigt infrared`: infrared spectrum and static permittivity from a phonopy project and predicted Born charges."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from voigt.cli import options, projects
from voigt.cli.devices import tell_device
from voigt.cli.faults import one_sentence, tell
from voigt.cli.progress import progress
from voigt.errors import InputError

if TYPE_CHECKING:
    from voigt.response.phonons.workflow import InfraredResult


def infrared(
    folder: options.Project,
    model: options.TensorModel = None,
    functional: options.Functional = None,
    nac: Annotated[
        Literal["predicted", "project"] | None,
        typer.Option(help="Born charges and eps_inf: predicted (default), or of the project itself."),
    ] = None,
    born: options.BornFile = None,
    linewidth: options.Linewidth = "10cm-1",
    direction: options.Directions = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write .csv (spectrum) or .json (everything).")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the spectrum, e.g. spectrum.png.")] = None,
    piezo: Annotated[
        bool,
        typer.Option(
            "--piezo",
            help="What relaxing ions add to the piezoelectric tensor, C/m^2 and pm/V; with --potential, --calculator.",
        ),
    ] = False,
    potential: options.Potential = None,
    calculator: options.Calculator = None,
    relax: options.Relax = None,
    results: options.Results = None,
    workers: options.Workers = 1,
    follow: options.Follow = False,
    displacement: options.Displacement = 0.01,
    dim: options.Dim = None,
    primitive_axes: options.PrimitiveAxes = None,
    sum_rule: options.ProjectSumRule = True,
    symmetry: options.ImposeSymmetry = True,
    symprec: options.ProjectSymprec = None,
    allow_unseen: options.AllowUnseen = False,
    allow_metal: options.AllowMetal = False,
    allow_vacuum: options.AllowVacuum = False,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Infrared modes, static permittivity and spectra from force constants and predicted Born charges.

    eps_ionic is what the ions add to the permittivity of a cell that keeps its shape. Exit codes: 0 all done, 2 the
    call was wrong.
    """
    with one_sentence(debug):
        from voigt.models.devices import find_device
        from voigt.response.phonons.files import parse_axes, parse_dim
        from voigt.response.phonons.force_constants import load_calculator
        from voigt.response.phonons.spectra import parse_linewidth
        from voigt.response.phonons.tensors import ProjectSettings
        from voigt.response.phonons.workflow import check_piezo, run_infrared, run_ionic_piezo
        from voigt.writers.infrared import piezo_lines

        widths, directions = parse_linewidth(linewidth), projects.parsed_directions(direction)
        if born is not None and nac is not None:
            raise InputError(f"--born and --nac {nac} are two sources of Born charges; give one")
        projects.check_files(output, plot)
        settings = ProjectSettings(
            tensors=nac or "predicted",
            born=born,
            model=model,
            functional=functional,
            allow_unseen=allow_unseen,
            allow_metal=allow_metal,
            allow_vacuum=allow_vacuum,
            symmetrize=symmetry,
            sum_rule=sum_rule,
            symprec=symprec,
            calculator=None if calculator is None else load_calculator(calculator),
            potential=potential,
            dim=None if dim is None else parse_dim(dim),
            primitive_axes=None if primitive_axes is None else parse_axes(primitive_axes),
            displacement=displacement,
            relax=relax,
            folder=results,
            workers=workers,
            follow=follow,
            device=device,
        )
        if piezo:
            check_piezo(settings)
        if settings.tensors == "predicted" and born is None:
            tell_device(find_device(device), quiet)
        with progress("supercells", quiet=quiet or settings.engine is None) as advance:
            result = run_infrared(folder, settings, linewidths=widths, directions=directions, advance=advance)
        if not quiet:
            projects.tell_notes(result.notes)
        _deliver(result, output, plot, quiet)
        if piezo:
            typer.echo("\n".join(["", *piezo_lines(run_ionic_piezo(result, settings))]))


def _deliver(result: InfraredResult, output: Path | None, plot: Path | None, quiet: bool) -> None:
    from voigt.writers.infrared import as_record, relation_lines, table, tensor_lines, write_csv, write_json
    from voigt.writers.phonons import heading

    response, name = result.response, result.tensors.name
    lines = heading(result.project)
    typer.echo(
        "\n".join([*lines, f"Born charges and eps_inf: {name}", "", *table(response), "", *tensor_lines(response)])
    )
    if response.excluded:
        typer.echo("eps_ionic and eps_0 lack the modes that are excluded: do not use them for this structure")
    pairs = list(zip(result.relations, result.directions, strict=True))
    typer.echo("\n".join(["", *relation_lines(pairs)]))
    if plot is not None:
        from voigt.writers.figures import save_figure
        from voigt.writers.infrared_figures import spectrum_figure

        title = f"{'  '.join(lines[0].split('  ')[:2])}   {name}"
        names = [" = ".join(equivalent) for equivalent in result.directions]
        save_figure(spectrum_figure(title, result.spectrum, names, result.relations), plot)
    if output is not None and output.suffix.lower() == ".csv":
        write_csv(result.spectrum, output)
    elif output is not None:
        write_json(as_record(result), output)
    wrote = [str(path) for path in (output, plot) if path is not None]
    if wrote and not quiet:
        tell(f"wrote {' and '.join(wrote)}")

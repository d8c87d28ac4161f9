"""`voigt phonons`: phonons of a polar crystal from a phonopy project and predicted Born charges."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from voigt.cli import options, projects
from voigt.cli.devices import tell_device
from voigt.cli.faults import SOME_FAILED, one_sentence, tell
from voigt.cli.progress import progress
from voigt.errors import InputError

if TYPE_CHECKING:
    from voigt.response.phonons.workflow import PhononResult


def phonons(
    folder: options.Project,
    model: options.TensorModel = None,
    functional: options.Functional = None,
    direction: options.Directions = None,
    nac: Annotated[
        Literal["predicted", "project", "none"] | None,
        typer.Option(help="Non-analytical correction: predicted (default), of the project itself, or none."),
    ] = None,
    born: options.BornFile = None,
    write_born: Annotated[bool, typer.Option("--write-born", help="Write the predicted tensors to DIR/BORN.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="With --write-born: replace an old BORN.")] = False,
    band: Annotated[bool, typer.Option("--band", help="Bands along the standard path, with NAC.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write .json (everything) or .csv (modes).")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the bands, e.g. bands.png.")] = None,
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
    """Phonons at Gamma with LO-TO splitting, and bands, from force constants and predicted Born charges.

    The non-analytical correction (NAC) is applied once, by phonopy. Exit codes: 0 all done, 1 phonons without the NAC
    that was to be predicted, 2 the call was wrong.
    """
    with one_sentence(debug):
        from voigt.models.devices import find_device
        from voigt.response.phonons.files import parse_axes, parse_dim
        from voigt.response.phonons.force_constants import load_calculator
        from voigt.response.phonons.tensors import ProjectSettings
        from voigt.response.phonons.workflow import run_phonons

        if born is not None and nac is not None:
            raise InputError(
                f"--born and --nac {nac} are two sources of NAC, which must not be applied twice; give one"
            )
        if write_born and (born is not None or nac in ("project", "none")):
            raise InputError("--write-born writes predicted tensors; leave out --born, and --nac project or none")
        directions = projects.parsed_directions(direction)
        projects.check_files(output, plot)
        target = (folder if folder.is_dir() else folder.parent) / "BORN"
        if write_born and target.exists() and not overwrite:
            raise InputError(f"{target} exists; --overwrite replaces it")
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
        if settings.tensors == "predicted" and born is None:
            tell_device(find_device(device), quiet)
        with progress("supercells", quiet=quiet or settings.engine is None) as advance:
            result = run_phonons(
                folder,
                settings,
                directions=directions,
                bands=band or plot is not None,
                bands_without_nac=plot is not None,
                advance=advance,
            )
        if not quiet:
            projects.tell_notes(result.notes)
        _deliver(result, output, plot)
        if write_born:
            _write_born(result, target, quiet)
    if result.refused:
        raise typer.Exit(SOME_FAILED)


def _deliver(result: PhononResult, output: Path | None, plot: Path | None) -> None:
    from voigt.writers.phonons import as_record, band_summary, heading, table, write_record

    typer.echo("\n".join([*heading(result.project), f"NAC: {result.nac}", "", *table(result.phonons)]))
    if result.bands is not None:
        typer.echo(band_summary(result.bands))
    if plot is not None:
        from voigt.writers.figures import save_figure
        from voigt.writers.phonon_figures import band_figure

        formula, group, *_ = heading(result.project)[0].split("  ")
        without = None if result.polar is None else result.bands_without_nac
        save_figure(band_figure(f"{formula}, {group}   NAC: {result.nac}", result.bands or (), without), plot)
    if output is not None:
        write_record(as_record(result), output)


def _write_born(result: PhononResult, path: Path, quiet: bool) -> None:
    from voigt.files import atomic_write
    from voigt.response.phonons.born_files import born_file

    prediction, project = result.prediction, result.project
    if prediction is None:
        tell(f"no {path} written: NAC is {result.nac}")
        return
    tensors = prediction.values["born_charges"], prediction.values["eps_inf"]
    axes = project.phonon.primitive_matrix.tolist()
    text = born_file(prediction.atoms, *tensors, primitive_matrix=axes, factor=project.nac_unit)
    with atomic_write(path) as stream:
        stream.write(text)
    if not quiet:
        tell(f"wrote {path}")
    if project.nac_block is not None and not quiet:
        tell(
            f"warning: phonopy will not read {path}, since the nac: block of {project.nac_block} wins; take the block "
            f'out of that file, or name the other one: phonopy.load("{project.nac_block}", born_filename="BORN")'
        )

"""`voigt phonons`: phonons of a polar crystal from a phonopy project and predicted Born charges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voigt.cli import projects
from voigt.cli.faults import SOME_FAILED, one_sentence, tell
from voigt.errors import InputError

if TYPE_CHECKING:
    from phonopy import Phonopy

    from voigt.prediction.result import Prediction, Settings
    from voigt.response.phonons.nac import Segment
    from voigt.response.phonons.project import Project


class Nac(StrEnum):
    """Where the parameters of the non-analytical correction come from."""

    predicted = "predicted"
    project = "project"
    none = "none"


def phonons(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Phonopy project: phonopy.yaml or phonopy_params.yaml, or POSCAR-unitcell with FORCE_SETS or "
            "FORCE_CONSTANTS. With --calculator, a structure file will do.",
        ),
    ],
    model: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A model that gives born_charges and eps_inf.")
    ] = None,
    functional: Annotated[
        str | None, typer.Option(metavar="NAME", help="Functional whose response is wanted, e.g. PBEsol.")
    ] = None,
    direction: Annotated[
        list[str] | None,
        typer.Option(metavar="'X Y Z'", help="Cartesian direction of q -> 0, repeatable; by default the three axes."),
    ] = None,
    nac: Annotated[
        Nac | None, typer.Option(help="Non-analytical correction: predicted (default), of the project itself, or none.")
    ] = None,
    born: Annotated[Path | None, typer.Option(metavar="FILE", help="Take NAC from this BORN file instead.")] = None,
    write_born: Annotated[bool, typer.Option("--write-born", help="Write the predicted tensors to DIR/BORN.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="With --write-born: replace an old BORN.")] = False,
    band: Annotated[bool, typer.Option("--band", help="Bands along the standard path, with NAC.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write .json (everything) or .csv (modes).")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the bands, e.g. bands.png.")] = None,
    calculator: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY",
            help="Force constants from an ASE calculator: a callable without arguments that returns one.",
        ),
    ] = None,
    displacement: Annotated[float, typer.Option(metavar="D", help="With --calculator: displacement, Angstrom.")] = 0.01,
    dim: Annotated[
        str | None, typer.Option(metavar="'N N N'", help="Supercell matrix, 3 or 9 integers, if files do not say it.")
    ] = None,
    primitive_axes: Annotated[
        str | None, typer.Option(metavar="AXES", help="Primitive matrix: auto, P, F, I, A, C, R or 9 numbers.")
    ] = None,
    sum_rule: Annotated[
        bool, typer.Option("--sum-rule/--no-sum-rule", help="Make the Born charges sum to zero.")
    ] = True,
    symmetry: Annotated[
        bool,
        typer.Option("--symmetry/--no-symmetry", help="Impose the space group on tensors and force constants."),
    ] = True,
    symprec: Annotated[
        float | None,
        typer.Option(metavar="D", help="Tolerance of the space group, Angstrom; by default 1e-3, and 1e-5 in phonopy."),
    ] = None,
    allow_unseen: Annotated[
        bool, typer.Option("--allow-unseen", help="Predict for elements that the model was not trained on.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Results only: no remarks and progress.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Phonons at Gamma with LO-TO splitting, and bands, from force constants and predicted Born charges.

    The non-analytical correction (NAC) is applied once, by phonopy. Exit codes: 0 all done, 1 phonons without the NAC
    that was to be predicted, 2 the call was wrong.
    """
    with one_sentence(debug):
        from voigt.prediction.result import Settings
        from voigt.response.phonons.force_constants import load_calculator
        from voigt.response.phonons.nac import AXES, gamma_phonons, parse_direction
        from voigt.writers.phonons import band_summary, check_suffix, heading, table

        kind = _kind(nac, born, write_born)
        directions = [parse_direction(text) for text in direction] if direction else AXES
        if output is not None:
            check_suffix(output)
        if plot is not None:
            from voigt.writers.phonon_figures import check_format

            check_format(plot)
        home = folder if folder.is_dir() else folder.parent
        if write_born and (home / "BORN").exists() and not overwrite:
            raise InputError(f"{home / 'BORN'} exists; --overwrite replaces it")
        forces = None if calculator is None else load_calculator(calculator)
        project = projects.read(folder, forces, dim, primitive_axes, displacement, symmetry, symprec, quiet)
        settings = Settings(
            properties=("born_charges", "eps_inf"),
            functional=functional,
            symmetrize=symmetry,
            sum_rule=sum_rule,
            symprec=symprec or 1e-3,
            allow_unseen=allow_unseen,
        )
        choice = _nac(project, kind, born, model, settings, forced=nac is Nac.predicted)
        if not quiet:
            for sentence in (*project.notes, *choice.remarks):
                tell(sentence)
        result = gamma_phonons(project.phonon, choice.polar, directions)
        typer.echo("\n".join([*heading(project), f"NAC: {choice.name}", "", *table(result)]))
        bands = None
        if band or plot is not None:
            from voigt.response.phonons.nac import band_structure

            bands = band_structure(choice.polar or project.phonon)
            typer.echo(band_summary(bands))
        if plot is not None:
            _plot(plot, project, choice, bands or ())
        if output is not None:
            from voigt.writers.phonons import as_record, write_record

            write_record(as_record(project, choice.name, choice.polar, result, bands), output)
        if write_born and choice.prediction is not None:
            _write_born(home / "BORN", project, choice.prediction)
            if not quiet:
                tell(f"wrote {home / 'BORN'}")
        elif write_born:
            tell(f"no {home / 'BORN'} written: NAC is {choice.name}")
    if choice.refused:
        raise typer.Exit(SOME_FAILED)


@dataclass(frozen=True)
class _Choice:
    """NAC in use: `name` says which; `polar` is None without; `refused` if it was wanted and makes no sense."""

    name: str
    polar: Phonopy | None = None
    prediction: Prediction | None = None
    remarks: tuple[str, ...] = ()
    refused: bool = False


def _kind(nac: Nac | None, born: Path | None, write_born: bool) -> str:
    if born is not None and nac is not None:
        raise InputError(f"--born and --nac {nac} are two sources of NAC, which must not be applied twice; give one")
    kind = "file" if born is not None else str(nac or Nac.predicted)
    if write_born and kind != Nac.predicted:
        raise InputError("--write-born writes predicted tensors; leave out --born, and --nac project or none")
    return kind


def _nac(
    project: Project, kind: str, born: Path | None, model: str | None, settings: Settings, forced: bool
) -> _Choice:
    from voigt.response.phonons.nac import inactive_reason
    from voigt.response.phonons.project import with_parameters
    from voigt.structures.domain import metal_reason

    own = project.own_nac
    aside = () if own is None or kind == Nac.project else ("NAC parameters of the project itself are left aside",)
    if kind == Nac.none:
        return _Choice("none, longitudinal modes are not shifted", remarks=aside)
    if kind == Nac.predicted:
        prediction = projects.predict_tensors(project, model, settings)
        steps = projects.steps(prediction, settings)
        metal = metal_reason(prediction.atoms, prediction.symmetry)
        reason = inactive_reason(prediction.values["born_charges"], None if forced else metal)
        if reason is not None:
            refused = metal is not None and not forced
            advice = "; --nac predicted applies it all the same" if refused else ""
            kept = None if refused else prediction
            return _Choice(f"inactive: {reason}{advice}", None, kept, (*aside, *steps), refused)
        polar = projects.predicted_nac(project, prediction, settings)
        return _Choice(f"predicted, {projects.origin(prediction)}", polar, prediction, (*aside, *steps))
    name, parameters, done = projects.given_tensors(project, born, settings)
    reason = inactive_reason(parameters["born"], None)
    if reason is not None:
        return _Choice(f"inactive: {reason}", remarks=(*aside, *done))
    return _Choice(name, with_parameters(project, parameters, symmetrize=False), remarks=(*aside, *done))


def _plot(path: Path, project: Project, choice: _Choice, bands: Sequence[Segment]) -> None:
    from voigt.response.phonons.nac import band_structure
    from voigt.writers.phonon_figures import band_figure, save_figure
    from voigt.writers.phonons import heading

    formula, group, *_ = heading(project)[0].split("  ")
    plain = None if choice.polar is None else band_structure(project.phonon)
    save_figure(band_figure(f"{formula}, {group}   NAC: {choice.name}", bands, plain), path)


def _write_born(path: Path, project: Project, prediction: Prediction) -> None:
    from voigt.files import atomic_write
    from voigt.response.phonons.born_file import born_file

    values, axes = prediction.values, project.phonon.primitive_matrix.tolist()
    text = born_file(
        prediction.atoms, values["born_charges"], values["eps_inf"], primitive_matrix=axes, factor=project.nac_unit
    )
    with atomic_write(path) as stream:
        stream.write(text)

"""`voigt infrared`: infrared spectrum and static permittivity from a phonopy project and predicted Born charges."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voigt.cli import projects
from voigt.cli.faults import one_sentence, tell
from voigt.errors import DomainError, InputError, VoigtError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from phonopy import Phonopy

    from voigt.prediction.result import Settings
    from voigt.response.phonons.infrared import Infrared, Longitudinal
    from voigt.response.phonons.project import Project
    from voigt.response.phonons.spectrum import Spectrum


class Tensors(StrEnum):
    """Where Born charges and eps_inf come from."""

    predicted = "predicted"
    project = "project"


def infrared(
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
    nac: Annotated[
        Tensors | None, typer.Option(help="Born charges and eps_inf: predicted (default), or of the project itself.")
    ] = None,
    born: Annotated[Path | None, typer.Option(metavar="FILE", help="Take them from this BORN file instead.")] = None,
    linewidth: Annotated[
        str,
        typer.Option(
            metavar="WIDTH",
            help="Full width of the peaks with its unit: 10cm-1, 0.3THz, or one for each optical row of the table, "
            "5,8,8cm-1.",
        ),
    ] = "10cm-1",
    direction: Annotated[
        list[str] | None,
        typer.Option(metavar="'X Y Z'", help="Cartesian polarisation, repeatable; by default the three axes."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write .csv (spectrum) or .json (everything).")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the spectrum, e.g. spectrum.png.")] = None,
    piezo: Annotated[
        bool,
        typer.Option(
            "--piezo", help="With --calculator: what relaxing ions add to the piezoelectric tensor, C/m^2 and pm/V."
        ),
    ] = False,
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
    """Infrared modes, static permittivity and spectra from force constants and predicted Born charges.

    eps_ionic is what the ions add to the permittivity of a cell that keeps its shape. Exit codes: 0 all done, 2 the
    call was wrong.
    """
    with one_sentence(debug):
        from voigt.prediction.result import Settings
        from voigt.response.phonons.force_constants import load_calculator
        from voigt.response.phonons.infrared import infrared as respond
        from voigt.response.phonons.infrared import is_axis, longitudinal
        from voigt.response.phonons.modes import direction_name, gamma_modes, irreps
        from voigt.response.phonons.nac import AXES, optical_limit, parse_direction
        from voigt.response.phonons.spectrum import distinct_directions, frequency_grid, parse_linewidth, spectrum
        from voigt.writers.infrared import relation_lines, table, tensor_lines
        from voigt.writers.phonons import heading

        widths = parse_linewidth(linewidth)
        directions = [parse_direction(text) for text in direction] if direction else AXES
        _check_call(nac, born, output, plot, piezo, calculator)
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
        tensors = _tensors(project, nac, born, model, settings)
        modes = gamma_modes(project.phonon)
        response = respond(modes, tensors.born_charges, tensors.eps_inf, irreps(project.phonon, modes))
        groups = distinct_directions(response, directions)
        axes = [n for n, _ in groups]
        light = spectrum(response, frequency_grid(response, widths, axes), widths, axes)
        if not quiet:
            warnings = [f"warning: {sentence}" for sentence in response.warnings]
            skewed = [direction_name(n) for n in axes if not is_axis(response, n)]
            remarks = [f"{n} is no axis of the permittivity: reflectivity is that of n.eps.n alone" for n in skewed]
            for sentence in (*project.notes, *tensors.remarks, *warnings, *remarks):
                tell(sentence)
        result = _Result(
            (*heading(project), f"Born charges and eps_inf: {tensors.name}"),
            tensors.name,
            response,
            light,
            widths,
            # The longitudinal frequencies of phonopy, so that the relation of Lyddane, Sachs and Teller is a check.
            [longitudinal(response, n, optical_limit(tensors.polar, n)) for n in axes],
            [names for _, names in groups],
        )
        typer.echo("\n".join([*result.lines, "", *table(response), "", *tensor_lines(response)]))
        if response.excluded:
            typer.echo("eps_ionic and eps_0 lack the modes that are excluded: do not use them for this structure")
        typer.echo("\n".join(["", *relation_lines(list(zip(result.relations, result.names, strict=True)))]))
        _write(result, output, plot, quiet)
        if piezo:
            typer.echo("\n".join(["", *_piezo(project, forces, tensors, model, settings)]))


@dataclass(frozen=True)
class _Tensors:
    """Born charges of the primitive cell and eps_inf in use: in words, as NAC, and what was done to them."""

    name: str
    born_charges: NDArray[np.float64]
    eps_inf: NDArray[np.float64]
    polar: Phonopy
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Result:
    """What is written: heading, name of the tensors, response, spectrum, linewidths (THz), relations and directions."""

    lines: tuple[str, ...]
    tensors: str
    response: Infrared
    spectrum: Spectrum
    widths: NDArray[np.float64]
    relations: list[Longitudinal]
    names: list[tuple[str, ...]]


def _write(result: _Result, output: Path | None, plot: Path | None, quiet: bool) -> None:
    from voigt.writers.infrared import as_record, write_csv, write_json

    if plot is not None:
        from voigt.writers.infrared_figures import spectrum_figure
        from voigt.writers.phonon_figures import save_figure

        title = f"{'  '.join(result.lines[0].split('  ')[:2])}   {result.tensors}"
        names = [" = ".join(equal) for equal in result.names]
        save_figure(spectrum_figure(title, result.spectrum, names, result.relations), plot)
    if output is not None and output.suffix.lower() == ".csv":
        write_csv(result.spectrum, output)
    elif output is not None:
        write_json(
            as_record(
                result.lines[:2], result.tensors, result.response, result.relations, result.spectrum, result.widths
            ),
            output,
        )
    wrote = [str(path) for path in (output, plot) if path is not None]
    if wrote and not quiet:
        tell(f"wrote {' and '.join(wrote)}")


def _check_call(
    nac: Tensors | None,
    born: Path | None,
    output: Path | None,
    plot: Path | None,
    piezo: bool,
    calculator: str | None,
) -> None:
    """Find what is wrong with the call before any work is done."""
    from voigt.writers.phonons import check_suffix

    if born is not None and nac is not None:
        raise InputError(f"--born and --nac {nac} are two sources of Born charges; give one")
    if output is not None:
        check_suffix(output)
    if plot is not None:
        from voigt.writers.phonon_figures import check_format

        check_format(plot)
    if piezo and calculator is None:
        raise InputError(
            "--piezo needs the forces that strain causes, which force constants do not tell well enough (see "
            "voigt.response.ionic_piezo); give a potential with --calculator"
        )


def _tensors(
    project: Project, nac: Tensors | None, born: Path | None, model: str | None, settings: Settings
) -> _Tensors:
    from voigt.response.phonons.project import with_parameters
    from voigt.structures.domain import metal_reason

    own = project.own_nac
    aside = () if own is None or nac is Tensors.project else ("Born charges of the project itself are left aside",)
    if born is not None or nac is Tensors.project:
        name, parameters, done = projects.given_tensors(project, born, settings)
        polar = with_parameters(project, parameters, symmetrize=False)
        return _Tensors(name, parameters["born"], parameters["dielectric"], polar, (*aside, *done))
    prediction = projects.predict_tensors(project, model, settings)
    metal = metal_reason(prediction.atoms, prediction.symmetry)
    if metal is not None and nac is None:
        raise DomainError(
            f"{prediction.id}: probably a metal ({metal}), whose electrons hide the vibrations from light; --nac "
            "predicted goes on all the same"
        )
    polar = projects.predicted_nac(project, prediction, settings)
    found: dict[str, Any] = {**(polar.nac_params or {})}
    remarks = (*aside, *projects.steps(prediction, settings))
    return _Tensors(f"predicted, {projects.origin(prediction)}", found["born"], found["dielectric"], polar, remarks)


def _piezo(project: Project, calculator: Any, tensors: _Tensors, model: str | None, settings: Settings) -> list[str]:
    """What relaxing ions add to e, and to d with a predicted elastic tensor if there is a model that ships."""
    from dataclasses import replace

    import ase

    from voigt.response.ionic_piezo import internal_strain_by_calculator, ionic_piezo
    from voigt.response.phonons.modes import gamma_force_constants
    from voigt.response.piezoelectricity import strain_coefficients, strain_coefficients_to_voigt
    from voigt.tensors.voigt import piezo_to_voigt

    cell = project.phonon.primitive
    atoms = ase.Atoms(numbers=cell.numbers, cell=cell.cell, scaled_positions=cell.scaled_positions, pbc=True)
    strain = internal_strain_by_calculator(atoms, calculator)
    e = ionic_piezo(gamma_force_constants(project.phonon), strain, tensors.born_charges, float(cell.volume))
    lines = ["ionic part of the piezoelectric tensor e (C/m^2); add the clamped-ion part", *_matrix(piezo_to_voigt(e))]
    if model is not None:
        return [*lines, "d = e S needs an elastic tensor, which is predicted if no --model is given"]
    wanted = replace(settings, properties=("elastic",), functional=None)
    try:
        elastic = projects.predict_tensors(project, None, wanted).values["elastic"]
    except VoigtError as error:
        return [*lines, f"no d = e S, since there is no elastic tensor: {error}"]
    d = strain_coefficients_to_voigt(strain_coefficients(e, elastic))
    return [*lines, "ionic part of d = e S (pm/V), S from the predicted elastic tensor", *_matrix(d)]


def _matrix(rows: NDArray[np.float64]) -> list[str]:
    lines = ["    " + "".join(f"{name:>9}" for name in ("xx", "yy", "zz", "yz", "zx", "xy"))]
    return lines + [
        f"{axis:>3} " + "".join(f"{round(float(value), 3) + 0.0:9.3f}" for value in row)
        for axis, row in zip("xyz", rows, strict=True)
    ]

"""What commands on phonopy projects share: reading one, predicting its tensors, and saying what was done to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from voigt.cli.progress import progress
from voigt.errors import InputError

if TYPE_CHECKING:
    from phonopy import Phonopy

    from voigt.prediction.result import Prediction, Settings
    from voigt.response.phonons.project import Project


def read(
    folder: Path,
    calculator: Any,
    dim: str | None,
    primitive_axes: str | None,
    displacement: float,
    symmetry: bool,
    symprec: float | None,
    quiet: bool,
) -> Project:
    """Read a project from the words of the command line; with an ASE calculator show the supercells it does."""
    from voigt.response.phonons.born_file import PHONOPY_SYMPREC
    from voigt.response.phonons.files import parse_axes, parse_dim
    from voigt.response.phonons.project import read_project

    for option, length in (("--displacement", displacement), ("--symprec", symprec)):
        if length is not None and not length > 0:
            raise InputError(f"{option} {length:g}: give a length above zero, in Angstrom")
    with progress("supercells", quiet=quiet or calculator is None) as advance:
        return read_project(
            folder,
            calculator,
            dim=None if dim is None else parse_dim(dim),
            primitive_axes=None if primitive_axes is None else parse_axes(primitive_axes),
            displacement=displacement,
            symmetrize=symmetry,
            symprec=symprec or PHONOPY_SYMPREC,
            advance=advance,
        )


def predict_tensors(project: Project, model: str | None, settings: Settings) -> Prediction:
    """Predict `settings.properties` of the project's unit cell; all of them or an InputError."""
    from voigt.prediction.stream import Failure, predict_frames
    from voigt.response.phonons.project import unit_cell
    from voigt.structures.reading import Frame

    name, wanted = project.folder.resolve().name, settings.properties or ()
    (result,) = predict_frames([Frame(str(project.folder), 0, name, unit_cell(project), None)], model, settings)
    if isinstance(result, Failure):
        raise InputError(result.reason + ("; or use --nac project" if "born_charges" in wanted else ""))
    absent = [prop for prop in wanted if prop not in result.values]
    if absent:
        raise InputError(f"{name}: {' and '.join(absent)} needed as well; choose a model that gives all")
    return result


def predicted_nac(project: Project, prediction: Prediction, settings: Settings) -> Phonopy:
    """The project with the predicted tensors as NAC, corrected as the settings say."""
    from voigt.response.phonons.project import with_nac

    return with_nac(
        project,
        prediction.values["born_charges"],
        prediction.values["eps_inf"],
        symmetrize=settings.symmetrize,
        sum_rule=settings.sum_rule,
        symprec=settings.symprec,
    )


def given_tensors(
    project: Project, born: Path | None, settings: Settings
) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """NAC parameters of a BORN file, or (None) of the project itself: in words, corrected, and what that did."""
    from voigt.response.phonons.project import corrected_parameters, read_born

    if born is not None:
        name, raw = f"from {born}", read_born(project, born)
    elif project.own_nac is not None:
        name, raw = "of the project itself", project.own_nac
    else:
        broken = [note.removeprefix("warning: ") for note in project.notes if "BORN" in note]
        reason = f" ({broken[-1]})" if broken else ", neither in a YAML file nor as BORN"
        raise InputError(f"{project.folder} carries no sound Born charges of its own{reason}; use --nac predicted")
    parameters, done = corrected_parameters(project, raw, symmetrize=settings.symmetrize, sum_rule=settings.sum_rule)
    return name, parameters, done


def steps(prediction: Prediction, settings: Settings) -> list[str]:
    """What was done to the raw tensors, and the warnings of the prediction."""
    drift = 0.0 if prediction.drift is None else float(abs(prediction.drift).max())
    forbidden = max(prediction.residual.values(), default=0.0)
    rule = "shared out among the atoms" if settings.sum_rule else "left as it is (--no-sum-rule)"
    group = "imposed" if settings.symmetrize else "not imposed (--no-symmetry)"
    sentences = [
        f"sum rule: raw Born charges sum to up to {drift:.2g} e per cell, {rule}",
        f"symmetry {prediction.symmetry.international} {group}: it forbids {100 * forbidden:.2g} % of the raw tensors",
    ]
    functionals = [prediction.functionals[name] for name in ("born_charges", "eps_inf")]
    if functionals[0] != functionals[1]:
        stated = " and ".join(f"{name} for {what or 'none'}" for name, what in prediction.functionals.items())
        sentences.append(f"warning: {stated}: functionals are mixed")
    return [*sentences, *(f"warning: {warning}" for warning in prediction.warnings)]


def origin(prediction: Prediction) -> str:
    """Models and functionals of a prediction."""
    models = ", ".join(dict.fromkeys(prediction.models.values()))
    functionals = ", ".join(dict.fromkeys(str(f) for f in prediction.functionals.values() if f))
    return f"model {models}" + (f", functional {functionals}" if functionals else "")

"""Which Born charges and eps_inf a phonopy project gets: predicted ones, its own, or those of a BORN file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from voigt.errors import InputError
from voigt.notes import Note
from voigt.response.arrays import Array
from voigt.response.phonons.born_files import corrected, parameters_for
from voigt.response.phonons.cells import attempt, make_phonopy, to_ase
from voigt.response.phonons.force_constants import DISPLACEMENT
from voigt.response.phonons.project import Project, read_born, unit_cell
from voigt.response.potentials.relaxation import Relax
from voigt.structures.vacuum import find_vacuum

if TYPE_CHECKING:
    from phonopy import Phonopy

    from voigt.prediction.result import Prediction, Settings

_NO_FIELD = "the correction is that of the field in a three-dimensional crystal, and phonopy has no other"

Source: TypeAlias = Literal["predicted", "project", "none"]


@dataclass(frozen=True)
class ProjectSettings:
    """How a project is read and where its Born charges and eps_inf come from.

    Attributes
    ----------
    tensors
        "predicted", those of the "project" itself, or "none".
    born
        A BORN file to take them from instead.
    model, functional, allow_unseen, device
        Of the prediction, see `voigt.Settings`.
    allow_metal, allow_vacuum
        Use predicted tensors even if the crystal is probably a metal, whose electrons screen the field, or a sheet,
        wire or molecule in vacuum, where the field is another one.
    symmetrize, sum_rule
        Which corrections tensors get; `symmetrize` is about force constants too.
    symprec
        Tolerance of the space group, Angstrom; None: 1e-3, and 1e-5 in phonopy.
    calculator
        Of ASE: makes the force constants, see `read_project`.
    potential
        Or the name of a potential that makes them, see `voigt.response.potentials`.
    dim, primitive_axes, displacement
        As `read_project` takes them.
    relax, folder, workers, follow
        With a calculator or a potential, see `calculated_project`.
    """

    tensors: Source = "predicted"
    born: Path | None = None
    model: str | None = None
    functional: str | None = None
    allow_unseen: bool = False
    allow_metal: bool = False
    allow_vacuum: bool = False
    symmetrize: bool = True
    sum_rule: bool = True
    symprec: float | None = None
    calculator: Any = None
    potential: str | None = None
    dim: Sequence[int] | None = None
    primitive_axes: Any = None
    displacement: float = DISPLACEMENT
    relax: Relax | None = None
    folder: Path | None = None
    workers: int = 1
    follow: bool = False
    device: str = "auto"

    @property
    def engine(self) -> Any:
        """What makes force constants: a calculator, the name of a potential, or None; InputError if both are given."""
        if self.calculator is not None and self.potential is not None:
            raise InputError("a calculator and a potential are two sources of forces; give one")
        if self.calculator is None and self.potential is None:
            for name, given in (
                ("relax", self.relax is not None),
                ("folder", self.folder is not None),
                ("workers", self.workers != 1),
                ("follow", self.follow),
            ):
                if given:
                    raise InputError(f"--{name} is about forces that are calculated; give --potential or --calculator")
        return self.potential if self.calculator is None else self.calculator

    def prediction(self, *properties: str) -> Settings:
        """Settings of the prediction of these properties."""
        from voigt.prediction.result import Settings

        return Settings(
            properties=properties,
            functional=self.functional,
            symmetrize=self.symmetrize,
            sum_rule=self.sum_rule,
            symprec=1e-3 if self.symprec is None else self.symprec,
            allow_unseen=self.allow_unseen,
            device=self.device,
        )


@dataclass(frozen=True)
class ProjectTensors:
    """Tensors in use.

    Attributes
    ----------
    name
        Where they come from, in words.
    polar
        The project's `Phonopy` with them as NAC; None without any.
    prediction
        What they were predicted as; None if they were not.
    refused
        Why predicted tensors must not be used as NAC, with the option that does it all the same; None if they may be.
    notes
        What was done to them ("processing"), which ones are not used ("set_aside"), and those of the prediction.
    """

    name: str
    polar: Phonopy | None
    prediction: Prediction | None = None
    refused: str | None = None
    notes: tuple[Note, ...] = ()

    @property
    def born_charges(self) -> Array:
        """(n_atoms, 3, 3) of the primitive cell, Z[atom, field, displacement] in e."""
        return np.asarray(self._parameters["born"])

    @property
    def eps_inf(self) -> Array:
        """(3, 3)."""
        return np.asarray(self._parameters["dielectric"])

    @property
    def _parameters(self) -> dict[str, Any]:
        if self.polar is None or self.polar.nac_params is None:
            raise InputError('there are no Born charges: take those that are "predicted", or of the "project"')
        return {**self.polar.nac_params}


def project_tensors(project: Project, settings: ProjectSettings) -> ProjectTensors:
    """Choose, correct and put to use; InputError if they cannot be predicted, or the files hold no sound ones."""
    symmetrize, sum_rule = settings.symmetrize, settings.sum_rule
    aside: tuple[Note, ...] = ()
    if project.own_nac is not None and (settings.tensors != "project" or settings.born is not None):
        aside = (Note("set_aside", "NAC parameters of the project itself are left aside"),)
    if settings.born is not None or settings.tensors == "project":
        name, raw = _given(project, settings.born)
        parameters, steps = corrected_parameters(project, raw, symmetrize=symmetrize, sum_rule=sum_rule)
        polar = with_parameters(project, parameters, symmetrize=False)
        vacuum = find_vacuum(unit_cell(project))
        text = "" if vacuum is None else f"the cell holds {vacuum.text}: {_NO_FIELD}"
        doubts = (Note("vacuum", text, ("born_charges", "eps_inf")),) if text else ()
        return ProjectTensors(name, polar, notes=(*aside, *(Note("processing", step) for step in steps), *doubts))
    if settings.tensors == "none":
        return ProjectTensors("none, longitudinal modes are not shifted", None, notes=aside)

    corrections = settings.prediction("born_charges", "eps_inf")
    prediction = predict_tensors(project, settings.model, corrections)
    tensors, symprec = (prediction.values["born_charges"], prediction.values["eps_inf"]), corrections.symprec
    models = ", ".join(dict.fromkeys(prediction.models.values()))
    functionals = ", ".join(dict.fromkeys(str(name) for name in prediction.functionals.values() if name))
    return ProjectTensors(
        name=f"predicted, model {models}" + (f", functional {functionals}" if functionals else ""),
        polar=with_nac(project, *tensors, symmetrize=symmetrize, sum_rule=sum_rule, symprec=symprec),
        prediction=prediction,
        refused=_refusal(prediction, settings),
        notes=(*aside, *_steps(prediction, settings)),
    )


def _refusal(prediction: Prediction, settings: ProjectSettings) -> str | None:
    for note in prediction.notes:
        if note.kind == "likely_metal" and not settings.allow_metal:
            return f"{note.text}; --allow-metal goes on all the same"
        if note.kind == "vacuum" and not settings.allow_vacuum:
            vacuum = find_vacuum(prediction.atoms)  # the note is about all that was predicted, and long
            held = note.text if vacuum is None else f"the cell holds {vacuum.text}"
            return f"{held}; {_NO_FIELD}; --allow-vacuum goes on all the same"
    return None


def with_nac(
    project: Project,
    born_charges: Array,
    eps_inf: Array,
    *,
    symmetrize: bool = True,
    sum_rule: bool = True,
    symprec: float = 1e-3,
) -> Phonopy:
    """A copy of the project's `Phonopy` with tensors of `unit_cell(project)` as NAC, not those that it may carry.

    Parameters as in `corrected`, whose result phonopy takes as it is.
    """
    atoms = to_ase(project.phonon.unitcell)
    done = corrected(atoms, born_charges, eps_inf, symmetrize=symmetrize, sum_rule=sum_rule, symprec=symprec)
    return with_parameters(project, parameters_for(project.phonon, done.born_charges, done.eps_inf), symmetrize=False)


def corrected_parameters(
    project: Project, parameters: Mapping[str, Any], *, symmetrize: bool = True, sum_rule: bool = True
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """NAC parameters of the primitive cell after the steps of `corrected`, and what they did.

    With both steps these are the ones that phonopy itself uses.
    """
    atoms, symprec = to_ase(project.phonon.primitive), project.phonon.symmetry.tolerance
    tensors = parameters["born"], parameters["dielectric"]
    done = corrected(atoms, *tensors, symmetrize=symmetrize, sum_rule=sum_rule, symprec=symprec)
    return {**parameters, "born": done.born_charges, "dielectric": done.eps_inf}, done.steps


def with_parameters(project: Project, parameters: Mapping[str, Any], *, symmetrize: bool = True) -> Phonopy:
    """A copy of the project's `Phonopy` with NAC parameters of its primitive cell, as `Phonopy.nac_params` takes them.

    With `symmetrize` phonopy imposes space group and sum rule, as it does by default; else the tensors stay as they
    are. InputError where NAC is already there: it would be applied twice.
    """
    phonon = project.phonon
    if phonon.nac_params is not None:
        raise InputError(f"{project.folder}: NAC is already applied; it must not be applied twice")
    cells = phonon.unitcell, phonon.supercell_matrix, phonon.primitive_matrix
    advice = "check its cell, --dim and --primitive-axes"
    twin = make_phonopy(project.folder, advice, *cells, phonon.symmetry.tolerance, symmetrize)
    twin.force_constants = phonon.force_constants
    attempt(project.folder, "check the Born charges", lambda: setattr(twin, "nac_params", dict(parameters)))
    return twin


def predict_tensors(project: Project, model: str | None, settings: Settings) -> Prediction:
    """Predict `settings.properties` of the project's unit cell; all of them or an InputError."""
    from voigt.notes import Failure
    from voigt.prediction.stream import predict_structures
    from voigt.structures import InputStructure

    name, properties = project.folder.resolve().name, settings.properties or ()
    (result,) = predict_structures([InputStructure(str(project.folder), 0, name, unit_cell(project))], model, settings)
    if isinstance(result, Failure):
        raise InputError(
            result.for_command_line().reason + ("; or use --nac project" if "born_charges" in properties else "")
        )
    absent = [prop for prop in properties if prop not in result.values]
    if absent:
        raise InputError(f"{name}: {' and '.join(absent)} needed as well; choose a model that gives all")
    return result


def _given(project: Project, born: Path | None) -> tuple[str, dict[str, Any]]:
    """NAC parameters of a BORN file, or (None) of the project itself, with their origin in words."""
    if born is not None:
        return f"from {born}", read_born(project, born)
    if project.own_nac is not None:
        return "of the project itself", project.own_nac
    broken = [note.text for note in project.notes if note.kind == "unusable_born"]
    reason = f" ({broken[-1]})" if broken else ", neither in a YAML file nor as BORN"
    raise InputError(f"{project.folder} carries no sound Born charges of its own{reason}; use --nac predicted")


def _steps(prediction: Prediction, settings: ProjectSettings) -> tuple[Note, ...]:
    """What was done to the raw tensors, and the notes of the prediction."""
    drift = 0.0 if prediction.drift is None else float(abs(prediction.drift).max())
    forbidden = max(prediction.residual.values(), default=0.0)
    rule = "shared out among the atoms" if settings.sum_rule else "left as it is (--no-sum-rule)"
    group = "imposed" if settings.symmetrize else "not imposed (--no-symmetry)"
    symbol, share = prediction.symmetry.international, f"{100 * forbidden:.2g} %"
    notes = [
        Note("processing", f"sum rule: raw Born charges sum to up to {drift:.2g} e per cell, {rule}"),
        Note("processing", f"symmetry {symbol} {group}: it forbids {share} of the raw tensors"),
    ]
    if len({prediction.functionals[name] for name in ("born_charges", "eps_inf")}) > 1:
        stated = " and ".join(f"{name} for {used or 'none'}" for name, used in prediction.functionals.items())
        notes.append(Note("mixed_functionals", f"{stated}: functionals are mixed", ("born_charges", "eps_inf")))
    return (*notes, *prediction.notes)

"""From a structure to all its responses: a potential moves the ions, trained networks say what that does to the field.

The network gives Born charges Z, eps_inf and the piezoelectric tensor of clamped ions; the potential gives the relaxed
structure, force constants Phi, internal strain Lambda and a stiffness. What ions add is assembled from both:
eps_ionic = Z Phi^-1 Z / V, e_ionic = Z Phi^-1 Lambda / V, C = C_clamped - Lambda Phi^-1 Lambda / V; Wu, Vanderbilt and
Hamann, Phys. Rev. B 72, 035105 (2005). Where a network knows the result too, `collect` says which one is taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from voigt.errors import DomainError, InputError
from voigt.notes import Failure, Note
from voigt.prediction.result import Prediction, Settings
from voigt.prediction.stream import predict_structures
from voigt.response.assembly.quantities import PREDICTED, collect
from voigt.response.assembly.result import Quantity, Response
from voigt.response.assembly.settings import ResponseSettings
from voigt.response.elasticity import Moduli, born_stability, moduli
from voigt.response.optics import Optics, refractive_indices
from voigt.response.phonons.cells import to_ase
from voigt.response.phonons.project import calculated_project, unit_cell
from voigt.response.phonons.strained_cells import strained_cells
from voigt.response.phonons.tensors import ProjectSettings, project_tensors
from voigt.response.phonons.workflow import infrared_of, phonons_of
from voigt.response.potentials import engine_of, find_potential
from voigt.structures import InputStructure, only_structure


@dataclass
class _Times:
    """Wall time by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def respond(
    structure: Any, settings: ResponseSettings | None = None, *, advance: Callable[[], None] | None = None
) -> Response:
    """All responses of a crystal from its structure, without a DFT calculation.

    Parameters
    ----------
    structure
        A path, an ase.Atoms or a pymatgen Structure: one crystal.
    settings
        See `ResponseSettings`.
    advance
        Called after each supercell of the phonons.

    Returns
    -------
    See `Response`. `quantities` holds the best guess of each response, `routes` what the network and the potential
    say of it by themselves.

    Raises
    ------
    InputError
        The structure cannot be used, lies outside the networks' domain, or the potential is not installed or fails.
    DomainError
        The crystal is probably a metal, or a sheet or molecule in vacuum, and the settings do not allow it.

    Examples
    --------
    >>> import voigt
    >>> answer = voigt.respond("examples/MgO.vasp")  # doctest: +SKIP
    >>> answer.quantities["eps_total"].value.diagonal()  # doctest: +SKIP
    """
    settings = settings or ResponseSettings()
    given = only_structure(structure)
    times = _Times()
    source = settings.potential if settings.calculator is None else settings.calculator
    engine = engine_of(source, settings.folder, settings.workers)
    networks = _prediction_settings(settings)
    with times.of("networks"):
        _refuse(_predicted(given, networks), settings)  # before hours of relaxation
    with times.of("potential"):
        calculator = engine.calculator
    with times.of("relaxation"):
        relaxation = engine.relaxed(given.atoms, settings.relax, settings.symprec)
    with times.of("phonons"):
        project = calculated_project(
            relaxation.atoms,
            given.id,
            source,
            dim=settings.dim,
            displacement=settings.displacement,
            symprec=settings.symprec,
            relax="none",
            folder=settings.folder,
            workers=settings.workers,
            follow=settings.follow,
            advance=advance,
        )
        tensors = project_tensors(project, _project_settings(settings, networks.functional))
        infrared = infrared_of(project, tensors, linewidths=settings.linewidths, directions=settings.directions)
        phonons = phonons_of(
            project, tensors, directions=settings.directions, bands=settings.bands, bands_without_nac=settings.bands
        )
    atoms = unit_cell(project)
    atoms.info.update(given.atoms.info)
    with times.of("networks"):
        prediction = _predicted(InputStructure(given.source, given.index, given.id, atoms), networks)
    strain = None
    if settings.strain:
        with times.of("strained cells"):
            strain = strained_cells(to_ase(project.phonon.primitive), calculator, symprec=settings.symprec)
    collected = collect(prediction, infrared, strain, engine.name)
    optics, refraction = _optics(prediction)
    averages, stiffness = _moduli(collected.quantities.get("elastic"))
    notes = (*relaxation.notes, *infrared.notes, *(strain.notes if strain else ()), *prediction.notes)
    return Response(
        id=given.id,
        given=given.atoms,
        atoms=atoms,
        potential=engine.name,
        settings=settings,
        relaxation=relaxation,
        prediction=prediction,
        phonons=phonons,
        infrared=infrared,
        quantities=collected.quantities,
        routes=collected.routes,
        optics=optics,
        moduli=averages,
        notes=tuple(dict.fromkeys((*notes, *collected.notes, *refraction, *stiffness))),
        seconds=times.seconds,
    )


def _prediction_settings(settings: ResponseSettings) -> Settings:
    functional = settings.functional
    if functional is None and settings.calculator is None:
        functional = find_potential(settings.potential).functional
    return Settings(
        properties=PREDICTED,
        functional=functional,
        symprec=settings.symprec,
        allow_unseen=settings.allow_unseen,
        device=settings.device,
    )


def _predicted(structure: InputStructure, settings: Settings) -> Prediction:
    (result,) = predict_structures([structure], None, settings)
    if isinstance(result, Failure):
        raise InputError(result.for_command_line().reason)
    missing = [name for name in ("born_charges", "eps_inf") if name not in result.values]
    if missing:
        reasons = "; ".join(note.sentence for note in result.notes if set(missing) & set(note.properties))
        raise InputError(f"{structure.id}: no {' and '.join(missing)}: {reasons}")
    return result


def _refuse(prediction: Prediction, settings: ResponseSettings) -> None:
    """DomainError for crystals without the response of an insulator in three dimensions."""
    for note in prediction.notes:
        for kind, allowed, option in (
            ("likely_metal", settings.allow_metal, "allow_metal"),
            ("vacuum", settings.allow_vacuum, "allow_vacuum"),
        ):
            if note.kind == kind and not allowed:
                advice = f"{option}=True or --{option.replace('_', '-')} goes on all the same"
                raise DomainError(f"{prediction.id}: {note.text}; {advice}")


def _project_settings(settings: ResponseSettings, functional: str | None) -> ProjectSettings:
    return ProjectSettings(
        functional=functional,
        allow_unseen=settings.allow_unseen,
        device=settings.device,
        allow_metal=settings.allow_metal,
        allow_vacuum=settings.allow_vacuum,
        symprec=settings.symprec,
    )


def _optics(prediction: Prediction) -> tuple[Optics | None, tuple[Note, ...]]:
    try:
        return refractive_indices(prediction.values["eps_inf"]), ()
    except DomainError as error:
        return None, (Note("not_finite", f"no refractive indices: {error}", ("eps_inf",)),)


def _moduli(elastic: Quantity | None) -> tuple[Moduli | None, tuple[Note, ...]]:
    if elastic is None:
        return None, ()
    stability = born_stability(elastic.value)
    if not stability.stable:
        text = f"the elastic tensor is not positive definite ({float(stability.smallest_eigenvalue):.3g} GPa)"
        return None, (Note("unstable_modes", f"no moduli: {text}", ("elastic",)),)
    return moduli(elastic.value), ()

"""From a phonopy project to results, as `voigt phonons` and `voigt infrared` compute them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from voigt.errors import DomainError, InputError, VoigtError
from voigt.notes import Note
from voigt.response.arrays import Array, direction_name
from voigt.response.phonons.cells import PHONOPY_SYMPREC, to_ase
from voigt.response.phonons.infrared_modes import Infrared, infrared
from voigt.response.phonons.internal_strain import ionic_piezo
from voigt.response.phonons.longitudinal_modes import Longitudinal, is_axis, longitudinal
from voigt.response.phonons.modes import WAVENUMBER, gamma_force_constants, gamma_modes, irreps
from voigt.response.phonons.nac import (
    AXES,
    GammaPhonons,
    Segment,
    band_structure,
    gamma_phonons,
    inactive_reason,
    optical_limit,
)
from voigt.response.phonons.project import Project, read_project
from voigt.response.phonons.spectra import Spectrum, distinct_directions, frequency_grid, spectrum
from voigt.response.phonons.strained_cells import strained_cells
from voigt.response.phonons.tensors import ProjectSettings, ProjectTensors, predict_tensors, project_tensors
from voigt.response.piezoelectricity import strain_coefficients
from voigt.response.potentials.engine import engine_of

if TYPE_CHECKING:
    from phonopy import Phonopy

    from voigt.prediction.result import Prediction


LINEWIDTH = 10 / WAVENUMBER
"""THz: 10 cm^-1."""


@dataclass(frozen=True)
class PhononResult:
    """Phonons of a project.

    Attributes
    ----------
    project, phonons
        What was read, and modes at Gamma.
    nac, polar
        Which NAC is in use, or why there is none, in words; the project's `Phonopy` with it, None without.
    prediction
        The predicted tensors; None if there are none or they make no sense.
    refused
        Whether NAC was to be predicted, but the crystal is probably a metal or holds vacuum.
    bands, bands_without_nac
        If they were requested.
    notes
        What was done, and what puts the result in doubt.
    """

    project: Project
    nac: str
    polar: Phonopy | None
    prediction: Prediction | None
    refused: bool
    phonons: GammaPhonons
    bands: tuple[Segment, ...] | None
    bands_without_nac: tuple[Segment, ...] | None
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class InfraredResult:
    """Infrared response of a project.

    Attributes
    ----------
    project, tensors
        What was read, and the Born charges and eps_inf in use.
    response
        Modes and permittivities.
    directions, spectrum
        Names of equivalent directions, for each one that the spectrum has.
    relations
        Poles and zeros along these directions, with longitudinal frequencies from phonopy.
    linewidths
        THz.
    notes
        What was done, and what puts the result in doubt.
    """

    project: Project
    tensors: ProjectTensors
    response: Infrared
    directions: tuple[tuple[str, ...], ...]
    relations: tuple[Longitudinal, ...]
    spectrum: Spectrum
    linewidths: Array
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class PiezoResult:
    """What relaxing ions add to the piezoelectric tensors.

    Attributes
    ----------
    e
        (3, 3, 3) C/m^2; clamped ions have a part of their own.
    d
        (3, 3, 3) pm/V, with a predicted elastic tensor; None without one.
    reason
        Why there is no `d`.
    """

    e: Array
    d: Array | None
    reason: str | None


def run_phonons(
    folder: str | Path,
    settings: ProjectSettings | None = None,
    *,
    directions: Sequence[ArrayLike] = AXES,
    bands: bool = False,
    bands_without_nac: bool = False,
    advance: Callable[[], None] | None = None,
) -> PhononResult:
    """Phonons at Gamma with LO-TO splitting, and bands, of a phonopy project.

    Parameters
    ----------
    folder, settings, advance
        As for `read_project`; the settings also say which Born charges the project gets.
    directions
        Cartesian, along which the wave vector goes to zero.
    bands, bands_without_nac
        Compute them along the standard path.

    Raises
    ------
    InputError
        The project cannot be read, or there are no tensors for it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> with TemporaryDirectory() as folder:
    ...     bulk("Cu").write(f"{folder}/Cu.vasp", format="vasp")
    ...     settings = ProjectSettings(tensors="none", calculator=EMT(), dim=[2, 2, 2])
    ...     result = run_phonons(f"{folder}/Cu.vasp", settings)
    >>> result.nac, int(result.phonons.rigid.sum())
    ('none, longitudinal modes are not shifted', 3)
    """
    project, tensors = _read(folder, settings or ProjectSettings(), advance)
    return phonons_of(project, tensors, directions=directions, bands=bands, bands_without_nac=bands_without_nac)


def phonons_of(
    project: Project,
    tensors: ProjectTensors,
    *,
    directions: Sequence[ArrayLike] = AXES,
    bands: bool = False,
    bands_without_nac: bool = False,
) -> PhononResult:
    """`run_phonons` of a project that has been read, with the tensors that it gets."""
    nac, polar, prediction = tensors.name, tensors.polar, tensors.prediction
    if tensors.refused is not None:
        nac, polar, prediction = f"inactive: {tensors.refused}", None, None
    elif polar is not None and (reason := inactive_reason(tensors.born_charges)) is not None:
        nac, polar = f"inactive: {reason}", None
    return PhononResult(
        project=project,
        nac=nac,
        polar=polar,
        prediction=prediction,
        refused=tensors.refused is not None,
        phonons=gamma_phonons(project.phonon, polar, directions),
        bands=band_structure(polar or project.phonon) if bands else None,
        bands_without_nac=band_structure(project.phonon) if bands_without_nac else None,
        notes=(*project.notes, *tensors.notes),
    )


def run_infrared(
    folder: str | Path,
    settings: ProjectSettings | None = None,
    *,
    linewidths: ArrayLike = LINEWIDTH,
    directions: Sequence[ArrayLike] = AXES,
    advance: Callable[[], None] | None = None,
) -> InfraredResult:
    """Infrared modes, static permittivity and spectra of a phonopy project.

    Parameters
    ----------
    folder, settings, advance
        As for `run_phonons`.
    linewidths
        THz: one, or one for each optical set of modes.
    directions
        Cartesian, in which the light is polarized; equivalent ones are put together.

    Raises
    ------
    InputError
        The project cannot be read, there are no tensors for it, or linewidths do not fit.
    DomainError
        The crystal is probably a metal or holds vacuum, and the settings do not allow that.

    Examples
    --------
    >>> result = run_infrared("MgO", linewidths=0.3)  # doctest: +SKIP
    >>> result.response.eps_0, result.spectrum.reflectivity  # doctest: +SKIP
    """
    project, tensors = _read(folder, settings or ProjectSettings(), advance)
    return infrared_of(project, tensors, linewidths=linewidths, directions=directions)


def infrared_of(
    project: Project,
    tensors: ProjectTensors,
    *,
    linewidths: ArrayLike = LINEWIDTH,
    directions: Sequence[ArrayLike] = AXES,
) -> InfraredResult:
    """`run_infrared` of a project that has been read, with the tensors that it gets; its errors."""
    if tensors.polar is None:
        raise InputError('infrared needs Born charges: take those that are "predicted", or of the "project"')
    if tensors.refused is not None:
        raise DomainError(f"{project.folder.resolve().name}: no infrared response: {tensors.refused}")
    modes = gamma_modes(project.phonon)
    response = infrared(modes, tensors.born_charges, tensors.eps_inf, irreps(project.phonon, modes))
    groups = distinct_directions(response, np.array(directions))
    axes = [n for n, _ in groups]
    widths = np.atleast_1d(np.asarray(linewidths, dtype=np.float64))
    skewed = (direction_name(n) for n in axes if not is_axis(response, n))
    text = "is no axis of the permittivity: reflectivity is that of n.eps.n alone"
    remarks = (Note("no_axis", f"{name} {text}") for name in skewed)
    return InfraredResult(
        project=project,
        tensors=tensors,
        response=response,
        directions=tuple(names for _, names in groups),
        # The longitudinal frequencies of phonopy, so that the relation of Lyddane, Sachs and Teller is a check.
        relations=tuple(longitudinal(response, n, optical_limit(tensors.polar, n)) for n in axes),
        spectrum=spectrum(response, frequency_grid(response, widths, axes), widths, axes),
        linewidths=widths,
        notes=(*project.notes, *tensors.notes, *response.notes, *remarks),
    )


def run_ionic_piezo(result: InfraredResult, settings: ProjectSettings) -> PiezoResult:
    """What relaxing ions add to e, and to d with a predicted elastic tensor if there is a model that ships.

    The result is that of `run_infrared` with the same settings, which need a calculator: force constants do not tell
    the forces that strain causes well enough. InputError if it fails, DomainError if the crystal is unstable.
    """
    check_piezo(settings)
    phonon = result.project.phonon
    strain = strained_cells(to_ase(phonon.primitive), engine_of(settings.engine).calculator).internal_strain
    volume = float(phonon.primitive.volume)
    e = ionic_piezo(gamma_force_constants(phonon), strain, result.tensors.born_charges, volume)
    if settings.model is not None:
        return PiezoResult(e, None, "d = e S needs an elastic tensor, which is predicted if no --model is given")
    try:
        elastic_settings = replace(settings, functional=None).prediction("elastic")
        elastic = predict_tensors(result.project, None, elastic_settings).values["elastic"]
    except VoigtError as error:
        return PiezoResult(e, None, f"no d = e S, since there is no elastic tensor: {error}")
    return PiezoResult(e, strain_coefficients(e, elastic), None)


def check_piezo(settings: ProjectSettings) -> None:
    """InputError where `run_ionic_piezo` would have no calculator."""
    if settings.engine is None:
        raise InputError(
            "--piezo needs the forces that strain causes, which force constants do not give well enough (see "
            "voigt.response.phonons.internal_strain); give --potential or --calculator"
        )


def _read(
    folder: str | Path, settings: ProjectSettings, advance: Callable[[], None] | None
) -> tuple[Project, ProjectTensors]:
    project = read_project(
        folder,
        settings.engine,
        dim=settings.dim,
        primitive_axes=settings.primitive_axes,
        displacement=settings.displacement,
        symmetrize=settings.symmetrize,
        symprec=PHONOPY_SYMPREC if settings.symprec is None else settings.symprec,
        relax=settings.relax,
        results=settings.folder,
        workers=settings.workers,
        follow=settings.follow,
        advance=advance,
    )
    return project, project_tensors(project, settings)

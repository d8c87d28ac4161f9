"""Phonons and infrared response as the plain data of the API."""

from __future__ import annotations

import numpy as np

from voigt.app.job_schema import (
    Along,
    BandSegment,
    GammaMode,
    InfraredData,
    InfraredMode,
    LongitudinalData,
    PhononData,
    SpectrumData,
)
from voigt.notes import Note
from voigt.prediction.scene import scene_notes, scene_structure
from voigt.response.phonons.cells import to_ase
from voigt.response.phonons.infrared_modes import KM_PER_MOL
from voigt.response.phonons.modes import WAVENUMBER
from voigt.response.phonons.nac import distinct
from voigt.response.phonons.workflow import InfraredResult, PhononResult
from voigt.structures.symmetry import find_symmetry
from voigt.writers import infrared as infrared_writer
from voigt.writers import phonons as phonons_writer


def phonon_data(result: PhononResult, light: InfraredResult | None, notes: tuple[Note, ...]) -> PhononData:
    """All of it; `light` is None where there is no infrared response, and one of the `notes` says why."""
    project = result.project
    primitive = to_ase(project.phonon.primitive)
    heading = phonons_writer.heading(project)
    lines = [*heading, f"NAC: {result.nac}", "", *phonons_writer.table(result.phonons)]
    if result.bands is not None:
        lines.append(phonons_writer.band_summary(result.bands))
    return PhononData(
        heading=heading,
        structure=scene_structure(primitive, find_symmetry(primitive, project.phonon.symmetry.tolerance)),
        masses=np.asarray(project.phonon.primitive.masses).tolist(),
        nac=result.nac,
        refused=result.refused,
        modes=_modes(result),
        along=[
            Along(
                direction=along.direction.tolist(),
                names=list(names),
                frequencies=along.frequencies[along.partner].tolist(),
                splitting=result.phonons.splitting(along).tolist(),
                overlap=along.overlap.tolist(),
            )
            for along, names in distinct(result.phonons)
        ],
        bands=_bands(result),
        infrared=None if light is None else _infrared(light),
        notes=scene_notes(notes),
        table="\n".join(lines),
    )


def _modes(result: PhononResult) -> list[GammaMode]:
    """Atoms of a mode move along its eigenvector divided by the root of their masses."""
    phonons = result.phonons
    moves = phonons.modes.eigenvectors / np.sqrt(phonons.modes.masses)[:, None]
    moves = moves / np.linalg.norm(moves, axis=2).max(axis=1)[:, None, None]
    return [
        GammaMode(
            frequency=float(frequency),
            wavenumber=float(frequency * WAVENUMBER),
            irrep=label,
            acoustic=bool(rigid),
            displacements=move.tolist(),
        )
        for frequency, label, rigid, move in zip(
            phonons.modes.frequencies, phonons.labels, phonons.rigid, moves, strict=True
        )
    ]


def _bands(result: PhononResult) -> list[BandSegment]:
    """`bands` have NAC where there is any; those without stand beside them."""
    with_nac = result.bands if result.polar is not None else None
    plain = result.bands_without_nac or result.bands or ()
    return [
        BandSegment(
            start=segment.labels[0],
            end=segment.labels[1],
            distances=segment.distances.tolist(),
            frequencies=segment.frequencies.tolist(),
            nac=None if with_nac is None else with_nac[k].frequencies.tolist(),
        )
        for k, segment in enumerate(plain)
    ]


def _infrared(result: InfraredResult) -> InfraredData:
    response, spectrum = result.response, result.spectrum
    pairs = list(zip(result.relations, result.directions, strict=True))
    lines = [
        f"Born charges and eps_inf: {result.tensors.name}",
        "",
        *infrared_writer.table(response),
        "",
        *infrared_writer.tensor_lines(response),
        "",
        *infrared_writer.relation_lines(pairs),
    ]
    return InfraredData(
        eps_inf=response.eps_inf.tolist(),
        eps_ionic=response.eps_ionic.tolist(),
        eps_0=response.eps_0.tolist(),
        modes=[
            InfraredMode(
                modes=[int(member) for member in entry.members],
                kind=entry.kind,
                irrep=entry.irrep,
                active=entry.active,
                frequency=entry.frequency,
                wavenumber=entry.wavenumber,
                strength=entry.strength.tolist(),
                intensity=entry.intensity * KM_PER_MOL,
                share=entry.share.tolist(),
            )
            for entry in response.sets
        ],
        directions=[
            LongitudinalData(
                direction=relation.direction.tolist(),
                names=list(names),
                transverse=relation.transverse.tolist(),
                longitudinal=relation.longitudinal.tolist(),
                product=relation.product if relation.reason is None else None,
                ratio=relation.ratio if relation.reason is None else None,
                axis=relation.axis,
                reason=relation.reason,
            )
            for relation, names in pairs
        ],
        spectrum=SpectrumData(
            linewidth=result.linewidths.tolist(),
            frequencies=spectrum.frequencies.tolist(),
            directions=spectrum.directions.tolist(),
            permittivity_real=spectrum.permittivity.real.tolist(),
            permittivity_imaginary=spectrum.permittivity.imag.tolist(),
            reflectivity=spectrum.reflectivity.tolist(),
            loss=spectrum.loss.tolist(),
            absorption=spectrum.absorption.tolist(),
        ),
        table="\n".join(lines),
    )

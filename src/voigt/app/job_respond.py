"""Every response of a structure, with a potential."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from voigt.app.derived import derived
from voigt.app.job_parts import Advance, Files, directions_of, read_all
from voigt.app.job_repeating import respond_again
from voigt.app.job_schema import QuantityData, RespondQuery, RespondResult
from voigt.app.phonon_data import phonon_data
from voigt.app.structures import Upload, only_structure
from voigt.prediction.scene import Scene, scene
from voigt.tensors.properties import PROPERTIES

if TYPE_CHECKING:
    from voigt.response.assembly import Response


def run_respond_job(
    upload: Upload, query: RespondQuery, device: str, folder: Path, advance: Advance
) -> tuple[RespondResult, Files]:
    """What `voigt respond` gives, and the files of its folder.

    Raises
    ------
    RequestError, VoigtError
        There is no result.
    """
    from voigt.response.assembly import ResponseSettings, respond
    from voigt.response.phonons.files import parse_dim
    from voigt.response.phonons.spectra import parse_linewidth
    from voigt.response.potentials import DEFAULT, find_potential
    from voigt.writers.response import summary_lines, write_response

    settings = ResponseSettings(
        potential=find_potential(query.potential or DEFAULT).name,
        functional=query.functional,
        relax=query.relax or "positions",
        dim=None if query.dim is None else parse_dim(query.dim),
        follow=query.follow,
        symprec=1e-3 if query.symprec is None else query.symprec,
        allow_unseen=query.allow_unseen,
        allow_metal=query.allow_metal,
        allow_vacuum=query.allow_vacuum,
        linewidths=parse_linewidth(query.linewidth),
        directions=directions_of(query),
        device=device,
    )
    structure = only_structure(upload)
    atoms = structure.atoms.copy()
    atoms.info["id"] = structure.id
    response = respond(atoms, settings, advance=advance)
    write_response(response, folder / "out")
    data = phonon_data(response.phonons, response.infrared, response.notes)
    values = {name: entry.value for name, entry in response.quantities.items()}
    answer = RespondResult(
        crystal=_response_scene(response),
        derived=derived(values),
        quantities=_quantities(response),
        phonons=data,
        potential=response.potential,
        summary="\n".join(summary_lines(response)),
        repeat=respond_again(upload, query, settings.potential),
    )
    return answer, read_all(folder / "out", folder)


def _response_scene(response: Response) -> Scene:
    """The relaxed crystal with all of its responses that are properties, by whatever route."""
    found = {name: entry for name, entry in response.quantities.items() if name in PROPERTIES}
    prediction = response.prediction
    shown = replace(
        prediction,
        id=response.id,
        atoms=response.atoms,
        values={name: entry.value for name, entry in found.items()},
        interval={name: entry.interval for name, entry in found.items() if entry.interval is not None},
        models={name: entry.origin for name, entry in found.items()},
        functionals={n: prediction.functionals[n] if e.route == "predicted" else None for n, e in found.items()},
        spread={},
        residual={},
        notes=response.notes,
    )
    return scene(shown)


def _quantities(response: Response) -> list[QuantityData]:
    from voigt.writers.response_record import voigt_matrix

    found = []
    for name, entry in response.quantities.items():
        per_atom = name == "born_charges"
        value = entry.value if per_atom or entry.value.ndim == 0 else voigt_matrix(name, entry.value)[2]
        found.append(
            QuantityData(
                name=name,
                unit="" if entry.unit == "1" else entry.unit,
                route=entry.route,
                origin=entry.origin,
                value=value.tolist(),
                interval=None if entry.interval is None else entry.interval.tolist(),
            )
        )
    return found

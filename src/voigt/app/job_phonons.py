"""Phonons and infrared response of a phonopy project, or of a structure and a potential."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from voigt.app.job_parts import Advance, Files, directions_of, read_all, shipped_name, without
from voigt.app.job_repeating import phonons_again
from voigt.app.job_schema import PhononsQuery, PhononsResult
from voigt.app.phonon_data import phonon_data
from voigt.app.projects import holds_project, unpack_project
from voigt.app.structures import Upload, only_structure
from voigt.errors import DomainError, InputError
from voigt.notes import Note
from voigt.prediction.scene import scene
from voigt.text import file_stem

if TYPE_CHECKING:
    from voigt.response.phonons.workflow import InfraredResult, PhononResult


def run_phonons_job(
    upload: Upload, query: PhononsQuery, device: str, folder: Path, advance: Advance
) -> tuple[PhononsResult, Files]:
    """What `voigt phonons` and `voigt infrared` give, and their files; `device` is that of the networks.

    Raises
    ------
    RequestError, VoigtError
        There is no result.
    """
    from voigt.response.phonons.files import parse_dim
    from voigt.response.phonons.project import calculated_project, read_project
    from voigt.response.phonons.spectra import parse_linewidth
    from voigt.response.phonons.tensors import ProjectSettings, project_tensors
    from voigt.response.phonons.workflow import infrared_of, phonons_of
    from voigt.response.potentials import DEFAULT

    of_files = holds_project(upload)
    if of_files and query.potential is not None:
        raise InputError(f"{upload.name} holds forces of its own; leave out the potential, or send the structure alone")
    potential = None if of_files else query.potential or DEFAULT
    directions, widths = directions_of(query), parse_linewidth(query.linewidth)
    settings = ProjectSettings(
        tensors=query.nac,
        model=shipped_name(query.model),
        functional=query.functional,
        allow_unseen=query.allow_unseen,
        allow_metal=query.allow_metal,
        allow_vacuum=query.allow_vacuum,
        symmetrize=query.symmetry,
        sum_rule=query.sum_rule,
        symprec=query.symprec,
        potential=potential,
        dim=None if query.dim is None else parse_dim(query.dim),
        relax=query.relax,
        follow=query.follow,
        device=device,
    )
    shared: dict[str, Any] = {"dim": settings.dim, "symmetrize": settings.symmetrize}
    if settings.symprec is not None:
        shared["symprec"] = settings.symprec
    if settings.engine is None:
        name = file_stem(upload.stem)
        project = read_project(unpack_project(upload, folder / name), **shared)
    else:
        structure = only_structure(upload)
        project = calculated_project(
            structure.atoms,
            structure.id,
            potential,
            relax=settings.relax,
            follow=settings.follow,
            advance=advance,
            **shared,
        )
    tensors = project_tensors(project, settings)
    result = phonons_of(project, tensors, directions=directions, bands=True, bands_without_nac=True)
    light, reason = None, tuple[Note, ...]()
    try:
        light = infrared_of(project, tensors, linewidths=widths, directions=directions)
    except (InputError, DomainError) as error:
        reason = (Note("set_aside", without(folder, f"no infrared response: {error}")),)
    notes = tuple(dict.fromkeys((*result.notes, *(() if light is None else light.notes), *reason)))
    data = phonon_data(result, light, notes)
    files = _phonon_files(result, light, folder)
    crystal = None if result.prediction is None else scene(result.prediction)
    answer = PhononsResult(phonons=data, crystal=crystal, repeat=phonons_again(upload, query, potential))
    return PhononsResult.model_validate_json(without(folder, answer.model_dump_json())), files


def _phonon_files(result: PhononResult, light: InfraredResult | None, folder: Path) -> Files:
    """What `voigt phonons` and `voigt infrared` write."""
    from voigt.response.phonons.born_files import born_file
    from voigt.writers import infrared, phonons
    from voigt.writers.figures import save_figure
    from voigt.writers.infrared_figures import spectrum_figure
    from voigt.writers.phonon_figures import band_figure

    out = folder / "out"
    out.mkdir()
    phonons.write_record(phonons.as_record(result), out / "phonons.json")
    phonons.write_record(phonons.as_record(result), out / "lo_to.csv")
    formula, group, *_ = phonons.heading(result.project)[0].split("  ")
    without = None if result.polar is None else result.bands_without_nac
    save_figure(band_figure(f"{formula}, {group}   NAC: {result.nac}", result.bands or (), without), out / "bands.png")
    if light is not None:
        infrared.write_json(infrared.as_record(light), out / "infrared.json")
        infrared.write_csv(light.spectrum, out / "infrared.csv")
        names = [" = ".join(equivalent) for equivalent in light.directions]
        title = f"{formula}  {group}   {light.tensors.name}"
        save_figure(spectrum_figure(title, light.spectrum, names, light.relations), out / "infrared.png")
    if result.prediction is not None:
        values = result.prediction.values
        axes = result.project.phonon.primitive_matrix.tolist()
        try:
            text = born_file(
                result.prediction.atoms,
                values["born_charges"],
                values["eps_inf"],
                primitive_matrix=axes,
                factor=result.project.nac_unit,
            )
        except InputError:  # tensors break the symmetry that phonopy finds
            pass
        else:
            (out / "BORN").write_text(text, encoding="utf-8")
    return read_all(out, folder)

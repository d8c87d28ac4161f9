"""The folder of a response: structure, phonopy project with BORN, tables, spectra, figures, and a page on all of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import ase
import numpy as np

from voigt.errors import InputError, VoigtError
from voigt.files import atomic_write, make_folder
from voigt.response.phonons.born_files import born_file
from voigt.response.phonons.tensors import with_parameters
from voigt.response.potentials.store import CACHE, PROJECT
from voigt.structures import read_one
from voigt.structures.formula import reduced_formula
from voigt.tensors.properties import PROPERTIES
from voigt.writers import infrared, phonons
from voigt.writers.extxyz import write_extxyz
from voigt.writers.figures import save_figure
from voigt.writers.response_page import page
from voigt.writers.response_record import as_record, mode_rows, quantity_rows
from voigt.writers.response_repetition import GIVEN
from voigt.writers.response_summary import summary_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from voigt.response.assembly import Response

__all__ = ["claim_folder", "summary_lines", "write_response"]

REPORT = "report.html"
_SAME_PLACE = 1e-6
"""Angstrom by which structures may differ and still be the same: what a POSCAR keeps."""
_FILES = {
    GIVEN: "the structure as it came",
    "relaxed.vasp": "the relaxed structure, whose axes all tensors have",
    "structure.extxyz": "the same with Born charges and tensors of this page",
    PROJECT: "phonopy project: force constants and NAC",
    "BORN": "Born charges and eps_inf for other programs; phonopy takes the same numbers from its own file",
    "response.json": "everything but the spectrum, for programs",
    "quantities.csv": "tensors component by component, with intervals, routes and origins",
    "modes.csv": "modes at q = 0 with strengths and shares of eps_ionic",
    "lo_to.csv": "every mode with and without NAC along each direction",
    "infrared.csv": "permittivity, reflectivity, loss and absorption against frequency",
    "bands.png": "phonon bands",
    "infrared.png": "infrared spectrum",
    "directions.png": "stiffness and piezoelectricity by direction",
}
"""Name of a file -> what it holds, in the order of the page."""


def claim_folder(folder: str | Path, atoms: ase.Atoms, *, overwrite: bool = False) -> Path:
    """Make a folder for the response of a structure, or find that it already is one; leaves `given.vasp` there.

    Parameters
    ----------
    folder, atoms
        Where results shall go, and the structure as it came.
    overwrite
        Use the folder whatever it holds. Files of the same names are replaced in the end, others stay.

    Raises
    ------
    InputError
        The folder is not empty and holds no results of this structure, finished or interrupted.
    OutputError
        It cannot be made.
    """
    home = make_folder(folder)
    if any(home.iterdir()) and not overwrite and not _is_of(home / GIVEN, atoms):
        raise InputError(
            f"{home} is not empty and holds no results of this structure; choose another folder, or replace files "
            "there with --overwrite"
        )
    _write_poscar(atoms, home / GIVEN)
    if (home / PROJECT).exists():
        make_folder(home / CACHE)  # without it, the project would be taken for one of another calculation
    return home


def write_response(response: Response, folder: str | Path) -> list[Path]:
    """Write everything there is to a folder; every file is complete or absent.

    `phonopy_params.yaml` holds NAC parameters, so that phonopy applies them once, wherever it is loaded from; it reads
    BORN only where that block is missing. BORN is left out if tensors break the symmetry that phonopy finds.

    Parameters
    ----------
    response
        From `voigt.respond`.
    folder
        Is made if it does not exist; files of the same names are replaced.

    Returns
    -------
    Paths of the files, the page first.

    Raises
    ------
    OutputError
        A file cannot be written.

    Examples
    --------
    >>> write_response(voigt.respond("examples/MgO.vasp"), "MgO")  # doctest: +SKIP
    """
    home = make_folder(folder)
    _write_poscar(response.given, home / GIVEN)
    _write_poscar(response.atoms, home / "relaxed.vasp")
    _write_extxyz(response, home / "structure.extxyz")
    _write_project(response, home / PROJECT)
    _write_born(response, home / "BORN")
    with atomic_write(home / "response.json") as stream:
        json.dump(as_record(response), stream, allow_nan=False, indent=1)
        stream.write("\n")
    _write_rows(quantity_rows(response), home / "quantities.csv")
    _write_rows(mode_rows(response), home / "modes.csv")
    phonons.write_record(phonons.as_record(response.phonons), home / "lo_to.csv")
    infrared.write_csv(response.infrared.spectrum, home / "infrared.csv")
    figures = _figures(response)
    for name, figure in figures.items():
        save_figure(figure, home / f"{name}.png")
    if "directions" not in figures:
        (home / "directions.png").unlink(missing_ok=True)  # of an earlier run
    pictures = {name: (home / f"{name}.png").read_bytes() for name in figures}
    written = {name: words for name, words in _FILES.items() if (home / name).exists()}
    with atomic_write(home / REPORT) as stream:
        stream.write(page(response, pictures, written))
    return [home / name for name in (REPORT, *written)]


def _is_of(path: Path, atoms: ase.Atoms) -> bool:
    """Whether a file holds this structure."""
    if not path.is_file():
        return False
    try:
        other = read_one(path)
    except VoigtError:
        return False
    if other.numbers.tolist() != atoms.numbers.tolist():
        return False
    steps = other.get_scaled_positions(wrap=False) - atoms.get_scaled_positions(wrap=False)
    apart = np.linalg.norm((steps - np.rint(steps)) @ atoms.cell.array, axis=1).max()
    return bool(apart <= _SAME_PLACE and abs(other.cell.array - atoms.cell.array).max() <= _SAME_PLACE)


def _write_poscar(atoms: ase.Atoms, path: Path) -> None:
    from ase.io.vasp import write_vasp

    plain = ase.Atoms(numbers=atoms.numbers, cell=atoms.cell, positions=atoms.positions, pbc=True)
    with atomic_write(path) as stream:
        write_vasp(stream, plain, direct=True)


def _write_extxyz(response: Response, path: Path) -> None:
    """The relaxed structure with all quantities of the response that have a name in such files."""
    found = {name: entry for name, entry in response.quantities.items() if name in PROPERTIES}
    functionals = response.prediction.functionals
    final = replace(
        response.prediction,
        atoms=response.atoms,
        values={name: entry.value for name, entry in found.items()},
        interval={name: entry.interval for name, entry in found.items() if entry.interval is not None},
        models={name: entry.origin for name, entry in found.items()},
        functionals={n: functionals[n] if entry.route == "predicted" else None for n, entry in found.items()},
        spread={},
    )
    write_extxyz([final], path)


def _write_project(response: Response, path: Path) -> None:
    """The file of phonopy itself, with force constants alone: it would fit those of forces once more."""
    project, polar = response.phonons.project, response.infrared.tensors.polar
    if polar is None or polar.nac_params is None:
        raise InputError("a response without Born charges")
    twin = with_parameters(project, {**polar.nac_params}, symmetrize=False)
    content = {"force_sets": False, "displacements": False, "force_constants": True, "born_effective_charge": True}
    with TemporaryDirectory() as home:
        twin.save(Path(home) / PROJECT, settings=content)
        text = (Path(home) / PROJECT).read_text(encoding="utf-8")
    with atomic_write(path) as stream:
        stream.write(text)


def _write_born(response: Response, path: Path) -> None:
    charges, eps = (response.quantities[name].value for name in ("born_charges", "eps_inf"))
    axes = response.phonons.project.phonon.primitive_matrix.tolist()
    try:
        text = born_file(response.atoms, charges, eps, primitive_matrix=axes)
    except InputError:  # a structure that was not relaxed, a bit off its space group
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as stream:
        stream.write(text)


def _write_rows(rows: Sequence[Sequence[str]], path: Path) -> None:
    with atomic_write(path) as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def _figures(response: Response) -> dict[str, Figure]:
    from voigt.writers.infrared_figures import spectrum_figure
    from voigt.writers.phonon_figures import band_figure
    from voigt.writers.response_figures import direction_figure, has_directions

    symmetry = response.prediction.symmetry
    title = f"{reduced_formula(response.atoms)}  {symmetry.international} ({symmetry.number})"
    result, light = response.phonons, response.infrared
    without = None if result.polar is None else result.bands_without_nac
    names = [" = ".join(equivalent) for equivalent in light.directions]
    figures = {
        "bands": band_figure(title, result.bands or (), without),
        "infrared": spectrum_figure(title, light.spectrum, names, light.relations),
    }
    elastic = None if response.moduli is None else response.quantities["elastic"].value
    strain = response.quantities["piezo_d"].value if "piezo_d" in response.quantities else None
    if has_directions(elastic, strain):
        figures["directions"] = direction_figure(elastic, strain)
    return figures

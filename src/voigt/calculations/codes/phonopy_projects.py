"""Phonopy projects with Born charges: BORN and a cell, and with forces the permittivity of the ions.

What phonopy's own rules make of the files is left to `voigt.response.phonons`, which reads folders: the files of a
project, which may lie in an archive, are copied under their plain names into a temporary one.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.errors import InputError
from voigt.notes import Failure
from voigt.structures.readers.failures import explain

if TYPE_CHECKING:
    from voigt.response.phonons import Project

_PLAIN = (
    "phonopy_params.yaml",
    "phonopy.yaml",
    "phonopy_disp.yaml",
    "POSCAR-unitcell",
    "POSCAR",
    "SPOSCAR",
    "phonopy.conf",
    "disp.yaml",
    "FORCE_SETS",
    "FORCE_CONSTANTS",
)
"""Names under which phonopy finds its files."""
_CELLS = _PLAIN[:6]
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def recognizes(file: RunFile) -> bool:
    """Whether a file may belong to a phonopy project: its YAML files and BORN by content, cells and forces by name."""
    return file.name in _PLAIN or _is_yaml(file) or _is_born(file)


def read(files: Sequence[RunFile]) -> Iterator[Outcome]:
    """The calculation of a folder; none if no file of it holds Born charges."""
    charges = [file for file in files if _is_born(file) or (_is_yaml(file) and _holds_charges(file))]
    if not charges:
        return
    try:
        yield _calculation(files)
    except Exception as error:  # phonopy raises anything on broken files
        yield Failure(charges[0].path, 0, "", "unreadable", explain(error, "files of a phonopy project"))


def _is_yaml(file: RunFile) -> bool:
    return "unit_cell:" in file.head and re.search(r"^phonopy:", file.head, re.MULTILINE) is not None


def _is_born(file: RunFile) -> bool:
    """A unit factor (or the word default), then lines of nine numbers."""
    lines = [line.split("#")[0] for line in file.head.splitlines() if line.split("#")[0].strip()]
    if file.name == "BORN":
        return True
    if len(lines) < 3 or len(lines[0].split()) > 3:
        return False
    first = lines[0].split()[0]
    rows = lines[1:] if len(file.head) < 1 << 15 else lines[1:10]
    return (first == "default" or _NUMBER.fullmatch(first) is not None) and all(
        len(row.split()) == 9 and all(_NUMBER.fullmatch(word) for word in row.split()) for row in rows
    )


def _holds_charges(file: RunFile) -> bool:
    text = file.head if "born_effective_charge" in file.head else file.read()
    return "born_effective_charge" in text


def _calculation(files: Sequence[RunFile]) -> Calculation:
    yamls = [file for file in files if _is_yaml(file)]
    if not yamls and not any(file.name in _CELLS for file in files):
        raise InputError("has no cell beside it; put phonopy.yaml or POSCAR-unitcell into its folder")
    with tempfile.TemporaryDirectory(prefix="voigt-") as name:
        folder = Path(name)
        _copy(files, folder)
        try:
            return _from_folder(folder, files)
        except InputError as error:
            raise InputError(_without(str(error), folder)) from error


def _copy(files: Sequence[RunFile], folder: Path) -> None:
    """Files under plain names; of several of one kind the first one."""
    for file in files:
        plain = file.name
        if plain not in _PLAIN:
            plain = "BORN" if _is_born(file) else "phonopy_params.yaml"
        if not (folder / plain).exists():
            (folder / plain).write_text(file.read(), encoding="utf-8")


def _from_folder(folder: Path, files: Sequence[RunFile]) -> Calculation:
    from voigt.response.phonons.cells import to_ase

    problems: list[str] = []
    conversions = ["born_charges: rows are the field, atoms of phonopy's primitive cell"]
    project, parameters = _project(folder, problems)
    targets = {
        "born_charges": np.asarray(parameters["born"], dtype=np.float64),
        "eps_inf": np.asarray(parameters["dielectric"], dtype=np.float64),
    }
    if (folder / "BORN").exists() and project.nac_block is None:
        conversions.append("born_charges: the other atoms from the independent ones in BORN, by the space group")
    if project.phonon.force_constants is not None:
        ionic = _ionic(project, targets, problems)
        if ionic is not None:
            targets["eps_ionic"] = ionic
            conversions.append("eps_ionic: from the modes at Gamma of the force constants and the Born charges")
    atoms = to_ase(project.phonon.primitive)
    if len(project.phonon.unitcell) == len(atoms):  # the same crystal in the setting of its own file
        primitive, supercell = project.phonon.primitive, project.phonon.supercell
        rows = [primitive.p2p_map[index] for index in primitive.s2p_map[supercell.u2s_map]]
        atoms, targets["born_charges"] = to_ase(project.phonon.unitcell), targets["born_charges"][rows]
        conversions[0] = "born_charges: rows are the field"
    atoms.set_masses(None)
    yaml = next((file.head for file in files if _is_yaml(file)), "")
    version = re.search(r'^[ \t]+version:[ \t]*"?([\w.]+)', yaml, re.MULTILINE)
    provenance = Provenance(
        files=tuple(file.path for file in files),
        code="phonopy",
        version=version[1] if version else "",
        conversions=tuple(conversions),
    )
    return Calculation(atoms, targets, provenance, tuple(_without(problem, folder) for problem in problems))


def _project(folder: Path, problems: list[str]) -> tuple[Project, Mapping[str, Any]]:
    """The project with its tensors: with forces if they can be read, in the primitive cell that the charges fit."""
    from voigt.response.phonons import read_project

    reasons: list[str] = []
    for axes in (None, "P"):
        try:
            project = read_project(folder, primitive_axes=axes)
        except InputError as error:
            reasons.append(str(error))
            continue
        if project.own_nac is not None:
            problems.extend(note.text for note in project.notes if note.kind == "not_relaxed")
            return project, project.own_nac
        reasons.extend(note.text for note in project.notes if note.kind == "unusable_born")
    forces = _forces(folder)
    for axes in (None, "P"):
        try:
            found = _without_forces(folder, axes)
        except InputError as error:
            reasons.append(str(error))
            continue
        if forces:
            problems.append(f"{forces} is not used, so that there is no eps_ionic: {reasons[0]}")
        return found
    raise InputError(reasons[-1])


def _forces(folder: Path) -> str:
    """What holds forces or force constants; "" if nothing does."""
    pattern = re.compile(r"^(?:[ \t-]*forces:|force_constants:)", re.MULTILINE)
    names = [name for name in ("FORCE_SETS", "FORCE_CONSTANTS") if (folder / name).exists()]
    yamls = sorted(folder.glob("*.yaml"))
    names += [path.name for path in yamls if pattern.search(path.read_text(encoding="utf-8"))]
    return names[0] if names else ""


def _without_forces(folder: Path, axes: str | None) -> tuple[Project, Mapping[str, Any]]:
    from voigt.response.phonons import Project, read_born
    from voigt.response.phonons.born_files import atoms_of_primitive
    from voigt.response.phonons.cells import make_phonopy, to_ase
    from voigt.response.phonons.files import read_files
    from voigt.structures.checks import problems as faults_of

    files = read_files(folder, calculating=False)
    if faults := faults_of(to_ase(files.cell)):
        raise InputError(f"the unit cell in {files.names[0]} {'. '.join(faults)}")
    matrix = files.primitive_matrix if axes is None else axes
    phonon = make_phonopy(folder, "check the cell", files.cell, np.eye(3, dtype=np.int64), matrix)
    block = None if files.nac is None else files.names[0]
    project = Project(folder, phonon, files.names[0], None, nac_unit=files.nac_unit, nac_block=block)
    if files.nac is None:
        return project, read_born(project, folder / "BORN")
    born = np.asarray(files.nac["born"], dtype=np.float64)
    if len(born) == len(phonon.unitcell) and len(born) != len(phonon.primitive):
        born = born[atoms_of_primitive(phonon)]
    if born.shape != (len(phonon.primitive), 3, 3):
        raise InputError(
            f"{block}: Born charges of {len(born)} atoms, but the primitive cell has {len(phonon.primitive)}"
        )
    return project, {**files.nac, "born": born}


def _ionic(project: Project, targets: Mapping[str, Any], problems: list[str]) -> Any:
    from voigt.response.phonons import gamma_modes, infrared

    response = infrared(gamma_modes(project.phonon), targets["born_charges"], targets["eps_inf"])
    if response.excluded:
        problems.append(
            f"eps_ionic is left out: {next(iter(response.warnings))}; relax the structure, or follow the mode"
        )
        return None
    return response.eps_ionic


def _without(text: str, folder: Path) -> str:
    """A sentence without the name of the temporary folder."""
    return text.replace(f"{folder}/", "").replace(f"{folder}: ", "").replace(str(folder), "the folder")

"""Phonopy projects: a folder with cells and forces becomes a `Phonopy` object with force constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase
import numpy as np

from voigt.errors import InputError
from voigt.notes import Note
from voigt.response.phonons.born_files import atoms_of_primitive, unit_factor
from voigt.response.phonons.cells import PHONOPY_SYMPREC, attempt, make_phonopy, to_ase
from voigt.response.phonons.files import Files, axes_of, matrix_of, read_files
from voigt.response.phonons.force_constants import DISPLACEMENT, calculate_force_constants, supercell_for
from voigt.response.phonons.force_files import check_force_constants, set_force_constants
from voigt.structures.checks import problems

if TYPE_CHECKING:
    from phonopy import Phonopy

SAME_SITE = 0.02
"""Angstrom by which atoms of two files may differ and still be the same."""
MOST_ATOMS = 5_000
"""Of a supercell."""
MOST_SKEW = 100
"""Cells around a supercell for each one in it; matrices that turn cells into other settings have less than ten."""


@dataclass(frozen=True)
class Project:
    """A phonopy project that has been read.

    Attributes
    ----------
    folder, source
        Where it lies, and which files were read, for a heading.
    phonon
        With force constants (eV/Angstrom^2), without NAC.
    own_nac
        NAC parameters that the project itself carries (born, dielectric, factor), for its primitive cell; or None.
    notes
        What was done to the force constants ("processing"), and what is wrong: "not_relaxed", "unusable_born".
    nac_unit
        e^2/(4 pi eps0) in the units of the code whose files these are: the factor in its BORN. None for eV and
        Angstrom.
    nac_block
        Name of the YAML file whose block `nac:` phonopy prefers to any BORN; None if there is none.
    """

    folder: Path
    phonon: Phonopy
    source: str
    own_nac: dict[str, Any] | None
    notes: tuple[Note, ...] = ()
    nac_unit: float | None = None
    nac_block: str | None = None


def read_project(
    folder: str | Path,
    calculator: Any = None,
    *,
    dim: Sequence[int] | None = None,
    primitive_axes: Any = None,
    displacement: float = DISPLACEMENT,
    symmetrize: bool = True,
    symprec: float = PHONOPY_SYMPREC,
    advance: Callable[[], None] | None = None,
) -> Project:
    """Read a phonopy project, or make one from a structure and a calculator.

    Parameters
    ----------
    folder, calculator
        Of the project, or a phonopy YAML file. With an ASE calculator, any structure file: force constants are
        calculated with it, and those in the folder are not used.
    dim
        3 or 9 integers, phonopy's DIM; None: from the files, and with a calculator at least 10 Angstrom each way.
    primitive_axes
        9 numbers, a letter of P F I A C R, or "auto"; None: from the files, or else "auto".
    displacement, symprec
        Angstrom: of atoms, with `calculator`; phonopy's tolerance.
    symmetrize
        Make the force constants keep the space group and the acoustic sum rule. Without, they are what phonopy makes
        of the forces, which needs the space group where symmetry has saved displacements; a calculator then displaces
        every atom of the primitive cell.
    advance
        Called after each supercell that the calculator has done.

    Raises
    ------
    InputError
        Files are missing, broken or contradict each other; forces are not finite; the calculator fails.
    """
    for name, length in (("displacement", displacement), ("symprec", symprec)):
        if not 0 < length < float("inf"):
            raise InputError(f"{name} {length:g}: give a length above zero, in Angstrom")
    path = Path(folder)
    if not path.exists():
        raise InputError(f"{path} does not exist; give the folder of a phonopy project")
    home = path if path.is_dir() else path.parent
    files = read_files(path, calculator is not None)
    if dim is not None:
        files = replace(files, supercell_matrix=matrix_of(dim))
    elif files.supercell_matrix is None:
        if calculator is None:
            raise InputError(f"{path}: no supercell matrix in its files; give it with --dim, e.g. --dim '2 2 2'")
        files = replace(files, supercell_matrix=supercell_for(files.cell.cell))
    if primitive_axes is not None:
        files = replace(files, primitive_matrix=axes_of(primitive_axes))
    _check_cell(path, files)
    cells = files.cell, files.supercell_matrix, files.primitive_matrix
    use_symmetry = symmetrize or calculator is None  # forces in files were saved by symmetry
    phonon = make_phonopy(path, "check its cell, --dim and --primitive-axes", *cells, symprec, use_symmetry)
    done: tuple[Note, ...] = ()
    if calculator is not None:
        source = f"{files.names[0]}, calculator"
        done = calculate_force_constants(phonon, calculator, displacement, advance)
    else:
        _check_supercell(path, phonon, files)
        source = set_force_constants(path, home, phonon, files)
    done = (*done, *check_force_constants(path, phonon, symmetrize, calculator is not None))
    of_project = path.is_dir() or files.supercell is not None  # a BORN beside a bare structure belongs to anything
    block = None if files.nac is None else files.names[0]
    if block is not None and of_project and (home / "BORN").exists():
        done = (*done, Note("set_aside", f"BORN is not read: the nac: block of {block} wins, as it does in phonopy"))
    project = Project(path, phonon, source, None, done, files.nac_unit, block)
    try:
        if files.nac is not None:
            return replace(project, own_nac=_completed(files.names[0], dict(files.nac), phonon))
        if of_project and (home / "BORN").exists():
            return replace(project, own_nac=read_born(project, home / "BORN"))
    except InputError as error:
        return replace(project, notes=(*done, Note("unusable_born", str(error), ("born_charges", "eps_inf"))))
    return project


def unit_cell(project: Project) -> ase.Atoms:
    """The project's unit cell: what tensors are predicted for."""
    return to_ase(project.phonon.unitcell)


def read_born(project: Project, path: str | Path) -> dict[str, Any]:
    """NAC parameters from a BORN file for the project's primitive cell; InputError if it is of another crystal."""
    from phonopy.file_IO import parse_BORN

    advice = "it must hold eps_inf and the independent atoms of phonopy's primitive cell"
    if not Path(path).exists():
        raise InputError(f"{path} does not exist; {advice}")
    parameters = attempt(path, advice, lambda: dict(parse_BORN(project.phonon.primitive, filename=path)))
    if project.nac_unit is not None:
        parameters.pop("factor", None)  # in the units of another code; cells and force constants are in ours
    return _completed(path, parameters, project.phonon)


def _completed(path: str | Path, parameters: dict[str, Any], phonon: Phonopy) -> dict[str, Any]:
    """NAC parameters of the primitive cell, with the unit factor where there is none; InputError for others."""
    count, born = len(phonon.primitive), np.asarray(parameters["born"])
    if len(born) == len(phonon.unitcell):
        born = born[atoms_of_primitive(phonon)]
    if born.shape != (count, 3, 3) or np.shape(parameters["dielectric"]) != (3, 3):
        raise InputError(f"{path}: Born charges of {len(born)} atoms, but the primitive cell has {count}")
    parameters["born"] = born
    if not all(np.isfinite(parameters[key]).all() for key in ("born", "dielectric")):
        raise InputError(f"{path}: Born charges or eps_inf are not finite")
    parameters.setdefault("factor", unit_factor())
    return parameters


def _check_cell(path: Path, files: Files) -> None:
    """The unit cell must be a crystal, and the supercell of a size that can be dealt with."""
    faults = problems(attempt(path, "check the unit cell", lambda: to_ase(files.cell)))
    if faults:
        raise InputError(f"{path}: the unit cell in {files.names[0]} {'. '.join(faults)}")
    matrix = np.asarray(files.supercell_matrix, dtype=np.float64)
    cells = float(np.linalg.det(matrix))
    if cells * len(files.cell) > MOST_ATOMS:
        raise InputError(
            f"{path}: a supercell of {cells:.0f} cells has more than {MOST_ATOMS} atoms; check the supercell matrix"
        )
    # phonopy fills the box around a skewed supercell and then throws away what is outside.
    box = max(float(np.prod(abs(matrix).sum(axis=axis))) for axis in (0, 1))
    if not box <= MOST_SKEW * max(cells, 1.0):
        raise InputError(
            f"{path}: the supercell matrix is so skewed that {box:.3g} cells surround a supercell of {cells:.0f}; "
            "combine its vectors to short ones"
        )


def _check_supercell(path: Path, phonon: Phonopy, files: Files) -> None:
    """The supercell that phonopy builds must be the one of the files, atom by atom."""
    if files.supercell is None:
        return
    ours, theirs = phonon.supercell, files.supercell
    place = f"{path}: {files.names[0]} and the supercell in {files.names[-1]}"
    if len(ours) != len(theirs) or not abs(ours.cell - theirs.cell).max() <= SAME_SITE:
        raise InputError(
            f"{place} do not match: {len(ours)} atoms with this supercell matrix against {len(theirs)}, or other "
            "lattice vectors; check --dim and the structure"
        )
    with np.errstate(all="ignore"):
        difference = ours.scaled_positions - theirs.scaled_positions
        distance = np.linalg.norm((difference - np.rint(difference)) @ ours.cell, axis=1)
    wrong = np.flatnonzero(~(distance <= SAME_SITE) | (ours.numbers != theirs.numbers))
    if len(wrong):
        raise InputError(
            f"{place} do not match: {len(wrong)} atoms, from number {wrong[0] + 1} on, are of another element or at "
            "another place; the order of atoms must be that of the calculation"
        )

"""Phonopy projects: a folder with cells and forces becomes a `Phonopy` object with force constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.notes import Note
from voigt.response.phonons.born_files import atoms_of_primitive, unit_factor
from voigt.response.phonons.cells import PHONOPY_SYMPREC, attempt, make_phonopy, to_ase, to_phonopy
from voigt.response.phonons.files import Files, axes_of, matrix_of, read_files
from voigt.response.phonons.force_constants import DISPLACEMENT, calculate_force_constants, project_text
from voigt.response.phonons.force_files import check_force_constants, set_force_constants
from voigt.response.phonons.instabilities import follow_mode, soft_modes, soft_notes
from voigt.response.potentials.engine import Engine, engine_of
from voigt.response.potentials.relaxation import Relax
from voigt.response.potentials.supercells import MOST_ATOMS, SHORTEST, supercell_for
from voigt.structures.checks import problems

if TYPE_CHECKING:
    from phonopy import Phonopy

STRUCTURE_SYMPREC = 1e-3
"""Angstrom: tolerance of the space group that a relaxation keeps, where none is given."""
FOLLOWED = 2
"""Soft modes that are followed, one after another."""
SAME_SITE = 0.02
"""Angstrom by which atoms of two files may differ and still be the same."""
LARGEST = 5_000
"""Atoms of a supercell."""
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
    relax: Relax | None = None,
    results: Path | None = None,
    workers: int = 1,
    follow: bool = False,
    advance: Callable[[], None] | None = None,
) -> Project:
    """Read a phonopy project, or make one from a structure and a calculator.

    Parameters
    ----------
    folder, calculator
        Of the project, or a phonopy YAML file. With an ASE calculator or the name of a potential, any structure file:
        force constants are calculated with it, and those in the folder are not used.
    dim
        3 or 9 integers, phonopy's DIM; None: from the files, and with a calculator as `supercell_for` chooses.
    primitive_axes
        9 numbers, a letter of P F I A C R, or "auto"; None: from the files, or else "auto".
    displacement, symprec
        Angstrom: of atoms, with `calculator`; phonopy's tolerance.
    symmetrize
        Make the force constants keep the space group and the acoustic sum rule. Without, they are what phonopy makes
        of the forces, which needs the space group where symmetry has saved displacements; a calculator then displaces
        every atom of the primitive cell.
    relax, results, workers, follow, advance
        With `calculator`, see `calculated_project`; `results` is its folder.

    Raises
    ------
    InputError
        Files are missing, broken or contradict each other; forces are not finite; the calculator fails.
    """
    _check_lengths(displacement, symprec)
    path = Path(folder)
    if not path.exists():
        raise InputError(f"{path} does not exist; give the folder of a phonopy project")
    home = path if path.is_dir() else path.parent
    files = read_files(path, calculator is not None)
    if dim is not None:
        files = replace(files, supercell_matrix=matrix_of(dim))
    if primitive_axes is not None:
        files = replace(files, primitive_matrix=axes_of(primitive_axes))
    of_project = path.is_dir() or files.supercell is not None  # a BORN beside a bare structure belongs to anything
    if calculator is not None:
        matrix = files.supercell_matrix
        project = calculated_project(
            _sound(path, files),
            path,
            calculator,
            dim=None if matrix is None else matrix.ravel().tolist(),
            primitive_axes=files.primitive_matrix,
            displacement=displacement,
            symmetrize=symmetrize,
            symprec=symprec,
            relax=relax,
            folder=results,
            workers=workers,
            follow=follow,
            advance=advance,
        )
        project = replace(project, source=project.source.replace(path.name, files.names[0], 1))
    else:
        project = _from_forces(path, home, files, symmetrize, symprec)
    phonon, done = project.phonon, project.notes
    block = None if files.nac is None else files.names[0]
    if block is not None and of_project and (home / "BORN").exists():
        done = (*done, Note("set_aside", f"BORN is not read: the nac: block of {block} wins, as it does in phonopy"))
    project = replace(project, notes=done, nac_unit=files.nac_unit, nac_block=block)
    try:
        if files.nac is not None:
            return replace(project, own_nac=_completed(files.names[0], dict(files.nac), phonon))
        if of_project and (home / "BORN").exists():
            return replace(project, own_nac=read_born(project, home / "BORN"))
    except InputError as error:
        return replace(project, notes=(*done, Note("unusable_born", str(error), ("born_charges", "eps_inf"))))
    return project


def calculated_project(
    atoms: ase.Atoms,
    name: str | Path,
    calculator: Any,
    *,
    dim: Sequence[int] | None = None,
    primitive_axes: Any = None,
    displacement: float = DISPLACEMENT,
    symmetrize: bool = True,
    symprec: float = PHONOPY_SYMPREC,
    relax: Relax | None = None,
    folder: Path | None = None,
    workers: int = 1,
    follow: bool = False,
    advance: Callable[[], None] | None = None,
) -> Project:
    """Make a project of a crystal and a calculator: relaxed, with force constants from displaced supercells.

    Parameters
    ----------
    atoms, name
        The crystal, and what to call it: the path of its file, or a word.
    calculator
        Of ASE, or the name of a potential (`voigt.response.potentials.POTENTIALS`).
    dim, primitive_axes, displacement, symmetrize, symprec
        As `read_project` takes them.
    relax
        "positions", "cell" with them, or "none"; by default "positions" with a potential, "none" with a calculator,
        which may be at rest elsewhere for a reason. The tolerance is `symprec`, or 1e-3 Angstrom if that is phonopy's.
    folder
        Keeps finished forces, so that a run that was stopped goes on where it was, and phonopy_params.yaml. Only with
        a potential by name.
    workers
        Processes that calculate forces; 0: one for each CPU. Only with a potential by name.
    follow
        Where the crystal has soft modes, displace it along the softest one, relax it, and begin again; at most twice.
        Atoms are relaxed even if `relax` is "none".
    advance
        Called after each supercell that is done.

    Returns
    -------
    Project
        Of the structure that was reached: `unit_cell(project)`. Notes tell about the relaxation, the forces and
        "soft_modes" that are left.

    Raises
    ------
    InputError
        The calculator fails or gives numbers that are not finite; the potential is not installed; options do not fit.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> project = calculated_project(bulk("Cu", a=3.594), "copper", EMT(), dim=[2, 2, 2])
    >>> print(project.source)
    copper, calculator
    """
    _check_lengths(displacement, symprec)
    engine = engine_of(calculator, folder, workers)
    path, matrix = Path(name), None if dim is None else matrix_of(dim)
    axes = "auto" if primitive_axes is None else axes_of(primitive_axes)
    if faults := problems(atoms):
        raise InputError(f"{path}: the structure {'. '.join(faults)}")
    if matrix is not None:
        _check_size(path, len(atoms), matrix)
    tolerance = STRUCTURE_SYMPREC if symprec == PHONOPY_SYMPREC else symprec
    what: Relax = relax or ("positions" if engine.is_named else "none")
    crystal, notes = atoms, tuple[Note, ...]()
    if what != "none":
        rested = engine.relaxed(atoms, what, tolerance)
        crystal, notes = rested.atoms, rested.notes
    for attempts_left in range(FOLLOWED, -1, -1):
        phonon, done = _displaced(path, crystal, engine, matrix, axes, displacement, symmetrize, symprec, advance)
        found = soft_modes(phonon)
        if not (follow and found and attempts_left):
            break
        step = follow_mode(phonon, found[0], engine, "positions" if what == "none" else what, tolerance)
        notes = (*notes, *step.notes)
        if step.atoms is None:
            break
        if len(step.atoms) != len(phonon.unitcell):  # the supercell and the primitive cell of another cell
            matrix, axes = None, "auto"
        crystal = step.atoms
    if engine.store is not None:
        engine.store.keep_project(project_text(phonon, engine))
    source = f"{path.name}, {f'potential {engine.name}' if engine.is_named else 'calculator'}"
    return Project(path, phonon, source, None, (*notes, *done, *soft_notes(found, follow)))


def _displaced(
    path: Path,
    crystal: ase.Atoms,
    engine: Engine,
    matrix: NDArray[np.int64] | None,
    axes: Any,
    displacement: float,
    symmetrize: bool,
    symprec: float,
    advance: Callable[[], None] | None,
) -> tuple[Phonopy, tuple[Note, ...]]:
    """Force constants of a crystal at rest, in a supercell that is given or chosen."""
    remarks: tuple[Note, ...] = ()
    if matrix is None:
        chosen = supercell_for(crystal)
        matrix = chosen.matrix
        if not chosen.complete:
            text = f"{SHORTEST:g} would take more than {MOST_ATOMS} atoms; --dim gives another supercell"
            text = f"atoms of the supercell are {chosen.shortest:.1f} Angstrom from their images: {text}"
            remarks = (Note("processing", text),)
    advice = "check its cell, --dim and --primitive-axes"
    phonon = make_phonopy(path, advice, to_phonopy(crystal), matrix, axes, symprec, symmetrize)
    done = calculate_force_constants(phonon, engine, displacement, advance)
    return phonon, (*done, *remarks, *check_force_constants(path, phonon, symmetrize, True))


def _from_forces(path: Path, home: Path, files: Files, symmetrize: bool, symprec: float) -> Project:
    """A project whose files hold forces."""
    if files.supercell_matrix is None:
        raise InputError(f"{path}: no supercell matrix in its files; give it with --dim, e.g. --dim '2 2 2'")
    _check_size(path, len(_sound(path, files)), files.supercell_matrix)
    cells = files.cell, files.supercell_matrix, files.primitive_matrix
    phonon = make_phonopy(path, "check its cell, --dim and --primitive-axes", *cells, symprec)
    _check_supercell(path, phonon, files)
    source = set_force_constants(path, home, phonon, files)
    return Project(path, phonon, source, None, check_force_constants(path, phonon, symmetrize, False))


def _check_lengths(displacement: float, symprec: float) -> None:
    for name, length in (("displacement", displacement), ("symprec", symprec)):
        if not 0 < length < float("inf"):
            raise InputError(f"{name} {length:g}: give a length above zero, in Angstrom")


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


def _sound(path: Path, files: Files) -> ase.Atoms:
    """The unit cell, which must be a crystal."""
    atoms = attempt(path, "check the unit cell", lambda: to_ase(files.cell))
    if faults := problems(atoms):
        raise InputError(f"{path}: the unit cell in {files.names[0]} {'. '.join(faults)}")
    return atoms


def _check_size(path: Path, atoms: int, supercell_matrix: NDArray[np.int64]) -> None:
    """The supercell must be of a size that can be dealt with."""
    matrix = np.asarray(supercell_matrix, dtype=np.float64)
    cells = float(np.linalg.det(matrix))
    if cells * atoms > LARGEST:
        raise InputError(
            f"{path}: a supercell of {cells:.0f} cells has more than {LARGEST} atoms; check the supercell matrix"
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

"""Phonopy projects: a folder with cells and forces becomes a `Phonopy` object with force constants.

Forces lie inside a YAML file or in FORCE_CONSTANTS, force_constants.hdf5 or FORCE_SETS. Only files of the folder count:
`phonopy.load` would also take those of the working folder.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.response.phonons.born_file import PHONOPY_SYMPREC, corrected, parameters_for, unit_factor
from voigt.response.phonons.files import Files, attempt, axes_of, matrix_of, read_files, scaled_dataset
from voigt.response.phonons.force_constants import DISPLACEMENT, calculate_force_constants, supercell_for

if TYPE_CHECKING:
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

SAME_SITE = 0.02
"""Angstrom by which atoms of two files may differ and still be the same."""
ASYMMETRY = 0.1
"""Part of the force constants' norm that symmetrisation may remove; more, and they belong to another structure."""
OWN_SHARE = 0.1
"""Least trace of the force constants between an atom and itself, in parts of its largest with any atom."""


@dataclass(frozen=True)
class Project:
    """A phonopy project that has been read.

    Attributes
    ----------
    folder
        Where it lies.
    phonon
        With force constants (eV/Angstrom^2), without NAC.
    source
        Which files were read, for a heading.
    own_nac
        NAC parameters that the project itself carries (born, dielectric, factor), for its primitive cell; or None.
    notes
        One sentence each: what was done to the force constants, what was left aside.
    nac_unit
        e^2/(4 pi eps0) in the units of the code whose files these are: the factor in its BORN. None for eV and
        Angstrom.
    """

    folder: Path
    phonon: Phonopy
    source: str
    own_nac: dict[str, Any] | None
    notes: tuple[str, ...] = ()
    nac_unit: float | None = None


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
    folder
        Of the project; or a phonopy YAML file; or, with `calculator`, any structure file.
    calculator
        Of ASE: force constants are calculated with it; those in the folder are not used.
    dim
        3 or 9 integers, phonopy's DIM; None: from the files, and with a calculator at least 10 Angstrom each way.
    primitive_axes
        9 numbers, a letter of P F I A C R, or "auto"; None: from the files, or else "auto".
    displacement
        Angstrom, with `calculator`.
    symmetrize
        Make the force constants keep the space group and the acoustic sum rule. Without, they are what phonopy makes
        of the forces, which needs the space group where symmetry has saved displacements; a calculator then displaces
        every atom of the primitive cell.
    symprec
        phonopy's tolerance, Angstrom.
    advance
        Called after each supercell that the calculator has done.

    Raises
    ------
    InputError
        Files are missing, broken or contradict each other; forces are not finite; the calculator fails.
    """
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
    use_symmetry = symmetrize or calculator is None
    phonon = _phonopy(path, files.cell, files.supercell_matrix, files.primitive_matrix, symprec, use_symmetry)
    if calculator is not None:
        source, notes = (
            f"{files.names[0]}, calculator",
            list(calculate_force_constants(phonon, calculator, displacement, advance)),
        )
    else:
        _check_supercell(path, phonon, files)
        source, notes = _set_force_constants(path, home, phonon, files), []
    notes += _check_force_constants(path, phonon, symmetrize)
    project = Project(path, phonon, source, None, tuple(notes), files.nac_unit)
    of_project = path.is_dir() or files.supercell is not None  # a BORN beside a bare structure belongs to anything
    own_nac, problem = _own_nac(home if of_project else None, project, files)
    return replace(project, own_nac=own_nac, notes=(*notes, *problem))


def unit_cell(project: Project) -> ase.Atoms:
    """The project's unit cell: what tensors are predicted for."""
    cell = project.phonon.unitcell
    return ase.Atoms(
        numbers=cell.numbers, cell=cell.cell, scaled_positions=cell.scaled_positions, masses=cell.masses, pbc=True
    )


def with_nac(
    project: Project,
    born_charges: NDArray[np.float64],
    eps_inf: NDArray[np.float64],
    *,
    symmetrize: bool = True,
    sum_rule: bool = True,
    symprec: float = 1e-3,
) -> Phonopy:
    """A copy of the project's `Phonopy` with NAC.

    Parameters
    ----------
    project
        Its own NAC parameters are not used.
    born_charges
        (n_atoms, 3, 3) Z[atom, field, displacement] of `unit_cell(project)`, e.
    eps_inf
        (3, 3) relative permittivity.
    symmetrize, sum_rule, symprec
        Steps of `voigt.response.phonons.born_file.corrected`; phonopy takes their result as it is.
    """
    done = corrected(
        unit_cell(project), born_charges, eps_inf, symmetrize=symmetrize, sum_rule=sum_rule, symprec=symprec
    )
    return with_parameters(project, parameters_for(project.phonon, done.born_charges, done.eps_inf), symmetrize=False)


def corrected_parameters(
    project: Project, parameters: Mapping[str, Any], *, symmetrize: bool = True, sum_rule: bool = True
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """NAC parameters of the primitive cell after the steps of `born_file.corrected`, and what they did.

    With both steps these are the ones that phonopy itself uses.
    """
    cell, symprec = project.phonon.primitive, project.phonon.symmetry.tolerance
    atoms = ase.Atoms(numbers=cell.numbers, cell=cell.cell, scaled_positions=cell.scaled_positions, pbc=True)
    done = corrected(
        atoms, parameters["born"], parameters["dielectric"], symmetrize=symmetrize, sum_rule=sum_rule, symprec=symprec
    )
    return {**parameters, "born": done.born_charges, "dielectric": done.eps_inf}, done.steps


def with_parameters(project: Project, parameters: Mapping[str, Any], *, symmetrize: bool = True) -> Phonopy:
    """A copy of the project's `Phonopy` with NAC parameters of its primitive cell.

    Parameters
    ----------
    project
        Its own NAC parameters are not used.
    parameters
        born (n_atoms, 3, 3) in e, dielectric (3, 3) and factor, as `Phonopy.nac_params` takes them.
    symmetrize
        Let phonopy impose space group and sum rule, as it does by default; else the tensors stay as they are.

    Raises
    ------
    InputError
        NAC is already there: it would be applied twice.
    """
    phonon = project.phonon
    if phonon.nac_params is not None:
        raise InputError(f"{project.folder}: NAC is already applied; it must not be applied twice")
    twin = _phonopy(
        project.folder,
        phonon.unitcell,
        phonon.supercell_matrix,
        phonon.primitive_matrix,
        phonon.symmetry.tolerance,
        symmetrize,
    )
    twin.force_constants = phonon.force_constants
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # phonopy's own remarks on symmetry
        twin.nac_params = dict(parameters)  # type: ignore[assignment]
    return twin


def read_born(project: Project, path: str | Path) -> dict[str, Any]:
    """NAC parameters from a BORN file for the project's primitive cell.

    Raises
    ------
    InputError
        The file is missing, broken or of another crystal.
    """
    from phonopy.file_IO import parse_BORN

    advice = "it must hold eps_inf and the independent atoms of phonopy's primitive cell"
    if not Path(path).exists():
        raise InputError(f"{path} does not exist; {advice}")
    found = attempt(path, advice, lambda: dict(parse_BORN(project.phonon.primitive, filename=path)))
    if project.nac_unit is not None:
        found.pop("factor", None)  # in the units of another code; cells and force constants are in ours
    return _complete(path, found, len(project.phonon.primitive))


def _complete(path: str | Path, parameters: dict[str, Any], count: int) -> dict[str, Any]:
    """Add the unit factor where the file has none."""
    if len(parameters["born"]) != count:
        raise InputError(f"{path}: Born charges of {len(parameters['born'])} atoms, but the primitive cell has {count}")
    if not all(np.isfinite(parameters[key]).all() for key in ("born", "dielectric")):
        raise InputError(f"{path}: Born charges or eps_inf are not finite")
    parameters.setdefault("factor", unit_factor())
    return parameters


def _own_nac(home: Path | None, project: Project, files: Files) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """NAC parameters of the YAML file or of BORN beside it; a broken BORN is a note."""
    if files.nac is not None:
        try:
            return _complete(files.names[0], dict(files.nac), len(project.phonon.primitive)), ()
        except InputError as error:
            return None, (f"warning: {error}",)
    if home is None or not (home / "BORN").exists():
        return None, ()
    try:
        return read_born(project, home / "BORN"), ()
    except InputError as error:
        return None, (f"warning: {error}",)


def _phonopy(
    path: Path, cell: PhonopyAtoms, supercell_matrix: Any, primitive_matrix: Any, symprec: float, symmetry: bool
) -> Phonopy:
    from ase.data import atomic_masses
    from phonopy import Phonopy

    if cell.masses is None:  # phonopy has none for radioactive elements
        cell = cell.copy()
        cell.masses = atomic_masses[cell.numbers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that "auto" changed the cell, and on the symmetry of supercells
        return attempt(
            path,
            "check its cell, --dim and --primitive-axes",
            lambda: Phonopy(
                cell, supercell_matrix, primitive_matrix=primitive_matrix, symprec=symprec, is_symmetry=symmetry
            ),
        )


def _check_supercell(path: Path, phonon: Phonopy, files: Files) -> None:
    """The supercell that phonopy builds must be the one of the files, atom by atom."""
    if files.supercell is None:
        return
    ours, theirs = phonon.supercell, files.supercell
    place = f"{path}: {files.names[0]} and the supercell in {files.names[-1]}"
    if len(ours) != len(theirs) or abs(ours.cell - theirs.cell).max() > SAME_SITE:
        raise InputError(
            f"{place} do not match: {len(ours)} atoms with this supercell matrix against {len(theirs)}, or other "
            "lattice vectors; check --dim and the structure"
        )
    difference = ours.scaled_positions - theirs.scaled_positions
    distance = np.linalg.norm((difference - np.rint(difference)) @ ours.cell, axis=1)
    wrong = np.flatnonzero((distance > SAME_SITE) | (ours.numbers != theirs.numbers))
    if len(wrong):
        raise InputError(
            f"{place} do not match: {len(wrong)} atoms, from number {wrong[0] + 1} on, are of another element or at "
            "another place; the order of atoms must be that of the calculation"
        )


def _set_force_constants(path: Path, home: Path, phonon: Phonopy, files: Files) -> str:
    """Force constants from the first source that phonopy would take; returns the names of the files."""
    from phonopy.file_IO import parse_FORCE_CONSTANTS

    name = files.names[0]
    constants, dataset = files.force_constants, None
    if constants is None and _has_forces(files.dataset):
        dataset = files.dataset
    elif constants is None and (home / "FORCE_CONSTANTS").exists():
        name = "FORCE_CONSTANTS"
        advice = "it does not fit the structure, --dim or --primitive-axes"
        mapping = phonon.primitive.p2s_map
        constants = attempt(home / name, advice, lambda: parse_FORCE_CONSTANTS(home / name, p2s_map=mapping))
        constants = constants * (files.force_unit / files.length_unit)
    elif constants is None and (home / "force_constants.hdf5").exists():
        name = "force_constants.hdf5"
        advice = "it does not fit the structure, --dim or --primitive-axes"
        constants = attempt(home / name, advice, lambda: _read_hdf5(home / name, phonon, files))
    elif constants is None and (home / "FORCE_SETS").exists():
        name = "FORCE_SETS"
        dataset = _read_force_sets(home / name, phonon, files)
    if constants is not None:
        _set_constants(home / name, phonon, np.asarray(constants, dtype=np.float64))
    elif dataset is not None:
        _produce(home / name, phonon, dataset)
    else:
        raise InputError(
            f"{path} has no forces: no FORCE_SETS, FORCE_CONSTANTS, force_constants.hdf5, nor forces in "
            f"{files.names[0]}; add them, or give --calculator"
        )
    return ", ".join(dict.fromkeys((*files.names, name)))


def _read_hdf5(path: Path, phonon: Phonopy, files: Files) -> NDArray[np.float64]:
    """Force constants in eV/Angstrom^2; those of a file that states no unit are in the one of the project's code."""
    from phonopy.file_IO import read_force_constants_hdf5
    from phonopy.interface.calculator import get_force_constant_conversion_factor

    constants, unit = read_force_constants_hdf5(path, p2s_map=phonon.primitive.p2s_map, return_physical_unit=True)
    own = files.force_unit / files.length_unit
    return np.asarray(constants * (own if unit is None else get_force_constant_conversion_factor(unit, None)))


def _has_forces(dataset: Mapping[str, Any] | None) -> bool:
    if dataset is None:
        return False
    entries = dataset.get("first_atoms")
    return "forces" in dataset if entries is None else bool(entries) and all("forces" in entry for entry in entries)


def _set_constants(path: Path, phonon: Phonopy, constants: NDArray[np.float64]) -> None:
    from phonopy.harmonic.force_constants import full_fc_to_compact_fc

    atoms, primitive = len(phonon.supercell), len(phonon.primitive)
    if constants.shape not in ((atoms, atoms, 3, 3), (primitive, atoms, 3, 3)):
        raise InputError(
            f"{path}: force constants of {constants.shape[0]} x {constants.shape[1]} atoms do not belong to a "
            f"supercell of {atoms} atoms ({primitive} in the primitive cell); check --dim and --primitive-axes"
        )
    if not np.isfinite(constants).all():
        raise InputError(f"{path}: force constants are not finite; repeat the calculation that gave them")
    phonon.force_constants = (
        full_fc_to_compact_fc(phonon.primitive, constants) if len(constants) == atoms else constants
    )


def _read_force_sets(path: Path, phonon: Phonopy, files: Files) -> dict[str, Any]:
    """FORCE_SETS, checked against the number of atoms and the displacements of disp.yaml or the YAML file."""
    from phonopy.file_IO import get_FORCE_SETS_type, parse_FORCE_SETS

    atoms = len(phonon.supercell)
    kind = attempt(path, "write it anew with phonopy -f", lambda: get_FORCE_SETS_type(path))
    count = None if kind == 1 else atoms
    advice = f"write it anew with phonopy -f, for {atoms} atoms"
    dataset: dict[str, Any] = attempt(path, advice, lambda: {**parse_FORCE_SETS(natom=count, filename=path)})
    if dataset.get("natom", atoms) != atoms:
        raise InputError(f"{path} has forces on {dataset['natom']} atoms, but the supercell has {atoms}; check --dim")
    dataset = scaled_dataset(dataset, files.length_unit, files.force_unit)
    if files.dataset is not None and not _same_displacements(files.dataset, dataset):
        raise InputError(f"{path}: displacements are not those of {files.names[-1]}; the files belong to two runs")
    return dataset


def _same_displacements(expected: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether two data sets displace atoms alike; of random displacements the first ones may have been calculated."""
    if "first_atoms" in expected and "first_atoms" in found:
        pairs = list(zip(expected["first_atoms"], found["first_atoms"], strict=False))
        return len(expected["first_atoms"]) == len(found["first_atoms"]) and all(
            a["number"] == b["number"] and np.allclose(a["displacement"], b["displacement"], atol=1e-4)
            for a, b in pairs
        )
    if "displacements" in expected and "displacements" in found:
        a, b = np.asarray(expected["displacements"]), np.asarray(found["displacements"])
        return len(b) <= len(a) and a.shape[1:] == b.shape[1:] and np.allclose(a[: len(b)], b, atol=1e-4)
    return True


def _produce(path: Path, phonon: Phonopy, dataset: dict[str, Any]) -> None:
    forces = [entry["forces"] for entry in dataset["first_atoms"]] if "first_atoms" in dataset else [dataset["forces"]]
    if not all(np.isfinite(array).all() for array in forces):
        raise InputError(f"{path}: forces are not finite; repeat the calculation that gave them")
    phonon.dataset = dataset  # type: ignore[assignment]
    # All atoms displaced at once: phonopy's own finite differences cannot use that.
    fitted: Literal["symfc"] | None = None if "first_atoms" in dataset else "symfc"
    advice = "forces and structure do not fit together; check --dim and the displacements"
    attempt(
        path,
        advice,
        lambda: phonon.produce_force_constants(
            calculate_full_force_constants=False, show_drift=False, fc_calculator=fitted
        ),
    )


def _check_force_constants(path: Path, phonon: Phonopy, symmetrize: bool) -> list[str]:
    """Symmetrise; force constants that lose much of their norm belong to another structure or order of atoms."""
    raw = np.array(phonon.force_constants)
    scale = float(np.linalg.norm(raw))
    if not np.isfinite(scale) or scale == 0:
        raise InputError(f"{path}: force constants are {'all zero' if scale == 0 else 'not finite'}; check the forces")
    rows = np.arange(len(raw))
    # An atom pulls hardest at itself: it does not if its forces were written under another atom's number.
    own = np.trace(raw[rows, phonon.primitive.p2s_map], axis1=1, axis2=2)
    if (own < OWN_SHARE * np.linalg.norm(raw, axis=(2, 3)).max(axis=1)).any():
        raise InputError(
            f"{path}: atoms are not drawn back to their places by their own force constants; these belong to another "
            "structure or another order of atoms"
        )
    advice = "force constants cannot be symmetrised; try --no-symmetry"
    attempt(path, advice, lambda: phonon.symmetrize_force_constants(show_drift=False, use_symfc_projector=True))
    change = float(np.linalg.norm(np.asarray(phonon.force_constants) - raw)) / scale
    if change > ASYMMETRY:
        raise InputError(
            f"{path}: {100 * change:.0f} % of the force constants contradict the symmetry of the structure; they "
            "belong to another structure or another order of atoms"
        )
    if not symmetrize:
        phonon.force_constants = raw
        return ["force constants not symmetrised"]
    return [f"force constants symmetrised (space group, acoustic sum rule): {100 * change:.2g} % of their norm removed"]

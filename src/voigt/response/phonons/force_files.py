"""Force constants of a project from its files, and the checks that they belong to its structure.

Forces lie inside a YAML file or in FORCE_CONSTANTS, force_constants.hdf5 or FORCE_SETS. Only files of the folder count:
`phonopy.load` would also take those of the working folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.notes import Note
from voigt.response.phonons.cells import attempt
from voigt.response.phonons.files import Files, scaled_dataset

if TYPE_CHECKING:
    from phonopy import Phonopy

ASYMMETRY = 0.1
"""Part of the force constants' norm that symmetrization may remove; more, and they belong to another structure."""
SELF_SHARE = 0.1
"""Least trace of the force constants between an atom and itself, in parts of its largest with any atom."""


def set_force_constants(path: Path, home: Path, phonon: Phonopy, files: Files) -> str:
    """Force constants from the first source that phonopy would take; returns the names of the files."""
    from phonopy.file_IO import parse_FORCE_CONSTANTS

    name = files.names[0]
    constants, dataset = files.force_constants, None
    advice = "it does not fit the structure, --dim or --primitive-axes"
    if constants is None and _has_forces(files.dataset):
        dataset = files.dataset
    elif constants is None and (home / "FORCE_CONSTANTS").exists():
        name = "FORCE_CONSTANTS"
        mapping = phonon.primitive.p2s_map
        constants = attempt(home / name, advice, lambda: parse_FORCE_CONSTANTS(home / name, p2s_map=mapping))
        constants = constants * (files.force_unit / files.length_unit)
    elif constants is None and (home / "force_constants.hdf5").exists():
        name = "force_constants.hdf5"
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
    factor = files.force_unit / files.length_unit if unit is None else get_force_constant_conversion_factor(unit, None)
    return np.asarray(constants * factor)


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


def _same_displacements(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> bool:
    """Whether two data sets displace atoms alike; of random displacements the first ones may have been calculated."""
    if "first_atoms" in expected and "first_atoms" in actual:
        pairs = list(zip(expected["first_atoms"], actual["first_atoms"], strict=False))
        return len(expected["first_atoms"]) == len(actual["first_atoms"]) and all(
            a["number"] == b["number"] and np.allclose(a["displacement"], b["displacement"], atol=1e-4)
            for a, b in pairs
        )
    if "displacements" in expected and "displacements" in actual:
        a, b = np.asarray(expected["displacements"]), np.asarray(actual["displacements"])
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


def check_force_constants(path: Path, phonon: Phonopy, symmetrize: bool) -> Note:
    """Symmetrize; force constants that lose much of their norm belong to another structure or order of atoms.

    Without `symmetrize` they are checked alike, but stay as they are.
    """
    raw = np.array(phonon.force_constants)
    scale = float(np.linalg.norm(raw))
    if not np.isfinite(scale) or scale == 0:
        raise InputError(f"{path}: force constants are {'all zero' if scale == 0 else 'not finite'}; check the forces")
    # An atom pulls hardest at itself: it does not if its forces were written under another atom's number.
    at_itself = np.trace(raw[np.arange(len(raw)), phonon.primitive.p2s_map], axis1=1, axis2=2)
    if (at_itself < SELF_SHARE * np.linalg.norm(raw, axis=(2, 3)).max(axis=1)).any():
        raise InputError(
            f"{path}: atoms are not drawn back to their places by their own force constants; these belong to another "
            "structure or another order of atoms"
        )
    advice = "force constants cannot be symmetrized; try --no-symmetry"
    attempt(path, advice, lambda: phonon.symmetrize_force_constants(show_drift=False, use_symfc_projector=True))
    change = float(np.linalg.norm(np.asarray(phonon.force_constants) - raw)) / scale
    if change > ASYMMETRY:
        raise InputError(
            f"{path}: {100 * change:.0f} % of the force constants contradict the symmetry of the structure; they "
            "belong to another structure or another order of atoms"
        )
    if not symmetrize:
        phonon.force_constants = raw
        return Note("processing", "force constants not symmetrized")
    removed = f"{100 * change:.2g} % of their norm removed"
    return Note("processing", f"force constants symmetrized (space group, acoustic sum rule): {removed}")

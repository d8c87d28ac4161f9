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
from voigt.response.phonons.cells import attempt, make_phonopy
from voigt.response.phonons.files import Files, scaled_dataset
from voigt.response.phonons.force_constants import RELAXED
from voigt.response.phonons.unfinished import forces_missing
from voigt.response.phonons.yaml_files import packed_path, read_text, unit_of

if TYPE_CHECKING:
    from phonopy import Phonopy

ASYMMETRY = 0.1
"""Part of the force constants' norm that symmetrization may remove; more, and they belong to another structure."""
SELF_SHARE = 0.1
"""Least trace of the force constants between an atom and itself, in parts of its largest with any atom."""
FEWEST_COPIES = 8
"""Of an atom, in all supercells together, for most of them to be far from displaced atoms."""

_SUBTRACT = "subtract the forces on the perfect supercell with phonopy-init --fz"


def set_force_constants(path: Path, home: Path, phonon: Phonopy, files: Files) -> str:
    """Force constants from the first source that phonopy would take; returns the names of the files."""
    name = files.names[0]
    constants, dataset = files.force_constants, None
    advice = "it does not fit the structure, --dim or --primitive-axes"
    force_sets = packed_path(home / "FORCE_SETS")
    if constants is None and _has_forces(files.dataset):
        dataset = files.dataset
    elif constants is None and (home / "FORCE_CONSTANTS").exists():
        name = "FORCE_CONSTANTS"
        constants = attempt(home / name, advice, lambda: _read_constants(home / name, phonon))
        constants = constants * files.units.force_constants
    elif constants is None and (home / "force_constants.hdf5").exists():
        name = "force_constants.hdf5"
        constants = attempt(home / name, advice, lambda: _read_hdf5(home / name, phonon, files))
    elif constants is None and force_sets is not None:
        name = force_sets.name
        dataset = _read_force_sets(force_sets, phonon, files)
    if constants is not None:
        _set_constants(home / name, phonon, np.asarray(constants, dtype=np.float64))
    elif dataset is not None:
        _produce(home / name, phonon, dataset)
    else:
        has_yaml = files.names[0].startswith("phonopy")
        missing = forces_missing(home, files.code, files.dataset is not None, has_yaml)
        raise InputError(
            f"{path} has no forces: no FORCE_SETS, FORCE_CONSTANTS, force_constants.hdf5, nor forces in "
            f"{files.names[0]}; {missing}, or give --calculator"
        )
    return ", ".join(dict.fromkeys((*files.names, name)))


def _read_constants(path: Path, phonon: Phonopy) -> NDArray[np.float64]:
    """FORCE_CONSTANTS, of the size that its first line tells only if that can be right."""
    from phonopy.file_IO import parse_FORCE_CONSTANTS

    with path.open(encoding="utf-8") as stream:
        first, *rest = (int(word) for word in stream.readline(100).split())
    rows = _rows(path, phonon, (first, rest[0] if rest else first))
    return np.asarray(parse_FORCE_CONSTANTS(path, p2s_map=rows))


def _read_hdf5(path: Path, phonon: Phonopy, files: Files) -> NDArray[np.float64]:
    """Force constants in eV/Angstrom^2; those of a file that states no unit are in the one of the project's code."""
    import h5py  # type: ignore[import-untyped]
    from phonopy.file_IO import read_force_constants_hdf5

    rows = None
    with h5py.File(path, "r") as file:
        for name in ("fc2", "force_constants", "p2s_map", "physical_unit"):
            if name not in file:
                continue
            entry = file[name]
            # Links, virtual and external data sets read other files; sizes are only what a file claims.
            elsewhere = not isinstance(file.get(name, getlink=True), h5py.HardLink)
            if elsewhere or not isinstance(entry, h5py.Dataset) or entry.is_virtual or entry.external:
                raise InputError(f"{path}: {name} is not inside of the file; write it anew with phonopy")
            if name in ("fc2", "force_constants"):
                rows = _rows(path, phonon, entry.shape[:2])
            elif entry.size > len(phonon.supercell):
                raise InputError(f"{path}: {name} has {entry.size} entries; write the file anew with phonopy")
    constants, unit = read_force_constants_hdf5(path, p2s_map=rows, return_physical_unit=True)
    return np.asarray(constants * (files.units.force_constants if unit is None else unit_of(str(unit))))


def _has_forces(dataset: Mapping[str, Any] | None) -> bool:
    if dataset is None:
        return False
    entries = dataset.get("first_atoms")
    return "forces" in dataset if entries is None else bool(entries) and all("forces" in entry for entry in entries)


def _set_constants(path: Path, phonon: Phonopy, constants: NDArray[np.float64]) -> None:
    from phonopy.harmonic.force_constants import compact_fc_to_full_fc, full_fc_to_compact_fc

    rows = _rows(path, phonon, constants.shape[:2])
    if constants.shape[2:] != (3, 3):
        raise InputError(f"{path}: force constants are no 3 x 3 matrices; write the file anew with phonopy")
    if not np.isfinite(constants).all():
        raise InputError(f"{path}: force constants are not finite; repeat the calculation that gave them")
    if len(rows) < len(phonon.supercell) and not np.array_equal(rows, phonon.primitive.p2s_map):
        whole = make_phonopy(path, "check its cell", phonon.unitcell, phonon.supercell_matrix, "P", symmetry=False)
        constants = compact_fc_to_full_fc(whole.primitive, constants)
        rows = np.arange(len(constants))
    is_full = len(rows) == len(phonon.supercell)
    phonon.force_constants = full_fc_to_compact_fc(phonon.primitive, constants) if is_full else constants


def _rows(path: Path, phonon: Phonopy, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Atoms of the supercell whose rows force constants hold: all, those of the primitive cell or of the unit cell."""
    supercell = phonon.supercell
    for rows in (np.arange(len(supercell)), phonon.primitive.p2s_map, supercell.u2s_map):
        if tuple(shape) == (len(rows), len(supercell)):
            return np.asarray(rows)
    raise InputError(
        f"{path}: force constants of {' x '.join(map(str, shape))} atoms do not belong to a supercell of "
        f"{len(supercell)} atoms ({len(phonon.primitive)} in the primitive cell); check --dim and --primitive-axes"
    )


def _read_force_sets(path: Path, phonon: Phonopy, files: Files) -> dict[str, Any]:
    """FORCE_SETS, checked against the number of atoms and the displacements of disp.yaml or the YAML file."""
    from phonopy.file_IO import parse_FORCE_SETS_from_strings

    atoms, text = len(phonon.supercell), read_text(path)
    # One word in the first line: a number of atoms; six: a displacement and a force, and no number of atoms.
    count = None if len(text.lstrip()[:500].partition("\n")[0].split()) == 1 else atoms
    advice = f"write it anew with phonopy-init -f, for {atoms} atoms"
    dataset: dict[str, Any] = attempt(path, advice, lambda: {**parse_FORCE_SETS_from_strings(text, natom=count)})
    if dataset.get("natom", atoms) != atoms:
        raise InputError(f"{path} has forces on {dataset['natom']} atoms, but the supercell has {atoms}; check --dim")
    dataset = scaled_dataset(dataset, files.units.length, files.units.force)
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
    atoms = len(phonon.supercell)
    if wrong := next((shape for shape in map(np.shape, forces) if shape[-2:] != (atoms, 3)), None):
        count = wrong[-2] if len(wrong) > 1 else 0
        raise InputError(f"{path}: has forces on {count} atoms, but the supercell has {atoms}; check --dim")
    if not all(np.isfinite(array).all() for array in forces):
        raise InputError(f"{path}: forces are not finite; repeat the calculation that gave them")
    phonon.dataset = dataset  # type: ignore[assignment]
    # All atoms displaced at once: phonopy's own finite differences cannot use that.
    fitted: Literal["symfc"] | None = None if "first_atoms" in dataset else "symfc"
    # Of atoms outside of the primitive cell, which symmetry would have saved, it makes no rows for the cell alone.
    displaced = {entry["number"] for entry in dataset.get("first_atoms", ())}
    whole = not displaced.issubset(phonon.primitive.p2s_map.tolist())
    advice = "forces and structure do not fit together; check --dim and the displacements"
    attempt(
        path,
        advice,
        lambda: phonon.produce_force_constants(
            calculate_full_force_constants=whole, show_drift=False, fc_calculator=fitted
        ),
    )
    _set_constants(path, phonon, np.asarray(phonon.force_constants))


def check_force_constants(path: Path, phonon: Phonopy, symmetrize: bool, calculated: bool) -> tuple[Note, ...]:
    """Symmetrize; force constants that lose much of their norm belong to another structure or order of atoms.

    Those of a calculator (`calculated`) belong to the structure: much of theirs may be noise, or the structure is at no
    minimum, which a note says. Without `symmetrize` force constants are checked alike, but stay as they are.
    """
    raw = np.array(phonon.force_constants)
    with np.errstate(over="ignore"):  # then it is infinite, and refused
        scale = float(np.linalg.norm(raw))
    if not np.isfinite(scale) or scale == 0:
        raise InputError(f"{path}: force constants are {'all zero' if scale == 0 else 'not finite'}; check the forces")
    # An atom pulls hardest at itself: it does not if its forces were written under another atom's number.
    at_itself = np.trace(raw[np.arange(len(raw)), phonon.primitive.p2s_map], axis1=1, axis2=2)
    hardest = np.linalg.norm(raw, axis=(2, 3)).max(axis=1)
    if not calculated and (at_itself < SELF_SHARE * hardest).any():
        raise InputError(
            f"{path}: atoms are not drawn back to their places by their own force constants; {_likely_cause(phonon)}"
        )
    imposed = _symmetrize(path, phonon, calculated)
    change = float(np.linalg.norm(np.asarray(phonon.force_constants) - raw)) / scale
    if change > ASYMMETRY and not calculated:
        raise InputError(
            f"{path}: {100 * change:.0f} % of the force constants contradict the symmetry of the structure; "
            f"{_likely_cause(phonon)}"
        )
    removed = f"{100 * change:.2g} % of their norm"
    doubts: tuple[Note, ...] = ()
    if change > ASYMMETRY:
        text = f"{removed} contradicts the symmetry of the structure: the forces of the calculator are noisy or jump"
        advice = "relax the structure with it first, or give a larger --displacement"
        doubts = (Note("asymmetric_forces", f"force constants: {text}; {advice}"),)
    if not calculated and (forces := residual_forces(phonon)) > RELAXED:
        text = f"the structure was not relaxed: forces of about {forces:.2g} eV/Angstrom act on undisplaced atoms"
        doubts = (Note("not_relaxed", f"{text}; relax it first, or {_SUBTRACT}"),)
    if not symmetrize:
        phonon.force_constants = raw
        return Note("processing", "force constants not symmetrized"), *doubts
    done = f"{'space group' if imposed else 'not the space group, which hardly holds'}, acoustic sum rule"
    return Note("processing", f"force constants symmetrized ({done}): {removed} removed"), *doubts


def _symmetrize(path: Path, phonon: Phonopy, calculated: bool) -> bool:
    """Impose space group, sum rule and the symmetry of the matrix; whether the group could be imposed.

    The projector wants operations that hold exactly and fails on a crystal whose group is one of a loose tolerance.
    Those of a calculator then get the rest alone; forces of files may belong to another crystal.
    """
    advice = "force constants cannot be symmetrized; try --no-symmetry"
    try:
        attempt(path, advice, lambda: phonon.symmetrize_force_constants(show_drift=False, use_symfc_projector=True))
    except InputError:
        if not calculated:
            raise
        attempt(path, advice, lambda: phonon.symmetrize_force_constants(show_drift=False))
        return False
    return True


def _likely_cause(phonon: Phonopy) -> str:
    """Why force constants of files do not fit: the structure was not at rest, or it is another one."""
    forces = residual_forces(phonon)
    if forces > RELAXED:
        return (
            f"forces of about {forces:.2g} eV/Angstrom act on all copies of an atom alike, so that the structure was "
            f"not relaxed; relax it first, or {_SUBTRACT}"
        )
    return "they belong to another structure or another order of atoms"


def residual_forces(phonon: Phonopy) -> float:
    """Largest force on an undisplaced atom, eV/Angstrom, as the data set of displacements shows it; 0 if it does not.

    Atoms far from a displaced one feel what acts on the perfect crystal. That is the same on all copies of an atom of
    the unit cell, of which the median over copies and displaced supercells is taken.
    """
    dataset: Mapping[str, Any] = phonon.dataset or {}
    entries = dataset.get("first_atoms", ())
    forces = np.array([entry["forces"] for entry in entries if "forces" in entry] or dataset.get("forces", ()))
    origins = phonon.supercell.s2u_map
    copies = [np.flatnonzero(origins == atom) for atom in np.unique(origins)]
    if forces.ndim != 3 or len(forces) * len(copies[0]) < FEWEST_COPIES:
        return 0.0
    return max(float(np.linalg.norm(np.median(forces[:, atoms].reshape(-1, 3), axis=0))) for atoms in copies)

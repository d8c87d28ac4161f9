"""Files of a phonopy project: cells, matrices, displacements, forces and NAC that they hold, in Angstrom and eV.

Read are phonopy_params.yaml, phonopy.yaml or phonopy_disp.yaml; else POSCAR-unitcell, POSCAR or SPOSCAR with
phonopy.conf and disp.yaml. Lengths and forces of other codes than VASP are converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.response.phonons.born_files import unit_factor
from voigt.response.phonons.cells import attempt, to_phonopy
from voigt.response.phonons.unfinished import what_is_missing
from voigt.response.phonons.yaml_files import Units, packed_path, read_disp_yaml, read_phonopy_yaml, read_text

if TYPE_CHECKING:
    from phonopy.structure.atoms import PhonopyAtoms

_YAMLS = ("phonopy_params.yaml", "phonopy.yaml", "phonopy_disp.yaml")
_UNIT_CELLS = ("POSCAR-unitcell", "POSCAR")
_LETTERS = ("P", "F", "I", "A", "C", "R")
MOST_REPEATS = 10_000_000
"""Largest entry of a matrix; the size of the supercell is checked with its atoms."""


@dataclass(frozen=True)
class Files:
    """What the files say, in Angstrom and eV.

    `code` is phonopy's name of the one whose files these are. `units` are those of files beside a YAML file;
    `nac_unit` is e^2/(4 pi eps0) in them, None for eV and Angstrom.
    """

    cell: PhonopyAtoms
    supercell_matrix: NDArray[np.int64] | None = None
    primitive_matrix: Any = "auto"
    supercell: PhonopyAtoms | None = None
    dataset: dict[str, Any] | None = None
    force_constants: NDArray[np.float64] | None = None
    nac: dict[str, Any] | None = None
    code: str | None = None
    units: Units = field(default_factory=Units)
    nac_unit: float | None = None
    names: tuple[str, ...] = ()


def read_files(path: Path, calculating: bool) -> Files:
    """Read a folder or a YAML file; if forces are yet to be calculated, any structure file."""
    if path.is_file():
        if path.name.endswith((".yaml", ".yml")) or ".yaml." in path.name:
            return _from_yaml(path)
        if calculating:
            from voigt.structures import read_one

            return Files(cell=to_phonopy(read_one(path)), names=(path.name,))
        raise InputError(f"{path} is no folder and no phonopy YAML file; give the folder, or --potential as well")
    for name in _YAMLS:
        file = packed_path(path / name)
        if file is not None:
            return _with_conf(path, _from_yaml(file))
    for name in _UNIT_CELLS:
        if (path / name).exists():
            return _with_disp(path, _with_conf(path, _from_poscar(path / name)))
    if (path / "SPOSCAR").exists():
        return _with_disp(path, replace(_from_poscar(path / "SPOSCAR"), supercell_matrix=np.eye(3, dtype=np.int64)))
    names = ", ".join((*_YAMLS, *_UNIT_CELLS))
    raise InputError(f"{path} holds no phonopy project: none of {names}, SPOSCAR; {what_is_missing(path)}")


def _from_yaml(path: Path) -> Files:
    content, units = read_phonopy_yaml(path)
    if content.unitcell is None:
        raise InputError(f"{path} holds no unit cell; write it anew with phonopy-init")
    foreign = units != Units()
    nac = None if content.nac_params is None else dict(content.nac_params)
    if nac is not None and foreign:
        nac.pop("factor", None)  # of the other units; ours is filled in
    constants, matrix = content.force_constants, content.supercell_matrix
    return Files(
        cell=_scaled(content.unitcell, units.length),
        supercell_matrix=None if matrix is None else attempt(path, "", lambda: matrix_of(np.ravel(matrix).tolist())),
        primitive_matrix="auto" if content.primitive_matrix is None else content.primitive_matrix,
        supercell=None if content.supercell is None else _scaled(content.supercell, units.length),
        dataset=None if content.dataset is None else scaled_dataset(dict(content.dataset), units.length, units.force),
        force_constants=None if constants is None else constants * units.force_constants,
        nac=nac,
        code=content.calculator,
        units=units,
        nac_unit=unit_factor() / (units.force_constants * units.length**3) if foreign else None,
        names=(path.name,),
    )


def _scaled(cell: PhonopyAtoms, length: float) -> PhonopyAtoms:
    copy = cell.copy()
    if length != 1:
        copy.cell = cell.cell * length
        copy.scaled_positions = cell.scaled_positions
    return copy


def scaled_dataset(dataset: dict[str, Any], length: float, force: float) -> dict[str, Any]:
    """Displacements and forces of either kind of data set, in Angstrom and eV/Angstrom."""
    scales = {"displacement": length, "displacements": length, "forces": force}
    scaled = {key: np.asarray(value) * scales[key] if key in scales else value for key, value in dataset.items()}
    if "first_atoms" in dataset:
        scaled["first_atoms"] = [scaled_dataset(dict(entry), length, force) for entry in dataset["first_atoms"]]
    return scaled


def _from_poscar(path: Path) -> Files:
    from phonopy.interface.vasp import read_vasp

    cell = attempt(path, "it should be a POSCAR of VASP 5", lambda: read_vasp(str(path)))
    return Files(cell=cell, names=(path.name,))


def _with_conf(folder: Path, files: Files) -> Files:
    """DIM, PRIMITIVE_AXES, MASS and MAGMOM of phonopy.conf, where a YAML file has not stated them."""
    path = folder / "phonopy.conf"
    if not path.exists():
        return files
    lines = read_text(path).splitlines()
    pairs = [line.split("#")[0].partition("=") for line in lines]
    tags = {key.strip().upper(): value.strip() for key, _, value in pairs if value.strip()}
    names = (*files.names, path.name)
    try:
        if "DIM" in tags and files.supercell_matrix is None:
            files = replace(files, supercell_matrix=matrix_of(parse_dim(tags["DIM"])), names=names)
        axes = tags.get("PRIMITIVE_AXES", tags.get("PRIMITIVE_AXIS"))
        if axes is not None and isinstance(files.primitive_matrix, str):
            files = replace(files, primitive_matrix=axes_of(parse_axes(axes)), names=names)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    atoms = len(files.cell)
    if "MASS" in tags:
        masses = _numbers(path, "MASS", tags["MASS"])
        if len(masses) != atoms:
            raise InputError(f"{path}: MASS has {len(masses)} numbers for {atoms} atoms of the unit cell")
        files.cell.masses = masses
    if "MAGMOM" in tags and files.cell.magnetic_moments is None:
        moments = _numbers(path, "MAGMOM", tags["MAGMOM"])
        if len(moments) not in (atoms, 3 * atoms):
            raise InputError(f"{path}: MAGMOM has {len(moments)} numbers for {atoms} atoms of the unit cell")
        if any(moments):  # all zero: no magnet
            files.cell.magnetic_moments = np.reshape(moments, (atoms, -1)) if len(moments) > atoms else moments
    return files


def _numbers(path: Path, tag: str, text: str) -> list[float]:
    return attempt(path, f"{tag} takes one number per atom", lambda: [float(word) for word in text.split()])


def _with_disp(folder: Path, files: Files) -> Files:
    """Displacements and supercell of disp.yaml, or the supercell of SPOSCAR; they also give DIM."""
    path = folder / "disp.yaml"
    if path.exists():
        dataset, supercell = read_disp_yaml(path)
        files = replace(files, dataset=dataset, supercell=supercell, names=(*files.names, path.name))
    elif (folder / "SPOSCAR").exists() and "SPOSCAR" not in files.names:
        files = replace(files, supercell=_from_poscar(folder / "SPOSCAR").cell, names=(*files.names, "SPOSCAR"))
    if files.supercell_matrix is None and files.supercell is not None:
        # Rows of lattice vectors: supercell = M^T unit cell.
        try:
            exact = (files.supercell.cell @ np.linalg.inv(files.cell.cell)).T
        except np.linalg.LinAlgError as error:
            raise InputError(f"{folder}: the unit cell has no volume; give independent lattice vectors") from error
        if abs(exact - np.rint(exact)).max() < 1e-3:
            files = replace(files, supercell_matrix=np.rint(exact).astype(np.int64))
    return files


# Options


def parse_dim(text: str) -> list[int]:
    """DIM of phonopy: 3 or 9 integers."""
    try:
        return [int(word) for word in text.split()]
    except ValueError as error:
        raise InputError(f"DIM {text[:60]!r} is not 3 or 9 integers") from error


def parse_axes(text: str) -> str | list[float]:
    """PRIMITIVE_AXES of phonopy: a letter, "auto", or 9 numbers such as 1/2."""
    words = text.split()
    if len(words) == 1:
        return words[0]
    try:
        # A fraction of 1e999999999 would be a number of so many digits.
        return [float(Fraction(word)) if "/" in word else float(word) for word in words]
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise InputError(
            f"PRIMITIVE_AXES {text[:60]!r} is not 9 numbers, one of {' '.join(_LETTERS)}, or auto"
        ) from error


def matrix_of(dim: Sequence[int]) -> NDArray[np.int64]:
    """Supercell matrix (3, 3) of 3 or 9 integers."""
    if len(dim) not in (3, 9):
        raise InputError(f"DIM is 3 or 9 integers, not {len(dim)}")
    if max(map(abs, dim)) > MOST_REPEATS:
        raise InputError(f"DIM repeats the cell more than {MOST_REPEATS} times; check it")
    matrix = np.diag(dim) if len(dim) == 3 else np.reshape(dim, (3, 3))
    if np.linalg.det(matrix) < 0.5:
        raise InputError(f"DIM {' '.join(map(str, dim))} spans no supercell: its determinant must be positive")
    return matrix.astype(np.int64)


def axes_of(axes: Any) -> Any:
    """Primitive matrix (3, 3) of 9 numbers, or phonopy's word for one."""
    if isinstance(axes, str):
        if axes.upper() not in (*_LETTERS, "AUTO"):
            raise InputError(f"primitive axes {axes[:60]!r} are not 9 numbers, one of {' '.join(_LETTERS)}, or auto")
        return "auto" if axes.upper() == "AUTO" else axes.upper()
    matrix = np.array(axes, dtype=np.float64)
    # Also of NaN; vectors of the primitive cell are at most as long as those of the unit cell.
    if matrix.size != 9 or not abs(matrix).max() < MOST_REPEATS or not np.linalg.det(matrix.reshape(3, 3)) > 0:
        raise InputError("primitive axes are not 9 numbers with a positive determinant")
    return matrix.reshape(3, 3)

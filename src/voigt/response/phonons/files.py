"""Files of a phonopy project: cells, matrices, displacements, forces and NAC that they hold, in Angstrom and eV.

Read are phonopy_params.yaml, phonopy.yaml or phonopy_disp.yaml; else POSCAR-unitcell, POSCAR or SPOSCAR with
phonopy.conf and disp.yaml. Lengths and forces of other codes than VASP are converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.response.phonons.cells import attempt, to_phonopy

if TYPE_CHECKING:
    from phonopy.interface.phonopy_yaml import PhonopyYaml
    from phonopy.structure.atoms import PhonopyAtoms

_YAMLS = ("phonopy_params.yaml", "phonopy.yaml", "phonopy_disp.yaml")
_PACKED = ("", ".xz", ".gz", ".bz2", ".lzma")
_UNIT_CELLS = ("POSCAR-unitcell", "POSCAR")
_LETTERS = ("P", "F", "I", "A", "C", "R")


@dataclass(frozen=True)
class Files:
    """What the files say, in Angstrom and eV.

    `force_unit` (eV/Angstrom) and `length_unit` (Angstrom) are those of files beside a YAML file; `nac_unit` is
    e^2/(4 pi eps0) in the units of its code, None for eV and Angstrom.
    """

    cell: PhonopyAtoms
    supercell_matrix: NDArray[np.int64] | None = None
    primitive_matrix: Any = "auto"
    supercell: PhonopyAtoms | None = None
    dataset: dict[str, Any] | None = None
    force_constants: NDArray[np.float64] | None = None
    nac: dict[str, Any] | None = None
    force_unit: float = 1.0
    length_unit: float = 1.0
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
        raise InputError(f"{path} is no folder and no phonopy YAML file; give the folder, or --calculator as well")
    for name in _YAMLS:
        for ending in _PACKED:
            if (path / (name + ending)).exists():
                return _with_conf(path, _from_yaml(path / (name + ending)))
    for name in _UNIT_CELLS:
        if (path / name).exists():
            return _with_disp(path, _with_conf(path, _from_poscar(path / name)))
    if (path / "SPOSCAR").exists():
        return _with_disp(path, replace(_from_poscar(path / "SPOSCAR"), supercell_matrix=np.eye(3, dtype=np.int64)))
    raise InputError(f"{path} holds no phonopy project: none of {', '.join((*_YAMLS, *_UNIT_CELLS))}, SPOSCAR")


def _from_yaml(path: Path) -> Files:
    from phonopy.interface.phonopy_yaml import PhonopyYaml
    from phonopy.physical_units import get_calculator_physical_units

    def load() -> PhonopyYaml:
        content = PhonopyYaml()
        content.read(path)
        return content

    content = attempt(path, "write it anew with phonopy", load)
    if content.unitcell is None:
        raise InputError(f"{path} holds no unit cell; write it anew with phonopy")
    units = get_calculator_physical_units(content.calculator)
    length, force = units.distance_to_A, units.force_to_eVperA
    constants = content.force_constants
    foreign = (length, force) != (1, 1)
    nac = None if content.nac_params is None else dict(content.nac_params)
    if nac is not None and foreign:
        nac.pop("factor", None)  # of the other units; ours is filled in
    return Files(
        cell=_scaled(content.unitcell, length),
        supercell_matrix=content.supercell_matrix,
        primitive_matrix="auto" if content.primitive_matrix is None else content.primitive_matrix,
        supercell=None if content.supercell is None else _scaled(content.supercell, length),
        dataset=None if content.dataset is None else scaled_dataset(dict(content.dataset), length, force),
        force_constants=None if constants is None else constants * (force / length),
        nac=nac,
        force_unit=force,
        length_unit=length,
        nac_unit=units.nac_factor if foreign else None,
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
    """DIM, PRIMITIVE_AXES and MASS of phonopy.conf, where a YAML file has not stated them."""
    path = folder / "phonopy.conf"
    if not path.exists():
        return files
    lines = attempt(path, "it should be text", lambda: path.read_text(encoding="utf-8")).splitlines()
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
    if "MASS" in tags:
        masses = attempt(path, "MASS takes one number per atom", lambda: [float(word) for word in tags["MASS"].split()])
        if len(masses) != len(files.cell):
            raise InputError(f"{path}: MASS has {len(masses)} numbers for {len(files.cell)} atoms of the unit cell")
        files.cell.masses = masses
    return files


def _with_disp(folder: Path, files: Files) -> Files:
    """Displacements and supercell of disp.yaml, or the supercell of SPOSCAR; they also give DIM."""
    from phonopy.file_IO import parse_disp_yaml

    path = folder / "disp.yaml"
    if path.exists():
        dataset, supercell = attempt(
            path, "write it anew with phonopy -d", lambda: parse_disp_yaml(path, return_cell=True)
        )
        files = replace(files, dataset=dict(dataset), supercell=supercell, names=(*files.names, path.name))
    elif (folder / "SPOSCAR").exists() and "SPOSCAR" not in files.names:
        files = replace(files, supercell=_from_poscar(folder / "SPOSCAR").cell, names=(*files.names, "SPOSCAR"))
    if files.supercell_matrix is None and files.supercell is not None:
        # Rows of lattice vectors: supercell = M^T unit cell.
        exact = (files.supercell.cell @ np.linalg.inv(files.cell.cell)).T
        if abs(exact - np.rint(exact)).max() < 1e-3:
            files = replace(files, supercell_matrix=np.rint(exact).astype(np.int64))
    return files


# Options


def parse_dim(text: str) -> list[int]:
    """DIM of phonopy: 3 or 9 integers."""
    try:
        return [int(word) for word in text.split()]
    except ValueError as error:
        raise InputError(f"DIM '{text}' is not 3 or 9 integers") from error


def parse_axes(text: str) -> str | list[float]:
    """PRIMITIVE_AXES of phonopy: a letter, "auto", or 9 numbers such as 1/2."""
    words = text.split()
    if len(words) == 1:
        return words[0]
    try:
        return [float(Fraction(word)) for word in words]
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"PRIMITIVE_AXES '{text}' is not 9 numbers, one of {' '.join(_LETTERS)}, or auto") from error


def matrix_of(dim: Sequence[int]) -> NDArray[np.int64]:
    """Supercell matrix (3, 3) of 3 or 9 integers."""
    if len(dim) not in (3, 9):
        raise InputError(f"DIM takes 3 or 9 integers, not {len(dim)}")
    matrix = np.diag(dim) if len(dim) == 3 else np.reshape(dim, (3, 3))
    if np.linalg.det(matrix) < 0.5:
        raise InputError(f"DIM {' '.join(map(str, dim))} spans no supercell: its determinant must be positive")
    return matrix.astype(np.int64)


def axes_of(axes: Any) -> Any:
    """Primitive matrix (3, 3) of 9 numbers, or phonopy's word for one."""
    if isinstance(axes, str):
        if axes.upper() not in (*_LETTERS, "AUTO"):
            raise InputError(f"primitive axes '{axes}' are not 9 numbers, one of {' '.join(_LETTERS)}, or auto")
        return "auto" if axes.upper() == "AUTO" else axes.upper()
    if np.size(axes) != 9 or np.linalg.det(np.reshape(axes, (3, 3))) <= 0:
        raise InputError("primitive axes take 9 numbers with a positive determinant")
    return np.reshape(np.array(axes, dtype=np.float64), (3, 3))

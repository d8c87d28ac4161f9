"""Small phonopy projects with forces of springs between neighbors, for which closed forms are known."""

from __future__ import annotations

import warnings
from pathlib import Path

import ase
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from phonopy import Phonopy
from phonopy.file_IO import (
    write_disp_yaml_from_dataset,
    write_FORCE_CONSTANTS,
    write_force_constants_to_hdf5,
    write_FORCE_SETS,
)
from phonopy.interface.vasp import write_vasp
from phonopy.structure.atoms import PhonopyAtoms

STIFFNESS = 5.0
"""eV/Angstrom^2."""


class Springs(Calculator):
    """Harmonic springs at rest between neighbors within a cutoff of a perfect crystal."""

    implemented_properties = ("energy", "forces")

    def __init__(self, cutoff: float = 3.0, stiffness: float = STIFFNESS) -> None:
        super().__init__()
        self.cutoff, self.stiffness = cutoff, stiffness
        self.perfect: ase.Atoms | None = None

    def calculate(self, atoms: ase.Atoms, properties: list[str], system_changes: list[str] = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        if self.perfect is None or len(self.perfect) != len(atoms):
            self.perfect = atoms.copy()  # the first cell that is asked for is the undisplaced one
        first, second, vector = neighbor_list("ijD", self.perfect, self.cutoff)
        moved = atoms.positions - self.perfect.positions
        direction = vector / np.linalg.norm(vector, axis=1, keepdims=True)
        stretch = np.einsum("pi,pi->p", moved[second] - moved[first], direction)
        forces = np.zeros_like(moved)
        np.add.at(forces, first, self.stiffness * stretch[:, None] * direction)
        self.results = {"energy": 0.25 * self.stiffness * float(stretch @ stretch), "forces": forces}


def to_ase(cell: PhonopyAtoms) -> ase.Atoms:
    return ase.Atoms(cell.symbols, cell=cell.cell, scaled_positions=cell.scaled_positions, pbc=True)


def spring_phonon(atoms: ase.Atoms, dim: tuple[int, int, int] = (2, 2, 2), cutoff: float = 3.0) -> Phonopy:
    """Displacements, forces and force constants, not symmetrized."""
    cell = PhonopyAtoms(cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions(), numbers=atoms.numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that "auto" changed the cell
        phonon = Phonopy(cell, np.diag(dim))
    phonon.generate_displacements()
    springs = Springs(cutoff)
    springs.get_forces(to_ase(phonon.supercell))
    phonon.forces = [springs.get_forces(to_ase(cell)) for cell in phonon.supercells_with_displacements]
    phonon.produce_force_constants()
    return phonon


LAYOUTS = ("params", "disp", "conf", "sposcar", "constants", "compact", "hdf5", "yaml_constants")


def write_project(folder: Path, phonon: Phonopy, layout: str) -> Path:
    """Write the files of one of the ways in which phonopy projects are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    dim = " ".join(str(n) for n in phonon.supercell_matrix.ravel())
    everything = {"force_sets": True, "displacements": True, "force_constants": False}
    compact = phonon.force_constants[phonon.primitive.p2s_map]
    if layout == "params":
        phonon.save(folder / "phonopy_params.yaml", settings=everything)
    elif layout == "yaml_constants":
        phonon.save(folder / "phonopy.yaml", settings={"force_sets": False, "force_constants": True})
    elif layout in ("disp", "hdf5"):
        phonon.save(folder / "phonopy_disp.yaml", settings={**everything, "force_sets": False})
    else:
        write_vasp(folder / ("SPOSCAR" if layout == "sposcar" else "POSCAR"), phonon.unitcell)
        if layout == "sposcar":
            write_vasp(folder / "SPOSCAR", phonon.supercell)
            write_vasp(folder / "POSCAR-unitcell", phonon.unitcell)
        else:
            (folder / "phonopy.conf").write_text(f"# a comment\nDIM = {dim}\nPRIMITIVE_AXES = AUTO\n")
    if layout == "conf":
        write_disp_yaml_from_dataset(phonon.dataset, phonon.supercell, folder / "disp.yaml")
    if layout in ("disp", "conf", "sposcar"):
        write_FORCE_SETS(phonon.dataset, filename=folder / "FORCE_SETS")
    if layout == "constants":
        write_FORCE_CONSTANTS(phonon.force_constants, filename=folder / "FORCE_CONSTANTS")
    if layout == "compact":
        write_FORCE_CONSTANTS(compact, filename=folder / "FORCE_CONSTANTS", p2s_map=phonon.primitive.p2s_map)
    if layout == "hdf5":
        write_force_constants_to_hdf5(compact, folder / "force_constants.hdf5", phonon.primitive.p2s_map)
    return folder

"""Force constants from an ASE calculator: displaced supercells by phonopy, symmetry used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.notes import Note
from voigt.response.phonons.cells import to_ase

if TYPE_CHECKING:
    from phonopy import Phonopy

SHORTEST = 10.0
"""Angstrom: no lattice vector of a supercell that we choose is shorter."""
DISPLACEMENT = 0.01
"""Angstrom, phonopy's default."""
RELAXED = 0.05
"""eV/Angstrom: beyond this residual force a structure is not at rest under its calculator."""


def load_calculator(spec: str) -> Any:
    """Call the factory that `module:factory` names; the working folder is searched for the module too.

    InputError if there is no such factory, it fails, or what it returns cannot calculate.
    """
    module_name, _, factory_name = spec.partition(":")
    if not module_name or not factory_name:
        raise InputError(f"--calculator {spec}: write module:factory, e.g. my_potential:make_calculator")
    sys.path.insert(0, os.getcwd())
    try:
        factory = getattr(importlib.import_module(module_name), factory_name)
        calculator = factory()
    except Exception as error:  # code of the user
        raise InputError(f"--calculator {spec}: {_reason(error)}; give a callable without arguments") from error
    finally:
        sys.path.remove(os.getcwd())
    if not hasattr(calculator, "get_property"):
        raise InputError(f"--calculator {spec} returns {type(calculator).__name__}, not an ASE calculator")
    return calculator


def supercell_for(cell: NDArray[np.float64], shortest: float = SHORTEST) -> NDArray[np.int64]:
    """Diagonal supercell matrix (3, 3) whose every lattice vector is at least `shortest` Angstrom long.

    The distance between opposite faces of the cell bounds the length of its lattice vectors from below.

    Examples
    --------
    >>> supercell_for(4.2 * np.eye(3)).diagonal()
    array([3, 3, 3])
    """
    volume = abs(np.linalg.det(cell))
    # Volume over the area of a face is the distance to the opposite one.
    faces = [float(np.linalg.norm(np.cross(cell[(i + 1) % 3], cell[(i + 2) % 3]))) for i in range(3)]
    return np.diag([int(np.ceil(shortest * face / volume - 1e-9)) for face in faces])


def calculate_force_constants(
    phonon: Phonopy,
    calculator: Any,
    displacement: float = DISPLACEMENT,
    advance: Callable[[], None] | None = None,
) -> tuple[Note, ...]:
    """Give `phonon` the force constants of a calculator, from finite displacements of its symmetry-distinct atoms.

    Parameters as in `read_project`, errors as in `forces_of`. Notes tell how many supercells were calculated, and
    "not_relaxed" if forces act on the undisplaced atoms.
    """
    phonon.generate_displacements(distance=displacement)
    cells = [cell for cell in phonon.supercells_with_displacements or [] if cell is not None]
    # What acts on the perfect supercell is no response to a displacement, so it is subtracted.
    perfect = forces_of(to_ase(phonon.supercell), calculator)
    forces = []
    for cell in cells:
        forces.append(forces_of(to_ase(cell), calculator) - perfect)
        if advance is not None:
            advance()
    phonon.forces = forces
    phonon.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
    name, cell_size = type(calculator).__name__, f"{len(phonon.supercell)} atoms"
    text = f"forces of {name} on {len(cells)} supercells of {cell_size}, displaced by {displacement:g} Angstrom"
    done = Note("processing", text)
    largest = float(np.linalg.norm(perfect, axis=1).max())
    if largest <= RELAXED:
        return (done,)
    text = f"the structure is not relaxed with this calculator (forces up to {largest:.2g} eV/Angstrom); relax it first"
    return done, Note("not_relaxed", f"{text}, or expect imaginary modes")


def forces_of(atoms: ase.Atoms, calculator: Any) -> NDArray[np.float64]:
    """Forces (n_atoms, 3) in eV/Angstrom of a calculator, which the atoms keep; InputError if it fails."""
    atoms.calc = calculator
    try:
        forces = np.array(atoms.get_forces(), dtype=np.float64)
    except Exception as error:  # a calculator of the user
        raise InputError(f"{type(calculator).__name__} gives no forces: {_reason(error)}") from error
    if not np.isfinite(forces).all():
        raise InputError(f"{type(calculator).__name__} gives forces that are not finite; check it on this crystal")
    return forces


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(".: ")

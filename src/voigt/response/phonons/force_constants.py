"""Force constants from an ASE calculator: displaced supercells by phonopy, symmetry used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from voigt.errors import InputError
from voigt.notes import Note
from voigt.response.phonons.cells import to_ase
from voigt.response.potentials.engine import Engine
from voigt.response.potentials.evaluation import reason_of

if TYPE_CHECKING:
    from phonopy import Phonopy

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
        raise InputError(f"--calculator {spec}: {reason_of(error)}; give a callable without arguments") from error
    finally:
        sys.path.remove(os.getcwd())
    if not hasattr(calculator, "get_property"):
        raise InputError(f"--calculator {spec} returns {type(calculator).__name__}, not an ASE calculator")
    return calculator


def calculate_force_constants(
    phonon: Phonopy,
    engine: Engine,
    displacement: float = DISPLACEMENT,
    advance: Callable[[], None] | None = None,
) -> tuple[Note, ...]:
    """Give `phonon` the force constants of an engine, from finite displacements of its symmetry-distinct atoms.

    Parameters as in `calculated_project`, errors as in `forces_of`. Notes tell how many supercells were calculated, and
    "not_relaxed" if forces act on the undisplaced atoms.
    """
    phonon.generate_displacements(distance=displacement)
    cells = [cell for cell in phonon.supercells_with_displacements or [] if cell is not None]

    def tell(index: int) -> None:
        if advance is not None and index > 0:  # the first cell has no displacement
            advance()

    # What acts on the perfect supercell is no response to a displacement, so it is subtracted. A potential of the
    # registry knows no boundaries: its forces on the unit cell are those on the supercell.
    rest = phonon.unitcell if engine.is_named else phonon.supercell
    perfect, *displaced = engine.forces([to_ase(cell) for cell in (rest, *cells)], tell)
    if engine.is_named:
        perfect = perfect[[phonon.supercell.u2u_map[index] for index in phonon.supercell.s2u_map]]
    phonon.forces = [forces - perfect for forces in displaced]
    phonon.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
    name, cell_size = engine.name, f"{len(phonon.supercell)} atoms"
    text = f"forces of {name} on {len(cells)} supercells of {cell_size}, displaced by {displacement:g} Angstrom"
    done = Note("processing", text)
    largest = float(np.linalg.norm(perfect, axis=1).max())
    if largest <= RELAXED:
        return (done,)
    text = f"the structure is not relaxed with this calculator (forces up to {largest:.2g} eV/Angstrom); relax it first"
    return done, Note("not_relaxed", f"{text}, or expect imaginary modes")


def project_text(phonon: Phonopy, engine: Engine) -> str:
    """phonopy_params.yaml of displacements and forces, which phonopy.load and `read_project` read."""
    with TemporaryDirectory() as folder:  # phonopy writes files only
        path = Path(folder) / "phonopy_params.yaml"
        phonon.save(path, settings={"force_sets": True, "displacements": True, "force_constants": False})
        return f"# forces of {engine.identity}\n{path.read_text(encoding='utf-8')}"

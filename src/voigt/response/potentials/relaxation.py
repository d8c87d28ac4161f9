"""Atoms, and if asked the cell, brought to rest under a calculator; the space group is kept."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError, VoigtError
from voigt.notes import Note
from voigt.response.potentials.evaluation import energy_of, forces_of, name_of, reason_of, stress_of
from voigt.structures.symmetry import Symmetry, find_symmetry
from voigt.structures.symmetry.spglib_answers import quiet_spglib

Relax: TypeAlias = Literal["none", "positions", "cell"]
"""What moves: nothing, the atoms, or the atoms and the cell."""

FORCE_LIMIT = 1e-3
"""eV/Angstrom. The forces that are left are subtracted from those of displaced atoms; they move a soft mode of
0.1 eV/Angstrom^2 by 0.01 Angstrom."""
MOST_STEPS = 300
ASYMMETRIC = 0.01
"""eV/Angstrom by which forces on the crystal may break its space group; single precision breaks it by 1e-5."""
_LONGEST_STEP = 0.1
"""Angstrom."""
_VOLUMES = (0.5, 2.0)
"""Of the relaxed cell over the first one: beyond them a crystal collapses or falls apart."""
_GPA = 160.21766208
"""Per eV/Angstrom^3."""


@dataclass(frozen=True)
class Relaxation:
    """A crystal at rest.

    Attributes
    ----------
    atoms
        The relaxed crystal: atoms in the order of the input, without calculator and constraints.
    steps
        How many the optimizer took.
    force
        Largest force on an atom that is left, eV/Angstrom.
    stress
        Largest principal stress that is left, GPa; None for a calculator without stress.
    energy
        eV per cell; None for a calculator without energy.
    converged
        Whether force (and with "cell" the stress) fell below the limit.
    volume_change
        Relative change of the volume of the cell, 0.01 for one percent.
    notes
        What was done ("processing"), "not_relaxed" if it did not converge, "asymmetric_forces".
    """

    atoms: ase.Atoms
    steps: int
    force: float
    stress: float | None
    energy: float | None
    converged: bool
    volume_change: float
    notes: tuple[Note, ...]


def relax(
    atoms: ase.Atoms,
    calculator: Any,
    what: Relax = "positions",
    *,
    symprec: float = 1e-3,
    force_limit: float = FORCE_LIMIT,
    most_steps: int = MOST_STEPS,
) -> Relaxation:
    """Bring a crystal to rest under a calculator without leaving its space group.

    Forces and stress are projected onto the space group (`ase.constraints.FixSymmetry`), and what the structure misses
    it by is mended first. The cell follows the gradient of the logarithm of its deformation
    (`ase.filters.FrechetCellFilter`). BFGS goes first; if half of the steps were not enough, FIRE takes over.

    Parameters
    ----------
    atoms
        Periodic in three dimensions; stays as it is. Its constraints are ignored.
    calculator
        Of ASE, e.g. `load_potential("sevennet-l3i5")`.
    what
        "positions" at a fixed cell, "cell" with it, or "none": only look at the forces.
    symprec
        Tolerance of the space group, Angstrom.
    force_limit
        eV/Angstrom. A cell is at rest if the stress times the volume per atom is below it too (in eV).
    most_steps
        Of the optimizers.

    Returns
    -------
    Relaxation

    Raises
    ------
    InputError
        The calculator fails or gives numbers that are not finite, has no stress though the cell shall relax, or there
        is no space group.

    Examples
    --------
    Copper with the potential of EMT has its rest at 3.594 Angstrom.

    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> relaxed = relax(bulk("Cu", a=3.5, cubic=True), EMT(), "cell")
    >>> relaxed.converged, round(float(relaxed.atoms.cell.lengths()[0]), 2)
    (True, 3.59)
    """
    if what not in ("none", "positions", "cell"):
        raise InputError(f"relax {what!r}: give none, positions or cell")
    start, name = atoms.copy(), name_of(calculator)
    start.set_constraint()
    moving = start.copy()
    if what == "none":
        force = _largest(forces_of(moving, calculator))
        return _result(start, moving, 0, force <= force_limit, ())
    if what == "cell" and not _gives(calculator, "stress"):
        raise InputError(f"{name} has no stress, without which no cell relaxes; relax the positions only")
    before = find_symmetry(start, symprec)
    doubts = _constrain(moving, calculator, symprec)
    steps, converged = _search(moving, calculator, what, force_limit, most_steps)
    after = find_symmetry(moving, symprec)
    text = f"{what} relaxed with {name} in {steps} step{'' if steps == 1 else 's'}"
    if after.number == before.number:
        text = f"{text}, space group {before.international} kept"
    elif _order(after) > _order(before):
        text = f"{text}, which raised the space group from {before.international} to {after.international}"
    else:  # not by forces, which are projected, but from a tolerance at which the group was hardly one
        raise InputError(f"{name} turns {before.international} into {after.international}; give another --symprec")
    result = _result(start, moving, steps, converged, doubts)
    if what == "cell":
        text = f"{text}, volume {100 * result.volume_change:+.2g} %"
    notes = (Note("processing", text), *doubts)
    if not converged:
        left = f"forces of {result.force:.2g} eV/Angstrom are left after {steps} steps"
        notes = (*notes, Note("not_relaxed", f"{name} brings the crystal to no rest: {left}"))
    return replace(result, notes=notes)


def _constrain(moving: ase.Atoms, calculator: Any, symprec: float) -> tuple[Note, ...]:
    """Mend the symmetry of a structure and keep it; a note if the forces of the calculator would break it."""
    from ase.constraints import FixSymmetry

    quiet_spglib()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            constraint = FixSymmetry(moving, symprec)
    except Exception as error:
        raise InputError(f"the space group cannot be kept ({reason_of(error)}); give another --symprec") from error
    raw = forces_of(moving, calculator)
    moving.set_constraint(constraint)
    broken = _largest(raw - moving.get_forces())
    if broken <= ASYMMETRIC:
        return ()
    text = (
        f"{name_of(calculator)} breaks the space group by forces of up to {broken:.2g} eV/Angstrom, which are removed"
    )
    return (Note("asymmetric_forces", text),)


def _search(moving: ase.Atoms, calculator: Any, what: Relax, force_limit: float, most_steps: int) -> tuple[int, bool]:
    """Move atoms that have their constraint and calculator; gives the number of steps, and whether they are at rest."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS, FIRE

    volume, steps = moving.get_volume(), 0
    for method, last in ((BFGS, most_steps // 2), (FIRE, most_steps)):
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # large steps of FixSymmetry, imaginary parts of logarithms
                target: Any = FrechetCellFilter(moving) if what == "cell" else moving
                optimizer = method(target, logfile=None, maxstep=_LONGEST_STEP)
                for converged in optimizer.irun(fmax=force_limit, steps=last - steps):
                    forces_of(moving, calculator)  # from memory; an error where they are not finite
                    exploded = not _VOLUMES[0] < moving.get_volume() / volume < _VOLUMES[1]
                    if converged or exploded:
                        return steps + int(optimizer.nsteps), not exploded
                steps += int(optimizer.nsteps)
        except VoigtError:
            raise
        except Exception as error:  # of the calculator, or of an optimizer that it led astray
            raise InputError(f"the relaxation with {name_of(calculator)} fails: {reason_of(error)}") from error
    return steps, False


def _result(start: ase.Atoms, moved: ase.Atoms, steps: int, converged: bool, notes: tuple[Note, ...]) -> Relaxation:
    """What is left of forces and stress, as the constraint projects them."""
    calculator = moved.calc
    energy = energy_of(moved, calculator) if _gives(calculator, "energy") else None
    stress = None
    if _gives(calculator, "stress"):
        stress_of(moved, calculator)
        stress = float(np.abs(np.linalg.eigvalsh(moved.get_stress(voigt=False))).max()) * _GPA
    atoms = moved.copy()
    atoms.set_constraint()
    return Relaxation(
        atoms=atoms,
        steps=steps,
        force=_largest(moved.get_forces()),
        stress=stress,
        energy=energy,
        converged=converged,
        volume_change=float(atoms.get_volume() / start.get_volume()) - 1,
        notes=notes,
    )


def _largest(vectors: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(vectors, axis=1).max())


def _order(symmetry: Symmetry) -> int:
    return len(symmetry.rotations) * symmetry.translations


def _gives(calculator: Any, name: str) -> bool:
    return name in getattr(calculator, "implemented_properties", ())

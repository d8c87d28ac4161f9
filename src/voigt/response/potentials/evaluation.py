"""Forces, stress and energy of any ASE calculator, with errors of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError, VoigtError

ValueT = TypeVar("ValueT")


def forces_of(atoms: ase.Atoms, calculator: Any) -> NDArray[np.float64]:
    """Forces (n_atoms, 3) in eV/Angstrom of a calculator, which the atoms keep; InputError if it fails."""
    atoms.calc = calculator
    return _finite("forces", calculator, lambda: atoms.get_forces(apply_constraint=False))


def stress_of(atoms: ase.Atoms, calculator: Any) -> NDArray[np.float64]:
    """Stress (3, 3) in eV/Angstrom^3, tensile positive; atoms and errors as in `forces_of`."""
    atoms.calc = calculator
    return _finite("stress", calculator, lambda: atoms.get_stress(voigt=False, apply_constraint=False))


def energy_of(atoms: ase.Atoms, calculator: Any) -> float:
    """Energy in eV; atoms and errors as in `forces_of`."""
    atoms.calc = calculator
    return float(_finite("energy", calculator, atoms.get_potential_energy))


def name_of(calculator: Any) -> str:
    """What sentences call a calculator: its name in the registry, or its type."""
    from voigt.response.potentials.calculator import NamedPotential

    return calculator.potential.name if isinstance(calculator, NamedPotential) else type(calculator).__name__


def _finite(what: str, calculator: Any, ask: Callable[[], Any]) -> NDArray[np.float64]:
    """The answer, which must consist of numbers; a calculator of the user may do anything."""
    try:
        values = np.array(ask(), dtype=np.float64)
    except VoigtError:
        raise
    except Exception as error:
        raise InputError(f"{name_of(calculator)} gives no {what}: {reason_of(error)}") from error
    if not np.isfinite(values).all():
        verb = "are" if what == "forces" else "is"
        raise InputError(f"{name_of(calculator)} gives {what} that {verb} not finite; check it on this crystal")
    return values


def reason_of(error: Exception) -> str:
    """Type and text of an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(".: ")

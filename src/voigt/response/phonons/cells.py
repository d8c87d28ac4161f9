"""Cells between ASE and phonopy, and phonopy objects made of them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import ase
import numpy as np

from voigt.errors import InputError, VoigtError
from voigt.reasons import plain_reason
from voigt.structures.symmetry.spglib_answers import quiet_spglib

if TYPE_CHECKING:
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

ValueT = TypeVar("ValueT")

PHONOPY_SYMPREC = 1e-5
"""Angstrom. `phonopy.load` always reads BORN with this tolerance, so it decides which atoms must be listed."""


def to_ase(cell: PhonopyAtoms) -> ase.Atoms:
    """Atoms of a phonopy cell, in its order, with its masses."""
    with np.errstate(all="ignore"):  # NaN and infinity are for the checks that follow
        return ase.Atoms(
            numbers=cell.numbers, cell=cell.cell, scaled_positions=cell.scaled_positions, masses=cell.masses, pbc=True
        )


def to_phonopy(atoms: ase.Atoms) -> PhonopyAtoms:
    """Cell for phonopy of the same atoms, with masses: phonopy has none for Po and other radioactive elements."""
    from phonopy.structure.atoms import PhonopyAtoms

    return PhonopyAtoms(
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
    )


def make_phonopy(
    place: str | Path,
    advice: str,
    cell: PhonopyAtoms,
    supercell_matrix: Any = None,
    primitive_matrix: Any = "auto",
    symprec: float = PHONOPY_SYMPREC,
    symmetry: bool = True,
) -> Phonopy:
    """A `Phonopy` object, which uses the space group if `symmetry`; errors as in `attempt`."""
    from ase.data import atomic_masses
    from phonopy import Phonopy

    if cell.masses is None:  # of a file; phonopy has none for radioactive elements
        cell = cell.copy()
        cell.masses = atomic_masses[cell.numbers]
    return attempt(
        place,
        advice,
        lambda: Phonopy(
            cell, supercell_matrix, primitive_matrix=primitive_matrix, symprec=symprec, is_symmetry=symmetry
        ),
    )


def attempt(place: str | Path, advice: str, action: Callable[[], ValueT]) -> ValueT:
    """Call; an InputError with `place` and `advice` if it fails.

    phonopy and its parsers raise anything from AssertionError to IndexError. Their warnings are dropped: that "auto"
    changed the cell, and that a supercell has fewer operations than its primitive cell.
    """
    quiet_spglib()
    depth = sys.getrecursionlimit()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return action()
    except VoigtError:
        raise
    except Exception as error:
        raise InputError(f"{place}: {plain_reason(error)[:200]}; {advice}") from error
    finally:
        sys.setrecursionlimit(depth)  # phonopy's solver raises it beyond what the stack can hold

"""Crystals from rows of tables: atomic numbers, cell and fractional coordinates. All tables are read through here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import ase
import numpy as np

from voigt.errors import InputError
from voigt.structures.inputs import Input
from voigt.structures.intake import check
from voigt.structures.readers.failures import attempt

LABEL = "a row of numbers, cell and frac"


def atoms_from_row(numbers: Any, cell: Any, frac: Any, info: Mapping[str, Any] | None = None) -> ase.Atoms:
    """Periodic atoms from one row.

    Parameters
    ----------
    numbers
        (n_atoms,) atomic numbers.
    cell
        9 numbers, lattice vectors one after the other, Angstrom.
    frac
        3 n_atoms fractional coordinates, atom by atom.
    info
        Becomes `Atoms.info`.

    Raises
    ------
    InputError
        The lengths do not fit, or an atomic number is not whole.

    Examples
    --------
    >>> atoms_from_row([12, 8], [0, 2.1, 2.1, 2.1, 0, 2.1, 2.1, 2.1, 0], [0, 0, 0, 0.5, 0.5, 0.5]).positions[1]
    array([2.1, 2.1, 2.1])
    """
    elements = np.asarray(numbers)
    vectors, fractions = np.asarray(cell, dtype=np.float64).ravel(), np.asarray(frac, dtype=np.float64).ravel()
    if len(vectors) != 9:
        raise InputError(f"has {len(vectors)} numbers in cell instead of 9; write three lattice vectors")
    if len(fractions) != 3 * len(elements):
        raise InputError(f"has {len(fractions)} numbers in frac for {len(elements)} atoms; write three for every atom")
    if elements.dtype.kind == "f" and not (elements % 1 == 0).all():
        raise InputError("has atomic numbers that are not whole; write one integer for every atom")
    rows = vectors.reshape(3, 3)
    with np.errstate(all="ignore"):  # NaN and infinity are for the checks that follow
        positions = fractions.reshape(-1, 3) @ rows
    return ase.Atoms(numbers=elements, positions=positions, cell=rows, pbc=True, info=dict(info or {}))


def structure_from_row(
    row: Mapping[str, Any], source: str, index: int, default: str, info: Mapping[str, Any] | None = None
) -> Input:
    """The checked crystal of a row with keys numbers, cell, frac; `default` is its id if `info` names none."""
    structure = check(attempt(partial(atoms_from_row, row["numbers"], row["cell"], row["frac"], info), LABEL))
    return replace(structure, source=source, index=index, id=structure.id or default)

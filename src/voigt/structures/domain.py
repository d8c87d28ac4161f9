"""The charge of a cell, and signs that a crystal is a metal, or none, from its composition alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ase
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

if TYPE_CHECKING:
    from voigt.structures.symmetry import Symmetry

WHOLE = 1e-3
"""By how much a number of electrons may miss a whole one."""

_NONMETALS = frozenset(
    chemical_symbols.index(symbol)
    for symbol in (
        *("H", "He", "B", "C", "N", "O", "F", "Ne", "Si", "P", "S", "Cl", "Ar"),
        *("Ge", "As", "Se", "Br", "Kr", "Sb", "Te", "I", "Xe", "At", "Rn"),
    )
)

_CATIONS = {
    1: ("Li", "Na", "K", "Rb", "Cs", "Cu", "Ag"),
    2: ("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd"),
    3: ("B", "Al", "Ga", "In"),
}
_ANIONS = {1: ("F", "Cl", "Br", "I"), 2: ("O", "S", "Se", "Te"), 3: ("N", "P", "As", "Sb")}
_VALENCES = {
    chemical_symbols.index(symbol): sign * valence
    for sign, table in ((1, _CATIONS), (-1, _ANIONS))
    for valence, symbols in table.items()
    for symbol in symbols
}
_TETRELS = frozenset((chemical_symbols.index("Si"), chemical_symbols.index("Ge")))


def valences_balance(numbers: NDArray[np.int64]) -> bool:
    """Whether a compound is one of closed shells, as GaAs, Mg2Si or Cu2O.

    Only elements with one usual valence count; Si and Ge give four electrons to anions, or take four in binary
    compounds of cations. Such crystals are semiconductors with few exceptions, though PBE finds no gap of some, such as
    InSb and Ag2Te.

    Examples
    --------
    >>> [valences_balance(ase.Atoms(formula).numbers) for formula in ("GaAs", "Mg2Si", "Cu2O", "MgB2", "TiN", "Ge2")]
    [True, True, True, False, False, False]
    """
    kinds = {int(z) for z in numbers}
    if len(kinds) < 2 or not kinds <= _VALENCES.keys() | _TETRELS:
        return False
    total = sum(_VALENCES.get(int(z), 0) for z in numbers)
    tetrels = 4 * sum(int(z) in _TETRELS for z in numbers)
    has_anions = any(_VALENCES.get(z, 0) < 0 for z in kinds)
    return total + tetrels == 0 if has_anions else len(kinds) == 2 and total == tetrels


def metal_reason(atoms: ase.Atoms, symmetry: Symmetry, charge: float = 0.0) -> str | None:
    """Why a crystal is probably a metal, or None.

    Two rules: all elements are metals; or the primitive cell holds an odd number of electrons, so that without spin
    polarization a band is half filled (a magnetic insulator is then outside the models' domain as well).

    Parameters
    ----------
    atoms
        Any cell of the crystal.
    symmetry
        Its operations; pure translations tell how many primitive cells it holds.
    charge
        Of the cell of `atoms`, e.

    Examples
    --------
    >>> from voigt.structures import read_one
    >>> from voigt.structures.symmetry import find_symmetry
    >>> salt, gold = read_one("examples/NaCl.cif"), ase.Atoms("Au4", cell=[4.08] * 3, pbc=True)
    >>> gold.set_scaled_positions([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    >>> [metal_reason(atoms, find_symmetry(atoms)) for atoms in (salt, gold)]
    [None, 'it holds no non-metal']
    """
    numbers = atoms.numbers
    if not any(int(z) in _NONMETALS for z in numbers):
        return "it holds no non-metal"
    electrons = (int(numbers.sum()) - charge) / symmetry.translations
    if abs(electrons - round(electrons)) < WHOLE and round(electrons) % 2:
        return "its primitive cell has an odd number of electrons"
    return None


def stated_charge(atoms: ase.Atoms) -> float:
    """Charge of the cell that a structure states as `info["charge"]`, e; 0 without one, or one that is no number.

    Examples
    --------
    >>> atoms = ase.Atoms("MgO", info={"charge": 1})
    >>> stated_charge(atoms)
    1.0
    """
    stated = atoms.info.get("charge")
    if isinstance(stated, bool) or not isinstance(stated, int | float | np.integer | np.floating):
        return 0.0
    return float(stated) if np.isfinite(stated) else 0.0

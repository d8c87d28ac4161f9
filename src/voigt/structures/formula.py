"""Formulas as people write them."""

from __future__ import annotations

import ase
import numpy as np
from ase.data import chemical_symbols


def reduced_formula(atoms: ase.Atoms) -> str:
    """Reduced formula, elements in the order in which the structure first names them: "BaTiO3".

    Examples
    --------
    >>> reduced_formula(ase.Atoms("Ti2O4"))
    'TiO2'
    """
    numbers, first, counts = np.unique(atoms.numbers, return_index=True, return_counts=True)
    shares = counts // np.gcd.reduce(counts) if len(counts) else counts
    return "".join(
        chemical_symbols[numbers[k]] + (str(shares[k]) if shares[k] > 1 else "") for k in np.argsort(first).tolist()
    )

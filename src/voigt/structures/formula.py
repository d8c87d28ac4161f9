"""Formulas as people write them."""

from __future__ import annotations

import ase
from ase.formula import Formula


def reduced_formula(atoms: ase.Atoms) -> str:
    """Reduced formula, elements in the order in which the structure first names them: "BaTiO3"."""
    return str(Formula.from_dict(atoms.symbols.formula.count()).reduce()[0])

"""How tensors are laid out in files and tables, as their declaration says."""

from __future__ import annotations

import ase
import numpy as np
from ase.formula import Formula
from numpy.typing import NDArray

from voigt.tensors.properties import Property
from voigt.tensors.voigt import elastic_to_voigt, piezo_to_voigt

Array = NDArray[np.float64]

AXES = ("x", "y", "z")
VOIGT = ("xx", "yy", "zz", "yz", "zx", "xy")


def reduced_formula(atoms: ase.Atoms) -> str:
    """Reduced formula, elements in the order in which the structure first names them: "BaTiO3"."""
    return str(Formula.from_dict(atoms.symbols.formula.count()).reduce()[0])


def stored(prop: Property, tensor: Array) -> Array:
    """Cartesian tensors in the layout of files: unchanged, or 3x6 and 6x6 in Voigt order xx yy zz yz zx xy.

    Parameters
    ----------
    prop
        Declaration of the property.
    tensor
        (..., 3, ..., 3).
    """
    array = np.asarray(tensor, dtype=np.float64)
    if prop.storage == "cartesian":
        return array
    return np.asarray(piezo_to_voigt(array) if prop.rank == 3 else elastic_to_voigt(array), dtype=np.float64)


def flat(prop: Property, tensor: Array) -> Array:
    """Row-major components in the layout of files: (n_atoms, k) for a property per atom, else (k,)."""
    array = stored(prop, tensor)
    return array.reshape(len(array), -1) if prop.per == "atom" else array.reshape(-1)


def norm(prop: Property, tensor: Array) -> Array:
    """Frobenius norm of every Cartesian tensor: (n_atoms,) or ()."""
    array = np.asarray(tensor, dtype=np.float64)
    axes = tuple(range(array.ndim - prop.rank, array.ndim))
    return np.asarray(np.sqrt(np.square(array).sum(axis=axes)), dtype=np.float64)


def layout_text(prop: Property) -> str:
    """One phrase on rows and columns."""
    if prop.storage == "voigt":
        rows = "xyz" if prop.rank == 3 else "Voigt"
        return f"{3 if prop.rank == 3 else 6}x6, rows {rows}, columns Voigt order {' '.join(VOIGT)}"
    return "Cartesian, rows first index" if prop.rank else "scalar"


def headings(prop: Property) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of rows and columns of one stored tensor of rank 2 or more."""
    if prop.rank == 2:
        return AXES, AXES
    return (AXES, VOIGT) if prop.rank == 3 else (VOIGT, VOIGT)

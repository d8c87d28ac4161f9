"""How tensors are laid out in files and tables, as their declaration says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voigt.tensors.properties import Property

Array = NDArray[np.float64]

AXES = ("x", "y", "z")
VOIGT = ("xx", "yy", "zz", "yz", "zx", "xy")


def stored(prop: Property, tensor: Array) -> Array:
    """Cartesian tensors (..., 3, ..., 3) in the layout of files, see `Property.to_storage`, in double precision."""
    return prop.to_storage(np.asarray(tensor, dtype=np.float64))


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
    if prop.stored_shape == prop.shape:
        return "Cartesian, rows first index" if prop.rank else "scalar"
    rows, columns = prop.stored_shape
    return f"{rows}x{columns}, rows {'xyz' if rows == 3 else 'Voigt'}, columns Voigt order {' '.join(VOIGT)}"


def headings(prop: Property) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of rows and columns of one stored tensor of rank 2 or more."""
    rows, columns = (AXES if length == len(AXES) else VOIGT for length in prop.stored_shape)
    return rows, columns

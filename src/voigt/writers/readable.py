"""What a structure brings along, so that extended XYZ can hold it: a file that `ase.io.read` reads to its end.

ASE writes keys and values of `info` and the names of arrays as they are. A quote, a line break, a backslash or a key
such as `Lattice` in them would break the frame, or the frames after it, or change the crystal.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import all_properties
from ase.io.extxyz import (
    SPECIAL_3_3_KEYS,
    key_val_dict_to_str,
    key_val_str_to_dict,
    per_atom_properties,
    per_config_properties,
)
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from voigt.safe_json import shallow
from voigt.text import one_line

_OWN_KEYS = frozenset(("lattice", "properties", "pbc"))
"""Words of the format itself in a comment line."""
_OWN_COLUMNS = frozenset(("species", "pos", "z", "symbols", "move_mask", "positions", "numbers"))
"""Columns that would replace elements, places or constraints when the file is read."""


def readable(atoms: ase.Atoms) -> ase.Atoms:
    """A copy whose `info` and arrays come back from extended XYZ; what no text can hold is left out.

    Keys and names keep letters, digits and . + - _, and end in `_input` where the format has them for itself. Control
    characters of texts become "?", a stress of six components a matrix.
    """
    copy = ase.Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc)
    copy.set_constraint(atoms.constraints)
    columns = {"numbers", "positions"}
    for key, array in atoms.arrays.items():
        values = _column(np.asarray(array))
        if key in ("numbers", "positions") or values is None:
            continue
        name = _free(str(key), columns, _OWN_COLUMNS)
        # A column of several numbers is read as name0, name1, ...
        width = 1 if values.ndim == 1 else values.shape[1]
        while not _is_result(name, values) or columns & _columns(name, width):
            name = _free(f"{name}_input", columns, _OWN_COLUMNS)
        columns |= _columns(name, width)
        copy.arrays[name] = values
    keys: set[str] = set()
    for key, value in atoms.info.items():
        name = _free(str(key), keys, _OWN_KEYS)
        plain = _value(name, value)
        if plain is not None and _comes_back(name, plain):
            keys.add(name.casefold())
            copy.info[name] = plain
    return copy


def _free(name: str, taken: Iterable[str], own: frozenset[str]) -> str:
    """A name that a reader takes for one word, and for none of the format or of another."""
    name = re.sub(r"[^\w.+-]+", "_", one_line(name))[:100] or "_"
    while name.casefold() in taken or name.casefold() in own:
        name = f"{name}_input"
    return name


def _columns(name: str, width: int) -> set[str]:
    return {name.casefold(), *(f"{name.casefold()}{k}" for k in range(width))}


def _column(array: NDArray[Any]) -> NDArray[Any] | None:
    """An array per atom as columns of numbers, truth values or single words; None if it has no such form."""
    if array.ndim > 2:
        array = array.reshape(len(array), -1)
    if 0 in array.shape:
        return None
    if array.dtype.kind == "O":
        if not all(isinstance(entry, str) for entry in array.ravel()):
            return None
        array = array.astype(str)
    if array.dtype.kind == "u":
        return array.astype(np.int64) if int(array.max()) < 2**63 else None
    if array.dtype.kind == "U":
        words = [re.sub(r"\s+", "_", one_line(word).strip()) or "_" for word in array.ravel().tolist()]
        return np.array(words).reshape(array.shape)
    return array if array.dtype.kind in "fib" else None


def _is_result(name: str, values: NDArray[Any]) -> bool:
    """Whether ASE takes an array for what its name says: results of calculators and charges have their own form."""
    if name == "initial_charges":
        return values.dtype.kind in "fi" and values.ndim == 1
    return name not in all_properties or (name in per_atom_properties and values.dtype.kind in "fi")


def _value(key: str, value: Any) -> Any:
    """A number, an array of numbers, or text in which backslashes protect what would end it; None: left out."""
    if value is None:
        return None
    if key in SPECIAL_3_3_KEYS or key in per_config_properties:
        return _result(key, value)
    if isinstance(value, np.ndarray) and value.dtype.kind not in "fib":
        value = value.tolist()
    if isinstance(value, np.ndarray) and value.ndim < 2:
        return value
    if isinstance(value, (bool, np.bool_, int, float, np.integer, np.floating)):
        return value
    if not isinstance(value, str):
        try:
            with shallow():
                value = "_JSON " + json.dumps(value.tolist() if isinstance(value, np.ndarray) else value)
        except (TypeError, ValueError, RecursionError):
            return None
    elif value.startswith("_JSON "):  # it would be read as something else
        value = f"_{value}"
    return re.sub(r"([\\]|[^\S ])", r"\\\1", one_line(value))


def _result(key: str, value: Any) -> Any:
    """A result of a calculator, which ASE wants in its own shape; None if it has none."""
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if key == "stress" and numbers.size == 6:
        numbers = voigt_6_to_full_3x3_stress(numbers.ravel())
    if key in SPECIAL_3_3_KEYS:
        return numbers.reshape(3, 3) if numbers.size == 9 else None
    return float(numbers.reshape(())) if numbers.size == 1 else numbers.ravel()


def _comes_back(key: str, value: Any) -> bool:
    """Whether ASE reads a pair from its own text, and what follows it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            with shallow():
                text = key_val_dict_to_str({key: value})
                read: Mapping[str, Any] = key_val_str_to_dict(f"{text} following=1")
        except (ValueError, TypeError, RecursionError, OverflowError, Warning):
            return False
    return one_line(text) == text and list(read) == [key, "following"] and read["following"] == 1

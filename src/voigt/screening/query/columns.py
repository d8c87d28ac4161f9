"""Columns of a store as arrays: numbers, Cartesian tensors, lists of different lengths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.tensors.properties import PROPERTIES

if TYPE_CHECKING:
    import pyarrow

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Ragged:
    """Lists of different lengths."""

    values: NDArray[Any]  # all entries, one list after another; an entry may be a tensor
    lengths: Array  # (n,) entries of each list, NaN for a missing one

    def reduced(self, function: np.ufunc, values: Array) -> Array:
        """Reduce `values`, one for each entry, list by list; (n,), NaN for missing and empty lists."""
        sizes = np.nan_to_num(self.lengths).astype(np.int64)
        result = np.full(len(sizes), np.nan)
        filled = sizes > 0
        if filled.any():
            result[filled] = function.reduceat(values, (np.cumsum(sizes) - sizes)[filled])
        return result


def read_column(table: pyarrow.Table, name: str) -> Any:
    """One column of a store: numbers (n,), tensors of a property (n, 3, ..., 3), a list of texts, or `Ragged`.

    Nulls become NaN (None for texts); a tensor whose components are partly null is NaN there.

    Raises InputError: a list does not have the length that the property declares, or the type of the column is another.
    """
    import pyarrow as pa

    column = table[name]
    kind = column.type
    types = pa.types
    prop = PROPERTIES.get(name)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        ragged = _lists(column)
        return ragged if prop is None or prop.per == "atom" else _tensors(ragged, name)
    if types.is_string(kind) or types.is_large_string(kind):
        return column.to_pylist()
    if (prop is not None and prop.rank) or not _is_number(kind):
        raise InputError(f"column '{name}' of a screening has the type {kind}; the file was written by something else")
    return _numbers(column)


def read_members(table: pyarrow.Table, name: str) -> Ragged:
    """What the members of an ensemble predict of a property: for each crystal a list of Cartesian tensors.

    Raises InputError: a list does not hold a whole number of tensors.
    """
    lists = _lists(table[f"{name}_members"])
    size = math.prod(PROPERTIES[name].stored_shape)
    if (lists.lengths % size > 0).any():  # False for NaN
        raise InputError(f"column '{name}_members' of a screening holds a list of no multiple of {size} numbers")
    every = np.full(len(lists.values) // size, float(size))
    return Ragged(_tensors(Ragged(lists.values, every), name), lists.lengths / size)


def _lists(column: Any) -> Ragged:
    import pyarrow.compute as compute

    values = compute.list_flatten(column)
    lengths = _numbers(compute.list_value_length(column))
    return Ragged(_numbers(values) if _is_number(values.type) else np.empty(len(values), dtype="V0"), lengths)


def _tensors(lists: Ragged, name: str) -> Array:
    """Cartesian tensors from lists in the layout of files."""
    prop = PROPERTIES[name]
    size = math.prod(prop.stored_shape)
    present = ~np.isnan(lists.lengths)
    if (lists.lengths[present] != size).any():
        wrong = int(lists.lengths[present & (lists.lengths != size)][0])
        raise InputError(f"column '{name}' of a screening holds a list of {wrong} numbers instead of {size}")
    tensors = prop.from_storage(lists.values.reshape(-1, *prop.stored_shape))
    if present.all():
        return tensors
    result = np.full((len(present), *prop.shape), np.nan)
    result[present] = tensors
    return result


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _numbers(column: Any) -> Array:
    """float64, null as NaN."""
    import pyarrow as pa

    values: Array = column.cast(pa.float64()).to_numpy()
    return values

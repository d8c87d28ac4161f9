"""Arrays of this room: their type, Cartesian directions, and the acoustic sum rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voigt.errors import InputError

Array: TypeAlias = NDArray[np.float64]
ItemT = TypeVar("ItemT")


def unit_vectors(directions: ArrayLike) -> Array:
    """Directions (..., 3) scaled to length 1; raises InputError for another shape, length zero or no number.

    Examples
    --------
    >>> unit_vectors([[3, 0, 4], [0, 2, 0]])
    array([[0.6, 0. , 0.8],
           [0. , 1. , 0. ]])
    """
    vectors = np.asarray(directions, dtype=np.float64)
    if vectors.shape[-1:] != (3,):
        raise InputError(f"directions must be (..., 3) Cartesian vectors, not of shape {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise InputError("a direction has length zero or is not finite; give Cartesian vectors such as [1, 1, 0]")
    return np.asarray(vectors / lengths)


def unit_vector(direction: ArrayLike) -> Array:
    """One direction (3,) scaled to length 1; InputError as `unit_vectors`."""
    n = unit_vectors(direction)
    if n.shape != (3,):
        raise InputError(f"a direction must be one Cartesian vector (3,), not of shape {n.shape}")
    return n


def contracted(form: str, tensor: Array, directions: ArrayLike) -> Array:
    """An einsum of a tensor with directions "di,dj,...->...d"; leading axes of the directions (..., 3) come last."""
    n = unit_vectors(directions)
    repeated = [n.reshape(-1, 3)] * (form.count("d") - 1)  # the last d is the axis of the result
    values = np.asarray(np.einsum(form, tensor, *repeated, optimize=True))
    return values.reshape((*values.shape[:-1], *n.shape[:-1]))[()]


def positive_largest(vectors: Array) -> Array:
    """Vectors (..., n) whose largest component is positive: the sign of an eigenvector is a matter of chance."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=-1)[..., None], axis=-1)
    return np.asarray(vectors * np.where(largest < 0, -1.0, 1.0))


def grouped(items: Iterable[ItemT], same: Callable[[ItemT, ItemT], bool]) -> list[list[ItemT]]:
    """Items in groups, each with those that are the same as its first one."""
    groups: list[list[ItemT]] = []
    for item in items:
        group = next((group for group in groups if same(group[0], item)), None)
        if group is None:
            groups.append([item])
        else:
            group.append(item)
    return groups


def direction_name(direction: ArrayLike) -> str:
    """A Cartesian direction in short.

    Examples
    --------
    >>> direction_name([2, 2, 0]), direction_name([1, -0.5, 0])
    ('[110]', '[1 -0.5 0]')
    """
    vector = np.asarray(direction, dtype=np.float64)
    words = [f"{value:.3g}" for value in np.round(vector / np.abs(vector).max(), 3) + 0.0]
    return f"[{('' if set(words) <= {'0', '1'} else ' ').join(words)}]"


def neutralized(born_charges: ArrayLike, total_charge: float = 0.0) -> Array:
    """Born charges (..., n_atoms, 3, 3) less equal shares of what their sum exceeds `total_charge` (e) times identity.

    Gonze and Lee, Phys. Rev. B 55, 10355 (1997), Eq. 49.

    Examples
    --------
    >>> neutralized([2.0 * np.eye(3), -1.8 * np.eye(3)])[:, 0, 0].round(6)
    array([ 1.9, -1.9])
    """
    import torch

    from voigt.tensors.sum_rule import acoustic_sum_rule

    charges = torch.tensor(np.asarray(born_charges), dtype=torch.float64)
    count = charges.shape[-3]
    cells = charges.numel() // (9 * count)
    cell_of_atom = torch.arange(cells).repeat_interleave(count)
    totals = torch.full((cells,), total_charge, dtype=torch.float64)
    z = acoustic_sum_rule(charges.reshape(-1, 3, 3), cell_of_atom, cells, totals)
    return np.asarray(z.reshape(charges.shape).numpy())

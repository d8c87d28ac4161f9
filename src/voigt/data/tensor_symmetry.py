"""How far a label is from what the symmetry of its crystal allows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from voigt.structures.symmetry import Symmetry
from voigt.tensors.layout import norm
from voigt.tensors.projection import independent_components, project_atoms, project_crystal, rotate
from voigt.tensors.properties import Property

Array = NDArray[np.float64]

NOISE: Mapping[str, float] = MappingProxyType({"e": 0.1, "1": 0.1, "C/m^2": 0.03, "GPa": 4.0})
"""Frobenius norm, by unit, below which a deviation is the noise of calculations and of rounding."""


def projected(prop: Property, tensor: Array, symmetry: Symmetry) -> Array:
    """The part of a Cartesian label that symmetry allows, shaped as it."""
    given = torch.as_tensor(tensor)
    rotations = torch.as_tensor(symmetry.rotations)
    if prop.per == "crystal":
        return np.asarray(project_crystal(given, rotations, prop.rank).numpy())
    permutations, sites = torch.as_tensor(symmetry.permutations), torch.as_tensor(symmetry.sites)
    return np.asarray(project_atoms(given, rotations, permutations, sites).numpy())


def allowed_components(prop: Property, symmetry: Symmetry) -> int | None:
    """Number of components that symmetry leaves to a tensor of the crystal; None where the operations are no group.

    Operations that hold only near the tolerance need not be one.
    """
    try:
        return independent_components(torch.as_tensor(symmetry.rotations), prop.formula)
    except ValueError:
        return None


def turned(prop: Property, tensor: Array, rotations: Array) -> Array:
    """(n, *tensor.shape): a label in the axes that each of (n, 3, 3) rotations gives it."""
    matrices = torch.as_tensor(np.ascontiguousarray(rotations))
    if prop.per == "atom":
        matrices = matrices[:, None]
    given = torch.as_tensor(tensor)[None].expand(len(rotations), *tensor.shape)
    return np.asarray(rotate(given, matrices, prop.rank).numpy())


def deviations(prop: Property, tensors: Array, symmetry: Symmetry) -> Array:
    """(n,) relative deviation ||T - P T|| / ||T|| of labels (n, ...); 0 where the deviation is noise.

    Of a property per atom the norm is that of all atoms, and noise is taken for the mean over them.
    """
    if prop.per == "crystal":
        allowed = projected(prop, tensors, symmetry)
    else:
        allowed = np.stack([projected(prop, tensor, symmetry) for tensor in tensors])
    missed, size = (np.sqrt(np.square(norm(prop, entry)).reshape(len(tensors), -1).mean(axis=1))
                    for entry in (tensors - allowed, tensors))  # fmt: skip
    return np.where(missed > NOISE[prop.unit], missed / np.maximum(size, 1e-12), 0.0)

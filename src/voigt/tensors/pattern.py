"""What a crystal's symmetry says about the entries of a tensor: which vanish, and which determine all the others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from voigt.tensors.irreps import cartesian_basis
from voigt.tensors.projection import project_crystal
from voigt.tensors.properties import Property

Rotations = NDArray[np.float64]

# Two operations of a crystal are at least 60 degrees apart, 1.41 in the Frobenius norm, and a rotation is at least 2
# away from an improper one.
_APART = 0.5


@dataclass(frozen=True, eq=False)
class Pattern:
    """Entries of a tensor in the layout of files: 3x3, 3x6 or 6x6.

    Attributes
    ----------
    zero
        True where symmetry forbids a value.
    independent
        True for the components that determine all others: the first in reading order.
    order
        Number of different rotations.
    """

    zero: NDArray[np.bool_]
    independent: NDArray[np.bool_]
    order: int

    @property
    def count(self) -> int:
        """Number of independent components."""
        return int(self.independent.sum())


def find_pattern(rotations: Rotations, prop: Property, tolerance: float = 1e-6) -> Pattern:
    """Zeros and independent components that a point group leaves to a property, in the axes of the rotations.

    Parameters
    ----------
    rotations
        (G, 3, 3) Cartesian rotations of the whole group, each as often as one likes. Those of a relaxed cell, which
        obey the group only to the accuracy of its lattice vectors, are first brought to the nearest exact group.
    prop
        Declaration of the property; of a property per atom, the rotations are those of the site.
    tolerance
        Entries below this fraction of a tensor's norm are zero, and an entry that the earlier ones leave less freedom
        than this is determined by them. The axes of a cell with rounded lattice vectors are slightly turned, which
        asks for more than the default.

    Returns
    -------
    Pattern
        Of shape (3, 3), (3, 6) or (6, 6); () for a scalar.

    Raises
    ------
    ValueError
        The rotations do not form a group.

    Examples
    --------
    >>> from voigt.tensors.properties import PROPERTIES
    >>> mirror = np.diag([1.0, 1.0, -1.0])
    >>> found = find_pattern(np.stack([np.eye(3), mirror]), PROPERTIES["eps_inf"])
    >>> found.count, found.zero[0].tolist()
    (4, [False, False, True])
    """
    group = exact_group(rotations)
    # Row e of `rows` holds entry e of every tensor that spans the allowed space: how it depends on free parameters.
    allowed = _allowed(group, prop)
    shape = allowed.shape[1:]
    rows = allowed.reshape(len(allowed), math.prod(shape)).T
    zero = np.linalg.norm(rows, axis=1) < tolerance
    independent = np.zeros(len(rows), dtype=bool)
    # Gram-Schmidt in reading order: an entry is independent if the earlier ones leave it any freedom.
    for index in range(len(rows)):
        freedom = float(np.linalg.norm(rows[index]))
        if freedom > tolerance:
            independent[index] = True
            direction = rows[index] / freedom
            rows = rows - np.outer(rows @ direction, direction)
    return Pattern(zero.reshape(shape), independent.reshape(shape), len(group))


def exact_group(rotations: Rotations) -> Rotations:
    """Distinct rotations (n, 3, 3) of the group that the given ones obey nearly, to machine precision.

    R_g becomes the orthogonal matrix nearest to the mean of R_gh R_h^T over the group; three times, as each repetition
    squares the error (K. Grove, H. Karcher, E. A. Ruh, Math. Ann. 211, 7 (1974)).

    Raises ValueError: a product of two rotations is none of them.

    Examples
    --------
    >>> nearly = np.array([[0.0, -1.0001, 0.0], [0.9999, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> quarter_turns = np.stack([np.linalg.matrix_power(nearly, k) for k in range(4)])
    >>> bool(np.allclose(exact_group(quarter_turns)[1].round(9), [[0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    True
    """
    group = _distinct(np.asarray(rotations, dtype=np.float64))
    products = group[:, None] @ group[None, :]
    distances = np.linalg.norm(products[:, :, None] - group, axis=(-2, -1))
    if distances.min(axis=2).max() > _APART:
        raise ValueError(f"{len(group)} rotations are not a group: a product of two is none of them")
    table = distances.argmin(axis=2)  # table[g, h] is the number of the product g h
    for _ in range(3):
        means = np.einsum("ghij,hkj->gik", group[table], group) / len(group)
        # U V^T of the singular value decomposition is the orthogonal matrix nearest to the mean.
        left, _, right = np.linalg.svd(means)
        group = left @ right
    return np.asarray(group, dtype=np.float64)


def _distinct(rotations: Rotations) -> Rotations:
    chosen = []
    while len(rotations):
        chosen.append(rotations[0])
        rotations = rotations[np.linalg.norm(rotations - rotations[0], axis=(1, 2)) > _APART]
    return np.array(chosen)


def _allowed(group: Rotations, prop: Property) -> Rotations:
    """Orthonormal tensors that span what the group allows, each in the layout of files: (n, 3, 3), (n, 3, 6), ..."""
    basis = cartesian_basis(prop.formula).matrix
    tensors = torch.tensor(basis).reshape(-1, *prop.shape)
    projector = project_crystal(tensors, torch.as_tensor(group), prop.rank).numpy().reshape(basis.shape) @ basis.T
    # Eigenvalues of the projector, written in the orthonormal basis of the index symmetry, are 0 or 1.
    values, vectors = np.linalg.eigh((projector + projector.T) / 2)
    return prop.to_storage((vectors[:, values > 0.5].T @ basis).reshape(-1, *prop.shape))

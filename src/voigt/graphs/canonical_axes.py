"""Canonical axes of a crystal: standard lattice, polar decomposition, and averages over equivalent descriptions.

A lattice L (vectors as columns) is Q H with Q orthogonal and H symmetric positive definite. Turning the crystal by R
turns Q into R Q and leaves H alone, so the crystal seen from Q (vectors Q.T r) is the same for all its rotated and
mirrored copies, and any function f of it gives an O(3)-equivariant tensor Q.f (GoeCTP, Hua et al., AAAI 2026).

Q depends on the lattice vectors by which the lattice is described. A standard (primitive, Niggli-reduced) lattice
leaves only its own symmetry free: integer W with W.T G W = G for the Gram matrix G = L.T L, at most 48, that take Q
to R_W Q with R_W = L W L^-1 and leave H alone. The mean over all of them no longer depends on the description and has
the symmetry of the crystal, which is a subgroup.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.symmetry.lattices import (
    BORDER,
    NEARLY,
    LatticeGroup,
    find_operations,
    is_group,
    lattice_group,
    volume_of,
)

if TYPE_CHECKING:
    from torch import Tensor

Matrix = TypeVar("Matrix", NDArray[np.float64], "Tensor")
Mode = Literal["single", "average"]

SMALL_GAP = 0.02
"""Gap below which a cell is reported as too stretched."""

TORCH_STEPS = 12
"""Newton steps of `polar_torch`: enough for ratios of singular values up to 1e8."""


@dataclass(frozen=True)
class AxesOptions:
    """Which canonical axes a graph carries.

    Attributes
    ----------
    mode
        "none": the axes of the input cell; "single": one frame; "average": those of all equivalent lattice vectors.
    cell
        Lattice vectors that define the axes: as given, Niggli-reduced, or of the primitive cell, Niggli-reduced.
    reduce
        Whether the network may work on the asymmetric unit.
    cosets
        In mode "average": leave out frames that a symmetry operation of the crystal makes from another one; the
        operations then finish the mean (tensors of whole crystals only).
    symprec
        Tolerance of the search for the primitive cell, Angstrom.
    """

    mode: Literal["none", "single", "average"]
    cell: Literal["none", "niggli", "primitive"]
    reduce: bool = False
    cosets: bool = True
    symprec: float = 1e-3


@dataclass(frozen=True)
class CanonicalAxes:
    """Axes from which a crystal is looked at (the papers' frames), and the group over which results are averaged.

    A tensor of rank n is the mean over k and g of (operations[g] @ rotations[k]) applied to f(rotations[k].T X).

    Attributes
    ----------
    rotations
        (n_frames, 3, 3) orthogonal Q, columns are the canonical axes; the first belongs to the lattice as given.
    stretch
        (3, 3) symmetric positive definite H in Angstrom, the lattice in canonical axes, common to all frames.
    operations
        (n_operations, 3, 3) point group of the crystal, Cartesian.
    distinct
        Order of the point group of the lattice; n_frames * n_operations when averaged.
    gap
        Mean of the two smaller singular values of the lattice over the largest: Q turns by at most
        |dL| / (gap * largest) radian when the lattice vectors change by dL.
    warnings
        Sentences about frames that react to small changes of the lattice.
    """

    rotations: NDArray[np.float64]
    stretch: NDArray[np.float64]
    operations: NDArray[np.float64]
    distinct: int
    gap: float
    warnings: tuple[str, ...]


def polar(cell: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Polar decomposition L = Q H of lattices L = cell.T.

    Scaled Newton iteration (Higham, SIAM J. Sci. Stat. Comput. 7, 1160 (1986)): unlike eigenvectors or axes of
    inertia it knows no order and no sign, and equal singular values are no special case.

    Parameters
    ----------
    cell
        (..., 3, 3), rows are lattice vectors.

    Returns
    -------
    rotation, stretch
        (..., 3, 3) orthogonal with the sign of det L, and symmetric positive definite in the unit of the cell.

    Raises
    ------
    InputError
        A cell is singular or not finite.
    """
    cell = np.asarray(cell, dtype=np.float64)
    if not np.all(volume_of(cell) > 0):
        raise InputError("a cell without volume has no polar decomposition; give three independent lattice vectors")
    lattice = cell.swapaxes(-1, -2)
    rotation = lattice
    for _ in range(100):
        previous, rotation = rotation, _newton(rotation, np.linalg.inv)
        if np.abs(rotation - previous).max(initial=0.0) < 1e-8:  # the error is at most the square of this
            return rotation, _stretch(rotation, lattice)
    raise InputError("the polar decomposition of a cell did not converge; check its lattice vectors")


def polar_torch(cell: Tensor) -> tuple[Tensor, Tensor]:
    """`polar` for torch tensors, differentiable for every invertible cell.

    The derivative of a decomposition by singular values is NaN where two of them are equal, as in every cubic cell;
    that of the iteration is not. It makes a fixed number of steps and checks nothing.
    """
    import torch

    lattice = cell.swapaxes(-1, -2)
    rotation = lattice
    for _ in range(TORCH_STEPS):
        rotation = _newton(rotation, torch.linalg.inv)
    return rotation, _stretch(rotation, lattice)


def _newton(matrix: Matrix, inverse: Callable[[Any], Any]) -> Matrix:
    """One step of the scaled Newton iteration; the scale is Higham's, in the Frobenius norm."""
    other = inverse(matrix).swapaxes(-1, -2)
    scale = (((other * other).sum((-2, -1)) / (matrix * matrix).sum((-2, -1))) ** 0.25)[..., None, None]
    result: Matrix = 0.5 * (scale * matrix + other / scale)
    return result


def _stretch(rotation: Matrix, lattice: Matrix) -> Matrix:
    product = rotation.swapaxes(-1, -2) @ lattice
    result: Matrix = 0.5 * (product + product.swapaxes(-1, -2))
    return result


def cartesian_operations(lattice: NDArray[np.float64], operations: NDArray[np.int64]) -> NDArray[np.float64]:
    """Orthogonal matrices R_W nearest to L W L^-1.

    Parameters
    ----------
    lattice
        (3, 3), rows are lattice vectors.
    operations
        (n_operations, 3, 3) integer W.
    """
    columns = np.asarray(lattice, dtype=np.float64).T
    return polar((columns @ operations @ np.linalg.inv(columns)).swapaxes(-1, -2))[0]


def canonical_axes(
    lattice: NDArray[np.float64],
    mode: Mode,
    rotations: NDArray[np.float64] | None = None,
    tolerance: float = 1e-3,
) -> CanonicalAxes:
    """Canonical axes of a lattice.

    Parameters
    ----------
    lattice
        (3, 3), rows are the vectors of a standard lattice, see `standard_lattice`.
    mode
        "single": the one frame of the polar decomposition; exact under O(3), but another description of the crystal
        gives another frame. "average": as many frames as it takes to average over the group P of the lattice. A
        symmetry g of the crystal (group C) takes frame R_W Q to R_g R_W Q, from which the crystal looks the same,
        so that one frame of each coset C W and the mean over C stand for all: |P| / |C| frames. Where the lattice
        meets P only within the tolerance, `stretch` is that of the lattice strained to meet it, so that R_W form
        an exact group and the result does not depend on which of the nearly equal descriptions was given.
    rotations
        (n, 3, 3) Cartesian operations of the crystal's point group, duplicates allowed; None for the identity alone.
        When averaged, those that are no symmetry of this lattice (the lattice of a supercell has fewer) are left out
        with a warning: each that is left out costs frames, and nothing else, because the mean runs over all of P
        either way.
    tolerance
        As in `lattice_operations`.

    Raises
    ------
    InputError
        The lattice is singular or cannot be reduced.

    Examples
    --------
    >>> axes = canonical_axes(np.diag([4.0, 4.0, 5.0]), "average")
    >>> axes.rotations.shape, axes.distinct  # a tetragonal lattice has 16 operations
    ((16, 3, 3), 16)
    """
    lattice = np.asarray(lattice, dtype=np.float64)
    group = lattice_group(lattice, tolerance)
    order = len(group.operations)
    given = np.eye(3)[None] if rotations is None else np.asarray(rotations, dtype=np.float64)
    warnings: list[str] = []
    if mode == "single":
        rotation, stretch = polar(lattice)
        frames, operations = rotation[None], _distinct(given)
    else:
        rotation, stretch = _symmetric_polar(lattice, group)
        reduced = group.basis.T @ stretch @ rotation.T
        turns = cartesian_operations(reduced, group.operations)
        subgroup, lost = _subgroup(reduced, group.operations, given)
        if lost:
            warnings.append(
                f"{lost} symmetry operations of the crystal do not map its lattice, which has {order}, onto itself "
                "and are not imposed; describe the crystal by its primitive cell."
            )
        products = group.operations[subgroup][:, None] @ group.operations
        cosets = np.unique(find_operations(group.operations, products).min(axis=0))
        frames, operations = turns[cosets] @ rotation, turns[subgroup]
    values = np.linalg.eigvalsh(stretch)
    gap = float((values[0] + values[1]) / (2 * values[2]))
    if gap < SMALL_GAP:
        degrees = float(np.degrees(0.01 / gap))
        warnings.append(
            f"the lattice is needle-like (singular values {values[0]:.3g}, {values[1]:.3g} and {values[2]:.3g} "
            f"Angstrom): a strain of 1 % can turn its frame by {degrees:.0f} degrees; shorten the long axis, which "
            "is vacuum or a supercell."
        )
        # Strains say little where the axes differ so much.
    elif group.nearly > order:
        warnings.append(
            f"the lattice has {order} symmetry operations and is within a strain of "
            f"{NEARLY * tolerance:.1g} of having more: a small change of the cell can make the frames jump."
        )
    elif group.border:
        warnings.append(
            f"a strain of less than {BORDER * tolerance:.1g} gives the lattice another reduced cell, and with it other "
            "frames: structures along a path through here must share one choice of cell (kind 'none')."
        )
    return CanonicalAxes(frames, stretch, operations, order, gap, tuple(warnings))


def _symmetric_polar(
    lattice: NDArray[np.float64], group: LatticeGroup
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Polar decomposition Q H of the lattice that has its symmetry exactly, L = F Q H with a symmetric strain F."""
    reduced = lattice.T @ group.basis
    gram = (group.operations.swapaxes(-1, -2) @ (reduced.T @ reduced) @ group.operations).mean(axis=0)
    back = np.linalg.inv(group.basis)
    values, vectors = np.linalg.eigh(back.T @ gram @ back)
    stretch = (vectors * np.sqrt(values)) @ vectors.T
    rotation, _ = polar(np.linalg.inv(stretch) @ lattice)
    return rotation, stretch


def _distinct(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each rotation once: centered cells repeat them."""
    kept = []
    while len(rotations):
        kept.append(rotations[0])
        rotations = rotations[np.abs(rotations - rotations[0]).max(axis=(1, 2)) > 1e-2]
    return np.array(kept).reshape(-1, 3, 3)


def _subgroup(
    lattice: NDArray[np.float64], group: NDArray[np.int64], rotations: NDArray[np.float64]
) -> tuple[NDArray[np.int64], int]:
    """Places in the group of Cartesian rotations, and how many of the rotations are not there."""
    exact = np.linalg.inv(lattice.T) @ rotations @ lattice.T
    rounded = np.rint(exact)
    places = find_operations(group, rounded.astype(np.int64))
    missing = (places < 0) | (np.abs(exact - rounded).max(axis=(1, 2)) > 0.1)
    subgroup = np.unique(places[~missing])
    lost = len(_distinct(rotations[missing]))
    if len(subgroup) == 0 or not is_group(group[subgroup]):
        return np.zeros(1, dtype=np.int64), lost + len(subgroup) - 1  # the identity alone
    return subgroup, lost

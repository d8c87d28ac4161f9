"""Acoustic sum rule of Born effective charges: the atoms of a crystal add up to its total charge.

Gonze and Lee, Phys. Rev. B 55, 10355 (1997), Eq. 49: the violation is redistributed over the atoms. The correction is
linear, equivariant, idempotent and differentiable, and keeps every symmetry if the weights are invariant.
"""

from __future__ import annotations

import torch


def charge_drift(z: torch.Tensor, atom_crystal: torch.Tensor, num_crystals: int) -> torch.Tensor:
    """Sum of the Born charges (N, 3, 3) of each crystal: (B, 3, 3), unit e.

    Parameters
    ----------
    z
        (N, 3, 3) Born charges of the atoms of all crystals.
    atom_crystal
        (N,) int64 index of each atom's crystal.
    num_crystals
        B.

    Examples
    --------
    >>> z = torch.stack([2.1 * torch.eye(3), -2.0 * torch.eye(3)])
    >>> charge_drift(z, torch.tensor([0, 0]), 1)[0].diag()
    tensor([0.1000, 0.1000, 0.1000])
    """
    return _sum_per_crystal(z, atom_crystal, num_crystals)


def acoustic_sum_rule(
    z: torch.Tensor,
    atom_crystal: torch.Tensor,
    num_crystals: int,
    total_charge: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Corrected Born charges Z_i - w_i (sum_j Z_j - Q 1), for each crystal by itself.

    Parameters
    ----------
    z
        (N, 3, 3) Born charges of the atoms of all crystals, unit e; with axes between, (N, ..., 3, 3), several sets.
    atom_crystal
        (N,) int64 index of each atom's crystal.
    num_crystals
        B.
    total_charge
        (B,) net charge Q of each cell, unit e; None is neutral.
    weights
        (N,) non-negative, normalized here within each crystal; None is equal weights (Eq. 49). A crystal whose weights
        are all zero gets equal ones.

    Returns
    -------
    Tensor
        Shaped as `z`, whose sum over each crystal is Q times the identity.

    Examples
    --------
    >>> z = torch.stack([2.1 * torch.eye(3), -2.0 * torch.eye(3)])
    >>> acoustic_sum_rule(z, torch.tensor([0, 0]), 1)[:, 0, 0]
    tensor([ 2.0500, -2.0500])
    """
    # A rigid shift of a neutral crystal makes no polarization; one of charge Q moves Q along: sum_j Z_j = Q 1.
    excess = charge_drift(z, atom_crystal, num_crystals)
    if total_charge is not None:
        identity = torch.eye(3, dtype=z.dtype, device=z.device)
        excess = excess - total_charge.to(z).view(-1, *[1] * (z.ndim - 1)) * identity
    shares = _normalized(z.new_ones(z.shape[0]) if weights is None else weights.to(z), atom_crystal, num_crystals)
    return z - shares.view(-1, *[1] * (z.ndim - 1)) * excess[atom_crystal]


def _normalized(weights: torch.Tensor, atom_crystal: torch.Tensor, num_crystals: int) -> torch.Tensor:
    """Weights (N,) that sum to one in each crystal, equal where all of a crystal's weights are zero."""
    empty = (_sum_per_crystal(weights, atom_crystal, num_crystals) == 0)[atom_crystal]
    # Replacing the weights, not the quotients, keeps 0/0 out of the gradient.
    filled = torch.where(empty, torch.ones_like(weights), weights)
    return filled / _sum_per_crystal(filled, atom_crystal, num_crystals)[atom_crystal]


def _sum_per_crystal(values: torch.Tensor, atom_crystal: torch.Tensor, num_crystals: int) -> torch.Tensor:
    """(N, ...) -> (B, ...)."""
    return values.new_zeros(num_crystals, *values.shape[1:]).index_add(0, atom_crystal, values)

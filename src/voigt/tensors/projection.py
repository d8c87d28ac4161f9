"""Projection of tensors onto what a crystal's symmetry allows: averages over the group, in Cartesian axes.

Rotations are the Cartesian point parts R = L W L^-1 of the space-group operations (L columns = lattice vectors),
proper or improper. All tensors are polar, so T'[i..] = R[i,a] ... T[a..] holds for both. Floating torch tensors of one
dtype and device; everything is differentiable.
"""

from __future__ import annotations

import torch

from voigt.tensors.irreps import cartesian_basis, formula_rank

_ATOM_TENSORS_AT_ONCE = 2**20  # bounds memory in supercells, where (operations x atoms) grows as the square of the size


def rotate(tensor: torch.Tensor, rotation: torch.Tensor, rank: int) -> torch.Tensor:
    """Apply T'[i, j, ...] = R[i, a] R[j, b] ... T[a, b, ...].

    Parameters
    ----------
    tensor
        (..., 3, ..., 3), the last `rank` axes are the tensor's.
    rotation
        (..., 3, 3); its leading axes broadcast with those of the tensor.
    rank
        Number of Cartesian indices, at most 4; 0 returns the tensor itself.

    Examples
    --------
    >>> quarter_turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> rotate(torch.diag(torch.tensor([2.0, 3.0, 4.0])), quarter_turn, 2).diag()
    tensor([3., 2., 4.])
    """
    # One index after the other: 3 * 3**rank products each, where all at once would be 9**rank.
    indices = "abcd"[:rank]
    for index in indices:
        tensor = torch.einsum(f"...x{index},...{indices}->...{indices.replace(index, 'x')}", rotation, tensor)
    return tensor


def project_crystal(tensor: torch.Tensor, rotations: torch.Tensor, rank: int) -> torch.Tensor:
    """Symmetric part of tensors that belong to a whole crystal: the mean of R T over the point group.

    Parameters
    ----------
    tensor
        (..., 3, ..., 3), the last `rank` axes are the tensor's.
    rotations
        (G, 3, 3) Cartesian rotations of the whole group; repetitions by centering translations do no harm.
    rank
        Number of Cartesian indices, 0 to 4.

    Examples
    --------
    >>> inversion = torch.stack([torch.eye(3), -torch.eye(3)])
    >>> float(project_crystal(torch.ones(3, 3, 3), inversion, 3).norm())  # no piezoelectricity
    0.0
    """
    if rank == 0:
        return tensor
    # The mean over a group is a projector: applying one more operation only reorders the sum.
    leading = tensor.ndim - rank
    return rotate(tensor, rotations.reshape(-1, *(1,) * leading, 3, 3), rank).mean(dim=0)


def project_atoms(
    z: torch.Tensor, rotations: torch.Tensor, permutations: torch.Tensor, sites: torch.Tensor | None = None
) -> torch.Tensor:
    """Symmetric part of a rank-2 tensor per atom, such as Born charges (not symmetric in its two indices).

    Operation g carries atom a to permutations[g, a], so that a symmetric field obeys
    Z[permutations[g, a]] = R_g Z[a] R_g^T. Returned is mean_g R_g^T Z[permutations[g, a]] R_g.

    Parameters
    ----------
    z
        (N, 3, 3).
    rotations
        (G, 3, 3) Cartesian rotations of all operations of the space group modulo the cell's translations.
    permutations
        (G, N) int64.
    sites
        (N,) int64: atoms with one number are mapped onto each other by translations inside the cell, which stand for
        G times as many operations; None: the operations are all there are.

    Examples
    --------
    >>> inversion = torch.stack([torch.eye(3), -torch.eye(3)])
    >>> exchanged = torch.tensor([[0, 1], [1, 0]])  # inversion exchanges the two atoms
    >>> z = torch.stack([torch.eye(3), 3 * torch.eye(3)])
    >>> project_atoms(z, inversion, exchanged)[:, 0, 0]
    tensor([2., 2.])
    """
    # Of the image of every atom we look up the tensor and turn it back: R^T is the inverse of an orthogonal R.
    if sites is not None:
        counts = torch.bincount(sites, minlength=len(z)).clamp(min=1)
        z = (torch.zeros_like(z).index_add(0, sites, z) / counts.view(-1, 1, 1))[sites]  # mean over translations
    chunk = max(1, _ATOM_TENSORS_AT_ONCE // max(1, z.shape[0]))
    total = torch.zeros_like(z)
    for start in range(0, rotations.shape[0], chunk):
        operations = slice(start, start + chunk)
        total = total + rotate(z[permutations[operations]], rotations[operations, None].mT, 2).sum(dim=0)
    return total / rotations.shape[0]


def residual(tensor: torch.Tensor, projected: torch.Tensor, floor: float = 0.0) -> float:
    """Fraction of a prediction that symmetry forbids: ||T - PT|| / ||T|| (Frobenius).

    Parameters
    ----------
    tensor, projected
        T and its projection PT, of one shape.
    floor
        A tensor whose norm is not above it, in its own unit, is rounding and has residual 0: such as the piezoelectric
        tensor of a centrosymmetric crystal, of which symmetry forbids everything.

    Examples
    --------
    >>> tensor = torch.tensor([[2.0, 0.6], [0.0, 1.0]])
    >>> round(residual(tensor, torch.diag(tensor.diag())), 3)
    0.259
    """
    norm = float(tensor.norm())
    return float((tensor - projected).norm()) / norm if norm > floor else 0.0


def independent_components(rotations: torch.Tensor, formula: str) -> int:
    """Number of independent components that a point group leaves to a tensor: the trace of the group average.

    Parameters
    ----------
    rotations
        (G, 3, 3) Cartesian rotations of the whole group.
    formula
        Index symmetry in e3nn's notation, e.g. "ijk=ikj".

    Raises
    ------
    ValueError
        The average is not a projector: the rotations do not form a group.

    Examples
    --------
    >>> independent_components(torch.eye(3)[None], "ijkl=jikl=klij")  # triclinic
    21
    """
    # The trace of a projector is the dimension of the space that it projects onto. It is written in the basis of the
    # formula, which leaves out the tensors that index symmetry forbids already.
    rank = formula_rank(formula)
    basis = torch.tensor(cartesian_basis(formula).matrix, dtype=torch.float64)
    images = project_crystal(basis.reshape(-1, *(3,) * rank), rotations.detach().to("cpu", torch.float64), rank)
    projector = images.reshape(basis.shape) @ basis.T
    # The average over rotations that are closed under products is a projector: P^2 = P.
    defect = float((projector @ projector - projector).abs().max())
    if defect > 1e-4:
        raise ValueError(f"{rotations.shape[0]} rotations are not a group: projecting twice differs by {defect:.2g}")
    return round(float(projector.trace()))

"""How features of atoms turn with the crystal, and pass from one atom of an orbit to the others."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from voigt.models.equivariant.paths import NODE_ROWS, NUM_ROWS
from voigt.tensors.irreps import cartesian_basis


def feature_rotation(rotation: Tensor) -> Tensor:
    """Block-diagonal (n, 12, 12) action of orthogonal matrices (n, 3, 3) on the types 0e, 1o, 1e, 2e.

    The 2e block is the conjugation of symmetric traceless matrices written in e3nn's basis.
    """
    result = rotation.new_zeros(len(rotation), NUM_ROWS, NUM_ROWS)
    result[:, 0, 0] = 1.0
    result[:, NODE_ROWS["1o"], NODE_ROWS["1o"]] = rotation
    # An axial vector does not see inversion: it turns by det(R) R, the determinant being the triple product of rows.
    first, second, third = rotation.unbind(1)
    sign = (torch.linalg.cross(first, second) * third).sum(1)
    result[:, NODE_ROWS["1e"], NODE_ROWS["1e"]] = rotation * sign[:, None, None]
    # A quadrupole is a symmetric traceless matrix, and turns as R Q R^T: D_mp = sum B^m_ij R_ik R_jl B^p_kl.
    # One product with a constant: an einsum of four operands spends most of its time on the order of contraction.
    pairs = rotation[:, :, None, :, None] * rotation[:, None, :, None, :]
    coupled = pairs.reshape(len(rotation), 81) @ _quadrupole_action(rotation.dtype, rotation.device)
    result[:, NODE_ROWS["2e"], NODE_ROWS["2e"]] = coupled.view(-1, 5, 5)
    return result


@functools.lru_cache
@torch.inference_mode(False)
def _quadrupole_action(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(81, 25): flat products R_ik R_jl -> flat matrix of R on quadrupoles; copied to a device once."""
    # Rows of the basis of symmetric tensors: the trace (0e), then five orthonormal traceless matrices (2e).
    basis = cartesian_basis("ij=ji").matrix[1:].reshape(5, 3, 3)
    action = np.einsum("mij,pkl->ijklmp", basis, basis).reshape(81, 25)
    return torch.as_tensor(action, dtype=dtype, device=device)


def spread(nodes: Tensor, orbit: Tensor, wigner: Tensor | None) -> Tensor:
    """Features of all atoms from those of the representatives."""
    atoms = nodes.index_select(0, orbit)
    return atoms if wigner is None else torch.bmm(wigner, atoms)

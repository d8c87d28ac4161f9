"""How features of atoms turn with the crystal, and pass from one atom of an orbit to the others."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voigt.models.equivariant.paths import NODE_ROWS, NUM_ROWS


def feature_rotation(rotation: Tensor) -> Tensor:
    """Block-diagonal (n, 12, 12) action of orthogonal matrices (n, 3, 3) on the types 0e, 1o, 1e, 2e.

    The 2e block is the conjugation of symmetric traceless matrices written in e3nn's basis.
    """
    result = rotation.new_zeros(len(rotation), NUM_ROWS, NUM_ROWS)
    result[:, 0, 0] = 1.0
    result[:, NODE_ROWS["1o"], NODE_ROWS["1o"]] = rotation
    first, second, third = rotation.unbind(1)
    sign = (torch.linalg.cross(first, second) * third).sum(1)
    result[:, NODE_ROWS["1e"], NODE_ROWS["1e"]] = rotation * sign[:, None, None]
    # One product with a constant: an einsum of four operands spends most of its time on the order of contraction.
    pairs = rotation[:, :, None, :, None] * rotation[:, None, :, None, :]
    action = torch.as_tensor(_quadrupole_action(), dtype=rotation.dtype, device=rotation.device)
    coupled = pairs.reshape(len(rotation), 81) @ action
    result[:, NODE_ROWS["2e"], NODE_ROWS["2e"]] = coupled.view(-1, 5, 5)
    return result


@functools.lru_cache
def _quadrupole_action() -> NDArray[np.float64]:
    """(81, 25): flat products R_ik R_jl -> flat matrix of R on quadrupoles."""
    basis = _quadrupole_basis().numpy()
    action: NDArray[np.float64] = np.einsum("mij,pkl->ijklmp", basis, basis).reshape(81, 25)
    return action


def _quadrupole_basis() -> Tensor:
    """(5, 3, 3) orthonormal symmetric traceless matrices in the order xz, xy, 2y^2-x^2-z^2, yz, z^2-x^2 (e3nn)."""
    a, c = math.sqrt(0.5), math.sqrt(1.0 / 6.0)
    basis = torch.zeros(5, 3, 3, dtype=torch.float64)
    basis[0, 0, 2] = basis[0, 2, 0] = a
    basis[1, 0, 1] = basis[1, 1, 0] = a
    basis[2] = torch.diag(torch.tensor([-c, 2 * c, -c], dtype=torch.float64))
    basis[3, 1, 2] = basis[3, 2, 1] = a
    basis[4] = torch.diag(torch.tensor([-a, 0.0, a], dtype=torch.float64))
    return basis


def spread(own: Tensor, orbit: Tensor, wigner: Tensor | None) -> Tensor:
    """Features of all atoms from those of the representatives."""
    full = own.index_select(0, orbit)
    return full if wigner is None else torch.bmm(wigner, full)

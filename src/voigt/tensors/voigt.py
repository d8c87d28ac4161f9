"""Voigt and Mandel notation of symmetric, piezoelectric and elastic tensors.

Order xx yy zz yz zx xy. Strain is engineering strain (shear components doubled), so stress, piezoelectric stress
constants e_iJ (C/m^2) and stiffness C_IJ (GPa) carry no factors in Voigt notation. Mandel notation weights each shear
index by sqrt(2) instead, which makes it an orthonormal change of basis: eigenvalues do not depend on the axes.

All functions accept numpy arrays and torch tensors (differentiable), with any leading axes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

ArrayT = TypeVar("ArrayT", NDArray[Any], "torch.Tensor")

# VASP prints columns XX YY ZZ XY YZ ZX: `voigt = printed[..., VASP_TO_VOIGT]` (for the 6x6 stiffness, both axes).
VASP_TO_VOIGT = (0, 1, 2, 4, 5, 3)

# Voigt index I stands for the pair (_FIRST[I], _SECOND[I]); _PAIR_TO_VOIGT[i][j] is the way back.
_FIRST = [0, 1, 2, 1, 2, 0]
_SECOND = [0, 1, 2, 2, 0, 1]
_PAIR_TO_VOIGT = [[0, 5, 4], [5, 1, 3], [4, 3, 2]]
_ENGINEERING = (1.0, 1.0, 1.0, 2.0, 2.0, 2.0)
_MANDEL = (1.0, 1.0, 1.0, math.sqrt(2), math.sqrt(2), math.sqrt(2))


def symmetric_to_voigt(tensor: ArrayT, strain: bool) -> ArrayT:
    """(..., 3, 3) -> (..., 6); with `strain` the shear components are doubled (engineering strain).

    The two off-diagonal entries are averaged, so an antisymmetric part is dropped.

    Examples
    --------
    >>> shear = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.01], [0.0, 0.01, 0.02]])
    >>> symmetric_to_voigt(shear, strain=True)
    array([0.  , 0.  , 0.02, 0.02, 0.  , 0.  ])
    """
    pairs = _symmetric_pairs(tensor)
    return pairs * _factors(_ENGINEERING, pairs) if strain else pairs


def symmetric_from_voigt(vector: ArrayT, strain: bool) -> ArrayT:
    """(..., 6) -> (..., 3, 3); with `strain` the shear components are engineering strains and are halved.

    Examples
    --------
    >>> symmetric_from_voigt(np.array([0.0, 0.0, 0.02, 0.02, 0.0, 0.0]), strain=True)[1:, 1:]
    array([[0.  , 0.01],
           [0.01, 0.02]])
    """
    pairs = vector / _factors(_ENGINEERING, vector) if strain else vector
    tensor: ArrayT = pairs[..., _PAIR_TO_VOIGT]
    return tensor


def piezo_to_voigt(tensor: ArrayT) -> ArrayT:
    """Piezoelectric stress tensor e[i, j, k] (..., 3, 3, 3) -> e[i, J] (..., 3, 6), symmetrized in j, k.

    Examples
    --------
    >>> zincblende = np.zeros((3, 3, 3))
    >>> zincblende[[0, 0, 1, 1, 2, 2], [1, 2, 2, 0, 0, 1], [2, 1, 0, 2, 1, 0]] = 0.1  # every e_xyz
    >>> piezo_to_voigt(zincblende)
    array([[0. , 0. , 0. , 0.1, 0. , 0. ],
           [0. , 0. , 0. , 0. , 0.1, 0. ],
           [0. , 0. , 0. , 0. , 0. , 0.1]])
    """
    return _symmetric_pairs(tensor)


def piezo_from_voigt(matrix: ArrayT) -> ArrayT:
    """Piezoelectric stress constants e[i, J] (..., 3, 6) -> e[i, j, k] (..., 3, 3, 3), symmetric in j, k.

    Examples
    --------
    >>> matrix = np.zeros((3, 6))
    >>> matrix[2, 4] = 0.3  # e_z,zx
    >>> tensor = piezo_from_voigt(matrix)
    >>> float(tensor[2, 2, 0]), float(tensor[2, 0, 2])
    (0.3, 0.3)
    """
    tensor: ArrayT = matrix[..., _PAIR_TO_VOIGT]
    return tensor


def elastic_to_voigt(tensor: ArrayT) -> ArrayT:
    """Stiffness C[i, j, k, l] (..., 3, 3, 3, 3) -> C[I, J] (..., 6, 6).

    Symmetrized in i, j and in k, l; a difference between C[I, J] and C[J, I] is kept.

    Examples
    --------
    >>> stiffness = np.zeros((3, 3, 3, 3))
    >>> stiffness[0, 0, 1, 1] = 60.0
    >>> float(elastic_to_voigt(stiffness)[0, 1])
    60.0
    """
    # Strain is engineering strain, so that sigma_I = C_IJ eps_J needs no factor: C_IJ is the plain entry C_ijkl.
    columns = _symmetric_pairs(tensor)
    voigt: ArrayT = (columns[..., _FIRST, _SECOND, :] + columns[..., _SECOND, _FIRST, :]) / 2
    return voigt


def elastic_from_voigt(matrix: ArrayT) -> ArrayT:
    """Stiffness C[I, J] (..., 6, 6) -> C[i, j, k, l] (..., 3, 3, 3, 3) with both minor symmetries.

    Examples
    --------
    >>> matrix = np.diag([100.0, 100.0, 100.0, 40.0, 40.0, 40.0])
    >>> float(elastic_from_voigt(matrix)[1, 2, 2, 1])  # C44 between yz and zy
    40.0
    """
    tensor: ArrayT = matrix[..., _PAIR_TO_VOIGT, :][..., _PAIR_TO_VOIGT]
    return tensor


def elastic_to_mandel(tensor: ArrayT) -> ArrayT:
    """Stiffness C[i, j, k, l] (..., 3, 3, 3, 3) -> Mandel matrix (..., 6, 6).

    Its six eigenvalues (GPa) are invariant under rotation and all positive in a mechanically stable crystal; those of
    the Voigt matrix are not invariant.

    Examples
    --------
    >>> cubic = np.diag([160.0, 160.0, 160.0, 80.0, 80.0, 80.0])
    >>> cubic[:3, :3] += 60.0
    >>> np.linalg.eigvalsh(elastic_to_mandel(elastic_from_voigt(cubic))).round(6)
    array([160., 160., 160., 160., 160., 340.])
    """
    # C_ijkl e_ij e_kl counts each shear pair twice in both indices: sqrt(2) sqrt(2) puts that into the matrix, so that
    # the quadratic form, and with it the eigenvalues, is that of the tensor.
    voigt = elastic_to_voigt(tensor)
    factors = _factors(_MANDEL, voigt)
    mandel: ArrayT = voigt * factors[:, None] * factors
    return mandel


def elastic_from_mandel(matrix: ArrayT) -> ArrayT:
    """Mandel matrix (..., 6, 6) -> stiffness C[i, j, k, l] (..., 3, 3, 3, 3).

    Examples
    --------
    >>> matrix = np.diag([100.0, 100.0, 100.0, 80.0, 80.0, 80.0])
    >>> float(elastic_from_mandel(matrix)[1, 2, 1, 2].round(9))  # C44 is half of the Mandel entry
    40.0
    """
    factors = _factors(_MANDEL, matrix)
    return elastic_from_voigt(matrix / factors[:, None] / factors)


def _symmetric_pairs(tensor: ArrayT) -> ArrayT:
    """(..., 3, 3) -> (..., 6): mean of the two equivalent entries of each pair."""
    pairs: ArrayT = (tensor[..., _FIRST, _SECOND] + tensor[..., _SECOND, _FIRST]) / 2
    return pairs


def _factors(values: tuple[float, ...], like: ArrayT) -> ArrayT:
    """Factors in the library, floating dtype and device of `like` (integers would truncate sqrt(2))."""
    if isinstance(like, np.ndarray):
        return np.asarray(values, dtype=np.result_type(like.dtype, np.float16))
    import torch

    dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
    return torch.tensor(values, dtype=dtype, device=like.device)

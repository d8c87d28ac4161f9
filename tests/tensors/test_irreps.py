"""Cartesian <-> irreps: equivariance under all of O(3), exactness in float64, counts, and the published 3x3 matrix."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from e3nn import o3

from voigt.tensors.irreps import cartesian_basis, formula_rank, to_cartesian, to_irreps

FORMULAS = ("", "ij", "ij=ji", "ijk=ikj", "ijkl=jikl=klij")
# Index permutations under which a tensor of each formula is unchanged, written out by hand.
SYMMETRIES = {
    "": [()],
    "ij": [(0, 1)],
    "ij=ji": [(0, 1), (1, 0)],
    "ijk=ikj": [(0, 1, 2), (0, 2, 1)],
    "ijkl=jikl=klij": [
        (0, 1, 2, 3), (1, 0, 2, 3), (0, 1, 3, 2), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 0, 1), (2, 3, 1, 0), (3, 2, 1, 0),
    ],
}  # fmt: skip
TURN = {
    0: "...->...",
    2: "ia,jb,...ab->...ij",
    3: "ia,jb,kc,...abc->...ijk",
    4: "ia,jb,kc,ld,...abcd->...ijkl",
}


def symmetric_tensor(formula: str, seed: int, leading: tuple[int, ...] = ()) -> torch.Tensor:
    """Random float64 tensor that obeys a formula, by averaging over the permutations above."""
    rank = len(SYMMETRIES[formula][0])
    raw = np.random.default_rng(seed).normal(size=(*leading, *(3,) * rank))
    n = len(leading)
    averaged = np.mean(
        [raw.transpose(*range(n), *(n + axis for axis in order)) for order in SYMMETRIES[formula]], axis=0
    )
    return torch.tensor(averaged, dtype=torch.float64)


def turned(tensor: torch.Tensor, rotation: torch.Tensor, rank: int) -> torch.Tensor:
    """R..R T as one explicit contraction."""
    return torch.tensor(np.einsum(TURN[rank], *[rotation.numpy()] * rank, tensor.numpy()))


def orthogonal(seed: int, improper: bool) -> torch.Tensor:
    """Random orthogonal matrix of chosen determinant."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.linalg.det(q))
    return torch.tensor(-q if improper else q)


def wigner(irreps: tuple[str, ...], rotation: torch.Tensor) -> torch.Tensor:
    """D(R) in float64, which e3nn computes only when that is the default dtype."""
    torch.set_default_dtype(torch.float64)
    try:
        return o3.Irreps(irreps).D_from_matrix(rotation)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("formula", "irreps", "dim"),
    [
        ("", "0e", 1),
        ("ij=ji", "0e+2e", 6),
        ("ij", "0e+1e+2e", 9),
        ("ijk=ikj", "2x1o+2o+3o", 18),
        ("ijkl=jikl=klij", "2x0e+2x2e+4e", 21),
    ],
)
def test_irreps_and_number_of_components(formula, irreps, dim):
    # 1o x 1o = 0e+1e+2e; 1o x (0e+2e) = 1o + 1o+2o+3o; Sym2(0e+2e) = 0e + 2e + (0e+2e+4e).
    basis = cartesian_basis(formula)
    assert o3.Irreps(basis.irreps).simplify() == o3.Irreps(irreps)
    assert o3.Irreps(irreps).dim == basis.dim == dim
    assert basis.matrix.shape == (dim, 3**basis.rank)
    assert formula_rank(formula) == basis.rank == len(SYMMETRIES[formula][0])


@pytest.mark.parametrize("formula", FORMULAS)
def test_basis_is_orthonormal_to_float64(formula):
    matrix = cartesian_basis(formula).matrix
    assert matrix.dtype == np.float64
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), rtol=0, atol=1e-14)


@pytest.mark.parametrize("formula", FORMULAS)
def test_round_trip_and_norm_in_float64(formula):
    tensor = symmetric_tensor(formula, seed=2, leading=(5, 2))
    components = to_irreps(tensor, formula)
    assert components.shape == (5, 2, cartesian_basis(formula).dim)
    torch.testing.assert_close(to_cartesian(components, formula), tensor, rtol=0, atol=1e-12)
    assert float(components.norm()) == pytest.approx(float(tensor.norm()), rel=1e-13)


@pytest.mark.parametrize("formula", FORMULAS)
def test_what_violates_the_index_symmetry_is_projected_away(formula):
    rank = formula_rank(formula)
    raw = torch.randn((3,) * rank, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    expected = torch.tensor(np.mean([raw.numpy().transpose(order) for order in SYMMETRIES[formula]], axis=0))
    torch.testing.assert_close(to_cartesian(to_irreps(raw, formula), formula), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("improper", [False, True])
@pytest.mark.parametrize("formula", FORMULAS)
def test_irreps_turn_as_the_cartesian_tensor_does(formula, improper):
    rank = formula_rank(formula)
    for seed in range(4):
        rotation = orthogonal(seed, improper)
        tensor = symmetric_tensor(formula, seed=10 + seed)
        ours = wigner(cartesian_basis(formula).irreps, rotation) @ to_irreps(tensor, formula)
        expected = to_irreps(turned(tensor, rotation, rank), formula)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("formula", FORMULAS)
def test_inversion_flips_odd_ranks_only(formula):
    tensor = symmetric_tensor(formula, seed=4)
    inversion = wigner(cartesian_basis(formula).irreps, -torch.eye(3, dtype=torch.float64))
    sign = -1 if formula == "ijk=ikj" else 1
    components = to_irreps(tensor, formula)
    torch.testing.assert_close(inversion @ components, sign * components, rtol=0, atol=1e-12)


def equivar_matrix() -> dict[str, np.ndarray]:
    """Rows of the published output matrix (Kutana et al., Sci. Rep. 15, 2025) by irrep; columns T11, T12, ..., T33."""
    a, b, c = 1 / math.sqrt(2), 1 / math.sqrt(3), 1 / math.sqrt(6)
    y = np.eye(9)
    tensor = np.zeros((3, 3, 9))
    tensor[0, 0] = b * y[0] - c * y[3] - a * y[5]
    tensor[1, 1] = b * y[0] + 2 * c * y[3]
    tensor[2, 2] = b * y[0] - c * y[3] + a * y[5]
    tensor[0, 1], tensor[1, 0] = a * (y[2] + y[8]), a * (y[2] - y[8])
    tensor[0, 2], tensor[2, 0] = a * (y[1] - y[7]), a * (y[1] + y[7])
    tensor[1, 2], tensor[2, 1] = a * (y[4] + y[6]), a * (y[4] - y[6])
    rows = tensor.reshape(9, 9).T
    return {"0e": rows[:1], "2e": rows[1:6], "1e": rows[6:]}


@pytest.mark.parametrize("irrep", ["0e", "1e", "2e"])
def test_born_basis_is_the_published_one_up_to_order_and_sign_of_irreps(irrep):
    basis = cartesian_basis("ij")
    slices = dict(zip(basis.irreps, o3.Irreps(basis.irreps).slices(), strict=True))
    ours, theirs = basis.matrix[slices[irrep]], equivar_matrix()[irrep]
    # One sign per irrep, so that both sets of components turn with the same D(R).
    sign = np.sign(ours[0] @ theirs[0])
    np.testing.assert_allclose(ours, sign * theirs, rtol=0, atol=1e-14)


def test_antisymmetric_part_is_the_axial_vector_in_the_order_x_y_z():
    vector = np.array([0.3, -1.1, 0.7])
    levi_civita = np.zeros((3, 3, 3))
    for order in permutations(range(3)):
        levi_civita[order] = np.linalg.det(np.eye(3)[list(order)])
    components = to_irreps(torch.tensor(np.einsum("ijk,k->ij", levi_civita, vector)), "ij")
    axial = components[1:4].numpy()
    np.testing.assert_allclose(np.abs(components[[0, 4, 5, 6, 7, 8]].numpy()), 0, atol=1e-14)
    np.testing.assert_allclose(axial * np.sign(axial[0] * vector[0]), math.sqrt(2) * vector, rtol=1e-13)


@pytest.mark.parametrize("formula", FORMULAS[1:])
def test_the_basis_is_cached_and_read_only(formula):
    reference = cartesian_basis(formula).matrix
    cartesian_basis.cache_clear()
    with torch.inference_mode(), torch.device("meta"):
        rebuilt = cartesian_basis(formula)
    np.testing.assert_array_equal(rebuilt.matrix, reference)
    assert cartesian_basis(formula) is rebuilt
    with pytest.raises(ValueError, match="read-only"):
        rebuilt.matrix[0, 0] = 1.0


def test_an_index_formula_without_a_basis_is_refused():
    with pytest.raises(ValueError, match="no basis is tabulated for index formula 'ij=jk'"):
        cartesian_basis("ij=jk")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    components = to_irreps(torch.ones(2, 3, 3, dtype=dtype), "ij")
    assert components.dtype == dtype
    assert to_cartesian(components, "ij").dtype == dtype


def test_integers_are_refused():
    with pytest.raises(TypeError, match="floating-point"):
        to_irreps(torch.ones(3, 3, dtype=torch.int64), "ij")


@pytest.mark.parametrize("formula", FORMULAS)
def test_gradients_both_ways(formula):
    with torch.inference_mode():
        to_irreps(symmetric_tensor(formula, seed=5), formula)  # must not poison a later autograd call
    tensor = symmetric_tensor(formula, seed=5).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: to_cartesian(to_irreps(t, formula).square(), formula), tensor)

"""Voigt and Mandel notation: energies, stresses and polarizations must not depend on the notation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from voigt.tensors.voigt import (
    VASP_TO_VOIGT,
    elastic_from_mandel,
    elastic_from_voigt,
    elastic_to_mandel,
    elastic_to_voigt,
    piezo_from_voigt,
    piezo_to_voigt,
    symmetric_from_voigt,
    symmetric_to_voigt,
)

ORDER = ("xx", "yy", "zz", "yz", "zx", "xy")


def random_strain(seed: int) -> np.ndarray:
    raw = np.random.default_rng(seed).normal(size=(3, 3))
    return (raw + raw.T) / 2


def random_stiffness(seed: int) -> np.ndarray:
    """Full C[i, j, k, l] with minor and major symmetry, made without Voigt notation."""
    raw = np.random.default_rng(seed).normal(size=(3, 3, 3, 3))
    raw = raw + raw.transpose(1, 0, 2, 3)
    raw = raw + raw.transpose(0, 1, 3, 2)
    return raw + raw.transpose(2, 3, 0, 1)


def random_piezo(seed: int) -> np.ndarray:
    raw = np.random.default_rng(seed).normal(size=(3, 3, 3))
    return raw + raw.transpose(0, 2, 1)


def cubic_stiffness(c11: float, c12: float, c44: float) -> np.ndarray:
    """C[i, j, k, l] of a cubic crystal in its cube axes, from Kronecker deltas."""
    delta = np.eye(3)
    same = np.einsum("ij,jk,kl->ijkl", delta, delta, delta)
    pairs = np.einsum("ij,kl->ijkl", delta, delta)
    crossed = np.einsum("ik,jl->ijkl", delta, delta) + np.einsum("il,jk->ijkl", delta, delta)
    return c12 * pairs + c44 * crossed + (c11 - c12 - 2 * c44) * same


def rotated4(stiffness: np.ndarray, seed: int) -> np.ndarray:
    r = Rotation.random(random_state=seed).as_matrix()
    return np.einsum("ia,jb,kc,ld,abcd->ijkl", r, r, r, r, stiffness)


def test_order_is_xx_yy_zz_yz_zx_xy():
    axes = {"x": 0, "y": 1, "z": 2}
    tensor = random_strain(1)
    by_name = [tensor[axes[name[0]], axes[name[1]]] for name in ORDER]
    np.testing.assert_array_equal(symmetric_to_voigt(tensor, strain=False), by_name)
    np.testing.assert_array_equal(symmetric_to_voigt(tensor, strain=True)[3:], 2 * np.array(by_name[3:]))


@pytest.mark.parametrize("seed", [0, 1])
def test_energy_density_is_the_same_in_cartesian_voigt_and_mandel_notation(seed):
    stiffness, strain = random_stiffness(seed), random_strain(seed + 10)
    energy = 0.5 * np.einsum("ij,ijkl,kl->", strain, stiffness, strain)
    engineering = symmetric_to_voigt(strain, strain=True)
    assert 0.5 * engineering @ elastic_to_voigt(stiffness) @ engineering == pytest.approx(energy, rel=1e-12)
    mandel = np.array([strain[0, 0], strain[1, 1], strain[2, 2], *np.sqrt(2) * strain[[1, 2, 0], [2, 0, 1]]])
    assert mandel @ mandel == pytest.approx(np.sum(strain**2), rel=1e-12)
    assert 0.5 * mandel @ elastic_to_mandel(stiffness) @ mandel == pytest.approx(energy, rel=1e-12)


def test_stress_of_an_engineering_strain():
    stiffness, strain = random_stiffness(2), random_strain(3)
    stress = np.einsum("ijkl,kl->ij", stiffness, strain)
    in_voigt = elastic_to_voigt(stiffness) @ symmetric_to_voigt(strain, strain=True)
    np.testing.assert_allclose(symmetric_from_voigt(in_voigt, strain=False), stress, rtol=1e-12)


def test_polarization_of_an_engineering_strain():
    piezo, strain = random_piezo(4), random_strain(5)
    expected = np.einsum("ijk,jk->i", piezo, strain)
    np.testing.assert_allclose(piezo_to_voigt(piezo) @ symmetric_to_voigt(strain, strain=True), expected, rtol=1e-12)


def test_isotropic_solid_from_lame_constants():
    lame, shear = 50.0, 30.0
    expected = np.diag([60.0, 60.0, 60.0, 30.0, 30.0, 30.0])
    expected[:3, :3] += lame
    stiffness = cubic_stiffness(lame + 2 * shear, lame, shear)
    np.testing.assert_allclose(elastic_to_voigt(stiffness), expected, atol=1e-12)
    np.testing.assert_allclose(elastic_to_voigt(rotated4(stiffness, 6)), expected, atol=1e-12)


def test_zincblende_piezo_constants_along_111():
    # e14 = e_x,yz in cube axes; along [111] the constants are e33 = 2 e14/sqrt3, e31 = e32 = e24 = e15 = -e14/sqrt3.
    cube = np.zeros((3, 6))
    cube[[0, 1, 2], [3, 4, 5]] = 1.0
    frame = np.array([[1, -1, 0], [1, 1, -2], [1, 1, 1]]) / np.sqrt([[2], [6], [3]])
    turned = piezo_to_voigt(np.einsum("ia,jb,kc,abc->ijk", frame, frame, frame, piezo_from_voigt(cube)))
    unit = 1 / np.sqrt(3)
    expected = {(2, 2): 2 * unit, (2, 0): -unit, (2, 1): -unit, (1, 3): -unit, (0, 4): -unit}
    for index, value in expected.items():
        assert turned[index] == pytest.approx(value, abs=1e-12), index


def test_mandel_eigenvalues_of_silicon_are_the_closed_form_in_every_frame():
    c11, c12, c44 = 165.7, 63.9, 79.6  # GPa, Landolt-Börnstein
    closed = sorted([c11 + 2 * c12, c11 - c12, c11 - c12, 2 * c44, 2 * c44, 2 * c44])
    stiffness = cubic_stiffness(c11, c12, c44)
    for tensor in (stiffness, rotated4(stiffness, 7)):
        np.testing.assert_allclose(np.linalg.eigvalsh(elastic_to_mandel(tensor)), closed, rtol=1e-12)
    # The Voigt matrix is no basis change: its eigenvalues move with the frame.
    voigt = [np.linalg.eigvalsh(elastic_to_voigt(tensor)) for tensor in (stiffness, rotated4(stiffness, 7))]
    assert np.abs(voigt[0] - voigt[1]).max() > 1.0


def test_mandel_matrix_keeps_the_frobenius_norm_of_a_triclinic_stiffness():
    stiffness = random_stiffness(8)
    assert np.linalg.norm(elastic_to_mandel(stiffness)) == pytest.approx(np.linalg.norm(stiffness), rel=1e-12)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(elastic_to_mandel(rotated4(stiffness, 9))),
        np.linalg.eigvalsh(elastic_to_mandel(stiffness)),
        atol=1e-11,
    )


def test_vasp_prints_another_order():
    vasp = np.array(["xx", "yy", "zz", "xy", "yz", "zx"])
    assert tuple(vasp[list(VASP_TO_VOIGT)]) == ORDER
    stiffness = random_stiffness(10)
    rows, columns = [0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]  # XX YY ZZ XY YZ ZX
    printed = np.array([[stiffness[i, j, k, m] for k, m in zip(rows, columns, strict=True)]
                        for i, j in zip(rows, columns, strict=True)])  # fmt: skip
    np.testing.assert_allclose(printed[..., VASP_TO_VOIGT, :][..., VASP_TO_VOIGT], elastic_to_voigt(stiffness))
    assert np.abs(printed - elastic_to_voigt(stiffness)).max() > 0.1
    piezo = random_piezo(11)
    printed_piezo = torch.tensor(piezo[:, rows, columns])
    np.testing.assert_array_equal(printed_piezo[..., VASP_TO_VOIGT], piezo_to_voigt(piezo))


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trips_with_leading_axes_keep_library_and_dtype(library, dtype):
    def make(values: np.ndarray) -> np.ndarray | torch.Tensor:
        array = values.astype(dtype)
        return torch.tensor(array) if library == "torch" else array

    rng = np.random.default_rng(12)
    vector, piezo, elastic = (make(rng.normal(size=(2, 4, *shape))) for shape in ((6,), (3, 6), (6, 6)))
    cases = [
        (vector, symmetric_from_voigt(vector, strain=True), lambda t: symmetric_to_voigt(t, strain=True), (3, 3)),
        (vector, symmetric_from_voigt(vector, strain=False), lambda t: symmetric_to_voigt(t, strain=False), (3, 3)),
        (piezo, piezo_from_voigt(piezo), piezo_to_voigt, (3, 3, 3)),
        (elastic, elastic_from_voigt(elastic), elastic_to_voigt, (3, 3, 3, 3)),
        (elastic, elastic_from_mandel(elastic), elastic_to_mandel, (3, 3, 3, 3)),
    ]
    for start, full, back, shape in cases:
        assert type(full) is type(start)
        assert full.dtype == start.dtype == back(full).dtype
        assert tuple(full.shape) == (2, 4, *shape)
        np.testing.assert_allclose(np.asarray(full), np.asarray(full).swapaxes(-1, -2), rtol=0)
        tolerance = 4 * np.finfo(dtype).eps
        np.testing.assert_allclose(np.asarray(back(full)), np.asarray(start), rtol=tolerance)


def test_noise_between_equivalent_entries_is_averaged():
    tensor = np.zeros((3, 3, 3))
    tensor[0, 1, 2], tensor[0, 2, 1] = 1.0, 3.0
    assert piezo_to_voigt(tensor)[0, 3] == 2.0
    stiffness = np.random.default_rng(13).normal(size=(3, 3, 3, 3))
    minor = (stiffness + stiffness.transpose(1, 0, 2, 3)) / 2
    minor = (minor + minor.transpose(0, 1, 3, 2)) / 2
    np.testing.assert_allclose(elastic_from_voigt(elastic_to_voigt(stiffness)), minor, atol=1e-14)


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_integers_are_not_truncated(make):
    stiffness = elastic_from_mandel(make(np.diag([1, 1, 1, 2, 2, 2])))
    np.testing.assert_allclose(np.asarray(stiffness), cubic_stiffness(1.0, 0.0, 1.0), atol=1e-6)
    strain = symmetric_from_voigt(make([0, 0, 0, 1, 0, 0]), strain=True)
    assert float(strain[1, 2]) == 0.5


def test_torch_gradients():
    matrix = torch.tensor(np.random.default_rng(14).normal(size=(6, 6)), requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: elastic_to_mandel(elastic_from_voigt(m)), matrix)
    vector = torch.tensor(np.random.default_rng(15).normal(size=6), requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: symmetric_from_voigt(v, strain=True), vector)


def test_against_pymatgen():
    tensors = pytest.importorskip("pymatgen.core.tensors")
    elasticity = pytest.importorskip("pymatgen.core.elasticity")
    rng = np.random.default_rng(16)
    # Random 3x6 and 6x6 without any symmetry: any confusion of rows, columns or order shows.
    piezo, stiffness = rng.normal(size=(3, 6)), rng.normal(size=(6, 6))
    np.testing.assert_allclose(piezo_from_voigt(piezo), tensors.Tensor.from_voigt(piezo))
    np.testing.assert_allclose(elastic_from_voigt(stiffness), tensors.Tensor.from_voigt(stiffness))
    np.testing.assert_allclose(piezo_to_voigt(random_piezo(17)), tensors.Tensor(random_piezo(17)).voigt)
    np.testing.assert_allclose(elastic_to_voigt(random_stiffness(18)), tensors.Tensor(random_stiffness(18)).voigt)
    strain = random_strain(19)
    np.testing.assert_allclose(symmetric_to_voigt(strain, strain=True), elasticity.Strain(strain).voigt)
    np.testing.assert_allclose(symmetric_to_voigt(strain, strain=False), elasticity.Stress(strain).voigt)

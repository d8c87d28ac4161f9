"""Readouts: Cartesian tensors that turn with the crystal and obey the bounds of their property."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from e3nn import o3
from scipy.linalg import logm
from scipy.spatial.transform import Rotation

from voigt.models.equivariant.paths import NODE_TYPES
from voigt.models.equivariant.readout import TensorReadout
from voigt.models.readout import bounded, unbounded
from voigt.tensors.projection import rotate
from voigt.tensors.properties import PROPERTIES
from voigt.tensors.voigt import elastic_from_voigt, elastic_to_mandel

CHANNELS = 6
NUMBERS = torch.tensor([1, 8, 22, 8, 79])
ROTATIONS = {
    "proper": Rotation.random(random_state=1).as_matrix(),
    "improper": -Rotation.random(random_state=2).as_matrix(),
    "inversion": -np.eye(3),
    "mirror": np.diag([1.0, 1.0, -1.0]),
}
BOUNDED = ("eps_inf", "eps_ionic", "eps_total")


def readout(name: str, hidden: bool = True, reference: bool = True) -> TensorReadout:
    torch.manual_seed(0)
    module = TensorReadout(PROPERTIES[name], CHANNELS, "normal", reference, hidden).double()
    with torch.no_grad():
        module.bias.normal_()
        if module.reference is not None:
            module.reference.weight.normal_()
    return module


def features(count: int = 5) -> torch.Tensor:
    return torch.randn(count, 12, CHANNELS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def high_degrees(count: int = 5) -> dict[str, torch.Tensor]:
    """Features of the types that nodes do not carry."""
    generator = torch.Generator().manual_seed(2)
    sizes = {kind: o3.Irrep(kind).dim for kind in ("2o", "3o", "4e")}
    return {
        kind: torch.randn(count, size, CHANNELS, generator=generator, dtype=torch.float64)
        for kind, size in sizes.items()
    }


HIGH = high_degrees()


def action(rotation: np.ndarray) -> torch.Tensor:
    """(12, 12) matrix of an orthogonal operation on the node types, from e3nn."""
    return torch.block_diag(*(wigner(kind, rotation) for kind in NODE_TYPES))


def wigner(kind: str, rotation: np.ndarray) -> torch.Tensor:
    """From e3nn, which rounds its generators to the default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return o3.Irrep(kind).D_from_matrix(torch.tensor(rotation))
    finally:
        torch.set_default_dtype(before)


def symmetric(seed: int, count: int = 50, size: float = 1.0) -> torch.Tensor:
    matrices = torch.randn(count, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return size * (matrices + matrices.mT) / 2


def stiffness(seed: int, count: int = 20) -> torch.Tensor:
    """Random symmetric 6x6 matrices as rank-4 tensors."""
    matrices = torch.randn(count, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return elastic_from_voigt((matrices + matrices.mT) / 4)


@pytest.mark.parametrize("name", PROPERTIES)
class TestEveryProperty:
    @pytest.mark.parametrize("operation", ROTATIONS)
    @pytest.mark.parametrize("given", [True, False], ids=["high degrees", "products alone"])
    def test_turns_with_the_features(self, name, operation, given):
        rotation = ROTATIONS[operation]
        module, x, prop = readout(name), features(), PROPERTIES[name]
        high = HIGH if given else {}
        turned_high = {kind: wigner(kind, rotation) @ rows for kind, rows in high.items()}
        with torch.no_grad():
            tensor, turned = module(x, NUMBERS, high), module(action(rotation) @ x, NUMBERS, turned_high)
        expected = tensor
        if prop.rank:
            expected = rotate(tensor, torch.tensor(rotation).expand(len(x), 3, 3), prop.rank)
        torch.testing.assert_close(turned, expected, rtol=0, atol=1e-9 * float(tensor.abs().max()))

    def test_shape_and_index_symmetry(self, name):
        prop = PROPERTIES[name]
        with torch.no_grad():
            tensor = readout(name)(features(), NUMBERS, HIGH)
        assert tensor.shape == (5, *prop.shape)
        swaps = {"ij=ji": [(1, 2)], "ijk=ikj": [(2, 3)], "ijkl=jikl=klij": [(1, 2), (3, 4)]}.get(prop.formula, [])
        for first, second in swaps:
            torch.testing.assert_close(tensor.transpose(first, second), tensor, rtol=0, atol=1e-12)
        if prop.rank == 4:
            torch.testing.assert_close(tensor.permute(0, 3, 4, 1, 2), tensor, rtol=0, atol=1e-12)

    def test_every_component_can_be_reached(self, name):
        """As many independent outputs as the index formula has components (9, 6, 18, 21, 1)."""
        dimension = {"": 1, "ij": 9, "ij=ji": 6, "ijk=ikj": 18, "ijkl=jikl=klij": 21}[PROPERTIES[name].formula]
        with torch.no_grad():
            tensors = readout(name, reference=False)(features(60), torch.ones(60, dtype=torch.int64), {})
        assert torch.linalg.matrix_rank(tensors.reshape(60, -1), rtol=1e-6) == dimension

    def test_bias_shifts_the_scalar_components_by_exactly_that(self, name):
        module = readout(name)
        count = len(module.bias)
        assert count == {0: 1, 2: 1, 3: 0, 4: 2}[PROPERTIES[name].rank]
        shift = torch.arange(1.0, count + 1, dtype=torch.float64)
        with torch.no_grad():
            before = module(features(), NUMBERS, HIGH)
            module.bias += shift
            after = module(features(), NUMBERS, HIGH)
        change = module.scalar_components(after) - module.scalar_components(before)
        torch.testing.assert_close(change, shift.expand(5, count), rtol=0, atol=1e-12)
        if PROPERTIES[name].rank == 2:  # nothing but a multiple of the identity has changed
            difference = after - before
            isotropic = difference.diagonal(dim1=1, dim2=2).mean(dim=1)
            torch.testing.assert_close(difference, isotropic[:, None, None] * torch.eye(3).double())
            assert abs(float(isotropic[0])) == pytest.approx(1 / np.sqrt(3), rel=1e-12)

    def test_references_add_the_same_way_per_element(self, name):
        module = readout(name)
        with torch.no_grad():
            before = module(features(), NUMBERS, HIGH)
            module.reference.weight[8] += 0.5
            change = module.scalar_components(module(features(), NUMBERS, HIGH)) - module.scalar_components(before)
        expected = torch.where((NUMBERS == 8)[:, None], 0.5, 0.0).double().expand_as(change)
        torch.testing.assert_close(change, expected, rtol=0, atol=1e-12)


def test_a_plain_readout_is_linear():
    module = readout("born_charges", hidden=False, reference=False)
    with torch.no_grad():
        module.bias.zero_()
        x, y = features(), features().flip(0)
        together = module(x + 2 * y, NUMBERS, {})
        torch.testing.assert_close(together, module(x, NUMBERS, {}) + 2 * module(y, NUMBERS, {}))


class TestBounds:
    @pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 3.0])
    @pytest.mark.parametrize("name", BOUNDED)
    def test_dielectric_tensors_are_never_below_the_bound(self, name, size):
        minimum = PROPERTIES[name].minimum
        tensor = bounded(symmetric(0, size=size), PROPERTIES[name])
        values = torch.linalg.eigvalsh(tensor)
        assert float((values.min(dim=1).values - minimum).min()) > 0

    def test_single_precision_and_extreme_input(self):
        """Up to rounding of the largest eigenvalue; deep below, 1 is reached but not crossed."""
        tensor = bounded(symmetric(1, size=4.0).float(), PROPERTIES["eps_inf"])
        values = torch.linalg.eigvalsh(tensor.double())
        assert float(((values.min(dim=1).values - 1) / values.max(dim=1).values).min()) > -1e-5
        vacuum = bounded(-60 * torch.eye(3)[None], PROPERTIES["eps_inf"])
        torch.testing.assert_close(vacuum, torch.eye(3)[None])

    def test_matrix_exponential_of_a_diagonal(self):
        tensor = bounded(torch.diag(torch.tensor([0.0, 1.0, 2.0]))[None], PROPERTIES["eps_inf"])
        torch.testing.assert_close(tensor[0], torch.diag(1 + torch.exp(torch.tensor([0.0, 1.0, 2.0]))))

    def test_stiffness_is_positive(self):
        values = torch.linalg.eigvalsh(elastic_to_mandel(bounded(stiffness(0), PROPERTIES["elastic"])))
        assert float(values.min()) > 0

    def test_gap_is_positive(self):
        gap = bounded(torch.tensor([-20.0, -1.0, 0.0, 3.0]), PROPERTIES["band_gap"])
        assert float(gap.min()) > 0
        assert float(gap[2]) == pytest.approx(np.log(2))

    @pytest.mark.parametrize("name", ["born_charges", "piezo_total", "piezo_clamped", "formation_energy"])
    def test_unbounded_properties_pass_through(self, name):
        tensor = torch.randn(4, *PROPERTIES[name].shape)
        assert bounded(tensor, PROPERTIES[name]) is tensor
        assert unbounded(tensor, PROPERTIES[name]) is tensor

    @pytest.mark.parametrize("operation", ROTATIONS)
    def test_bounds_turn_with_the_tensor(self, operation):
        rotation = torch.tensor(ROTATIONS[operation])
        for name, tensor in (("eps_inf", symmetric(2)), ("elastic", stiffness(1))):
            prop = PROPERTIES[name]
            matrices = rotation.expand(len(tensor), 3, 3)
            turned = bounded(rotate(tensor, matrices, prop.rank), prop)
            torch.testing.assert_close(turned, rotate(bounded(tensor, prop), matrices, prop.rank))

    def test_gradients_are_finite_where_eigenvalues_coincide(self):
        tensor = torch.zeros(2, 3, 3, dtype=torch.float64, requires_grad=True)
        bounded(tensor, PROPERTIES["eps_inf"]).sum().backward()
        assert torch.isfinite(tensor.grad).all()


class TestInverse:
    @pytest.mark.parametrize("name", BOUNDED)
    def test_rank_2(self, name):
        prop = PROPERTIES[name]
        raw = symmetric(3, size=1.0).clamp(min=-1.2)
        torch.testing.assert_close(unbounded(bounded(raw, prop), prop), raw)

    def test_logarithm_by_another_library(self):
        label = torch.eye(3, dtype=torch.float64) * 3 + symmetric(4, count=1, size=0.5)
        expected = logm(label[0].numpy() - np.eye(3))
        np.testing.assert_allclose(unbounded(label, PROPERTIES["eps_inf"])[0].numpy(), expected, atol=1e-12)

    def test_elastic(self):
        raw = stiffness(2)
        prop = PROPERTIES["elastic"]
        torch.testing.assert_close(unbounded(bounded(raw, prop), prop), raw)

    def test_scalar(self):
        prop = PROPERTIES["band_gap"]
        label = torch.tensor([0.02, 1.0, 5.0, 12.0])
        torch.testing.assert_close(bounded(unbounded(label, prop), prop), label)

    @pytest.mark.parametrize("name", [*BOUNDED, "band_gap"])
    def test_labels_at_or_below_the_bound_are_lifted(self, name):
        prop = PROPERTIES[name]
        label = torch.full((1, *prop.shape), 0.0)
        if prop.rank:
            label[0] = torch.diag(torch.tensor([prop.minimum - 1.0, prop.minimum, prop.minimum + 2.0]))
        raw = unbounded(label, prop)
        assert torch.isfinite(raw).all()
        back = bounded(raw, prop)
        if prop.rank:
            expected = torch.diag(torch.tensor([prop.minimum + 0.01, prop.minimum + 0.01, prop.minimum + 2.0]))
            torch.testing.assert_close(back[0], expected)
        else:
            torch.testing.assert_close(back, torch.tensor([0.01]))

"""CrystalFormer: its attention against an explicit sum over images, symmetries, the cutoff, gradients."""

from __future__ import annotations

from itertools import product

import ase
import numpy as np
import pytest
import torch
from ase.build import make_supercell
from tests import crystals
from torch import Tensor

from voigt.graphs import CrystalBatch, build_graph, collate
from voigt.models.goectp.crystalformer import TAIL, CrystalFormer, PeriodicAttention, softmax_over_images
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.structures.symmetry import find_symmetry

BLIND = {"directions": "none"}
SEEING = [{"directions": "components"}, {"directions": "harmonics"}]


def network(**options: object) -> CrystalFormer:
    """Random everywhere: parameters that start as a constant could hide a fault."""
    torch.manual_seed(0)
    small = {"backbone": "crystalformer", "frame": "single", "width": 12, "layers": 2, "heads": 3, "cutoff": 4.5}
    model = CrystalFormer(GoeCTPHypers(**{**small, **options})).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def batch_of(model: CrystalFormer, *structures: ase.Atoms, reduced: bool = False) -> CrystalBatch:
    graphs = [
        build_graph(atoms, model.cutoff, symmetry=find_symmetry(atoms) if reduced else None, dtype=torch.float64)
        for atoms in structures
    ]
    return collate(graphs)


def features(model: CrystalFormer, *structures: ase.Atoms, reduced: bool = False) -> np.ndarray:
    """Of all atoms."""
    batch = batch_of(model, *structures, reduced=reduced)
    with torch.no_grad():
        return model(batch, None)[batch.orbit].numpy()


def explicit_attention(
    attention: PeriodicAttention, own: np.ndarray, atoms: ase.Atoms, radius: float, centers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One sum over lattice translations for each atom and head, written out from the paper's formula.

    Returns the attention's output (n_atoms, width), and the weights summed over images (n_atoms, n_atoms, heads).
    """
    weight = {name: value.detach().numpy() for name, value in attention.named_parameters()}
    heads, depth = weight["decay"].shape
    q, k, v = (
        (own @ weight[f"{name}.weight"].T).reshape(len(own), heads, depth) for name in ("query", "key", "value")
    )
    sigma_max, spacing = attention.sigma_max, 4.5 / (len(centers) - 1)
    reach = int(np.ceil(radius / np.min(1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)))) + 1
    translations = [np.array(n) @ atoms.cell.array for n in product(range(-reach, reach + 1), repeat=3)]
    result = np.zeros((len(own), heads, depth))
    matrix = np.zeros((len(own), len(own), heads))
    for i, head in product(range(len(own)), range(heads)):
        steepness = 1 + np.log1p(np.exp(q[i, head] @ weight["decay"][head] + weight["decay_bias"][head]))
        total = 0.0
        for j, shift in product(range(len(own)), translations):
            r = np.linalg.norm(atoms.positions[j] + shift - atoms.positions[i])
            if r > radius:
                continue
            if r < 1e-9:
                psi = weight["own_value"]
            else:
                psi = weight["edge_value.weight"] @ np.exp(-0.5 * ((r - centers) / spacing) ** 2)
            w = np.exp(q[i, head] @ k[j, head] / np.sqrt(depth) - r**2 * steepness / (2 * sigma_max**2))
            result[i, head] += w * (v[j, head] + psi.reshape(heads, depth)[head])
            matrix[i, j, head] += w
            total += w
        result[i, head] /= total
        matrix[i, :, head] /= total
    return result.reshape(len(own), -1) @ weight["out.weight"].T + weight["out.bias"], matrix


def compared(atoms: ase.Atoms, radius: float, decay_bias: float) -> tuple[np.ndarray, ...]:
    """Output and weights of the first layer, and those of the explicit sum."""
    model = network(**BLIND, envelope="none")
    attention = model.blocks[0].attention
    batch = batch_of(model, atoms)
    own = torch.randn(len(atoms), 12, dtype=torch.float64)
    with torch.no_grad():
        attention.decay_bias += decay_bias
        images = model.images(batch)
        edge_weight, self_weight = attention.weights(own, images)
        output = attention(own, images).numpy()
    matrix = torch.diag_embed(self_weight.T).permute(1, 2, 0).contiguous()
    matrix.index_put_((images.target, images.source), edge_weight, accumulate=True)
    expected, expected_matrix = explicit_attention(attention, own.numpy(), atoms, radius, model.centers.numpy())
    return output, matrix.numpy(), expected, expected_matrix


# The attention.


@pytest.mark.parametrize("make", [crystals.nameless, crystals.cesium_chloride], ids=["nameless", "CsCl"])
def test_attention_is_the_explicit_sum_over_images_inside_the_cutoff(make):
    output, matrix, expected, expected_matrix = compared(make(), 4.5, 0.0)
    np.testing.assert_allclose(matrix, expected_matrix, rtol=0, atol=1e-12)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-12)


def test_attention_is_the_infinite_sum_where_the_decay_is_steep():
    output, matrix, expected, expected_matrix = compared(crystals.nameless(), 9.0, 6.0)
    np.testing.assert_allclose(matrix, expected_matrix, rtol=0, atol=1e-8)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-8)
    assert matrix.min() < 0.1 < np.sort(matrix.ravel())[-2] < 1  # not simply each atom to itself


def test_attention_is_nearly_the_infinite_sum_where_the_decay_is_slowest():
    output, matrix, expected, expected_matrix = compared(crystals.nameless(), 9.0, -30.0)
    assert 1e-6 < np.abs(matrix - expected_matrix).max() < 0.02
    assert np.abs(output - expected).max() < 0.03 * np.abs(expected).max()


def test_the_decay_leaves_a_thousandth_at_the_cutoff_whatever_the_weights():
    for cutoff in (3.0, 7.5):
        attention = network(cutoff=cutoff).blocks[0].attention
        query = 1e3 * torch.randn(50, 3, 4, dtype=torch.float64)
        decay = torch.exp(-attention.precision(query) * cutoff**2)
        assert decay.max().item() == pytest.approx(1e-3, rel=1e-6)
    assert TAIL == 1e-3


def test_heads_and_atoms_have_decays_of_their_own():
    attention = network().blocks[0].attention
    precision = attention.precision(torch.randn(5, 3, 4, dtype=torch.float64))
    assert precision.unique().numel() == 15


def test_softmax_survives_large_logits_and_images_of_factor_zero():
    logit = torch.tensor([[500.0], [-500.0], [100.0]], requires_grad=True)
    own = torch.tensor([[0.0], [3.0]], requires_grad=True)
    factor = torch.tensor([[1.0], [1.0], [0.0]], requires_grad=True)
    weight, self_weight = softmax_over_images(logit, own, factor, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(weight, torch.tensor([[1.0], [0.0], [0.0]]))
    torch.testing.assert_close(self_weight, torch.tensor([[0.0], [1.0]]))
    (weight.square().sum() + self_weight.square().sum()).backward()
    # That of the factor at zero is the weight itself, exp(97), too large for this precision.
    assert all(torch.isfinite(gradient).all() for gradient in (logit.grad, own.grad, factor.grad[:2]))


# Symmetries.


@pytest.mark.parametrize("determinant", [1, -1])
def test_blind_features_are_invariant_under_rotations_and_reflections(determinant):
    model = network(**BLIND)
    atoms = crystals.quartz()
    turned = crystals.rotated(atoms, crystals.random_rotation(3, determinant))
    np.testing.assert_allclose(features(model, turned), features(model, atoms), rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", SEEING, ids=lambda options: options["directions"])
@pytest.mark.parametrize("determinant", [1, -1])
def test_features_that_see_directions_change(options, determinant):
    model = network(**options)
    atoms = crystals.quartz()
    turned = crystals.rotated(atoms, crystals.random_rotation(3, determinant))
    assert np.abs(features(model, turned) - features(model, atoms)).max() > 1e-3


@pytest.mark.parametrize("name", ["edge_value", "edge_logit"])
def test_directions_act_on_values_and_on_logits(name):
    model = network(directions="components")
    for block in model.blocks:
        torch.nn.init.zeros_(getattr(block.attention, name).weight[:, 32:])
    atoms = crystals.quartz()
    turned = crystals.rotated(atoms, crystals.random_rotation(3))
    assert np.abs(features(model, turned) - features(model, atoms)).max() > 1e-4


@pytest.mark.parametrize("make", [crystals.quartz, crystals.baddeleyite, crystals.rutile, crystals.rocksalt])
def test_blind_features_of_the_reduced_graph_are_those_of_the_full_one(make):
    model = network(**BLIND)
    atoms = crystals.rocksalt(cubic=True) if make is crystals.rocksalt else make()
    batch = batch_of(model, atoms, reduced=True)
    assert len(batch.representative) < len(atoms)
    np.testing.assert_allclose(features(model, atoms, reduced=True), features(model, atoms), rtol=0, atol=1e-9)


@pytest.mark.parametrize("options", [BLIND, SEEING[1]], ids=["blind", "harmonics"])
def test_a_supercell_and_another_cell_give_the_same_features(options):
    model = network(**options)
    atoms = crystals.nameless()
    expected = features(model, atoms)
    doubled, skewed, twice_skewed = np.diag([2, 1, 1]), np.eye(3), np.array([[1, 1, 0], [0, 1, 0], [-1, 0, 2]])
    skewed[0, 2] = 3
    for matrix in (doubled, skewed, twice_skewed):
        other = make_supercell(atoms, matrix)
        place = [list(atoms.numbers).index(number) for number in other.numbers]
        np.testing.assert_allclose(features(model, other), expected[place], rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", [BLIND, SEEING[1]], ids=["blind", "harmonics"])
def test_atoms_may_be_listed_in_any_order(options):
    model = network(**options)
    atoms = crystals.copper_tungstate()
    order = np.random.default_rng(0).permutation(len(atoms))
    np.testing.assert_allclose(features(model, atoms[order]), features(model, atoms)[order], rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", [BLIND, SEEING[1]], ids=["blind", "harmonics"])
def test_crystals_of_a_batch_do_not_see_each_other(options):
    model = network(**options)
    several = [crystals.nameless(), lonely(), crystals.quartz(), crystals.wurtzite()]
    single = np.concatenate([features(model, atoms) for atoms in several])
    np.testing.assert_allclose(features(model, *several), single, rtol=0, atol=1e-10)
    if options is BLIND:  # reduced and full crystals side by side
        np.testing.assert_allclose(features(model, *several, reduced=True), single, rtol=0, atol=1e-9)


# Smoothness and gradients.


def dimer(distance: float) -> ase.Atoms:
    """Two atoms far from all their images."""
    return ase.Atoms("MgO", positions=[[0, 0, 0], [0, 0.6 * distance, 0.8 * distance]], cell=[20] * 3, pbc=True)


def lonely() -> ase.Atoms:
    return ase.Atoms("Ar", cell=20 * np.eye(3), pbc=True)


@pytest.mark.parametrize("options", [BLIND, SEEING[1]], ids=["blind", "harmonics"])
@pytest.mark.parametrize(("envelope", "smooth"), [("cosine", True), ("polynomial", True), ("none", False)])
def test_features_are_continuous_at_the_cutoff_under_an_envelope(options, envelope, smooth):
    model = network(**options, envelope=envelope)
    with torch.no_grad():
        for block in model.blocks:  # a slow decay and a wish for the other atom, lest the Gaussian hides a jump
            block.attention.decay_bias -= 30.0
            block.attention.sigma_max *= 3
    step = 1e-4
    inside, outside = features(model, dimer(4.5 - step)), features(model, dimer(4.5 + step))
    jump = np.abs(inside - outside).max()
    assert (jump < 1e-6) == smooth, jump
    assert np.abs(features(model, dimer(4.0)) - outside).max() > 1e-4


@pytest.mark.parametrize("options", [BLIND, *SEEING], ids=lambda options: options["directions"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_of_an_isolated_atom_are_finite(options, dtype):
    model = network(**options).to(dtype)
    output = model(batch_of(model, lonely()).to(dtype=dtype), None)
    output.square().mul(torch.arange(12)).sum().backward()
    assert output.dtype == dtype
    assert torch.isfinite(output).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def gradients(model: CrystalFormer, condition: Tensor | None) -> dict[str, Tensor | None]:
    output = model(batch_of(model, crystals.nameless(), crystals.quartz(), lonely()), condition)
    (output * torch.randn_like(output)).sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("options", [BLIND, *SEEING], ids=lambda options: options["directions"])
def test_every_parameter_receives_a_gradient(options):
    found = gradients(network(**options), None)
    zero = [name for name, value in found.items() if value is None or value.abs().max() < 1e-10]
    assert zero == []
    assert all(torch.isfinite(value).all() for value in found.values())


def test_gradients_with_respect_to_positions_are_those_of_finite_differences():
    model = network(layers=1, directions="harmonics")
    batch = batch_of(model, crystals.cesium_chloride())
    vector = batch.edge_vector[:6].clone().requires_grad_()

    def output(part: Tensor) -> Tensor:
        moved = torch.cat([part, batch.edge_vector[6:]])
        return model(CrystalBatch(**{**vars(batch), "edge_vector": moved}), None)

    assert torch.autograd.gradcheck(output, (vector,))


def test_the_condition_adds_to_the_input_and_matters():
    model = network(**BLIND)
    batch = batch_of(model, crystals.nameless())
    condition = torch.randn(4, 12, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        plain = model(batch, None)
        torch.testing.assert_close(model(batch, torch.zeros_like(condition)), plain)
    (model(batch, condition) - plain).square().sum().backward()
    assert (condition.grad.abs().amax(dim=1) > 1e-6).all()

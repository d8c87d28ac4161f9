"""Both backbones of ComFormer: what they must and must not depend on."""

from __future__ import annotations

from dataclasses import replace

import ase
import numpy as np
import pytest
import torch
from tests import crystals
from torch import Tensor, nn

from voigt.graphs import CrystalBatch, build_graph, collate
from voigt.models.goectp.comformer import GatedMessage, NodeAttention
from voigt.models.goectp.ecomformer import CANCELLATION, EComFormer, EquivariantUpdate
from voigt.models.goectp.edges import directions
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.goectp.icomformer import IComFormer
from voigt.structures.symmetry import find_symmetry

CUTOFF = 4.5
BOTH = pytest.mark.parametrize("kind", [EComFormer, IComFormer])
EXACT = {"rtol": 1e-9, "atol": 1e-10}


def hypers(**options: object) -> GoeCTPHypers:
    small = {"width": 16, "layers": 2, "cutoff": CUTOFF, "frame": "single", "directions": "none"}
    return GoeCTPHypers(**{**small, **options})


def network(kind: type[nn.Module], **options: object) -> nn.Module:
    """In float64; the initial features of elements and everything else at torch's own random start."""
    torch.manual_seed(0)
    return kind(hypers(**options)).double()


def batch_of(*structures: ase.Atoms, reduced: bool = False) -> CrystalBatch:
    return collate(
        [
            build_graph(atoms, CUTOFF, symmetry=find_symmetry(atoms) if reduced else None, dtype=torch.float64)
            for atoms in structures
        ]
    )


def features(model: nn.Module, *structures: ase.Atoms, reduced: bool = False) -> Tensor:
    """(n_atoms, width)."""
    batch = batch_of(*structures, reduced=reduced)
    with torch.no_grad():
        return model(batch, None)[batch.orbit]


def turned(batch: CrystalBatch, rotation: np.ndarray, edges: bool = True, lattice: bool = True) -> CrystalBatch:
    matrix = torch.as_tensor(rotation)
    return replace(
        batch,
        edge_vector=batch.edge_vector @ matrix.T if edges else batch.edge_vector,
        lattice=batch.lattice @ matrix.T if lattice else batch.lattice,
    )


def differ(first: Tensor, second: Tensor) -> bool:
    return bool((first - second).abs().max() > 1e-4)


def lone_atom() -> ase.Atoms:
    return ase.Atoms("Ar", positions=[(0, 0, 0)], cell=12.0 * np.eye(3), pbc=True)


def environment(*vectors: tuple[float, float, float]) -> CrystalBatch:
    """One carbon atom with hydrogen atoms around it, each seen by it and seeing it."""
    atoms = ase.Atoms("C" + "H" * len(vectors), positions=[(0, 0, 0), *vectors], cell=30 * np.eye(3), pbc=True)
    return batch_of(atoms)


# Rotations and reflections.


@pytest.mark.parametrize("determinant", [1, -1])
@pytest.mark.parametrize("atoms", [crystals.nameless(), crystals.quartz()], ids=["nameless", "quartz"])
def test_a_blind_ecomformer_is_invariant(atoms, determinant):
    model = network(EComFormer)
    rotated = crystals.rotated(atoms, crystals.random_rotation(3, determinant))
    torch.testing.assert_close(features(model, rotated), features(model, atoms), **EXACT)


@pytest.mark.parametrize("determinant", [1, -1])
def test_icomformer_is_invariant_when_edges_and_lattice_turn_together(determinant):
    model, batch = network(IComFormer), batch_of(crystals.nameless())
    rotation = crystals.random_rotation(4, determinant)
    with torch.no_grad():
        reference = model(batch, None)
        torch.testing.assert_close(model(turned(batch, rotation), None), reference, **EXACT)
        assert differ(model(turned(batch, rotation, lattice=False), None), reference)
        assert differ(model(turned(batch, rotation, edges=False), None), reference)


@BOTH
@pytest.mark.parametrize("kind_of_directions", ["components", "harmonics"])
def test_directions_are_seen_when_asked_for(kind, kind_of_directions):
    model, batch = network(kind, directions=kind_of_directions), batch_of(crystals.nameless())
    with torch.no_grad():
        assert differ(model(turned(batch, crystals.random_rotation(5)), None), model(batch, None))


# What a backbone depends on.


def test_icomformer_depends_on_the_lattice_vectors_and_ecomformer_does_not():
    batch = batch_of(crystals.nameless())
    sheared = batch.lattice.clone()
    sheared[0, 2] += sheared[0, 0]  # another cell of the same lattice
    longer = 1.1 * batch.lattice  # only the lengths change
    other_order = batch.lattice[:, [1, 2, 0]]
    with torch.no_grad():
        for lattice in (sheared, longer, other_order):
            changed = replace(batch, lattice=lattice)
            blind, sighted = network(EComFormer), network(IComFormer)
            torch.testing.assert_close(blind(changed, None), blind(batch, None), rtol=0, atol=0)
            assert differ(sighted(changed, None), sighted(batch, None))


def test_icomformer_sees_angles_with_the_lattice():
    # Two lattices with vectors of equal lengths: only the angles of an edge with them differ.
    batch = batch_of(lone_atom())
    edge = {"edge_source": torch.tensor([0]), "edge_target": torch.tensor([0])}
    model = network(IComFormer)
    along, diagonal = torch.tensor([[[2.0, 0, 0]], [[2**0.5, 2**0.5, 0]]], dtype=torch.float64)
    with torch.no_grad():
        first = model(replace(batch, edge_vector=along, **edge), None)
        assert differ(first, model(replace(batch, edge_vector=diagonal, **edge), None))


def test_icomformer_hears_of_the_lattice_without_neighbors():
    # The atom's own images along the lattice vectors are further away than the cutoff.
    model, batch = network(IComFormer), batch_of(lone_atom())
    with torch.no_grad():
        assert differ(model(batch, None), model(replace(batch, lattice=1.1 * batch.lattice), None))


def test_ecomformer_sees_angles():
    # Equal distances: C-H, and H-H out of the cutoff. Layers of node attention alone cannot tell these apart.
    model = network(EComFormer, layers=1)
    straight = environment((0, 0, 2.5), (0, 0, -2.5))
    bent = environment((0, 0, 2.5), (2.5 * np.sin(2.4), 0, 2.5 * np.cos(2.4)))
    assert straight.edge_vector.shape == bent.edge_vector.shape == (4, 3)
    with torch.no_grad():
        assert differ(model(straight, None), model(bent, None))
        for layer in (model.update.first, model.update.second):  # every vector and quadrupole off
            layer[-1].weight[16:].zero_()
            layer[-1].bias[16:].zero_()
        torch.testing.assert_close(model(straight, None), model(bent, None), **EXACT)


@pytest.mark.parametrize(("start", "degree"), [(16, 1), (18, 2)])
def test_the_equivariant_update_follows_legendre_polynomials(start, degree):
    # One channel of vectors (quadrupoles), all weights 1: from k over j to i comes sqrt(2 l + 1) P_l(cos of the turn),
    # twice times the constant that makes up for cancellation.
    torch.manual_seed(0)
    update = EquivariantUpdate(hypers(average_neighbors=1.0)).double()
    batch = environment((0, 0, 2.5), (2.5, 0, 0), (0, 2.5, 0), (-2.0, 0, -1.5))
    source, target = batch.edge_source, batch.edge_target
    unit = batch.edge_vector / batch.edge_vector.norm(dim=1, keepdim=True)
    harmonics = directions(unit, "harmonics")
    own, edges = torch.zeros(5, 16).double(), torch.zeros(len(unit), 16).double()
    own[1:, 0] = 1.0  # the hydrogens
    inside = []
    update.mix.register_forward_pre_hook(lambda _, inputs: inside.append(inputs[0]))
    with torch.no_grad():
        for parameter in (*update.first[-1].parameters(), *update.second[-1].parameters(), update.scalars.bias):
            parameter.zero_()
        update.first[-1].bias[start] = update.second[-1].bias[start] = update.second[-1].bias[0] = 1.0
        update.scalars.weight.copy_(torch.eye(16))
        update.high.weight.zero_()
        update.high.weight[start - 16, 0] = 1.0
        update(own, edges, torch.ones(len(unit), 1).double(), harmonics, harmonics, source, target)
    expected = np.zeros(5)
    factor = CANCELLATION**2 * (2 * degree + 1) ** 0.5
    polynomial = np.polynomial.legendre.Legendre.basis(degree)
    for last in range(len(unit)):
        for first in range(len(unit)):
            if target[first] == source[last] and source[first] > 0:
                expected[target[last]] += factor * polynomial(float(unit[last] @ unit[first]))
    np.testing.assert_allclose(inside[0][:, start].numpy(), expected, rtol=1e-9, atol=1e-9)
    # Scalars pass the first product (its weights are zero) by the residual: the number of hydrogen neighbors.
    neighbors = [int(((target == i) & (source > 0)).sum()) for i in range(5)]
    np.testing.assert_allclose(inside[0][:, 0].numpy(), neighbors)


@BOTH
def test_elements_neighbors_and_conditions_are_seen(kind):
    model, atoms = network(kind), crystals.nameless()
    reference = features(model, atoms)
    other = atoms.copy()
    other.numbers[3] = 17
    assert differ(features(model, other), reference)
    moved = atoms.copy()
    moved.positions[0] += 0.1
    assert differ(features(model, moved), reference)
    batch = batch_of(atoms)
    with torch.no_grad():
        conditioned = model(batch, torch.ones(4, 16, dtype=torch.float64))
        torch.testing.assert_close(model(batch, torch.zeros(4, 16, dtype=torch.float64)), reference)
    assert differ(conditioned, reference)


@BOTH
def test_layers_reach_further(kind):
    # With n node convolutions (and the update's two steps) a change travels along a chain that far and no further.
    chain = ase.Atoms("C" * 12, positions=[(0, 0, 3.0 * k) for k in range(12)], cell=[30, 30, 90], pbc=True)
    changed = chain.copy()
    changed.numbers[0] = 8
    for layers in (1, 2):
        model = network(kind, layers=layers)
        change = (features(model, changed) - features(model, chain)).abs().amax(dim=1)
        reach = layers + (2 if kind is EComFormer else 0)
        assert (change[: reach + 1] > 1e-11).all()
        assert (change[reach + 1 :] < 1e-13).all()


# Symmetry.


@pytest.mark.parametrize(
    "atoms", [crystals.quartz(), crystals.corundum(), crystals.lead_titanate(), crystals.wurtzite()],
    ids=["quartz", "corundum", "lead_titanate", "wurtzite"],
)  # fmt: skip
def test_a_blind_ecomformer_gives_the_same_on_the_asymmetric_unit(atoms):
    assert len(batch_of(atoms, reduced=True).representative) < len(atoms)
    # 1e-6: the operations of a rounded crystal map its atoms onto one another within 1e-4 Angstrom or so.
    torch.testing.assert_close(
        features(network(EComFormer), atoms, reduced=True), features(network(EComFormer), atoms), rtol=1e-6, atol=1e-6
    )


def test_rotations_of_the_asymmetric_unit_are_used():
    # Quartz is chosen because its vectors do not vanish; with the identity for all atoms the result is another.
    model, batch = network(EComFormer), batch_of(crystals.quartz(), reduced=True)
    with torch.no_grad():
        assert differ(model(replace(batch, rotation=None), None), model(batch, None))


@BOTH
def test_permuted_atoms_permute_features(kind):
    model, atoms = network(kind), crystals.copper_tungstate()
    order = np.random.default_rng(0).permutation(len(atoms))
    torch.testing.assert_close(features(model, atoms[order]), features(model, atoms)[torch.as_tensor(order)], **EXACT)


@pytest.mark.parametrize(("kind", "reduced"), [(EComFormer, False), (EComFormer, True), (IComFormer, False)])
def test_a_batch_gives_what_its_crystals_give(kind, reduced):
    model = network(kind)
    several = [crystals.nameless(), crystals.quartz(), lone_atom(), crystals.rocksalt()]
    together = features(model, *several, reduced=reduced)
    alone = torch.cat([features(model, atoms, reduced=reduced) for atoms in several])
    torch.testing.assert_close(together, alone, **EXACT)


# Smoothness.


@BOTH
@pytest.mark.parametrize("envelope", ["cosine", "polynomial"])
def test_features_are_continuous_at_the_cutoff(kind, envelope):
    model = network(kind, envelope=envelope, directions="harmonics")

    def at(distance: float) -> Tensor:
        """Chlorine enters the neighborhood of sodium, which argon listens to all the time."""
        places = [(0, 0, 0), (0.6 * distance, 0, 0.8 * distance), (0, -2.5, -0.5)]
        return features(model, ase.Atoms("NaClAr", positions=places, cell=20 * np.eye(3), pbc=True))

    assert differ(at(CUTOFF - 0.5), at(CUTOFF + 0.1))
    assert (at(CUTOFF - 1e-3) - at(CUTOFF + 1e-3)).abs().max() < 1e-5
    torch.testing.assert_close(at(CUTOFF + 1e-3), at(CUTOFF + 1.0), **EXACT)


@BOTH
@pytest.mark.parametrize(
    "atoms", [lone_atom(), crystals.rocksalt(), crystals.perovskite(), crystals.zincblende()],
    ids=["lone_atom", "rocksalt", "perovskite", "zincblende"],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite(kind, atoms, dtype):
    model = network(kind, directions="harmonics").to(dtype)
    batch = batch_of(atoms).to(dtype=dtype)
    batch.edge_vector.requires_grad_(True)
    batch.lattice.requires_grad_(True)
    output = model(batch, None)
    assert output.dtype == dtype
    assert output.shape == (len(atoms), 16)
    assert output.isfinite().all()
    output.square().sum().backward()
    assert batch.edge_vector.grad.isfinite().all()
    assert batch.lattice.grad is None or batch.lattice.grad.isfinite().all()
    for parameter in model.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


@BOTH
def test_slopes_are_those_of_finite_differences(kind):
    model, batch = network(kind, directions="harmonics"), batch_of(crystals.nameless())

    def total(vector: Tensor, lattice: Tensor) -> Tensor:
        return model(replace(batch, edge_vector=vector, lattice=lattice), None).square().sum()

    step = torch.Generator().manual_seed(0)
    along = tuple(torch.randn(x.shape, generator=step, dtype=x.dtype) for x in (batch.edge_vector, batch.lattice))
    ends = [total(batch.edge_vector + h * along[0], batch.lattice + h * along[1]) for h in (1e-5, -1e-5)]
    start = tuple(x.clone().requires_grad_() for x in (batch.edge_vector, batch.lattice))
    slopes = torch.autograd.grad(total(*start), start, allow_unused=True)
    exact = sum((g * a).sum() for g, a in zip(slopes, along, strict=True) if g is not None)
    torch.testing.assert_close((ends[0] - ends[1]) / 2e-5, exact, rtol=1e-5, atol=1e-6)


# Parameters.


@BOTH
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("seen", ["none", "harmonics"])
def test_every_parameter_learns(kind, layers, seen):
    model = network(kind, layers=layers, directions=seen)
    model(batch_of(crystals.nameless(), crystals.quartz()), None).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-12, name


def test_nothing_depends_on_random_numbers_or_earlier_calls():
    for kind in (EComFormer, IComFormer):
        model = network(kind).train()
        first = features(model, crystals.quartz())
        features(model, crystals.nameless())
        torch.testing.assert_close(features(model, crystals.quartz()), first, rtol=0, atol=0)
        assert not [name for name, _ in model.named_buffers() if "running" in name]


# The paper's formula, written without shortcuts.


def test_node_attention_is_the_papers_formula():
    torch.manual_seed(0)
    width, neighbors = 16, 7.0
    layer = NodeAttention(hypers(average_neighbors=neighbors)).double()
    own, edge = torch.randn(3, width).double(), torch.randn(5, width).double()
    envelope = torch.rand(5, 1).double()
    source, target = torch.tensor([0, 2, 1, 1, 0]), torch.tensor([0, 0, 0, 2, 2])
    expected = torch.zeros(3, width).double()
    gated: GatedMessage = layer.messages
    with torch.no_grad():
        for e in range(5):
            i, j = target[e], source[e]
            hidden = nn.functional.silu(layer.first(torch.cat([own[i], own[j], edge[e]])))
            key, message = gated.key(hidden[:width]), gated.message(hidden[width:])
            alpha = layer.query(own[i]) * key / width**0.5
            gate = 1 / (1 + torch.exp(-nn.functional.layer_norm(alpha, (width,))))
            expected[i] += gate * message * envelope[e]
        expected = torch.log1p(torch.exp(own + layer.out(expected / neighbors**0.5)))
        torch.testing.assert_close(layer(own, edge, envelope, source, target), expected, **EXACT)

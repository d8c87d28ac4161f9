"""SEN piece by piece: sums over orbits, loops, composition, pooling, heads, losses, explanations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import ase
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from pymatgen.core import Composition as Formula
from scipy.special import eval_legendre, expit
from tests import crystals
from torch import Tensor

from voigt.graphs import CrystalBatch, build_graph, collate
from voigt.models.methods import build_network, parse_hypers
from voigt.models.radial import harmonics
from voigt.models.sen import losses
from voigt.models.sen.capsules import Parts
from voigt.models.sen.composition import Composition, WeightedAttention, formula_of
from voigt.models.sen.composition import Formula as Table
from voigt.models.sen.environment import (
    LARGEST_LOGIT,
    Moments,
    channel_attention,
    softmax_over_channels,
    update_bonds,
)
from voigt.models.sen.explanation import Explanation, explain
from voigt.models.sen.heads import SYSTEMS, CapsuleReadout, gap_of
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.model import SEN
from voigt.models.sen.pooling import Set2Set
from voigt.models.sen.segments import Orbits, orbits_of
from voigt.structures.symmetry import crystal_system, find_symmetry
from voigt.tensors.properties import PROPERTIES

COUNTS = [[1, 2, 3], [4], [1, 1, 6]]  # atoms of each orbit of three crystals


def hypers(**options: object) -> SENHypers:
    small = {"width": 12, "edge_width": 8, "loops": 2, "num_radial": 12, "direction_width": 3, "cutoff": 4.0}
    more = {"composition_width": 8, "embedding": 7, "part_capsules": 5, "part_features": 4, "object_capsules": 3}
    return SENHypers(**{**small, **more, "object_width": 8, "object_layers": 1, **options})


def batch_of(structures: Sequence[ase.Atoms], reduced: bool = False) -> CrystalBatch:
    graphs = [
        build_graph(atoms, 4.0, symmetry=find_symmetry(atoms) if reduced else None, dtype=torch.float64)
        for atoms in structures
    ]
    return collate(graphs)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Hyper-parameters.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"properties": ("eps_inf",)}, "sen predicts scalars; train eps_inf"),
        ({"properties": ("band_gap", "born_charges", "elastic")}, "sen predicts scalars; train born_charges, elastic"),
        ({"properties": ()}, "at least 1 item"),
        ({"neighbors": "mic"}, "neighbors 'mic' is a variant of equivar only"),
        ({"part_capsules": 1}, "greater than or equal to 2"),
        ({"likelihood": -1.0}, "greater than or equal to 0"),
        ({"dropout": 1.0}, "less than 1"),
        ({"widht": 8}, "Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        hypers(**options)


def test_the_method_is_found_by_name():
    found = parse_hypers({"method": "sen", "properties": ["band_gap"]})
    assert isinstance(found, SENHypers)
    assert isinstance(build_network(hypers()), SEN)


# Sums, means and softmax over atoms.


def orbits() -> Orbits:
    crystal = torch.tensor([k for k, sizes in enumerate(COUNTS) for _ in sizes])
    count = torch.tensor([float(n) for sizes in COUNTS for n in sizes], dtype=torch.float64)[:, None]
    total = torch.tensor([float(sum(sizes)) for sizes in COUNTS], dtype=torch.float64)
    return Orbits(crystal, count, count / total[crystal][:, None], len(COUNTS))


def atoms_of(rows: Tensor) -> list[Tensor]:
    """Rows of orbits, repeated for each atom, crystal by crystal."""
    everyone = rows.repeat_interleave(orbits().count[:, 0].long(), dim=0)
    return list(everyone.split([sum(sizes) for sizes in COUNTS]))


def test_sums_over_orbits_are_sums_over_atoms():
    rows, logits = random(7, 4), 30 * random(7, 2, seed=1)
    expected = torch.stack([one.mean(dim=0) for one in atoms_of(rows)])
    torch.testing.assert_close(orbits().mean(rows), expected)
    shares = torch.cat([one.softmax(dim=0) for one in atoms_of(logits)])
    weights = orbits().softmax(logits)
    first_atoms = (orbits().count.cumsum(dim=0) - orbits().count)[:, 0].long()
    torch.testing.assert_close(weights, shares[first_atoms] * orbits().count)
    pairs = zip(atoms_of(logits), atoms_of(rows), strict=True)
    weighted = torch.stack([one.softmax(dim=0).T @ own for one, own in pairs])
    torch.testing.assert_close(orbits().sum(weights[:, :, None] * rows[:, None]), weighted)


def test_softmax_of_huge_logits_is_finite():
    logits = (1e4 * random(7, 2)).requires_grad_()
    weights = orbits().softmax(logits)
    weights.square().sum().backward()
    torch.testing.assert_close(orbits().sum(weights), torch.ones(3, 2, dtype=torch.float64))
    assert torch.isfinite(logits.grad).all()


def test_orbits_of_a_batch_are_those_of_spglib():
    found = orbits_of(batch_of([crystals.rutile(), crystals.nameless(), crystals.corundum()], reduced=True))
    assert found.crystal.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert found.count[:, 0].tolist() == [2, 4, 1, 1, 1, 1, 12, 18]
    torch.testing.assert_close(found.share[:, 0].numpy(), np.array([2 / 6, 4 / 6, *[1 / 4] * 4, 12 / 30, 18 / 30]))


# Loops.


def test_moments_hold_the_angles_between_bonds():
    # Addition theorem: sums over pairs of neighbors of cos(angle), and of its second Legendre polynomial.
    torch.manual_seed(0)
    module = Moments(hypers()).double()
    bonds, vectors, target = random(9, 8), random(9, 3, seed=1), torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    strength, cosine = module.of_bonds(bonds), (unit @ unit.T).numpy()
    expected = torch.zeros(4, 6, dtype=torch.float64)  # atom 3 has no neighbors
    for degree, columns in ((1, slice(0, 3)), (2, slice(3, 6))):
        shape = torch.tensor(eval_legendre(degree, cosine))
        for atom in range(3):
            own = (target == atom).double()
            pairs = shape * own[:, None] * own[None]
            expected[atom, columns] = torch.einsum("ij,ic,jd,cd->c", pairs, strength, strength, module.mix.weight)
    zero = torch.zeros(4, 32, dtype=torch.float64)  # nothing is added to the bonds
    ends = (zero, target, target, torch.zeros(8, 32, dtype=torch.float64), zero)
    moment = update_bonds(bonds, *ends, bonds[:, :1], harmonics(unit), module.of_bonds.weight, 2, 0.6)[2]
    assert moment is not None
    actual = module(moment)
    torch.testing.assert_close(actual, torch.nn.functional.layer_norm(expected, (6,)))


def test_channel_attention_by_hand():
    logits = random(5, 2, 3, 8)
    new, weights = channel_attention(logits[:, 0], logits[:, 1])
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(5, 3, dtype=torch.float64))
    by_hand = torch.zeros(5, 8, dtype=torch.float64)
    for head in range(3):
        bounded = LARGEST_LOGIT * torch.tanh(logits[:, 1, head] / LARGEST_LOGIT)
        exponential = torch.exp(bounded)
        by_hand += logits[:, 0, head] * exponential / exponential.mean(dim=1, keepdim=True)
    torch.testing.assert_close(new, torch.nn.functional.selu(by_hand / math.sqrt(3)))


def test_no_channel_takes_all_attention():
    logits = random(50, 8)
    small = softmax_over_channels(1e-3 * logits)
    torch.testing.assert_close(small, (1e-3 * logits).softmax(dim=1))
    huge = softmax_over_channels(1e6 * logits)
    ratio = huge.amax(dim=1) / huge.amin(dim=1)
    torch.testing.assert_close(ratio.amax(), torch.tensor(math.exp(2 * LARGEST_LOGIT), dtype=torch.float64))


# Composition.


def composition() -> Composition:
    torch.manual_seed(0)
    module = Composition(hypers(composition_heads=2)).double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("power"):
                parameter.copy_(torch.tensor([0.7, 1.6]))
    return module


def test_elements_and_fractions_are_those_of_pymatgen():
    structures = [crystals.calcium_titanate(), crystals.rocksalt(), crystals.quartz(), crystals.nameless()]
    for reduced in (False, True):
        batch = batch_of(structures, reduced)
        table = formula_of(batch, orbits_of(batch))
        for k, atoms in enumerate(structures):
            formula = Formula(atoms.get_chemical_formula())
            expected = {element.Z: formula.get_atomic_fraction(element) for element in formula.elements}
            rows = zip(table.numbers[k].tolist(), table.fractions[k].tolist(), strict=True)
            assert {z: fraction for z, fraction in rows if z} == pytest.approx(expected)
        assert (table.fractions[table.numbers == 0] == 0).all()
        torch.testing.assert_close(table.fractions.sum(dim=1), torch.ones(4, dtype=torch.float64))


def test_composition_knows_fractions_only():
    module = composition()

    def said(*structures: ase.Atoms) -> Tensor:
        batch = batch_of(structures)
        return module(formula_of(batch, orbits_of(batch)))[0]

    salt = said(crystals.rocksalt())
    torch.testing.assert_close(said(crystals.rocksalt(cubic=True)), salt)
    torch.testing.assert_close(said(crystals.rocksalt()[[1, 0]]), salt)
    # Beside a longer formula there are empty places in the table.
    torch.testing.assert_close(said(crystals.rocksalt(), crystals.nameless())[:1], salt)
    assert (said(crystals.quartz()) - said(crystals.rutile())).abs().max() > 1e-3, "elements tell nothing"
    fractions = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64)
    two = module(Table(torch.tensor([[11, 17], [11, 17]]), fractions))[0]
    assert (two[0] - two[1]).abs().max() > 1e-3, "fractions tell nothing"


def test_composition_has_no_order():
    numbers = torch.tensor([[8, 20, 22]])
    fractions = torch.tensor([[0.6, 0.15, 0.25]], dtype=torch.float64)
    order = [2, 0, 1]
    vector, weights = composition()(Table(numbers, fractions))
    shuffled, turned = composition()(Table(numbers[:, order], fractions[:, order]))
    torch.testing.assert_close(shuffled, vector)
    torch.testing.assert_close(turned, weights[:, order])
    torch.testing.assert_close(weights.sum(), torch.ones((), dtype=torch.float64))


def test_weights_of_elements_are_those_of_roost():
    # Goodall and Lee (2020), Eq. 4: fraction to a power times the exponential of the gate.
    torch.manual_seed(0)
    module = WeightedAttention(8, 2).double()
    with torch.no_grad():
        module.power.copy_(torch.tensor([0.5, 2.0]))
    gates, values, fractions = random(4, 8), random(4, 8, seed=1), torch.tensor([0.5, 0.2, 0.3, 0.0]).double()
    pooled, attention = module(gates, values, fractions)
    raw = fractions[:, None] ** module.power * torch.exp(module.gate(gates))
    expected = (raw / raw.sum(dim=0)).mean(dim=1)
    torch.testing.assert_close(attention, expected)
    assert attention[3] == 0
    torch.testing.assert_close(pooled, (expected[:, None] * module.value(values)).sum(dim=0))
    pooled.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())


# Set2Set.


def pooling() -> Set2Set:
    torch.manual_seed(0)
    return Set2Set(6, 3).double()


def test_set2set_has_no_order_and_counts_atoms():
    module, rows = pooling(), 3 * random(7, 6)
    pooled, weights = module(rows, orbits())
    assert len(weights) == 3
    order = torch.tensor([6, 3, 0, 5, 2, 1, 4])
    given = orbits()
    shuffled = Orbits(given.crystal[order], given.count[order], given.share[order], 3)
    turned, others = module(rows[order], shuffled)
    torch.testing.assert_close(turned, pooled)
    torch.testing.assert_close(others, tuple(weight[order] for weight in weights))
    everyone, alone = torch.cat(atoms_of(rows)), torch.arange(3).repeat_interleave(torch.tensor([6, 4, 8]))
    share = torch.tensor([1 / 6, 1 / 4, 1 / 8]).double()[alone][:, None]
    of_atoms, _ = module(everyone, Orbits(alone, torch.ones(18, 1).double(), share, 3))
    torch.testing.assert_close(of_atoms, pooled)


def test_set2set_as_published():
    # Vinyals et al. (2015), Eqs. 3 to 7, for one crystal of four atoms, with torch's LSTM; logits over root of width.
    module, rows = pooling(), random(4, 6)
    one = Orbits(torch.zeros(4, dtype=torch.int64), torch.ones(4, 1).double(), torch.full((4, 1), 0.25).double(), 1)
    pooled, weights = module(rows, one)
    lstm = torch.nn.LSTM(12, 6).double()
    with torch.no_grad():
        for name, parameter in module.cell.named_parameters():
            getattr(lstm, f"{name}_l0").copy_(parameter)
    star, memory = torch.zeros(1, 12).double(), None
    for step in range(3):
        query, memory = lstm(star, memory)
        attention = (rows @ query[0] / math.sqrt(6)).softmax(dim=0)
        torch.testing.assert_close(weights[step], attention)
        star = torch.cat([query, (attention @ rows)[None]], dim=1)
    torch.testing.assert_close(pooled, star)


# Heads.


def test_shares_add_up_to_the_value():
    torch.manual_seed(0)
    for reference in (True, False):
        head = CapsuleReadout(PROPERTIES["formation_energy"], hypers(element_reference=reference)).double()
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
        assignment = orbits().softmax(random(7, 5))
        presence = random(3, 5, seed=1).softmax(dim=1)
        parts = Parts(assignment, random(3, 5, 6), random(3, 5, 4, seed=2), presence, random(3, 5, 8))
        numbers = torch.tensor([8, 14, 26, 11, 3, 22, 9])
        found = head(random(7, 12), parts, random(3, 7), random(3, 8), numbers, orbits())
        shares = torch.stack([one.sum() for one in atoms_of(found.share[:, None])])
        torch.testing.assert_close(shares, found.value, atol=1e-12, rtol=1e-12)
        assert found.share[:3].std() > 1e-3


def test_gap_is_the_median_of_metal_and_insulator():
    # Half of the crystals that look like this one have a smaller gap: (1 - p) of them none at all, p of them anything
    # between 0 and twice the size.
    for size in (0.3, 2.0, 7.0):
        for p in (0.1, 0.4, 0.55, 0.7, 0.9, 0.99):
            gaps = np.zeros(200_001)
            insulators = round(p * len(gaps))
            gaps[:insulators] = np.linspace(0, 2 * size, insulators)
            logit = torch.tensor([math.log((1 - p) / p)], dtype=torch.float64)
            actual = float(gap_of(torch.tensor([size], dtype=torch.float64), logit))
            assert actual == pytest.approx(np.median(gaps), abs=1e-3 * size)


def test_gap_grows_from_nothing_to_the_size():
    p = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    gaps = gap_of(torch.full_like(p, 3.0), torch.log((1 - p) / p))
    assert (gaps[p <= 0.5] == 0).all()
    above = gaps[p > 0.5]
    assert (above.diff() > 0).all()
    assert above[0] < 0.02
    certain = gap_of(torch.tensor([3.0, -3.0, 3.0]), torch.tensor([-200.0, -200.0, 200.0]))
    assert certain.tolist() == [3.0, 0.0, 0.0]


def test_gradient_of_the_gap_is_finite():
    size = torch.tensor([3.0, 0.0, -1.0, 2.0, 2.0], requires_grad=True)
    logit = torch.tensor([-200.0, 200.0, 0.0, 1e4, -1e4], requires_grad=True)
    gap_of(size, logit).sum().backward()
    assert torch.isfinite(size.grad).all()
    assert torch.isfinite(logit.grad).all()


# Losses.


def test_losses_of_the_two_stages():
    size = torch.tensor([1.0, 2.5, 0.3, 4.0, 9.0], dtype=torch.float64, requires_grad=True)
    logit = torch.tensor([0.5, -2.0, 3.0, -1.0, 7.0], dtype=torch.float64, requires_grad=True)
    label = torch.tensor([0.0, 2.0, 0.0, 5.5, math.nan], dtype=torch.float64)
    metal, error = losses.gap_losses(size, logit, label)
    p = expit(logit.detach().numpy())
    assert metal.item() == pytest.approx(-np.mean(np.log([p[0], 1 - p[1], p[2], 1 - p[3]])))
    assert error.item() == pytest.approx((0.5 + 1.5) / 2)
    (metal + error).backward()
    assert torch.isfinite(size.grad).all()
    assert torch.isfinite(logit.grad).all()
    assert size.grad[[0, 2, 4]].abs().max() == 0, "a metal, or no label, says nothing of the size"
    assert logit.grad[4] == 0


@pytest.mark.parametrize("label", [[0.0, 0.0], [math.nan, math.nan], [math.nan, 0.0]])
def test_losses_without_insulators_or_labels(label):
    size, logit = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([1e3, -1e3], requires_grad=True)
    metal, error = losses.gap_losses(size, logit, torch.tensor(label))
    assert error.item() == 0
    assert torch.isfinite(metal)
    (metal + error).backward()
    assert size.grad.tolist() == [0.0, 0.0]
    assert torch.isfinite(logit.grad).all()


def test_class_loss_is_that_of_torch():
    logits, weight = random(6, 7), random(7, seed=1).exp()
    label = torch.tensor([0, 6, -1, 3, 3, -1])
    expected = torch.nn.functional.cross_entropy(logits, label, weight=weight, ignore_index=-1)
    torch.testing.assert_close(losses.class_loss(logits, label, weight), expected)


def test_class_loss_without_labels_is_nothing():
    logits = random(2, 7).requires_grad_()
    loss = losses.class_loss(logits, torch.tensor([-1, -1]), torch.ones(7, dtype=torch.float64))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_system_of_every_space_group():
    numbers = torch.arange(231)
    index = losses.system_index(numbers).tolist()
    assert index[0] == -1
    assert [SYSTEMS[k] for k in index[1:]] == [crystal_system(number) for number in range(1, 231)]


# Explanations.

TASKS = {"properties": ("formation_energy", "band_gap"), "crystal_system": 0.1, "space_group": 0.1}
STRUCTURES = (crystals.rutile, crystals.nameless, crystals.corundum, crystals.wurtzite)


def network(**options: object) -> SEN:
    torch.manual_seed(5)
    model = SEN(hypers(**{**TASKS, **options})).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.unique().numel() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
        if model.metal is not None:
            model.metal.bias.fill_(-1.5)
            model.readouts["band_gap"].bias.fill_(2.0)
    return model


@pytest.fixture(scope="module", params=[False, True], ids=["full", "reduced"])
def explained(request: pytest.FixtureRequest) -> list[tuple[ase.Atoms, Explanation]]:
    structures = [make() for make in STRUCTURES]
    return list(zip(structures, explain(network(), batch_of(structures, request.param)), strict=True))


def test_predictions_of_explanations_are_those_of_the_network(explained):
    with torch.no_grad():
        outputs = network()(batch_of([atoms for atoms, _ in explained]))
    for k, (_, one) in enumerate(explained):
        for name in TASKS["properties"]:
            assert one.prediction[name] == pytest.approx(float(outputs[name][k]), abs=1e-9)
        assert one.additive["formation_energy"] == pytest.approx(one.prediction["formation_energy"], abs=1e-12)
        factor = max(0.0, 2.0 - 1.0 / (1.0 - one.metal_probability))
        assert one.prediction["band_gap"] == pytest.approx(max(0.0, one.additive["band_gap"]) * factor, abs=1e-9)
        assert one.prediction["band_gap"] > 0, "a metal's gap of zero shows little"


def test_explanations_add_up(explained):
    for atoms, one in explained:
        count = len(atoms)
        for name in TASKS["properties"]:
            assert one.shares[name].shape == (count,)
            assert one.shares[name].sum() == pytest.approx(one.additive[name], abs=1e-9)
        np.testing.assert_allclose(one.assignment.sum(axis=0), np.ones(5))
        np.testing.assert_allclose(one.posterior.sum(axis=1), np.ones(5))
        assert one.presence.sum() == pytest.approx(1)
        for attention in (one.atom_attention, one.bond_attention):
            np.testing.assert_allclose(attention.sum(axis=1), np.ones(3))
        for attention in one.channel_attention:
            np.testing.assert_allclose(attention.sum(axis=1), np.ones(count))
        assert set(one.element_attention) == set(atoms.symbols)
        assert sum(one.element_attention.values()) == pytest.approx(1)
        assert one.crystal_system_probabilities.sum() == pytest.approx(1)
        assert one.space_group_probabilities.sum() == pytest.approx(1)
        assert ((one.object_presence > 0) & (one.object_presence < 1)).all()


def test_shapes_of_explanations(explained):
    for atoms, one in explained:
        count = len(atoms)
        assert [stage.shape for stage in one.atom_stages] == [(count, 12)] * 3
        assert [weights.shape for weights in one.channel_attention] == [(count, 12)] * 2
        assert one.atom_attention.shape == one.bond_attention.shape == (3, count)
        assert (one.assignment.shape, one.pose.shape, one.features.shape) == ((count, 5), (5, 6), (5, 4))
        assert (one.posterior.shape, one.log_likelihood.shape, one.object_presence.shape) == ((5, 4), (5,), (3,))
        assert one.embedding.shape == (7 + 5,)
        assert (one.crystal_system_probabilities.shape, one.space_group_probabilities.shape) == ((7,), (230,))
        assert one.assignment.dtype == one.pose.dtype == np.float64


def test_without_gap_and_symmetry_there_is_nothing_to_say_of_them():
    only = network(properties=("formation_energy",), crystal_system=0.0, space_group=0.0)
    (one,) = explain(only, batch_of([crystals.rutile()]))
    assert one.metal_probability is None
    assert one.crystal_system_probabilities is None
    assert one.space_group_probabilities is None
    assert set(one.shares) == set(one.prediction) == {"formation_energy"}

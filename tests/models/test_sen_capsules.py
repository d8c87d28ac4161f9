"""Capsules of SEN: affine poses, parts and objects, the likelihood of poses, sparsity."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from voigt.models.sen import losses
from voigt.models.sen.capsules import ObjectCapsules, PartCapsules, Parts, affine, attended, composed, mixture
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.segments import Orbits

PARTS, OBJECTS, FEATURES = 5, 3, 4
DUMMY_WEIGHT = DUMMY_DENSITY = 0.01  # exp(-2 log 10), Kosiorek's


def hypers(**options: object) -> SENHypers:
    small = {"width": 12, "embedding": 7, "part_capsules": PARTS, "part_features": FEATURES}
    return SENHypers(**{**small, "object_capsules": OBJECTS, "object_width": 8, "object_layers": 2, **options})


def matrix(entries: np.ndarray) -> np.ndarray:
    """(..., 6) -> (..., 3, 3)."""
    rows = entries.reshape(*entries.shape[:-1], 2, 3)
    last = np.broadcast_to([0.0, 0.0, 1.0], (*rows.shape[:-2], 1, 3))
    return np.concatenate([rows, last], axis=-2)


def orbits_of(counts: list[list[int]]) -> Orbits:
    """Crystals given by the number of atoms in each of their orbits."""
    crystal = torch.tensor([k for k, orbits in enumerate(counts) for _ in orbits])
    count = torch.tensor([float(n) for orbits in counts for n in orbits], dtype=torch.float64)[:, None]
    total = torch.tensor([float(sum(orbits)) for orbits in counts], dtype=torch.float64)
    return Orbits(crystal, count, count / total[crystal][:, None], len(counts))


# Affine matrices.


def test_a_pose_is_scale_rotation_shear_and_shift():
    free = np.random.default_rng(0).normal(size=(20, 6))
    alpha, gain = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. (2017)
    scale = gain * np.where(free[:, :2] > 0, free[:, :2], alpha * np.expm1(free[:, :2])) + 0.01
    angle = 2 * np.pi * free[:, 2]
    shear, x, y = np.tanh(5 * free[:, 3:]).T
    for k, actual in enumerate(matrix(affine(torch.tensor(free)).numpy())):
        cos, sin = np.cos(angle[k]), np.sin(angle[k])
        shift = np.array([[1, 0, x[k]], [0, 1, y[k]], [0, 0, 1]])
        sheared = np.array([[1, shear[k], 0], [0, 1, 0], [0, 0, 1]])
        turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        expected = shift @ sheared @ np.diag([*scale[k], 1.0]) @ turned
        np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        ([1, 2, 0, 0, 0, 0], [[1.0607009873554805, 0, 0], [0, 2.111401974710961, 0]]),
        ([1, 2, 0.25, 0, 0, 0], [[0, -1.0607009873554805, 0], [2.111401974710961, 0, 0]]),
        ([0, 0, 0, 0, 9, -9], [[0.01, 0, 1], [0, 0.01, -1]]),
        ([0, 0, 0, 9, 0, 0], [[0.01, 0.01, 0], [0, 0.01, 0]]),
    ],
    ids=["scales", "quarter turn", "shifts", "shear"],
)
def test_each_number_of_a_pose(free, expected):
    actual = affine(torch.tensor(free, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(actual.reshape(2, 3), expected, atol=1e-12)


def test_composed_is_the_product_of_matrices():
    random = np.random.default_rng(1)
    outer, inner = random.normal(size=(4, 3, 1, 6)), random.normal(size=(4, 3, 5, 6))
    actual = matrix(composed(torch.tensor(outer), torch.tensor(inner)).numpy())
    np.testing.assert_allclose(actual, matrix(outer) @ matrix(inner), atol=1e-12)


# Parts.


def alike(rows: Tensor) -> Tensor:
    """Equal weights of crystals."""
    return torch.full((len(rows),), 1 / len(rows), dtype=rows.dtype)


def formed(seed: int = 0, training: bool = False, **options: object) -> tuple[PartCapsules, Tensor, Tensor, Orbits]:
    torch.manual_seed(seed)
    capsules = PartCapsules(hypers(**options)).double().train(training)
    orbits = orbits_of([[1, 2, 3], [4], [1, 1]])
    return capsules, torch.randn(6, 12, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64), orbits


@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_presences_and_assignments_sum_to_one(noise):
    capsules, atoms, crystal, orbits = formed(training=True, noise=noise)
    parts = capsules(atoms, crystal, orbits)
    assert parts.pose.shape == (3, PARTS, 6)
    assert parts.features.shape == (3, PARTS, FEATURES)
    assert (parts.presence > 0).all()
    assert (parts.assignment > 0).all()
    torch.testing.assert_close(parts.presence.sum(dim=1), torch.ones(3, dtype=torch.float64))
    for k in range(3):
        columns = parts.assignment[orbits.crystal == k].sum(dim=0)
        torch.testing.assert_close(columns, torch.ones(PARTS, dtype=torch.float64))
    assert parts.assignment[:3].std(dim=0).min() > 1e-3, "parts do not choose among atoms"


def test_parts_of_the_asymmetric_unit_are_those_of_all_atoms():
    capsules, atoms, crystal, orbits = formed()
    copies = orbits.count[:, 0].long()
    everyone = orbits_of([[1] * 6, [1] * 4, [1] * 2])
    expected = capsules(atoms.repeat_interleave(copies, dim=0), crystal, everyone)
    actual = capsules(atoms, crystal, orbits)
    for name in ("pose", "features", "presence", "pooled"):
        torch.testing.assert_close(getattr(actual, name), getattr(expected, name))
    spread = (actual.assignment / orbits.count).repeat_interleave(copies, dim=0)
    torch.testing.assert_close(spread, expected.assignment)


def test_noise_moves_presences_in_training_only():
    capsules, *inputs = formed(noise=4.0)
    still = [capsules(*inputs).presence for _ in range(2)]
    assert torch.equal(*still)
    capsules.train()
    assert not torch.equal(capsules(*inputs).presence, capsules(*inputs).presence)
    # The logits move by at most half the width: ratios of presences by at most exp(width).
    ratio = torch.log(capsules(*inputs).presence / still[0])
    assert (ratio.amax(dim=1) - ratio.amin(dim=1)).max() <= 4.0
    quiet, *inputs = formed(training=True)
    assert torch.equal(quiet(*inputs).presence, quiet(*inputs).presence)


# Objects.


def some_parts(seed: int = 0, crystals: int = 4) -> Parts:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    presence = normal(crystals, PARTS).softmax(dim=1)
    return Parts(normal(1, PARTS), normal(crystals, PARTS, 6), normal(crystals, PARTS, FEATURES), presence, normal(1))


def objects_network(**options: object) -> ObjectCapsules:
    torch.manual_seed(1)
    return ObjectCapsules(hypers(**options)).double().eval()


def test_objects_are_probabilities():
    found = objects_network()(some_parts())
    assert found.features.shape == (4, OBJECTS, 8)
    assert ((found.presence > 0) & (found.presence < 1)).all()
    assert found.posterior.shape == (4, PARTS, OBJECTS + 1)
    assert (found.posterior >= 0).all()
    torch.testing.assert_close(found.posterior.sum(dim=2), torch.ones(4, PARTS, dtype=torch.float64))
    assert found.log_likelihood.shape == (4, PARTS)


def test_votes_of_objects_by_hand():
    # Kosiorek et al. (2019), Eq. 4: means OV_k OP_kn, weights a_k a_kn, from what the decoder says of each object.
    network, parts = objects_network(), some_parts()
    found = network(parts)
    raw = network.decoder(found.features).detach()
    rest = raw[..., 7:].view(4, OBJECTS, PARTS, 8)
    viewer = matrix(affine(0.5 * raw[..., :6]).numpy())
    inner = matrix(affine(0.5 * (rest[..., :6] + network.static.detach())).numpy())
    votes = torch.tensor(viewer[:, :, None] @ inner)[..., :2, :].flatten(-2)
    presence = torch.sigmoid(raw[..., 6])
    weights = presence[..., None] * torch.sigmoid(rest[..., 6])
    scale = torch.log1p(torch.exp(rest[..., 7] + 0.5)) + 0.01
    density = Independent(Normal(votes, scale[..., None]), 1).log_prob(parts.pose[:, None]).exp()
    joint = torch.cat([weights * density, torch.full((4, 1, PARTS), DUMMY_WEIGHT * DUMMY_DENSITY).double()], dim=1)
    torch.testing.assert_close(found.presence, presence)
    torch.testing.assert_close(found.posterior, (joint / joint.sum(dim=1, keepdim=True)).transpose(1, 2))
    torch.testing.assert_close(found.log_likelihood, torch.log(joint.sum(dim=1) / (weights.sum(dim=1) + DUMMY_WEIGHT)))


def test_an_absent_part_is_not_listened_to():
    network, parts = objects_network(), some_parts()

    def heard(presence: Tensor) -> float:
        """How much the objects change with the features of part 2."""
        other = parts.features.clone()
        other[:, 2] += 1.0
        given = [Parts(parts.assignment, parts.pose, f, presence, parts.pooled) for f in (parts.features, other)]
        first, second = (network(one).features for one in given)
        return float((first - second).detach().abs().max())

    absent = parts.presence.clone()
    absent[:, 2] = 0.0
    assert heard(absent) < 1e-4
    assert heard(parts.presence) > 1e-2


def test_all_is_finite_when_parts_and_objects_are_absent():
    network, parts = objects_network(), some_parts()
    with torch.no_grad():  # the logits of the objects and of all their votes
        network.decoder[-1].bias.fill_(-1e4)
    presence = torch.zeros_like(parts.presence)
    presence[:, 0] = 1.0
    pose = parts.pose.clone().requires_grad_()
    given = Parts(parts.assignment, pose, parts.features, presence, parts.pooled)
    found = network(given)
    counted = alike(given.presence)
    total = losses.likelihood_loss(given, found, counted) + losses.sparsity(found.presence, counted)
    total = total + losses.sparsity(losses.posterior_presence(given, found), counted)
    total.backward()
    assert torch.isfinite(total)
    # Only the dummy is left.
    torch.testing.assert_close(found.log_likelihood, torch.full((4, PARTS), math.log(0.01), dtype=torch.float64))
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_attention_is_that_of_torch():
    generator = torch.Generator().manual_seed(2)
    query, key, value = torch.randn(3, 2, PARTS, 8, generator=generator).double()
    log_presence = torch.randn(2, PARTS, generator=generator).double()
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=log_presence[:, None])
    torch.testing.assert_close(attended(query, key, value, log_presence), expected)


def test_poses_are_a_target_that_learns_nothing_from_the_votes():
    network, parts = objects_network(), some_parts()
    pose = parts.pose.clone().requires_grad_()
    with torch.no_grad():
        network.start.weight[:, :6] = 0.0  # the objects do not see the poses: only the likelihood does
    found = network(Parts(parts.assignment, pose, parts.features, parts.presence, parts.pooled))
    (gradient,) = torch.autograd.grad(found.log_likelihood.sum(), pose, allow_unused=True)
    assert gradient is None or gradient.abs().max() == 0
    moved = Parts(parts.assignment, parts.pose + 1.0, parts.features, parts.presence, parts.pooled)
    assert (network(moved).log_likelihood - found.log_likelihood).detach().abs().max() > 0.1


# Mixture likelihood.


def votes_of(seed: int, crystals: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = np.random.default_rng(seed)
    pose = random.normal(size=(crystals, PARTS, 6))
    votes = random.normal(size=(crystals, OBJECTS, PARTS, 6))
    scale = random.uniform(0.5, 2.0, size=(crystals, OBJECTS, PARTS))
    log_vote = np.log(random.uniform(0.01, 1.0, size=(crystals, OBJECTS, PARTS)))
    return torch.tensor(pose), torch.tensor(votes), torch.tensor(scale), torch.tensor(log_vote)


def test_likelihood_is_that_of_a_mixture_of_normal_distributions():
    pose, votes, scale, log_vote = votes_of(0)
    _, actual = mixture(pose, votes, scale, log_vote + 60.0)  # next to exp(60) the dummy weighs nothing
    components = Independent(Normal(votes.transpose(1, 2), scale.transpose(1, 2)[..., None]), 1)
    expected = MixtureSameFamily(Categorical(logits=log_vote.transpose(1, 2)), components).log_prob(pose)
    torch.testing.assert_close(actual, expected)


def test_likelihood_and_posterior_with_the_dummy():
    pose, votes, scale, log_vote = votes_of(1)
    posterior, log_likelihood = mixture(pose, votes, scale, log_vote)
    for c in range(len(pose)):
        for n in range(PARTS):
            weights = np.append(log_vote[c, :, n].exp().numpy(), DUMMY_WEIGHT)
            densities = [
                multivariate_normal(votes[c, k, n].numpy(), float(scale[c, k, n]) ** 2 * np.eye(6)).pdf(pose[c, n])
                for k in range(OBJECTS)
            ]
            joint = weights / weights.sum() * np.append(densities, DUMMY_DENSITY)
            assert float(log_likelihood[c, n]) == pytest.approx(np.log(joint.sum()), rel=1e-10)
            np.testing.assert_allclose(posterior[c, n].numpy(), joint / joint.sum(), rtol=1e-10)
    assert posterior[..., -1].std() > 1e-3, "the dummy's share must vary, or little is tested"


@pytest.mark.parametrize("absent", [-1e4, -math.inf])
def test_absent_objects_leave_all_to_the_dummy(absent):
    pose, votes, scale, _ = votes_of(2)
    log_vote = torch.full(scale.shape, absent, dtype=torch.float64, requires_grad=True)
    votes, scale = votes.requires_grad_(), scale.requires_grad_()
    posterior, log_likelihood = mixture(pose, votes, scale, log_vote)
    torch.testing.assert_close(log_likelihood, torch.full_like(log_likelihood, math.log(DUMMY_DENSITY)))
    torch.testing.assert_close(posterior[..., -1], torch.ones_like(posterior[..., -1]))
    (log_likelihood.sum() + posterior.square().sum()).backward()
    assert all(torch.isfinite(leaf.grad).all() for leaf in (votes, scale, log_vote))


def test_a_pose_that_no_object_explains_is_left_to_the_dummy():
    pose, votes, scale, log_vote = votes_of(3)
    posterior, log_likelihood = mixture(pose + 1e4, votes, scale, log_vote)
    weight = DUMMY_WEIGHT / (log_vote.exp().sum(dim=1) + DUMMY_WEIGHT)
    torch.testing.assert_close(log_likelihood, torch.log(weight * DUMMY_DENSITY))
    torch.testing.assert_close(posterior[..., -1], torch.ones_like(weight))


def test_likelihood_is_largest_at_the_vote():
    pose, votes, scale, log_vote = votes_of(4)
    alone = [tensor[:, :1] for tensor in (votes, scale, log_vote + 60.0)]
    _, at_vote = mixture(votes[:, 0], *alone)
    expected = -6 * torch.log(scale[:, 0] * math.sqrt(2 * math.pi))
    torch.testing.assert_close(at_vote, expected)
    assert (mixture(pose, *alone)[1] < at_vote).all()


# Losses of capsules.


def test_sparsity_is_smallest_with_one_capsule_per_crystal_and_all_in_use():
    for k in (2, OBJECTS, 10):
        each_its_own = torch.eye(k, dtype=torch.float64)
        assert float(losses.sparsity(each_its_own, alike(each_its_own))) == pytest.approx(-math.log(k), abs=1e-9)
        undecided = torch.ones(5, k, dtype=torch.float64)
        assert float(losses.sparsity(undecided, alike(undecided))) == pytest.approx(0, abs=1e-9)
        all_the_same = each_its_own[:1].expand(4, -1)
        assert float(losses.sparsity(all_the_same, alike(all_the_same))) == pytest.approx(0, abs=1e-9)
        generator = torch.Generator().manual_seed(k)
        for power in (1, 3):
            presence = torch.rand(6, k, generator=generator, dtype=torch.float64) ** power
            value = float(losses.sparsity(presence, alike(presence)))
            assert -math.log(k) < value < 0
            scaled = presence * torch.arange(1, 7)[:, None]  # only shares within a crystal count
            assert float(losses.sparsity(scaled, alike(scaled))) == pytest.approx(value, abs=1e-6)


def test_sparsity_without_any_capsule_is_finite():
    presence = torch.zeros(3, OBJECTS, requires_grad=True)
    value = losses.sparsity(presence, alike(presence))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(presence.grad).all()


def test_entropy_in_closed_form():
    rows = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)
    expected = torch.tensor([1.5 * math.log(2), 0.0, math.log(3)], dtype=torch.float64)
    torch.testing.assert_close(losses.entropy(rows), expected, atol=1e-9, rtol=0)


def test_losses_of_present_parts():
    parts = some_parts()
    found = objects_network()(parts)
    crystals = range(len(parts.presence))
    expected = [sum(parts.presence[c, n] * -found.log_likelihood[c, n] for n in range(PARTS)) for c in crystals]
    actual = losses.likelihood_loss(parts, found, alike(parts.presence))
    torch.testing.assert_close(actual, torch.stack(expected).mean())
    chosen = losses.posterior_presence(parts, found)
    by_hand = torch.einsum("cn,cnk->ck", parts.presence, found.posterior[:, :, :OBJECTS])
    torch.testing.assert_close(chosen, by_hand)
    to_dummy = (parts.presence * found.posterior[:, :, OBJECTS]).sum(dim=1)
    torch.testing.assert_close(chosen.sum(dim=1), 1 - to_dummy)


def test_reconstruction_is_a_cross_entropy_with_a_fixed_target():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, PARTS, 9, generator=generator, dtype=torch.float64)
    fractions = torch.randn(2, PARTS, 9, generator=generator, dtype=torch.float64).softmax(dim=-1).requires_grad_()
    loss = losses.reconstruction_loss(logits.requires_grad_(), fractions, alike(logits))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), fractions.flatten(0, 1))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert fractions.grad is None

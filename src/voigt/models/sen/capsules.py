"""Capsules: parts formed from atoms, and the objects that explain their poses (Kosiorek et al., arXiv 1906.06818)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from voigt.models.linear import Linear
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.segments import Orbits

POSE = 6
"""Numbers of a pose: the upper two rows of a 3 x 3 affine matrix of the plane."""

FOLLOWING = 0.02
"""Share of a batch in the running mean of atoms' vectors."""

DUMMY = -2.0 * math.log(10.0)
"""Logit and log-likelihood of the component that explains parts which belong to no object."""


@dataclass(frozen=True)
class Parts:
    """Part capsules of a batch of crystals.

    Attributes
    ----------
    assignment
        (n_orbits, parts) weight of each orbit in the forming of each part; sums to one over the crystal.
    pose
        (n_crystals, parts, 6) affine matrices.
    features
        (n_crystals, parts, part_features).
    presence
        (n_crystals, parts), sums to one.
    pooled
        (n_crystals, parts, object_width) what the atoms gave to each part.
    log_evidence
        (n_crystals,) mean over atoms of the log likelihood, less a constant, of an atom's vector under the parts; None
        where parts do not compete.
    """

    assignment: Tensor
    pose: Tensor
    features: Tensor
    presence: Tensor
    pooled: Tensor
    log_evidence: Tensor | None = None

    def detached(self) -> Parts:
        """The same values, through which nothing is learned."""
        return Parts(
            self.assignment.detach(),
            self.pose.detach(),
            self.features.detach(),
            self.presence.detach(),
            self.pooled.detach(),
            None if self.log_evidence is None else self.log_evidence.detach(),
        )


@dataclass(frozen=True)
class Objects:
    """Object capsules and how they explain the parts.

    Attributes
    ----------
    features
        (n_crystals, objects, object_width).
    presence
        (n_crystals, objects), each between 0 and 1.
    posterior
        (n_crystals, parts, objects + 1) probability that a part belongs to an object, last: to none.
    log_likelihood
        (n_crystals, parts) of the parts' poses.
    """

    features: Tensor
    presence: Tensor
    posterior: Tensor
    log_likelihood: Tensor


def affine(parameters: Tensor) -> Tensor:
    """(..., 6) free numbers -> (..., 6) entries of [[a, b, x], [c, d, y]] from scales, angle, shear and shifts.

    As in the released code: scales SELU + 0.01, angle in turns, shear and shifts tanh of five times the number.
    """
    scale = nn.functional.selu(parameters[..., 0:2]) + 0.01
    angle = 2.0 * math.pi * parameters[..., 2]
    shear, x, y = torch.tanh(5.0 * parameters[..., 3:]).unbind(dim=-1)
    cos, sin = torch.cos(angle), torch.sin(angle)
    wide, high = scale.unbind(dim=-1)
    # [[1, shear], [0, 1]] diag(scales) rotation(angle), with the shifts as the last column.
    first = [wide * cos + shear * high * sin, -wide * sin + shear * high * cos, x]
    return torch.stack([*first, high * sin, high * cos, y], dim=-1)


def composed(outer: Tensor, inner: Tensor) -> Tensor:
    """Product of affine matrices, each (..., 6)."""
    a, b, x, c, d, y = outer.unbind(dim=-1)
    e, f, u, g, h, v = inner.unbind(dim=-1)
    # The third row of both is 0, 0, 1, so that only the shift of the outer one is added bare.
    first = [a * e + b * g, a * f + b * h, a * u + b * v + x]
    return torch.stack([*first, c * e + d * g, c * f + d * h, c * u + d * v + y], dim=-1)


class PartCapsules(nn.Module):
    """Each part attends to the atoms of its crystal; pose, features and presence come from what they give.

    The released code cuts an image of the crystal's vector instead, in which atoms cannot be told apart.
    """

    def __init__(self, hypers: SENHypers) -> None:
        super().__init__()
        self.parts, self.features, self.noise = hypers.part_capsules, hypers.part_features, hypers.noise
        width = hypers.object_width
        self.width = width
        self.normal = nn.LayerNorm(hypers.width)
        self.key = Linear(hypers.width, width)
        self.value = Linear(hypers.width, width)
        self.query = Linear(hypers.embedding, hypers.part_capsules * width)
        self.seed = nn.Parameter(torch.randn(hypers.part_capsules, width))
        self.kind = nn.Parameter(torch.randn(hypers.part_capsules, width) * 0.5)
        self.inner = nn.Sequential(Linear(width, 2 * width), nn.SELU())
        self.outer = Linear(2 * width, POSE + hypers.part_features + 1)

    def forward(self, atoms: Tensor, crystal: Tensor, orbits: Orbits) -> Parts:
        """(n_orbits, width), (n_crystals, embedding) -> parts."""
        rows = self.normal(atoms)
        queries = self.query(crystal).view(-1, self.parts, self.width) + self.seed
        logits = (self.key(rows)[:, None] * queries[orbits.crystal]).sum(dim=2) * self.width**-0.5
        assignment = orbits.softmax(logits)
        pooled = orbits.sum(assignment[:, :, None] * self.value(rows)[:, None])
        raw = self.outer(self.inner(pooled + self.kind))
        logit = raw[..., -1]
        if self.training and self.noise:
            logit = logit + (torch.rand_like(logit) - 0.5) * self.noise
        pose = affine(0.5 * raw[..., :POSE])
        return Parts(assignment, pose, raw[..., POSE:-1], logit.softmax(dim=1), pooled)


class CompetingParts(nn.Module):
    """Parts compete for atoms: each atom is shared out among them, and a part is as present as what it holds.

    The parts are the components of a mixture of von Mises-Fisher distributions over the directions u of the atoms'
    standardized vectors (Banerjee et al., J. Mach. Learn. Res. 6, 1345 (2005)), p(u) ~ sum_n exp(k c_n . u + b_n), and
    an atom belongs to part n with the posterior probability of that component. The share of a crystal's atoms that a
    part holds is its presence.

    Presence cannot fall on one part, however long the training. Only the likelihood moves the centers c_n: what a
    property wants of them is cut off. The levels b_n are no weights: after every step each is moved by how far its part
    is from holding 1 / parts of all atoms, as loads of experts are balanced (Wang et al., arXiv 2408.15664). And the
    likelihood cannot bend the atoms' vectors to its own ends, since they are taken as they are.
    """

    def __init__(self, hypers: SENHypers) -> None:
        super().__init__()
        self.parts, width = hypers.part_capsules, hypers.object_width
        self.concentration, self.rate = hypers.concentration, hypers.balance
        self.centers = nn.Parameter(torch.randn(self.parts, hypers.width))
        self.mean = nn.Parameter(torch.zeros(hypers.width), requires_grad=False)
        self.square = nn.Parameter(torch.ones(hypers.width), requires_grad=False)
        self.level = nn.Parameter(torch.zeros(self.parts), requires_grad=False)
        self.normal = nn.LayerNorm(hypers.width)
        self.value = Linear(hypers.width, width)
        self.kind = nn.Parameter(torch.randn(self.parts, width) * 0.5)
        self.inner = nn.Sequential(Linear(width, 2 * width), nn.SELU())
        self.outer = Linear(2 * width, POSE + hypers.part_features)

    def forward(self, atoms: Tensor, orbits: Orbits, counted: Tensor | None) -> Parts:
        """(n_orbits, width), share of each crystal in the running means (n_crystals,) or None -> parts.

        With `counted`, in training, the running mean and mean square of the vectors and the levels are moved on.
        """
        rows = atoms.detach()
        if counted is not None:
            _follow(self.mean, counted @ orbits.mean(rows))
            _follow(self.square, counted @ orbits.mean(rows**2))
        points = (rows - self.mean) * (self.square - self.mean**2).clamp(min=1e-6).rsqrt()
        cosines = nn.functional.normalize(points, dim=1) @ nn.functional.normalize(self.centers, dim=1).T
        logits = self.concentration * cosines + self.level
        evidence = orbits.mean(logits.logsumexp(dim=1, keepdim=True))[:, 0]
        share = logits.detach().log_softmax(dim=1)
        presence, assignment = orbits.mean(share.exp()), orbits.softmax(share)
        pooled = orbits.sum(assignment[:, :, None] * self.value(self.normal(rows))[:, None])
        raw = self.outer(self.inner(pooled + self.kind))
        if counted is not None:
            with torch.no_grad():
                self.level.add_(self.rate * (1.0 - self.parts * (counted @ presence)))
        return Parts(assignment, affine(0.5 * raw[..., :POSE]), raw[..., POSE:], presence, pooled, evidence)


@torch.no_grad()
def _follow(running: Tensor, value: Tensor) -> None:
    """Move a running mean towards its newest value; in place, since recorded steps repeat the same addresses."""
    running.add_(FOLLOWING * (value - running))


class AttentionBlock(nn.Module):
    """Self-attention over parts, weighted by their presence, and a small network; each added to its input."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.attention = Linear(width, 3 * width)
        self.out = Linear(width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inner = nn.Sequential(Linear(width, 2 * width), nn.SELU(), Linear(2 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, rows: Tensor, log_presence: Tensor) -> Tensor:
        """(n, parts, width), (n, parts) -> (n, parts, width)."""
        query, key, value = self.attention(self.first(rows)).chunk(3, dim=-1)
        rows = rows + self.drop(self.out(attended(query, key, value, log_presence)))
        result: Tensor = rows + self.drop(self.inner(self.second(rows)))
        return result


def attended(query: Tensor, key: Tensor, value: Tensor, log_presence: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt d + log presence) V: absent parts are not listened to."""
    logits = query @ key.transpose(1, 2) * query.shape[-1] ** -0.5 + log_presence[:, None]
    result: Tensor = logits.softmax(dim=-1) @ value
    return result


class ObjectCapsules(nn.Module):
    """Set transformer from parts to objects, their votes for the poses of parts, and the mixture likelihood."""

    def __init__(self, hypers: SENHypers) -> None:
        super().__init__()
        width, self.parts, self.objects = hypers.object_width, hypers.part_capsules, hypers.object_capsules
        self.noise = hypers.noise
        self.start = Linear(POSE + hypers.part_features + 1, width)
        self.kind = nn.Parameter(torch.randn(self.parts, width) * 0.5)
        self.blocks = nn.ModuleList(AttentionBlock(width, hypers.dropout) for _ in range(hypers.object_layers))
        self.queries = nn.Parameter(torch.randn(self.objects, width))
        self.normal = nn.LayerNorm(width)
        self.key, self.value = Linear(width, width), Linear(width, width)
        self.decoder = nn.Sequential(Linear(width, 128), nn.SELU(), Linear(128, POSE + 1 + self.parts * (POSE + 2)))
        self.static = nn.Parameter(torch.randn(self.objects, self.parts, POSE) * 0.3)

    def forward(self, parts: Parts) -> Objects:
        """Parts -> objects."""
        presence = parts.presence
        log_presence = torch.log(presence.clamp(min=1e-6))
        rows = self.start(torch.cat([parts.pose, parts.features, presence[..., None]], dim=-1)) + self.kind
        for block in self.blocks:
            rows = block(rows, log_presence)
        rows = self.normal(rows)
        queries = self.queries.expand(len(rows), -1, -1)
        features = queries + attended(queries, self.key(rows), self.value(rows), log_presence)
        raw = self.decoder(features)
        viewer, object_logit = affine(0.5 * raw[..., :POSE]), raw[..., POSE]
        # An object's vote for a part's pose: where the object is (OV), times where the part sits in it (OP), of which
        # a constant is learned for every object and part.
        rest = raw[..., POSE + 1 :].view(len(rows), self.objects, self.parts, POSE + 2)
        votes = composed(viewer[:, :, None], affine(0.5 * (rest[..., :POSE] + self.static)))
        vote_logit, scale = rest[..., POSE], nn.functional.softplus(rest[..., POSE + 1] + 0.5) + 0.01
        if self.training and self.noise:
            object_logit = object_logit + (torch.rand_like(object_logit) - 0.5) * self.noise
            vote_logit = vote_logit + (torch.rand_like(vote_logit) - 0.5) * self.noise
        # Weight of a component: the object is present and has this part, independently.
        log_vote = nn.functional.logsigmoid(object_logit)[:, :, None] + nn.functional.logsigmoid(vote_logit)
        posterior, log_likelihood = mixture(parts.pose.detach(), votes, scale, log_vote)
        return Objects(features, torch.sigmoid(object_logit), posterior, log_likelihood)


def mixture(pose: Tensor, votes: Tensor, scale: Tensor, log_vote: Tensor) -> tuple[Tensor, Tensor]:
    """Likelihood of poses under a mixture of normal distributions around the votes of objects.

    The component of object k for part n has mean `votes[k, n]`, width `scale[k, n]` and a weight proportional to
    exp(log_vote[k, n]); one more component of fixed weight and density takes the parts that no object explains, so
    that the likelihood is finite when all capsules are absent.

    Parameters
    ----------
    pose
        (n_crystals, parts, 6); a target, nothing is learned through it.
    votes
        (n_crystals, objects, parts, 6).
    scale, log_vote
        (n_crystals, objects, parts).

    Returns
    -------
    posterior (n_crystals, parts, objects + 1), log likelihood (n_crystals, parts).
    """
    # Independent normal distributions of one width for the six numbers of a pose.
    distance = ((pose[:, None] - votes) / scale[..., None]) ** 2
    normal = -0.5 * (distance + math.log(2.0 * math.pi)).sum(dim=-1) - POSE * torch.log(scale)
    dummy = torch.full_like(normal[:, :1], DUMMY)
    # p(pose) = sum over k of weight_k N_k(pose), in logarithms; the posterior of k is its term over the sum.
    weights = torch.cat([log_vote, dummy], dim=1).log_softmax(dim=1)
    joint = weights + torch.cat([normal, dummy], dim=1)
    total = joint.logsumexp(dim=1)
    return (joint - total[:, None]).exp().transpose(1, 2), total

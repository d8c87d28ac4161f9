"""Attention of every atom to all periodic images of all atoms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from voigt.graphs import CrystalBatch
from voigt.models.elements import ElementEmbedding
from voigt.models.goectp.edges import EdgeEmbedding
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.linear import Linear
from voigt.models.radial import envelope

TAIL = 1e-3
"""Largest factor exp(-r^2 / (2 sigma^2)) that the Gaussian decay may have left at the cutoff."""


@dataclass(frozen=True)
class Images:
    """The periodic images around each representative, as one edge each; what all layers have in common.

    Attributes
    ----------
    source, target
        (n_edges,) rows of the representatives that stand for the image and for the atom that looks at it.
    distance
        (n_edges, 1) Angstrom.
    envelope
        (n_edges, 1) factor of the weight of each image.
    features
        (n_edges, num_radial) Gaussians of the distance; unless the network is blind, beside them (n_edges, width)
        features of length and direction.
    """

    source: Tensor
    target: Tensor
    distance: Tensor
    envelope: Tensor
    features: Tensor


class CrystalFormer(nn.Module):
    """Infinitely connected attention (Taniai et al., ICLR 2024): plain features of the representatives.

    An atom i attends to all atoms j and all their images n with weights softmax(q_i . k_j / sqrt(d) - r^2 / (2 s_i^2)),
    where s_i follows from q_i, and receives v_j + psi(r). The weights decay like a Gaussian, so the images inside the
    cutoff are enough (see `PeriodicAttention`); no cell enters, and every description of a crystal gives the same.

    Different from the paper: the sum ends at the cutoff, under an envelope inside the softmax that makes it continuous,
    where the paper sums over a block of unit cells; s is bounded by the cutoff; psi of an atom itself (r = 0) is a
    vector of its own; layers are normalized before each block (pre-LayerNorm, over the channels of one atom), where the
    paper has a scaled initialization instead; unless directions are "none", a linear map of the edge's direction in
    canonical axes adds to values and to logits.

    `forward(batch, condition)` returns (n_orbits, width); `condition`, of the same shape, adds to the atoms' input.
    """

    centers: Tensor

    def __init__(self, hypers: GoeCTPHypers) -> None:
        super().__init__()
        self.cutoff, self.envelope_kind = hypers.cutoff, hypers.envelope
        self.elements = ElementEmbedding(hypers.width, shared=True)
        self.register_buffer("centers", torch.linspace(0.0, hypers.cutoff, hypers.num_radial), persistent=False)
        self.edges = None if hypers.directions == "none" else EdgeEmbedding(hypers)
        self.blocks = nn.ModuleList(Block(hypers) for _ in range(hypers.layers))
        self.norm = nn.LayerNorm(hypers.width)

    def forward(self, batch: CrystalBatch, condition: Tensor | None) -> Tensor:
        nodes: Tensor = self.elements(batch.numbers[batch.representative])
        if condition is not None:
            nodes = nodes + condition
        images = self.images(batch)
        for block in self.blocks:
            nodes = block(nodes, images)
        result: Tensor = self.norm(nodes)
        return result

    def images(self, batch: CrystalBatch) -> Images:
        """Everything about the images that does not depend on the layer."""
        distance = torch.linalg.vector_norm(batch.edge_vector, dim=1)
        spacing = self.cutoff / (len(self.centers) - 1)
        features = torch.exp(-0.5 * ((distance[:, None] - self.centers) / spacing) ** 2)
        if self.edges is not None:
            features = torch.cat([features, self.edges(batch.edge_vector).features], dim=1)
        return Images(
            source=batch.orbit.index_select(0, batch.edge_source),
            target=batch.edge_target,
            distance=distance[:, None],
            envelope=envelope(distance, self.cutoff, self.envelope_kind),
            features=features,
        )


class Block(nn.Module):
    """Attention, then a small network of each atom, both added to what was there."""

    def __init__(self, hypers: GoeCTPHypers) -> None:
        super().__init__()
        width = hypers.width
        self.attention_norm, self.network_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = PeriodicAttention(hypers)
        self.network = nn.Sequential(Linear(width, 4 * width), nn.SiLU(), Linear(4 * width, width))

    def forward(self, nodes: Tensor, images: Images) -> Tensor:
        nodes = nodes + self.attention(self.attention_norm(nodes), images)
        result: Tensor = nodes + self.network(self.network_norm(nodes))
        return result


class PeriodicAttention(nn.Module):
    """Multi-head attention over all images inside the cutoff and the atom itself.

    The decay is 1/sigma^2 = (1 + softplus(q . w + b)) / sigma_max^2, per atom and head, with sigma_max chosen so that
    exp(-cutoff^2 / (2 sigma_max^2)) = TAIL: 1.35 Angstrom at a cutoff of 5 (the scale of the paper is 1.4). Keys and
    queries have no biases: a bias of the keys shifts all logits alike, and that of LayerNorm serves the queries.
    """

    def __init__(self, hypers: GoeCTPHypers) -> None:
        super().__init__()
        width, heads = hypers.width, hypers.heads
        self.heads, self.depth = heads, width // heads
        self.sigma_max = hypers.cutoff / math.sqrt(-2.0 * math.log(TAIL))
        self.query, self.key, self.value = (Linear(width, width, bias=False) for _ in range(3))
        self.decay = nn.Parameter(torch.randn(heads, self.depth) / math.sqrt(self.depth))
        self.decay_bias = nn.Parameter(torch.full((heads,), -2.0))  # starts with a long reach, sigma = 0.94 sigma_max
        blind = hypers.directions == "none"
        inputs = hypers.num_radial if blind else hypers.num_radial + width
        self.edge_value = Linear(inputs, width, bias=False)
        self.own_value = nn.Parameter(torch.zeros(width))
        self.edge_logit = None if blind else Linear(inputs, heads)
        self.out = Linear(width, width)

    def forward(self, nodes: Tensor, images: Images) -> Tensor:
        """(n_orbits, width) -> (n_orbits, width)."""
        edge_weight, self_weight = self.weights(nodes, images)
        value = self.value(nodes)
        edge_value = value.index_select(0, images.source) + self.edge_value(images.features)
        total = self._weighted(value + self.own_value, self_weight)
        result: Tensor = self.out(total.index_add(0, images.target, self._weighted(edge_value, edge_weight)))
        return result

    def weights(self, nodes: Tensor, images: Images) -> tuple[Tensor, Tensor]:
        """Weights of all images (n_edges, heads) and of the atoms themselves (n_orbits, heads), one in sum per atom."""
        query, key = self._heads(self.query(nodes)), self._heads(self.key(nodes))
        scale = 1.0 / math.sqrt(self.depth)
        logit = (query.index_select(0, images.target) * key.index_select(0, images.source)).sum(2) * scale
        logit = logit - self.precision(query).index_select(0, images.target) * images.distance**2
        if self.edge_logit is not None:
            logit = logit + self.edge_logit(images.features)
        self_logit = (query * key).sum(2) * scale
        return softmax_over_images(logit, self_logit, images.envelope, images.target)

    def precision(self, query: Tensor) -> Tensor:
        """1 / (2 sigma^2) of each atom and head, (n_orbits, heads, depth) -> (n_orbits, heads), Angstrom^-2."""
        steeper = nn.functional.softplus((query * self.decay).sum(2) + self.decay_bias)
        return (1.0 + steeper) / (2.0 * self.sigma_max**2)

    def _heads(self, features: Tensor) -> Tensor:
        return features.view(-1, self.heads, self.depth)

    def _weighted(self, value: Tensor, weight: Tensor) -> Tensor:
        return (self._heads(value) * weight[:, :, None]).flatten(1)


def softmax_over_images(logit: Tensor, self_logit: Tensor, factor: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax over the images of each target and the target itself.

    Parameters
    ----------
    logit, self_logit
        (n_edges, heads) of the images, (n_targets, heads) of the targets.
    factor
        (n_edges, 1) multiplies the exponential of each image, in the sum too.
    target
        (n_edges,)

    Returns
    -------
    (n_edges, heads) and (n_targets, heads), together one in sum per target and head.
    """
    with torch.no_grad():  # a shift common to numerator and denominator has no gradient
        # An image of factor zero must not push all others into underflow.
        present = logit + factor.clamp(min=1e-30).log()
        largest = self_logit.scatter_reduce(0, target[:, None].expand_as(logit), present, "amax")
    weight = factor * torch.exp(logit - largest.index_select(0, target))
    self_weight = torch.exp(self_logit - largest)
    total = self_weight.index_add(0, target, weight)
    return weight / total.index_select(0, target), self_weight / total

"""Measures of what a set of representations holds: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class Scatter:
    """Mean and covariance of vectors that come a few at a time, none of which is kept.

    Groups are merged as in Chan, Golub and LeVeque (1983), which loses no digits to large means.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Array = np.zeros(0)
        self._products: Array = np.zeros((0, 0))

    def add(self, rows: Array) -> None:
        """Add vectors, (n, width)."""
        mean = rows.mean(axis=0)
        centered = rows - mean
        products = centered.T @ centered
        if self.count == 0:
            self.count, self._mean, self._products = len(rows), mean, products
            return
        total, step = self.count + len(rows), mean - self._mean
        self._products = self._products + products + np.outer(step, step) * (self.count * len(rows) / total)
        self._mean = self._mean + step * (len(rows) / total)
        self.count = total

    @property
    def covariance(self) -> Array:
        """(width, width), divided by the number of vectors less one."""
        return self._products / max(self.count - 1, 1)


def participation_ratio(covariance: Array) -> float:
    """Effective number of dimensions, (sum lambda)^2 / sum lambda^2 over the eigenvalues of a covariance.

    d for a cloud that is round in d dimensions, 1 for a line, 0 if there is no variance. Among n vectors it is n - 1
    at most.
    """
    squares = float(np.square(covariance).sum())  # of a symmetric matrix: the sum of its squared eigenvalues
    return float(np.trace(covariance)) ** 2 / squares if squares > 0 else 0.0


def standardized(rows: Array) -> Array:
    """Columns with mean 0 and standard deviation 1; columns that are constant to rounding are left out."""
    centered = rows - rows.mean(axis=0)
    spread = centered.std(axis=0)
    varies = spread > 1e-6 * np.maximum(np.abs(rows).max(axis=0), np.finfo(np.float64).tiny)
    return np.asarray(centered[:, varies] / spread[varies])


def distances(rows: Array) -> Array:
    """(n, n) Euclidean distances."""
    from scipy.spatial.distance import pdist, squareform

    return np.asarray(squareform(pdist(rows)))


def silhouette(distance: Array, labels: Labels) -> float:
    """Mean silhouette (Rousseeuw 1987): near 1 separate clusters, about 0 none, negative for wrong labels.

    A vector that is alone with its label counts 0.

    `distance`: (n, n). `labels`: (n,), two different ones at least.
    """
    _, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    sums = distance @ np.eye(len(sizes))[index]  # of the distances from each vector to each cluster
    home = np.arange(len(index)), index
    inside = sums[home] / np.maximum(sizes[index] - 1, 1)
    means = sums / sizes
    means[home] = np.inf
    outside = means.min(axis=1)
    largest = np.maximum(inside, outside)
    scores = np.where(largest > 0, (outside - inside) / np.where(largest > 0, largest, 1.0), 0.0)
    return float(np.where(sizes[index] > 1, scores, 0.0).mean())


@dataclass(frozen=True)
class Separation:
    """How far clusters are apart, and how far they would seem to be by chance."""

    silhouette: float  # with the labels
    # chance, deviation: mean and standard deviation over labels dealt at random
    chance: float
    deviation: float
    p_value: float  # fraction of these that reach the silhouette, (k + 1) / (permutations + 1)
    permutations: int  # number of random deals


def separation(rows: Array, labels: Labels, permutations: int = 200, seed: int = 0) -> Separation | None:
    """Silhouette of labeled vectors (n, width) beside that of permuted labels.

    None if there is one label only, or no label twice.
    """
    if not 2 <= len(np.unique(labels)) < len(labels):
        return None
    rng = np.random.default_rng(seed)
    distance = distances(rows)
    score = silhouette(distance, labels)
    dealt = np.array([silhouette(distance, rng.permutation(labels)) for _ in range(permutations)])
    beaten = int((dealt >= score - 1e-12).sum())
    return Separation(score, float(dealt.mean()), float(dealt.std()), (beaten + 1) / (permutations + 1), permutations)


def entropy(weights: Array) -> float:
    """Entropy in bits of a distribution given by weights that need not add up to one."""
    share = weights[weights > 0] / weights.sum()
    return float(-(share * np.log2(share)).sum())


@dataclass(frozen=True)
class Dependence:
    """How much one label determines another."""

    bits: float  # mutual information
    normalized: float  # over the mean of the two entropies: 0 to 1, but above 0 by chance where labels are many
    # The same after subtracting from both what permuted labels share on average (Vinh, Epps and Bailey 2010): about 0
    # by chance, 1 if each label determines the other
    adjusted: float
    # items, labels: number of pairs, and of different labels of the second kind
    items: int
    labels: int
    p_value: float  # fraction of labels dealt at random that share as much, (k + 1) / (permutations + 1)


def dependence(
    first: Sequence[object], second: Sequence[object], permutations: int = 200, seed: int = 0
) -> Dependence | None:
    """Mutual information between labels of the same items, beside that of permuted labels; None without items."""
    if not len(first):
        return None
    table = contingency(first, second)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    bits = max(entropy(rows) + entropy(columns) - entropy(table.ravel()), 0.0)
    mean = (entropy(rows) + entropy(columns)) / 2
    expected = expected_information(rows, columns)
    room = mean - expected
    # With one label on both sides, or all labels different on both, there is nothing that chance could change.
    adjusted = (bits - expected) / room if room > 1e-12 else 1.0
    rng, (one, other) = np.random.default_rng(seed), (_codes(first), _codes(second))
    # Permuted labels keep both entropies, so that the least entropy of the pairs is the largest information.
    dealt = np.array([entropy(_pairs(one, rng.permutation(other)).ravel()) for _ in range(permutations)])
    reached = int((dealt <= entropy(table.ravel()) + 1e-12).sum())
    p_value = (reached + 1) / (permutations + 1)
    return Dependence(bits, bits / mean if mean > 0 else 1.0, adjusted, int(table.sum()), len(columns), p_value)


@dataclass(frozen=True)
class Conditional:
    """How much one label tells of another beyond what a third tells."""

    bits: float  # mutual information, given the third label
    chance: float  # its mean over permutations of the label among items with the same third label
    # (bits - chance) over what the third label leaves open less chance: 0 by chance, 1 if nothing stays open
    adjusted: float
    p_value: float  # fraction of these permutations that tell as much, (k + 1) / (permutations + 1)


def conditional(
    first: Sequence[object], second: Sequence[object], given: Sequence[object], permutations: int = 200, seed: int = 0
) -> Conditional | None:
    """What the second label of items tells of the first, beyond what the label `given` tells; None without items.

    Examples
    --------
    >>> third, second = [0, 0, 1, 1] * 25, [0, 1] * 50
    >>> exclusive = [a ^ b for a, b in zip(second, third)]
    >>> found = conditional(exclusive, second, third)
    >>> found.bits, round(found.adjusted, 9), dependence(exclusive, third).bits
    (1.0, 1.0, 0.0)
    """
    if not len(first):
        return None
    one, other, fixed = _codes(first), _codes(second), _codes(given)
    both = fixed * (one.max() + 1) + one  # the first and the third as one label
    apart = entropy(_counts(both)) - entropy(_counts(fixed))  # of the first, given the third
    rest = entropy(_counts(both)) + entropy(_counts(fixed * (other.max() + 1) + other)) - entropy(_counts(fixed))
    bits = max(rest - entropy(_counts(both * (other.max() + 1) + other)), 0.0)
    rng, home, dealt = np.random.default_rng(seed), np.argsort(fixed, kind="stable"), np.empty_like(other)
    scores = np.empty(permutations)
    for k in range(permutations):
        dealt[home] = other[np.lexsort((rng.random(len(other)), fixed))]
        scores[k] = max(rest - entropy(_counts(both * (other.max() + 1) + dealt)), 0.0)
    chance, reached = float(scores.mean()), int((scores >= bits - 1e-12).sum())
    adjusted = (bits - chance) / (apart - chance) if apart - chance > 1e-12 else 0.0
    return Conditional(bits, chance, adjusted, (reached + 1) / (permutations + 1))


def _counts(codes: Labels) -> Array:
    """How often each code occurs."""
    return np.unique(codes, return_counts=True)[1].astype(np.float64)


def contingency(first: Sequence[object], second: Sequence[object]) -> Array:
    """(different labels of the first, of the second) number of items that have both."""
    return _pairs(_codes(first), _codes(second))


def _codes(labels: Sequence[object]) -> Labels:
    """Labels as numbers from 0."""
    return np.unique([str(label) for label in labels], return_inverse=True)[1].astype(np.int64)


def _pairs(rows: Labels, columns: Labels) -> Array:
    shape = int(rows.max()) + 1, int(columns.max()) + 1
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def expected_information(rows: Array, columns: Array) -> float:
    """Mean mutual information in bits of labels with these numbers, dealt at random.

    The number of items with a given pair of labels is then hypergeometric.
    """
    from scipy.stats import hypergeom

    total = int(rows.sum())
    expected = 0.0
    # Labels that are equally frequent contribute the same.
    for a, times_a in zip(*np.unique(rows, return_counts=True), strict=True):
        for b, times_b in zip(*np.unique(columns, return_counts=True), strict=True):
            shared = np.arange(max(1, int(a + b) - total), int(min(a, b)) + 1)
            terms = shared / total * np.log2(total * shared / (a * b))
            chance = hypergeom.pmf(shared, total, int(a), int(b))
            expected += int(times_a) * int(times_b) * float(terms @ chance)
    return expected

"""Intervals by the bootstrap over crystals, and the calibration of an ensemble's spread."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voigt.evaluation.metrics import Ratio

Array = NDArray[np.float64]

RESAMPLES = 1000
LEVEL = 0.95
SMALLEST_SAMPLE = 5  # from fewer crystals the percentiles are mere extremes, and far too close together
_COUNTS_AT_ONCE = 2**21  # bounds memory: resamples x crystals


@dataclass(frozen=True)
class Estimate:
    """A value and its bootstrap interval; `low` and `high` are NaN where too few crystals contribute."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Calibration:
    """How an ensemble's spread goes with its error."""

    items: int  # atoms or crystals with a spread
    spearman: float  # rank correlation of spread and error, between -1 and 1; NaN if one of them is constant
    # quartile_spread, quartile_error: means over the four quarters of the items, in order of spread
    quartile_spread: tuple[float, ...]
    quartile_error: tuple[float, ...]


def estimates(
    ratios: Iterable[Ratio], crystal: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> list[Estimate]:
    """Values and percentile intervals of several metrics, by resampling whole crystals.

    The atoms of a crystal are not independent, so they are drawn together. All metrics see the same resamples.

    `ratios`: metrics with M terms each; consumed one by one. `crystal`: (M,) the crystal of each term. `resamples`,
    `seed`: number of resamples and the seed of numpy's default generator. `level`: probability that the interval
    covers.
    """
    crystals, index = np.unique(crystal, return_inverse=True)
    kept: list[Ratio] = []
    for ratio in ratios:
        numerator, denominator = (
            np.bincount(index, terms, len(crystals)).astype(np.float64)
            for terms in (ratio.numerator, ratio.denominator)
        )
        kept.append(replace(ratio, numerator=numerator, denominator=denominator))
    if not kept:
        return []
    numerators = np.stack([ratio.numerator for ratio in kept], axis=1)
    denominators = np.stack([ratio.denominator for ratio in kept], axis=1)
    drawn = [
        (counts @ numerators, counts @ denominators) for counts in _resampled_counts(len(crystals), resamples, seed)
    ]
    tails = [(1 - level) / 2, (1 + level) / 2]
    result = []
    for column, ratio in enumerate(kept):
        low, high = math.nan, math.nan
        if np.count_nonzero(ratio.denominator) >= SMALLEST_SAMPLE:
            values = np.concatenate([ratio.quotient(top[:, column], bottom[:, column]) for top, bottom in drawn])
            # A resample without any crystal of a rare element has no value.
            low, high = np.quantile(values[~np.isnan(values)], tails)
        result.append(Estimate(ratio.value, float(low), float(high)))
    return result


def calibration(spread: Array, error: Array) -> Calibration | None:
    """Compare spread (M,) with error (M,); items whose spread is NaN are left out; None with fewer than 4 items."""
    known = ~np.isnan(spread)
    spread, error = spread[known], error[known]
    if len(spread) < 4:
        return None
    quarters = np.array_split(np.argsort(spread, kind="stable"), 4)
    return Calibration(
        len(spread),
        _correlation(_ranks(spread), _ranks(error)),
        tuple(float(spread[quarter].mean()) for quarter in quarters),
        tuple(float(error[quarter].mean()) for quarter in quarters),
    )


def _resampled_counts(size: int, resamples: int, seed: int) -> Iterable[Array]:
    """How often each of `size` crystals is drawn: blocks (resamples in the block, size)."""
    generator = np.random.default_rng(seed)
    block = max(1, _COUNTS_AT_ONCE // max(1, size))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        draws = generator.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        yield np.bincount(draws.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


def _ranks(values: Array) -> Array:
    """Ranks (M,), equal values sharing their mean rank."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[index]


def _correlation(first: Array, second: Array) -> float:
    """Pearson correlation; NaN if one side is constant."""
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt(float((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale > 0 else math.nan

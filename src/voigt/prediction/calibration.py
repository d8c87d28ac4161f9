"""Fitting intervals to validation crystals, so that they hold for new ones.

Errors e of what `predict_structures` delivers are compared with what is known beforehand. Quantile regression of log e
gives the 90 % quantile of the error as a function of spread, size, crystal system and functional (Koenker and Bassett,
Econometrica 46, 33 (1978)); an L1 penalty leaves out what explains less than one crystal. A regression is too sure of
the crystals that it has seen. So it is made ten times without a tenth of the formulas, and the 90 % quantile of what
these crystals are beyond it is added: the correction of split conformal prediction (Vovk, Gammerman and Shafer,
Algorithmic Learning in a Random World (2005); Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018); for quantile regression
Romano, Patterson and Candes, NeurIPS 2019), with cross-fitting in the place of one split. If new crystals are drawn as
those of validation were, 90 % of the errors are within the half-width, whatever their distribution, and about as many
within each crystal system and functional, since those that are worse than the rest have an offset. What is drawn is a
formula, not a crystal: each counts alike, however many of its polytypes there are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from voigt.data.labeled import LabeledCrystal
from voigt.models.checkpoint import LoadedModel, ModelCard
from voigt.models.intervals import COVERAGE, IntervalRule
from voigt.prediction.intervals import forbidden
from voigt.prediction.labeled import predict_labeled
from voigt.prediction.result import Prediction, Settings
from voigt.tensors.layout import norm
from voigt.tensors.properties import PROPERTIES

log = logging.getLogger("voigt.prediction")

Array = NDArray[np.float64]
Labels = NDArray[np.str_]
Pair: TypeAlias = tuple[LabeledCrystal, Prediction]
"""A crystal with its labels, and what is predicted for it."""

FEWEST = 20
"""Validation crystals for an interval: of fewer the 90 % quantile is hardly known."""
FOLDS = 10
SMALL = 0.05
"""Quantile of errors, spreads and norms below which they count as about the same."""
PENALTY = 1.0
"""Of a coefficient, in units of the pinball loss of one crystal whose log e is off by one."""
TINY = 1e-9
"""Added to floors, so that logarithms exist where all errors vanish."""


@dataclass(frozen=True)
class Errors:
    """Errors of one property, row by row: a crystal, or one atom of each set of equivalent ones.

    Attributes
    ----------
    error, size
        (n,) Frobenius norms of the error and of the prediction, in the unit of the property.
    spread
        (n,) that of the standard deviation over the ensemble; None for one network.
    weight
        (n,) 1 for a group, shared alike among its crystals, and a crystal's share among its atoms.
    system, functional
        (n,) crystal system, and functional that was predicted ("" if none is stated).
    group
        (n,) what is drawn by itself: a reduced formula, by which crystals are split, so that fifty polytypes of one
        compound count as one; a crystal where there are fewer than `FEWEST` formulas, as in a trajectory.
    crystal
        (n,) place, in the given sequence, of the crystal that a row belongs to.
    """

    error: Array
    size: Array
    spread: Array | None
    weight: Array
    system: Labels
    functional: Labels
    group: Labels
    crystal: NDArray[np.int64]


def predicted(model: LoadedModel, crystals: Sequence[LabeledCrystal]) -> list[Pair]:
    """Labeled crystals with their predictions, each for the functional of its label if the model knows it.

    Crystals that cannot be predicted are left out.
    """
    results = predict_labeled(model, crystals, Settings())
    return [(crystals[i], result) for i, result in results if isinstance(result, Prediction)]


def errors_of(name: str, pairs: Sequence[Pair], card: ModelCard) -> Errors | None:
    """Errors of one property, of the crystals that have a label; None if there are none.

    Crystals whose symmetry forbids the property are left out, since their error is zero, and so are labels of zero
    where the recipe on the model's card takes them for no labels.
    """
    prop, zeros = PROPERTIES[name], card.recipe.get("targets", {}).get(name, {}).get("zeros", True)
    columns: list[Array] = []
    texts: list[tuple[str, str, str]] = []
    places: list[int] = []
    for place, (crystal, prediction) in enumerate(pairs):
        label = crystal.targets.get(name)
        if label is None or not np.isfinite(label).all() or forbidden(prediction, name):
            continue
        if not zeros and not np.any(label):
            continue
        value, spread = prediction.values[name], prediction.spread.get(name)
        spread = np.full_like(value, np.nan) if spread is None else spread
        chosen = items(name, prediction)
        columns.append(np.stack([np.atleast_1d(norm(prop, part))[chosen] for part in (value - label, value, spread)]))
        places.append(place)
        texts.append((prediction.symmetry.crystal_system, prediction.functionals.get(name) or "", crystal.group))
    if not columns:
        return None
    counts = np.array([column.shape[1] for column in columns])
    error, size, spreads = np.concatenate(columns, axis=1)
    system, functional, formula = (np.array(part, dtype=np.str_) for part in zip(*texts, strict=True))
    group = formula if len(set(formula.tolist())) >= FEWEST else np.array(places).astype(np.str_)
    _, unit, crystals = np.unique(group, return_inverse=True, return_counts=True)
    return Errors(
        error=error,
        size=size,
        spread=spreads if np.isfinite(spreads).all() else None,
        weight=np.repeat(1.0 / (counts * crystals[unit]), counts),
        system=np.repeat(system, counts),
        functional=np.repeat(functional, counts),
        group=np.repeat(group, counts),
        crystal=np.repeat(np.array(places), counts),
    )


def items(name: str, prediction: Prediction) -> NDArray[np.int64]:
    """One atom of each set of equivalent ones, for a property per atom; of a property per crystal there is item 0."""
    return np.unique(prediction.symmetry.orbits) if PROPERTIES[name].per == "atom" else np.zeros(1, dtype=np.int64)


def fit_intervals(model: LoadedModel, pairs: Sequence[Pair]) -> dict[str, IntervalRule]:
    """Rules of the properties of which at least `FEWEST` crystals have a label, from what `predicted` gave.

    The crystals should be new to training: its validation split. What chose among weights is nearly, not quite, new to
    them. The log says which properties have too few.
    """
    rules = {}
    for name in model.hypers.properties:
        errors = errors_of(name, pairs, model.card)
        count = 0 if errors is None else len(np.unique(errors.crystal))
        if errors is None or count < FEWEST:
            log.info("no intervals of %s: %d validation crystals have a label, %d are needed", name, count, FEWEST)
        else:
            rules[name] = fit_rule(errors)
    return rules


def fit_rule(errors: Errors) -> IntervalRule:
    """The rule of one property, see the head of this file."""
    floors = [_floor(values) for values in (errors.error, errors.size, errors.spread)]
    logarithms = [np.log(errors.size + floors[1])]
    if errors.spread is not None:
        logarithms.append(np.log(errors.spread + floors[2]))
    scales = [max(float(column.std()), TINY) for column in logarithms]
    centers = [float(column.mean()) for column in logarithms]
    columns = [(column - m) / s for column, m, s in zip(logarithms, centers, scales, strict=True)]
    systems, functionals = (np.unique(labels[labels != ""]).tolist() for labels in (errors.system, errors.functional))
    columns += [(errors.system == name).astype(np.float64) for name in systems]
    columns += [(errors.functional == name).astype(np.float64) for name in functionals]
    design, target = np.stack([np.ones_like(errors.error), *columns], axis=1), np.log(errors.error + floors[0])

    def fitted(rows: NDArray[np.bool_]) -> Array:
        return quantile_regression(design[rows], target[rows], errors.weight[rows], len(systems) + len(functionals))

    beyond = np.empty_like(target)
    for own in _folds(errors.group):
        beyond[own] = target[own] - design[own] @ fitted(~own)
    constant, *weights = fitted(np.ones_like(target, dtype=bool)).tolist()
    exponents = [weight / scale for weight, scale in zip(weights, scales, strict=False)]
    level = constant + conformal_quantile(beyond, errors.weight) - float(np.dot(exponents, centers))
    offsets = weights[len(scales) :]
    return IntervalRule(
        level=level,
        spread=exponents[1] if errors.spread is not None else 0.0,
        norm=exponents[0],
        systems={name: offset for name, offset in zip(systems, offsets, strict=False) if offset},
        functionals={name: offset for name, offset in zip(functionals, offsets[len(systems) :], strict=True) if offset},
        error_floor=floors[0],
        spread_floor=floors[2],
        norm_floor=floors[1],
        spread_limits=(0.0, 0.0) if errors.spread is None else (float(errors.spread.min()), float(errors.spread.max())),
        norm_limits=(float(errors.size.min()), float(errors.size.max())),
        crystals=len(np.unique(errors.crystal)),
    )


def quantile_regression(design: Array, target: Array, weight: Array, offsets: int = 0) -> Array:
    """Coefficients (k,) b of the `COVERAGE` quantile of `target` (n,) as a linear function of `design` (n, k).

    They minimize sum_i weight_i loss(target_i - design_i b) + PENALTY sum_j>0 |b_j|, where loss(u) is COVERAGE u above
    zero and (COVERAGE - 1) u below: a linear program in the positive and negative parts of residuals and coefficients.
    The last `offsets` of them, those of groups, are not negative: to find a group better than the rest by chance would
    leave it without cover, to find it worse costs width alone.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack

    rows, count = design.shape
    penalty = np.full(count, PENALTY)
    penalty[0] = 0.0
    costs = np.concatenate([penalty, penalty, COVERAGE * weight, (1 - COVERAGE) * weight])
    limits = np.tile([0.0, np.inf], (len(costs), 1))
    limits[2 * count - offsets : 2 * count, 1] = 0.0
    parts = [csr_array(design), csr_array(-design), eye_array(rows), -eye_array(rows)]
    found = linprog(costs, A_eq=hstack(parts, format="csr"), b_eq=target, bounds=limits, method="highs").x
    return np.asarray(found[:count] - found[count : 2 * count])


def conformal_quantile(scores: Array, weight: Array) -> float:
    """The smallest score that a new one exceeds with a probability of at most 1 - COVERAGE, if it is drawn alike.

    With n groups (the sum of weights) that is the score of place ceil(COVERAGE (n + 1)); of so few that there is no
    such place, the largest.

    Examples
    --------
    >>> conformal_quantile(np.arange(1.0, 100.0), np.ones(99))
    90.0
    """
    order = np.argsort(scores, kind="stable")
    place = int(np.searchsorted(np.cumsum(weight[order]), COVERAGE * (weight.sum() + 1) - TINY))
    return float(scores[order[min(place, len(scores) - 1)]])


def _folds(group: Labels) -> list[NDArray[np.bool_]]:
    """Rows of each of `FOLDS` parts; rows of one formula are in one part."""
    names, members = np.unique(group, return_inverse=True)
    part = (np.random.default_rng(0).permutation(len(names)) % FOLDS)[members]
    return [part == k for k in range(FOLDS) if (part == k).any()]


def _floor(values: Array | None) -> float:
    return TINY if values is None else float(np.quantile(values, SMALL)) + TINY

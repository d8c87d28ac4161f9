"""Before, after and trivial: what fine-tuning brought on frames that played no part in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voigt.data.labeled import LabeledCrystal
from voigt.evaluation.baselines import apply_baseline, fit_baseline
from voigt.evaluation.bootstrap import Estimate, estimates
from voigt.evaluation.metrics import Ratio, mae
from voigt.evaluation.report import interval
from voigt.evaluation.scored import Scored, collect
from voigt.models.checkpoint import LoadedModel
from voigt.prediction.labeled import predict_labeled
from voigt.prediction.result import Prediction, Settings
from voigt.tensors.properties import Property, get_property
from voigt.writers.markdown import number, table, unit_symbol


@dataclass(frozen=True)
class Comparison:
    """Mean absolute errors of one property over the components of all items, on the same frames.

    Attributes
    ----------
    name, unit
        Property.
    frames
        How many were compared.
    before, after, trivial
        Errors with 95 % bootstrap intervals over frames: of the model as it was, of the fine-tuned one, and of
        averages of the training labels (`voigt.evaluation.baselines`).
    gain, gain_trivial
        before - after and trivial - after, from the same resamples: positive where fine-tuning was right.
    """

    name: str
    unit: str
    frames: int
    before: Estimate
    after: Estimate
    trivial: Estimate
    gain: Estimate
    gain_trivial: Estimate

    @property
    def worth(self) -> bool | None:
        """Whether the fine-tuned model is better than both, beyond the interval; None: too few frames to tell."""
        if math.isnan(self.gain.low) or math.isnan(self.gain_trivial.low):
            return None
        return self.gain.low > 0 and self.gain_trivial.low > 0


def scored_crystals(
    model: LoadedModel, crystals: Sequence[LabeledCrystal], properties: Sequence[str]
) -> list[Scored]:
    """Frames with labels and predictions, in order; for elements that the model has not seen too."""
    settings = Settings(properties=tuple(properties), allow_unseen=True)
    results = predict_labeled(model, crystals, settings)
    found = {place: result for place, result in results if isinstance(result, Prediction)}
    return [
        Scored(
            id=crystal.id,
            numbers=crystal.atoms.numbers,
            functional=crystal.functional,
            crystal_system=None,
            labels=crystal.targets,
            predicted=found[place].values if place in found else {},
        )
        for place, crystal in enumerate(crystals)
    ]


def compare(
    before: Sequence[Scored], after: Sequence[Scored], train: Sequence[LabeledCrystal], properties: Sequence[str]
) -> tuple[Comparison, ...]:
    """Compare two models and the averages of the training labels.

    Parameters
    ----------
    before, after
        The test frames with the predictions of both models, in the same order.
    train
        Training frames.
    properties
        What to compare; those without a label in a test or training frame are left out.
    """
    labeled = [
        name
        for name in properties
        if any(name in c.labels for c in after) and any(name in crystal.targets for crystal in train)
    ]
    known = [
        Scored(crystal.id, crystal.atoms.numbers, crystal.functional, None, crystal.targets, {}) for crystal in train
    ]
    trivial = apply_baseline(fit_baseline(known, labeled), after) if labeled else []
    return tuple(_compare(get_property(name), (before, after, trivial)) for name in labeled)


def _compare(declared: Property, sides: tuple[Sequence[Scored], Sequence[Scored], Sequence[Scored]]) -> Comparison:
    pairs = [collect(side, declared) for side in sides]
    common = set.intersection(*(set(side.crystal.tolist()) for side in pairs))
    pairs = [side.take(np.isin(side.crystal, sorted(common))) for side in pairs]
    before, after, trivial = (mae(side.predicted, side.label) for side in pairs)
    ratios = [before, after, trivial, _minus(before, after), _minus(trivial, after)]
    found = estimates(ratios, pairs[0].crystal)
    return Comparison(declared.name, declared.unit, len(common), *found)


def _minus(first: Ratio, second: Ratio) -> Ratio:
    """Difference of two means over the same items."""
    return Ratio(first.numerator - second.numerator, first.denominator)


def verdict(comparisons: Sequence[Comparison]) -> str:
    """Whether the fine-tuned model should be used, in plain words."""
    if not comparisons:
        return "Not known: there is no test part. Keep some labeled frames for it before relying on this model."
    parts = [_sentence(entry) for entry in comparisons]
    opinions = [entry.worth for entry in comparisons]
    harmed = [entry for entry in comparisons if entry.gain.high < 0 or entry.gain_trivial.high < 0]
    if opinions[0] and not harmed:
        head = "Worth using on structures like these."
    elif opinions[0]:
        head = f"Worth using for {comparisons[0].name} on structures like these, not for the others that got worse."
    elif opinions[0] is None:
        head = "Not known: the test part has too few frames."
    else:
        head = "Not worth using: keep the model as it was, or label more frames."
    return " ".join([head, *parts])


def _sentence(entry: Comparison) -> str:
    if entry.worth is None:
        return f"{entry.name}: {number(entry.before.value)} before, {number(entry.after.value)} after."
    share = 100.0 * (1.0 - entry.after.value / entry.before.value) if entry.before.value else 0.0
    word = "smaller" if share >= 0 else "larger"
    sure = "" if entry.gain.low > 0 or entry.gain.high < 0 else ", within the scatter of the test frames"
    trivial = "" if entry.gain_trivial.low > 0 else "; it does not beat averages of the training labels"
    return f"{entry.name}: the error is {abs(share):.0f} % {word} than before{sure}{trivial}."


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Markdown: a row for each property."""
    header = ["property", "unit", "test frames", "before", "after", "trivial", "before - after"]
    rows = [
        [
            entry.name,
            unit_symbol(entry.unit),
            str(entry.frames),
            *(f"{number(side.value)} ({interval(side)})" for side in (entry.before, entry.after, entry.trivial)),
            interval(entry.gain),
        ]
        for entry in comparisons
    ]
    return table(header, rows, "llrrrrr")


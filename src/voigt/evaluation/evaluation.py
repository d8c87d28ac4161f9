"""From scored crystals to a tree of numbers: the model beside the baseline, with intervals, by groups."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from voigt.errors import TargetError
from voigt.evaluation.bootstrap import LEVEL, RESAMPLES, Calibration, Estimate, calibration, estimates
from voigt.evaluation.metrics import SMALLEST_NORM, Metric, Ratio, drift, metrics_for, norms, small_diagonals
from voigt.evaluation.scored import Pairs, Scored, collect, collect_spread
from voigt.tensors.properties import Property, get_property

CRYSTAL_SYSTEMS = ("cubic", "hexagonal", "trigonal", "tetragonal", "orthorhombic", "monoclinic", "triclinic")
NOT_GIVEN = "not given"
Mask: TypeAlias = NDArray[np.bool_]
Bootstrap: TypeAlias = Callable[[Iterable[Ratio], NDArray[np.int64]], list[Estimate]]
_ELEMENT_METRICS = ("mae", "rmse")
_GROUP_METRICS = ("mae", "rmse", "frobenius", "ewt25")
_WORST = 10


@dataclass(frozen=True)
class Score:
    """One metric of the model and, where there is one, of the baseline on the same items."""

    title: str
    unit: str
    model: Estimate
    baseline: Estimate | None


@dataclass(frozen=True)
class Group:
    """Scores by key over part of the items: an element, a crystal system, a functional."""

    crystals: int
    items: int
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class Correction:
    """One metric before and after sum rule and symmetry, on the same items."""

    title: str
    unit: str
    before: Estimate
    after: Estimate


@dataclass(frozen=True)
class Drift:
    """Violation of the acoustic sum rule: mean |component| of the sum of charges, per cell and per atom (e)."""

    per_cell: Estimate
    per_atom: Estimate


@dataclass(frozen=True)
class PropertyEvaluation:
    """Everything measured of one property."""

    # name, label, unit, per: from the declaration
    name: str
    label: str
    unit: str
    per: Literal["atom", "crystal"]
    # crystals, items: what was scored; an item is an atom or a crystal
    crystals: int
    items: int
    unpredicted: int  # crystals with a label but no finite prediction, which no figure here includes
    zero_labels: int  # items whose label is zero
    # Per cent of diagonal components too small for a percentage; None where RMSPE does not apply
    left_out_of_rmspe: float | None
    scores: Mapping[str, Score]  # metric key -> score over all items
    # functionals, crystal_systems, elements: name -> scores over that part; elements only for properties per atom
    functionals: Mapping[str, Group]
    crystal_systems: Mapping[str, Group]
    elements: Mapping[str, Group]
    # MAE and RMSE before and after sum rule and symmetry, over the crystals that have raw predictions; else empty
    corrections: Mapping[str, Correction]
    drift: Mapping[str, Drift]  # "raw", "predicted", "label" -> violation of the sum rule, for Born charges
    calibration: Calibration | None  # of the ensemble's spread, if there is one
    worst: tuple[tuple[str, float], ...]  # crystals with the largest mean Frobenius norm of the error


@dataclass(frozen=True)
class Evaluation:
    """All properties of one evaluation, with what was evaluated and how intervals were made."""

    crystals: int
    atoms: int
    functionals: Mapping[str, int]
    resamples: int
    seed: int
    level: float
    properties: Mapping[str, PropertyEvaluation]

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries and lists that JSON can hold; NaN becomes None."""
        return dict(plain(asdict(self)))


def evaluate_scored(
    scored: Sequence[Scored],
    properties: Sequence[str],
    baseline: Sequence[Scored] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Measure predictions against labels.

    Parameters
    ----------
    scored
        Crystals with labels and predictions.
    properties
        Names of the properties to score.
    baseline
        The same crystals in the same order, with the baseline's predictions (`baselines.apply_baseline`).
    resamples, seed
        Of the bootstrap.

    Raises
    ------
    TargetError
        A property has no crystal with both a label and a prediction.
    ValueError
        The baseline holds other crystals.
    """
    if baseline is not None and [crystal.id for crystal in baseline] != [crystal.id for crystal in scored]:
        raise ValueError("the baseline must hold the same crystals in the same order")
    bootstrap = partial(estimates, resamples=resamples, seed=seed)
    return Evaluation(
        crystals=len(scored),
        atoms=sum(len(crystal.numbers) for crystal in scored),
        functionals=dict(Counter(crystal.functional or NOT_GIVEN for crystal in scored).most_common()),
        resamples=resamples,
        seed=seed,
        level=LEVEL,
        properties={name: _evaluate(scored, get_property(name), baseline, bootstrap) for name in properties},
    )


def _evaluate(
    scored: Sequence[Scored], declared: Property, baseline: Sequence[Scored] | None, bootstrap: Bootstrap
) -> PropertyEvaluation:
    pairs = collect(scored, declared)
    if not len(pairs.label):
        raise TargetError(
            f"no crystal has both a label and a prediction of '{declared.name}'; check the name of the label in the "
            "data and the properties of the model"
        )
    reference = None if baseline is None else _same_items(baseline, pairs)
    zero_labels = int((norms(pairs.label) < SMALLEST_NORM).sum()) if declared.rank else 0
    metrics = metrics_for(declared, zero_labels=zero_labels > 0)
    raw = _raw_pairs(scored, pairs)

    def grouped(masks: Mapping[str, Mask], keys: Sequence[str] | None = None) -> dict[str, Group]:
        return _groups(pairs, reference, metrics if keys is None else _pick(metrics, keys), masks, bootstrap)

    return PropertyEvaluation(
        name=declared.name,
        label=declared.label,
        unit=declared.unit,
        per=declared.per,
        crystals=len(np.unique(pairs.crystal)),
        items=len(pairs.label),
        unpredicted=pairs.unpredicted,
        zero_labels=zero_labels,
        left_out_of_rmspe=small_diagonals(pairs.label).value if declared.rank == 2 else None,
        scores=grouped({"all": np.ones(len(pairs.label), dtype=np.bool_)})["all"].scores,
        functionals=grouped(_masks([scored[k].functional or NOT_GIVEN for k in pairs.crystal]), _GROUP_METRICS),
        crystal_systems=grouped(_by_system(scored, pairs), _GROUP_METRICS),
        elements=grouped(_by_element(pairs), _ELEMENT_METRICS),
        corrections=_corrections(pairs, raw, metrics, bootstrap),
        drift=_drift(pairs, raw, bootstrap),
        calibration=calibration(collect_spread(scored, pairs), norms(pairs.predicted - pairs.label)),
        worst=_worst(scored, pairs),
    )


def _groups(
    pairs: Pairs, reference: Pairs | None, metrics: Sequence[Metric], masks: Mapping[str, Mask], bootstrap: Bootstrap
) -> dict[str, Group]:
    """Scores of each part of the items; a part is a mask (M,)."""
    sides = [pairs] if reference is None else [pairs, reference]
    ratios = [metric.ratio(side.predicted, side.label) for metric in metrics for side in sides]
    results = iter(bootstrap((ratio.where(mask) for mask in masks.values() for ratio in ratios), pairs.crystal))
    groups = {}
    for name, mask in masks.items():
        scores = {}
        for metric in metrics:
            model, baseline = next(results), None if reference is None else next(results)
            scores[metric.key] = Score(metric.title, metric.unit, model, baseline)
        groups[name] = Group(len(np.unique(pairs.crystal[mask])), int(mask.sum()), scores)
    return groups


def _same_items(baseline: Sequence[Scored], pairs: Pairs) -> Pairs:
    """The baseline's predictions of exactly the items that the model predicted."""
    reference = collect(baseline, pairs.property)
    reference = reference.take(np.isin(reference.crystal, pairs.crystal))
    if len(reference.label) != len(pairs.label):
        raise ValueError(f"the baseline lacks predictions of '{pairs.property.name}' that the model has")
    return reference


def _raw_pairs(scored: Sequence[Scored], pairs: Pairs) -> Pairs | None:
    """Predictions before corrections, of the crystals that have them and a final prediction too."""
    raw = collect(scored, pairs.property, "raw")
    raw = raw.take(np.isin(raw.crystal, pairs.crystal))
    return raw if len(raw.label) else None


def _corrections(
    pairs: Pairs, raw: Pairs | None, metrics: Sequence[Metric], bootstrap: Bootstrap
) -> dict[str, Correction]:
    if raw is None:
        return {}
    delivered = pairs.take(np.isin(pairs.crystal, raw.crystal))
    result = {}
    for metric in _pick(metrics, ("mae", "rmse")):
        ratios = [metric.ratio(side.predicted, side.label) for side in (raw, delivered)]
        before, after = bootstrap(iter(ratios), raw.crystal)
        result[metric.key] = Correction(metric.title, metric.unit, before, after)
    return result


def _drift(pairs: Pairs, raw: Pairs | None, bootstrap: Bootstrap) -> dict[str, Drift]:
    """Sum of a tensor per atom over each cell; only Born charges, rank 2, have such a rule."""
    if pairs.property.per != "atom" or pairs.property.rank != 2:
        return {}
    sources = {"predicted": (pairs.predicted, pairs.crystal), "label": (pairs.label, pairs.crystal)}
    if raw is not None:
        sources = {"raw": (raw.predicted, raw.crystal), **sources}
    result = {}
    for name, (charges, crystal) in sources.items():
        ratios = [drift(charges, crystal), drift(charges, crystal, per_atom=True)]
        per_cell, per_atom = bootstrap(iter(ratios), np.unique(crystal))
        result[name] = Drift(per_cell, per_atom)
    return result


def _by_system(scored: Sequence[Scored], pairs: Pairs) -> dict[str, Mask]:
    masks = _masks([scored[index].crystal_system or NOT_GIVEN for index in pairs.crystal])
    order = {name: rank for rank, name in enumerate(CRYSTAL_SYSTEMS)}
    return dict(sorted(masks.items(), key=lambda entry: (order.get(entry[0], len(order)), entry[0])))


def _by_element(pairs: Pairs) -> dict[str, Mask]:
    if pairs.property.per != "atom":
        return {}
    return {chemical_symbols[number]: pairs.numbers == number for number in np.unique(pairs.numbers)}


def _masks(names: Sequence[str]) -> dict[str, Mask]:
    """Name -> mask (M,) of the items that bear it."""
    array = np.array(names)
    return {str(name): array == name for name in np.unique(array)}


def _pick(metrics: Sequence[Metric], keys: Sequence[str]) -> list[Metric]:
    return [metric for metric in metrics if metric.key in keys]


def _worst(scored: Sequence[Scored], pairs: Pairs) -> tuple[tuple[str, float], ...]:
    crystals, index, sizes = np.unique(pairs.crystal, return_inverse=True, return_counts=True)
    errors = np.bincount(index, norms(pairs.predicted - pairs.label)) / sizes
    largest = np.argsort(-errors, kind="stable")[:_WORST]
    return tuple((scored[crystals[rank]].id, float(errors[rank])) for rank in largest)


def plain(value: Any) -> Any:
    """Nested dictionaries and lists as JSON holds them: keys are texts, None stands for what is not finite.

    Examples
    --------
    >>> plain({0: (1.0, math.nan)})
    {'0': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Figures of several models on the same crystals: errors, paired differences, metals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voigt.evaluation.bootstrap import Estimate, estimates
from voigt.evaluation.metrics import Ratio

Array = NDArray[np.float64]
Kind = Literal["model", "rival", "trivial"]

METAL_BELOW = 0.01  # eV: a predicted gap below it counts as a metal


@dataclass(frozen=True)
class Candidate:
    """A model and its predictions (M,), NaN where it has none."""

    name: str
    kind: Kind
    predicted: Array


@dataclass(frozen=True)
class Metals:
    """What a model of band gaps says of metals, which are the crystals with label zero."""

    # mae_metals, mae_gapped: mean absolute error on metals and on all others
    mae_metals: Estimate
    mae_gapped: Estimate
    # precision, recall, accuracy, balanced_accuracy: of "predicted gap below `METAL_BELOW`" as a test for metals,
    # between 0 and 1; NaN where nothing is counted
    precision: float
    recall: float
    accuracy: float
    balanced_accuracy: float


@dataclass(frozen=True)
class Row:
    """Figures of one model."""

    # name, kind: the model in question, a rival, or a trivial predictor
    name: str
    kind: Kind
    crystals: int  # crystals with a prediction
    # mae, rmse: over all of them
    mae: Estimate
    rmse: Estimate
    # Absolute error of the model in question minus that of this row, on the crystals that both predict; None for the
    # model itself
    difference: Estimate | None
    # folds, systems: mean absolute error by fold and by crystal system
    folds: Mapping[int, float]
    systems: Mapping[str, float]
    # mean_of_folds, std_of_folds: mean and standard deviation (over the folds, as `numpy.std`) of the former:
    # MatBench's convention
    mean_of_folds: float
    std_of_folds: float
    metals: Metals | None  # None for other properties than band gaps


def score(
    candidates: Sequence[Candidate], label: Array, fold: NDArray[np.int64], system: NDArray[np.str_], metals: bool
) -> list[Row]:
    """A row for each candidate, by MAE. All intervals and differences see the same resamples of the crystals.

    `candidates`: the model in question first. `label`, `fold`, `system`: (M,) reference value, official fold and
    crystal system of each crystal. `metals`: whether labels are band gaps.
    """
    is_metal = label == 0
    ratios: list[Ratio] = []
    for entry in candidates:
        known = np.isfinite(entry.predicted).astype(np.float64)
        error = _absolute(entry, label)
        ratios += [Ratio(error, known), Ratio(error**2, known, root=True)]
        both = known * np.isfinite(candidates[0].predicted)
        ratios.append(Ratio((_absolute(candidates[0], label) - error) * both, both))
        ratios += [ratios[-3].where(is_metal), ratios[-3].where(~is_metal)] if metals else []
    results = iter(estimates(ratios, np.arange(len(label))))
    rows = []
    for entry in candidates:
        mae, rmse, difference = next(results), next(results), next(results)
        predicts = np.isfinite(entry.predicted)
        error = _absolute(entry, label)
        folds = _means(error, fold, predicts)
        rows.append(
            Row(
                name=entry.name,
                kind=entry.kind,
                crystals=int(predicts.sum()),
                mae=mae,
                rmse=rmse,
                difference=None if entry is candidates[0] else difference,
                folds=folds,
                systems=_means(error, system, predicts),
                mean_of_folds=float(np.mean(list(folds.values()))),
                std_of_folds=float(np.std(list(folds.values()))),
                metals=_metals(next(results), next(results), entry.predicted, is_metal, predicts) if metals else None,
            )
        )
    return sorted(rows, key=lambda row: row.mae.value)


def _absolute(entry: Candidate, label: Array) -> Array:
    """Absolute errors, zero where there is no prediction."""
    return np.where(np.isfinite(entry.predicted), np.abs(entry.predicted - label), 0.0)


def _means(error: Array, group: NDArray[Any], known: NDArray[np.bool_]) -> dict[Any, float]:
    """Mean error of each group that has a prediction, by its name or number."""
    return {key.item(): float(error[known & (group == key)].mean()) for key in np.unique(group[known])}


def _metals(
    on_metals: Estimate, on_gapped: Estimate, predicted: Array, is_metal: NDArray[np.bool_], known: NDArray[np.bool_]
) -> Metals:
    called, metal = predicted[known] < METAL_BELOW, is_metal[known]
    recall, specificity = _share(called, metal), _share(~called, ~metal)
    return Metals(
        on_metals,
        on_gapped,
        precision=_share(metal, called),
        recall=recall,
        accuracy=float((called == metal).mean()),
        balanced_accuracy=(recall + specificity) / 2,
    )


def _share(hit: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(hit[among].mean()) if among.any() else math.nan

"""What a prediction scores that knows only averages: every figure of a model stands beside one of these.

Per-atom tensors: the mean isotropic charge of each element. Properties of a crystal: what their declaration says
(`Property.baseline`), the isotropic part of the mean, zero, or the mean. All are means over training crystals of the
same functional.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voigt.errors import TargetError
from voigt.evaluation.scored import Scored
from voigt.tensors.properties import Property, get_property

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Means:
    """Averages over one set of training crystals."""

    # Property per atom -> atomic number -> isotropic mean (one third of the mean trace)
    elements: Mapping[str, Mapping[int, float]]
    tensors: Mapping[str, Array]  # property per crystal -> the tensor predicted for every crystal


@dataclass(frozen=True)
class Baseline:
    """Averages for each functional met in training, and over all for functionals that were not."""

    functionals: Mapping[str | None, Means]
    pooled: Means

    def means(self, functional: str | None) -> Means:
        """The averages that apply to a crystal."""
        return self.functionals.get(functional, self.pooled)


def fit_baseline(train: Sequence[Scored], properties: Sequence[str]) -> Baseline:
    """Average the labels of training crystals.

    Parameters
    ----------
    train
        Crystals of the training split; their predictions are not looked at and may be empty.
    properties
        Names of properties.

    Raises
    ------
    TargetError
        A property has no label in any training crystal.
    """
    declared = [get_property(name) for name in properties]
    for entry in declared:
        if not any(entry.name in crystal.labels for crystal in train):
            raise TargetError(f"no training crystal has a label '{entry.name}': the baseline cannot be fitted")
    pooled = _means(train, declared)
    groups: dict[str | None, list[Scored]] = {}
    for crystal in train:
        groups.setdefault(crystal.functional, []).append(crystal)
    fitted = {functional: _means(group, declared) for functional, group in groups.items()}
    # A functional without labels of some property borrows the pooled ones.
    filled = {
        functional: Means({**pooled.elements, **means.elements}, {**pooled.tensors, **means.tensors})
        for functional, means in fitted.items()
    }
    return Baseline(filled, pooled)


def apply_baseline(baseline: Baseline, crystals: Sequence[Scored]) -> list[Scored]:
    """The same crystals with the baseline's predictions; elements unseen in training get zero charge."""
    return [_predict(baseline.means(crystal.functional), crystal) for crystal in crystals]


def _means(train: Sequence[Scored], properties: Sequence[Property]) -> Means:
    elements: dict[str, dict[int, float]] = {}
    tensors: dict[str, Array] = {}
    for entry in properties:
        labeled = [crystal for crystal in train if entry.name in crystal.labels]
        if not labeled:
            continue
        if entry.per == "atom":
            elements[entry.name] = _element_means(labeled, entry.name)
        else:
            tensors[entry.name] = _mean_tensor(np.stack([crystal.labels[entry.name] for crystal in labeled]), entry)
    return Means(elements, tensors)


def _element_means(labeled: Sequence[Scored], name: str) -> dict[int, float]:
    """One third of the mean trace of each element's tensors."""
    numbers = np.concatenate([crystal.numbers for crystal in labeled])
    traces = np.concatenate([np.trace(crystal.labels[name], axis1=1, axis2=2) for crystal in labeled])
    elements, index, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    sums = np.bincount(index, traces)
    return dict(zip(elements.tolist(), (sums / counts / 3).tolist(), strict=True))


def _mean_tensor(labels: Array, declared: Property) -> Array:
    mean: Array = np.asarray(labels.mean(axis=0, dtype=np.float64))
    if declared.baseline == "mean":
        return mean
    # Of a tensor of rank 2, rotations leave one number as it is: the trace.
    return float(np.trace(mean)) / 3 * np.eye(3) if declared.baseline == "isotropic" else np.zeros(declared.shape)


def _predict(means: Means, crystal: Scored) -> Scored:
    predicted = dict(means.tensors)
    for name, charges in means.elements.items():
        per_atom = np.array([charges.get(number, 0.0) for number in crystal.numbers.tolist()])
        predicted[name] = per_atom[:, None, None] * np.eye(3)
    return replace(crystal, predicted=predicted, raw={}, spread={})

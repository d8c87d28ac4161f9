"""What an evaluation is made of: a crystal with its labels and predictions, and the pairs drawn from many of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voigt.errors import TargetError
from voigt.tensors.properties import Property, get_property

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """One crystal with its labels and what a model says of them.

    All tensors are Cartesian, in the axes of the crystal's cell and the unit of their property: (N, 3, 3) for
    `born_charges`, (3, 3), (3, 3, 3) or (3, 3, 3, 3) for tensors of the crystal, () for scalars. What a crystal does
    not have, has no key.

    Attributes
    ----------
    id
        Name of the crystal, used in tables of errors.
    numbers
        (N,) atomic numbers.
    functional
        Exchange-correlation functional of the labels, None if unknown.
    crystal_system
        "cubic" ... "triclinic", None if unknown.
    labels, predicted
        Reference values and predictions by property.
    raw
        Predictions before the sum rule and the projection onto symmetry.
    spread
        Standard deviation over an ensemble: of each component (shaped like the prediction), or one number per atom
        (N,) or per crystal ().

    Raises
    ------
    TargetError
        An array has the wrong shape or a label is not finite.
    """

    id: str
    numbers: NDArray[np.int64]
    functional: str | None
    crystal_system: str | None
    labels: Mapping[str, NDArray[Any]]
    predicted: Mapping[str, NDArray[Any]]
    raw: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    spread: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, values in (("label", self.labels), ("prediction", self.predicted), ("raw prediction", self.raw)):
            for name, value in values.items():
                expected = items_shape(self, get_property(name)) + get_property(name).shape
                if np.shape(value) != expected:
                    raise TargetError(f"{kind} '{name}' of '{self.id}' has shape {np.shape(value)}, not {expected}")
                if kind == "label" and not np.isfinite(value).all():
                    raise TargetError(f"label '{name}' of '{self.id}' is not finite; remove it")
        for name, value in self.spread.items():
            items = items_shape(self, get_property(name))
            if np.shape(value) not in (items, items + get_property(name).shape):
                raise TargetError(f"spread of '{name}' of '{self.id}' has shape {np.shape(value)}, not {items}")


@dataclass(frozen=True)
class Pairs:
    """Predictions of one property beside their labels, flat over many crystals.

    An item is an atom or a crystal, as the property declares; M is their number.
    """

    property: Property
    # label, predicted: (M, 3, ..., 3) in the property's unit
    label: Array
    predicted: Array
    crystal: NDArray[np.int64]  # (M,) index of each item's crystal in the sequence it came from
    numbers: NDArray[np.int64]  # (M,) atomic number of each item; zeros for properties of the crystal
    unpredicted: int  # crystals with a label but without a finite prediction, which are left out

    def take(self, mask: NDArray[np.bool_]) -> Pairs:
        """The items that `mask` (M,) selects."""
        return replace(
            self,
            label=self.label[mask],
            predicted=self.predicted[mask],
            crystal=self.crystal[mask],
            numbers=self.numbers[mask],
        )


def items_shape(scored: Scored, declared: Property) -> tuple[int, ...]:
    """Leading shape of a property's array: (N,) per atom, () per crystal."""
    return (len(scored.numbers),) if declared.per == "atom" else ()


def collect(scored: Sequence[Scored], declared: Property, source: Literal["predicted", "raw"] = "predicted") -> Pairs:
    """Labels and predictions (or raw predictions) of all crystals that have both."""
    labels: list[Array] = []
    predictions: list[Array] = []
    crystals: list[NDArray[np.int64]] = []
    numbers: list[NDArray[np.int64]] = []
    unpredicted = 0
    for index, crystal in enumerate(scored):
        if declared.name not in crystal.labels:
            continue
        prediction = getattr(crystal, source).get(declared.name)
        if prediction is None or not np.isfinite(prediction).all():
            unpredicted += 1
            continue
        label = _items(crystal.labels[declared.name], declared)
        labels.append(label)
        predictions.append(_items(prediction, declared))
        crystals.append(np.full(len(label), index))
        numbers.append(crystal.numbers if declared.per == "atom" else np.zeros(1, dtype=np.int64))
    return Pairs(
        declared,
        np.concatenate([np.zeros((0, *declared.shape)), *labels]),
        np.concatenate([np.zeros((0, *declared.shape)), *predictions]),
        np.concatenate([np.zeros(0, dtype=np.int64), *crystals]),
        np.concatenate([np.zeros(0, dtype=np.int64), *numbers]).astype(np.int64),
        unpredicted,
    )


def collect_spread(scored: Sequence[Scored], pairs: Pairs) -> Array:
    """Spread (M,) of each item of `pairs`: the Frobenius norm where it is given by component; NaN where absent."""
    declared = pairs.property
    spreads = [np.zeros(0)]
    for index in np.unique(pairs.crystal):
        value = scored[index].spread.get(declared.name)
        if value is None:
            spreads.append(np.full((pairs.crystal == index).sum(), np.nan))
        elif np.shape(value) == items_shape(scored[index], declared):
            spreads.append(np.asarray(value, dtype=np.float64).reshape(-1))
        else:
            items = _items(value, declared)
            spreads.append(np.sqrt((items**2).reshape(len(items), -1).sum(axis=1)))
    return np.concatenate(spreads)


def _items(value: NDArray[Any], declared: Property) -> Array:
    """(N, 3, ...) or (3, ...) -> (items, 3, ...) in float64."""
    return np.asarray(value, dtype=np.float64).reshape(-1, *declared.shape)

"""The 90 % intervals of one prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voigt.models.intervals import IntervalRule, half_width
from voigt.tensors.layout import norm
from voigt.tensors.properties import PROPERTIES

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction

FORBIDDEN = 1e-9
"""Share of a raw tensor that is left, as rounding, where symmetry allows nothing."""


def intervals_of(prediction: Prediction, rules: Mapping[str, IntervalRule]) -> dict[str, NDArray[np.float64]]:
    """Half-widths of the properties of a prediction, see `voigt.prediction.Prediction.interval`.

    There are none for crystals with elements that the model was not trained on, of which nothing is known, and none
    without the projection onto the space group, since rules are fitted to symmetrized tensors.

    Parameters
    ----------
    prediction
        Of one model, after all corrections.
    rules
        Of that model.
    """
    if not prediction.symmetrized or any(note.kind == "unseen_elements" for note in prediction.notes):
        return {}
    found = {}
    for name, value in prediction.values.items():
        prop, rule, spread = PROPERTIES[name], rules.get(name), prediction.spread.get(name)
        if rule is None:
            continue
        size = norm(prop, value)
        if forbidden(prediction, name):
            found[name] = np.zeros_like(size)
            continue
        deviation = None if spread is None else norm(prop, spread)
        functional = prediction.functionals.get(name)
        width = half_width(rule, size, deviation, prediction.symmetry.crystal_system, functional)
        if width is not None:
            # The deviations of equivalent atoms differ by rounding.
            found[name] = width[prediction.symmetry.orbits] if prop.per == "atom" else np.asarray(width)
    return found


def forbidden(prediction: Prediction, name: str) -> bool:
    """Whether symmetry leaves nothing of a tensor, such as piezoelectricity where there is a center of inversion."""
    if PROPERTIES[name].per == "atom" or PROPERTIES[name].rank == 0 or not prediction.symmetrized:
        return False
    raw = float(np.linalg.norm(prediction.raw[name]))
    return float(np.linalg.norm(prediction.values[name])) <= FORBIDDEN * max(raw, 1.0)

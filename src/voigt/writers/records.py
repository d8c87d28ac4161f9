"""Predictions as JSON: a list with one object for each crystal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from voigt.files import atomic_write
from voigt.tensors.properties import PROPERTIES, Property
from voigt.writers.layout import layout_text, reduced_formula, stored

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction


def record(prediction: Prediction) -> dict[str, Any]:
    """One crystal as dictionaries, lists, numbers and text.

    Tensors are nested lists in the axes of `cell`; each property states unit, meaning of its indices and layout. `raw`
    is the prediction before sum rule and symmetry projection, `spread` the standard deviation over an ensemble.
    `models` and `functionals` say for each property who predicted it, and for which functional. What is not finite
    becomes null.
    """
    atoms, symmetry = prediction.atoms, prediction.symmetry
    return {
        "id": prediction.id,
        "formula": reduced_formula(atoms),
        "models": dict(prediction.models),
        "functionals": dict(prediction.functionals),
        "spacegroup": {"number": symmetry.number, "international": symmetry.international},
        "elements": atoms.get_chemical_symbols(),
        "cell": atoms.cell.array.tolist(),
        "scaled_positions": atoms.get_scaled_positions(wrap=False).tolist(),
        "properties": {name: _property(prediction, PROPERTIES[name]) for name in prediction.values},
        "charge_drift": None if prediction.drift is None else plain(prediction.drift),
        "warnings": list(prediction.warnings),
    }


def write_json(predictions: Iterable[Prediction], path: str | Path) -> int:
    """Write a JSON list, crystal by crystal; returns their number."""
    with atomic_write(path) as stream:
        count = dump_list(map(record, predictions), stream)
        stream.write("\n")
    return count


def _property(prediction: Prediction, prop: Property) -> dict[str, Any]:
    name = prop.name
    return {
        "unit": prop.unit,
        "meaning": prop.meaning,
        "layout": layout_text(prop),
        "value": plain(stored(prop, prediction.values[name])),
        "raw": plain(stored(prop, prediction.raw[name])),
        "spread": plain(stored(prop, prediction.spread[name])) if name in prediction.spread else None,
        "symmetry_residual": prediction.residual.get(name),
    }


def plain(array: ArrayLike) -> Any:
    """Nested lists of an array, null where a number is not finite.

    Examples
    --------
    >>> plain([[1.0, float("nan")]])
    [[1.0, None]]
    """
    values = np.asarray(array, dtype=np.float64)
    objects = values.astype(object)
    objects[~np.isfinite(values)] = None
    return objects.tolist()


def dump_list(records: Iterable[Mapping[str, Any]], stream: IO[str]) -> int:
    """Write a list of records one after the other, each on a line of its own, and return their number."""
    count = 0
    stream.write("[")
    for record in records:
        stream.write("\n" if count == 0 else ",\n")
        json.dump(record, stream, allow_nan=False)
        count += 1
    stream.write("\n]")
    return count

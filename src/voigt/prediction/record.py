"""Predictions as dictionaries, lists, numbers and text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from voigt.structures.formula import reduced_formula
from voigt.tensors.layout import layout_text, stored
from voigt.tensors.properties import PROPERTIES, Property

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction
    from voigt.prediction.sheets import Sheet


def record(prediction: Prediction) -> dict[str, Any]:
    """One crystal as dictionaries, lists, numbers and text.

    Tensors are nested lists in the axes of `cell`; each property states unit, meaning of its indices and layout. `raw`
    is the prediction before sum rule and symmetry projection, `spread` the standard deviation over an ensemble,
    `interval` the half-width of the 90 % interval, a number or one for each atom, null where it is not known.
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
        "notes": [
            {"kind": n.kind, "text": n.sentence, "properties": list(n.properties), "elements": list(n.elements)}
            for n in prediction.notes
        ],
        "sheets": {name: _sheet(sheet) for name, sheet in prediction.sheets.items()},
    }


def _property(prediction: Prediction, prop: Property) -> dict[str, Any]:
    name = prop.name
    return {
        "unit": prop.unit,
        "meaning": prop.meaning,
        "layout": layout_text(prop),
        "value": plain(stored(prop, prediction.values[name])),
        "raw": plain(stored(prop, prediction.raw[name])),
        "spread": plain(stored(prop, prediction.spread[name])) if name in prediction.spread else None,
        "interval": plain(prediction.interval[name]) if name in prediction.interval else None,
        "symmetry_residual": prediction.residual.get(name),
    }


def _sheet(sheet: Sheet) -> dict[str, Any]:
    return {
        "permittivity": plain(sheet.permittivity),
        "polarizability_angstrom": plain(sheet.polarizability),
        "permittivity_of_cell": plain(sheet.cell),
        "normal": plain(sheet.normal),
        "thickness_angstrom": sheet.thickness,
        "height_angstrom": sheet.height,
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

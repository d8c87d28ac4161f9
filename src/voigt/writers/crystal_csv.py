"""Properties of crystals as CSV, one crystal a row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voigt.files import atomic_write
from voigt.tensors.properties import PROPERTIES, Property
from voigt.writers.layout import flat, headings, reduced_formula

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction

START = ("id", "formula", "space_group", "atoms")


def columns(prop: Property) -> list[str]:
    """Names of the columns of one property: itself, or itself with the indices of each component."""
    if prop.rank == 0:
        return [prop.name]
    rows, across = headings(prop)
    between = "" if prop.rank == 2 else "_"
    return [f"{prop.name}_{row}{between}{column}" for row in rows for column in across]


def write_csv(predictions: Iterable[Prediction], path: str | Path, properties: Sequence[str]) -> int:
    """Write id, reduced formula, number of the space group, number of atoms, and every component of every property.

    Columns are named band_gap, eps_inf_xz, piezo_total_y_zx (row y, column zx), elastic_xx_yz; a crystal for which one
    of several models failed has empty places there. Returns the number of crystals.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    declared = [PROPERTIES[name] for name in properties]
    names = {prop.name: columns(prop) for prop in declared}
    count = 0
    with atomic_write(path) as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow([*START, *(name for own in names.values() for name in own)])
        for prediction in predictions:
            atoms = prediction.atoms
            cells: list[object] = [prediction.id, reduced_formula(atoms), prediction.symmetry.number, len(atoms)]
            for prop in declared:
                value = prediction.values.get(prop.name)
                numbers = [""] * len(names[prop.name]) if value is None else [f"{x:.8g}" for x in flat(prop, value)]
                cells += numbers
            rows.writerow(cells)
            count += 1
    return count

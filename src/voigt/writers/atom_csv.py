"""Born charges as CSV, one atom a row."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from voigt.files import atomic_write

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction

HEADER = ("id", "atom", "element", *(f"Z{field}{displacement}" for field in "123" for displacement in "123"))


def write_csv(predictions: Iterable[Prediction], path: str | Path) -> int:
    """Write id, index of the atom from 0, element, Z11, Z12, ... Z33 in e; returns the number of crystals.

    The first digit is the field (polarisation), the second the displacement, in the Cartesian axes of the input.
    A crystal without Born charges, for which one of several models failed, has no rows.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    count = 0
    with atomic_write(path) as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(HEADER)
        for prediction in predictions:
            if "born_charges" not in prediction.values:
                continue
            charges = prediction.values["born_charges"].reshape(-1, 9)
            for index, (symbol, tensor) in enumerate(zip(prediction.atoms.symbols, charges, strict=True)):
                rows.writerow([prediction.id, index, symbol, *(f"{value:.8f}" for value in tensor)])
            count += 1
    return count

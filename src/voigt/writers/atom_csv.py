"""Born charges as CSV, one atom a row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voigt.errors import OutputError
from voigt.files import atomic_write

if TYPE_CHECKING:
    from voigt.prediction import Prediction

HEADER = ("id", "atom", "element", *(f"Z{field}{displacement}" for field in "123" for displacement in "123"))


def write_csv(predictions: Iterable[Prediction], path: str | Path, properties: Sequence[str] | None = None) -> int:
    """Write id, index of the atom from 0, element, Z11, Z12, ... Z33 in e; returns the number of crystals.

    The first digit is the field (polarisation), the second the displacement, in the Cartesian axes of the input.
    If `properties` promise Born charges, a crystal without them, for which one of several models failed, has no rows.

    Raises
    ------
    OutputError
        The file cannot be written; Born charges were not asked for.
    """
    count = 0
    with atomic_write(path) as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(HEADER)
        for prediction in predictions:
            if "born_charges" not in prediction.values:
                if properties is not None and "born_charges" in properties:
                    continue
                raise OutputError("CSV holds Born charges, which were not predicted; write .json or .parquet instead")
            charges = prediction.values["born_charges"].reshape(-1, 9)
            for index, (symbol, tensor) in enumerate(zip(prediction.atoms.symbols, charges, strict=True)):
                rows.writerow([prediction.id, index, symbol, *(f"{value:.8f}" for value in tensor)])
            count += 1
    return count

"""Predictions to files and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from voigt.errors import OutputError

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction

    Writer: TypeAlias = Callable[[Iterable[Prediction], str | Path, Sequence[str] | None], int]

SUFFIXES = (".json", ".csv", ".extxyz", ".xyz", ".parquet")
"""Formats of files of predictions."""

__all__ = ["SUFFIXES", "write_predictions", "writer_of"]


def write_predictions(
    predictions: Iterable[Prediction], path: str | Path, properties: Sequence[str] | None = None
) -> int:
    """Write predictions in the format that the suffix names, all or nothing.

    Parameters
    ----------
    predictions
        Consumed one by one: a generator is never held in memory as a whole.
    path
        .json, .csv (Born charges, one atom a row, if there are any; else one crystal a row), .extxyz or .xyz (the
        input's frames with tensors), .parquet (one crystal a row).
    properties
        What the predictions may hold, for formats with columns; None: what the first one holds. A crystal for which
        one of several models failed lacks some.

    Returns
    -------
    Number of crystals written.

    Raises
    ------
    OutputError
        Unknown suffix, or the file cannot be written. An earlier file of that name is then untouched.
    """
    return writer_of(path)(predictions, path, properties)


def writer_of(path: str | Path) -> Writer:
    """The function that writes the format which the suffix of `path` names; OutputError for an unknown one."""
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        from voigt.writers.records import write_json

        return lambda predictions, target, _: write_json(predictions, target)
    if suffix == ".csv":
        from voigt.writers.csv_rows import write_csv

        return write_csv
    if suffix in (".extxyz", ".xyz"):
        from voigt.writers.extxyz import write_extxyz

        return lambda predictions, target, _: write_extxyz(predictions, target)
    if suffix == ".parquet":
        from voigt.writers.parquet import write_parquet

        return write_parquet
    raise OutputError(f"cannot write {path}: unknown format '{suffix}'; choose one of {', '.join(SUFFIXES)}")

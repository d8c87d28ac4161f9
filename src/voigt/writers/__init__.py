"""Predictions to files and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from voigt.errors import OutputError

if TYPE_CHECKING:
    from voigt.prediction import Prediction

SUFFIXES = (".json", ".csv", ".extxyz", ".xyz", ".parquet")


def write_predictions(predictions: Iterable[Prediction], path: str | Path, model: str) -> int:
    """Write predictions in the format that the suffix names, all or nothing.

    Parameters
    ----------
    predictions
        Consumed one by one: a generator is never held in memory as a whole.
    path
        .json, .csv (Born charges, one atom a row), .extxyz or .xyz (the input's frames with tensors), .parquet
        (one crystal a row).
    model
        Name of the model.

    Returns
    -------
    Number of crystals written.

    Raises
    ------
    OutputError
        Unknown suffix, or the file cannot be written. An earlier file of that name is then untouched.
    """
    return writer_of(path)(predictions, path, model)


def writer_of(path: str | Path) -> Callable[[Iterable[Prediction], str | Path, str], int]:
    """The function that writes the format which the suffix of `path` names.

    Raises
    ------
    OutputError
        Unknown suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        from voigt.writers.records import write_json

        return write_json
    if suffix == ".csv":
        from voigt.writers.atom_csv import write_csv

        return lambda predictions, target, _: write_csv(predictions, target)
    if suffix in (".extxyz", ".xyz"):
        from voigt.writers.extxyz import write_extxyz

        return write_extxyz
    if suffix == ".parquet":
        from voigt.writers.parquet import write_parquet

        return write_parquet
    raise OutputError(f"cannot write {path}: unknown format '{suffix}'; choose one of {', '.join(SUFFIXES)}")

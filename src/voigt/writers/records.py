"""Predictions as JSON: a list with one object for each crystal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from voigt.files import atomic_write
from voigt.prediction.record import record

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction


def write_json(predictions: Iterable[Prediction], path: str | Path) -> int:
    """Write a JSON list, crystal by crystal; returns their number."""
    with atomic_write(path) as stream:
        count = dump_list(map(record, predictions), stream)
        stream.write("\n")
    return count


def dump_list(records: Iterable[Mapping[str, Any]], stream: IO[str]) -> int:
    """Write a list of records one after the other, each on a line of its own, and return their number."""
    count = 0
    stream.write("[")
    for entry in records:
        stream.write("\n" if count == 0 else ",\n")
        json.dump(entry, stream, allow_nan=False)
        count += 1
    stream.write("\n]")
    return count

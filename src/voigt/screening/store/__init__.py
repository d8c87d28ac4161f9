"""The folder of a screening: parts, failures, manifest; resumable after any interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voigt.lazy import lazy_names
from voigt.screening.store.manifest import read_manifest
from voigt.screening.store.parts import failed_parts, read_part, read_tables, result_parts

if TYPE_CHECKING:
    from voigt.screening.store.rows import Outcome
    from voigt.screening.store.store import Store, open_store

__all__ = [
    "Outcome",
    "Store",
    "failed_parts",
    "open_store",
    "read_manifest",
    "read_part",
    "read_tables",
    "result_parts",
]

# Rows are made of predictions: writing needs torch, reading does not.
__getattr__ = lazy_names(__name__, {"Outcome": "rows", "Store": "store", "open_store": "store"})

"""Labeled crystals: reading them, tables of many, and splits that do not leak."""

from __future__ import annotations

from voigt.data.labeled import Crystals, LabeledCrystal, as_crystals
from voigt.data.reading import label_of, read_labeled, read_parquet
from voigt.data.splits import SplitSettings, split_crystals

__all__ = [
    "Crystals",
    "LabeledCrystal",
    "SplitSettings",
    "as_crystals",
    "label_of",
    "read_labeled",
    "read_parquet",
    "split_crystals",
]

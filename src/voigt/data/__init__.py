"""Labelled crystals: reading them, tables of many, and splits that do not leak."""

from __future__ import annotations

from voigt.data.labelled import Crystals, LabelledCrystal, as_crystals
from voigt.data.reading import label_of, read_labelled, read_parquet
from voigt.data.splits import SplitSettings, split_crystals

__all__ = [
    "Crystals",
    "LabelledCrystal",
    "SplitSettings",
    "as_crystals",
    "label_of",
    "read_labelled",
    "read_parquet",
    "split_crystals",
]

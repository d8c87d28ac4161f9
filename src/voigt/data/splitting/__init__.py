"""Splitting crystals by formula, prototype, composition, time or at random, and what leaks between the parts."""

from __future__ import annotations

from voigt.data.splitting.fingerprints import Fingerprint, fingerprint, structure_distance
from voigt.data.splitting.leakage import Leakage, measure_leakage
from voigt.data.splitting.methods import METHODS, SplitRequest, split_labels
from voigt.data.splitting.prototypes import prototype

__all__ = [
    "METHODS",
    "Fingerprint",
    "Leakage",
    "SplitRequest",
    "fingerprint",
    "measure_leakage",
    "prototype",
    "split_labels",
    "structure_distance",
]

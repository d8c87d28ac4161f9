"""SEN (Liang et al., 2023): scalars of crystals through capsules of structure-chemical patterns."""

from __future__ import annotations

from voigt.models.sen.explanation import Explanation, explain
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.model import SEN

__all__ = ["SEN", "Explanation", "SENHypers", "explain"]

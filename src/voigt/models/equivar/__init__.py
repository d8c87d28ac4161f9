"""Equivar (Kutana et al., 2025): O(3)-equivariant message passing with a readout per property."""

from __future__ import annotations

from voigt.models.equivar.hypers import EquivarHypers, preset
from voigt.models.equivar.model import Equivar

__all__ = ["Equivar", "EquivarHypers", "preset"]

"""Calculations of others (VASP, Quantum ESPRESSO, ...) as labeled crystals."""

from __future__ import annotations

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.calculations.convert import convert
from voigt.calculations.frames import Frame, annotated, write_frames

__all__ = ["Calculation", "Frame", "Outcome", "Provenance", "RunFile", "annotated", "convert", "write_frames"]

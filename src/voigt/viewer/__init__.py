"""Crystals with their tensors as pictures that turn: the page of `voigt serve`, and pages that stand alone."""

from __future__ import annotations

from voigt.viewer.page import STATIC, View, stand_alone

__all__ = ["STATIC", "View", "stand_alone"]

"""Equivariant message passing that methods share: features of atoms from a crystal, tensors from features."""

from __future__ import annotations

from voigt.models.equivariant.hypers import TrunkHypers
from voigt.models.equivariant.readout import TensorReadout
from voigt.models.equivariant.trunk import Trunk, equivariant_values, high_degrees

__all__ = ["TensorReadout", "Trunk", "TrunkHypers", "equivariant_values", "high_degrees"]

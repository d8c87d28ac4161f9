"""Tensors with the symmetry of their indices and no other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.calculations.runs import asymmetric


def symmetric(seed: int, size: int, diagonal: float = 0.0) -> NDArray[Any]:
    """A symmetric matrix of numbers of five digits, `diagonal` added to its diagonal."""
    half = asymmetric(seed, size, size)
    return half + half.T + diagonal * np.eye(size)

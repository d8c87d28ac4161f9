"""Couplings of node features with edge harmonics.

Node features are stored (n, 12, channels): rows 0 | 1-3 | 4-6 | 7-11 hold the types 0e, 1o, 1e, 2e. Component order and
phases are e3nn's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from voigt.tensors.irreps import couples

NODE_TYPES = ("0e", "1o", "1e", "2e")
EDGE_TYPES = ("0e", "1o", "2e")
NODE_ROWS = {"0e": slice(0, 1), "1o": slice(1, 4), "1e": slice(4, 7), "2e": slice(7, 12)}
NUM_ROWS = 12

# The paper's weights have 15 blocks per interaction, the complete set has 17; which two are absent is not known.
# We leave out the two axial couplings furthest from the first layer's input.
UNPUBLISHED = {("1e", "2e", "1e"), ("2e", "2e", "1e")}


@dataclass(frozen=True)
class Path:
    """One coupling node x edge -> out."""

    node: str
    edge: str
    out: str


@lru_cache
def coupling_paths(published: bool = False) -> tuple[Path, ...]:
    """All couplings allowed by angular momentum and parity, ordered by output, then input type.

    17 in full; 15 if `published`.
    """
    return tuple(
        Path(node, edge, out)
        for out in NODE_TYPES
        for node in NODE_TYPES
        for edge in EDGE_TYPES
        if couples(node, edge, out) and not (published and (node, edge, out) in UNPUBLISHED)
    )

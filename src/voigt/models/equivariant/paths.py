"""Couplings of node features with edge harmonics, as constant tensors.

Node features are stored (n, 12, channels): rows 0 | 1-3 | 4-6 | 7-11 hold the types 0e, 1o, 1e, 2e.
Edge harmonics are (n_edges, 9): 0e, 1o, 2e. Component order and phases are e3nn's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from voigt.tensors.irreps import couples, dimension, wigner_3j

NODE_TYPES = ("0e", "1o", "1e", "2e")
EDGE_TYPES = ("0e", "1o", "2e")
NODE_ROWS = {"0e": slice(0, 1), "1o": slice(1, 4), "1e": slice(4, 7), "2e": slice(7, 12)}
EDGE_ROWS = {"0e": slice(0, 1), "1o": slice(1, 4), "2e": slice(4, 9)}
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


def coupling_matrices(paths: tuple[Path, ...], channels: int) -> dict[str, Tensor]:
    """For each output type the constant (9, dim out, sum over its paths of dim in) that turns harmonics into couplings.

    Contracting the first index with the harmonics of an edge gives the matrix that maps the stacked input rows of all
    paths into that type onto its components: geometry only, the same for every block and channel. Couplings are 'uvu'
    in e3nn's terms, with its 'component' and 'element' normalization for a sum over `channels`.
    """
    result = {}
    for out in NODE_TYPES:
        blocks, into = [], [path for path in paths if path.out == out]
        # Wigner's symbol has norm 1: a sum of channels x paths terms keeps components of order one with this factor.
        scale = (dimension(out) / (channels * len(into))) ** 0.5
        for path in into:
            # out_k = sum over i, j of C_ijk node_i edge_j, as a matrix (k, i) that is linear in the harmonics (j).
            coupling = torch.tensor(wigner_3j(path.node, path.edge, out))
            block = torch.zeros(9, dimension(out), dimension(path.node), dtype=torch.float64)
            block[EDGE_ROWS[path.edge]] = scale * coupling.permute(1, 2, 0)
            blocks.append(block)
        result[out] = torch.cat(blocks, dim=2)
    return result

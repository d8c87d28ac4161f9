"""Couplings of node features with edge harmonics, as constant tensors.

Node features are stored (n, 12, channels): rows 0 | 1-3 | 4-6 | 7-11 hold the types 0e, 1o, 1e, 2e.
Edge harmonics are (n_edges, 9): 0e, 1o, 2e. Component order and phases are e3nn's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from e3nn import o3
from torch import Tensor

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
    found = []
    for out in NODE_TYPES:
        for node in NODE_TYPES:
            for edge in EDGE_TYPES:
                allowed = o3.Irrep(out) in list(o3.Irrep(node) * o3.Irrep(edge))
                if allowed and not (published and (node, edge, out) in UNPUBLISHED):
                    found.append(Path(node, edge, out))
    return tuple(found)


@lru_cache
def wigner_3j(first: str, second: str, out: str) -> Tensor:
    """Coupling tensor (dim first, dim second, dim out), Frobenius norm 1, float64."""
    tensor: Tensor = o3.wigner_3j(o3.Irrep(first).l, o3.Irrep(second).l, o3.Irrep(out).l, dtype=torch.float64)
    return tensor


def path_coefficient(path: Path, paths: tuple[Path, ...], channels: int) -> float:
    """Factor of one 'uvu' coupling in e3nn's 'component' and 'element' normalisation.

    sqrt(dim out / (channels x number of couplings into the same type)).
    """
    fan_in = channels * sum(other.out == path.out for other in paths)
    return float((o3.Irrep(path.out).dim / fan_in) ** 0.5)


def coupling_matrices(paths: tuple[Path, ...]) -> dict[str, Tensor]:
    """For each output type the constant (9, dim out, sum over its paths of dim in) that turns harmonics into couplings.

    Contracting the first index with the harmonics of an edge gives the matrix that maps the stacked input rows of all
    paths into that type onto its components: geometry only, the same for every block and channel.
    """
    result = {}
    for out in NODE_TYPES:
        blocks = []
        for path in (p for p in paths if p.out == out):
            coupling = wigner_3j(path.node, path.edge, path.out)
            block = torch.zeros(9, o3.Irrep(out).dim, o3.Irrep(path.node).dim, dtype=torch.float64)
            block[EDGE_ROWS[path.edge]] = coupling.permute(1, 2, 0)
            blocks.append(block)
        result[out] = torch.cat(blocks, dim=2)
    return result

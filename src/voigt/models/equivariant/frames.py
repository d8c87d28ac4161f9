"""Edges seen along their own direction: in such axes a coupling of two types is a handful of constants.

A coupling of node features with the harmonics of an edge commutes with rotations. In axes whose pole is the edge, only
the harmonics of order m = 0 differ from zero, and the coupling connects equal |m| of the two ends: 30 products where
the general form has 181 (S. Passaro and C. L. Zitnick, ICML 2023, arXiv:2302.03655, section 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from voigt.models.equivariant.paths import NODE_ROWS, NUM_ROWS, Path
from voigt.models.linear import linear
from voigt.tensors.irreps import cartesian_basis, degree, dimension, wigner_3j

_FRAME_ROWS = ((0, 1), (2, 1), (9, 1), (5, 1), (3, 1), (1, 1), (10, 1), (8, 1), (4, 1), (6, -1), (11, 1), (7, 1))
"""Row of the node features and sign of each component in the axes of an edge: m = 0 of 0e, 1o, 2e, 1e, then pairs
m = 1, -1 of 1o, 2e, 1e, and m = 2, -2 of 2e. The pair of 1e is turned by 90 degrees about the pole, so that couplings
of axial with polar vectors look like all others."""
FRAME_COLUMNS = tuple(
    next(rows for rows in NODE_ROWS.values() if rows.start <= row < rows.stop) for row, _ in _FRAME_ROWS
)
"""What each row of `EdgeFrames` reads, the rows of one type: 44 entries, all others are zero."""
_BLOCKS = ((0, 1), (1, 1), (2, 1), (3, 1), (4, 2), (6, 2), (8, 2), (10, 2))
"""First row and number of rows: what a coupling multiplies with one number."""


@dataclass(frozen=True)
class Term:
    """In the axes of the edge: rows `out` += value * strength * rows `into`, `width` rows each."""

    out: int
    into: int
    width: int
    strength: int
    value: float


@dataclass(frozen=True)
class CouplingTerms:
    """All couplings in the axes of the edge.

    Attributes
    ----------
    terms
        Products to add up, ordered by `out`.
    mixing
        (n_strengths, n_paths) how the strengths of the terms are made of those of the paths; None: they are the same.
    """

    terms: tuple[Term, ...]
    mixing: NDArray[np.float64] | None


@lru_cache
def coupling_terms(paths: tuple[Path, ...], channels: int, constant: float, mixed: bool) -> CouplingTerms:
    """Couplings 'uvu' in e3nn's terms, with its 'component' and 'element' normalization for a sum over `channels`.

    Parameters
    ----------
    paths
        Of node and edge types into node types.
    channels
        Edge channels that the strengths have been summed over.
    constant
        Harmonic of degree 0: 1, or 1 / sqrt(4 pi).
    mixed
        Whether strengths of several paths between the same two types may be added up first, one sum for each |m|, which
        saves products.
    """
    matrices = _matrices(paths, channels, constant)
    terms: list[Term] = []
    rows: list[NDArray[np.float64]] = []
    for out, width in _BLOCKS:
        for into, other in _BLOCKS:
            if other != width:
                continue
            # A pair is multiplied with one number: the block is a multiple of the identity.
            values = matrices[:, out, into]
            present = np.flatnonzero(np.abs(values) > 1e-12).tolist()
            if mixed and len(present) > 1:
                rows.append(values)
                terms.append(Term(out, into, width, len(paths) + len(rows) - 1, 1.0))
            else:
                terms += [Term(out, into, width, path, float(values[path])) for path in present]
    if not mixed:
        return CouplingTerms(tuple(terms), None)
    # Strengths that occur by themselves come first, without those that only enter sums.
    alone = sorted({term.strength for term in terms if term.strength < len(paths)})
    place = {strength: k for k, strength in enumerate([*alone, *range(len(paths), len(paths) + len(rows))])}
    mixing = np.concatenate([np.eye(len(paths))[alone], np.array(rows).reshape(-1, len(paths))])
    terms = [Term(term.out, term.into, term.width, place[term.strength], term.value) for term in terms]
    return CouplingTerms(tuple(terms), mixing)


def _matrices(paths: tuple[Path, ...], channels: int, constant: float) -> NDArray[np.float64]:
    """(n_paths, 12, 12) each coupling with the harmonics of an edge along the pole, in the axes of the edge."""
    result = np.zeros((len(paths), NUM_ROWS, NUM_ROWS))
    order = [row for row, _ in _FRAME_ROWS]
    sign = np.array([sign for _, sign in _FRAME_ROWS])
    for k, path in enumerate(paths):
        # Wigner's symbol has norm 1: a sum of channels x paths terms keeps components of order one with this factor.
        scale = math.sqrt(dimension(path.out) / (channels * sum(other.out == path.out for other in paths)))
        # At the pole only the middle component of a degree differs from zero: it is sqrt(2l + 1).
        size = constant * math.sqrt(dimension(path.edge))
        coupling = wigner_3j(path.node, path.edge, path.out)[:, degree(path.edge), :]
        result[k, NODE_ROWS[path.out], NODE_ROWS[path.node]] = scale * size * coupling.T
    return np.asarray(result[:, order][:, :, order] * sign[:, None] * sign)


class EdgeFrames(nn.Module):
    """Node features as an edge sees them: (n_edges, 12, 12), orthogonal, rows ordered by |m|.

    All entries are linear in the nine components of the axes and in products of two of them: two matrix products.
    """

    factors: Tensor
    entries: Tensor
    constant: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, table in zip(("factors", "entries", "constant"), _frame_tables(), strict=True):
            self.register_buffer(name, torch.tensor(table), persistent=False)

    def forward(self, vector: Tensor) -> Tensor:
        """(n_edges, 3) vectors of any length but zero -> (n_edges, 12, 12)."""
        axes = pole_rotation(vector).flatten(1)
        left, right = linear(axes, self.factors.to(axes.dtype)).chunk(2, dim=1)
        known = torch.cat([axes, left * right], dim=1)
        result = linear(known, self.entries.to(axes.dtype), self.constant.to(axes.dtype))
        return result.view(-1, NUM_ROWS, NUM_ROWS)


def _frame_tables() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The constants of `EdgeFrames`.

    Returns
    -------
    (90, 9) components of the axes -> first and second factors of 45 products; (144, 54) components and products ->
    entries; (144,) what is added to these.
    """
    first, pole, third = np.eye(3)
    # Quadrupoles of the axes, such as third x third - first x first, as products of two vectors each.
    doubled = math.sqrt(2.0) * first
    left = [math.sqrt(1.5) * pole, math.sqrt(2.0) * pole, doubled, math.sqrt(0.5) * (third - first), doubled]
    right = [pole, third, pole, third + first, third]
    unit = np.eye(3)
    # Product (l, i, j) has component i of the left vector l and component j of the right one.
    factors = np.stack(
        [
            np.einsum("lr,ic,j->lijrc", np.array(left), unit, np.ones(3)),
            np.einsum("lr,jc,i->lijrc", np.array(right), unit, np.ones(3)),
        ]
    ).reshape(90, 9)
    # Rows of the basis of symmetric tensors: the trace (0e), then five orthonormal traceless matrices (2e).
    basis = cartesian_basis("ij=ji").matrix[1:]
    entries, constant = np.zeros((NUM_ROWS, NUM_ROWS, 54)), np.zeros((NUM_ROWS, NUM_ROWS))
    constant[0, 0] = 1.0
    for kind, rows in (("1o", (5, 1, 4)), ("1e", (8, 3, 9))):
        for axis, row in enumerate(rows):
            sign = -1.0 if (kind, axis) == ("1e", 2) else 1.0
            entries[row, NODE_ROWS[kind], 3 * axis : 3 * axis + 3] = sign * unit
    for quadrupole, row in enumerate((2, 6, 7, 10, 11)):
        first_product = 9 + 9 * quadrupole
        entries[row, NODE_ROWS["2e"], first_product : first_product + 9] = basis
    return factors, entries.reshape(-1, 54), constant.ravel()


def pole_rotation(vector: Tensor) -> Tensor:
    """(n, 3, 3) rotations that take vectors to the pole, the second axis; which of them does not matter.

    T. Duff et al., J. Comput. Graph. Tech. 6 (2017) 1: an orthonormal basis without a division by a small number.
    """
    x, y, z = nn.functional.normalize(vector, dim=-1).unbind(-1)
    sign = torch.where(z < 0, -1.0, 1.0).to(z)
    a = -1.0 / (sign + z)
    b = x * y * a
    third = torch.stack([1.0 + sign * x * x * a, sign * b, -sign * x], dim=-1)
    first = torch.stack([b, sign + y * y * a, -y], dim=-1)
    return torch.stack([first, torch.stack([x, y, z], dim=-1), third], dim=-2)

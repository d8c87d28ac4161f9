"""Messages: tensor products of sending atoms with their edges, summed at the receivers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from voigt.models.equivariant.paths import NODE_ROWS, NODE_TYPES, NUM_ROWS, Path, coupling_matrices

MessageFunction = Callable[[Tensor, list[Tensor], list[Tensor], Tensor, Tensor, int, tuple[Path, ...]], Tensor]


class Couplings(nn.Module):
    """Geometry of all couplings: from harmonics to one small matrix per edge and output type, shared by all blocks."""

    def __init__(self, paths: tuple[Path, ...], channels: int) -> None:
        super().__init__()
        self.shapes = {}
        for out, matrix in coupling_matrices(paths, channels).items():
            self.shapes[out] = (matrix.shape[1], matrix.shape[2])
            self.register_buffer(f"c{out}", matrix.reshape(9, -1), persistent=False)

    def forward(self, harmonics: Tensor) -> list[Tensor]:
        """(n_edges, 9) -> for each output type (n_edges, dim out, stacked input rows)."""
        constants = {out: self.get_buffer(f"c{out}").to(harmonics.dtype) for out in NODE_TYPES}
        return [(harmonics @ constants[out]).view(len(harmonics), *self.shapes[out]) for out in NODE_TYPES]


def messages(
    atoms: Tensor,
    strengths: list[Tensor],
    couplings: list[Tensor],
    source: Tensor,
    target: Tensor,
    num_targets: int,
    paths: tuple[Path, ...],
) -> Tensor:
    """Tensor products of sending atoms with their edges, summed over the edges of each receiver.

    Parameters
    ----------
    atoms
        (n_atoms, 12, channels) features of all atoms.
    strengths
        For each path (n_edges, channels).
    couplings
        Output of `Couplings`.
    source, target
        (n_edges,) sending atom and receiving orbit.
    num_targets
        Number of orbits.
    paths
        Ordered by output type.

    Returns
    -------
    (num_targets, 12, channels)
    """
    # Rows are kept apart, (n_edges, channels) each: contiguous products, and a backward pass without zero padding.
    rows = atoms.index_select(0, source).transpose(0, 1).contiguous().unbind(0)
    outputs = []
    for out, coupling in zip(NODE_TYPES, couplings, strict=True):
        scaled = [
            row * strengths[p]
            for p, path in enumerate(paths)
            if path.out == out
            for row in rows[NODE_ROWS[path.node]]
        ]
        if coupling.shape[1] == 1:  # a matrix product with a single row is slower than the sum written out
            sums = coupling[:, 0, :1] * scaled[0]
            for k in range(1, len(scaled)):
                sums = torch.addcmul(sums, coupling[:, 0, k : k + 1], scaled[k])
            outputs.append(sums[:, None])
        else:
            outputs.append(torch.bmm(coupling, torch.stack(scaled, dim=1)))
    return atoms.new_zeros(num_targets, NUM_ROWS, atoms.shape[2]).index_add(0, target, torch.cat(outputs, dim=1))


def unrolled_messages(
    atoms: Tensor,
    strengths: list[Tensor],
    couplings: list[Tensor],
    source: Tensor,
    target: Tensor,
    num_targets: int,
    paths: tuple[Path, ...],
) -> Tensor:
    """The same function as `messages`, written as sums that a compiler fuses into one loop over edges."""
    sender = atoms.index_select(0, source)
    outputs = []
    for out, coupling in zip(NODE_TYPES, couplings, strict=True):
        parts, column = [], 0
        for p, path in enumerate(paths):
            if path.out != out:
                continue
            rows = sender[:, NODE_ROWS[path.node]]
            block = coupling[:, :, column : column + rows.shape[1], None]
            parts.append((block * rows[:, None]).sum(2) * strengths[p][:, None])
            column += rows.shape[1]
        outputs.append(functools.reduce(torch.add, parts))
    return atoms.new_zeros(num_targets, NUM_ROWS, atoms.shape[2]).index_add(0, target, torch.cat(outputs, dim=1))


@functools.lru_cache
def compiled_messages() -> MessageFunction:
    """`unrolled_messages` through torch.compile with sizes left open; the first call takes about half a minute."""
    return cast(MessageFunction, torch.compile(unrolled_messages, dynamic=True))

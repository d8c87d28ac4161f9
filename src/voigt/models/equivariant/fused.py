# mypy: ignore-errors
# Kernels are no Python, and Triton is not installed everywhere.
"""The messages of `messages.py` as Triton kernels: gathered, turned, coupled and summed without leaving the registers.

One program serves one receiver (or, for gradients, one sender) and a block of channels. Its edges lie one after the
other, so that it alone writes its sum: no atomic additions, and the same result each time.

Which of the 144 entries of a turn, and of a coupling, differ from zero is known before a kernel is compiled, and every
step is sums of products of two numbers. A table lists them for the rows of the result, and the compiler writes a table
out as multiplications and additions of rows. A row is a vector of channels: no thread needs what another one has.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from itertools import accumulate, chain
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from voigt.models.equivariant.frames import FRAME_COLUMNS, Term
from voigt.models.equivariant.paths import NUM_ROWS

BLOCK_BYTES = 256
"""Of a row, for a program of one warp: each thread loads 8 bytes at once, in single precision two channels, which share
the loads of a turn. Four channels would not fit into its registers."""

Table = tuple[int | float, ...]
"""Sums of products, for Triton in one flat tuple: where the products of each sum begin and where the last one ends,
then for every product the places of both factors and a constant."""


def _table(count: int, products: Iterable[tuple[int, int, int, float]]) -> Table:
    """`Table` of `count` sums from products (sum, place of the first factor, of the second one, constant)."""
    sums = [[number for which, *numbers in products if which == k for number in numbers] for k in range(count)]
    begins = accumulate(map(len, sums), initial=count + 1)
    return (*begins, *chain.from_iterable(sums))


_ENTRIES = [(row, column) for row, columns in enumerate(FRAME_COLUMNS) for column in range(columns.start, columns.stop)]
ROWS = tl.constexpr(NUM_ROWS)
ENTRIES = tl.constexpr(len(_ENTRIES))
TURN = tl.constexpr(_table(NUM_ROWS, [(row, k, column, 1.0) for k, (row, column) in enumerate(_ENTRIES)]))
TURN_BACK = tl.constexpr(_table(NUM_ROWS, [(column, k, row, 1.0) for k, (row, column) in enumerate(_ENTRIES)]))


@lru_cache
def coupling_tables(terms: tuple[Term, ...], strengths: int) -> tuple[Table, Table, Table]:
    """Rows from rows and strengths; the same transposed; gradients of the strengths from sent and received rows."""
    products = [
        (term.out + row, term.into + row, term.strength, term.value) for term in terms for row in range(term.width)
    ]
    return (
        _table(NUM_ROWS, products),
        _table(NUM_ROWS, [(into, out, strength, value) for out, into, strength, value in products]),
        _table(strengths, [(strength, into, out, value) for out, into, strength, value in products]),
    )


class Leaving(NamedTuple):
    """Edges in the order of their senders.

    Attributes
    ----------
    edges, receivers
        (n_edges,) the edges and their targets.
    begin
        (n_atoms + 1,) where the edges of each sender begin.
    """

    edges: Tensor
    receivers: Tensor
    begin: Tensor


def entering_edges(target: Tensor, num_targets: int) -> Tensor:
    """(num_targets + 1,) where the edges of each receiver begin; targets ascend."""
    return torch.searchsorted(target, torch.arange(num_targets + 1, device=target.device))


def leaving_edges(source: Tensor, target: Tensor, num_atoms: int) -> Leaving:
    """The edges by their senders."""
    senders, edges = torch.sort(source, stable=True)
    return Leaving(edges, target.index_select(0, edges), entering_edges(senders, num_atoms))


def turns(frames: Tensor) -> Tensor:
    """(n_edges, 44) the entries of (n_edges, 12, 12) `EdgeFrames` that are not zero by construction, row after row."""
    return torch.cat([frames[:, row, columns] for row, columns in enumerate(FRAME_COLUMNS)], dim=1)


def fused_messages(
    terms: tuple[Term, ...],
    atoms: Tensor,
    strengths: Tensor,
    frames: Tensor,
    source: Tensor,
    target: Tensor,
    num_targets: int,
    turn: Tensor | None = None,
    entering: Tensor | None = None,
) -> Tensor:
    """(num_targets, 12, channels) sums of messages.

    Nothing waits for the device and no size depends on what a tensor holds, so that a CUDA graph may record a call.

    Parameters
    ----------
    terms
        Of `coupling_terms`.
    atoms
        (n_atoms, 12, channels).
    strengths
        (n_strengths, n_edges, channels), without a copy if they are a transposed (n_edges, n_strengths, channels).
    frames
        (n_edges, 12, 12) from `EdgeFrames`.
    source, target
        (n_edges,), targets in ascending order.
    num_targets
        Number of receivers.
    turn, entering
        `turns(frames)` and `entering_edges(target, num_targets)`, the same in all layers of a network; None: made here.
    """
    count, channels = len(strengths), atoms.shape[2]
    total = atoms.new_empty(num_targets, NUM_ROWS, channels)
    coupling, _, _ = coupling_tables(terms, count)
    block = block_size(channels, atoms.dtype)
    with _on(atoms.device):
        _messages[(num_targets, triton.cdiv(channels, block))](
            atoms.contiguous(), strengths.transpose(0, 1).contiguous(), turns(frames) if turn is None else turn, source,
            entering_edges(target, num_targets) if entering is None else entering, total,
            COUPLING=coupling, STRENGTHS=count, CHANNELS=channels, BLOCK=block, num_warps=1, enable_fp_fusion=True,
        )  # fmt: skip
    return total


def fused_gradients(
    terms: tuple[Term, ...],
    atoms: Tensor,
    strengths: Tensor,
    frames: Tensor,
    source: Tensor,
    target: Tensor,
    gradient: Tensor,
    turn: Tensor | None = None,
    leaving: Leaving | None = None,
) -> tuple[Tensor, Tensor]:
    """From the gradient of the sums those of `atoms` and `strengths`, shaped as these; see `fused_messages`.

    `leaving` is `leaving_edges(source, target, len(atoms))`, if it is known. The gradient of the strengths is a
    transposed (n_edges, n_strengths, channels).
    """
    count, channels = len(strengths), atoms.shape[2]
    of_atoms = atoms.new_empty(atoms.shape)
    of_strengths = atoms.new_empty(len(source), count, channels)
    edges, receivers, begin = leaving_edges(source, target, len(atoms)) if leaving is None else leaving
    _, transposed, pairs = coupling_tables(terms, count)
    block = block_size(channels, atoms.dtype)
    # The adjoint of a sum over the edges into an atom is a sum over those that leave it.
    with _on(atoms.device):
        _gradients[(len(atoms), triton.cdiv(channels, block))](
            atoms.contiguous(), strengths.transpose(0, 1).contiguous(), turns(frames) if turn is None else turn,
            gradient.contiguous(), edges, receivers, begin, of_atoms, of_strengths, TRANSPOSED=transposed, PAIRS=pairs,
            STRENGTHS=count, CHANNELS=channels, BLOCK=block, num_warps=1, enable_fp_fusion=True,
        )  # fmt: skip
    return of_atoms, of_strengths.transpose(0, 1)


def _on(device: torch.device) -> AbstractContextManager[None]:
    """Triton starts kernels on the current device, wherever their tensors are."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def block_size(channels: int, dtype: torch.dtype) -> int:
    """Channels of a program."""
    return min(BLOCK_BYTES // dtype.itemsize, triton.next_power_of_2(channels))


@triton.jit
def _messages(
    atoms, strengths, turns, source, begin, total,
    COUPLING: tl.constexpr, STRENGTHS: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sum over the edges into one receiver of A^T K(s) A x."""
    receiver = tl.program_id(0)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    sums = _zeros(channel, total.dtype.element_ty)
    for edge in range(tl.load(begin + receiver), tl.load(begin + receiver + 1)):
        given = _load(atoms, tl.load(source + edge), channel, ROWS, CHANNELS)
        strength = _load(strengths, edge, channel, STRENGTHS, CHANNELS)
        turn = _load_turn(turns, edge)
        passed = _products(_products(turn, given, TURN), strength, COUPLING)
        sums = _add(sums, _products(turn, passed, TURN_BACK))
    _store(total, receiver, channel, sums, ROWS, CHANNELS)


@triton.jit
def _gradients(
    atoms, strengths, turns, gradient, edges, receivers, begin, of_atoms, of_strengths,
    TRANSPOSED: tl.constexpr, PAIRS: tl.constexpr, STRENGTHS: tl.constexpr, CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradient of one sender, the sum over the edges that leave it of A^T K(s)^T A g, and those of their strengths."""
    sender = tl.program_id(0)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    given = _load(atoms, sender, channel, ROWS, CHANNELS)
    sums = _zeros(channel, of_atoms.dtype.element_ty)
    for place in range(tl.load(begin + sender), tl.load(begin + sender + 1)):
        edge = tl.load(edges + place)
        incoming = _load(gradient, tl.load(receivers + place), channel, ROWS, CHANNELS)
        strength = _load(strengths, edge, channel, STRENGTHS, CHANNELS)
        turn = _load_turn(turns, edge)
        received = _products(turn, incoming, TURN)
        sums = _add(sums, _products(turn, _products(received, strength, TRANSPOSED), TURN_BACK))
        pairs = _products(_products(turn, given, TURN), received, PAIRS)
        _store(of_strengths, edge, channel, pairs, STRENGTHS, CHANNELS)
    _store(of_atoms, sender, channel, sums, ROWS, CHANNELS)


@triton.jit
def _products(first, second, TABLE: tl.constexpr):
    """All sums of a `Table`, (BLOCK,) each."""
    result = ()
    for k in tl.static_range(TABLE[0] - 1):
        total = tl.full(second[0].shape, 0.0, second[0].dtype)
        for n in tl.static_range(tl.constexpr(TABLE[k]), tl.constexpr(TABLE[k + 1]), 3):
            factor = second[TABLE[n + 1]]
            if TABLE[n + 2] != 1.0:
                factor = factor * TABLE[n + 2]
            total += first[TABLE[n]] * factor
        result = result + (total,)
    return result


@triton.jit
def _add(first, second):
    result = ()
    for k in tl.static_range(ROWS):
        result = result + (first[k] + second[k],)
    return result


@triton.jit
def _zeros(channel, DTYPE: tl.constexpr):
    result = ()
    for _ in tl.static_range(ROWS):
        result = result + (tl.full(channel.shape, 0.0, DTYPE),)
    return result


@triton.jit
def _load_turn(turns, edge):
    """The entries of one turn, each a number."""
    place = turns + tl.cast(edge, tl.int64) * ENTRIES
    result = ()
    for k in tl.static_range(ENTRIES):
        result = result + (tl.load(place + k),)
    return result


@triton.jit
def _load(pointer, which, channel, COUNT: tl.constexpr, CHANNELS: tl.constexpr):
    """The `COUNT` rows of an atom or edge, (BLOCK,) each."""
    place, inside = pointer + tl.cast(which, tl.int64) * (COUNT * CHANNELS) + channel, channel < CHANNELS
    result = ()
    for k in tl.static_range(COUNT):
        result = result + (tl.load(place + k * CHANNELS, mask=inside, other=0.0),)
    return result


@triton.jit
def _store(pointer, which, channel, rows, COUNT: tl.constexpr, CHANNELS: tl.constexpr):
    place, inside = pointer + tl.cast(which, tl.int64) * (COUNT * CHANNELS) + channel, channel < CHANNELS
    for k in tl.static_range(COUNT):
        tl.store(place + k * CHANNELS, rows[k], mask=inside)

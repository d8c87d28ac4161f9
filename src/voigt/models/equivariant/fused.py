# mypy: ignore-errors
# Kernels are no Python, and Triton is not installed everywhere.
"""The messages of `messages.py` as Triton kernels: gathered, turned, coupled and summed without leaving the registers.

One program serves one receiver (or, for gradients, one sender) and a block of channels. Its edges lie one after the
other, so that it alone writes its sum: no atomic additions, and the same result each time. The 12 rows of features are
padded to 16, and a coupling is a table: to row k from row i by which strength, times which number.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from voigt.models.equivariant.frames import Term
from voigt.models.equivariant.paths import NUM_ROWS

BLOCK = 32
"""Channels of a program."""


@lru_cache
@torch.inference_mode(False)
def _tables(terms: tuple[Term, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """(layers, 12, 12) which strength leads from row i to row k, and its factor; layers: what meets in one place."""
    entries: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for term in terms:
        for row in range(term.width):
            entries.setdefault((term.out + row, term.into + row), []).append((term.strength, term.value))
    layers = max(len(found) for found in entries.values())
    place = torch.zeros(layers, NUM_ROWS, NUM_ROWS, dtype=torch.int32)
    value = torch.zeros(layers, NUM_ROWS, NUM_ROWS, dtype=torch.float64)
    for (out, into), found in entries.items():
        for layer, (strength, factor) in enumerate(found):
            place[layer, out, into], value[layer, out, into] = strength, factor
    return place.to(device), value.to(device=device, dtype=dtype)


def fused_messages(
    terms: tuple[Term, ...],
    atoms: Tensor,
    strengths: Tensor,
    frames: Tensor,
    source: Tensor,
    target: Tensor,
    num_targets: int,
) -> Tensor:
    """(num_targets, 12, channels) sums of messages.

    Parameters
    ----------
    terms
        Of `coupling_terms`.
    atoms
        (n_atoms, 12, channels).
    strengths
        (n_strengths, n_edges, channels).
    frames
        (n_edges, 12, 12).
    source, target
        (n_edges,), targets in ascending order.
    num_targets
        Number of receivers.
    """
    channels = atoms.shape[2]
    total = atoms.new_empty(num_targets, NUM_ROWS, channels)
    place, value = _tables(terms, atoms.dtype, atoms.device)
    ascending = torch.arange(len(source), device=source.device)
    _sums[(num_targets, triton.cdiv(channels, BLOCK))](
        atoms.contiguous(), frames.contiguous(), strengths.contiguous(), place, value, source, ascending,
        _starts(target, num_targets), total, len(source), channels,
        LAYERS=len(place), REVERSE=False, BLOCK=BLOCK,
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
) -> tuple[Tensor, Tensor]:
    """From the gradient of the sums those of `atoms` and `strengths`, shaped as these; see `fused_messages`."""
    channels, count = atoms.shape[2], len(atoms)
    atoms, frames, gradient = atoms.contiguous(), frames.contiguous(), gradient.contiguous()
    strengths = strengths.contiguous()
    place, value = _tables(terms, atoms.dtype, atoms.device)
    of_atoms, of_strengths = torch.empty_like(atoms), torch.empty_like(strengths)
    # The adjoint of a sum over the edges into an atom is a sum over those that leave it.
    leaving, order = torch.sort(source, stable=True)
    blocks = triton.cdiv(channels, BLOCK)
    _sums[(count, blocks)](
        gradient, frames, strengths, place, value, target, order, _starts(leaving, count), of_atoms, len(source),
        channels, LAYERS=len(place), REVERSE=True, BLOCK=BLOCK,
    )  # fmt: skip
    if len(source):
        _products[(len(source), blocks)](
            atoms, gradient, frames, place, value, source, target, of_strengths, len(source), channels,
            LAYERS=len(place), STRENGTHS=len(strengths), BLOCK=BLOCK,
        )  # fmt: skip
    return of_atoms, of_strengths


def _starts(ascending: Tensor, count: int) -> Tensor:
    """(count + 1,) where the edges of each atom begin."""
    return torch.searchsorted(ascending, torch.arange(count + 1, device=ascending.device))


@triton.jit
def _turned(turn, features):
    """Rows k of `turn` (16, 16) times features (16, BLOCK)."""
    return tl.sum(turn[:, :, None] * features[None, :, :], axis=1)


@triton.jit
def _turned_back(turn, features):
    return tl.sum(turn[:, :, None] * features[:, None, :], axis=0)


@triton.jit
def _features(pointer, row, channels, channel):
    """(16, BLOCK) features of an atom."""
    rows = tl.arange(0, 16)
    places = (row.to(tl.int64) * 12 + rows[:, None]) * channels + channel[None, :]
    return tl.load(pointer + places, mask=(rows[:, None] < 12) & (channel[None, :] < channels), other=0.0)


@triton.jit
def _sums(
    given, frames, strengths, place, value, ends, order, start, total, edges, channels,
    LAYERS: tl.constexpr, REVERSE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sum over the edges of one atom of A^T K(s) A x, K transposed in `REVERSE`; edges come in `order`."""
    atom = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    rows = tl.arange(0, 16)
    inside = (rows[:, None] < 12) & (rows[None, :] < 12)
    entry = rows[:, None] * 12 + rows[None, :]
    sums = tl.zeros((16, BLOCK), dtype=total.dtype.element_ty)
    for k in range(tl.load(start + atom), tl.load(start + atom + 1)):
        edge = tl.load(order + k).to(tl.int64)
        other = tl.load(ends + edge)
        turn = tl.load(frames + edge * 144 + entry, mask=inside, other=0.0)
        seen = _turned(turn, _features(given, other, channels, channel))
        passed = tl.zeros((16, BLOCK), dtype=total.dtype.element_ty)
        for layer in tl.static_range(LAYERS):
            factor = tl.load(value + layer * 144 + entry, mask=inside, other=0.0)
            which = tl.load(place + layer * 144 + entry, mask=inside, other=0)
            where = (which[:, :, None].to(tl.int64) * edges + edge) * channels + channel[None, None, :]
            live = (factor != 0.0)[:, :, None] & (channel[None, None, :] < channels)
            scaled = tl.load(strengths + where, mask=live, other=0.0) * factor[:, :, None]
            if REVERSE:
                passed += tl.sum(scaled * seen[:, None, :], axis=0)
            else:
                passed += tl.sum(scaled * seen[None, :, :], axis=1)
        sums += _turned_back(turn, passed)
    places = (atom * 12 + rows[:, None]) * channels + channel[None, :]
    tl.store(total + places, sums, mask=(rows[:, None] < 12) & (channel[None, :] < channels))


@triton.jit
def _products(
    atoms, gradient, frames, place, value, source, target, of_strengths, edges, channels,
    LAYERS: tl.constexpr, STRENGTHS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradient of the strengths of one edge: products of the rows that each of them connects."""
    edge = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    rows = tl.arange(0, 16)
    inside = (rows[:, None] < 12) & (rows[None, :] < 12)
    entry = rows[:, None] * 12 + rows[None, :]
    turn = tl.load(frames + edge * 144 + entry, mask=inside, other=0.0)
    sender = _turned(turn, _features(atoms, tl.load(source + edge), channels, channel))
    received = _turned(turn, _features(gradient, tl.load(target + edge), channels, channel))
    both = received[:, None, :] * sender[None, :, :]
    for strength in tl.static_range(STRENGTHS):
        total = tl.zeros((BLOCK,), dtype=of_strengths.dtype.element_ty)
        for layer in tl.static_range(LAYERS):
            factor = tl.load(value + layer * 144 + entry, mask=inside, other=0.0)
            which = tl.load(place + layer * 144 + entry, mask=inside, other=-1)
            chosen = tl.where(which == strength, factor, 0.0)
            total += tl.sum(tl.sum(chosen[:, :, None] * both, axis=1), axis=0)
        places = (strength * edges + edge) * channels + channel
        tl.store(of_strengths + places, total, mask=channel < channels)

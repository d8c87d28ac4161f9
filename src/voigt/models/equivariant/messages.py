"""Messages: tensor products of sending atoms with their edges, summed at the receivers.

    out[t] = sum over edges e into t of A_e^T K(s_e) A_e x[source of e],   s_e = activation_e W

A_e turns features into the axes of the edge (`EdgeFrames`), where the coupling K is a few products with the strengths
s_e (`coupling_terms`). Strengths and products of all edges would fill memory and miss the cache: a CPU takes a few
hundred edges at a time, and the backward pass computes them again instead of keeping them.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from voigt.models.equivariant.frames import Term
from voigt.models.equivariant.paths import NUM_ROWS

CHUNK_NUMBERS = 2**14
"""Edges x channels that a CPU handles at a time: their arrays stay in its cache."""


class Factor(NamedTuple):
    """Some strengths of all edges as a product: activation (n_edges, k), weight (n_strengths, k, channels)."""

    activation: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Edges:
    """Directed edges, in ascending order of their targets.

    Attributes
    ----------
    source, target
        (n_edges,) sending atom and receiving orbit.
    frames
        (n_edges, 12, 12) from `EdgeFrames`.
    """

    source: Tensor
    target: Tensor
    frames: Tensor


class Kernels(NamedTuple):
    """How the messages of some edges, and their gradients, are computed: `edge_messages` and `edge_gradients`."""

    forward: Callable[..., Tensor]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]]


def summed_messages(
    atoms: Tensor, factors: Sequence[Factor], edges: Edges, num_targets: int, terms: tuple[Term, ...], kernels: Kernels
) -> Tensor:
    """Tensor products of sending atoms with their edges, summed over the edges of each receiver.

    Parameters
    ----------
    atoms
        (n_atoms, 12, channels) features of all atoms.
    factors
        Strengths of the edges; those of all factors one after the other are numbered by `Term.strength`.
    edges
        Who sends to whom, and the axes of the edges.
    num_targets
        Number of receivers.
    terms
        Of `coupling_terms`.
    kernels
        `eager_kernels()` or `compiled_kernels()`.

    Returns
    -------
    (num_targets, 12, channels)
    """
    flat = [tensor for factor in factors for tensor in factor]
    if torch.is_grad_enabled():
        return cast(Tensor, _SummedMessages.apply(terms, kernels, num_targets, edges, edges.frames, atoms, *flat))  # type: ignore[no-untyped-call]
    return _forward(terms, kernels, num_targets, edges, atoms, flat)


def _chunks(edges: Edges, channels: int) -> list[slice]:
    """All edges at once on a device, which is quicker the more it is given."""
    count = len(edges.source)
    size = max(CHUNK_NUMBERS // channels, 1) if edges.source.device.type == "cpu" else max(count, 1)
    return [slice(first, first + size) for first in range(0, count, size)]


def _forward(
    terms: tuple[Term, ...], kernels: Kernels, num_targets: int, edges: Edges, atoms: Tensor, flat: Sequence[Tensor]
) -> Tensor:
    activations, weights = flat[::2], flat[1::2]
    if is_fused(atoms, kernels):
        from voigt.models.equivariant.fused import fused_messages

        strengths = _strengths(activations, weights)
        return fused_messages(terms, atoms, strengths, edges.frames, edges.source, edges.target, num_targets)
    total = atoms.new_zeros(num_targets, NUM_ROWS, atoms.shape[2])
    for rows in _chunks(edges, atoms.shape[2]):
        some = [activation[rows] for activation in activations]
        total.index_add_(
            0, edges.target[rows], kernels.forward(terms, atoms, edges.source[rows], edges.frames[rows], some, weights)
        )
    return total


class _SummedMessages(torch.autograd.Function):
    """`summed_messages`; keeps what it was given and nothing else."""

    @staticmethod
    def forward(
        ctx: Any, terms: tuple[Term, ...], kernels: Kernels, num_targets: int, edges: Edges, frames: Tensor,
        atoms: Tensor, *flat: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.terms, ctx.kernels = terms, kernels
        ctx.save_for_backward(edges.source, edges.target, frames, atoms, *flat)
        return _forward(terms, kernels, num_targets, edges, atoms, flat)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        source, target, frames, atoms, *flat = ctx.saved_tensors
        edges, activations, weights = Edges(source, target, frames), flat[::2], flat[1::2]
        of_frames = torch.empty_like(frames) if ctx.needs_input_grad[4] else None
        of_atoms = torch.zeros_like(atoms)
        of_activations = [torch.zeros_like(activation) for activation in activations]
        of_weights = [torch.zeros_like(weight) for weight in weights]
        pairs = zip(of_activations, of_weights, strict=True)
        if of_frames is None and is_fused(atoms, ctx.kernels):
            from voigt.models.equivariant.fused import fused_gradients

            strengths = _strengths(activations, weights)
            of_atoms, of_strengths = fused_gradients(ctx.terms, atoms, strengths, frames, source, target, gradient)
            _add_factor_gradients(of_strengths, activations, weights, of_activations, of_weights)
            return None, None, None, None, None, of_atoms, *(tensor for pair in pairs for tensor in pair)
        for rows in _chunks(edges, atoms.shape[2]):
            some = [activation[rows] for activation in activations]
            incoming = gradient.index_select(0, target[rows])
            sent, of_strengths, turned = ctx.kernels.backward(
                ctx.terms, atoms, source[rows], frames[rows], some, weights, incoming, of_frames is not None
            )
            of_atoms.index_add_(0, source[rows], sent)
            if of_frames is not None:
                of_frames[rows] = turned
            _add_factor_gradients(of_strengths, some, weights, [one[rows] for one in of_activations], of_weights)
        return None, None, None, None, of_frames, of_atoms, *(tensor for pair in pairs for tensor in pair)


def is_fused(atoms: Tensor, kernels: Kernels) -> bool:
    """Whether Triton's kernels serve: on a CUDA device where they agree, unless torch.compile is asked for."""
    return atoms.is_cuda and kernels is eager_kernels() and _fused_agrees(atoms.device)


@functools.lru_cache
@torch.inference_mode(False)
@torch.no_grad()
def _fused_agrees(device: torch.device) -> bool:
    """Whether Triton is there, its kernels compile for this device, and give what plain torch gives."""
    if importlib.util.find_spec("triton") is None:
        return False
    from voigt.models.equivariant import fused

    generator = torch.Generator().manual_seed(0)
    terms = (Term(0, 0, 1, 0, 0.5), Term(4, 4, 2, 1, -0.7), Term(4, 6, 2, 0, 0.3))
    atoms, frames, strengths, gradient = (
        torch.randn(shape, generator=generator).to(device)
        for shape in ((5, NUM_ROWS, 32), (9, NUM_ROWS, NUM_ROWS), (2, 9, 32), (4, NUM_ROWS, 32))
    )
    source = torch.tensor([0, 1, 2, 3, 4, 0, 2, 4, 1], device=device)
    target = torch.tensor([0, 0, 1, 1, 1, 1, 3, 3, 3], device=device)
    try:
        found = fused.fused_messages(terms, atoms, strengths, frames, source, target, 4)
        of_atoms, of_strengths = fused.fused_gradients(terms, atoms, strengths, frames, source, target, gradient)
    except Exception:  # of a compiler and a driver, of whatever kind: plain torch does the work
        return False
    given, incoming = atoms.index_select(0, source), gradient.index_select(0, target)
    sender, received = _rows_apart(frames, given), _rows_apart(frames, incoming)
    back = frames.transpose(1, 2)
    passed = torch.bmm(back, _sparse(terms, sender, strengths).transpose(0, 1))
    reverse = tuple(sorted((_transposed(term) for term in terms), key=lambda term: term.out))
    sent = torch.bmm(back, _sparse(reverse, received, strengths).transpose(0, 1))
    expected = (
        torch.zeros_like(found).index_add_(0, target, passed),
        torch.zeros_like(atoms).index_add_(0, source, sent),
        _strength_gradients(terms, sender, received, strengths),
    )
    pairs = zip((found, of_atoms, of_strengths), expected, strict=True)
    return all(bool(torch.allclose(one, other, rtol=1e-3, atol=1e-3)) for one, other in pairs)


def _sparse(terms: tuple[Term, ...], rows: Tensor, strengths: Tensor) -> Tensor:
    """`_coupled` for terms that leave rows untouched."""
    result = torch.zeros_like(rows)
    for term in terms:
        part = rows[term.into : term.into + term.width] * strengths[term.strength] * term.value
        result[term.out : term.out + term.width] += part
    return result


def _add_factor_gradients(
    of_strengths: Tensor,
    activations: Sequence[Tensor],
    weights: Sequence[Tensor],
    of_activations: Sequence[Tensor],
    of_weights: Sequence[Tensor],
) -> None:
    """Add to the gradients of activations and weights, from those of the strengths that they make."""
    first = 0
    for k, (activation, weight) in enumerate(zip(activations, weights, strict=True)):
        part = of_strengths[first : first + len(weight)]
        first += len(weight)
        of_weights[k].baddbmm_(activation.T.expand(len(weight), -1, -1), part)
        for one, matrix in zip(part, weight, strict=True):
            of_activations[k].addmm_(one, matrix.T)


def edge_messages(
    terms: tuple[Term, ...],
    atoms: Tensor,
    source: Tensor,
    frames: Tensor,
    activations: Sequence[Tensor],
    weights: Sequence[Tensor],
) -> Tensor:
    """(n, 12, channels) message of each of some edges."""
    sender = _rows_apart(frames, atoms.index_select(0, source))
    passed = _coupled(terms, sender, _strengths(activations, weights))
    return torch.bmm(frames.transpose(1, 2), passed.transpose(0, 1))


def edge_gradients(
    terms: tuple[Term, ...],
    atoms: Tensor,
    source: Tensor,
    frames: Tensor,
    activations: Sequence[Tensor],
    weights: Sequence[Tensor],
    gradient: Tensor,
    of_frames: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """From the gradients of the messages of some edges, (n, 12, channels), those of what made them.

    Returns
    -------
    Of the senders (n, 12, channels), of the strengths (n_strengths, n, channels), of the frames (n, 12, 12), empty if
    they are not wanted.
    """
    given = atoms.index_select(0, source)
    sender, received = _rows_apart(frames, given), _rows_apart(frames, gradient)
    strengths = _strengths(activations, weights)
    of_strengths = _strength_gradients(terms, sender, received, strengths)
    reverse = tuple(sorted((_transposed(term) for term in terms), key=lambda term: term.out))
    of_sender = _coupled(reverse, received, strengths)
    sent = torch.bmm(frames.transpose(1, 2), of_sender.transpose(0, 1))
    if not of_frames:
        return sent, of_strengths, frames[:0]
    passed = _coupled(terms, sender, strengths)
    turned = torch.bmm(passed.transpose(0, 1), gradient.transpose(1, 2))
    return sent, of_strengths, turned + torch.bmm(of_sender.transpose(0, 1), given.transpose(1, 2))


def _strength_gradients(terms: tuple[Term, ...], sender: Tensor, received: Tensor, strengths: Tensor) -> Tensor:
    """(n_strengths, n, channels) products of what each strength connects."""
    into, out = sender.unbind(0), received.unbind(0)
    if torch.compiler.is_compiling():
        sums: list[list[Tensor]] = [[] for _ in range(len(strengths))]
        for term in terms:
            sums[term.strength] += [into[term.into + k] * out[term.out + k] * term.value for k in range(term.width)]
        return torch.stack([functools.reduce(torch.add, products) for products in sums])
    result, begun = torch.empty_like(strengths), set()
    places = result.unbind(0)
    for term in terms:
        for k in range(term.width):
            first, second, known = into[term.into + k], out[term.out + k], term.strength in begun
            _add_product(places[term.strength], first, second, term.value, known)
            begun.add(term.strength)
    return result


def _transposed(term: Term) -> Term:
    return Term(term.into, term.out, term.width, term.strength, term.value)


def _rows_apart(frames: Tensor, features: Tensor) -> Tensor:
    """(12, n, channels) features in the axes of the edges; rows lie apart, so that products run over long arrays."""
    return torch.bmm(frames, features).transpose(0, 1).contiguous()


def _strengths(activations: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """(n_strengths, n, channels)."""
    pairs = zip(activations, weights, strict=True)
    parts = [torch.matmul(activation, weight) for activation, weight in pairs]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _coupled(terms: tuple[Term, ...], rows: Tensor, strengths: Tensor) -> Tensor:
    """K(s) applied to features in the axes of the edges, (12, n, channels) each."""
    if torch.compiler.is_compiling():  # a compiler fuses sums that are written out
        return torch.cat([_written_out(terms, rows, strengths, out) for out in sorted({term.out for term in terms})])
    result, begun = torch.empty_like(rows), set()
    for term in terms:
        into, sums = rows[term.into : term.into + term.width], result[term.out : term.out + term.width]
        _add_product(sums, into, strengths[term.strength], term.value, term.out in begun)
        begun.add(term.out)
    return result


def _written_out(terms: tuple[Term, ...], rows: Tensor, strengths: Tensor, out: int) -> Tensor:
    """The rows of a block that begins at `out`."""
    products = [
        rows[term.into : term.into + term.width] * strengths[term.strength] * term.value
        for term in terms
        if term.out == out
    ]
    return functools.reduce(torch.add, products)


def _add_product(sums: Tensor, first: Tensor, second: Tensor, value: float, begun: bool) -> None:
    """Add value * first * second in place, or put it there if nothing has been before."""
    if begun:
        sums.addcmul_(first, second, value=value)
    else:
        torch.addcmul(sums.new_zeros(()), first, second, value=value, out=sums)


@functools.lru_cache
def eager_kernels() -> Kernels:
    """As written."""
    return Kernels(edge_messages, edge_gradients)


@functools.lru_cache
def compiled_kernels() -> Kernels:
    """The same through torch.compile with sizes left open; the first call takes about half a minute."""
    return Kernels(torch.compile(edge_messages, dynamic=True), torch.compile(edge_gradients, dynamic=True))

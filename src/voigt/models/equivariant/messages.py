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
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from voigt.models.equivariant.frames import EdgeFrames, Term, coupling_terms
from voigt.models.equivariant.paths import NUM_ROWS, coupling_paths
from voigt.models.linear import linear, summed_products, transformed

T = TypeVar("T")

CHUNK_NUMBERS = 2**15
"""Edges x channels that a CPU handles at a time: enough that calls cost little, few enough for its cache."""
ROWS = 64
"""Chunks of more edges are multiples of it, which matrix products like."""


class Factor(NamedTuple):
    """Some strengths of all edges as a linear map: activation (n_edges, k), weight (n_strengths, channels, k)."""

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
    _kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """What all layers of a network use, made by the first that asks for it."""
        if name not in self._kept:
            self._kept[name] = make()
        return cast(T, self._kept[name])

    def copies(self, count: int, num_atoms: int, num_targets: int) -> Edges:
        """The edges of so many copies of all atoms, one after the other."""

        def shifted(index: Tensor, size: int) -> Tensor:
            return (index + size * torch.arange(count, device=index.device)[:, None]).flatten()

        def make() -> Edges:
            source, target = shifted(self.source, num_atoms), shifted(self.target, num_targets)
            return Edges(source, target, self.frames.repeat(count, 1, 1))

        return self.kept(f"copies {count}", make)


class Kernels(NamedTuple):
    """How the messages of some edges, and their gradients, are computed: `edge_messages` and `edge_gradients`."""

    forward: Callable[..., Tensor]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]]


@functools.lru_cache
def _of_scalars(terms: tuple[Term, ...]) -> tuple[tuple[Term, ...], tuple[int, ...]]:
    """The terms that read scalars, their strengths numbered anew, and which these are."""
    kept = [term for term in terms if term.into == 0]
    used = tuple(sorted({term.strength for term in kept}))
    return tuple(replace(term, strength=used.index(term.strength)) for term in kept), used


def from_scalars(terms: tuple[Term, ...], factors: Sequence[Factor]) -> tuple[tuple[Term, ...], list[Factor]]:
    """What is left of couplings whose senders have scalars alone, as before the first messages: a fifth of them."""
    kept, used = _of_scalars(terms)
    chosen, first = [], 0
    for activation, weight in factors:
        own = [weight[strength - first] for strength in used if first <= strength < first + len(weight)]
        first += len(weight)
        if own:
            chosen.append(Factor(activation, torch.stack(own)))
    return kept, chosen


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
    if torch.is_grad_enabled() or transformed():
        return cast(Tensor, _SummedMessages.apply(terms, kernels, num_targets, edges, edges.frames, atoms, *flat))  # type: ignore[no-untyped-call]
    return _forward(terms, kernels, num_targets, edges, atoms, flat)


def _chunks(edges: Edges, channels: int) -> list[slice]:
    """All edges at once on a device, which is quicker the more it is given."""
    count = len(edges.source)
    if edges.source.device.type == "cpu":
        size = max(CHUNK_NUMBERS // channels, 1)
        size -= size % ROWS if size > ROWS else 0
    else:
        size = max(count, 1)
    return [slice(first, first + size) for first in range(0, count, size)]


def _forward(
    terms: tuple[Term, ...], kernels: Kernels, num_targets: int, edges: Edges, atoms: Tensor, flat: Sequence[Tensor]
) -> Tensor:
    activations, weights = flat[::2], flat[1::2]
    if is_fused(atoms, kernels):
        strengths = _joined(activations, weights)
        return _fused_sums(terms, atoms, strengths, edges, num_targets)
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
        terms: tuple[Term, ...], kernels: Kernels, num_targets: int, edges: Edges, _frames: Tensor,
        atoms: Tensor, *flat: Tensor,
    ) -> Tensor:  # fmt: skip
        return _forward(terms, kernels, num_targets, edges, atoms, flat)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.terms, ctx.kernels, _, ctx.edges, frames, atoms, *flat = inputs
        ctx.save_for_backward(frames, atoms, *flat)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], terms: tuple[Term, ...], kernels: Kernels, num_targets: int, edges: Edges,
        _frames: Tensor, atoms: Tensor, *flat: Tensor,
    ) -> tuple[Tensor, int]:  # fmt: skip
        """Members of an ensemble: the same edges, other features and strengths."""
        count = info.batch_size
        several = [
            tensor.expand(count, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
            for tensor, axis in zip((atoms, *flat), in_dims[5:], strict=True)
        ]
        if not is_fused(atoms, kernels):
            parts = [
                _forward(terms, kernels, num_targets, edges, one, rest) for one, *rest in zip(*several, strict=True)
            ]
            return torch.stack(parts), 0
        of_atoms, activations, weights = several[0], several[1::2], several[2::2]
        strengths = torch.cat(
            [
                torch.bmm(activation, weight.flatten(1, 2).transpose(1, 2)).unflatten(2, weight.shape[1:3])
                for activation, weight in zip(activations, weights, strict=True)
            ],
            dim=2,
        )
        copies = edges.copies(count, of_atoms.shape[1], num_targets)
        flat_strengths = strengths.flatten(0, 1).transpose(0, 1)
        sums = _fused_sums(terms, of_atoms.flatten(0, 1), flat_strengths, copies, count * num_targets)
        return sums.unflatten(0, (count, -1)), 0

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        frames, atoms, *flat = ctx.saved_tensors
        edges, activations, weights = ctx.edges, flat[::2], flat[1::2]
        source, target = edges.source, edges.target
        of_frames = torch.empty_like(frames) if ctx.needs_input_grad[4] else None
        of_atoms = torch.zeros_like(atoms)
        of_activations = [torch.zeros_like(activation) for activation in activations]
        of_weights = [torch.zeros_like(weight) for weight in weights]
        pairs = zip(of_activations, of_weights, strict=True)
        if of_frames is None and is_fused(atoms, ctx.kernels):
            from voigt.models.equivariant import fused

            of_atoms, of_strengths = fused.fused_gradients(
                ctx.terms, atoms, _joined(activations, weights), frames, source, target, gradient,
                edges.kept("turn", lambda: fused.turns(frames)),
                edges.kept("leaving", lambda: fused.leaving_edges(source, target, len(atoms))),
            )  # fmt: skip
            _add_factor_gradients(of_strengths.transpose(0, 1), activations, weights, of_activations, of_weights)
            return None, None, None, None, None, of_atoms, *(tensor for pair in pairs for tensor in pair)
        for rows in _chunks(edges, atoms.shape[2]):
            some = [activation[rows] for activation in activations]
            incoming = gradient.index_select(0, target[rows])
            sent, of_strengths, turned = ctx.kernels.backward(
                ctx.terms, atoms, source[rows], frames[rows], some, weights, incoming, of_frames is not None
            )
            of_atoms[:, : sent.shape[1]].index_add_(0, source[rows], sent)
            if of_frames is not None:
                of_frames[rows] = turned
            _add_factor_gradients(of_strengths, some, weights, [one[rows] for one in of_activations], of_weights)
        return None, None, None, None, of_frames, of_atoms, *(tensor for pair in pairs for tensor in pair)


def _fused_sums(terms: tuple[Term, ...], atoms: Tensor, strengths: Tensor, edges: Edges, num_targets: int) -> Tensor:
    """`fused_messages` with what is the same in all layers made once."""
    from voigt.models.equivariant import fused

    return fused.fused_messages(
        terms, atoms, strengths, edges.frames, edges.source, edges.target, num_targets,
        edges.kept("turn", lambda: fused.turns(edges.frames)),
        edges.kept("entering", lambda: fused.entering_edges(edges.target, num_targets)),
    )  # fmt: skip


def is_fused(atoms: Tensor, kernels: Kernels) -> bool:
    """Whether Triton's kernels serve: on a CUDA device where they agree, unless torch.compile is asked for."""
    # Equal, not the same: `torch.func` takes tuples apart and puts them together again.
    return atoms.is_cuda and kernels == eager_kernels() and _fused_agrees(atoms.device)


@functools.lru_cache
@torch.inference_mode(False)
@torch.no_grad()
def _fused_agrees(device: torch.device) -> bool:
    """Whether Triton is there, its kernels compile for this device, and give what plain torch gives."""
    if importlib.util.find_spec("triton") is None:
        return False
    from voigt.models.equivariant import fused

    terms = coupling_terms(coupling_paths(), 1, 1.0, mixed=True).terms
    count = 1 + max(term.strength for term in terms)
    # In double precision on the processor, whatever precision the user allows to products on a device.
    generator = torch.Generator().manual_seed(0)
    atoms, activation, weight, gradient, vectors = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((5, NUM_ROWS, 32), (9, 3), (count, 32, 3), (4, NUM_ROWS, 32), (9, 3))
    )
    frames, strengths = EdgeFrames()(vectors), _joined([activation], [weight])
    source = torch.tensor([0, 1, 2, 3, 4, 0, 2, 4, 1])
    target = torch.tensor([0, 0, 1, 1, 1, 1, 3, 3, 3])
    given = (terms, atoms, source, frames, [activation], [weight])
    sent, of_strengths, _ = edge_gradients(*given, gradient.index_select(0, target), of_frames=False)
    expected = (
        torch.zeros_like(gradient).index_add_(0, target, edge_messages(*given)),
        torch.zeros_like(atoms).index_add_(0, source, sent),
        of_strengths.transpose(0, 1),
    )
    single = [tensor.to(device, torch.float32) for tensor in (atoms, strengths, frames)]
    there = (terms, single[0], single[1], single[2], source.to(device), target.to(device))
    try:
        sums = fused.fused_messages(*there, num_targets=len(gradient))
        found = (sums, *fused.fused_gradients(*there, gradient=gradient.to(device, torch.float32)))
    except Exception:  # of a compiler and a driver, of whatever kind: plain torch does the work
        return False
    pairs = zip(found, expected, strict=True)
    return all(bool(torch.allclose(one.cpu().double(), other, rtol=1e-3, atol=1e-3)) for one, other in pairs)


def _add_factor_gradients(
    of_strengths: Tensor,
    activations: Sequence[Tensor],
    weights: Sequence[Tensor],
    of_activations: Sequence[Tensor],
    of_weights: Sequence[Tensor],
) -> None:
    """Add to the gradients of activations and weights, from those of the strengths that they make."""
    parts = of_strengths.split([len(weight) for weight in weights], dim=1)
    for k, (activation, weight, part) in enumerate(zip(activations, weights, parts, strict=True)):
        flat = part.flatten(1)
        of_activations[k] += linear(flat, weight.flatten(0, 1).T)
        of_weights[k] += summed_products(activation, flat).T.unflatten(0, weight.shape[:2])


def edge_messages(
    terms: tuple[Term, ...],
    atoms: Tensor,
    source: Tensor,
    frames: Tensor,
    activations: Sequence[Tensor],
    weights: Sequence[Tensor],
) -> Tensor:
    """(n, 12, channels) message of each of some edges."""
    read, written = _reach(terms)
    sender = _seen(frames, atoms, source, read)
    passed = _coupled(terms, sender, _strengths(activations, weights), written)
    return torch.bmm(frames[:, :written].transpose(1, 2), passed.transpose(0, 1))


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
    Of the senders (n, 12, channels), or of their scalars alone (n, 1, channels) if the terms read no more, of the
    strengths (n, n_strengths, channels), and of the frames (n, 12, 12), empty if they are not wanted.
    """
    read, written = _reach(terms)
    sender, received = _seen(frames, atoms, source, read), _rows_apart(frames[:, :written], gradient)
    strengths = _strengths(activations, weights)
    of_strengths = _strength_gradients(terms, sender, received, len(strengths))
    reverse = tuple(sorted((_transposed(term) for term in terms), key=lambda term: term.out))
    of_sender = _coupled(reverse, received, strengths, read)
    if read == 1:
        sent = of_sender.transpose(0, 1)
    else:
        sent = torch.bmm(frames[:, :read].transpose(1, 2), of_sender.transpose(0, 1))
    if not of_frames:
        return sent, of_strengths, frames[:0]
    passed = _coupled(terms, sender, strengths, written)
    turned = torch.zeros_like(frames)
    turned[:, :written] = torch.bmm(passed.transpose(0, 1), gradient.transpose(1, 2))
    if read > 1:  # a scalar is the same in all axes
        given = atoms.index_select(0, source)
        turned[:, :read] += torch.bmm(of_sender.transpose(0, 1), given.transpose(1, 2))
    return sent, of_strengths, turned


def _reach(terms: tuple[Term, ...]) -> tuple[int, int]:
    """How many rows of the sender are read, and of the message written, in the axes of the edge; scalars come first."""
    return max(term.into + term.width for term in terms), max(term.out + term.width for term in terms)


def _seen(frames: Tensor, atoms: Tensor, source: Tensor, read: int) -> Tensor:
    """(read, n, channels) first rows of the senders in the axes of the edges."""
    if read == 1:
        return atoms[:, 0].index_select(0, source)[None]
    return _rows_apart(frames[:, :read], atoms.index_select(0, source))


def _strength_gradients(terms: tuple[Term, ...], sender: Tensor, received: Tensor, count: int) -> Tensor:
    """(n, n_strengths, channels) products of what each strength connects."""
    into, out = sender.unbind(0), received.unbind(0)
    if torch.compiler.is_compiling():
        sums: list[list[Tensor]] = [[] for _ in range(count)]
        for term in terms:
            sums[term.strength] += [into[term.into + k] * out[term.out + k] * term.value for k in range(term.width)]
        return torch.stack([functools.reduce(torch.add, products) for products in sums], dim=1)
    result, begun = sender.new_empty(sender.shape[1], count, sender.shape[2]), set()
    places = result.unbind(1)
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


def _strengths(activations: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """(n, channels) each; all strengths of a factor are one product and lie beside each other."""
    return [strength for part in _parts(activations, weights) for strength in part.unbind(1)]


def _joined(activations: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """(n_strengths, n, channels), those of an edge beside each other in memory."""
    parts = _parts(activations, weights)
    return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)).transpose(0, 1)


def _parts(activations: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """(n, strengths of the factor, channels) of each factor."""
    pairs = zip(activations, weights, strict=True)
    return [linear(activation, weight.flatten(0, 1)).unflatten(1, weight.shape[:2]) for activation, weight in pairs]


def _coupled(terms: tuple[Term, ...], rows: Tensor, strengths: Sequence[Tensor], count: int) -> Tensor:
    """K(s) applied to features in the axes of the edges, (rows, n, channels) -> (count, n, channels)."""
    if torch.compiler.is_compiling():  # a compiler fuses sums that are written out
        return torch.cat([_written_out(terms, rows, strengths, out) for out in sorted({term.out for term in terms})])
    result, begun = rows.new_empty(count, *rows.shape[1:]), set()
    for term in terms:
        into, sums = rows[term.into : term.into + term.width], result[term.out : term.out + term.width]
        _add_product(sums, into, strengths[term.strength], term.value, term.out in begun)
        begun.add(term.out)
    return result


def _written_out(terms: tuple[Term, ...], rows: Tensor, strengths: Sequence[Tensor], out: int) -> Tensor:
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
        return
    torch.mul(first, second, out=sums)
    if value != 1.0:
        sums.mul_(value)


@functools.lru_cache
def eager_kernels() -> Kernels:
    """As written."""
    return Kernels(edge_messages, edge_gradients)


@functools.lru_cache
def compiled_kernels() -> Kernels:
    """The same through torch.compile with sizes left open; the first call takes about half a minute."""
    return Kernels(torch.compile(edge_messages, dynamic=True), torch.compile(edge_gradients, dynamic=True))

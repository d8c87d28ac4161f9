"""How long equivariant message passing takes at least: operations over peak arithmetic, bytes over peak bandwidth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from voigt.graphs import CrystalBatch
from voigt.models.equivariant.frames import coupling_terms
from voigt.models.equivariant.hypers import TrunkHypers
from voigt.models.equivariant.layers import SelfProduct
from voigt.models.equivariant.paths import NUM_ROWS, coupling_paths

TURNED = 1 + 9 + 9 + 25
"""Entries of the 12 x 12 axes of an edge that are not zero."""
SENT_BY_SCALARS = 1 + 3 + 5
"""Of them those of the rows that messages of scalars have: along the edge, of 0e, 1o and 2e."""
INDICES = 4
"""Sender and receiver of an edge, eight bytes each, counted in numbers of four bytes."""


class Peaks(NamedTuple):
    """Of a device, from its data sheet: bytes per second of its memory, operations per second in single precision
    without tensor cores."""

    name: str
    bandwidth: float
    arithmetic: float


DEVICES = (
    Peaks("H200", 4.8e12, 67e12),
    Peaks("H100 PCIe", 2.0e12, 51e12),
    Peaks("H100 NVL", 3.9e12, 60e12),
    Peaks("H100", 3.35e12, 67e12),
    Peaks("A100", 2.039e12, 19.5e12),
)
"""A name that is part of another comes after it."""
SXM = DEVICES[3]


def peaks(device_name: str) -> Peaks:
    """Of a device by the name that CUDA gives it; those of an H100 SXM if it is not known.

    Examples
    --------
    >>> peaks("NVIDIA H100 80GB HBM3").bandwidth
    3350000000000.0
    """
    return next((one for one in DEVICES if one.name in device_name), SXM)


@dataclass(frozen=True)
class Cost:
    """Of one pass over a batch.

    Attributes
    ----------
    operations
        Additions and multiplications.
    bytes
        Between the chip and its memory: each array of the method as it is, written once and read once by every kernel
        that needs it. Features of atoms that many edges read count once: they fit the cache.
    least
        The same if nothing but positions, features and their sums went through memory.
    """

    operations: float
    bytes: float
    least: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.operations + other.operations, self.bytes + other.bytes, self.least + other.least)

    def seconds(self, device: Peaks) -> float:
        """The larger of both."""
        return max(self.operations / device.arithmetic, self.bytes / device.bandwidth)

    def least_seconds(self, device: Peaks) -> float:
        """The larger of both with the least traffic."""
        return max(self.operations / device.arithmetic, self.least / device.bandwidth)


@lru_cache
def square_rows() -> int:
    """Components of all couplings of the tensor square."""
    return int(SelfProduct(1).coupling.shape[0])


@lru_cache
def couplings(hypers: TrunkHypers, scalars: bool = False) -> tuple[int, int, int]:
    """Strengths of an edge and channel, how many of them come from scalar edge features, and products with them;
    `scalars`: of those that read scalars."""
    paths = coupling_paths(hypers.paths == "published")
    shared = hypers.weights == "shared"
    terms = [term for term in coupling_terms(paths, 1, 1.0, not shared).terms if not scalars or term.into == 0]
    read = [path for path in paths if not scalars or path.node == "0e"]
    scalar = sum(path.edge == "0e" for path in read) if shared else 0
    return len({term.strength for term in terms}), scalar, sum(term.width for term in terms)


def message_passing(hypers: TrunkHypers, batch: CrystalBatch, training: bool) -> Cost:
    """Cost of all blocks of a network, of the forward pass or of forward and backward together.

    The first block finds scalars alone. Embedding and readouts are left out.
    """
    cost = block(hypers, batch, training, scalars=True)
    for _ in range(hypers.interactions - 1):
        cost += block(hypers, batch, training, scalars=False)
    return cost


def block(hypers: TrunkHypers, batch: CrystalBatch, training: bool, scalars: bool) -> Cost:
    """Cost of one block; the backward pass makes the strengths once more instead of keeping them."""
    f, n, h = hypers.channels, hypers.num_radial, hypers.hidden
    edges, atoms, orbits = len(batch.edge_source), len(batch.numbers), len(batch.representative)
    strengths, scalar, products = couplings(hypers, scalars)
    # Entries of a turn of what is read, and of what is sent on; rows that are read.
    turned_in, turned_out, rows = (0, SENT_BY_SCALARS, 1) if scalars else (TURNED, TURNED, NUM_ROWS)
    # Operations for an edge.
    if hypers.weights == "shared":
        make, activations = 2 * f * (n + scalar * f + (strengths - scalar) * n), f
    else:
        make, activations = 2 * h * (n + strengths * f), h
    turn_in, turn_out, couple, add = 2 * turned_in * f, 2 * turned_out * f, 2 * products * f, NUM_ROWS * f
    # Forward: turn in and out. Backward: the gradient in and out, and the sender once more for the strengths.
    edge = make + turn_in + turn_out + couple + add
    if training:
        edge += 3 * make + 2 * turn_in + turn_out + 2 * couple + rows * f
    # Operations for a receiver.
    node = 2 * NUM_ROWS * f * f + 2 * NUM_ROWS * f
    moved = 4 * NUM_ROWS * f  # sums and residual read, update and features written
    if hypers.self_product:
        pairs = NUM_ROWS * (NUM_ROWS + 1) // 2
        node += 2 * NUM_ROWS * f * f + pairs * f + 2 * square_rows() * (pairs + 1) * f
        moved += 2 * (pairs + square_rows() + NUM_ROWS) * f
    if hypers.update == "gated":
        node += 8 * f * f
    ends = 2 * f * h * (atoms + orbits) if hypers.weights == "pair" else 0
    times = 3 if training else 1  # a linear map costs twice as much backward as forward
    operations = edges * edge + times * (orbits * node + ends)
    # Numbers for an edge. Strengths: written, read; backward written and read again, and their gradient written and
    # read by the products that give those of weights and of activations.
    passes = 2 if training else 1
    stored = (7 if training else 2) * strengths * f
    through = passes * (max(turned_in, turned_out) + INDICES + n + 2 * activations)
    features = passes * f * (rows * atoms + NUM_ROWS * orbits)
    if training:
        features += rows * f * atoms  # backward the features themselves are read too
        through += n + activations  # and the activations by the products for the gradient of weights
    numbers = edges * (stored + through) + features + times * orbits * moved
    least = edges * passes * (3 + INDICES) + features
    return Cost(operations, 4.0 * numbers, 4.0 * least)


def tensor_product(hypers: TrunkHypers, batch: CrystalBatch, training: bool) -> Cost:
    """Cost of the tensor product of one block with weights of each edge that are given, of channels as `hypers` says.

    With `training` the gradients of features and weights too.
    """
    f, edges = hypers.channels, len(batch.edge_source)
    atoms, orbits = len(batch.numbers), len(batch.representative)
    strengths, _, products = couplings(hypers)
    turn, couple, add = 2 * TURNED * f, 2 * products * f, NUM_ROWS * f
    edge = 5 * turn + 3 * couple + 2 * add if training else 2 * turn + couple + add
    # Weights are read; backward read again, and their gradient is written.
    stored = (3 if training else 1) * strengths * f
    ends = (2 if training else 1) * NUM_ROWS * f * (atoms + orbits) + (NUM_ROWS * f * atoms if training else 0)
    passes = 2 if training else 1
    numbers = edges * (stored + passes * (TURNED + INDICES)) + ends
    least = edges * (stored + passes * (3 + INDICES)) + ends
    return Cost(edges * edge, 4.0 * numbers, 4.0 * least)

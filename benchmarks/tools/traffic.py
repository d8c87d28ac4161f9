"""What the messages of one layer must move and compute at least: the floor that kernels are measured against."""

from __future__ import annotations

from voigt.models.equivariant.frames import FRAME_COLUMNS, Term
from voigt.models.equivariant.paths import NUM_ROWS

_INDEX = 8
"""Bytes of the number of an atom or edge."""


def traffic(
    terms: tuple[Term, ...], edges: int, atoms: int, channels: int, size: int = 4, gradients: bool = False
) -> tuple[int, int]:
    """Bytes and operations of the fused kernels; nothing is loaded twice.

    Strengths are taken from memory: their matrix product, 2 x k operations for each of them, is another kernel.

    Parameters
    ----------
    terms
        Of `coupling_terms`.
    edges, atoms
        Numbers of edges, and of atoms that send and receive.
    channels
        Of the features.
    size
        Bytes of a number.
    gradients
        Of the backward pass, from gradients of the sums to those of features and strengths.

    Returns
    -------
    Bytes, and multiplications and additions counted one by one, of products of two numbers. Factors of terms, which a
    network may hide in its weights, are not counted.
    """
    turn = sum(columns.stop - columns.start for columns in FRAME_COLUMNS)
    strengths = len({term.strength for term in terms})
    products = sum(term.width for term in terms)
    passes = 2 if gradients else 1
    of_edges = edges * (size * (turn + passes * strengths * channels) + passes * _INDEX)
    of_atoms = atoms * size * (passes + 1) * NUM_ROWS * channels + (atoms + 1) * _INDEX
    operations = 2 * edges * channels * ((passes + 1) * turn + passes * products)
    return of_edges + of_atoms, operations

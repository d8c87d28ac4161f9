"""A set of digests that takes some twenty bytes for each: what is left of the ids of ten million crystals."""

from __future__ import annotations

from array import array

_FIRST = 1 << 10
"""Places of an empty table; a power of two, as all sizes are."""


class Digests:
    """A set of numbers below 2^64 that are as good as random; they can only be added.

    Python's own set keeps each as an object, five times as large.
    """

    def __init__(self) -> None:
        self._count = 0
        self._table = _empty(_FIRST)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, digest: int) -> bool:
        return bool(self._table[_place(self._table, digest or 1)])

    def add(self, digest: int) -> None:
        """Add a number; zero, which marks a free place, counts as one."""
        digest = digest or 1
        place = _place(self._table, digest)
        if self._table[place]:
            return
        self._table[place] = digest
        self._count += 1
        if 3 * self._count > 2 * len(self._table):
            self._table = _doubled(self._table)


def _empty(places: int) -> array[int]:
    return array("Q", bytes(8 * places))


def _place(table: array[int], digest: int) -> int:
    """Where a digest is, or the free place where it belongs: the first at or after the one that its bits name."""
    last = len(table) - 1
    place = digest & last
    while (found := table[place]) and found != digest:
        place = (place + 1) & last
    return place


def _doubled(table: array[int]) -> array[int]:
    larger = _empty(2 * len(table))
    for digest in table:
        if digest:
            larger[_place(larger, digest)] = digest
    return larger

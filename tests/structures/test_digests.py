"""A set of digests that is much smaller than Python's."""

from __future__ import annotations

import random
import sys

from voigt.structures.digests import Digests


def test_it_holds_what_was_added_and_nothing_else() -> None:
    """Against Python's set, with numbers that share their last bits and so look for the same place."""
    draw = random.Random(0)
    close = [(k << 40) | 5 for k in range(2_000)]
    numbers = [*close, *(draw.getrandbits(64) for _ in range(20_000)), 2**64 - 1, 2, 0]
    draw.shuffle(numbers)
    digests, reference = Digests(), set()
    for number in numbers:
        assert (number in digests) == (number in reference)
        for _ in range(2):
            digests.add(number)
        reference.add(number)
        assert number in digests
    assert len(digests) == len(reference)
    assert not any(number in digests for number in (draw.getrandbits(64) for _ in range(1_000)))
    assert not any(number + 1 in digests for number in close if number + 1 not in reference)


def test_it_takes_a_few_bytes_for_each() -> None:
    digests = Digests()
    for number in range(50_000):
        digests.add(number * 0x9E3779B97F4A7C15 % 2**64)
    assert sys.getsizeof(digests._table) <= 24 * len(digests) + 100

"""What a store has: a key, a digest and whether it failed of every input, in 17 bytes each."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voigt.files import atomic_write, make_folder

Words = NDArray[np.uint64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Entries:
    """Inputs of a part, by ascending key.

    Attributes
    ----------
    keys, digests
        (n,) what `rows.input_key` and `rows.input_digest` give, as numbers.
    failed
        (n,) whether it has no result.
    """

    keys: Words
    digests: Words
    failed: Mask

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def repeated(self) -> bool:
        """Whether a key is there twice."""
        return bool((self.keys[1:] == self.keys[:-1]).any())

    def without(self, lost: Mask) -> Entries:
        """Those that are not lost."""
        return Entries(self.keys[~lost], self.digests[~lost], self.failed[~lost])


def entries(keys: Sequence[bytes], digests: Sequence[str], failed: Sequence[bool]) -> Entries:
    """Entries of keys of eight bytes and digests of sixteen hexadecimal digits, in any order; ValueError for others."""
    joined, contents = b"".join(keys), bytes.fromhex("".join(digests))
    if len(joined) != 8 * len(keys) or len(contents) != len(joined):
        raise ValueError("it has digests of another length")
    words, values = np.frombuffer(joined, ">u8"), np.frombuffer(contents, ">u8")
    order = np.argsort(words, kind="stable")
    flags = np.array(failed, dtype=bool)
    return Entries(words[order].astype(np.uint64), values[order].astype(np.uint64), flags[order])


def merged(several: Sequence[Entries]) -> Entries:
    """All of several, by ascending key."""
    if not several:
        return entries((), (), ())
    keys = np.concatenate([one.keys for one in several])
    order = np.argsort(keys, kind="stable")
    digests, failed = (np.concatenate([getattr(one, name) for one in several])[order] for name in ("digests", "failed"))
    return Entries(keys[order], digests, failed)


class Done:
    """The inputs of a store.

    Parts are added while it is opened; then it is read. Large parts stay arrays, small ones wait in a set until all are
    merged, so that nothing is sorted once for each of thousands of parts.
    """

    def __init__(self) -> None:
        self._large: list[Entries] = []
        self._small: list[Entries] = []
        self._waiting: set[int] = set()  # keys of small parts
        self._all = merged(())

    def add(self, part: Entries, large: bool) -> bool:
        """Add a part; False, and nothing is added, if it repeats a key of its own or of another."""
        if part.repeated or any(_common(part.keys, other.keys) for other in self._large):
            return False
        keys = part.keys.tolist()
        if not self._waiting.isdisjoint(keys):
            return False
        if large:
            self._large.append(part)
        else:
            self._small.append(part)
            self._waiting.update(keys)
        return True

    def settle(self) -> None:
        """Merge all that was added."""
        if self._large or self._small:
            self._all = merged([self._all, *self._large, *self._small])
            self._large, self._small, self._waiting = [], [], set()

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, key: bytes) -> bool:
        return self.place(key) is not None

    def place(self, key: bytes) -> int | None:
        """Where a key of eight bytes stands in `entries`; None if it is not there."""
        word = np.uint64(int.from_bytes(key, "big"))
        place = int(np.searchsorted(self._all.keys, word))
        return place if place < len(self._all) and self._all.keys[place] == word else None

    @property
    def entries(self) -> Entries:
        """All of them."""
        return self._all

    def remove(self, lost: Mask) -> None:
        """Forget entries; `lost` (n,) in the order of `entries`."""
        self._all = self._all.without(lost)


def _common(first: Words, second: Words) -> bool:
    """Whether two ascending arrays share a number."""
    small, large = (first, second) if len(first) < len(second) else (second, first)
    if not len(large):
        return False
    places = np.minimum(np.searchsorted(large, small), len(large) - 1)
    return bool((large[places] == small).any())


def write_index(path: Path, part: Entries, size: int) -> None:
    """Keep the entries of a large part of so many bytes; they could be read from it again.

    Raises OutputError: it cannot be written.
    """
    make_folder(path.parent)
    with atomic_write(path, "wb") as stream:
        np.savez(stream, allow_pickle=False, **vars(part), size=np.int64(size))


def read_index(path: Path, size: int) -> Entries | None:
    """Entries of a part of so many bytes; None if they are not there, damaged, or of another file."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            found: dict[str, Any] = {name: content[name] for name in ("keys", "digests", "failed", "size")}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    part = Entries(found["keys"], found["digests"], found["failed"])
    arrays = (part.keys, part.digests, part.failed)
    sound = [array.dtype for array in arrays] == [np.uint64, np.uint64, np.bool_]
    sound = sound and {array.shape for array in arrays} == {(len(part),)} and int(found["size"]) == size
    return part if sound and _ascending(part.keys) else None


def _ascending(keys: Words) -> bool:
    return bool((keys[1:] > keys[:-1]).all())


def count(parts: Iterable[Entries]) -> tuple[int, int]:
    """How many have results, and how many failed."""
    totals = [(int((~part.failed).sum()), int(part.failed.sum())) for part in parts]
    return sum(done for done, _ in totals), sum(failed for _, failed in totals)

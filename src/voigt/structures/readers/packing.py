"""Files packed by gzip, bzip2 or xz, recognized by their first bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import PurePath
from typing import Any

SUFFIXES = (".gz", ".bz2", ".xz")
LOOK_AHEAD = 1 << 18
"""Bytes that can be looked at before a stream is read."""


def without_packing(path: PurePath) -> PurePath:
    """The name of what is packed in a file, by its suffix."""
    return path.with_suffix("") if path.suffix.lower() in SUFFIXES else path


@contextmanager
def unpacked(stream: Any) -> Iterator[io.BufferedReader]:
    """A binary stream, or what is packed in it, with a buffer to look ahead; closes the stream.

    `raw` of the result is `stream` itself if nothing is packed. A stream that breaks off gives all that can be unpacked
    before the error is raised.
    """
    with ExitStack() as stack:
        buffered = stack.enter_context(io.BufferedReader(stream, LOOK_AHEAD))
        start = buffered.peek(10)
        packed: Any = None
        if start.startswith(b"\x1f\x8b"):
            import gzip

            packed = gzip.GzipFile(fileobj=buffered)
        elif start.startswith(b"BZh") and start[4:10] == b"1AY&SY":
            import bz2

            packed = bz2.BZ2File(buffered)
        elif start.startswith(b"\xfd7zXZ\0"):
            import lzma

            packed = lzma.LZMAFile(buffered)  # noqa: SIM115 - the stack closes it
        if packed is None:
            yield buffered
        else:
            stack.enter_context(packed)
            yield stack.enter_context(io.BufferedReader(_Whole(packed), LOOK_AHEAD))


class _Whole(io.RawIOBase):
    """Fills the whole buffer at each read, and raises an error only after all data before it were read."""

    def __init__(self, packed: Any) -> None:
        self._packed = packed
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and self._error is None:
            try:
                piece = self._packed.read1(len(view) - filled)
            except Exception as error:
                self._error = error
                break
            if not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        if self._error is not None and not filled:
            raise self._error
        return filled

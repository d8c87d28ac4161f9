"""Files packed by gzip, bzip2 or xz, recognized by their first bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import PurePath
from typing import Any

from voigt.errors import InputError

SUFFIXES = (".gz", ".bz2", ".xz")
LOOK_AHEAD = 1 << 18
"""Bytes that can be looked at before a stream is read."""
FREE_BYTES = 1 << 25
"""What a packed file may unfold to, whatever its size."""
MOST_RATIO = 200
"""How many times larger than packed a file with more than that may become; structure files reach 4 to 20."""


def check_ratio(unpacked_bytes: int, packed_bytes: int) -> None:
    """Raise InputError if so much out of so little is no structure file but a bomb."""
    if unpacked_bytes > max(FREE_BYTES, MOST_RATIO * packed_bytes):
        raise InputError(
            f"unfolds to more than {unpacked_bytes >> 20} MB from {packed_bytes} bytes, which no structure file does; "
            "unpack it yourself if you trust it"
        )


def without_packing(path: PurePath) -> PurePath:
    """The name of what is packed in a file, by its suffix."""
    return path.with_suffix("") if path.suffix.lower() in SUFFIXES else path


@contextmanager
def unpacked(stream: Any) -> Iterator[io.BufferedReader]:
    """A binary stream, or what is packed in it, with a buffer to look ahead; closes the stream.

    `raw` of the result is `stream` itself if nothing is packed. A stream that breaks off gives all that can be unpacked
    before the error is raised. One that unfolds to far more than structure files do raises InputError on the way.
    """
    with ExitStack() as stack:
        buffered = stack.enter_context(io.BufferedReader(stream, LOOK_AHEAD))
        counted = _Counted(buffered)
        start = buffered.peek(10)
        packed: Any = None
        source: Any = counted
        if start.startswith(b"\x1f\x8b"):
            import gzip

            packed = gzip.GzipFile(fileobj=source)
        elif start.startswith(b"BZh") and start[4:10] == b"1AY&SY":
            import bz2

            packed = bz2.BZ2File(source)
        elif start.startswith(b"\xfd7zXZ\0"):
            import lzma

            packed = lzma.LZMAFile(source)  # noqa: SIM115 - the stack closes it
        if packed is None:
            yield buffered
        else:
            stack.enter_context(packed)
            yield stack.enter_context(io.BufferedReader(_Whole(packed, counted), LOOK_AHEAD))


class _Counted:
    """What the modules of packing need of a file, and how much they have read."""

    def __init__(self, content: io.BufferedReader) -> None:
        self._content = content
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        piece = self._content.read(size)
        self.count += len(piece)
        return piece


class _Whole(io.RawIOBase):
    """Fills the whole buffer at each read, and raises an error only after all data before it were read."""

    def __init__(self, packed: Any, source: _Counted) -> None:
        self._packed = packed
        self._source = source
        self._count = 0
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and self._error is None:
            try:
                piece = self._packed.read1(len(view) - filled)
                self._count += len(piece)
                check_ratio(self._count, self._source.count)
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

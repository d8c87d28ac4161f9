"""How a process that belongs to Voigt keeps the memory that it has freed."""

from __future__ import annotations

import ctypes
import os
import sys

LARGEST, KEPT = 32 * 2**20, 512 * 2**20
"""Bytes of the largest array that comes from memory freed before, and of the memory that is kept for it."""
_OPTIONS = {"MALLOC_MMAP_THRESHOLD_": (-3, LARGEST), "MALLOC_TRIM_THRESHOLD_": (-1, KEPT)}
"""Variables of glibc, with the numbers that its function mallopt(3) has for them."""


def keep_freed_memory() -> None:
    """Tell glibc not to give arrays back to the kernel as soon as they are freed, in this process and its children.

    A network makes and frees the same arrays over and over. By default those of megabytes come from the kernel each
    time, page by page, which takes up to two fifths of a prediction of `scalars` on a CPU (`python -m
    benchmarks.speed.linear`). Does nothing where the user has chosen something else by glibc's variables, and where
    there is no glibc. Commands and workers call this; a library that lives in the process of others should not.

    Examples
    --------
    >>> keep_freed_memory()
    """
    if sys.platform != "linux" or any(name in os.environ for name in _OPTIONS):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return
    for name, (option, size) in _OPTIONS.items():
        mallopt(option, size)
        os.environ[name] = str(size)

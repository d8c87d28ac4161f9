"""Work on many crystals by several processes of this machine, in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from voigt.memory import keep_freed_memory
from voigt.structures import Input

PIECE = 32
"""Crystals that a process works on at a time."""
FEWEST = 128
"""Fewer crystals are done before other processes would help."""
AHEAD = 3
"""Pieces under way for each process: memory stays flat."""

T = TypeVar("T")
Work = Callable[[list[Input]], T]
_work: dict[str, Work[Any]] = {}
"""What this process does with a piece, if it is a worker."""


def processors(wanted: int) -> int:
    """How many processes to use: `wanted`, or one for each processor that this process may use if it is 0.

    Examples
    --------
    >>> processors(3)
    3
    """
    if sys.platform != "linux":
        return 1  # elsewhere processes start anew and read everything again, which takes longer than it saves
    return wanted or len(os.sched_getaffinity(0))


def in_order(structures: Iterable[Input], work: Work[T], processes: int) -> Iterator[tuple[list[Input], T | None]]:
    """Pieces of a stream, each with what `work` makes of it in another process, in order.

    Processes are copies of this one, made in a moment, and have what it has loaded. None in the place of a result says
    that a process died or raised an error: the caller does the work itself and meets the error, if there is one.

    Parameters
    ----------
    structures
        Read as far as they are needed.
    work
        Runs in the other processes; its results are sent back.
    processes
        How many.
    """
    stream = iter(structures)
    with _Pool(work, processes) as submit:
        pending: deque[tuple[list[Input], Future[Any] | None]] = deque()
        while piece := list(islice(stream, PIECE)):
            pending.append((piece, submit(piece)))
            if len(pending) >= AHEAD * processes:
                yield _finished(*pending.popleft())
        while pending:
            yield _finished(*pending.popleft())


def _finished(piece: list[Input], future: Future[Any] | None) -> tuple[list[Input], Any]:
    if future is None:
        return piece, None
    try:
        return piece, future.result()
    except Exception:  # whatever it is, it comes again where it can be told
        return piece, None


class _Pool:
    """Processes that end with this one, however it ends: they hold one end of a pipe, and it the other."""

    def __init__(self, work: Work[Any], processes: int) -> None:
        self.theirs, self.ours = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("fork")
        start = (work, self.theirs, self.ours)
        self.pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=start)

    def __enter__(self) -> Callable[[list[Input]], Future[Any] | None]:
        return self._submit

    def _submit(self, piece: list[Input]) -> Future[Any] | None:
        try:
            with warnings.catch_warnings():
                # Threads of this process may hold locks; the copies use none of them, and one thread each.
                warnings.simplefilter("ignore", DeprecationWarning)
                return self.pool.submit(_do, piece)
        except BrokenProcessPool:
            return None

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.ours.close()
        self.theirs.close()


def _start(work: Work[Any], theirs: Connection, ours: Connection) -> None:
    """Leave Ctrl-C to the main process; one thread, since there are many processes."""
    ours.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    torch.set_num_threads(1)
    _work["piece"] = work
    threading.Thread(target=_follow, args=(theirs,), daemon=True).start()


def _follow(lifeline: Connection) -> None:
    lifeline.poll(None)
    os._exit(1)


def _do(piece: list[Input]) -> Any:
    return _work["piece"](piece)

"""The engine of one machine: this process reads and writes, it or several others compute."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import ParamSpec, Protocol, TypeVar

import torch

from voigt.errors import DomainError
from voigt.memory import keep_freed_memory
from voigt.notes import Failure
from voigt.screening.compute import compute, crashed
from voigt.screening.job import Job, stages_of
from voigt.screening.store.rows import Outcome
from voigt.structures import Input

PATIENCE = 120
"""Seconds that any piece of work may take: models are loaded with the first."""
PATIENCE_PER_ATOM = 0.05
"""Seconds more for each atom, ten times what a network takes without symmetry on one core."""

AHEAD = 2  # pieces of work under way for each process: one in work, one waiting, so that memory stays flat

Piece = Sequence[Input]
P = ParamSpec("P")
T = TypeVar("T")


def run_local(work: Iterable[Piece], job: Job, workers: int) -> Generator[Outcome]:
    """Compute pieces of work and give each outcome as soon as it is there.

    Parameters
    ----------
    work
        Pieces, read as they are needed.
    job
        See `voigt.screening.job.Job`.
    workers
        1: this process computes. More: so many others do, each with its own copy of the models. A process that dies, or
        takes longer than `patience`, is replaced; the crystal to blame is a failure, the others are computed.

    Raises
    ------
    DomainError
        Other processes die before they compute anything.
    """
    if workers <= 1:
        for piece in work:
            yield compute(piece, job)
        return
    yield from _Pool(job, workers).run(iter(work))


class _Pool:
    """Processes that compute, and what has been given to them."""

    def __init__(self, job: Job, workers: int) -> None:
        self.job = job
        self.workers = workers
        self.suspects: deque[Piece] = deque()

    def run(self, work: Iterator[Piece]) -> Generator[Outcome]:
        exhausted = False
        while not exhausted or self.suspects:
            if self.suspects:
                yield from self._isolate()
            else:
                exhausted = yield from self._parallel(work)

    def _parallel(self, work: Iterator[Piece]) -> Generator[Outcome, None, bool]:
        """Work until there is no more (True) or a process has died (False): then what was under way is suspect."""
        pending: dict[Future[Outcome], Piece] = {}
        with processes(self.workers) as submit:
            try:
                exhausted = False
                while True:
                    while not exhausted and len(pending) < AHEAD * self.workers:
                        piece = next(work, None)
                        if piece is None:
                            exhausted = True
                        else:
                            # Noted first: submitting to a broken pool fails, and the piece must not be lost.
                            self.suspects.append(piece)
                            future = submit(limited, piece, self.job, patience(piece))
                            self.suspects.pop()
                            pending[future] = piece
                    if not pending:
                        return True
                    finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                    for future in finished:
                        outcome = future.result()
                        del pending[future]
                        yield outcome
            except BrokenProcessPool:
                self.suspects.extend(pending.values())
                return False

    def _isolate(self) -> Generator[Outcome]:
        """Suspects one by one in one process; the one that kills it is halved, down to the crystal that does."""
        with processes(1) as submit:
            try:
                submit(_load, self.job).result()
            except BrokenProcessPool as error:
                raise DomainError(
                    "the worker processes die at their start; free memory, or go on with --workers 1"
                ) from error
            while self.suspects:
                piece = self.suspects.popleft()
                try:
                    outcome = submit(limited, piece, self.job, patience(piece)).result()
                except BrokenProcessPool:
                    break
                yield outcome
            else:
                return
        if len(piece) == 1:
            yield killed(piece[0], self.job)
        else:
            half = len(piece) // 2
            self.suspects.extendleft((piece[half:], piece[:half]))


def patience(piece: Piece) -> int:
    """Seconds that a piece of work may take."""
    atoms = sum(0 if isinstance(entry, Failure) else len(entry.atoms) for entry in piece)
    return PATIENCE + math.ceil(PATIENCE_PER_ATOM * atoms)


def limited(piece: Piece, job: Job, seconds: int) -> Outcome:
    """`compute` in a process that the system kills when the time is over, even inside a library that never returns."""
    signal.alarm(seconds)
    try:
        return compute(piece, job)
    finally:
        signal.alarm(0)


def killed(entry: Input, job: Job) -> Outcome:
    """Failure of a crystal that kills the process that computes it."""
    atoms = 0 if isinstance(entry, Failure) else len(entry.atoms)
    problem = (
        f"the process that computed its {atoms} atoms was killed, for lack of memory, by a fault in a library, or "
        f"because it took longer than {patience([entry])} s; check the structure, or use a machine with more memory"
    )
    return crashed(entry, problem, job)


class Submit(Protocol):
    """Hand a call to one of the processes."""

    def __call__(self, call: Callable[P, T], /, *arguments: P.args, **words: P.kwargs) -> Future[T]: ...


@contextmanager
def processes(count: int) -> Iterator[Submit]:
    """Fresh interpreters, a fork would copy the locks of torch's threads; all are gone when the block ends.

    They hold one end of a pipe and end when the other is closed, by this block or by the death of this process.
    """
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    with theirs, ours:
        pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_process, initargs=(theirs,))

        def submit(call: Callable[P, T], /, *arguments: P.args, **words: P.kwargs) -> Future[T]:
            # Processes start here and inherit what is blocked: Ctrl-C, which a terminal sends to all, is for this one.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                return pool.submit(call, *arguments, **words)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

        try:
            yield submit
        except BaseException:
            ours.close()  # nobody waits for what is under way
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_process(lifeline: Connection) -> None:
    """One thread, since there are many processes."""
    keep_freed_memory()
    torch.set_num_threads(1)
    threading.Thread(target=_follow, args=(lifeline,), daemon=True).start()


def _follow(lifeline: Connection) -> None:
    lifeline.poll(None)
    os._exit(1)


def _load(job: Job) -> None:
    stages_of(job)

"""Processes that share the cells of one crystal: each loads the potential once, by name, and has one thread."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError, VoigtError
from voigt.response.potentials.evaluation import forces_of
from voigt.response.potentials.registry import load_potential

_GONE = "a process that calculates forces has died, perhaps for lack of memory; take fewer workers"


def forces_by_processes(name: str, cells: Sequence[ase.Atoms], count: int) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Index and forces (n_atoms, 3) of each cell as they are done, in any order; InputError as in `forces_of`.

    Fresh interpreters: a fork would copy the locks of torch's threads. Each waits at a pipe, whose other end closes
    when this process dies, so that none is left behind.
    """
    context = multiprocessing.get_context("spawn")
    processes, pipes, waiting = [], [], list(range(len(cells)))[::-1]
    # They inherit what is blocked: Ctrl-C, which a terminal sends to all, is for this process.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, name), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        for pipe in pipes:
            _next(pipe, cells, waiting)
        for _ in cells:
            pipe = next(pipe for pipe in wait(pipes) if isinstance(pipe, Connection))
            index, answer = _answer(pipe)
            _next(pipe, cells, waiting)
            yield index, answer
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def work(pipe: Connection, name: str) -> None:
    """What a process does: forces of the cells that come, until there is nobody left to ask."""
    try:
        calculator: Any = None
        while True:
            index, numbers, cell, positions = pipe.recv()
            try:
                calculator = calculator or load_potential(name)
                atoms = ase.Atoms(numbers=numbers, cell=cell, positions=positions, pbc=True)
                pipe.send((index, forces_of(atoms, calculator)))
            except VoigtError as error:
                pipe.send((index, str(error)))
    except (EOFError, BrokenPipeError):
        return


def _next(pipe: Connection, cells: Sequence[ase.Atoms], waiting: list[int]) -> None:
    if waiting:
        index = waiting.pop()
        cell = cells[index]
        pipe.send((index, cell.numbers, cell.cell.array, cell.positions))


def _answer(pipe: Connection) -> tuple[int, NDArray[np.float64]]:
    try:
        index, answer = pipe.recv()
    except (EOFError, OSError) as error:
        raise InputError(_GONE) from error
    if isinstance(answer, str):
        raise InputError(answer)
    return index, answer

"""Processes of the server: each answers messages at a pipe, in a folder of its own, and can be killed at any time."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, TypeAlias

START: Literal["spawn", "forkserver"] = "spawn"
"""Fresh interpreters: a fork would copy the locks of torch's threads."""
Work: TypeAlias = Callable[[Connection, Path], None]
"""What a process does with its pipe, until there is nobody left at the other end, and with its folder."""


class LostError(Exception):
    """The process has died."""


class SlowError(Exception):
    """The process took too long, and is dead."""


class Child:
    """A process and its pipe; made anew after it was lost.

    It ends when this process does, and takes its folder with it.

    Parameters
    ----------
    work
        A function of a module.
    folder
        Is made, with access for this user alone, and is gone with the process, whatever the process was doing.
    """

    def __init__(self, work: Work, folder: Path) -> None:
        self._work = work
        self.folder = folder
        self._lock = threading.Lock()
        self._process: Any = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Start the process; does not wait for it."""
        with self._lock:
            self.folder.mkdir(mode=0o700)
            context: Any = multiprocessing.get_context(START)
            ours, theirs = context.Pipe()
            lifeline, kept = context.Pipe(duplex=False)
            # It inherits what is blocked: Ctrl-C, which a terminal sends to all, is for this process.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                arguments = (theirs, lifeline, self._work, self.folder)
                process = context.Process(target=_live, args=arguments, daemon=True)
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
            lifeline.close()
            self._process, self._pipe, self._kept = process, ours, kept

    def send(self, message: Any) -> None:
        """Give it something to do; LostError if it is dead."""
        try:
            self._open().send(message)
        except (OSError, ValueError) as error:
            raise LostError from error

    def receive(self, deadline: float) -> Any:
        """What it says next; `deadline` is a time of `time.monotonic`.

        Raises
        ------
        LostError
            It died, or was killed by another thread.
        SlowError
            It has said nothing until then. It is killed.
        """
        try:
            pipe = self._open()
            while not pipe.poll(min(1.0, max(0.0, deadline - time.monotonic()))):
                if time.monotonic() >= deadline:
                    self.kill()
                    raise SlowError
            return pipe.recv()
        except (EOFError, OSError, ValueError) as error:
            self.kill()
            raise LostError from error

    def kill(self) -> None:
        """End it at once, with its folder; whoever waits for it gets a LostError."""
        with self._lock:
            process, pipe = self._process, self._pipe
            self._process = None
            if process is not None:
                process.kill()
                process.join()
                process.close()
                self._kept.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        del pipe  # closed by whoever reads from it, or with this object: another thread may be in `poll`

    def _open(self) -> Connection:
        if self._process is None or self._pipe is None:
            raise LostError
        return self._pipe


def _live(pipe: Connection, lifeline: Connection, work: Work, folder: Path) -> None:
    """Main function of the process."""
    import torch

    torch.set_num_threads(1)
    tempfile.tempdir = str(folder)  # what libraries write goes with the folder
    threading.Thread(target=_follow, args=(lifeline, folder), daemon=True).start()
    try:
        work(pipe, folder)
    except (EOFError, OSError):  # nobody is left to ask
        return


def _follow(lifeline: Connection, folder: Path) -> None:
    """End with the server, however that ended."""
    lifeline.poll(None)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)

"""Crystals that kill the process that computes them, for processes that import this file on their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import Any

import ase
from numpy.typing import NDArray


class Deadly(ase.Atoms):
    """Atoms whose elements nobody but the main process looks at and lives."""

    @property
    def numbers(self) -> NDArray[Any]:
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.arrays["numbers"]


class Slow(ase.Atoms):
    """Atoms that take some time, except in the main process."""

    @property
    def numbers(self) -> NDArray[Any]:
        if multiprocessing.parent_process() is not None:
            time.sleep(self.info["seconds"])
        return self.arrays["numbers"]

"""The folder of a server: for this user alone, gone at its end, and after a crash removed by the next server."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "voigt-serve-"
_LOCK = "lock"
_YOUNG = 60.0
"""Seconds: a folder of a server that is just starting has no lock yet."""


@contextmanager
def home_folder() -> Iterator[Path]:
    """A folder in the one for temporary files, with access for this user alone; sweeps what dead servers left.

    The system releases the lock in a folder when its server dies, however that happens.
    """
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))  # mode 0700
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Remove the folders of servers that died without doing so."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            foreign = not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid()
            if foreign or time.time() - found.st_mtime < _YOUNG:
                continue
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its server lives
                shutil.rmtree(folder, ignore_errors=True)

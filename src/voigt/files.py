"""Writing files so that a reader sees the old content or the new, never half of it; folders for them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from voigt.errors import OutputError


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; rename it to `path` when the block ends without an error.

    Parameters
    ----------
    path
        The file to create or replace.
    mode
        "w" (text, UTF-8) or "wb".

    Raises
    ------
    OutputError
        The folder is missing, not writable, or the disk is full. The old file is untouched.
    """
    path = Path(path)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot write {path}: {reason}; free space or choose another place") from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def make_folder(folder: str | Path) -> Path:
    """A folder that exists afterwards.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot make the folder {folder}: {reason}; choose another place") from error
    return Path(folder)

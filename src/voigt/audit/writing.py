"""Labeled frames as files again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import ase

from voigt.errors import OutputError
from voigt.files import atomic_write


def write_frames(frames: Iterable[ase.Atoms], path: str | Path) -> int:
    """Write frames as extended XYZ, all or nothing; returns their number.

    Raises
    ------
    OutputError
        The suffix is not .extxyz or .xyz, or the file cannot be written.
    """
    from ase.io.extxyz import write_xyz

    from voigt.writers.readable import readable

    require_extxyz(path)
    count = 0
    with atomic_write(path) as stream:
        for atoms in frames:
            write_xyz(stream, readable(atoms))
            count += 1
    return count


def require_extxyz(path: str | Path) -> None:
    """Raise OutputError unless the suffix is that of extended XYZ."""
    if Path(path).suffix.lower() not in (".extxyz", ".xyz"):
        raise OutputError(f"cannot write {path}: frames with labels are written as extended XYZ; choose .extxyz")

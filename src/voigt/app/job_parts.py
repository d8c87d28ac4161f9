"""What both kinds of jobs need: words of a request as options, and files without a word of where they lay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from voigt.app.job_schema import ForcesQuery
from voigt.errors import DomainError
from voigt.text import printable

Advance: TypeAlias = Callable[[], None]
"""Says that one more supercell is done."""
Files: TypeAlias = Mapping[str, bytes]
"""Name of a file -> its content."""


def read_all(out: Path, folder: Path) -> Files:
    """Every file of a flat folder, with no word of where it was."""
    place = f"{folder}/".encode()
    return {path.name: path.read_bytes().replace(place, b"") for path in sorted(out.iterdir()) if path.is_file()}


def without(folder: Path, text: str) -> str:
    """A sentence without the private folder in it."""
    return text.replace(f"{folder}/", "").replace(str(folder), "the upload")


def directions_of(query: ForcesQuery) -> Any:
    """Cartesian directions that a request names, the three axes by default; InputError."""
    from voigt.response.phonons.nac import AXES, parse_direction

    return [parse_direction(text) for text in query.direction] or AXES


def shipped_name(model: str | None) -> str | None:
    """The name of a model that ships: a request names no files of this machine."""
    from voigt.models.checkpoint import available_models

    shipped = available_models()
    if model is not None and model not in shipped:
        raise DomainError(f"no model '{printable(model)}' among those that ship ({', '.join(shipped) or 'none'})")
    return model

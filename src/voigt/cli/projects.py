"""What commands on phonopy projects share: directions, names of files, and notes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voigt.cli.faults import tell

if TYPE_CHECKING:
    from voigt.notes import Note


def parsed_directions(words: list[str] | None) -> Any:
    """Directions, the three axes by default."""
    from voigt.response.phonons.nac import AXES, parse_direction

    return [parse_direction(text) for text in words] if words else AXES


def check_files(output: Path | None, plot: Path | None) -> None:
    """Find out before any work is done whether the files can have these formats."""
    if output is not None:
        from voigt.writers.phonons import check_suffix

        check_suffix(output)
    if plot is not None:
        from voigt.writers.figures import check_format

        check_format(plot)


def tell_notes(notes: Iterable[Note]) -> None:
    """On standard error, a sentence each."""
    for note in notes:
        sentence = note.for_command_line().sentence
        tell(f"warning: {sentence}" if note.is_warning else sentence)

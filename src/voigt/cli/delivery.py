"""Results as they come: what `predict` and `explain` do with every one of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import typer

from voigt.cli.faults import tell
from voigt.errors import InputError, VoigtError
from voigt.notes import Failure, Note

if TYPE_CHECKING:
    from voigt.writers.table import Line

MOST_TABLES = 20
"""Tables are printed for at most so many crystals if results go to a file, and warnings of the first so many."""


class Result(Protocol):
    """What a crystal gave."""

    @property
    def id(self) -> str: ...
    @property
    def notes(self) -> tuple[Note, ...]: ...


ResultT = TypeVar("ResultT", bound=Result)


class NothingDoneError(VoigtError):
    """Every input failed: no output file is written over an earlier one."""


@dataclass
class Tally:
    """Counts results and names failures and warnings on standard error.

    No warnings if `quiet`; those of the first `MOST_TABLES` crystals alone unless `all_warnings`.
    """

    quiet: bool
    all_warnings: bool
    done: int = 0
    failed: int = 0
    warned: int = 0

    def results(self, stream: Iterable[ResultT | Failure], advance: Callable[[], None]) -> Iterator[ResultT]:
        """Pass results on, `advance` called after each input; NothingDoneError at the end if there was none."""
        for result in stream:
            if isinstance(result, Failure):
                self.fail(result.for_command_line().reason)
            else:
                self.warned += bool(result.notes)
                if not self.quiet and (self.all_warnings or self.warned <= MOST_TABLES):
                    for note in result.notes:
                        tell(f"warning: {result.id}: {note.for_command_line().sentence}")
                yield result
                self.done += 1
            advance()
        if not self.done:
            raise NothingDoneError

    def fail(self, reason: str) -> None:
        """Count a failure and name it."""
        self.failed += 1
        tell(f"failed: {reason}")


def print_lines(lines: Sequence[Line]) -> None:
    """Lines of a table on standard output, with styles on a terminal."""
    from voigt.writers.table import plain_text, rich_text

    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(rich_text(lines), soft_wrap=True)
    else:
        typer.echo(plain_text(lines))


def print_columns(rows: Sequence[tuple[str, ...]], numbers: bool = False) -> None:
    """Rows of a plain table, the columns after the first to the right if they are numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [c.rjust(w) if numbers and k else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        typer.echo("  ".join(cells).rstrip())


def names(text: str | None) -> tuple[str, ...] | None:
    """Names in a list with commas; InputError if there are none in it."""
    found = None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())
    if found == ():
        raise InputError(f"'{text}' names nothing; write names with commas between them")
    return found


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 crystal, 2 crystals."""
    return f"{number} {noun}{'' if number == 1 else 's'}"

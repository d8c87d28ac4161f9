"""How far long work has come: a bar on a terminal, a line a minute elsewhere, both on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from voigt.cli.faults import tell

SECONDS = 60.0


@contextmanager
def progress(what: str, total: int | None = None, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """Give a function to call after each item.

    Parameters
    ----------
    what
        Plural of the items, e.g. "crystals".
    total
        How many there are, None if unknown.
    quiet
        Show nothing.
    """
    if quiet:
        yield lambda: None
    elif sys.stderr.isatty():
        with _bar(what, total) as advance:
            yield advance
    else:
        yield _lines(what, total)


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Standard output may be a pipe: the bar must not take what belongs there.
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def _lines(what: str, total: int | None) -> Callable[[], None]:
    start = last = time.monotonic()
    done = 0

    def advance() -> None:
        nonlocal last, done
        done += 1
        now = time.monotonic()
        if now - last >= SECONDS:
            last = now
            tell(f"{done}{f' of {total}' if total else ''} {what} in {now - start:.0f} s")

    return advance

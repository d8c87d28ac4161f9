"""How far long work has come: a bar on a terminal, a line a minute elsewhere, both on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from voigt.cli.faults import tell

SECONDS = 60.0


class Advance(Protocol):
    """Says that `count` more items are done."""

    def __call__(self, count: int = 1, /) -> None: ...


@contextmanager
def progress(what: str, total: int | None = None, quiet: bool = False) -> Iterator[Advance]:
    """Give a function to call after each item, or after several with their number.

    `what` is the plural of the items, e.g. "crystals", `total` their number if known.
    """
    if quiet:
        yield lambda _=1: None
    elif sys.stderr.isatty():
        with _bar(what, total) as advance:
            yield advance
    else:
        yield _lines(what, total)


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Standard output may be a pipe: the bar must not take what belongs there. Nor is it to end where `sys.stderr` leads
    # while a package is kept quiet.
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, redirect_stdout=False, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count=1: bar.advance(task, count)


def _lines(what: str, total: int | None) -> Advance:
    start = last = time.monotonic()
    done = 0

    def advance(count: int = 1, /) -> None:
        nonlocal last, done
        done += count
        now = time.monotonic()
        if now - last >= SECONDS:
            last = now
            tell(f"{done}{f' of {total}' if total else ''} {what} in {now - start:.0f} s")

    return advance

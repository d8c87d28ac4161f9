"""Errors as one sentence on standard error."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from voigt.errors import VoigtError
from voigt.text import one_line, printable

SOME_FAILED = 1
WRONG_CALL = 2


@contextmanager
def one_sentence(debug: bool) -> Iterator[None]:
    """End the command with exit code 2 and one sentence on any error; with `debug` show the traceback as well."""
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except VoigtError as error:
        _stop(str(error), debug)
    except Exception as error:
        name = type(error).__name__
        reason = printable(str(error))
        _stop(f"unexpected {name}: {reason}; run with --debug for the traceback and report it", debug)


def tell(message: str) -> None:
    """A sentence on standard error; names of strangers in it may hold letters that a terminal obeys."""
    typer.echo("\n".join(map(one_line, message.split("\n"))), err=True)


def _stop(message: str, debug: bool) -> None:
    if debug:
        traceback.print_exc(file=sys.stderr)
    tell(f"voigt: {message}")
    raise typer.Exit(WRONG_CALL)

"""Requests that have no result: a status of HTTP, and the sentence that the command line prints."""

from __future__ import annotations

from collections.abc import Mapping

from voigt.app.schema import Problem
from voigt.errors import VoigtError
from voigt.notes import Failure
from voigt.text import printable

FAILED = 422
"""Status of what was understood and cannot be done: a structure, a model, a property."""


class RequestError(Exception):
    """Ends a request with a status, a `Problem`, and headers."""

    def __init__(self, status: int, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, problem, headers)
        self.status = status
        self.problem = problem
        self.headers = dict(headers or {})


def refusal(status: int, kind: str, text: str, headers: Mapping[str, str] | None = None) -> RequestError:
    """A request that is not answered.

    Examples
    --------
    >>> refusal(503, "busy", "try again", {"Retry-After": "2"}).problem.kind
    'busy'
    """
    return RequestError(status, Problem(kind=kind, text=text), headers)


def of_failure(failure: Failure) -> Problem:
    """An input without a result, in the words of the command line."""
    return Problem(
        kind=failure.kind,
        text=failure.for_command_line().reason,
        properties=list(failure.properties),
        elements=list(failure.elements),
    )


def of_error(error: Exception) -> Problem:
    """An error that a user can mend, or one that nobody expected: without traceback."""
    if isinstance(error, RequestError):
        return error.problem
    if isinstance(error, VoigtError):
        return Problem(kind="wrong_input", text=str(error))
    name, reason = type(error).__name__, printable(str(error))
    return Problem(kind="crashed", text=f"unexpected {name}: {reason}; report it with the file")

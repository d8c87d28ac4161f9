"""JSON of strangers: what is nested too deeply is refused instead of overflowing the stack."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

RECURSION = 1_000
"""Python's own limit. phonopy's solver raises it so far that a deeply nested document overflows the stack."""


@contextmanager
def shallow() -> Iterator[None]:
    """Refuse documents that are nested deeper than any structure: inside, they raise RecursionError."""
    limit = sys.getrecursionlimit()
    with suppress(RecursionError):  # the caller is that deep itself
        sys.setrecursionlimit(min(limit, RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def load_json(text: str | bytes) -> Any:
    """Content of a JSON document from a user.

    Raises
    ------
    ValueError
        It is no JSON, nested deeper than any structure, or holds a number of thousands of digits.
    """
    try:
        with shallow():
            return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        raise ValueError(
            "characters that are no text" if isinstance(error, UnicodeError) else "a number is too long"
        ) from error

"""Questions to spglib, whose way to say that it found nothing depends on its version and on what else is imported."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import spglib

Answer = TypeVar("Answer")


def quiet_spglib() -> None:
    """Keep spglib's C code from printing on the terminal, in calls of other libraries too.

    It prints when it tries another tolerance; what matters of that comes back as a result or an error. It reads the
    variable at every message. SPGLIB_WARNING=ON in the environment brings the messages back.
    """
    os.environ.setdefault("SPGLIB_WARNING", "OFF")


def answer(question: Callable[..., Answer | None], *arguments: Any, **options: Any) -> Answer | None:
    """What a function of spglib returns, None where it finds nothing.

    spglib says that by returning None, or raises an error once phonopy has been imported (which asks for that) and in
    later versions always.
    """
    quiet_spglib()
    try:
        return question(*arguments, **options)
    except spglib.SpglibError:
        return None

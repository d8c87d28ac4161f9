"""Markdown tables, and numbers, counts and units for reading."""

from __future__ import annotations

import math
from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], sides: str = "") -> str:
    """A Markdown table; `sides` holds "l" or "r" for each column, by default left for the first and right for others.

    Examples
    --------
    >>> print(table(["model", "MAE"], [["born", "0.1"]]))
    | model | MAE |
    |---|--:|
    | born | 0.1 |
    """
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    rules = ("--:" if side == "r" else "---" for side in sides or "l" + "r" * (len(header) - 1))
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]])


def number(value: float) -> str:
    """Four significant digits; a dash for what does not exist.

    Examples
    --------
    >>> number(12.34567), number(math.nan)
    ('12.35', '–')
    """
    if math.isnan(value):
        return "–"
    return f"{value:#.4g}".rstrip(".") if value else "0"


def counted(many: int, noun: str) -> str:
    """A number with its noun, "1 crystal" or "1,200 crystals"."""
    return f"{many:,} {noun}{'' if many == 1 else 's'}"


def unit_symbol(unit: str) -> str:
    """A unit as printed; "" for a plain number."""
    return "" if unit == "1" else unit.replace("Angstrom", "Å").replace("^2", "²").replace("^3", "³")

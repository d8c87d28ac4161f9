"""Markdown tables, and numbers, counts and units for reading."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from voigt.text import one_line


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


def escaped(text: str) -> str:
    r"""Text of a file as it stands in Markdown and its tables: one line, no links, images, HTML or emphasis.

    Examples
    --------
    >>> print(escaped("[a](http://b) <script> x|y"))
    \[a\](http://b) &lt;script&gt; x\|y
    """
    plain = one_line(" ".join(str(text).split()))
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", plain)


def code(text: str) -> str:
    r"""Text of a file between backticks, also in a table; backticks in it become apostrophes.

    Examples
    --------
    >>> print(code("a`b|c"))
    `a'b\|c`
    """
    plain = one_line(" ".join(str(text).split()))
    return f"`{plain.replace('`', chr(39)).replace('|', chr(92) + '|')}`"


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

"""Markdown tables and the numbers in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from voigt.evaluation.bootstrap import Estimate


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: text to the left, everything that is counted or measured to the right."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|" + "|".join(["---"] + ["--:"] * (len(header) - 1)) + "|", *lines[1:]])


def number(value: float) -> str:
    """Four significant digits; a dash for what does not exist."""
    if math.isnan(value):
        return "–"
    return f"{value:#.4g}".rstrip(".") if value else "0"


def interval(estimate: Estimate) -> str:
    """Both ends, or a dash where there is no interval."""
    return "–" if math.isnan(estimate.low) else f"{number(estimate.low)} to {number(estimate.high)}"

"""A selection as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from voigt.screening.query.derived import diagnostic
from voigt.screening.query.selection import Selection
from voigt.text import one_line
from voigt.writers.markdown import number

if TYPE_CHECKING:
    from voigt.screening.refine.ranking import Refined, Refinement


def selection_text(selection: Selection) -> str:
    """Aligned columns: place, id, formula, space group, rank with its spread, and the scalars that were requested.

    A scalar is followed by the half-width of its 90 % interval where there is one. A rank that is one of the scalars
    has one column, that of the scalar, with its spread where there is no interval.
    """
    named = [name for name in selection.names if not diagnostic(name)]
    header = ["", "id", "formula", "space group"]
    columns = [
        [str(place + 1) for place in range(len(selection.ids))],
        [*map(one_line, selection.ids)],
        [*map(one_line, selection.formulas)],
        [str(group) if group else "–" for group in selection.spacegroups.tolist()],
    ]
    if selection.ranked_by is not None and selection.ranked_by not in named:
        header.append(selection.ranked_by)
        columns.append(_ranks(selection))
    for name in named:
        unit = selection.units[selection.names.index(name)]
        header.append(name if unit in ("1", "") else f"{name} ({unit})")
        columns.append(_scalars(selection, name))
    return _aligned(header, list(zip(*columns, strict=True)), (">", "<", "<", *">" * (len(header) - 3)))


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]], sides: Sequence[str]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ([f"{c:{side}{w}}" for c, side, w in zip(row, sides, widths, strict=True)] for row in (header, *rows))
    return "\n".join("  ".join(cells).rstrip() for cells in lines)


def _scalars(selection: Selection, name: str) -> list[str]:
    plain = _ranks(selection) if name == selection.ranked_by else [number(v) for v in selection.column(name).tolist()]
    pairs = zip(selection.column(name).tolist(), selection.half_width(name).tolist(), plain, strict=True)
    return [with_interval(value, width) if width > 0 else other for value, width, other in pairs]


def _ranks(selection: Selection) -> list[str]:
    if selection.rank is None or selection.rank_spread is None:
        return []
    pairs = zip(selection.rank.tolist(), selection.rank_spread.tolist(), strict=True)
    # No ± where nothing is known (NaN), and none for what is exact (0).
    return [f"{number(value)} ± {number(spread)}" if spread > 0 else number(value) for value, spread in pairs]


def refinement_text(refinement: Refinement) -> str:
    """Aligned columns: new and old place, id, formula, space group, the rank by both ways, and the lowest mode."""
    columns = [refined_cells(crystal, refinement.where) for crystal in refinement.crystals]
    return _aligned(REFINED, [tuple(map(one_line, cells)) for cells in columns], (">", ">", "<", "<", *">" * 4, "<"))


REFINED = ("", "was", "id", "formula", "space group", "assembled", "networks", "lowest mode (THz)", "")
"""Titles of `refined_cells`."""


def refined_cells(crystal: Refined, where: str | None) -> tuple[str, ...]:
    """A crystal of the second stage for a table; texts of files as they are."""
    return (
        str(crystal.after or "–"),
        str(crystal.before),
        crystal.id,
        crystal.formula,
        str(crystal.spacegroup or "–"),
        number(crystal.assembled),
        with_interval(*crystal.network),
        number(crystal.lowest),
        remark(crystal, where),
    )


def remark(crystal: Refined, where: str | None) -> str:
    """What is to know about a crystal of the second stage, in a few words."""
    if crystal.state == "failed":
        return f"failed: {crystal.problem}"
    words = {"stable": "", "soft": "soft", "unstable": "unstable modes: no value"}[crystal.state]
    fails = "condition does not hold" if where is not None and not crystal.holds and crystal.state != "unstable" else ""
    return ", ".join(filter(None, (words, fails)))


def with_interval(value: float, width: float) -> str:
    """A number with the half-width of its 90 % interval, if there is one."""
    return f"{number(value)} ± {number(width)} (90 %)" if width > 0 else number(value)


def summary_text(selection: Selection) -> str:
    """One sentence on how many were looked at.

    Examples
    --------
    >>> from voigt.screening import parse, select
    >>> summary_text(select([], parse("band_gap > 3"), None, None))
    '0 of 0 crystals satisfy band_gap > 3'
    """
    condition = f" satisfy {selection.where}" if selection.where else " have a rank" if selection.ranked_by else ""
    lacking = f", {selection.lacking} lack a value that it needs" if selection.lacking else ""
    return f"{selection.passed} of {selection.looked_at} crystals{condition}{lacking}"

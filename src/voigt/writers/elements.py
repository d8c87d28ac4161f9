"""The periodic table as text: in how many crystals of a training set each element occurs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from ase.data import chemical_symbols

from voigt.models.elements import table_layout
from voigt.writers.table import Line

RARE = 20
"""An element of fewer training crystals is marked."""
TABLE_WIDTH = 89
"""Characters of a line of `element_lines`."""

_MOST = 999_000_000  # what fits a cell: a file may state anything
_CELL = 5  # characters, with the space before the next
_F_ROW = 7
_F_NAMES = ("La–Yb", "Ac–No")
_SYMBOL, _FEW, _NONE = "bold", "yellow", "dim"
_ABSENT = "·"


def element_lines(elements: Collection[int], counts: Mapping[int, int]) -> list[Line]:
    """Lines of the 18-column form, each symbol above its count, lanthanides and actinides below the rest.

    `elements`: atomic numbers that a model knows; a dot stands for the others. `counts`: atomic number -> crystals;
    fewer than `RARE` stand in parentheses. The last line says so.
    """
    symbols: dict[tuple[int, int], tuple[str, str]] = {}
    numbers: dict[tuple[int, int], tuple[str, str]] = {}
    for z, (column, row) in enumerate(np.floor(table_layout()[1:]).astype(int).tolist(), start=1):
        known, count = z in elements, min(counts.get(z, 0), _MOST)
        rare = known and count < RARE
        style = _FEW if rare else ""
        symbols[row, column] = (chemical_symbols[z], f"{_SYMBOL} {style}".rstrip()) if known else (_ABSENT, _NONE)
        numbers[row, column] = (f"({count})" if rare else short_count(count), style) if known else ("", "")
    for k, name in enumerate(_F_NAMES):
        symbols[_F_ROW + k, 0] = (name, _NONE)
    lines: list[Line] = []
    for row in range(_F_ROW + len(_F_NAMES)):
        if row == _F_ROW:
            lines.append(())
        lines += filter(None, (_line(cells, row) for cells in (symbols, numbers)))
    legend = f"training crystals with each element, in parentheses if fewer than {RARE}; {_ABSENT} stands for none"
    return [*lines, (), ((legend, _NONE),)]


def short_count(count: float) -> str:
    """A count in at most four characters.

    Examples
    --------
    >>> [short_count(n) for n in (0, 950, 1234, 9949, 98_000, 2_100_000)]
    ['0', '950', '1.2k', '9.9k', '98k', '2.1M']
    """
    for unit, sign in ((1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * unit:
            scaled = count / unit
            return f"{scaled:.1f}{sign}" if scaled < 9.95 else f"{scaled:.0f}{sign}"
    return f"{count:.0f}"


def _line(cells: Mapping[tuple[int, int], tuple[str, str]], row: int) -> Line:
    """One line of cells, without spaces at its end."""
    last = max((column for (other, column), (text, _) in cells.items() if other == row and text), default=-1)
    pieces = []
    for column in range(last + 1):
        text, style = cells.get((row, column), ("", ""))
        pieces += [(text, style), ("" if column == last else " " * (_CELL - len(text)), "")]
    return tuple(pieces)

"""Heat maps over the periodic table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import chemical_symbols
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from voigt.models.elements import F_COLUMN, GAP, table_layout
from voigt.writers.figures import INK

WIDTH, HEIGHT = 18.0, 9.5
"""Cells across and down, with the gap above the f block."""

_PAPER, _FAINT, _ABSENT, _EDGE = "#FFFFFF", "#A8A8A8", "#F1F1F1", "#DDDDDD"


def draw_elements(
    axis: Axes, values: ArrayLike, texts: Sequence[str], norm: Normalize, colors: Colormap
) -> ScalarMappable:
    """One cell for each element: its symbol, a number below, the color of its value.

    `axis`: emptied of ticks and spines. `values`: (119,) by atomic number; NaN leaves the cell gray. `texts`: (119,)
    what stands below the symbol. `norm`, `colors`: from values to colors. Returns what a color bar needs.
    """
    mappable = ScalarMappable(norm, colors)
    array = np.asarray(values, dtype=np.float64)
    for number, (column, row) in enumerate(table_layout()):
        if not number:
            continue
        known = bool(np.isfinite(array[number]))
        fill = tuple(colors(norm(array[number]))) if known else _ABSENT
        ink = _readable(fill) if isinstance(fill, tuple) else _FAINT
        cell = Rectangle((column + 0.03, row + 0.03), 0.94, 0.94, facecolor=fill, edgecolor=_EDGE, linewidth=0.4)
        axis.add_patch(cell)
        axis.text(column + 0.5, row + 0.38, chemical_symbols[number], ha="center", va="center", fontsize=8.5,
                  color=ink, fontweight="bold" if known else "normal")
        axis.text(column + 0.5, row + 0.76, texts[number], ha="center", va="center", fontsize=6, color=ink)
    for row, name in ((7, "La–Yb"), (8, "Ac–No")):
        axis.text(F_COLUMN - 0.15, row + GAP + 0.5, name, ha="right", va="center", fontsize=6.5, color="#777777")
    axis.set_xlim(0, WIDTH)
    axis.set_ylim(HEIGHT, 0)
    axis.set_aspect("equal")
    axis.set_axis_off()
    return mappable


def _readable(color: tuple[float, ...]) -> str:
    """Dark ink on light cells, white on dark ones, by relative luminance (WCAG 2)."""
    red, green, blue = color[:3]
    return INK if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.3 else _PAPER

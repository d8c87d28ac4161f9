"""Heat maps over the periodic table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import chemical_symbols
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from voigt.models.elements import periodic_table
from voigt.writers.figures import INK

WIDTH, HEIGHT = 18.0, 9.5
"""Cells across and down, with the gap above the f block."""

_GAP = 0.5  # cells between the main body and the f block
_F_BLOCK = 3  # in the last column of `periodic_table`
_F_COLUMN = 2  # the f block stands below the place it is taken from, right of group 2
_PAPER, _FAINT, _ABSENT, _EDGE = "#FFFFFF", "#A8A8A8", "#F1F1F1", "#DDDDDD"


def layout() -> NDArray[np.float64]:
    """Upper left corners of the cells of the 18-column form.

    Lanthanum to ytterbium and actinium to nobelium stand below the rest; lutetium and lawrencium are in group 3.
    Returns (119, 2) column and row, in cells from the upper left; row 0 of the array (no element) is NaN.
    """
    group, period, block = periodic_table().T
    places = np.stack([group - 1.0, period - 1.0], axis=1)
    for row in (6, 7):
        inner = np.flatnonzero((block == _F_BLOCK) & (period == row))
        places[inner, 0] = _F_COLUMN + np.arange(len(inner))
        places[inner, 1] = row + 1 + _GAP
    places[0] = np.nan
    return places


def draw_elements(
    axis: Axes, values: ArrayLike, texts: Sequence[str], norm: Normalize, colors: Colormap
) -> ScalarMappable:
    """One cell for each element: its symbol, a number below, the color of its value.

    `axis`: emptied of ticks and spines. `values`: (119,) by atomic number; NaN leaves the cell gray. `texts`: (119,)
    what stands below the symbol. `norm`, `colors`: from values to colors. Returns what a color bar needs.
    """
    mappable = ScalarMappable(norm, colors)
    array = np.asarray(values, dtype=np.float64)
    for number, (column, row) in enumerate(layout()):
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
        axis.text(_F_COLUMN - 0.15, row + _GAP + 0.5, name, ha="right", va="center", fontsize=6.5, color="#777777")
    axis.set_xlim(0, WIDTH)
    axis.set_ylim(HEIGHT, 0)
    axis.set_aspect("equal")
    axis.set_axis_off()
    return mappable


def _readable(color: tuple[float, ...]) -> str:
    """Dark ink on light cells, white on dark ones, by relative luminance (WCAG 2)."""
    red, green, blue = color[:3]
    return INK if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.3 else _PAPER

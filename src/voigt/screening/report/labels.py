"""Names beside points of a figure, as many as fit without hiding each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from voigt.text import one_line

_INK = "#222222"
_SIZE = 7.5  # points
_MARKER = 3.2  # points about a marker that stay free
_AWAY = (7, 14, 24)  # points from marker to text
_DIRECTIONS = ((1, 1), (1, 0), (-1, 1), (-1, 0), (0, 1), (1, -1), (-1, -1), (0, -1))


def pretty(formula: str) -> str:
    """A formula for matplotlib, counts as subscripts; what is no formula stays as it is."""
    if not re.fullmatch(r"[A-Za-z0-9().]*", formula):
        return one_line(formula).replace("$", r"\$")
    return re.sub(r"(?<=[A-Za-z)])(\d+)", r"$_{\1}$", formula)


def place_labels(
    axis: Axes,
    points: NDArray[np.float64],
    chosen: Sequence[int],
    names: Sequence[str],
    avoid: Sequence[int],
    outward: tuple[int, int] = (1, 1),
) -> list[int]:
    """Write names beside points, leaving out those for which there is no room.

    Each name in turn tries eight directions and three distances, and stays where it is inside the axes and covers
    neither another name nor a marker.

    `axis`: with its limits set; its figure has a canvas. `points`: (n, 2) data coordinates. `chosen`, `names`: rows of
    `points` to be named, the most important first, and what to write. `avoid`: rows whose markers must stay visible.
    `outward`: signs of the direction that is tried first, where there is most room. Returns the rows that were named.
    """
    figure = axis.get_figure()
    if figure is None or not len(chosen):
        return []
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)  # type: ignore[arg-type]
    canvas.figure.draw_without_rendering()  # fixes the layout, in which text is measured
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    free = _MARKER * canvas.figure.dpi / 72
    markers = [Bbox.from_extents(x - free, y - free, x + free, y + free)
               for x, y in axis.transData.transform(points[list(avoid)])]
    taken: list[Bbox] = []
    named = []
    inside = axis.get_window_extent(renderer)
    directions = sorted(_DIRECTIONS, key=lambda way: -(way[0] * outward[0] + way[1] * outward[1]))
    for row, name in zip(chosen, names, strict=True):
        text = axis.annotate(name, tuple(points[row]), (0, 0), textcoords="offset points", fontsize=_SIZE, color=_INK,
                             zorder=7, annotation_clip=True)
        text.set_path_effects([withStroke(linewidth=2, foreground="#FFFFFF")])  # readable across lines and shades
        for place in product(_AWAY, directions):
            box = _move(text, *place).get_window_extent(renderer).expanded(1.03, 1.08)
            if _within(inside, box) and not any(box.overlaps(other) for other in (*taken, *markers)):
                taken.append(box)
                named.append(row)
                break
        else:
            text.remove()
    return named


def _move(text: Annotation, away: int, direction: tuple[int, int]) -> Annotation:
    dx, dy = direction
    text.set_position((dx * away, dy * away))
    text.set_horizontalalignment("left" if dx > 0 else "right" if dx < 0 else "center")
    text.set_verticalalignment("bottom" if dy > 0 else "top" if dy < 0 else "center")
    return text


def _within(outer: Bbox, inner: Bbox) -> bool:
    return bool(outer.x0 <= inner.x0 and inner.x1 <= outer.x1 and outer.y0 <= inner.y0 and inner.y1 <= outer.y1)

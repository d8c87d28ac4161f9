"""Figures of a screening: Pareto front, distributions, coverage by element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator
from numpy.typing import NDArray

from voigt.screening.report.labels import place_labels, pretty
from voigt.screening.report.periodic_table import HEIGHT, WIDTH, draw_elements
from voigt.writers.elements import short_count
from voigt.writers.figures import INK, logarithmic_ticks, make_opaque, style_axes, style_bar

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Scale = Literal["linear", "log"]

# Okabe and Ito: distinct to color-blind readers and in print.
_BLUE, _VERMILION = "#0072B2", "#D55E00"
_GRAY = "#B9C0C6"
_DENSITY = LinearSegmentedColormap.from_list("density", ["#E3E6E9", "#9AA3AB", "#3F474E"])
_HEAVY = 8.0  # 99.9th percentile over the median, beyond which an axis is logarithmic
_LABELS = 16
_ACROSS = 4
_BINS = 60


@dataclass(frozen=True)
class Plane:
    """Crystals in the plane of two objectives."""

    # x, y: (n,) values, NaN where unknown
    x: Array
    y: Array
    labels: tuple[str, str]  # of both axes, with units
    maximize: tuple[bool, bool]  # whether more is better, of both
    front: Mask  # (n,) the Pareto front
    doubtful: Mask  # (n,) crystals of which a warning is known: hollow on the front
    formulas: Sequence[str]  # (n,) names of the points
    matched: Mask | None = None  # (n,) crystals among which the front was sought; None: all


def pareto_figure(plane: Plane) -> Figure:
    """All crystals as a gray density, those that match in blue, the front as a staircase with formulas."""
    figure = Figure(figsize=(7.6, 5.7), layout="constrained")
    axis = figure.subplots()
    style_axes(axis, size=8)
    axis.set_xlabel(plane.labels[0], fontsize=10, color=INK)
    axis.set_ylabel(plane.labels[1], fontsize=10, color=INK)
    points = np.stack([plane.x, plane.y], axis=1)
    known = np.isfinite(points).all(axis=1)
    if not known.any():
        _write_centered(axis, "no crystal has both")
        return figure
    scales = (scale_of(plane.x), scale_of(plane.y))
    for k, scale in enumerate(scales):
        _rule(axis, "xy"[k], scale, _limits(points[known, k], points[known & plane.front, k], scale))
    _color_bar(figure, _cells(axis, points[known], scales), axis, "crystals")
    if plane.matched is not None and (shown := plane.matched & known).any():
        count = int(shown.sum())
        axis.scatter(plane.x[shown], plane.y[shown], s=9 if count < 3000 else 3, color=_BLUE, linewidths=0, zorder=3,
                     alpha=float(np.clip(400 / count, 0.1, 0.7)), label=f"fulfill the condition ({count:,})")
    front = np.flatnonzero(plane.front & known)
    ranked = front[np.lexsort((points[front, 1], points[front, 0]))]  # from left to right
    _draw_front(axis, plane, points[ranked], plane.doubtful[ranked])
    if len(ranked):
        legend = axis.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4,
                             handletextpad=0.3, columnspacing=1.2, borderpad=0)
        make_opaque(legend)
    distinct = ranked[np.sort(np.unique(points[ranked], axis=0, return_index=True)[1])]  # of equal crystals one name
    chosen = distinct[_spread_out(points[distinct], scales)[:_LABELS]].tolist()
    outward = (1 if plane.maximize[0] else -1, 1 if plane.maximize[1] else -1)
    place_labels(axis, points, chosen, [pretty(plane.formulas[k]) for k in chosen], ranked.tolist(), outward)
    return figure


def distribution_figure(values: Mapping[str, Array], labels: Mapping[str, str], matched: Mask | None = None) -> Figure:
    """Histograms, one panel for each quantity: all crystals in gray, those that match in blue.

    `values`: name -> (n,), NaN where unknown. `labels`: name -> label of the axis, with its unit. `matched`: (n,)
    crystals drawn in blue; None: nothing to single out.
    """
    columns = min(_ACROSS, max(len(values), 1))
    rows = max(-(-len(values) // columns), 1)
    figure = Figure(figsize=(2.9 * columns + 0.3, 2.35 * rows + 0.35), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (name, column) in zip(axes, values.items(), strict=False):
        _histogram(axis, column, matched)
        axis.set_xlabel(labels[name], fontsize=8.5, color=INK)
    for axis in axes[len(values):]:
        axis.remove()
    figure.supylabel("crystals", fontsize=9.5, color=INK)
    if matched is not None and values:
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper right", ncols=2, fontsize=8.5, frameon=False)
    return figure


def elements_figure(held: Array, trusted: Array, refused: Array) -> Figure:
    """Coverage by element as two periodic tables.

    `held`: (119,) crystals that hold the element, results and failures as far as these name it. `trusted`: (119,) those
    among them with results by models that have seen all their elements. `refused`: (119,) those that failed because of
    this element.
    """
    present = held > 0
    figure = Figure(figsize=(9.6, 2 * 9.6 * HEIGHT / WIDTH * 0.86 + 0.7), layout="constrained")
    above, below = figure.subplots(2, 1)
    counts = np.where(present, held, np.nan)
    fewest, most = (float(held[present].min()), float(held.max())) if present.any() else (1.0, 1.0)
    first = draw_elements(above, counts, [short_count(n) if n else "" for n in held],
                          LogNorm(fewest, max(most, 2 * fewest)),
                          colormaps["cividis_r"])
    above.set_title("Crystals that hold the element", fontsize=11, color=INK, loc="left")
    shares = np.divide(100 * trusted, held, out=np.full(len(held), np.nan), where=present)
    texts = [_percent(share) + (f" −{short_count(no)}" if no else "") if np.isfinite(share) else ""
             for share, no in zip(shares, refused, strict=True)]
    second = draw_elements(below, shares, texts, Normalize(0, 100), colormaps["cividis"])
    below.set_title("Share predicted by models that have seen all elements of the crystal"
                    + (" (−n: refused for this element)" if refused.any() else ""), fontsize=11, color=INK, loc="left")
    for axis, mappable, text in ((above, first, "crystals"), (below, second, "share of the crystals, %")):
        _color_bar(figure, mappable, axis, text)
    return figure


def scale_of(values: Array) -> Scale:
    """Logarithmic for positive quantities with a heavy tail, else linear."""
    known = values[np.isfinite(values)]
    if not len(known) or known.min() <= 0:
        return "linear"
    low, middle, high = np.quantile(known, [0.001, 0.5, 0.999])
    # A tail towards zero alone (predicted gaps of metals) is not for a logarithmic axis.
    return "log" if high / middle > _HEAVY and middle / low < 1e3 else "linear"


def _histogram(axis: Axes, values: Array, matched: Mask | None) -> None:
    known = np.isfinite(values)
    style_axes(axis, size=8)
    if not known.any():
        _write_centered(axis, "no values")
        return
    scale = scale_of(values)
    _rule(axis, "x", scale, _limits(values[known], values[:0], scale))
    left, right = axis.get_xlim()
    edges = np.geomspace(left, right, _BINS) if scale == "log" else np.linspace(left, right, _BINS)
    groups = [(known, _GRAY, "all")]
    if matched is not None:
        groups.append((known & matched, _BLUE, "fulfill the condition"))
        axis.set_yscale("log")
    for mask, color, name in groups:
        axis.hist(np.clip(values[mask], left, right), bins=edges.tolist(), color=color, linewidth=0, label=name)
    if matched is None:
        axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    else:
        axis.set_ylim(bottom=0.7)
    median = float(np.median(values[known]))
    axis.axvline(median, color=_VERMILION, linewidth=1.0)
    axis.set_title(f"median {median:.3g}, n = {known.sum():,}", fontsize=7.5, color=INK, pad=3)


def _cells(axis: Axes, points: Array, scales: tuple[Scale, Scale]) -> ScalarMappable:
    """Density by hexagon; points beyond the limits count at the edge."""
    limits = (axis.get_xlim(), axis.get_ylim())
    x, y = (np.clip(column, *pair) for column, pair in zip(points.T, limits, strict=True))
    (left, right), (low, high) = (
        tuple(np.log10(pair)) if scale == "log" else pair for scale, pair in zip(scales, limits, strict=True)
    )
    return axis.hexbin(x, y, gridsize=(64, 40), extent=(left, right, low, high), xscale=scales[0], yscale=scales[1],
                       norm=LogNorm(), mincnt=1, cmap=_DENSITY, linewidths=0.1, zorder=2)


def _draw_front(axis: Axes, plane: Plane, points: Array, doubtful: Mask) -> None:
    if not len(points):
        return
    # The border of what was attained: the best y among all x at least (at most) as good.
    axis.step(*points.T, where="pre" if plane.maximize[0] else "post", color=_VERMILION, linewidth=0.9, zorder=4,
              alpha=0.8)
    for mask, fill, text in ((~doubtful, _VERMILION, "Pareto front"), (doubtful, "#FFFFFF", "front, with a warning")):
        if mask.any():
            x, y = points[mask].T
            axis.scatter(x, y, s=26, color=fill, edgecolors=_VERMILION, linewidths=1.1, zorder=5,
                         clip_on=False, label=f"{text} ({int(mask.sum())})")


def _spread_out(points: Array, scales: tuple[Scale, Scale]) -> list[int]:
    """Both ends first, then always the point farthest from those already taken: names that tell most."""
    if not len(points):
        return []
    columns = [np.log10(c) if scale == "log" else c for c, scale in zip(points.T, scales, strict=True)]
    unit = np.stack([(c - c.min()) / (np.ptp(c) or 1.0) for c in columns], axis=1)
    order = [0] if len(points) == 1 else [0, len(points) - 1]
    distance = np.full(len(points), np.inf)
    for k in order:
        distance = np.minimum(distance, np.linalg.norm(unit - unit[k], axis=1))
    while len(order) < len(points):
        best = int(np.argmax(np.where(np.isin(np.arange(len(points)), order), -1.0, distance)))
        order.append(best)
        distance = np.minimum(distance, np.linalg.norm(unit - unit[best], axis=1))
    return order


def _limits(values: Array, needed: Array, scale: Scale) -> tuple[float, float]:
    """From the 0.05th to the 99.95th percentile, extended to the values `needed`, with a margin."""
    low, high = (float(v) for v in np.quantile(values, [0.0005, 0.9995]))
    if len(needed):
        low, high = min(low, float(needed.min())), max(high, float(needed.max()))
    if scale == "log":
        return low / 1.15, high * 1.2
    margin = 0.05 * (high - low) or 0.5
    return (0.0 if 0 <= low < margin else low - margin), high + margin


def _rule(axis: Axes, side: str, scale: Scale, limits: tuple[float, float]) -> None:
    """Scale, limits and ticks of one axis."""
    ruler = axis.xaxis if side == "x" else axis.yaxis
    if side == "x":
        axis.set_xscale(scale)
        axis.set_xlim(limits)
    else:
        axis.set_yscale(scale)
        axis.set_ylim(limits)
    if scale == "log":
        wide = limits[1] / limits[0] > 300
        logarithmic_ticks(ruler, (1.0,) if wide else (1.0, 2.0, 5.0), (2.0, 5.0) if wide else ())
    else:
        ruler.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))


def _write_centered(axis: Axes, text: str) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=10, color="#777777")


def _color_bar(figure: Figure, mappable: ScalarMappable, axis: Axes, label: str) -> None:
    bar = figure.colorbar(mappable, ax=axis, fraction=0.035, pad=0.012, aspect=32, shrink=0.9)
    style_bar(bar, label)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if isinstance(mappable.norm, LogNorm):
        bar.ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))  # in narrow ranges: 2 3 4 6 10


def _percent(share: float) -> str:
    """Whole percents, but neither 0 nor 100 unless it is exactly that."""
    if 0 < share < 1 or 99 < share < 100:
        return "<1" if share < 1 else ">99"
    return f"{share:.0f}"

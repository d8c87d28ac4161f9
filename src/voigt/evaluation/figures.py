"""Parity plots in the manner of Kutana et al. (2025), Figures 3 to 5: prediction against reference, in equal axes.

Built from Figure objects alone: nothing here touches matplotlib's global state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from numpy.typing import NDArray

from voigt.evaluation.metrics import matrix, offdiagonal
from voigt.evaluation.scored import Pairs, Scored, collect
from voigt.files import atomic_write
from voigt.tensors.properties import Property
from voigt.tensors.voigt import elastic_to_mandel

Array = NDArray[np.float64]

# Okabe and Ito: distinct to colour-blind readers and in print.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C510A")
_OTHERS = "#9A9A9A"
_DENSITY = LinearSegmentedColormap.from_list("density", ["#BCD7EA", "#3E8EC4", "#08306B"])  # pale: a single point
_INK = "#333333"
_NAMED = 7  # elements with a panel or a colour of their own
_SCATTER_AT_MOST = 4000  # beyond, points hide each other and density says more
_DPI = 160
_SHADING = " (darker: more points, logarithmically)"


@dataclass(frozen=True)
class Panel:
    """Points of one parity plot.

    Attributes
    ----------
    title
        Above the axes.
    label, predicted
        (K,) reference and prediction.
    elements
        (K,) atomic numbers that colour the points; None for one colour.
    logarithmic
        Logarithmic axes, for positive quantities over decades.
    """

    title: str
    label: Array
    predicted: Array
    elements: NDArray[np.int64] | None = None
    logarithmic: bool = False


def parity_figures(scored: Sequence[Scored], declared: Property) -> list[tuple[str, str, Figure]]:
    """Figures of one property: (file stem, caption, figure); none without predictions.

    Born charges give two figures: diagonal and off-diagonal components coloured by element, and a panel for each of
    the most frequent elements. Other properties give one.
    """
    pairs = collect(scored, declared)
    if not len(pairs.label):
        return []
    if declared.per == "atom":
        frequent = _frequent(pairs.numbers)
        overview = [_diagonal_panel(pairs, True), _offdiagonal_panel(pairs, True)]
        elements = [_element_panel(pairs, number) for number in frequent]
        everything = Panel("all elements", pairs.label.ravel(), pairs.predicted.ravel())
        components = _figure(overview, declared, frequent)
        by_element = _figure([everything, *elements], declared)
        return [
            (f"{declared.name}_components", f"{declared.label}: diagonal and off-diagonal components", components),
            (f"{declared.name}_elements", f"{declared.label}: the most frequent elements{_SHADING}", by_element),
        ]
    figure = _figure(_crystal_panels(pairs), declared)
    return [(declared.name, f"{declared.label}: prediction and reference{_SHADING}", figure)]


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with atomic_write(path, "wb") as stream:
        FigureCanvasAgg(figure)
        figure.savefig(stream, format="png", dpi=_DPI)


def _crystal_panels(pairs: Pairs) -> list[Panel]:
    """What to plot of a tensor of the crystal: invariants where there are any, then components."""
    declared, label, predicted = pairs.property, pairs.label, pairs.predicted
    if declared.rank == 2:
        panels = [_eigenvalue_panel("eigenvalues", label, predicted), _diagonal_panel(pairs, False)]
        return [*panels, _offdiagonal_panel(pairs, False)]
    if declared.rank == 4:
        label_mandel, predicted_mandel = elastic_to_mandel(label), elastic_to_mandel(predicted)
        eigenvalues = _eigenvalue_panel("eigenvalues (Mandel)", label_mandel, predicted_mandel)
        return [eigenvalues, Panel("components (Voigt)", matrix(label).ravel(), matrix(predicted).ravel())]
    if declared.rank == 3:
        return [Panel("components (Voigt)", matrix(label).ravel(), matrix(predicted).ravel())]
    return [Panel("crystals", label.ravel(), predicted.ravel())]


def _eigenvalue_panel(title: str, label: Array, predicted: Array) -> Panel:
    labels, predictions = (
        np.asarray(np.linalg.eigvalsh((t + t.swapaxes(1, 2)) / 2), dtype=np.float64).ravel() for t in (label, predicted)
    )
    return Panel(title, labels, predictions, logarithmic=_spans_decade([labels, predictions]))


def _diagonal_panel(pairs: Pairs, by_element: bool) -> Panel:
    label, predicted = (np.diagonal(t, axis1=1, axis2=2).ravel() for t in (pairs.label, pairs.predicted))
    elements = np.repeat(pairs.numbers, 3) if by_element else None
    return Panel("diagonal", label, predicted, elements, not by_element and _spans_decade([label, predicted]))


def _offdiagonal_panel(pairs: Pairs, by_element: bool) -> Panel:
    label, predicted = (offdiagonal(t).ravel() for t in (pairs.label, pairs.predicted))
    return Panel("off-diagonal", label, predicted, np.repeat(pairs.numbers, 6) if by_element else None)


def _element_panel(pairs: Pairs, number: int) -> Panel:
    mask = pairs.numbers == number
    return Panel(chemical_symbols[number], pairs.label[mask].ravel(), pairs.predicted[mask].ravel())


def _spans_decade(values: Sequence[Array]) -> bool:
    """Whether logarithmic axes are possible and worth while."""
    lowest, highest = min(v.min() for v in values), max(v.max() for v in values)
    return bool(lowest > 0 and highest / lowest > 10)


def _frequent(numbers: NDArray[np.int64]) -> list[int]:
    """The most frequent elements, in order."""
    found, counts = np.unique(numbers, return_counts=True)
    return [int(number) for number in found[np.argsort(-counts, kind="stable")][:_NAMED]]


def _figure(panels: Sequence[Panel], declared: Property, coloured: Sequence[int] = ()) -> Figure:
    """Panels in rows of four at most, sharing the labels of their axes."""
    columns = min(4, len(panels)) if len(panels) != 3 else 3
    rows = -(-len(panels) // columns)
    size = 3.0 if rows > 1 else 3.9
    figure = Figure(figsize=(size * columns, size * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, panel in zip(axes, panels, strict=False):
        _draw(axis, panel, declared.unit, coloured)
    for axis in axes[len(panels):]:
        axis.remove()
    unit = "" if declared.unit == "1" else f" ({_symbol(declared.unit)})"
    figure.supxlabel(f"reference{unit}", fontsize=10, color=_INK)
    figure.supylabel(f"predicted{unit}", fontsize=10, color=_INK)
    figure.suptitle(declared.label[0].upper() + declared.label[1:], fontsize=11, color=_INK)
    return figure


def _draw(axis: Axes, panel: Panel, unit: str, coloured: Sequence[int]) -> None:
    low, high = _limits(panel)
    if panel.logarithmic:
        axis.set_xscale("log")
        axis.set_yscale("log")
    axis.plot([low, high], [low, high], color=_INK, linewidth=0.7, zorder=1)
    if panel.elements is not None:
        _scatter_elements(axis, panel, panel.elements, coloured)
    elif len(panel.label) > _SCATTER_AT_MOST:
        scale = "log" if panel.logarithmic else "linear"
        extent = tuple(np.log10([low, high, low, high])) if panel.logarithmic else (low, high, low, high)
        axis.hexbin(panel.label, panel.predicted, gridsize=70, extent=extent, xscale=scale, yscale=scale,  # type: ignore[arg-type]
                    norm=LogNorm(), mincnt=1, cmap=_DENSITY, linewidths=0.1, zorder=2)
    else:
        axis.scatter(panel.label, panel.predicted, s=7, color=_PALETTE[0], alpha=_alpha(len(panel.label)),
                     linewidths=0, zorder=2)
    axis.set_xlim(low, high)
    axis.set_ylim(low, high)
    axis.set_aspect("equal")
    _dress(axis, panel, unit)


def _scatter_elements(axis: Axes, panel: Panel, elements: NDArray[np.int64], coloured: Sequence[int]) -> None:
    """Points by element: the others in grey beneath, above them from the most frequent to the least."""
    alpha = _alpha(len(panel.label))
    groups = [
        (chemical_symbols[number], elements == number, colour, 2 + rank / 100)
        for rank, (number, colour) in enumerate(zip(coloured, _PALETTE, strict=False))
    ]
    groups.append(("others", ~np.isin(elements, coloured), _OTHERS, 1.9))
    for name, mask, colour, height in groups:
        if mask.any():
            axis.scatter(panel.label[mask], panel.predicted[mask], s=5, color=colour, alpha=alpha, linewidths=0,
                         zorder=height, label=name)
    legend = axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0.0, 0.87), handletextpad=0.1,
                         borderpad=0.2, labelspacing=0.25, markerscale=1.6)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)


def _dress(axis: Axes, panel: Panel, unit: str) -> None:
    """Title, MAE, ticks and the histogram of errors in the empty corner."""
    error = panel.predicted - panel.label
    suffix = "" if unit == "1" else f" {_symbol(unit)}"
    axis.set_title(panel.title, fontsize=9, color=_INK, pad=4)
    axis.text(0.04, 0.96, f"MAE {np.abs(error).mean():#.3g}{suffix}\nn = {len(error):,}", transform=axis.transAxes,
              fontsize=7.5, va="top", color=_INK)
    if panel.logarithmic:
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            side.set_minor_locator(LogLocator(subs=()))
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.tick_params(labelsize=7.5, length=3, width=0.6, color=_INK, labelcolor=_INK)
    for spine in axis.spines.values():
        spine.set_linewidth(0.6)
    _histogram(axis, error)


def _histogram(axis: Axes, error: Array) -> None:
    """Distribution of the errors between their 1st and 99th percentiles, widened to be symmetric about zero."""
    width = float(np.abs(np.quantile(error, [0.01, 0.99])).max())
    if width == 0.0:
        return
    inset = axis.inset_axes((0.64, 0.12, 0.32, 0.2))
    inset.hist(error, bins=41, range=(-width, width), color="#8FA9BF", linewidth=0)
    inset.axvline(0.0, color=_INK, linewidth=0.6)
    inset.set_yticks([])
    inset.set_xticks([-width, 0.0, width], [f"{-width:.2g}", "0", f"{width:.2g}"])
    inset.tick_params(labelsize=5.5, length=2, width=0.5, pad=1, color=_INK, labelcolor=_INK)
    inset.set_title("error", fontsize=6, pad=1, color=_INK)
    inset.patch.set_alpha(0.0)
    for name, spine in inset.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_linewidth(0.5)


def _symbol(unit: str) -> str:
    """A unit as printed."""
    return unit.replace("^2", "²")


def _limits(panel: Panel) -> tuple[float, float]:
    """Common limits of both axes, with a margin."""
    low = float(min(panel.label.min(), panel.predicted.min()))
    high = float(max(panel.label.max(), panel.predicted.max()))
    if panel.logarithmic:
        return low / 1.15, high * 1.15
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _alpha(points: int) -> float:
    """Opacity that keeps dense clouds readable."""
    return float(np.clip(600 / max(points, 1), 0.12, 0.7))

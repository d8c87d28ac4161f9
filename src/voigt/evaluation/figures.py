"""Parity plots in the manner of Kutana et al. (2025), Figures 3 to 5: prediction against reference, in equal axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from voigt.evaluation.metrics import offdiagonal
from voigt.evaluation.scored import Pairs, Scored, collect
from voigt.tensors.properties import Property
from voigt.tensors.voigt import elastic_to_mandel
from voigt.writers.figures import INK, logarithmic_ticks, make_opaque
from voigt.writers.markdown import unit_symbol

Array = NDArray[np.float64]

# Okabe and Ito: distinct to color-blind readers and in print.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C510A")
_OTHERS = "#9A9A9A"
_DENSITY = LinearSegmentedColormap.from_list("density", ["#BCD7EA", "#3E8EC4", "#08306B"])  # pale: a single point
_NAMED = 7  # elements with a panel or a color of their own
_SCATTER_AT_MOST = 4000  # beyond, points hide each other and density says more
_SHADING = " (darker: more points, logarithmically)"


@dataclass(frozen=True)
class Panel:
    """Points of one parity plot."""

    title: str  # above the axes
    # label, predicted: (K,) reference and prediction
    label: Array
    predicted: Array
    elements: NDArray[np.int64] | None = None  # (K,) atomic numbers that color the points; None for one color
    logarithmic: bool = False  # logarithmic axes, for positive quantities over decades


def parity_figures(scored: Sequence[Scored], declared: Property) -> list[tuple[str, str, Figure]]:
    """Figures of one property: (file stem, caption, figure); none without predictions.

    Born charges give two figures: diagonal and off-diagonal components colored by element, and a panel for each of
    the most frequent elements. Other properties give one.
    """
    pairs = collect(scored, declared)
    if not len(pairs.label):
        return []
    if declared.per == "atom":
        numbers, counts = np.unique(pairs.numbers, return_counts=True)
        frequent = numbers[np.argsort(-counts, kind="stable")][:_NAMED].tolist()
        overview = [_diagonal_panel(pairs, True), _offdiagonal_panel(pairs, True)]
        panels = [Panel("all elements", pairs.label.ravel(), pairs.predicted.ravel())]
        for number in frequent:
            part = pairs.take(pairs.numbers == number)
            panels.append(Panel(chemical_symbols[number], part.label.ravel(), part.predicted.ravel()))
        components = _figure(overview, declared, frequent)
        by_element = _figure(panels, declared)
        return [
            (f"{declared.name}_components", f"{declared.label}: diagonal and off-diagonal components", components),
            (f"{declared.name}_elements", f"{declared.label}: the most frequent elements{_SHADING}", by_element),
        ]
    figure = _figure(_crystal_panels(pairs), declared)
    return [(declared.name, f"{declared.label}: prediction and reference{_SHADING}", figure)]


def _crystal_panels(pairs: Pairs) -> list[Panel]:
    """What to plot of a tensor of the crystal: invariants where there are any, then components."""
    declared, label, predicted = pairs.property, pairs.label, pairs.predicted
    if not declared.rank:
        return [Panel("crystals", label, predicted)]
    if declared.stored_shape == declared.shape:
        eigenvalues = _eigenvalue_panel("eigenvalues", label, predicted)
        return [eigenvalues, _diagonal_panel(pairs, False), _offdiagonal_panel(pairs, False)]
    panels = []
    if declared.parity > 0:  # a linear map of symmetric tensors, which has eigenvalues
        panels.append(_eigenvalue_panel("eigenvalues (Mandel)", elastic_to_mandel(label), elastic_to_mandel(predicted)))
    components = Panel("components (Voigt)", declared.to_storage(label).ravel(), declared.to_storage(predicted).ravel())
    return [*panels, components]


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


def _spans_decade(values: Sequence[Array]) -> bool:
    """Whether logarithmic axes are possible and useful."""
    lowest, highest = min(v.min() for v in values), max(v.max() for v in values)
    return bool(lowest > 0 and highest / lowest > 10)


def _figure(panels: Sequence[Panel], declared: Property, colored: Sequence[int] = ()) -> Figure:
    """Panels in rows of four at most, sharing the labels of their axes."""
    columns = min(4, len(panels)) if len(panels) != 3 else 3
    rows = -(-len(panels) // columns)
    size = 3.0 if rows > 1 else 3.9
    figure = Figure(figsize=(size * columns, size * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, panel in zip(axes, panels, strict=False):
        _draw(axis, panel, declared.unit, colored)
    for axis in axes[len(panels):]:
        axis.remove()
    unit = f" ({symbol})" if (symbol := unit_symbol(declared.unit)) else ""
    figure.supxlabel(f"reference{unit}", fontsize=10, color=INK)
    figure.supylabel(f"predicted{unit}", fontsize=10, color=INK)
    figure.suptitle(declared.label[0].upper() + declared.label[1:], fontsize=11, color=INK)
    return figure


def _draw(axis: Axes, panel: Panel, unit: str, colored: Sequence[int]) -> None:
    low, high = _limits(panel)
    if panel.logarithmic:
        axis.set_xscale("log")
        axis.set_yscale("log")
    axis.plot([low, high], [low, high], color=INK, linewidth=0.7, zorder=1)
    if panel.elements is not None:
        _scatter_elements(axis, panel, panel.elements, colored)
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


def _scatter_elements(axis: Axes, panel: Panel, elements: NDArray[np.int64], colored: Sequence[int]) -> None:
    """Points by element: the others in gray beneath, above them from the most frequent to the least."""
    alpha = _alpha(len(panel.label))
    groups = [
        (chemical_symbols[number], elements == number, color, 2 + rank / 100)
        for rank, (number, color) in enumerate(zip(colored, _PALETTE, strict=False))
    ]
    groups.append(("others", ~np.isin(elements, colored), _OTHERS, 1.9))
    for name, mask, color, height in groups:
        if mask.any():
            axis.scatter(panel.label[mask], panel.predicted[mask], s=5, color=color, alpha=alpha, linewidths=0,
                         zorder=height, label=name)
    legend = axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0.0, 0.87), handletextpad=0.1,
                         borderpad=0.2, labelspacing=0.25, markerscale=1.6)
    make_opaque(legend)


def _dress(axis: Axes, panel: Panel, unit: str) -> None:
    """Title, MAE, ticks and the histogram of errors in the empty corner."""
    error = panel.predicted - panel.label
    axis.set_title(panel.title, fontsize=9, color=INK, pad=4)
    size = f"MAE {np.abs(error).mean():#.3g} {unit_symbol(unit)}".rstrip()
    axis.text(0.04, 0.96, f"{size}\nn = {len(error):,}", transform=axis.transAxes, fontsize=7.5, va="top", color=INK)
    for ruler in (axis.xaxis, axis.yaxis):
        if panel.logarithmic:
            logarithmic_ticks(ruler)
        else:
            ruler.set_major_locator(MaxNLocator(5))
    axis.tick_params(labelsize=7.5, length=3, width=0.6, color=INK, labelcolor=INK)
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
    inset.axvline(0.0, color=INK, linewidth=0.6)
    inset.set_yticks([])
    inset.set_xticks([-width, 0.0, width], [f"{-width:.2g}", "0", f"{width:.2g}"])
    inset.tick_params(labelsize=5.5, length=2, width=0.5, pad=1, color=INK, labelcolor=INK)
    inset.set_title("error", fontsize=6, pad=1, color=INK)
    inset.patch.set_alpha(0.0)
    for name, spine in inset.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_linewidth(0.5)


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

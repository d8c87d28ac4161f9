"""The infrared spectrum as a figure, built from a Figure object alone: matplotlib's global state is not touched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from voigt.response.phonons.longitudinal_modes import Longitudinal
from voigt.response.phonons.modes import WAVENUMBER
from voigt.response.phonons.spectra import Spectrum

# Okabe and Ito: distinct to color-blind readers and in print.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_INK, _FAINT = "#333333", "#9A9A9A"


def spectrum_figure(title: str, spectrum: Spectrum, names: Sequence[str], relations: Sequence[Longitudinal]) -> Figure:
    """Real and imaginary permittivity and reflectivity against wavenumber, one color for each direction.

    Names and relations are those of its directions. Bars above the reflectivity reach from each transverse to its
    longitudinal frequency.
    """
    figure = Figure(figsize=(7.2, 7.6), layout="constrained")
    upper, middle, lower = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": (1, 1, 1.15)})
    x = spectrum.wavenumbers
    for k in range(len(names)):
        color = _COLORS[k % len(_COLORS)]
        upper.plot(x, spectrum.along[:, k].real, color=color, linewidth=1.3)
        middle.plot(x, spectrum.along[:, k].imag, color=color, linewidth=1.3)
        lower.plot(x, spectrum.reflectivity[:, k], color=color, linewidth=1.3)
        _mark(lower, relations[k], color, k)
    upper.axhline(0, color=_FAINT, linewidth=0.7)
    upper.set_ylabel(r"Re $\varepsilon$")
    middle.set_ylabel(r"Im $\varepsilon$")
    middle.set_ylim(bottom=0)
    lower.set_ylabel("reflectivity")
    lower.set_ylim(0, 1.04 + 0.07 * len(names))
    lower.set_yticks(np.linspace(0, 1, 6))
    lower.set_xlabel(r"wavenumber (cm$^{-1}$)")
    lower.set_xlim(x[0], x[-1])
    for axes in (upper, middle, lower):
        axes.tick_params(labelsize=8.5, color=_INK)
        axes.grid(axis="x", color="#E6E6E6", linewidth=0.6)
        axes.set_axisbelow(True)
    top = upper.secondary_xaxis("top", functions=(lambda w: w / WAVENUMBER, lambda f: f * WAVENUMBER))
    top.set_xlabel("frequency (THz)", fontsize=9)
    top.tick_params(labelsize=8.5)
    handles = [Line2D([], [], color=_COLORS[k % len(_COLORS)], label=name) for k, name in enumerate(names)]
    handles.append(Line2D([], [], color=_FAINT, linewidth=3, alpha=0.6, label="from TO to LO"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


def _mark(axes: Axes, relation: Longitudinal, color: str, row: int) -> None:
    """Bars from each transverse to its longitudinal frequency, above the curves."""
    height = 1.05 + 0.07 * row
    for transverse, longitudinal in zip(relation.transverse, relation.longitudinal, strict=True):
        ends = np.array([transverse, longitudinal]) * WAVENUMBER
        axes.plot(ends, [height, height], color=color, linewidth=3, alpha=0.35, solid_capstyle="butt")
        axes.plot(ends[:1], [height], marker="|", markersize=7, color=color)
        axes.plot(ends[1:], [height], marker="|", markersize=4, color=color)

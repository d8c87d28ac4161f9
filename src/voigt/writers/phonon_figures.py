"""Phonon bands as a figure, built from a Figure object alone: nothing here touches matplotlib's global state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from voigt.response.phonons.modes import WAVENUMBER
from voigt.response.phonons.nac import Segment

_WITH, _WITHOUT, _INK = "#0072B2", "#B0B0B0", "#333333"


def band_figure(title: str, polar: Sequence[Segment], plain: Sequence[Segment] | None = None) -> Figure:
    """Bands along a path, THz on the left and cm^-1 on the right; imaginary frequencies below zero.

    Behind the bands, `plain` are the same without NAC; None if there is nothing to compare.
    """
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for segments, color, width in ((plain or (), _WITHOUT, 1.0), (polar, _WITH, 1.2)):
        for segment in segments:
            axes.plot(segment.distances, segment.frequencies, color=color, linewidth=width, solid_capstyle="round")
    ticks, names = _ticks(polar)
    axes.set_xticks(ticks, names)
    for tick in ticks[1:-1]:
        axes.axvline(tick, color=_INK, linewidth=0.5)
    everything = np.concatenate([s.frequencies.ravel() for s in (*polar, *(plain or ()))])
    # The noise of acoustic modes at Gamma is no reason to show what lies below zero.
    bottom = float(everything.min()) if everything.min() < -0.1 else 0.0
    margin = 0.04 * (float(everything.max()) - bottom)
    axes.set_ylim(bottom - (margin if bottom < 0 else 0.0), float(everything.max()) + margin)
    axes.set_xlim(ticks[0], ticks[-1])
    if bottom < 0:
        axes.axhline(0, color=_INK, linewidth=0.5, linestyle="--")
    axes.set_ylabel("frequency (THz)" if bottom == 0 else "frequency (THz), imaginary below zero")
    axes.set_title(title, fontsize=10)
    axes.tick_params(axis="x", length=0)
    other = axes.secondary_yaxis("right", functions=(lambda f: f * WAVENUMBER, lambda w: w / WAVENUMBER))
    other.set_ylabel("wavenumber (cm$^{-1}$)")
    if plain is not None:
        handles = [Line2D([], [], color=_WITH, label="with NAC"), Line2D([], [], color=_WITHOUT, label="without")]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _ticks(segments: Sequence[Segment]) -> tuple[list[float], list[str]]:
    """Positions and names of special points; where the path jumps both names stand together."""
    ticks, names = [float(segments[0].distances[0])], [_name(segments[0].labels[0])]
    for before, segment in zip((None, *segments[:-1]), segments, strict=True):
        if before is not None and before.labels[1] != segment.labels[0]:
            names[-1] += f"|{_name(segment.labels[0])}"
        ticks.append(float(segment.distances[-1]))
        names.append(_name(segment.labels[1]))
    return ticks, names


def _name(label: str) -> str:
    letter, digits = label[0], label[1:]
    letter = r"\Gamma" if letter == "G" else rf"\mathrm{{{letter}}}"
    return f"${letter}_{{{digits}}}$" if digits else f"${letter}$"

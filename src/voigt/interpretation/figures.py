"""Figures of one explained crystal: who forms which capsule, and which atom brings what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from voigt.interpretation.crystals import NONE, CrystalExplanation
from voigt.tensors.properties import PROPERTIES
from voigt.writers.figures import INK, style_axes, style_bar

Array = NDArray[np.float64]

MOST_ROWS = 60  # crystals with more atoms are drawn with one row for each orbit: rows of equivalent atoms are identical

_MAP = "viridis"
_BAR, _SECOND = "#3B6FA5", "#7FA650"
_LIGHT = "#FFFFFF"
_ANNOTATED = 16  # rows up to which numbers fit into the cells
_LABEL = 0.12  # inches that a label needs
_TALLEST = 13.0  # inches


@dataclass(frozen=True)
class Rows:
    """Rows of a heat map."""

    atoms: tuple[int, ...]  # (n_rows,) atom whose row of a matrix is drawn
    labels: tuple[str, ...]  # one for each row
    breaks: tuple[int, ...]  # rows before which another orbit begins


def crystal_figures(crystal: CrystalExplanation) -> list[tuple[str, Figure]]:
    """Figures of one crystal: (file stem, figure)."""
    return [
        ("assignment", assignment_figure(crystal)),
        ("posterior", posterior_figure(crystal)),
        ("presence", presence_figure(crystal)),
        ("channel_attention", attention_figure(crystal)),
        *([("shares", shares_figure(crystal))] if crystal.additive else []),
    ]


def grouped_rows(crystal: CrystalExplanation) -> Rows:
    """Atoms orbit by orbit, "O3 (2c)", counted from 1 for each element; whole orbits beyond `MOST_ROWS` atoms."""
    sizes = [len(orbit.atoms) for orbit in crystal.orbits]
    if len(crystal.atoms) > MOST_ROWS:
        times = [f" ×{size}" if size > 1 else "" for size in sizes]
        labels = [f"{orbit.label}{text}" for orbit, text in zip(crystal.orbits, times, strict=True)]
        return Rows(tuple(crystal.representatives), tuple(labels), ())
    symbols = crystal.atoms.get_chemical_symbols()
    names = [f"{symbol}{symbols[:k].count(symbol) + 1}" for k, symbol in enumerate(symbols)]
    atoms = [atom for orbit in crystal.orbits for atom in orbit.atoms]
    labels = [f"{names[atom]} ({orbit.site})" for orbit in crystal.orbits for atom in orbit.atoms]
    return Rows(tuple(atoms), tuple(labels), tuple(np.cumsum(sizes)[:-1].tolist()))


def assignment_figure(crystal: CrystalExplanation) -> Figure:
    """Share of each atom in the forming of each part capsule, below the presence of the capsules."""
    rows, matrices = grouped_rows(crystal), crystal.matrices
    values = 100 * matrices.assignment[list(rows.atoms)]
    height = _height(len(rows.atoms))
    figure = Figure(figsize=(9.0, height + 2.1), layout="constrained")
    above, axis = figure.subplots(2, 1, sharex=True, height_ratios=[0.8, height])
    above.bar(range(len(matrices.presence)), matrices.presence, color=_BAR, width=0.8)
    above.set_ylabel("presence", fontsize=8, color=INK)
    above.yaxis.set_major_locator(MaxNLocator(2))
    style_axes(above)
    image = _heat(axis, values, rows, height, numbers="{:.0f}")
    _ticks(axis, values.shape[1])
    axis.set_xlabel("part capsule", fontsize=9, color=INK)
    _color_bar(figure, image, axis, "share of the atom, %", height)
    _title(figure, crystal, "Which atoms form which part capsule")
    return figure


def posterior_figure(crystal: CrystalExplanation) -> Figure:
    """Probability that a part capsule belongs to each object capsule, or to none."""
    values = crystal.matrices.posterior
    parts, objects = values.shape[0], values.shape[1] - 1
    height = _height(parts)
    figure = Figure(figsize=(0.55 * objects + 2.6, height + 1.2), layout="constrained")
    axis = figure.subplots()
    rows = Rows(tuple(range(parts)), tuple(map(str, range(parts))), ())
    image = _heat(axis, values, rows, height, 1.0, "{:.2f}")
    axis.set_xticks(range(objects + 1), [*map(str, range(objects)), NONE])
    axis.axvline(objects - 0.5, color=_LIGHT, linewidth=2.0)
    axis.set_xlabel("object capsule", fontsize=9, color=INK)
    axis.set_ylabel("part capsule", fontsize=9, color=INK)
    _color_bar(figure, image, axis, "posterior probability", height)
    _title(figure, crystal, "Which object explains which part")
    return figure


def presence_figure(crystal: CrystalExplanation) -> Figure:
    """Presence of part capsules and of object capsules."""
    matrices = crystal.matrices
    counts = len(matrices.presence), len(matrices.object_presence)
    figure = Figure(figsize=(9.0, 2.8), layout="constrained")
    parts, objects = figure.subplots(1, 2, width_ratios=counts)
    parts.bar(range(counts[0]), matrices.presence, color=_BAR)
    even = 1 / counts[0]
    parts.axhline(even, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label=f"all alike, 1/{counts[0]}")
    parts.set_ylim(0, 1.25 * max(float(matrices.presence.max()), even))
    parts.legend(fontsize=7.5, frameon=False, loc="upper right")
    objects.bar(range(counts[1]), matrices.object_presence, color=_SECOND)
    objects.set_ylim(0, 1)
    for axis, count, kind in ((parts, counts[0], "part"), (objects, counts[1], "object")):
        _ticks(axis, count)
        axis.set_xlim(-0.7, count - 0.3)
        axis.set_xlabel(f"{kind} capsule", fontsize=9, color=INK)
        style_axes(axis)
    parts.set_ylabel("presence", fontsize=9, color=INK)
    _title(figure, crystal, "Presence of capsules")
    return figure


def attention_figure(crystal: CrystalExplanation) -> Figure:
    """Attention over channels in the update of the atoms, loop by loop, one row for each orbit."""
    loops = crystal.matrices.channel_attention
    rows = Rows(tuple(crystal.representatives), tuple(orbit.label for orbit in crystal.orbits), ())
    # In units of what each channel would get if all were alike.
    values = [loop[list(rows.atoms)] * loop.shape[1] for loop in loops]
    largest = max(float(value.max()) for value in values)
    height = min(0.16 * len(rows.atoms) + 0.25, _TALLEST / len(loops))
    figure = Figure(figsize=(9.0, len(loops) * (height + 0.35) + 1.1), layout="constrained")
    axes = figure.subplots(len(loops), 1, sharex=True, squeeze=False).ravel().tolist()
    for k, (axis, value) in enumerate(zip(axes, values, strict=True), start=1):
        image = _heat(axis, value, rows, height, largest)
        axis.set_title(f"loop {k}", fontsize=8.5, color=INK, loc="left", pad=3)
    axes[-1].set_xlabel("channel", fontsize=9, color=INK)
    axes[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True))
    _color_bar(figure, image, axes, "attention × channels", len(loops) * height)
    _title(figure, crystal, "Channel attention of the atoms (1: all channels alike)")
    return figure


def shares_figure(crystal: CrystalExplanation) -> Figure:
    """What each atom brings to the properties that are sums over atoms."""
    rows, names = grouped_rows(crystal), crystal.additive
    width = min(max(4.6, 0.32 * len(rows.atoms) + 1.2), _TALLEST)
    figure = Figure(figsize=(width, 2.5 * len(names) + 0.9), layout="constrained")
    places = np.arange(len(rows.atoms)) + 0.4 * np.searchsorted(rows.breaks, np.arange(len(rows.atoms)), "right")
    axes = figure.subplots(len(names), 1, sharex=True, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=True):
        values = crystal.matrices.shares[name][list(rows.atoms)]
        axis.bar(places, values, color=np.where(values < 0, _BAR, "#C4622D").tolist(), width=0.8)
        axis.axhline(0, color=INK, linewidth=0.8)
        axis.margins(x=0.02, y=0.12)
        declared = PROPERTIES[name]
        axis.set_ylabel(f"share of one atom ({declared.unit})", fontsize=8, color=INK)
        total = crystal.matrices.additive[name]
        axis.set_title(f"{declared.label}: sum {total:.3f} {declared.unit}", fontsize=8.5, color=INK, loc="left")
        style_axes(axis, ("left",))
        axis.tick_params(axis="x", length=0)
    step = _step(len(places), width - 1.0)
    axes[-1].set_xticks(places[::step], rows.labels[::step], rotation=90 if len(places) > 6 else 0, fontsize=7.5)
    _title(figure, crystal, "What each atom brings")
    return figure


def _heat(
    axis: Axes, values: Array, rows: Rows, height: float, largest: float | None = None, numbers: str = ""
) -> AxesImage:
    """Matrix from zero to `largest`, lines between orbits; labels and numbers in the cells as far as they fit."""
    top = float(values.max()) if largest is None else largest
    image = axis.imshow(values, cmap=_MAP, vmin=0, vmax=top or 1.0, aspect="auto", interpolation="nearest")
    count = len(rows.labels)
    shown = range(0, count, _step(count, height))
    axis.set_yticks(shown, [rows.labels[k] for k in shown])
    for place in rows.breaks:
        axis.axhline(place - 0.5, color=_LIGHT, linewidth=2.0 if count <= 30 else 0.6)
    if numbers and count <= _ANNOTATED:
        for (row, column), value in np.ndenumerate(values):
            color = _LIGHT if value < 0.6 * top else "#000000"
            axis.text(column, row, numbers.format(value), ha="center", va="center", fontsize=6.5, color=color)
    style_axes(axis, ())
    axis.tick_params(length=0)
    axis.tick_params(axis="y", labelsize=7.5 if count <= 20 else 6)
    return image


def _height(rows: int) -> float:
    """Inches for so many rows."""
    return float(np.clip((0.26 if rows <= _ANNOTATED else 0.14) * rows, 1.2, _TALLEST))


def _step(labels: int, room: float) -> int:
    """Every how many of the labels are shown in so many inches."""
    return -(-labels // max(int(room / _LABEL), 1))


def _ticks(axis: Axes, count: int) -> None:
    axis.set_xticks(range(count))
    axis.tick_params(axis="x", labelsize=7.5, labelcolor=INK)


def _color_bar(figure: Figure, image: AxesImage, axes: Axes | list[Axes], label: str, height: float) -> None:
    """A bar as high as the axes (inches) and always as wide."""
    style_bar(figure.colorbar(image, ax=axes, fraction=0.04, pad=0.01, aspect=7 * height), label, 8)


def _title(figure: Figure, crystal: CrystalExplanation, text: str) -> None:
    symmetry = crystal.symmetry
    figure.suptitle(f"{text}: {crystal.id}, {symmetry.international} ({symmetry.number})", fontsize=10, color=INK)

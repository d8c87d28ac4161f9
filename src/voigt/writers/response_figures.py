"""How stiffness and piezoelectricity depend on the direction, built from a Figure object alone."""

from __future__ import annotations

from typing import cast

import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.response.arrays import direction_name
from voigt.response.elasticity import youngs_modulus
from voigt.response.piezoelectricity import largest_longitudinal, longitudinal
from voigt.writers.figures import INK, style_bar

_STIFF = "#009E73"  # of Okabe and Ito: distinct to color-blind readers and in print
_PLANES = (("x", "y"), ("y", "z"), ("z", "x"))
_ANGLES = np.linspace(0, 2 * np.pi, 361)
_LEVELS = np.array([-0.75, -0.5, -0.25, 0.25, 0.5, 0.75])
"""Of the extreme, where lines are drawn: not at zero, which may be a whole plane."""
_ABSENT = 1e-6
"""Of the largest longitudinal response to the norm of the tensor, below which there is none."""


def direction_figure(elastic: NDArray[np.float64] | None, strain: NDArray[np.float64] | None) -> Figure:
    """Young's modulus in three planes, and the longitudinal piezoelectric coefficient over a hemisphere.

    Parameters
    ----------
    elastic
        (3, 3, 3, 3) GPa, positive definite; None: leave it out.
    strain
        (3, 3, 3) piezoelectric d in pm/V; None: leave it out.

    Raises
    ------
    InputError
        There is nothing to draw, see `has_directions`.
    """
    if not has_directions(elastic, strain):
        raise InputError("neither stiffness nor piezoelectricity to draw")
    heights = [2.5] * (elastic is not None) + [3.9] * _is_longitudinal(strain)
    figure = Figure(figsize=(7.2, sum(heights) + 0.2), layout="constrained")
    parts = iter(figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights).ravel())
    if elastic is not None:
        part = next(parts)
        for place, plane in enumerate(_PLANES, start=1):
            axis = _polar(part, (1, len(_PLANES), place))
            _draw_plane(axis, plane, youngs_modulus(elastic, _circle(*plane)))
            if place == 1:
                axis.set_ylabel("Young's modulus (GPa)", fontsize=9, color=INK, labelpad=26)
    if strain is not None and _is_longitudinal(strain):
        part = next(parts)
        _draw_hemisphere(part, _polar(part, (1, 1, 1)), strain)
    return figure


def has_directions(elastic: NDArray[np.float64] | None, strain: NDArray[np.float64] | None) -> bool:
    """Whether `direction_figure` has anything to draw."""
    return elastic is not None or _is_longitudinal(strain)


def _is_longitudinal(strain: NDArray[np.float64] | None) -> bool:
    if strain is None:
        return False
    size = float(np.linalg.norm(strain))
    return size > _ABSENT and float(largest_longitudinal(strain).value) > _ABSENT * size


def _polar(figure: SubFigure, place: tuple[int, int, int]) -> PolarAxes:
    return cast(PolarAxes, figure.add_subplot(*place, projection="polar"))


def _circle(first: str, second: str) -> NDArray[np.float64]:
    """(n, 3) unit vectors from one Cartesian axis through another."""
    axes = np.eye(3)[["xyz".index(first), "xyz".index(second)]]
    return np.asarray(np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1) @ axes)


def _draw_plane(axis: PolarAxes, plane: tuple[str, str], curve: NDArray[np.float64]) -> None:
    """The distance of the curve from the center is the size."""
    axis.plot(_ANGLES, curve, color=_STIFF, linewidth=1.4)
    axis.fill(_ANGLES, curve, color=_STIFF, alpha=0.15, linewidth=0)
    axis.set_ylim(0, 1.08 * float(curve.max()))
    axis.yaxis.set_major_locator(MaxNLocator(3))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.tick_params(axis="y", labelsize=7)
    axis.set_rlabel_position(35)
    _name_axes(axis, *plane)


def _draw_hemisphere(figure: SubFigure, axis: PolarAxes, strain: NDArray[np.float64]) -> None:
    """All directions with z >= 0 in Lambert's equal-area projection; opposite ones have the other sign."""
    radius = np.linspace(0, 1, 61)
    polar, azimuth = np.meshgrid(2 * np.arcsin(radius / np.sqrt(2)), _ANGLES, indexing="ij")
    n = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1)
    values, largest = longitudinal(strain, n), largest_longitudinal(strain)
    top = float(largest.value)
    map_ = axis.pcolormesh(_ANGLES, radius, values, cmap="RdBu_r", vmin=-top, vmax=top, shading="gouraud")
    axis.contour(_ANGLES, radius, values, levels=_LEVELS * top, colors=INK, linewidths=0.4)
    sign = -1.0 if largest.direction[2] < -1e-9 else 1.0
    x, y, z = sign * largest.direction
    place = [np.arctan2(y, x)], [np.sqrt(max(1 - z, 0.0))]
    axis.plot(*place, "P", markersize=8, markerfacecolor="white", markeredgecolor=INK, clip_on=False, zorder=5)
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    _name_axes(axis, "x", "y")
    name = direction_name(sign * largest.direction)
    axis.set_title(f"z in the center; +: extreme {sign * top:.3g} pm/V along {name}", fontsize=8, color=INK, pad=8)
    bar = figure.colorbar(map_, ax=axis, location="bottom", shrink=0.45, aspect=28, pad=0.04)
    style_bar(bar, "longitudinal d (pm/V)", size=9)


def _name_axes(axis: PolarAxes, first: str, second: str) -> None:
    axis.set_xticks(np.arange(4) * np.pi / 2, [f"+{first}", f"+{second}", f"−{first}", f"−{second}"])
    axis.tick_params(axis="x", labelsize=8, colors=INK, pad=1)
    axis.grid(color="#D9D9D9", linewidth=0.6)
    axis.spines["polar"].set_color("#9A9A9A")
    axis.spines["polar"].set_linewidth(0.6)

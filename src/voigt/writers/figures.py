"""What figures share: style and files. They are built from Figure objects alone: matplotlib has no state to touch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import FuncFormatter, LogLocator

from voigt.errors import InputError
from voigt.files import atomic_write

INK = "#333333"
_DPI = 160


def check_format(path: Path) -> None:
    """Raise InputError, before any work is done, where matplotlib draws no format of this suffix."""
    known = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix and path.suffix[1:].lower() not in known:
        raise InputError(f"{path}: a figure has one of the endings {', '.join(sorted(known))}, e.g. .png")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all; its format is that of the suffix, PNG without one.

    Raises OutputError: the file cannot be written.
    """
    kind = Path(path).suffix[1:].lower() or "png"
    FigureCanvasAgg(figure)
    with atomic_write(path, "wb") as stream:
        figure.savefig(stream, format=kind, dpi=_DPI)


def style_axes(axis: Axes, sides: Sequence[str] = ("left", "bottom"), size: float = 7.5) -> None:
    """Thin spines on some sides, and ticks whose labels have a size in points."""
    for name, spine in axis.spines.items():
        spine.set_visible(name in sides)
        spine.set_linewidth(0.6)
        spine.set_color(INK)
    axis.tick_params(which="both", labelsize=size, width=0.6, length=3, color=INK, labelcolor=INK)


def style_bar(bar: Colorbar, label: str, size: float = 8.5) -> None:
    """Label of a size in points, ticks one point smaller, no outline."""
    bar.set_label(label, fontsize=size, color=INK)
    bar.ax.tick_params(which="both", labelsize=size - 1, width=0.6, length=2.5, color=INK, labelcolor=INK)
    bar.outline.set_visible(False)


def logarithmic_ticks(ruler: Axis, major: Sequence[float] = (1.0, 2.0, 5.0), minor: Sequence[float] = ()) -> None:
    """Ticks at these multiples of powers of ten; those of `major` carry plain numbers."""
    ruler.set_major_locator(LogLocator(subs=major))
    ruler.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ruler.set_minor_locator(LogLocator(subs=minor))
    ruler.set_minor_formatter(FuncFormatter(lambda *_: ""))


def make_opaque(legend: Legend) -> None:
    """Show the markers of transparent points in full color."""
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)

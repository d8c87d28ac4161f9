"""Maps of many crystals: their embeddings in the plane, by t-SNE."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from voigt.errors import DomainError
from voigt.interpretation.measures import standardized
from voigt.interpretation.sets import Collection, sample
from voigt.models.sen.heads import SYSTEMS
from voigt.tensors.properties import PROPERTIES
from voigt.writers.figures import INK, style_bar

Array = NDArray[np.float64]

FEWEST = 8  # a map of fewer crystals says nothing

MOST = 5000  # beyond, a map shows so many, drawn at random

NAMED = 60  # points of a map of at most so many crystals carry their ids

SEED = 42

# Okabe and Ito: distinct to color-blind readers; shapes keep systems apart in gray as well.
_COLORS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00")
_SHAPES = ("X", "v", "s", "^", "P", "D", "o")


def check_maps() -> None:
    """Raise DomainError if scikit-learn is absent."""
    if find_spec("sklearn") is None:
        raise DomainError("maps of several crystals need scikit-learn; install it with pip install 'voigt[explain]'")


def tsne(embeddings: Array) -> Array:
    """(n, width) vectors -> (n, 2) by t-SNE of the standardized vectors, always the same for the same input.

    Raises DomainError: scikit-learn is not installed.
    """
    check_maps()
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(embeddings) - 1) / 3)
    rows = standardized(embeddings)
    if rows.shape[1] < 2:  # nothing to start from that has two directions
        rows = np.pad(rows, ((0, 0), (0, 2 - rows.shape[1])))
    place = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=SEED).fit_transform(rows)
    return np.asarray(place, dtype=np.float64)


def set_figures(collection: Collection) -> list[tuple[str, Figure]]:
    """Maps of a set, (file stem, figure): by crystal system and by the value of every property; none for a few."""
    if len(collection.ids) < FEWEST:
        return []
    chosen = sample(len(collection.ids), MOST)
    place = tsne(collection.embeddings[chosen])
    systems = [collection.systems[k] for k in chosen]
    figures = [("map_crystal_system", system_map(place, systems))]
    for name, values in collection.values.items():
        figures.append((f"map_{name}", value_map(place, np.array(values)[chosen], name)))
    if len(chosen) <= NAMED:
        for _, figure in figures:
            for point, k in zip(place, chosen, strict=True):
                figure.axes[0].annotate(collection.ids[k], point, (0, 5), textcoords="offset points", ha="center",
                                        fontsize=5.5, color=INK)
    return figures


def system_map(place: Array, systems: list[str]) -> Figure:
    """Points (n, 2) colored by crystal system."""
    figure, axis = _plane(place, "crystal system", 1.6)
    labels = np.array(systems)
    # Frequent systems first: the rare ones lie on top.
    ranked = sorted((name for name in SYSTEMS if name in systems), key=lambda name: -systems.count(name))
    handles = {}
    for height, name in enumerate(ranked):
        mask, kind = labels == name, SYSTEMS.index(name)
        x, y = place[mask].T
        handles[name] = axis.scatter(x, y, s=_size(len(place)), c=_COLORS[kind], marker=_SHAPES[kind],
                                     edgecolors=INK, linewidths=0.25, alpha=0.85, zorder=2 + height)
    shown = [name for name in SYSTEMS if name in handles]
    axis.legend([handles[name] for name in shown], [f"{name} ({systems.count(name)})" for name in shown], fontsize=8,
                frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=max(1.0, 6 / _size(len(place))))
    return figure


def value_map(place: Array, values: Array, name: str) -> Figure:
    """Points (n, 2) colored by the predicted value of a property."""
    declared = PROPERTIES[name]
    figure, axis = _plane(place, f"predicted {declared.label}", 0.9)
    low, high = np.quantile(values, [0.01, 0.99])
    points = axis.scatter(place[:, 0], place[:, 1], s=_size(len(place)), c=values, cmap="viridis", vmin=low, vmax=high,
                          edgecolors=INK, linewidths=0.2, alpha=0.9)
    bar = figure.colorbar(points, ax=axis, fraction=0.045, pad=0.02, extend="both" if len(values) > 100 else "neither")
    style_bar(bar, f"{declared.label} ({declared.unit})")
    return figure


def _plane(place: Array, what: str, beside: float) -> tuple[Figure, Axes]:
    """Axes without ticks (distances in a t-SNE map have no unit), and room beside them in inches."""
    wide, high = np.maximum(np.ptp(place, axis=0), 1e-9)
    figure = Figure(figsize=(5.2 + beside, 5.2 * float(np.clip(high / wide, 0.6, 1.3)) + 0.3), layout="constrained")
    axis = figure.subplots()
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_aspect("equal", adjustable="datalim")
    for spine in axis.spines.values():
        spine.set(linewidth=0.6, color="#AAAAAA")
    axis.set_title(f"t-SNE of the embeddings of {len(place)} crystals, by {what}", fontsize=9.5, color=INK)
    return figure, axis


def _size(points: int) -> float:
    """Area of a marker that keeps dense maps readable."""
    return float(np.clip(12_000 / max(points, 1), 5, 45))

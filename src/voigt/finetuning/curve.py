"""The learning curve of a fine-tuning: validation error of every member over time, as CSV and figure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voigt.errors import OutputError
from voigt.files import atomic_write
from voigt.reasons import plain_reason
from voigt.tensors.properties import PROPERTIES
from voigt.writers.markdown import unit_symbol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


@dataclass(frozen=True)
class Point:
    """One validation of one member.

    Attributes
    ----------
    member
        From 0.
    step, passes
        Steps and passes over the training frames so far.
    seconds
        Time of this member so far.
    train_loss
        Mean loss of the steps since the validation before.
    errors
        Property -> mean absolute error on the validation frames, in its unit.
    """

    member: int
    step: int
    passes: float
    seconds: float
    train_loss: float
    errors: dict[str, float]


def read_points(folders: Sequence[Path]) -> list[Point]:
    """Validations of all members, from the tables that training leaves in their folders.

    Raises
    ------
    OutputError
        A table is missing or damaged.
    """
    points = []
    for member, folder in enumerate(folders):
        file = folder / "metrics.csv"
        try:
            with file.open(encoding="utf-8", newline="") as stream:
                for row in csv.DictReader(stream):
                    errors = {
                        name: float(row[f"val/{name}_mae"]) for name in PROPERTIES if row.get(f"val/{name}_mae")
                    }
                    place = int(row["step"]), float(row["epoch"]), float(row["seconds"]), float(row["train/loss"])
                    points.append(Point(member, *place, errors))
        except (OSError, KeyError, ValueError, csv.Error) as error:
            reason = plain_reason(error)
            raise OutputError(f"{file} cannot be read ({reason}); fine-tune again in another folder") from error
    return points


def write_curve(points: Sequence[Point], path: str | Path) -> None:
    """CSV with one validation a row, atomically."""
    names = list(dict.fromkeys(name for point in points for name in point.errors))
    with atomic_write(path) as stream:
        writer = csv.writer(stream)
        writer.writerow(["member", "step", "passes", "seconds", "train_loss", *(f"val_mae_{name}" for name in names)])
        for p in points:
            errors = [p.errors.get(name, "") for name in names]
            writer.writerow([p.member, p.step, round(p.passes, 3), p.seconds, p.train_loss, *errors])


def curve_figure(points: Sequence[Point]) -> Figure:
    """A panel for each property: validation error over passes, a line for each member."""
    from matplotlib.figure import Figure

    from voigt.writers.figures import style_axes

    names = list(dict.fromkeys(name for point in points for name in point.errors))
    figure = Figure(figsize=(3.4 * max(len(names), 1), 2.7), layout="constrained")
    for k, name in enumerate(names):
        axis = figure.add_subplot(1, len(names), k + 1)
        style_axes(axis)
        for member in sorted({point.member for point in points}):
            own = [point for point in points if point.member == member and name in point.errors]
            color = _PALETTE[member % len(_PALETTE)]
            axis.plot([p.passes for p in own], [p.errors[name] for p in own], color=color, label=f"member {member}")
        unit = unit_symbol(PROPERTIES[name].unit)
        axis.set_title(name, loc="left", fontsize=9)
        axis.set_xlabel("passes over the training frames", fontsize=8.5)
        axis.set_ylabel("validation MAE" + (f" ({unit})" if unit else ""), fontsize=8.5)
        axis.set_ylim(bottom=0)
        if k == 0:
            axis.legend(frameon=False, fontsize=7)
    return figure

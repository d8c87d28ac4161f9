"""Evaluations for reading: Markdown tables, JSON, and a folder with both and the parity plots."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from voigt.evaluation.bootstrap import Calibration, Estimate
from voigt.evaluation.evaluation import NOT_GIVEN, Evaluation, Group, PropertyEvaluation, Score
from voigt.evaluation.figures import parity_figures
from voigt.evaluation.metrics import RMSPE_SMALLEST_LABEL
from voigt.evaluation.scored import Scored
from voigt.files import atomic_write, make_folder
from voigt.tensors.properties import get_property
from voigt.writers.figures import save_figure
from voigt.writers.markdown import counted, number, table

_DEFINED = ("rmspe_diagonal", "mae_antisymmetric", "frobenius", "ewt25", "frobenius_matrix")
_DRIFT_TITLES = {"raw": "predictions before correction", "predicted": "predictions as delivered", "label": "labels"}


def markdown(
    evaluation: Evaluation,
    title: str,
    command: str,
    notes: Sequence[str] = (),
    figures: Mapping[str, Sequence[tuple[str, str]]] | None = None,
) -> str:
    """The evaluation as a Markdown page.

    Parameters
    ----------
    evaluation
        What `evaluate_scored` returned.
    title
        First heading.
    command
        The command line that made it, quoted; "" leaves it out.
    notes
        Sentences about data, model and baseline, as a list under the head.
    figures
        Property -> (file name relative to the page, caption).
    """
    functionals = ", ".join(f"{name} ({count:,})" for name, count in evaluation.functionals.items())
    head = [
        f"# {title}",
        *([f"```\n{command}\n```"] if command else []),
        f"{counted(evaluation.crystals, 'crystal')}, {counted(evaluation.atoms, 'atom')}; functional: {functionals}.\n"
        f"Intervals: {100 * evaluation.level:g} % percentile bootstrap over crystals, {evaluation.resamples:,} "
        f"resamples, seed {evaluation.seed}; none where fewer than five crystals contribute.",
        *(["\n".join(f"- {note}" for note in notes)] if notes else []),
    ]
    plots = figures or {}
    sections = [_section(entry, plots.get(entry.name, ())) for entry in evaluation.properties.values()]
    return "\n\n".join([*head, *chain.from_iterable(sections), _definitions(evaluation)]) + "\n"


def write_report(
    evaluation: Evaluation,
    scored: Sequence[Scored],
    folder: str | Path,
    title: str = "Evaluation",
    command: str = "",
    notes: Sequence[str] = (),
) -> None:
    """Write report.md, metrics.json and the parity plots (PNG) into a folder, each file whole or not at all.

    Other parameters as those of `markdown`. Raises OutputError where the folder cannot be made or written.
    """
    folder = make_folder(folder)
    figures = {name: write_parity(scored, name, folder) for name in evaluation.properties}
    write_pages(folder, evaluation.to_dict(), markdown(evaluation, title, command, notes, figures))


def write_parity(scored: Sequence[Scored], name: str, folder: Path) -> list[tuple[str, str]]:
    """Write the parity plots (PNG) of a property; returns their file names and captions."""
    written = []
    for stem, caption, figure in parity_figures(scored, get_property(name)):
        save_figure(figure, folder / f"{stem}.png")
        written.append((f"{stem}.png", caption))
    return written


def write_pages(folder: Path, metrics: Mapping[str, Any], page: str) -> None:
    """Write metrics.json and report.md: the page last, so that it never points at figures that are not there."""
    with atomic_write(folder / "metrics.json") as stream:
        json.dump(metrics, stream, indent=1, allow_nan=False)
        stream.write("\n")
    with atomic_write(folder / "report.md") as stream:
        stream.write(page)


def interval(estimate: Estimate) -> str:
    """Both ends, or a dash where there is no interval.

    Examples
    --------
    >>> interval(Estimate(1.0, 0.5, 1.5))
    '0.5000 to 1.500'
    """
    return "–" if math.isnan(estimate.low) else f"{number(estimate.low)} to {number(estimate.high)}"


def _section(entry: PropertyEvaluation, figures: Sequence[tuple[str, str]]) -> list[str]:
    """One property: heading, counts, tables, figures."""
    unit = "" if entry.unit == "1" else f", {entry.unit}"
    blocks = [f"## {entry.label[0].upper()}{entry.label[1:]} (`{entry.name}`{unit})", _counts(entry)]
    header = ["metric", "unit", "model", "interval"]
    header += ["baseline", "interval"] if any(s.baseline is not None for s in entry.scores.values()) else []
    blocks.append(table(header, [_cells(score) for score in entry.scores.values()]))
    if len(entry.functionals) > 1:
        blocks += ["### By functional", _group_table("functional", entry.functionals, entry.per)]
    if set(entry.crystal_systems) != {NOT_GIVEN}:
        blocks += ["### By crystal system", _group_table("crystal system", entry.crystal_systems, entry.per)]
    if entry.elements:
        blocks += ["### By element", _group_table("element", entry.elements, entry.per)]
    if entry.drift or entry.corrections:
        blocks += ["### Before and after corrections", *_correction_tables(entry)]
    if entry.calibration is not None:
        blocks += ["### Spread of the ensemble", *_calibration(entry.calibration, entry)]
    worst = [[f"`{identifier}`", number(error)] for identifier, error in entry.worst]
    blocks += ["### Largest errors", table(["crystal", _title("mean Frobenius norm of the error", entry.unit)], worst)]
    return blocks + [f"![{caption}]({path})" for path, caption in figures]


def _counts(entry: PropertyEvaluation) -> str:
    """What was scored and what was left out."""
    sentences = [counted(entry.crystals, "crystal")]
    if entry.per == "atom":
        sentences[0] += f", {counted(entry.items, 'atom')}"
    if entry.unpredicted:
        missing = counted(entry.unpredicted, "crystal")
        sentences.append(f"**{missing} without a finite prediction left out of all figures**")
    if entry.zero_labels:
        sentences.append(f"{counted(entry.zero_labels, 'label')} equal zero (a zero prediction is within every EwT)")
    if entry.left_out_of_rmspe:
        sentences.append(
            f"RMSPE leaves out {entry.left_out_of_rmspe:.1f} % of the diagonal components, those with a label below "
            f"{RMSPE_SMALLEST_LABEL:g} in size"
        )
    return ". ".join(sentences) + "."


def _cells(score: Score) -> list[str]:
    unit = "" if score.unit == "1" else score.unit
    cells = [score.title, unit, f"**{number(score.model.value)}**", interval(score.model)]
    return cells + ([] if score.baseline is None else estimate_cells(score.baseline))


def _group_table(kind: str, groups: Mapping[str, Group], per: str) -> str:
    """A line per group; a column per metric, with the MAE's interval and the baseline beside each value."""
    first = next(iter(groups.values()))
    header = [kind, "crystals", *(["atoms"] if per == "atom" else [])]
    for key, score in first.scores.items():
        header += [_title(score.title, score.unit), *(["interval"] if key == "mae" else [])]
        header += ["baseline"] if score.baseline is not None else []
    rows = []
    for name, group in groups.items():
        row = [name, f"{group.crystals:,}", *([f"{group.items:,}"] if per == "atom" else [])]
        for key, score in group.scores.items():
            row += [number(score.model.value), *([interval(score.model)] if key == "mae" else [])]
            row += [number(score.baseline.value)] if score.baseline is not None else []
        rows.append(row)
    return table(header, rows)


def _correction_tables(entry: PropertyEvaluation) -> list[str]:
    """Accuracy before sum rule and symmetry, and the violation of the sum rule."""
    tables = []
    if entry.corrections:
        rows = [
            [_title(correction.title, correction.unit), *estimate_cells(correction.before, correction.after)]
            for correction in entry.corrections.values()
        ]
        tables.append(table(["metric", "before", "interval", "as delivered", "interval"], rows))
    if entry.drift:
        rows = [
            [_DRIFT_TITLES[source], *estimate_cells(drift.per_cell, drift.per_atom)]
            for source, drift in entry.drift.items()
        ]
        header = ["charge drift", f"per cell ({entry.unit})", "interval", f"per atom ({entry.unit})", "interval"]
        tables.append(table(header, rows))
    return tables


def estimate_cells(*estimates: Estimate) -> list[str]:
    """Value and interval of each, side by side."""
    return [cell for estimate in estimates for cell in (number(estimate.value), interval(estimate))]


def _calibration(calibration: Calibration, entry: PropertyEvaluation) -> list[str]:
    quarters = ("lowest", "second", "third", "highest")
    columns = zip(quarters, calibration.quartile_spread, calibration.quartile_error, strict=True)
    rows = [[name, number(spread), number(error)] for name, spread, error in columns]
    header = ["quarter by spread", _title("mean spread", entry.unit), _title("mean error", entry.unit)]
    sentence = (
        f"Spearman correlation of spread with error (Frobenius norm per {entry.per}): {number(calibration.spearman)}, "
        f"over {counted(calibration.items, entry.per)}."
    )
    return [sentence, table(header, rows)]


def _definitions(evaluation: Evaluation) -> str:
    """What the metrics in these tables mean."""
    lines = [
        "MAE, RMSE: over all Cartesian components of all items (atoms for Born charges, crystals otherwise).",
        f"RMSPE: root mean square of (prediction - label) / label over xx, yy, zz with |label| >= "
        f"{RMSPE_SMALLEST_LABEL:g}.",
        "Antisymmetric part: components yz, zx, xy of (T - transposed T) / 2.",
        "Mean Frobenius norm: mean over items of the norm of prediction - label.",
        "EwT x %: share of items whose norm of the error is below x % of the norm of the label.",
        "Voigt matrix: norms of the 3x6 or 6x6 matrix, as in the literature; they depend on the axes.",
        "Charge drift: mean over cells of |component| of the sum of the atoms' charges; per atom: divided by the "
        "number of atoms.",
        "Baseline: mean isotropic charge of each element, isotropic mean permittivity, zero piezoelectric tensor, mean "
        "elastic tensor or mean value, over training crystals of the same functional.",
    ]
    keys = {key for entry in evaluation.properties.values() for key in entry.scores}
    needed = [True, *(key in keys for key in _DEFINED)]
    needed.append(any(entry.drift for entry in evaluation.properties.values()))
    scores = [score for entry in evaluation.properties.values() for score in entry.scores.values()]
    needed.append(any(score.baseline is not None for score in scores))
    chosen = [f"- {line}" for line, used in zip(lines, needed, strict=True) if used]
    return "## Definitions\n\n" + "\n".join(chosen)


def _title(title: str, unit: str) -> str:
    return title if unit in ("1", "%") else f"{title} ({unit})"

"""A MatBench evaluation for reading: Markdown, and a folder with JSON, CSV and the parity plot."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from voigt.evaluation.bootstrap import LEVEL, RESAMPLES
from voigt.evaluation.evaluation import CRYSTAL_SYSTEMS, plain
from voigt.evaluation.matbench.run import MatbenchEvaluation
from voigt.evaluation.matbench.scores import METAL_BELOW, Row
from voigt.evaluation.matbench.tasks import official_size
from voigt.evaluation.report import estimate_cells, write_pages, write_parity
from voigt.evaluation.scored import Scored
from voigt.files import atomic_write, make_folder
from voigt.tensors.properties import get_property
from voigt.text import csv_cell
from voigt.writers.markdown import number, table

_SYSTEMS = CRYSTAL_SYSTEMS[::-1]
_QUICK_LOOK = (
    "**QUICK LOOK: only the first {:,} crystals of each fold, by a hash of their identities. These figures are no "
    "result.**"
)
_COLUMNS = ("mbid", "mp_id", "label", "prediction", "fold", "crystal_system")


def markdown(result: MatbenchEvaluation, command: str = "", figures: Sequence[tuple[str, str]] = ()) -> str:
    """The evaluation as a Markdown page.

    Parameters
    ----------
    result
        What `evaluate_matbench` returned.
    command
        The command line that made it; "" leaves it out.
    figures
        (file name relative to the page, caption).
    """
    declared = get_property(result.task.property)
    model = next(row for row in result.table if row.kind == "model")
    folds = f"fold{'' if len(result.models) == 1 else 's'} {', '.join(map(str, result.models))}"
    official = official_size(result.task, list(result.models))
    blocks = [
        f"# {model.name} on {result.task.name}, {folds}",
        *([f"```\n{command}\n```"] if command else []),
        *([_QUICK_LOOK.format(result.limit)] if result.limit is not None else []),
        f"Subset of MatBench ({result.compared.sum():,} of {official:,} crystals of {folds}), re-relaxed structures: "
        "comparable with the rows of this table, not with the public leaderboard.",
        "\n".join(f"- {note}" for note in result.notes),
        f"## {declared.label[0].upper()}{declared.label[1:]} ({declared.unit})",
        _errors(result, declared.unit),
    ]
    if len(result.models) > 1:
        blocks += ["### By fold: MAE", _by_fold(result)]
    if declared.name == "band_gap":
        blocks += ["### Metals", _metals(result)]
    blocks += ["### By crystal system: MAE", _by_system(result), *(f"![{text}]({path})" for path, text in figures)]
    return "\n\n".join([*blocks, _definitions(result)]) + "\n"


def write_report(result: MatbenchEvaluation, folder: str | Path, command: str = "") -> None:
    """Write report.md, metrics.json, predictions.csv and the parity plot (PNG), each file whole or not at all.

    Raises OutputError where the folder cannot be made or written.
    """
    folder = make_folder(folder)
    figures = write_parity(list(_scored(result)), result.task.property, folder)
    with atomic_write(folder / "predictions.csv") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(_lines(result))
    write_pages(folder, metrics(result), markdown(result, command, figures))


def metrics(result: MatbenchEvaluation) -> dict[str, Any]:
    """Every figure, as nested dictionaries and lists that JSON can hold; NaN becomes None."""
    return {
        "task": result.task.name,
        "property": result.task.property,
        "unit": get_property(result.task.property).unit,
        "models": {str(fold): name for fold, name in result.models.items()},
        "crystals": {
            "official": official_size(result.task, list(result.models)),
            "in_table": len(result.predicted),
            "predicted": int(np.isfinite(result.predicted).sum()),
            "compared": int(result.compared.sum()),
        },
        "limit": result.limit,
        "target_difference": result.target_difference,
        "interval": {"level": LEVEL, "resamples": RESAMPLES},
        "rows": [plain(asdict(row)) for row in result.table],
        "notes": list(result.notes),
    }


def _name(row: Row) -> str:
    return {"model": f"**{row.name}** (this model)", "trivial": f"*{row.name}*"}.get(row.kind, row.name)


def _errors(result: MatbenchEvaluation, unit: str) -> str:
    header = ["model", "crystals", f"MAE ({unit})", "interval", f"RMSE ({unit})", "interval"]
    header += [f"difference ({unit})", "interval", "this model is"]
    cells = ((f"{row.crystals:,}", *estimate_cells(row.mae, row.rmse), *_difference(row)) for row in result.table)
    return table(header, [[_name(row), *entry] for row, entry in zip(result.table, cells, strict=True)])


def _difference(row: Row) -> list[str]:
    """Paired difference, its interval, and in a word whether that excludes zero."""
    if row.difference is None:
        return ["", "", ""]
    low, high = row.difference.low, row.difference.high
    verdict = "–" if math.isnan(low) else "better" if high < 0 else "worse" if low > 0 else "not told apart"
    return [*estimate_cells(row.difference), verdict]


def _by_fold(result: MatbenchEvaluation) -> str:
    header = ["model", *(f"fold {fold}" for fold in result.models), "mean of folds", "standard deviation"]
    rows = []
    for row in result.table:
        values = (*(row.folds.get(fold, math.nan) for fold in result.models), row.mean_of_folds, row.std_of_folds)
        rows.append([_name(row), *map(number, values)])
    return table(header, rows)


def _metals(result: MatbenchEvaluation) -> str:
    count = int((result.rows.label[result.compared] == 0).sum())
    header = ["model", "MAE, metals (eV)", "interval", "MAE, gapped (eV)", "interval"]
    header += ["precision", "recall", "accuracy", "balanced accuracy"]
    rows = []
    for row in result.table:
        metals = row.metals
        if metals is not None:
            shares = (metals.precision, metals.recall, metals.accuracy, metals.balanced_accuracy)
            rows.append([_name(row), *estimate_cells(metals.mae_metals, metals.mae_gapped), *map(number, shares)])
    sentence = f"{count:,} metals (label zero) and {int(result.compared.sum()) - count:,} gapped crystals."
    return f"{sentence}\n\n{table(header, rows)}"


def _by_system(result: MatbenchEvaluation) -> str:
    systems, counts = np.unique(result.system[result.compared], return_counts=True)
    sizes = {str(name): int(count) for name, count in zip(systems, counts, strict=True)}
    present = sorted(sizes, key=lambda name: (*_SYSTEMS, name).index(name))
    rows = [["crystals", *(f"{sizes[name]:,}" for name in present)]]
    rows += [[_name(row), *(number(row.systems.get(name, math.nan)) for name in present)] for row in result.table]
    return table(["model", *present], rows)


def _definitions(result: MatbenchEvaluation) -> str:
    lines = [
        f"Interval: {100 * LEVEL:g} % percentile bootstrap over crystals, {RESAMPLES:,} resamples, the same for all "
        "models; it says nothing about another training of the same model. None where fewer than five crystals count.",
        "Difference: mean over the crystals that both predict of this model's absolute error less that of the "
        "row; 'not told apart' where the interval holds zero.",
        "Rows in italics: the mean or median of all labels outside the fold, for every crystal of the fold.",
    ]
    if len(result.models) > 1:
        lines.append("Mean of folds: MatBench's figure; the standard deviation is that of the folds, not of the mean.")
    if result.task.property == "band_gap":
        lines.append(
            f"Precision and recall: of a predicted gap below {METAL_BELOW:g} eV as a test for metals; balanced "
            "accuracy: mean of the recalls of metals and of gapped crystals. Models that only fit the gap were not "
            "made for this test."
        )
    lines.append("Crystal system: of the structure that was predicted from, not of the original MatBench structure.")
    return "## Definitions\n\n" + "\n".join(f"- {line}" for line in lines)


def _lines(result: MatbenchEvaluation) -> Iterator[list[object]]:
    rows = result.rows
    columns = (rows.mbid, rows.mp_id, rows.label, result.predicted, rows.fold, result.system)
    for mbid, mp_id, label, predicted, fold, system in zip(*columns, strict=True):
        value = float(predicted) if np.isfinite(predicted) else ""
        yield [csv_cell(str(mbid)), csv_cell(str(mp_id)), float(label), value, int(fold), str(system)]


def _scored(result: MatbenchEvaluation) -> Iterator[Scored]:
    name = result.task.property
    for mbid, label, predicted in zip(result.rows.mbid, result.rows.label, result.predicted, strict=True):
        yield Scored(
            id=str(mbid),
            numbers=np.zeros(0, dtype=np.int64),
            functional=None,
            crystal_system=None,
            labels={name: np.asarray(label)},
            predicted={name: np.asarray(predicted)},
        )

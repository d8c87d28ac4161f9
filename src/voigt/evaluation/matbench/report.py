"""A MatBench evaluation for reading: Markdown, and a folder with JSON, CSV and the parity plot."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from voigt.errors import OutputError
from voigt.evaluation.bootstrap import LEVEL, RESAMPLES
from voigt.evaluation.figures import parity_figures, save_figure
from voigt.evaluation.matbench.run import MatbenchEvaluation
from voigt.evaluation.matbench.scores import METAL_BELOW, Row
from voigt.evaluation.matbench.tasks import official_size
from voigt.evaluation.scored import Scored
from voigt.files import atomic_write
from voigt.tensors.properties import get_property
from voigt.writers.markdown import interval, number, table

_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
_COLUMNS = ("mbid", "mp_id", "label", "prediction", "fold", "crystal_system")


def markdown(found: MatbenchEvaluation, command: str = "", figures: Sequence[tuple[str, str]] = ()) -> str:
    """The evaluation as a Markdown page.

    Parameters
    ----------
    found
        What `evaluate_matbench` found.
    command
        The command line that made it; "" leaves it out.
    figures
        (file name relative to the page, caption).
    """
    declared = get_property(found.task.property)
    folds = _folds(found)
    official = official_size(found.task, list(found.models))
    blocks = [
        f"# {_own(found).name} on {found.task.name}, {folds}",
        *([f"```\n{command}\n```"] if command else []),
        *([_quick_look(found.limit)] if found.limit is not None else []),
        f"Subset of MatBench ({found.compared.sum():,} of {official:,} crystals of {folds}), re-relaxed structures: "
        "comparable with the rows of this table, not with the public leaderboard.",
        "\n".join(f"- {note}" for note in found.notes),
        f"## {declared.label[0].upper()}{declared.label[1:]} ({declared.unit})",
        _errors(found, declared.unit),
    ]
    if len(found.models) > 1:
        blocks += ["### By fold: MAE", _by_fold(found)]
    if declared.name == "band_gap":
        blocks += ["### Metals", _metals(found)]
    blocks += ["### By crystal system: MAE", _by_system(found), *(f"![{text}]({path})" for path, text in figures)]
    return "\n\n".join([*blocks, _definitions(found)]) + "\n"


def write_report(found: MatbenchEvaluation, folder: str | Path, command: str = "") -> None:
    """Write report.md, metrics.json, predictions.csv and the parity plot (PNG), each file whole or not at all.

    Raises
    ------
    OutputError
        The folder cannot be made or written.
    """
    folder = make_folder(folder)
    figures = []
    for stem, caption, figure in parity_figures(list(_scored(found)), get_property(found.task.property)):
        save_figure(figure, folder / f"{stem}.png")
        figures.append((f"{stem}.png", caption))
    with atomic_write(folder / "predictions.csv") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(_lines(found))
    with atomic_write(folder / "metrics.json") as stream:
        json.dump(metrics(found), stream, indent=1, allow_nan=False)
        stream.write("\n")
    # Last, so that a page never points at figures that are not there.
    with atomic_write(folder / "report.md") as stream:
        stream.write(markdown(found, command, figures))


def make_folder(folder: str | Path) -> Path:
    """A folder that exists.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}; choose another place") from error
    return Path(folder)


def metrics(found: MatbenchEvaluation) -> dict[str, Any]:
    """Every figure, as nested dictionaries and lists that JSON can hold; NaN becomes None."""
    return {
        "task": found.task.name,
        "property": found.task.property,
        "unit": get_property(found.task.property).unit,
        "models": {str(fold): name for fold, name in found.models.items()},
        "crystals": {
            "official": official_size(found.task, list(found.models)),
            "in_table": len(found.predicted),
            "predicted": int(np.isfinite(found.predicted).sum()),
            "compared": int(found.compared.sum()),
        },
        "limit": found.limit,
        "target_difference": found.target_difference,
        "interval": {"level": LEVEL, "resamples": RESAMPLES},
        "rows": [_plain(asdict(row)) for row in found.table],
        "notes": list(found.notes),
    }


def _folds(found: MatbenchEvaluation) -> str:
    return f"fold{'' if len(found.models) == 1 else 's'} {', '.join(map(str, found.models))}"


def _quick_look(limit: int) -> str:
    return (
        f"**QUICK LOOK: only the first {limit:,} crystals of each fold, by a hash of their identities. These figures "
        "are no result.**"
    )


def _own(found: MatbenchEvaluation) -> Row:
    return next(row for row in found.table if row.kind == "model")


def _name(row: Row) -> str:
    return {"model": f"**{row.name}** (this model)", "trivial": f"*{row.name}*"}.get(row.kind, row.name)


def _errors(found: MatbenchEvaluation, unit: str) -> str:
    header = ["model", "crystals", f"MAE ({unit})", "interval", f"RMSE ({unit})", "interval"]
    header += [f"difference ({unit})", "interval", "this model is"]
    rows = []
    for row in found.table:
        cells = [_name(row), f"{row.crystals:,}", number(row.mae.value), interval(row.mae), number(row.rmse.value)]
        rows.append([*cells, interval(row.rmse), *_difference(row)])
    return table(header, rows)


def _difference(row: Row) -> list[str]:
    """Paired difference, its interval, and in a word whether that excludes zero."""
    if row.difference is None:
        return ["", "", ""]
    low, high = row.difference.low, row.difference.high
    verdict = "–" if math.isnan(low) else "better" if high < 0 else "worse" if low > 0 else "not told apart"
    return [number(row.difference.value), interval(row.difference), verdict]


def _by_fold(found: MatbenchEvaluation) -> str:
    header = ["model", *(f"fold {fold}" for fold in found.models), "mean of folds", "standard deviation"]
    rows = [
        [
            _name(row),
            *(number(row.folds.get(fold, math.nan)) for fold in found.models),
            number(row.mean_of_folds),
            number(row.std_of_folds),
        ]
        for row in found.table
    ]
    return table(header, rows)


def _metals(found: MatbenchEvaluation) -> str:
    count = int((found.rows.label[found.compared] == 0).sum())
    header = ["model", "MAE, metals (eV)", "interval", "MAE, gapped (eV)", "interval"]
    header += ["precision", "recall", "accuracy", "balanced accuracy"]
    rows = []
    for row in found.table:
        if row.metals is not None:
            own = row.metals
            cells = [number(own.mae_metals.value), interval(own.mae_metals)]
            cells += [number(own.mae_gapped.value), interval(own.mae_gapped)]
            shares = (own.precision, own.recall, own.accuracy, own.balanced_accuracy)
            rows.append([_name(row), *cells, *map(number, shares)])
    sentence = f"{count:,} metals (label zero) and {int(found.compared.sum()) - count:,} gapped crystals."
    return f"{sentence}\n\n{table(header, rows)}"


def _by_system(found: MatbenchEvaluation) -> str:
    systems, counts = np.unique(found.system[found.compared], return_counts=True)
    sizes = {str(name): int(count) for name, count in zip(systems, counts, strict=True)}
    present = sorted(sizes, key=lambda name: (*_SYSTEMS, name).index(name))
    rows = [["crystals", *(f"{sizes[name]:,}" for name in present)]]
    rows += [[_name(row), *(number(row.systems.get(name, math.nan)) for name in present)] for row in found.table]
    return table(["model", *present], rows)


def _definitions(found: MatbenchEvaluation) -> str:
    lines = [
        f"Interval: {100 * LEVEL:g} % percentile bootstrap over crystals, {RESAMPLES:,} resamples, the same for all "
        "models; it says nothing about another training of the same model. None where fewer than five crystals count.",
        "Difference: mean over the crystals that both predict of this model's absolute error less that of the "
        "row; 'not told apart' where the interval holds zero.",
        "Rows in italics: the mean or median of all labels outside the fold, for every crystal of the fold.",
    ]
    if len(found.models) > 1:
        lines.append("Mean of folds: MatBench's figure; the standard deviation is that of the folds, not of the mean.")
    if found.task.property == "band_gap":
        lines.append(
            f"Precision and recall: of a predicted gap below {METAL_BELOW:g} eV as a test for metals; balanced "
            "accuracy: mean of the recalls of metals and of gapped crystals. Models that only fit the gap were not "
            "made for this test."
        )
    lines.append("Crystal system: of the structure that was predicted from, not of the original MatBench structure.")
    return "## Definitions\n\n" + "\n".join(f"- {line}" for line in lines)


def _lines(found: MatbenchEvaluation) -> Iterator[list[object]]:
    rows = found.rows
    columns = (rows.mbid, rows.mp_id, rows.label, found.predicted, rows.fold, found.system)
    for mbid, mp_id, label, predicted, fold, system in zip(*columns, strict=True):
        value = float(predicted) if np.isfinite(predicted) else ""
        yield [str(mbid), str(mp_id), float(label), value, int(fold), str(system)]


def _scored(found: MatbenchEvaluation) -> Iterator[Scored]:
    name = found.task.property
    for mbid, label, predicted in zip(found.rows.mbid, found.rows.label, found.predicted, strict=True):
        yield Scored(
            id=str(mbid),
            numbers=np.zeros(0, dtype=np.int64),
            functional=None,
            crystal_system=None,
            labels={name: np.asarray(label)},
            predicted={name: np.asarray(predicted)},
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value

"""Predictions in the file format of the `matbench` package (0.6), as its `MatbenchBenchmark.to_file` writes it."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voigt import __version__
from voigt.errors import OutputError
from voigt.evaluation.matbench.run import MatbenchEvaluation
from voigt.files import atomic_write

BENCHMARK = "matbench_v0.1"
VERSION = "0.6"
_MAPE_ABOVE = 1e-5  # smaller labels do not enter matbench's percentage error


def check_export(path: str | Path) -> Path:
    """A path that an export can be written to.

    Raises
    ------
    OutputError
        It does not end in .json.gz or .json, or its folder does not exist.
    """
    path = Path(path)
    if not path.name.endswith((".json.gz", ".json")):
        raise OutputError(f"cannot export to {path}: the name must end in .json.gz or .json")
    if not path.parent.is_dir():
        raise OutputError(f"cannot export to {path}: there is no folder {path.parent}; make it first")
    return path


def export(result: MatbenchEvaluation, path: str | Path) -> int:
    """Write the predictions; returns how many crystals of the whole task are absent.

    A crystal of a scored fold without a prediction is absent from `data` and listed in `user_metadata`. The matbench
    package accepts a file only if all five folds are complete.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    content = benchmark(result)
    text = json.dumps(content).encode()
    with atomic_write(check_export(path), "wb") as stream:
        stream.write(gzip.compress(text, mtime=0) if Path(path).suffix == ".gz" else text)
    return result.task.crystals - int(np.isfinite(result.predicted).sum())


def benchmark(result: MatbenchEvaluation) -> dict[str, Any]:
    """The content of the file."""
    task = result.task
    folds: dict[str, Any] = {}
    missing: dict[str, list[str]] = {}
    for fold in result.models:
        chosen = (result.rows.fold == fold) & np.isfinite(result.predicted)
        names, predicted = result.rows.mbid[chosen], result.predicted[chosen]
        data = {str(name): float(value) for name, value in zip(names, predicted, strict=True)}
        absent = [name for name in task.fold_ids(fold) if name not in data]
        if absent:
            missing[f"fold_{fold}"] = absent
        scores = _scores(predicted, result.rows.label[chosen])
        folds[f"fold_{fold}"] = {"data": data, "parameters": {}, "scores": scores}
    content: dict[str, Any] = {
        "@module": "matbench.bench",
        "@class": "MatbenchBenchmark",
        "version": VERSION,
        "tasks": {
            task.name: {
                "@module": "matbench.task",
                "@class": "MatbenchTask",
                "benchmark_name": BENCHMARK,
                "dataset_name": task.name,
                "results": folds,
            }
        },
        "user_metadata": {
            "algorithm": f"voigt {__version__}",
            "models": {f"fold_{fold}": name for fold, name in result.models.items()},
            "structures": "Materials Project, re-relaxed since MatBench: not the structures of the public leaderboard",
            "limit": result.limit,
            "missing": missing,
        },
        "benchmark_name": BENCHMARK,
        "datestamp": datetime.now(UTC).strftime("%Y.%m.%d %H:%M.%S"),
    }
    return content | {"hash": dictionary_hash(content)}


def dictionary_hash(content: dict[str, Any]) -> str:
    """The check of the matbench package that a file has not been changed: SHA-256 of the JSON text with sorted keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _scores(predicted: NDArray[np.float64], label: NDArray[np.float64]) -> dict[str, float]:
    """The four scores that matbench wants for a regression; NaN where no crystal counts."""
    error = np.abs(predicted - label)
    sizeable = np.abs(label) > _MAPE_ABOVE
    shares = error[sizeable] / np.abs(label[sizeable])
    return {
        "mae": float(error.mean()) if len(error) else float("nan"),
        "rmse": float(np.sqrt((error**2).mean())) if len(error) else float("nan"),
        "mape": float(shares.mean()) if len(shares) else float("nan"),
        "max_error": float(error.max()) if len(error) else float("nan"),
    }

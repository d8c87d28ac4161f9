"""MatBench: models on the official folds that they hold out, beside stored predictions of others."""

from __future__ import annotations

from voigt.evaluation.matbench.export import check_export, export
from voigt.evaluation.matbench.report import markdown, write_report
from voigt.evaluation.matbench.run import MatbenchEvaluation, evaluate_matbench
from voigt.evaluation.matbench.tasks import TASKS, Task

__all__ = [
    "TASKS",
    "MatbenchEvaluation",
    "Task",
    "check_export",
    "evaluate_matbench",
    "export",
    "markdown",
    "write_report",
]

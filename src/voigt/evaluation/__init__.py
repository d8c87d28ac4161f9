"""Models against labels: metrics, baselines, intervals and reports; MatBench folds in `voigt.evaluation.matbench`."""

from __future__ import annotations

from voigt.evaluation.baselines import apply_baseline, fit_baseline
from voigt.evaluation.evaluation import Evaluation, evaluate_scored
from voigt.evaluation.metrics import metrics_for
from voigt.evaluation.report import markdown, write_report
from voigt.evaluation.run import ModelEvaluation, evaluate_model
from voigt.evaluation.scored import Scored

__all__ = [
    "Evaluation",
    "ModelEvaluation",
    "Scored",
    "apply_baseline",
    "evaluate_model",
    "evaluate_scored",
    "fit_baseline",
    "markdown",
    "metrics_for",
    "write_report",
]

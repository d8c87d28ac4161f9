"""From checked structures to predicted tensors: result, pipeline of one model, plan over several, stream of many."""

from __future__ import annotations

from voigt.notes import Failure, Note
from voigt.prediction.clock import Clock
from voigt.prediction.pipeline import Crystal, Prepared, predict_prepared, prepare
from voigt.prediction.plan import Plan, Share, choose_models
from voigt.prediction.result import Prediction, Settings
from voigt.prediction.stream import predict_planned, predict_structures

__all__ = [
    "Clock",
    "Crystal",
    "Failure",
    "Note",
    "Plan",
    "Prediction",
    "Prepared",
    "Settings",
    "Share",
    "choose_models",
    "predict_planned",
    "predict_prepared",
    "predict_structures",
    "prepare",
]

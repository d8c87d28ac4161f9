"""From checked structures to predicted tensors: result, pipeline of one model, plan over several, stream of many."""

from __future__ import annotations

from voigt.prediction.pipeline import Crystal, Prepared, predict_prepared, prepare
from voigt.prediction.plan import Plan, Share, choose_models
from voigt.prediction.result import Prediction, Settings
from voigt.prediction.stream import Failure, predict_frames, predict_planned

__all__ = [
    "Crystal",
    "Failure",
    "Plan",
    "Prediction",
    "Prepared",
    "Settings",
    "Share",
    "choose_models",
    "predict_frames",
    "predict_planned",
    "predict_prepared",
    "prepare",
]

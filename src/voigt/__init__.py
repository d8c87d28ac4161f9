"""Voigt: response tensors of crystals from their structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from voigt.api import Prediction, Settings, load_model, predict

__all__ = ["Prediction", "Settings", "__version__", "load_model", "predict"]


def __getattr__(name: str) -> Any:
    # torch takes a second to import: `voigt --help` must not wait for it.
    if name in ("predict", "load_model", "Prediction", "Settings"):
        from voigt import api

        return getattr(api, name)
    raise AttributeError(f"module 'voigt' has no attribute '{name}'")

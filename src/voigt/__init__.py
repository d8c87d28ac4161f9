"""Voigt: response tensors of crystals from their structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from voigt.api import Failure, Prediction, Settings, load_model, predict

__all__ = ["Failure", "Prediction", "Settings", "__version__", "load_model", "predict"]


def __getattr__(name: str) -> Any:
    # torch takes a second to import: `voigt --help` must not wait for it.
    if name in __all__:
        from voigt import api

        return getattr(api, name)
    raise AttributeError(f"module 'voigt' has no attribute '{name}'")

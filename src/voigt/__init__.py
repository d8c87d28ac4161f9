"""Voigt: response tensors of crystals from their structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from voigt.api import Failure, Prediction, Response, ResponseSettings, Settings, load_model, predict, respond

__all__ = [
    "Failure",
    "Prediction",
    "Response",
    "ResponseSettings",
    "Settings",
    "__version__",
    "load_model",
    "predict",
    "respond",
]


def __getattr__(name: str) -> Any:
    # torch takes a second to import: `voigt --help` must not wait for it.
    if name in __all__:
        from voigt import api

        return getattr(api, name)
    raise AttributeError(f"module 'voigt' has no attribute '{name}'")

"""Models: networks of three methods behind one interface, and the files that hold them."""

from __future__ import annotations

from voigt.models.checkpoint import LoadedModel, ModelCard, available_models, load_model, save_model
from voigt.models.hypers import NetworkHypers
from voigt.models.methods import build_network, parse_hypers
from voigt.models.network import Network

__all__ = [
    "LoadedModel",
    "ModelCard",
    "Network",
    "NetworkHypers",
    "available_models",
    "build_network",
    "load_model",
    "parse_hypers",
    "save_model",
]

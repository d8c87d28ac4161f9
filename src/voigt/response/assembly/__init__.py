"""All responses of one structure, assembled from trained networks and a machine-learned potential."""

from __future__ import annotations

from voigt.response.assembly.result import Quantity, Response, Route
from voigt.response.assembly.settings import ResponseSettings
from voigt.response.assembly.workflow import respond

__all__ = ["Quantity", "Response", "ResponseSettings", "Route", "respond"]

"""GoeCTP (Hua et al., AAAI 2026): canonical axes around any backbone."""

from __future__ import annotations

from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.goectp.model import GoeCTP

__all__ = ["GoeCTP", "GoeCTPHypers"]

"""Collections of crystals to screen: tables, folders, archives, OPTIMADE servers and single files."""

from __future__ import annotations

from voigt.screening.sources.collections import Collection, open_collection
from voigt.screening.sources.optimade import Patience

__all__ = ["Collection", "Patience", "open_collection"]

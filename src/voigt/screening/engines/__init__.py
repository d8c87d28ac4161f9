"""Where pieces of work are computed: processes of this machine, or a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voigt.lazy import lazy_names

if TYPE_CHECKING:
    from voigt.screening.engines.local import run_local
    from voigt.screening.engines.ray import run_ray

__all__ = ["run_local", "run_ray"]

__getattr__ = lazy_names(__name__, {"run_local": "local", "run_ray": "ray"})

"""The HTTP API and the page of `voigt serve`: an application over worker processes; no physics of its own."""

from __future__ import annotations

from voigt.lazy import lazy_names

__all__ = ["Limits", "ServerOptions", "create_app", "run_server"]

# The page of a notebook needs none of it.
__getattr__ = lazy_names(
    __name__,
    {"Limits": "limits", "ServerOptions": "server", "create_app": "server", "run_server": "run"},
)

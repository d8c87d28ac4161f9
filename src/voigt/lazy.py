"""Faces of rooms whose parts are heavy: names that are imported when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package.

    Parameters
    ----------
    package
        Its `__name__`.
    homes
        Name -> module that defines it, relative to the package.

    Examples
    --------
    >>> find = lazy_names("voigt", {"atomic_write": "files"})
    >>> find("atomic_write").__module__
    'voigt.files'
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return find

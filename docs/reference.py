"""The API reference: which rooms are public, what each of them states in `__all__`, and a page for each.

Read by griffe from the source text, without importing anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import griffe
from pages import REPOSITORY

ROOMS = (
    "voigt",
    "voigt.api",
    "voigt.prediction",
    "voigt.structures",
    "voigt.tensors",
    "voigt.response",
    "voigt.screening",
    "voigt.calculations",
    "voigt.audit",
    "voigt.training",
    "voigt.finetuning",
    "voigt.evaluation",
    "voigt.writers",
)
"""One page each, in this order; rooms inside them are sections of their page."""


@dataclass(frozen=True)
class PublicName:
    """A name that a room states in `__all__`, where it is defined (None: nowhere), and its docstring."""

    room: str
    name: str
    defined: str | None
    docstring: str | None

    @property
    def path(self) -> str:
        """What a reader imports."""
        return f"{self.room}.{self.name}"


@cache
def package() -> Any:
    """The source tree as griffe sees it."""
    return griffe.load("voigt", search_paths=[REPOSITORY / "src"], docstring_parser="numpy")


def find(path: str) -> Any:
    """A module by its dotted path."""
    return package() if path == "voigt" else package()[path.removeprefix("voigt.")]


def sections(room: str) -> Iterator[Any]:
    """A room, then the packages inside it that state `__all__`, in alphabetical order."""
    module = find(room)
    yield module
    for inner in sorted(module.modules.values(), key=lambda entry: entry.name) if room != "voigt" else ():
        if inner.is_init_module:
            yield from (entry for entry in sections(inner.path) if entry.exports is not None)


def public_names(module: Any) -> list[PublicName]:
    """Names that a module states in `__all__`, in alphabetical order, except those with leading underscores."""
    names = []
    for name in sorted((str(entry) for entry in module.exports or () if not str(entry).startswith("_")), key=str.lower):
        target = module.members.get(name)
        try:
            target = target.final_target if target is not None and target.is_alias else target
        except (griffe.AliasResolutionError, griffe.CyclicAliasError):
            target = None
        docstring = None if target is None or target.docstring is None else target.docstring.value.strip()
        names.append(PublicName(module.path, name, None if target is None else target.path, docstring))
    return names


def problems() -> list[str]:
    """What is wrong with the public interface: rooms without `__all__`, names without an object or a docstring."""
    found = []
    for room in ROOMS:
        for module in sections(room):
            if module.exports is None:
                found.append(f"{module.path} states no __all__")
            if module.docstring is None:
                found.append(f"{module.path} has no docstring")
            for entry in public_names(module):
                if entry.defined is None:
                    found.append(f"{entry.path} does not exist")
                elif not entry.docstring:
                    found.append(f"{entry.path} has no docstring")
    return list(dict.fromkeys(found))


@cache
def described() -> dict[str, PublicName]:
    """Where each public object is described: the first room that states it, by the path where it is defined."""
    found: dict[str, PublicName] = {}
    for room in ROOMS:
        for module in sections(room):
            for entry in public_names(module):
                if entry.defined is not None:
                    found.setdefault(entry.defined, entry)
    return found


def page_of(room: str) -> str:
    """Name of a room's page."""
    return f"api/{room}.md"


def pages() -> dict[str, str]:
    """Page name -> Markdown. What several rooms state is described where it comes first, and linked from the others."""
    written = {}
    for room in ROOMS:
        parts = []
        for depth, module in enumerate(sections(room)):
            if depth:
                parts.append(f"## {module.path}")
            if module.docstring is not None:
                parts.append(module.docstring.value)
            names = [entry for entry in public_names(module) if entry.defined is not None]
            fresh = [entry for entry in names if described()[entry.defined] == entry]
            if known := [entry for entry in names if entry not in fresh]:
                links = ", ".join(f"[`{entry.name}`][{described()[entry.defined].path}]" for entry in known)
                parts.append(f"Described elsewhere: {links}.")
            level = 3 if depth else 2
            parts += [f"::: {entry.path}\n    options:\n      heading_level: {level}" for entry in fresh]
        written[page_of(room)] = "\n\n".join([f"# {room}", *parts]) + "\n"
    return written


class ProseReturns(griffe.Extension):
    """Lets a "Returns" section be words, as NumPy's style takes them, beside the type that the signature states."""

    _SECTION = re.compile(r"^(Returns|Yields)\n-+\n((?:\S.*\n?)+)(?=\n|\Z)", re.MULTILINE)

    def on_function(self, *, func: Any, **_: Any) -> None:
        """Indent the words below the return type."""
        if func.docstring is None or func.returns is None:
            return

        def typed(section: re.Match[str]) -> str:
            words = "".join(f"    {line}\n" for line in section[2].splitlines())
            return f"{section[1]}\n{'-' * len(section[1])}\n{func.returns}\n{words}"

        func.docstring.value = self._SECTION.sub(typed, func.docstring.value)

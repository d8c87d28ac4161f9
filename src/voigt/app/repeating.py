"""The command line, and the lines of Python, that give what a request gave."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from voigt.app.schema import Repeat
from voigt.app.structures import Upload
from voigt.prediction.result import Settings
from voigt.text import file_stem

Option = tuple[str, Any]
"""Name of an option of the command line, and its value; True is the bare option."""


def predict_again(upload: Upload, model: str | None, settings: Settings) -> Repeat:
    """Of a prediction.

    Examples
    --------
    >>> again = predict_again(Upload("MgO.vasp"), None, Settings(functional="PBE", symmetrize=False))
    >>> again.command
    'voigt predict MgO.vasp --functional PBE --no-symmetry'
    >>> print(again.python)
    import voigt
    <BLANKLINE>
    settings = voigt.Settings(functional='PBE', symmetrize=False)
    (prediction,) = voigt.predict('MgO.vasp', settings=settings)
    print(prediction.values['born_charges'])
    """
    plain = Settings()
    options: list[Option] = [("--model", model)]
    if settings.properties is not None:
        options.append(("--properties", ",".join(settings.properties)))
    options += [
        ("--functional", settings.functional),
        ("--no-symmetry", not settings.symmetrize),
        ("--no-sum-rule", not settings.sum_rule),
        ("--total-charge", settings.total_charge),
        ("--symprec", None if settings.symprec == plain.symprec else settings.symprec),
        ("--allow-unseen", settings.allow_unseen),
    ]
    name = _file(upload)
    given = {
        entry.name: getattr(settings, entry.name)
        for entry in fields(settings)
        if entry.name != "device" and getattr(settings, entry.name) != getattr(plain, entry.name)
    }
    shown = settings.properties[0] if settings.properties else "born_charges"
    words = [repr(name)]
    if model is not None:
        words.append(f"model={model!r}")
    lines = ["import voigt", ""]
    if given:
        lines.append(f"settings = voigt.Settings({words_of(given)})")
        words.append("settings=settings")
    lines += [f"(prediction,) = voigt.predict({', '.join(words)})", f"print(prediction.values[{shown!r}])"]
    return Repeat(command=_command("predict", name, options), python="\n".join(lines))


def run_again(command: str, name: str, options: Sequence[Option], python: Sequence[str]) -> Repeat:
    """Of a command with options, and the lines of Python that a caller knows."""
    return Repeat(command=_command(command, name, options), python="\n".join(python))


def _command(command: str, name: str, options: Sequence[Option]) -> str:
    parts = ["voigt", command, name]
    for option, value in options:
        if value is None or value is False:
            continue
        parts += [option] if value is True else [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(parts)


def _file(upload: Upload) -> str:
    """The name of the file as it would be saved: letters that mean something to a shell or a path are gone."""
    if upload.arrays is not None:
        return f"{file_stem(upload.name)}.vasp"
    return file_stem(upload.name)


def words_of(given: Mapping[str, Any]) -> str:
    """Arguments of a call."""
    return ", ".join(f"{name}={value!r}" for name, value in given.items())

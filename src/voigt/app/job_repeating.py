"""The command line, and the lines of Python, that give what a job gave."""

from __future__ import annotations

from typing import Any

from voigt.app.job_schema import ForcesQuery, PhononsQuery, RespondQuery
from voigt.app.repeating import Option, run_again, words_of
from voigt.app.schema import Repeat
from voigt.app.structures import Upload
from voigt.response.phonons.files import parse_dim
from voigt.response.phonons.nac import parse_direction
from voigt.response.phonons.spectra import parse_linewidth
from voigt.text import file_stem


def phonons_again(upload: Upload, query: PhononsQuery, potential: str | None) -> Repeat:
    """Of phonons; `potential` is None for a project with forces of its own, whose folder is named like the archive.

    Examples
    --------
    >>> phonons_again(Upload("MgO.zip"), PhononsQuery(direction=["1 1 0"]), None).command
    "voigt phonons MgO --direction '1 1 0' --band"
    """
    name = file_stem(upload.stem if potential is None else upload.name)
    options = [
        ("--nac", _unless(query.nac, "predicted")),
        ("--model", query.model),
        *_options(query, potential),
        ("--no-symmetry", not query.symmetry),
        ("--no-sum-rule", not query.sum_rule),
        ("--band", True),
    ]
    settings = {
        "tensors": _unless(query.nac, "predicted"),
        "model": query.model,
        "potential": potential,
        **_settings(query),
        "symmetrize": _unless(query.symmetry, True),
        "sum_rule": _unless(query.sum_rule, True),
    }
    light = ", ".join(filter(None, (f"{name!r}, settings", _spectral(query))))
    along = ", ".join(filter(None, (f"{name!r}, settings", _along(query), "bands=True")))
    lines = [
        "from voigt.response.phonons import ProjectSettings, run_infrared, run_phonons",
        "",
        f"settings = ProjectSettings({words_of(_given(settings))})",
        f"phonons = run_phonons({along})",
        f"infrared = run_infrared({light})",
        "print(phonons.phonons.modes.frequencies, infrared.response.eps_0)",
    ]
    return run_again("phonons", name, options, lines)


def respond_again(upload: Upload, query: RespondQuery, potential: str) -> Repeat:
    """Of all responses.

    Examples
    --------
    >>> respond_again(Upload("MgO.cif"), RespondQuery(dim="2 2 2"), "sevennet-l3i5").command
    "voigt respond MgO.cif --potential sevennet-l3i5 --dim '2 2 2' --output MgO"
    """
    name = file_stem(upload.name)
    width = _unless(query.linewidth, "10cm-1")
    options = [*_options(query, potential), ("--linewidth", width), ("--output", file_stem(upload.stem))]
    settings = words_of(_given({"potential": potential, **_settings(query)}))
    words = ", ".join(filter(None, (settings, _spectral(query))))
    lines = [
        "import voigt",
        "",
        f"response = voigt.respond({name!r}, voigt.ResponseSettings({words}))",
        "for name, quantity in response.quantities.items():",
        "    print(name, quantity.value, quantity.unit, quantity.origin)",
    ]
    return run_again("respond", name, options, lines)


def _options(query: ForcesQuery, potential: str | None) -> list[Option]:
    return [
        ("--potential", potential),
        ("--relax", query.relax),
        ("--dim", query.dim),
        ("--follow", query.follow),
        ("--functional", query.functional),
        *(("--direction", text) for text in query.direction),
        ("--symprec", query.symprec),
        ("--allow-unseen", query.allow_unseen),
        ("--allow-metal", query.allow_metal),
        ("--allow-vacuum", query.allow_vacuum),
    ]


def _settings(query: ForcesQuery) -> dict[str, Any]:
    return {
        "functional": query.functional,
        "relax": query.relax,
        "dim": None if query.dim is None else parse_dim(query.dim),
        "follow": query.follow or None,
        "symprec": query.symprec,
        "allow_unseen": query.allow_unseen or None,
        "allow_metal": query.allow_metal or None,
        "allow_vacuum": query.allow_vacuum or None,
    }


def _along(query: ForcesQuery) -> str:
    directions = [parse_direction(text).tolist() for text in query.direction]
    return f"directions={directions}" if directions else ""


def _spectral(query: ForcesQuery) -> str:
    """Linewidths in THz and directions, where they are not the usual ones."""
    width = "" if query.linewidth == "10cm-1" else f"linewidths={parse_linewidth(query.linewidth).tolist()}"
    return ", ".join(filter(None, (width, _along(query))))


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _unless(value: Any, usual: Any) -> Any:
    """The value, None for the usual one."""
    return None if value == usual else value

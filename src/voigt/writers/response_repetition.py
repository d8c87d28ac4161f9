"""The command and the lines of Python that repeat a calculation from the files in its folder."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np

from voigt.response.arrays import Array
from voigt.response.phonons.modes import WAVENUMBER
from voigt.response.phonons.nac import AXES

if TYPE_CHECKING:
    from voigt.response.assembly import Response

GIVEN = "given.vasp"
"""File of the structure as it came."""


def repetition(response: Response) -> tuple[str, list[str]]:
    """The command that repeats a calculation from `GIVEN`, and lines of Python that do.

    Options that change no result (workers, folders) are left out.
    """
    words: list[str] = []
    settings: list[str] = []
    for name, value in _options(response).items():
        option = f"--{name.replace('_', '-')}"
        words += [option] if value is True else [option, _words(value)]
        settings.append(f"{name}={value!r}" if name != "calculator" else "calculator=calculator")
    directions = _directions(response)
    for direction in directions or ():
        words += ["--direction", " ".join(f"{x:.6g}" for x in direction)]
    if directions is not None:
        settings.append(f"directions={[[round(float(x), 6) for x in n] for n in directions]}")
    widths = np.asarray(response.infrared.linewidths)
    words += ["--linewidth", f"{','.join(f'{w:.6g}' for w in widths * WAVENUMBER)}cm-1"]
    settings.append(f"linewidths={[float(f'{w:.9g}') for w in widths]}")
    whose = (
        "" if "calculator=calculator" not in settings else f"  # calculator: an ASE calculator, {response.potential}"
    )
    lines = [f"import voigt{whose}", f"settings = voigt.ResponseSettings({', '.join(settings)})"]
    command = shlex.join(["voigt", "respond", GIVEN, "-o", "again", *words])
    return command, [*lines, f'response = voigt.respond("{GIVEN}", settings)']


def _options(response: Response) -> dict[str, object]:
    """Settings by their names in Python, those of the defaults included where results depend on them."""
    settings = response.settings
    found: dict[str, object] = {"potential": settings.potential}
    if settings.calculator is not None:
        found = {"calculator": "MODULE:FACTORY"}
    functional = response.prediction.functionals["born_charges"]
    if functional is not None:
        found["functional"] = functional
    matrix = np.asarray(response.phonons.project.phonon.supercell_matrix)
    diagonal = np.array_equal(matrix, np.diag(np.diag(matrix)))
    found |= {"relax": settings.relax, "dim": (np.diag(matrix) if diagonal else matrix.ravel()).tolist()}
    found |= {"displacement": settings.displacement, "symprec": settings.symprec}
    flags = ("follow", "allow_metal", "allow_vacuum", "allow_unseen")
    return found | {name: True for name in flags if getattr(settings, name)}


def potential_identity(name: str) -> tuple[str, str | None]:
    """Name with the version of its package, and who made it; the name alone for a calculator of the user."""
    from voigt.response.potentials import POTENTIALS

    known = POTENTIALS.get(name)
    return (name, None) if known is None else (known.identity, known.source)


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _directions(response: Response) -> list[Array] | None:
    """Directions that were asked for; None for the three axes."""
    asked = [np.asarray(direction, dtype=np.float64) for direction in response.settings.directions]
    return None if len(asked) == len(AXES) and np.allclose(asked, AXES) else asked

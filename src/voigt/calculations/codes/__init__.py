"""The one table of codes whose outputs are read: which files are a code's, and what is in them.

A module offers `recognizes(file)` and `read(files)`, see `voigt.calculations.calculation`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voigt.calculations.calculation import Reader, RunFile
from voigt.calculations.codes import (
    abinit,
    aims,
    castep,
    cp2k,
    crystal,
    documents,
    espresso,
    gpaw,
    phonopy_projects,
    vasp,
)


@dataclass(frozen=True)
class Code:
    """A code: what it is called, which files are its own, and how those of one folder are read.

    `separate`: files of one folder have nothing to do with each other.
    """

    name: str
    recognizes: Callable[[RunFile], bool]
    read: Reader
    separate: bool = False


CODES: tuple[Code, ...] = (
    Code("VASP", vasp.recognizes, vasp.read),
    Code("Quantum ESPRESSO", espresso.recognizes, espresso.read),
    Code("ABINIT", abinit.recognizes, abinit.read),
    Code("CP2K", cp2k.recognizes, cp2k.read),
    Code("CASTEP", castep.recognizes, castep.read),
    Code("FHI-aims", aims.recognizes, aims.read),
    Code("CRYSTAL", crystal.recognizes, crystal.read),
    Code("GPAW", gpaw.recognizes, gpaw.read),
    Code("phonopy", phonopy_projects.recognizes, phonopy_projects.read),
    Code("JSON", documents.recognizes, documents.read, separate=True),
)
"""The first one that recognizes a file gets it."""

"""What is read of a calculation: one structure, its tensors in our conventions, and where they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.notes import Failure


@dataclass(frozen=True)
class RunFile:
    """A file of a calculation, on disk or inside an archive.

    Attributes
    ----------
    path
        As it is shown: path on disk, or archive and member with a colon between them.
    name
        Without folders and without the ending of its packing: "OUTCAR" for "run/OUTCAR.gz".
    head
        The first 64 kB of its text: enough to recognize it.
    read
        The whole text, bounded; InputError if it is too large or cannot be unpacked.
    """

    path: str
    name: str
    head: str
    read: Callable[[], str]


@dataclass(frozen=True)
class Provenance:
    """Where labels came from.

    Attributes
    ----------
    files
        Paths of the files that were read.
    code, version
        As "VASP", "6.4.1"; version "" if the files do not say.
    functional
        "PBE", "PBEsol", "LDA", ...; "" if the files do not say.
    hubbard_u
        Element -> U in eV; of one with several, the largest.
    spin
        "none", "collinear", "noncollinear", or "" if the files do not say.
    kpoints
        Numbers of the mesh; () if the files do not say.
    cutoff
        Plane-wave cutoff in eV; None if the files do not say or the code has none.
    conversions
        What was done to the numbers, one plain sentence each: "piezo_total: columns from xx yy zz xy yz zx".
    """

    files: tuple[str, ...]
    code: str
    version: str = ""
    functional: str = ""
    hubbard_u: Mapping[str, float] = field(default_factory=dict)
    spin: str = ""
    kpoints: tuple[int, ...] = ()
    cutoff: float | None = None
    conversions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Calculation:
    """One structure with labels.

    Attributes
    ----------
    atoms
        Cell and positions to which the tensors belong, in the Cartesian axes of the tensors.
    targets
        Property name -> Cartesian tensor, (n_atoms, 3, 3) for born_charges, (3, ..., 3) for tensors of the crystal, ()
        for scalars, in the units and the index order of `voigt.tensors.properties`.
    provenance
        Where they came from.
    problems
        What is doubtful or was left out, one sentence each with its remedy; the rest is delivered.
    """

    atoms: ase.Atoms
    targets: Mapping[str, NDArray[np.float64]]
    provenance: Provenance
    problems: tuple[str, ...] = ()


Outcome: TypeAlias = Calculation | Failure
"""What becomes of a run."""
Reader: TypeAlias = Callable[[Sequence[RunFile]], Iterator[Outcome]]
"""What a code's module offers as `read`: all of its files in one folder -> calculations.

`recognizes(file: RunFile) -> bool` beside it says which files are the code's. A Failure of a reader has `source` (path
of the file), index 0, id "" and kind "unreadable"."""

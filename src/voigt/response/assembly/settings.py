"""How `respond` goes about its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from voigt.response.phonons.force_constants import DISPLACEMENT
from voigt.response.phonons.nac import AXES
from voigt.response.phonons.workflow import LINEWIDTH
from voigt.response.potentials import DEFAULT, Relax


@dataclass(frozen=True)
class ResponseSettings:
    """How `respond` goes about it.

    Attributes
    ----------
    potential
        Name of a potential, see `voigt.response.potentials.POTENTIALS`.
    calculator
        An ASE calculator to take instead.
    functional
        That networks predict for; None: that of the potential, so that functionals are not mixed.
    relax
        "none", "positions", or "cell" for the positions and the cell; the space group is kept.
    dim, displacement
        Of the supercells, as `read_project` takes them.
    folder
        Where finished forces are kept, so that an interrupted call goes on; None: nowhere.
    workers
        Processes that calculate supercells.
    follow
        Relax along unstable modes until there are none.
    symprec
        Tolerance of the space group, Angstrom.
    allow_unseen, allow_metal, allow_vacuum
        As in `ProjectSettings`.
    linewidths, directions
        Of the infrared spectrum, THz and Cartesian.
    bands
        Whether phonons are followed along a path, too.
    device
        Of the networks, as in `Settings`; potentials run on the CPU.
    strain
        Whether cells are strained: without, there is no stiffness of the potential and no ionic piezoelectricity.
    """

    potential: str = DEFAULT
    calculator: Any = None
    functional: str | None = None
    relax: Relax = "positions"
    dim: Sequence[int] | None = None
    displacement: float = DISPLACEMENT
    folder: Path | None = None
    workers: int = 1
    follow: bool = False
    symprec: float = 1e-3
    allow_unseen: bool = False
    allow_metal: bool = False
    allow_vacuum: bool = False
    linewidths: ArrayLike = LINEWIDTH
    directions: Sequence[ArrayLike] = AXES
    bands: bool = True
    strain: bool = True
    device: str = "auto"

"""What the files of a run of VASP say about one ionic step, and which properties follow from the printed parts."""

from __future__ import annotations

from dataclasses import dataclass, field

import ase
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass
class Step:
    """One structure with tensors.

    `parts` are Cartesian, in our units: properties by their names, and `piezo_ionic`, `elastic_clamped`,
    `elastic_ionic`, `elastic_total`, which are none.
    """

    atoms: ase.Atoms
    parts: dict[str, Array]
    problems: list[str] = field(default_factory=list)
    conversions: list[str] = field(default_factory=list)


def add_sums(step: Step) -> None:
    """Add piezo_total and elastic, of relaxed ions, where their parts are there; say what the others are good for."""
    parts = step.parts
    clamped, ionic = parts.get("piezo_clamped"), parts.pop("piezo_ionic", None)
    if clamped is not None and ionic is not None:
        parts["piezo_total"] = clamped + ionic
        step.conversions.append("piezo_total: contributions of electrons and ions added")
    elif ionic is not None:
        step.problems.append("the piezoelectric tensor of the ions alone is no property; add LEPSILON to the run")
    total = parts.pop("elastic_total", None)
    rigid, relaxation = parts.pop("elastic_clamped", None), parts.pop("elastic_ionic", None)
    if total is None and rigid is not None and relaxation is not None:
        total = rigid + relaxation
        step.conversions.append("elastic: moduli of clamped ions and the contribution of their relaxation added")
    if total is not None:
        parts["elastic"] = total
    elif rigid is not None:
        step.problems.append(
            "the elastic moduli of clamped ions are left out: elastic is of relaxed ions; use IBRION = 6"
        )
    elif relaxation is not None:
        step.problems.append(
            "the elastic moduli of the ions alone are no property; IBRION = 6 with ISIF = 3 gives the whole"
        )

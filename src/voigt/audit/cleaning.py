"""A cleaned copy of a labeled file: only what is certain is changed, and every change is listed in its frame."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import ase
import numpy as np

from voigt.audit.finding import Repair
from voigt.audit.hypotheses import reordered
from voigt.audit.run import Audit
from voigt.audit.writing import write_frames
from voigt.data.tensor_symmetry import turned
from voigt.tensors.layout import flat
from voigt.tensors.properties import PROPERTIES

KEY = "audit"
"""Info key of the list of changes."""


def write_clean(audit: Audit, path: str | Path) -> int:
    """Write all readable frames with the repairs of an audit; returns how many frames were changed.

    A changed frame says what was done under the info key `audit`, sentences with semicolons between them.

    Parameters
    ----------
    audit
        Of the file.
    path
        Extended XYZ that is written, all or nothing.

    Raises
    ------
    OutputError
        The file cannot be written, or its suffix is none of extended XYZ.
    """
    repairs = defaultdict(list)
    for repair in audit.repairs:
        repairs[repair.frame].append(repair)
    frames = (repaired(frame.crystal.atoms, repairs.get(frame.index, [])) for frame in audit.frames)
    write_frames(frames, path)
    return sum(frame.index in repairs for frame in audit.frames)


def repaired(atoms: ase.Atoms, repairs: list[Repair]) -> ase.Atoms:
    """A copy of a frame with its labels changed; the frame itself if there is nothing to change."""
    if not repairs:
        return atoms
    copy: ase.Atoms = atoms.copy()
    for repair in repairs:
        prop = PROPERTIES[repair.property]
        home = copy.arrays if prop.per == "atom" else copy.info
        if repair.action == "drop":
            home.pop(prop.name, None)
            continue
        count = len(atoms) if prop.per == "atom" else 1
        shape = (count, *prop.stored_shape) if prop.per == "atom" else prop.stored_shape
        tensor = prop.from_storage(np.asarray(home[prop.name], dtype=np.float64).reshape(shape))
        if repair.action == "rotate":
            tensor = turned(prop, tensor, np.array(repair.rotation)[None])[0]
        else:
            tensor = reordered(prop, tensor, repair.order)
        home[prop.name] = np.round(flat(prop, tensor), 10)
    earlier = [str(copy.info[KEY])] if KEY in copy.info else []
    copy.info[KEY] = "; ".join([*earlier, *dict.fromkeys(repair.text for repair in repairs)])
    return copy

"""What an audit finds: one statement on one frame, or on a whole file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

Severity = Literal["error", "warning", "info"]
Turn: TypeAlias = tuple[tuple[float, ...], ...]
"""A rotation (3, 3) as nested tuples; () for none."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

MEANING: Mapping[str, str] = MappingProxyType(
    {
        "unreadable": "frames that are no sound structure",
        "wrong_shape": "labels with another number of components, or no numbers",
        "not_finite": "labels that are NaN or infinite",
        "zero_tensor": "labels of zero where symmetry allows values",
        "not_symmetric": "tensors without their index symmetry",
        "bound": "eigenvalues outside the physical bound",
        "implausible": "values far beyond those of known crystals",
        "sum_of_parts": "sums that differ from their parts",
        "sum_rule": "Born charges that do not sum to the charge of the cell",
        "wrong_frame": "tensors in other axes than the structure",
        "wrong_order": "components in another order or notation",
        "symmetry": "tensors that contradict the crystal's symmetry, for no reason found",
        "frame_undecided": "tensors whose axes the crystal's symmetry cannot tell, in a file of other axes",
        "metal": "response of probable metals",
        "open_shell": "open shells calculated without spin polarization",
        "functional_missing": "labels without a functional",
        "functionals_mixed": "labels of several functionals",
        "not_primitive": "cells that hold several primitive cells",
        "duplicate": "crystals that stand in the file twice",
        "near_duplicate": "crystals that are nearly another one of the file",
        "leak": "crystals of which train and another part hold nearly the same",
        "contradiction": "labels of one crystal that contradict each other",
        "formula_in_parts": "reduced formulas in more than one part of the split",
        "outlier": "labels far outside the interval of the model that ships",
        "unlike_training": "crystals unlike those that the models learned from",
        "units": "labels that a unit seems to be missing from",
        "reversed": "labels whose sign is opposite to that of the model",
        "transposed": "Born charges whose indices seem to be exchanged",
        "not_compared": "frames for which the models have no prediction",
    }
)
"""What each kind is."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, doubtful, or good to know.

    Attributes
    ----------
    frame
        Place in the file, from 0; -1 for a statement on all of the file.
    id
        Identity of the frame, "" for the file.
    kind
        A key of `MEANING`.
    severity
        "error": certainly wrong; "warning": probably, or of no use for training; "info": good to know.
    property
        Property that it concerns, "" for none.
    value
        The number that decided, as `text` says; NaN if there is none.
    text
        One sentence for people.
    fix
        What to do, "" for nothing.
    rotation
        (3, 3) as nested tuples: the rotation R that mends a tensor, T' = R T with every index; () for none.

    Examples
    --------
    >>> finding = Finding(3, "mp-2", "bound", "error", "eps_inf", 0.2, "eps_inf: an eigenvalue is 0.2", "remove it")
    >>> finding.record()["kind"], finding.record()["value"]
    ('bound', 0.2)
    """

    frame: int
    id: str
    kind: str
    severity: Severity
    property: str
    value: float
    text: str
    fix: str = ""
    rotation: Turn = ()

    def record(self) -> dict[str, Any]:
        """All fields for JSON; NaN and an absent rotation become None."""
        fields = asdict(self)
        return fields | {"value": None if self.value != self.value else self.value, "rotation": self.rotation or None}


@dataclass(frozen=True)
class Repair:
    """A change of one label that is certain.

    Attributes
    ----------
    frame
        Place in the file, from 0.
    property
        Whose label is changed.
    action
        "rotate", "reorder" or "drop".
    text
        What is done, for the list of changes.
    rotation
        With "rotate": (3, 3) as nested tuples, T' = R T with every index.
    order
        With "reorder": where each Voigt component stands in the file, or the name of a notation.
    """

    frame: int
    property: str
    action: Literal["rotate", "reorder", "drop"]
    text: str
    rotation: Turn = ()
    order: str = ""

"""What programs read of trouble: a `Failure` instead of a result, a `Note` beside one.

Sentences are for people; code branches on `kind` and reads `properties` and `elements`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Kind = Literal[
    "unreadable",
    "duplicate_id",
    "unseen_elements",
    "unknown_functional",
    "no_symmetry",
    "memory",
    "not_finite",
    "crashed",
    "likely_metal",
    "small_gap",
    "vacuum",
    "far_from_training",
    "charged",
    "disagreement",
    "canonical_axes",
    "contradiction",
    "unusable_born",
    "mixed_functionals",
    "not_relaxed",
    "asymmetric_forces",
    "unstable_modes",
    "soft_modes",
    "not_neutral",
    "processing",
    "set_aside",
    "no_axis",
    "routes_disagree",
    "doubtful_label",
]

MEANING: Mapping[Kind, str] = MappingProxyType(
    {
        "unreadable": "no sound structure",
        "duplicate_id": "id of an earlier structure",
        "unseen_elements": "elements outside the training set of a model",
        "unknown_functional": "functional that a model does not know",
        "no_symmetry": "no space group or canonical axes found",
        "memory": "not enough memory",
        "not_finite": "values that are not finite",
        "crashed": "the computation of this structure crashed",
        "likely_metal": "probably a metal: the response is defined for insulators only",
        "small_gap": "no band gap found, though the valences balance: a semiconductor of a small gap, or a semimetal",
        "vacuum": "a sheet, wire or molecule in vacuum: no property of a three-dimensional crystal",
        "far_from_training": "bonds or densities that the training set of a model hardly has",
        "charged": "charge of the cell as the structure states it",
        "disagreement": "the members of an ensemble disagree",
        "canonical_axes": "canonical axes that react to small changes of the cell",
        "contradiction": "values of two models that contradict each other",
        "unusable_born": "Born charges of a project that could not be used",
        "mixed_functionals": "properties that belong to different functionals",
        "not_relaxed": "forces on the undisplaced structure, or stress in its cell",
        "asymmetric_forces": "forces of a calculator that contradict the symmetry of the crystal",
        "unstable_modes": "modes with imaginary or vanishing frequency, left out of the permittivity",
        "soft_modes": "imaginary modes at wave vectors of a supercell: another structure is more stable",
        "not_neutral": "Born charges that do not sum to zero",
        "processing": "what was done to tensors or force constants",
        "set_aside": "tensors of a project that are not used",
        "no_axis": "direction that is not an axis of the permittivity",
        "routes_disagree": "two ways to the same property that differ by more than the interval of one",
        "doubtful_label": "what speaks against a label",
    }
)
"""What each kind is in general, for tables that count them."""

INFORMATION: frozenset[Kind] = frozenset({"processing", "set_aside", "no_axis", "charged"})
"""Kinds that tell what was done; all others put a result in doubt."""


OPTIONS: Mapping[Kind, str] = MappingProxyType(
    {
        "unseen_elements": "use --allow-unseen to predict all the same",
        "soft_modes": "--follow looks for the structure that the softest leads to",
    }
)
"""What the command line advises instead of the remedy for Python."""


@dataclass(frozen=True)
class Note:
    """Something to know about a result.

    Attributes
    ----------
    kind
        What it is, a key of `MEANING`: what programs look at.
    text
        One sentence for people.
    properties
        Properties that it concerns. One of them without a value is missing for this reason.
    elements
        Symbols of elements that it is about.
    remedy
        What to do in Python, where that is not part of `text`.

    Examples
    --------
    >>> Note("unseen_elements", "Po not in the training set of model 'born'", ("born_charges",), ("Po",)).kind
    'unseen_elements'
    """

    kind: Kind
    text: str
    properties: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def sentence(self) -> str:
        """Text and remedy."""
        return _advised(self.text, self.remedy)

    def for_command_line(self) -> Note:
        """The same with the remedy of the command line."""
        return replace(self, remedy=OPTIONS.get(self.kind, self.remedy) if self.remedy else "")

    @property
    def is_warning(self) -> bool:
        """Whether it puts the result in doubt."""
        return self.kind not in INFORMATION


@dataclass(frozen=True)
class Failure:
    """An input without a result.

    Attributes
    ----------
    source
        Path of the file, "-" for standard input, "<memory>" for objects.
    index
        Place in the file, from 0.
    id
        Identity of the structure.
    kind
        What went wrong, a key of `MEANING`.
    problem
        What is wrong and what to do, all problems at once.
    properties
        Properties that could not be had.
    elements
        Symbols of elements that are the reason.
    remedy
        What to do in Python, where that is not part of `problem` because the command line has another word for it.

    Examples
    --------
    >>> Failure("a.cif", 0, "a", "unreadable", "has no cell; add one").reason
    'a.cif, frame 0 (id a): has no cell; add one'
    """

    source: str
    index: int
    id: str
    kind: Kind
    problem: str
    properties: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def reason(self) -> str:
        """One sentence for people: place, id, problem and remedy."""
        return _advised(f"{self.source}, frame {self.index} (id {self.id}): {self.problem}", self.remedy)

    def for_command_line(self) -> Failure:
        """The same with the remedy of the command line."""
        return replace(self, remedy=OPTIONS.get(self.kind, self.remedy) if self.remedy else "")

    def note(self) -> Note:
        """The same beside a result that lacks `properties`."""
        names = ", ".join(self.properties)
        text = f"{names} not predicted: {self.problem}"
        return Note(self.kind, text, self.properties, self.elements, self.remedy)

    def lacking(self, properties: tuple[str, ...]) -> Failure:
        """The same failure, of these properties."""
        return replace(self, properties=properties)


def _advised(text: str, remedy: str) -> str:
    return f"{text}; {remedy}" if remedy else text

"""What a report needs of every crystal of a store, gathered part by part.

Only scalars are kept: a few hundred bytes for each crystal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.models.elements import NUM_ELEMENTS
from voigt.notes import MEANING
from voigt.screening.query.columns import Ragged, read_column
from voigt.screening.query.derived import columns_of, needed_columns
from voigt.screening.query.expressions import Expression, evaluate
from voigt.screening.query.invariants import frobenius
from voigt.screening.store.parts import as_written, copies, failed_parts, read_part, read_tables
from voigt.tensors.properties import PROPERTIES

if TYPE_CHECKING:
    import pyarrow

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ALWAYS = ("id", "formula", "numbers", "likely_metal", "unseen", "warnings", "notes", "prefilter", "spacegroup")

NOT_RECORDED = "not recorded"  # kind of what version 0.1 stored: sentences alone. They are counted as they are.
_PHRASES: Mapping[str, str] = {NOT_RECORDED: NOT_RECORDED, **{str(kind): text for kind, text in MEANING.items()}}


@dataclass(frozen=True)
class Reason:
    """One kind of trouble, or one sentence whose kind is not recorded."""

    kind: str  # key of `MEANING`, or `NOT_RECORDED`
    sentence: str = ""  # only without a kind: what is stored instead; "" if nothing is

    @property
    def meaning(self) -> str:
        """A phrase for tables; the kind itself if a later version stored it."""
        return _PHRASES.get(self.kind, self.kind)


@dataclass
class Reasons:
    """How many cases there are of each reason, and the first sentence of each.

    Examples
    --------
    >>> reasons = Reasons()
    >>> reasons.add("memory", "a.cif: not enough memory for its 900 atoms")
    >>> reasons.add("memory", "b.cif: not enough memory for its 800 atoms")
    >>> reasons.add(None, "as version 0.1 stored it")
    >>> [(reason.kind, count, example) for reason, count, example in reasons.common(1)]
    [('memory', 2, 'a.cif: not enough memory for its 900 atoms')]
    """

    counts: dict[Reason, int] = field(default_factory=dict)
    examples: dict[Reason, str] = field(default_factory=dict)

    def add(self, kind: str | None, sentence: str) -> None:
        """Count one case; `kind` is None where none is stored."""
        reason = Reason(NOT_RECORDED, sentence) if kind is None else Reason(kind)
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.examples.setdefault(reason, sentence)

    @property
    def total(self) -> int:
        """All cases."""
        return sum(self.counts.values())

    def common(self, most: int) -> Sequence[tuple[Reason, int, str]]:
        """The most common reasons with counts and examples, ties in alphabetic order."""
        order = sorted(self.counts.items(), key=lambda item: (-item[1], item[0].meaning, item[0].sentence))
        return [(reason, count, self.examples[reason]) for reason, count in order[:most]]


@dataclass(frozen=True)
class Survey:
    """A store in scalars, row by row over its parts in order.

    Attributes
    ----------
    ids, formulas
        (n,) of the crystals.
    spacegroups
        (n,) numbers, 0 if unknown.
    scalars
        Name -> (n,), NaN where there is no value.
    matched
        (n,) whether the condition is true; all True without one.
    unseen, metal
        (n,) whether a crystal holds elements that a model has not seen; whether it is probably a metal and has a
        property that is defined for insulators only.
    passed
        (n,) 1 or 0 by the prefilter, NaN without one.
    disagreement
        Property -> (n,) spread of the ensemble over the norm of the tensor; NaN for one network.
    residual
        Property -> (n,) symmetry residual of the raw tensor.
    predicted
        Property -> how many crystals have a value.
    lacking
        Property -> why crystals have no value, though no prefilter kept the model from it.
    warnings
        What the notes on crystals are, without those that explain a missing property. Each kind counts once a crystal.
    unrecorded
        Crystals whose notes have no kinds: version 0.1 stored sentences only.
    held, trusted
        (119,) by atomic number: crystals that hold an element; those of them whose elements all models have seen.
    """

    ids: NDArray[np.object_]
    formulas: NDArray[np.object_]
    spacegroups: NDArray[np.int64]
    scalars: Mapping[str, Array]
    matched: Mask
    unseen: Mask
    metal: Mask
    passed: Array
    disagreement: Mapping[str, Array]
    residual: Mapping[str, Array]
    predicted: Mapping[str, int]
    lacking: Mapping[str, Reasons]
    warnings: Reasons
    unrecorded: int
    held: Array
    trusted: Array

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows of crystals, in the order of `ids`."""
        wanted = set(ids)
        places = {name: row for row, name in enumerate(self.ids) if name in wanted}
        return np.array([places[name] for name in ids], dtype=np.int64)


@dataclass(frozen=True)
class Failures:
    """Inputs without any prediction.

    Attributes
    ----------
    reasons
        What went wrong.
    refused
        (119,) by atomic number: inputs refused since a model has not seen the element.
    unrecorded
        Failures without a kind: version 0.1 stored sentences only.
    """

    reasons: Reasons
    refused: Array
    unrecorded: int

    @property
    def count(self) -> int:
        """Inputs."""
        return self.reasons.total


@dataclass
class _Gathering:
    """Chunks on their way into a `Survey`."""

    texts: dict[str, list[Any]] = field(default_factory=lambda: {"id": [], "formula": []})
    arrays: dict[tuple[str, str], list[NDArray[Any]]] = field(default_factory=dict)
    predicted: Counter[str] = field(default_factory=Counter)
    lacking: dict[str, Reasons] = field(default_factory=dict)
    warnings: Reasons = field(default_factory=Reasons)
    unrecorded: int = 0
    held: Array = field(default_factory=lambda: np.zeros(NUM_ELEMENTS))
    trusted: Array = field(default_factory=lambda: np.zeros(NUM_ELEMENTS))

    def add(self, kind: str, name: str, values: NDArray[Any]) -> None:
        self.arrays.setdefault((kind, name), []).append(values)

    def joined(self, kind: str) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate(chunks) for (group, name), chunks in self.arrays.items() if group == kind}


def read_survey(
    parts: Sequence[Path], properties: Sequence[str], names: Sequence[str], where: Expression | None
) -> Survey:
    """Read a store once.

    Parameters
    ----------
    parts
        Of the store, in order.
    properties
        Those that were screened for, from the manifest.
    names
        Scalars wanted, see `voigt.screening.query.derived`.
    where
        Condition; None: all crystals match.

    Raises
    ------
    InputError
        There are no results, a part cannot be read, or the screening lacks what a name needs.
    """
    gathered = _Gathering(lacking={name: Reasons() for name in properties})
    everything = list(dict.fromkeys([*names, *sorted(where.names if where else ())]))
    for table in read_tables(parts, _columns(properties, everything)):
        with as_written():
            _gather(gathered, table, properties, names, where)
    if not gathered.arrays:
        raise InputError(
            "this screening holds no results; let 'voigt screen' run until its first part is written, or see in "
            "failed.csv why all inputs failed"
        )
    flags, scalars = gathered.joined("flag"), gathered.joined("scalar")
    ids, formulas = (np.array(gathered.texts[name], dtype=object) for name in ("id", "formula"))
    if len(set(gathered.texts["id"])) < len(ids):
        raise InputError("some crystals are in two parts of this screening; run 'voigt screen' again to put one aside")
    return Survey(
        ids=ids,
        formulas=formulas,
        spacegroups=np.nan_to_num(flags["spacegroup"]).astype(np.int64),
        scalars=scalars,
        matched=flags["matched"],
        unseen=flags["unseen"],
        metal=flags["metal"],
        passed=flags["passed"],
        disagreement=gathered.joined("disagreement"),
        residual=gathered.joined("residual"),
        predicted={name: gathered.predicted[name] for name in properties},
        lacking=gathered.lacking,
        warnings=gathered.warnings,
        unrecorded=gathered.unrecorded,
        held=gathered.held,
        trusted=gathered.trusted,
    )


def read_failures(folder: str | Path) -> Failures:
    """Gather the failures of a store, also of one that is still running.

    Raises InputError: a table cannot be read, or is there twice.
    """
    reasons = Reasons()
    refused = np.zeros(NUM_ELEMENTS)
    unrecorded = 0
    tables = failed_parts(folder)
    for copy, first in copies(tables).items():
        raise InputError(f"{copy} is a copy of {first.name}: its failures would count twice; remove the copy")
    for path in tables:
        for row in read_part(path, ["reason", "kind", "elements"]).to_pylist():
            kind = row.get("kind")
            reasons.add(kind, row["reason"])
            refused[[atomic_numbers.get(symbol, 0) for symbol in row.get("elements") or ()]] += 1
            unrecorded += kind is None
    return Failures(reasons, refused, unrecorded)


def _columns(properties: Sequence[str], names: Sequence[str]) -> list[str]:
    """What is read of a part: no structures, and no tensors of atoms unless a scalar is made of them."""
    columns = [*_ALWAYS, *needed_columns(names)]
    for name in properties:
        columns += [f"{name}_spread", f"{name}_residual", f"{name}_model"]
        columns += [name] if PROPERTIES[name].per == "crystal" else []
    return list(dict.fromkeys(columns))


def _gather(
    into: _Gathering, table: pyarrow.Table, properties: Sequence[str], names: Sequence[str], where: Expression | None
) -> None:
    count = table.num_rows
    for name, texts in into.texts.items():
        texts.extend(table[name].to_pylist())
    values = columns_of(table, list(dict.fromkeys([*names, *sorted(where.names if where else ())])))
    for name in names:
        into.add("scalar", name, values[name])
    matched = np.broadcast_to(True if where is None else evaluate(where, values), count)
    unseen = np.array([bool(entry) for entry in table["unseen"].to_pylist()], dtype=bool)
    passed = read_column(table, "prefilter")
    # The tensors of atoms are not read: a model is noted where there is a value.
    columns = {name: name if PROPERTIES[name].per == "crystal" else f"{name}_model" for name in properties}
    present = {name: ~np.asarray(table[column].is_null()) for name, column in columns.items()}
    delicate = [present[name] for name in properties if PROPERTIES[name].insulators_only]
    metal = (read_column(table, "likely_metal") == 1) & np.any([np.zeros(count, dtype=bool), *delicate], axis=0)
    flags: dict[str, NDArray[Any]] = {"matched": matched, "unseen": unseen, "passed": passed, "metal": metal}
    flags["spacegroup"] = read_column(table, "spacegroup")
    for name, flag in flags.items():
        into.add("flag", name, flag)
    _count_elements(into, read_column(table, "numbers"), unseen)
    _gather_notes(into, table, present, passed != 0)
    for name in properties:
        into.predicted[name] += int(present[name].sum())
        _gather_diagnostics(into, table, name)


def _gather_notes(into: _Gathering, table: pyarrow.Table, present: Mapping[str, Mask], wanted: Mask) -> None:
    """Count notes: those that explain why a property is missing, where it is wanted, and all others."""
    stored = table["notes"].to_pylist() if "notes" in table.column_names else [None] * table.num_rows
    for row, (sentences, notes) in enumerate(zip(table["warnings"].to_pylist(), stored, strict=True)):
        into.unrecorded += notes is None
        entries = _entries(sentences or [], notes)
        missing = {name for name, mask in present.items() if not mask[row]}
        for name in missing if wanted[row] else ():
            kind, text = next(((kind, text) for kind, text, names in entries if name in names), (None, ""))
            into.lacking[name].add(kind, text)
        others = [(kind, text) for kind, text, names in entries if missing.isdisjoint(names)]
        for kind, text in {kind or text: (kind, text) for kind, text in reversed(others)}.values():
            into.warnings.add(kind, text)


def _entries(sentences: Sequence[str], notes: Sequence[Mapping[str, Any]] | None) -> list[tuple[str | None, str, Any]]:
    """Kind, sentence and properties of each warning of a crystal; without stored notes the sentence alone."""
    if notes is None:
        return [(None, text, ()) for text in sentences]
    return [(note["kind"], text, note["properties"]) for text, note in zip(sentences, notes, strict=True)]


def _gather_diagnostics(into: _Gathering, table: pyarrow.Table, name: str) -> None:
    if PROPERTIES[name].per == "crystal":
        value = read_column(table, name)
        size = np.abs(value) if value.ndim == 1 else frobenius(value)
        spread = read_column(table, f"{name}_spread")
        with np.errstate(divide="ignore", invalid="ignore"):
            into.add("disagreement", name, np.where(spread == 0, 0.0, spread / size))
    if f"{name}_residual" in table.column_names:
        into.add("residual", name, read_column(table, f"{name}_residual"))


def _count_elements(into: _Gathering, numbers: Ragged, unseen: Mask) -> None:
    """Count every element once for every crystal that holds it."""
    crystal = np.repeat(np.arange(len(unseen)), np.nan_to_num(numbers.lengths).astype(np.int64))
    if len(numbers.values) and not (numbers.values.min() > 0 and numbers.values.max() < NUM_ELEMENTS):
        raise ValueError("atomic numbers of no element")
    pairs = np.unique(crystal * NUM_ELEMENTS + numbers.values.astype(np.int64))
    crystal, element = np.divmod(pairs, NUM_ELEMENTS)
    into.held += np.bincount(element, minlength=NUM_ELEMENTS)
    into.trusted += np.bincount(element[~unseen[crystal]], minlength=NUM_ELEMENTS)

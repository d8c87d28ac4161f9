"""What a report needs to know of every crystal of a store, gathered part by part.

Only scalars are kept: a few hundred bytes a crystal, whatever the size of the collection.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.models.elements import NUM_ELEMENTS
from voigt.screening.query.columns import Ragged, read_column
from voigt.screening.query.derived import columns_of, needed_columns
from voigt.screening.query.expressions import Expression, evaluate
from voigt.screening.query.invariants import frobenius
from voigt.screening.store.parts import read_part, read_tables
from voigt.screening.store.store import failed_parts
from voigt.tensors.properties import PROPERTIES

if TYPE_CHECKING:
    import pyarrow

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ALWAYS = ("id", "formula", "numbers", "unseen", "warnings", "prefilter", "spacegroup")
_METAL = "probably a metal"  # how the warning begins, see `voigt.prediction`
_ABSENT = re.compile(r"(?P<names>[a-z_]+(?:, [a-z_]+)*) not predicted: (?P<why>.*)", re.DOTALL)
_SYMBOLS = r"[A-Z][a-z]?(?:, [A-Z][a-z]?)*"
_UNSEEN = re.compile(rf"({_SYMBOLS})(?= not (?:among the|in the training set))")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]*\w)")


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
        (n,) whether a crystal holds elements that a model has not seen; whether a warning calls it a metal.
    passed
        (n,) 1 or 0 by the prefilter, NaN without one.
    disagreement
        Property -> (n,) spread of the ensemble over the norm of the tensor; NaN for one network.
    residual
        Property -> (n,) symmetry residual of the raw tensor.
    predicted
        Property -> how many crystals have a value.
    lacking
        Property -> why there is no value, though no prefilter kept the model from it -> crystals.
    warnings
        Sentence, its numbers and elements left out -> crystals; without those on properties that are lacking.
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
    lacking: Mapping[str, Counter[str]]
    warnings: Counter[str]
    held: Array
    trusted: Array

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows of crystals, in the order asked for."""
        wanted = set(ids)
        places = {name: row for row, name in enumerate(self.ids) if name in wanted}
        return np.array([places[name] for name in ids], dtype=np.int64)


@dataclass(frozen=True)
class Failures:
    """What could not be predicted at all.

    Attributes
    ----------
    count
        Inputs.
    reasons
        Reason, its numbers and elements left out -> inputs.
    examples
        The same reason -> the first of these inputs.
    refused
        (119,) by atomic number: inputs refused since a model has not seen the element.
    """

    count: int
    reasons: Counter[str]
    examples: Mapping[str, str]
    refused: Array


@dataclass
class _Gathering:
    """Chunks on their way into a `Survey`."""

    texts: dict[str, list[Any]] = field(default_factory=lambda: {"id": [], "formula": []})
    arrays: dict[tuple[str, str], list[NDArray[Any]]] = field(default_factory=dict)
    predicted: Counter[str] = field(default_factory=Counter)
    lacking: dict[str, Counter[str]] = field(default_factory=dict)
    warnings: Counter[str] = field(default_factory=Counter)
    held: Array = field(default_factory=lambda: np.zeros(NUM_ELEMENTS))
    trusted: Array = field(default_factory=lambda: np.zeros(NUM_ELEMENTS))

    def add(self, kind: str, name: str, values: NDArray[Any]) -> None:
        self.arrays.setdefault((kind, name), []).append(values)

    def joined(self, kind: str) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate(chunks) for (own, name), chunks in self.arrays.items() if own == kind}


def survey(
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
    gathered = _Gathering(lacking={name: Counter() for name in properties})
    everything = list(dict.fromkeys([*names, *sorted(where.names if where else ())]))
    for table in read_tables(parts, _columns(properties, everything)):
        _gather(gathered, table, properties, names, where)
    if not gathered.arrays:
        raise InputError(
            "this screening holds no results; let 'voigt screen' run until its first part is written, or see in "
            "failed.csv why all inputs failed"
        )
    flags, scalars = gathered.joined("flag"), gathered.joined("scalar")
    ids, formulas = (np.array(gathered.texts[name], dtype=object) for name in ("id", "formula"))
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
        held=gathered.held,
        trusted=gathered.trusted,
    )


def read_failures(folder: str | Path) -> Failures:
    """Gather the failures of a store, also of one that is still running."""
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    refused = np.zeros(NUM_ELEMENTS)
    for path in failed_parts(folder):
        for row in read_part(path, ["id", "source", "index", "reason"]).to_pylist():
            plain = _general(_without_place(row))
            reasons[plain] += 1
            examples.setdefault(plain, row["id"])
            symbols = {symbol for match in _UNSEEN.finditer(row["reason"]) for symbol in match[1].split(", ")}
            refused[[atomic_numbers[symbol] for symbol in symbols if symbol in atomic_numbers]] += 1
    return Failures(reasons.total(), reasons, examples, refused)


def _without_place(row: Mapping[str, Any]) -> str:
    """A reason without file, place and id before it."""
    reason: str = row["reason"]
    for prefix in (f"{row['source']}, frame {row['index']}", f" (id {row['id']})", ": ", f"{row['id']}: "):
        reason = reason.removeprefix(prefix)
    return reason


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
    warnings = [entry or [] for entry in table["warnings"].to_pylist()]
    unseen = np.array([bool(entry) for entry in table["unseen"].to_pylist()], dtype=bool)
    passed = read_column(table, "prefilter")
    flags: dict[str, NDArray[Any]] = {"matched": matched, "unseen": unseen, "passed": passed}
    flags["spacegroup"] = read_column(table, "spacegroup")
    flags["metal"] = np.array([any(text.startswith(_METAL) for text in own) for own in warnings], dtype=bool)
    for name, flag in flags.items():
        into.add("flag", name, flag)
    for own in warnings:
        into.warnings.update({_general(text) for text in own if not _ABSENT.fullmatch(text)})
    _count_elements(into, read_column(table, "numbers"), unseen)
    for name in properties:
        _gather_property(into, table, name, passed != 0, warnings)


def _gather_property(
    into: _Gathering, table: pyarrow.Table, name: str, wanted: Mask, warnings: Sequence[Sequence[str]]
) -> None:
    # The tensors of atoms are not read: a model is noted where there is a value.
    present = ~np.asarray(table[name if PROPERTIES[name].per == "crystal" else f"{name}_model"].is_null())
    into.predicted[name] += int(present.sum())
    for row in np.flatnonzero(~present & wanted).tolist():
        into.lacking[name][_why(name, warnings[row])] += 1
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
    pairs = np.unique(crystal * NUM_ELEMENTS + numbers.values.astype(np.int64))
    crystal, element = np.divmod(pairs, NUM_ELEMENTS)
    into.held += np.bincount(element, minlength=NUM_ELEMENTS)
    into.trusted += np.bincount(element[~unseen[crystal]], minlength=NUM_ELEMENTS)


def _why(name: str, warnings: Sequence[str]) -> str:
    """What the warnings say about a property without a value."""
    for text in warnings:
        found = _ABSENT.fullmatch(text)
        if found is not None and name in found["names"].split(", "):
            return _general(found["why"])
    return "no reason stored"


@lru_cache(maxsize=65_536)
def _general(text: str) -> str:
    """A sentence without what is different from crystal to crystal: elements and numbers."""
    return _NUMBER.sub("#", re.sub(_UNSEEN, "elements", text))

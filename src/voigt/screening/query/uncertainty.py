"""How far the members of an ensemble disagree about a formula: its values for each of them, not a bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voigt.screening.query.columns import Ragged, read_members
from voigt.screening.query.derived import DERIVED, columns_of, derive, needed_columns
from voigt.screening.query.expressions import Expression, evaluate
from voigt.screening.store.parts import read_tables

if TYPE_CHECKING:
    import pyarrow

Array: TypeAlias = NDArray[np.float64]
Model: TypeAlias = tuple[str, int]  # name and number of members; 0 if their values are not stored


@dataclass(frozen=True)
class Deviations:
    """Result of `deviations`.

    Attributes
    ----------
    values
        (crystals, formulas) standard deviations; 0 for what holds no prediction, NaN where nothing is known.
    ensembles, others
        Names of the models whose members count, and of those that have none: their values are taken as exact.
    """

    values: Array
    ensembles: frozenset[str]
    others: frozenset[str]


def deviations(parts: Sequence[Path], ids: Sequence[str], formulas: Sequence[Expression]) -> Deviations:
    """Standard deviations (ddof 1) of formulas among the members of ensembles, for chosen crystals of a store.

    A formula is evaluated with what the k-th member of a model predicts, for every k: all properties of this model
    together, those of other models at their mean. The variances of different models add.

    Parameters
    ----------
    parts
        Of the store. What members predict is read for these crystals only, a few thousand at a time.
    ids
        Of the crystals; rows have this order.
    formulas
        Of kind "number".
    """
    values = np.full((len(ids), len(formulas)), np.nan)
    known: set[Model] = set()
    place = {name: row for row, name in enumerate(ids)}
    properties = sorted({prop for formula in formulas for prop in _properties(formula)})
    columns = ["id", *needed_columns(sorted({name for formula in formulas for name in formula.names}))]
    columns += [f"{prop}_{suffix}" for prop in properties for suffix in ("members", "model")]
    for table in read_tables(parts, columns, only=place.keys()):
        rows = [place[name] for name in table["id"].to_pylist()]
        members = {prop: read_members(table, prop) for prop in properties if f"{prop}_members" in table.column_names}
        models = {prop: _models(table, prop, members.get(prop)) for prop in properties}
        for number, formula in enumerate(formulas):
            values[rows, number] = _deviation(table, formula, members, models)
        known = known.union(*models.values())
    ensembles = frozenset(name for name, size in known if size > 1)
    return Deviations(values, ensembles, frozenset(name for name, _ in known if name) - ensembles)


def _properties(formula: Expression) -> list[str]:
    """Properties whose values, not whose diagnostics, a formula is made of."""
    return sorted({DERIVED[name].columns[0] for name in formula.names if name in DERIVED and DERIVED[name].predicted})


def _models(table: pyarrow.Table, prop: str, members: Ragged | None) -> list[Model]:
    """Which ensemble a property comes from, row by row; an empty name where it was not predicted."""
    sizes = np.zeros(table.num_rows) if members is None else np.nan_to_num(members.lengths)
    return [(name or "", int(size)) for name, size in zip(table[f"{prop}_model"].to_pylist(), sizes, strict=True)]


def _deviation(
    table: pyarrow.Table, formula: Expression, members: Mapping[str, Ragged], models: Mapping[str, Sequence[Model]]
) -> Array:
    """(n,) of one formula; crystals whose properties come from the same models are treated together."""
    properties = _properties(formula)
    if not properties:
        return np.zeros(table.num_rows)
    scalars = columns_of(table, sorted(formula.names))
    groups: dict[tuple[Model, ...], list[int]] = {}
    for row, key in enumerate(zip(*(models[prop] for prop in properties), strict=True)):
        groups.setdefault(key, []).append(row)
    variance = np.full(table.num_rows, np.nan)
    for key, rows in groups.items():
        shares = []
        for model in set(key):
            if model[1] > 1:
                moved = [prop for prop, source in zip(properties, key, strict=True) if source == model]
                tensors = {prop: _tensors_of(members[prop], rows, model[1]) for prop in moved}
                values = _values(formula, {name: value[rows] for name, value in scalars.items()}, tensors, model[1])
                with np.errstate(invalid="ignore"):
                    shares.append(values.var(axis=1, ddof=1))
        if shares:
            variance[rows] = np.sum(shares, axis=0)
    return np.where(np.isfinite(variance), np.sqrt(variance), np.nan)


def _tensors_of(members: Ragged, rows: Sequence[int], size: int) -> Array:
    """Tensors (len(rows) * size, ...) of crystals that have `size` members each."""
    ends = np.cumsum(np.nan_to_num(members.lengths).astype(np.int64))[rows]
    return np.asarray(members.values[(ends[:, None] - size + np.arange(size)).ravel()])


def _values(formula: Expression, scalars: Mapping[str, Array], tensors: Mapping[str, Array], size: int) -> Array:
    """The formula (n, size) for the tensors of each member, other scalars as they are."""
    moved = [name for name in formula.names if name in DERIVED and needed_columns([name])[0] in tensors]
    still = {name: np.repeat(value, size) for name, value in scalars.items() if name not in moved}
    return evaluate(formula, still | derive(tensors, moved)).reshape(-1, size)

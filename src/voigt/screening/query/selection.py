"""Choosing among the crystals of a screening: filter, rank, take the best, in memory that does not grow with it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError, OutputError
from voigt.files import atomic_write
from voigt.screening.query.derived import DERIVED, columns_of, half_widths, needed_columns, suggestion
from voigt.screening.query.expressions import Expression, evaluate, unknown
from voigt.screening.query.grammar import Kind
from voigt.screening.query.uncertainty import deviations
from voigt.screening.store.parts import ROWS, as_written, read_part, read_tables, schema_names
from voigt.structures.rows import atoms_from_row
from voigt.text import csv_cell

if TYPE_CHECKING:
    import pyarrow

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """Crystals that passed, best first; without a ranking in the order of the collection.

    Attributes
    ----------
    ids, formulas
        Of each.
    spacegroups
        (rows,) number of the space group, 0 if unknown.
    names, units
        Scalars in `values`: what the expressions name, what was requested to be shown, and spread and interval of every
        property involved where the store holds them.
    values
        (rows, names), NaN where missing.
    rank
        (rows,) what they are ordered by; None without a ranking.
    rank_spread
        (rows,) standard deviation of `rank` among the members of ensembles, NaN where unknown; see `deviations`. None
        without a ranking.
    looked_at
        Crystals in the store.
    lacking
        Of these, how many could not be judged: a value that the condition or the ranking needs is missing.
    passed
        How many satisfy the condition and have a rank; more than rows if only the best were taken.
    where, ranked_by
        The expressions, as written.
    ascending
        Whether the smallest rank comes first.
    """

    ids: tuple[str, ...]
    formulas: tuple[str, ...]
    spacegroups: NDArray[np.int64]
    names: tuple[str, ...]
    units: tuple[str, ...]
    values: Array
    rank: Array | None
    rank_spread: Array | None
    looked_at: int
    lacking: int
    passed: int
    where: str | None
    ranked_by: str | None
    ascending: bool

    def column(self, name: str) -> Array:
        """Values (rows,) of one of `names`; raises InputError for another."""
        if name not in self.names:
            raise InputError(f"the selection holds no {name}; it holds {', '.join(self.names)}")
        return np.asarray(self.values[:, self.names.index(name)])

    def half_width(self, name: str) -> Array:
        """Half-widths (rows,) of the 90 % interval of one of `names`, NaN where none is known."""
        kept = {other: self.column(other) for other in self.names if other.endswith("_interval")}
        found = half_widths(name, kept)
        return np.full(len(self.ids), np.nan) if found is None else found


@dataclass(frozen=True)
class _Rows:
    """Crystals that passed so far, in one place."""

    ids: NDArray[np.str_]
    formulas: NDArray[np.str_]
    spacegroups: NDArray[np.int64]
    values: Array
    rank: Array

    def take(self, order: NDArray[np.int64]) -> _Rows:
        return _Rows(*(getattr(self, field.name)[order] for field in fields(self)))


def select(
    parts: Sequence[Path],
    where: Expression | None,
    rank: Expression | None,
    top: int | None,
    ascending: bool = False,
    show: Sequence[str] = (),
) -> Selection:
    """Read the parts of a store one after another and keep the crystals that are wanted.

    Crystals of equal rank are ordered by id, so that the result does not depend on the order of the parts. A crystal
    whose rank is no number (a value is missing, 0/0) is never selected; an infinite rank counts as what it is.

    Parameters
    ----------
    parts
        Parquet files of a store, in order.
    where
        Condition; None: all.
    rank
        Formula, the largest first; None: the order of the parts.
    top
        How many at most; None: all that pass. Memory is bounded by these rows.
    ascending
        The smallest rank first.
    show
        More scalars to hold, of `known_names()`.

    Raises
    ------
    InputError
        A name is unknown or its column is not in the store, an expression is of the wrong kind, `top` is not
        positive, or a part cannot be read.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from voigt.screening import Job, open_collection, parse, result_parts, screen_collection
    >>> with TemporaryDirectory() as folder:
    ...     summary = screen_collection(open_collection("examples/three_crystals.xyz"), folder, Job(("band_gap",)))
    ...     best = select(result_parts(folder), parse("num_atoms < 5"), parse("band_gap"), top=1)
    ...     (atoms,) = read_crystals(result_parts(folder), best.ids)
    >>> best.looked_at, best.passed, best.formulas, str(atoms.symbols)
    (3, 2, ('MgO',), 'MgO')
    """
    _check(where, rank, top, show)
    schema = schema_names(parts[0]) if parts else ()
    names = _shown(where, rank, show, schema)
    wanted = list(dict.fromkeys([*names, *(key for e in (where, rank) if e is not None for key in sorted(e.names))]))
    columns = [*needed_columns(wanted), "id", "formula", "spacegroup"]
    text = np.empty(0, dtype=np.str_)
    kept = [_Rows(text, text, np.empty(0, dtype=np.int64), np.empty((0, len(names))), np.empty(0))]
    looked_at = lacking = passed = 0
    for table in read_tables(parts, list(dict.fromkeys(columns))):
        with as_written():
            keep, missing, scalars = _judged(table, wanted, where, rank)
            if keep.any():
                kept.append(_rows(table, keep, scalars, names, rank))
        looked_at, lacking, passed = looked_at + table.num_rows, lacking + int(missing.sum()), passed + int(keep.sum())
        if top is not None and sum(len(rows.ids) for rows in kept) > max(4 * top, ROWS):
            kept = [_best(kept, rank, top, ascending)]
    rows = _best(kept, rank, top, ascending)
    ids = tuple(rows.ids.tolist())
    if len(set(ids)) < len(ids):
        raise InputError("some crystals are in two parts of this screening; run 'voigt screen' again to put one aside")
    return Selection(
        ids=ids,
        formulas=tuple(rows.formulas.tolist()),
        spacegroups=rows.spacegroups,
        names=names,
        units=tuple(DERIVED[name].unit for name in names),
        values=rows.values,
        rank=None if rank is None else rows.rank,
        rank_spread=None if rank is None else deviations(parts, ids, [rank]).values[:, 0],
        looked_at=looked_at,
        lacking=lacking,
        passed=passed,
        where=None if where is None else where.text,
        ranked_by=None if rank is None else rank.text,
        ascending=ascending,
    )


def write_selection(selection: Selection, path: str | Path) -> None:
    """Write a selection as .csv or .parquet: id, formula, spacegroup, scalars, rank, rank_spread; missing is empty.

    Units stand in the metadata of the fields of Parquet. The file is complete or not there.

    Raises
    ------
    OutputError
        Another suffix, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise OutputError(f"cannot write a selection as {path}; give a name that ends in .csv or .parquet")
    numbers = dict(zip(selection.names, selection.values.T, strict=True))
    units = dict(zip(selection.names, selection.units, strict=True))
    if selection.rank is not None and selection.rank_spread is not None:
        numbers |= {"rank": selection.rank, "rank_spread": selection.rank_spread}
    texts: dict[str, list[Any]] = {
        "id": list(selection.ids),
        "formula": list(selection.formulas),
        "spacegroup": [number or None for number in selection.spacegroups.tolist()],
    }
    if suffix == ".parquet":
        _write_parquet(selection, texts, numbers, units, path)
        return
    with atomic_write(path) as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow([*texts, *numbers])
        for row in zip(*texts.values(), *(column.tolist() for column in numbers.values()), strict=True):
            cells = ["" if value is None or value != value else value for value in row]
            rows.writerow([_csv_text(value) for value in cells])


def _csv_text(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.8g}"
    return csv_cell(value) if isinstance(value, str) else value


def read_crystals(parts: Sequence[Path], ids: Sequence[str]) -> Iterator[ase.Atoms]:
    """Structures of chosen crystals, in the order of `ids`; each has its id in `info`. One part is in memory at a time.

    Raises
    ------
    InputError
        An id is not in the store, or a part cannot be read.
    """
    wanted = set(ids)
    places: dict[str, tuple[Path, int]] = {}
    for part in parts:
        with as_written():
            names = read_part(part, ["id"])["id"].to_pylist()
        for row, identity in enumerate(names):
            if identity in wanted:
                places[identity] = (part, row)
    absent = [identity for identity in ids if identity not in places]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise InputError(f"the screening holds no crystal '{absent[0]}'{more}; choose among its ids")
    held: Path | None = None
    table: Any = None
    for identity in ids:
        part, row = places[identity]
        if part != held:
            held, table = part, read_part(part, ["numbers", "cell", "frac"])
        with as_written():
            numbers, cell, frac = (table[name][row].as_py() for name in ("numbers", "cell", "frac"))
            atoms = atoms_from_row(numbers, cell, frac, {"id": identity})
        yield atoms


def _check(where: Expression | None, rank: Expression | None, top: int | None, show: Sequence[str]) -> None:
    kinds: tuple[tuple[Expression | None, Kind, str], ...] = (
        (where, "truth", "filter by a condition, e.g. band_gap > 3"),
        (rank, "number", "rank by a number, e.g. band_gap"),
    )
    for expression, kind, remedy in kinds:
        if expression is not None and expression.kind != kind:
            raise InputError(f"'{expression.text}' is no {'condition' if kind == 'truth' else 'number'}; {remedy}")
    if top is not None and top < 1:
        raise InputError(f"the best {top} crystals cannot be taken; give a positive number")
    for name in show:
        if name not in DERIVED:
            raise InputError(f"unknown name '{name}' to show; {suggestion(name)}")


def _shown(
    where: Expression | None, rank: Expression | None, show: Sequence[str], schema: Sequence[str]
) -> tuple[str, ...]:
    """Scalars of a selection, in the order of their declaration."""
    named = {*show, *(name for e in (where, rank) if e is not None for name in e.names if name in DERIVED)}
    properties = {prop for name in named for prop in DERIVED[name].properties}
    named |= {name for prop in properties for name in (f"{prop}_spread", f"{prop}_interval") if name in schema}
    return tuple(name for name in DERIVED if name in named)


def _judged(
    table: pyarrow.Table, wanted: Sequence[str], where: Expression | None, rank: Expression | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], dict[str, Array]]:
    """Which rows pass, which cannot be judged, and the scalars of all."""
    scalars = columns_of(table, wanted)
    keep, missing = np.ones(table.num_rows, dtype=bool), np.zeros(table.num_rows, dtype=bool)
    if where is not None:
        keep, missing = keep & evaluate(where, scalars), missing | unknown(where, scalars)
    if rank is not None:
        unranked = unknown(rank, scalars)
        keep, missing = keep & ~unranked, missing | (keep & unranked)
    return keep, missing, scalars


def _rows(
    table: pyarrow.Table,
    keep: NDArray[np.bool_],
    scalars: dict[str, Array],
    names: Sequence[str],
    rank: Expression | None,
) -> _Rows:
    import pyarrow as pa

    chosen = table.filter(pa.array(keep))
    scalars = {name: values[keep] for name, values in scalars.items()}
    count = chosen.num_rows
    order = np.full(count, np.nan) if rank is None else np.broadcast_to(evaluate(rank, scalars), count)
    spacegroups = np.nan_to_num(columns_of(chosen, ["spacegroup"])["spacegroup"]).astype(np.int64)
    formulas = [formula or "" for formula in chosen["formula"].to_pylist()]
    values = np.stack([scalars[name] for name in names], axis=1) if names else np.empty((count, 0))
    ids = np.array(chosen["id"].to_pylist(), dtype=np.str_)
    return _Rows(ids, np.array(formulas, dtype=np.str_), spacegroups, values, order)


def _best(kept: Sequence[_Rows], rank: Expression | None, top: int | None, ascending: bool) -> _Rows:
    """All rows in one, in order, the best `top` of them."""
    rows = _Rows(*(np.concatenate([getattr(part, field.name) for part in kept]) for field in fields(_Rows)))
    order = np.arange(len(rows.ids))
    if rank is not None:
        order = np.lexsort((rows.ids, rows.rank if ascending else -rows.rank))
    return rows.take(order[:top])


def _write_parquet(
    selection: Selection,
    texts: dict[str, list[Any]],
    numbers: dict[str, Array],
    units: dict[str, str],
    path: str | Path,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"id": pa.string(), "formula": pa.string(), "spacegroup": pa.int16()}
    columns = [pa.field(name, kinds[name]) for name in texts]
    columns += [pa.field(name, pa.float64(), metadata={"unit": units.get(name, "")}) for name in numbers]
    content = {"where": selection.where, "rank": selection.ranked_by, "order": "ascending" * selection.ascending}
    about = {key: value for key, value in content.items() if value}
    about |= {name: str(getattr(selection, name)) for name in ("looked_at", "lacking", "passed")}
    arrays = [pa.array(texts[name], kinds[name]) for name in texts]
    arrays += [pa.array(values, from_pandas=True) for values in numbers.values()]  # NaN: null
    table = pa.Table.from_arrays(arrays, schema=pa.schema(columns, metadata=about))
    with atomic_write(path, "wb") as stream:
        pq.write_table(table, stream)

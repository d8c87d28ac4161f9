"""Crystals of the second stage in their new order, and the files that show it."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.files import atomic_write, make_folder
from voigt.screening.query.criteria import Criteria
from voigt.screening.query.derived import columns_of
from voigt.screening.query.expressions import evaluate
from voigt.screening.query.selection import Selection
from voigt.screening.refine.answers import Answer, State, state_of
from voigt.screening.store.parts import as_written, read_tables, schema_names
from voigt.tensors.layout import flat
from voigt.tensors.properties import PROPERTIES
from voigt.text import csv_cell

Array = NDArray[np.float64]
FOLDER, TABLE, CRYSTALS = "refined", "refined.csv", "refined.parquet"


@dataclass(frozen=True)
class Refined:
    """One crystal of the second stage.

    Attributes
    ----------
    id, formula, spacegroup
        As in the selection.
    before, after
        Places by the networks, and by assembly; `after` is 0 without a value.
    network
        What it was ranked by, and the half-width of its 90 % interval (NaN if unknown).
    assembled
        The same formula with charges of the networks and the modes of the potential; NaN if modes are unstable.
    taken
        The formula with what `voigt.respond` takes: a mean of both ways, or the network's where modes are soft.
    holds
        Whether the condition holds with the assembled values.
    lowest
        THz, lowest optical mode at Gamma; NaN if there is none.
    state
        "stable", "soft", "unstable" or "failed".
    problem
        Why it failed.
    seconds
        Wall time.
    """

    id: str
    formula: str
    spacegroup: int
    before: int
    after: int
    network: tuple[float, float]
    assembled: float
    taken: float
    holds: bool
    lowest: float
    state: State
    problem: str
    seconds: float


@dataclass(frozen=True)
class Refinement:
    """Result of `refine`.

    Attributes
    ----------
    crystals
        In the new order: those with a value, then unstable ones and failures in their old order.
    table
        Arrow table of the same crystals with the columns of a store: relaxed structures and assembled tensors.
    where, ranked_by
        The expressions, as written.
    ascending
        Whether the smallest comes first.
    potential
        Its name.
    """

    crystals: tuple[Refined, ...]
    table: pa.Table
    where: str | None
    ranked_by: str
    ascending: bool
    potential: str


def ranked_again(
    parts: Sequence[Path], selection: Selection, criteria: Criteria, answers: Sequence[Answer], potential: str
) -> Refinement:
    """Put crystals into the order of their assembled values.

    Parameters
    ----------
    parts
        Of the store.
    selection, answers
        Crystals in the order of the networks, and what each gave.
    criteria
        With a ranking.
    potential
        Name for the record.
    """
    if criteria.rank is None or selection.rank is None:
        raise InputError("crystals without a ranking cannot be ranked again; give --rank")
    table = _rows(parts, selection.ids)
    assembled = _replaced(table, answers, [entry.values for entry in answers])
    taken = _replaced(table, answers, [entry.taken for entry in answers])
    second, third = _ranks(assembled, criteria), _ranks(taken, criteria)
    with as_written():
        names = sorted(criteria.where.names) if criteria.where is not None else []
        scalars = columns_of(assembled, names)
        holds = np.isfinite(second)
        if criteria.where is not None:
            holds = holds & np.broadcast_to(evaluate(criteria.where, scalars), len(answers))
    widths = np.full(len(answers), np.nan)
    if criteria.rank.text in selection.names:
        widths = selection.half_width(criteria.rank.text)
    # Ties and crystals without a value keep the order of the networks.
    order = np.argsort(np.where(np.isnan(second), np.inf, second if criteria.ascending else -second), kind="stable")
    places = {row: place for place, row in enumerate(order.tolist(), start=1) if math.isfinite(second[row])}
    crystals = [
        Refined(
            id=selection.ids[row],
            formula=selection.formulas[row],
            spacegroup=int(selection.spacegroups[row]),
            before=row + 1,
            after=places.get(row, 0),
            network=(float(selection.rank[row]), float(widths[row])),
            assembled=float(second[row]),
            taken=float(third[row]),
            holds=bool(holds[row]),
            lowest=math.nan if (lowest := answers[row].lowest) is None else lowest,
            state=answers[row].state,
            problem=answers[row].problem,
            seconds=answers[row].seconds,
        )
        for row in order.tolist()
    ]
    table = assembled.take(order.tolist())
    where = None if criteria.where is None else criteria.where.text
    return Refinement(tuple(crystals), table, where, criteria.rank.text, criteria.ascending, potential)


def write_refinement(refinement: Refinement, folder: str | Path) -> Path:
    """Write refined.csv and refined.parquet into the folder `refined` of a screening; gives the first.

    Raises OutputError: the folder cannot be written.
    """
    place = Path(folder) / FOLDER
    make_folder(place)
    about = {"where": refinement.where or "", "rank": refinement.ranked_by, "potential": refinement.potential}
    about["order"] = "ascending" if refinement.ascending else "descending"
    with atomic_write(place / CRYSTALS, "wb") as stream:
        pq.write_table(refinement.table.replace_schema_metadata(about), stream)
    with atomic_write(place / TABLE) as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(_HEAD)
        for crystal in refinement.crystals:
            rows.writerow([_cell(value) for value in _values(crystal)])
    return place / TABLE


_HEAD = (
    "after", "before", "id", "formula", "spacegroup", "assembled", "taken", "network", "network_interval", "holds",
    "lowest_THz", "state", "problem", "seconds",
)  # fmt: skip


def _values(crystal: Refined) -> tuple[Any, ...]:
    return (
        crystal.after or None, crystal.before, crystal.id, crystal.formula, crystal.spacegroup or None,
        crystal.assembled, crystal.taken, *crystal.network, crystal.holds, crystal.lowest, crystal.state,
        crystal.problem, crystal.seconds,
    )  # fmt: skip


def _cell(value: Any) -> Any:
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return int(value)
    return f"{value:.6g}" if isinstance(value, float) else csv_cell(value) if isinstance(value, str) else value


def read_refinement(folder: str | Path) -> Refinement | None:
    """What `write_refinement` wrote for a screening; None if there is nothing.

    Raises InputError: the files are damaged or do not belong together.
    """
    import pyarrow as pa

    place = Path(folder) / FOLDER
    if not (place / TABLE).is_file() or not (place / CRYSTALS).is_file():
        return None
    try:
        table = pq.read_table(place / CRYSTALS)
        about = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        with (place / TABLE).open(encoding="utf-8", newline="") as stream:
            crystals = tuple(_crystal(row) for row in csv.DictReader(stream))
        if table["id"].to_pylist() != [crystal.id for crystal in crystals]:
            raise ValueError("its two files hold different crystals")
        ascending = about["order"] == "ascending"
        return Refinement(crystals, table, about["where"] or None, about["rank"], ascending, about["potential"])
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{place} cannot be read ({error}); run 'voigt screen --refine' again") from error


def _crystal(row: dict[str, str]) -> Refined:
    def real(key: str) -> float:
        return float(row[key]) if row[key] else math.nan

    return Refined(
        id=row["id"],
        formula=row["formula"],
        spacegroup=int(row["spacegroup"] or 0),
        before=int(row["before"]),
        after=int(row["after"] or 0),
        network=(real("network"), real("network_interval")),
        assembled=real("assembled"),
        taken=real("taken"),
        holds=row["holds"] == "1",
        lowest=real("lowest_THz"),
        state=state_of(row["state"]),
        problem=row["problem"],
        seconds=real("seconds"),
    )


def _rows(parts: Sequence[Path], ids: Sequence[str]) -> pa.Table:
    """All columns of some crystals, in the order of `ids`."""
    tables = list(read_tables(parts, schema_names(parts[0]), set(ids))) if parts else []
    with as_written():
        together = pa.concat_tables(tables, promote_options="default")
        places = {name: row for row, name in enumerate(together["id"].to_pylist())}
        return together.take([places[name] for name in ids])


def _replaced(table: pa.Table, answers: Sequence[Answer], tensors: Sequence[Mapping[str, Array]]) -> pa.Table:
    """The rows with structures of answers and these tensors: null without one, as is what models said of their own."""
    columns: dict[str, list[Any]] = {"cell": [], "frac": [], "volume": []}
    for found in answers:
        columns["cell"].append(found.cell.ravel())
        columns["frac"].append((found.positions @ np.linalg.inv(found.cell)).ravel())
        columns["volume"].append(abs(float(np.linalg.det(found.cell))))
    for name, prop in PROPERTIES.items():
        values = [flat(prop, known[name]).ravel() if name in known else None for known in tensors]
        columns[name] = values if prop.rank else [None if value is None else float(value[0]) for value in values]
        for suffix in ("spread", "interval", "residual", "members"):
            columns[f"{name}_{suffix}"] = [None] * table.num_rows
    with as_written():
        for place, field in enumerate(table.schema):
            if field.name in columns:
                table = table.set_column(place, field, pa.array(columns[field.name], field.type))
    return table


def _ranks(table: pa.Table, criteria: Criteria) -> Array:
    if criteria.rank is None:
        return np.full(table.num_rows, np.nan)
    with as_written():
        scalars = columns_of(table, sorted(criteria.rank.names))
        return np.array(np.broadcast_to(evaluate(criteria.rank, scalars), table.num_rows), dtype=np.float64)

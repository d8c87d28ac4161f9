"""The two MatBench tasks whose crystals Voigt has structures for, their official folds, and tables that hold them.

MatBench v0.1: Dunn et al., npj Comput. Mater. 6, 138 (2020), doi 10.1038/s41524-020-00406-3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError, TargetError
from voigt.notes import Failure
from voigt.structures import InputStructure
from voigt.structures.rows import structure_from_row

FOLDS = 5
SEED = 18012019  # of MatBench's KFold(5, shuffle=True)
_STRUCTURE = ("numbers", "cell", "frac")


@dataclass(frozen=True)
class Task:
    """One MatBench task.

    Attributes
    ----------
    name
        MatBench's name.
    property
        Name of the property that is scored.
    fold_column, id_column
        Columns of a table of crystals: official test fold (0 to 4) and MatBench identity.
    rival_task
        What the column `task` of a table of rivals says.
    prefix
        Identities are prefix-000001 and so on, in the order of the data set.
    crystals
        Size of the data set.
    """

    name: str
    property: str
    fold_column: str
    id_column: str
    rival_task: str
    prefix: str
    crystals: int

    def official_folds(self) -> NDArray[np.int64]:
        """Test fold of every crystal, in the order of the data set.

        The folds are scikit-learn's KFold with shuffling: consecutive pieces of the indices as numpy's legacy
        generator shuffles them, the first ones longer by one where the size is no multiple of five.
        """
        order = np.arange(self.crystals)
        np.random.RandomState(SEED).shuffle(order)
        fold = np.empty(self.crystals, dtype=np.int64)
        for number, members in enumerate(np.array_split(order, FOLDS)):
            fold[members] = number
        return fold

    def fold_ids(self, fold: int) -> list[str]:
        """Identities of the official test fold, in the order of the data set."""
        return [self.identity(int(index)) for index in np.flatnonzero(self.official_folds() == fold)]

    def identity(self, index: int) -> str:
        """Identity of a crystal from its place in the data set, counted from zero."""
        return f"{self.prefix}-{index + 1:06d}"

    def index(self, identity: str) -> int | None:
        """Inverse of `identity`; None for what is none."""
        digits = identity.removeprefix(f"{self.prefix}-")
        index = int(digits) - 1 if digits.isdecimal() else -1
        return index if 0 <= index < self.crystals and self.identity(index) == identity else None


TASKS = (
    Task("matbench_mp_gap", "band_gap", "gap_fold", "gap_mbid", "mp_gap", "mb-mp-gap", 106_113),
    Task(
        *("matbench_mp_e_form", "formation_energy", "e_form_fold", "e_form_mbid", "mp_e_form", "mb-mp-e-form"), 132_752
    ),
)
"""The tasks of MatBench v0.1 whose crystals are at hand."""


@dataclass(frozen=True)
class TaskRows:
    """The rows of a table that belong to a task."""

    path: Path
    row: NDArray[np.int64]  # (M,) number of each row in the table, ascending
    # mbid, mp_id: (M,) identities; mp_id is "" where the table has none
    mbid: NDArray[np.str_]
    mp_id: NDArray[np.str_]
    fold: NDArray[np.int64]  # (M,) official test fold
    label: NDArray[np.float64]  # (M,) in the property's unit

    def take(self, chosen: NDArray[Any]) -> TaskRows:
        """The rows that a mask or ascending indices select."""
        columns = (self.row, self.mbid, self.mp_id, self.fold, self.label)
        return TaskRows(self.path, *(column[chosen] for column in columns))


def read_task(path: str | Path, task: Task) -> TaskRows:
    """Rows with a label, a fold and an identity; the structures stay in the file.

    Raises InputError: not a readable Parquet file, or without structures; TargetError: columns are missing or not of
    their kind; an identity stands twice, or in another fold than the official one.
    """
    names = (task.id_column, task.fold_column, task.property)
    columns = read_columns(path, names, optional=("mp_id",), present=_STRUCTURE)
    fold, label = _numbers(columns, task.fold_column, path), _numbers(columns, task.property, path)
    mbid, mp_id = (np.array([value or "" for value in columns[name]]) for name in (task.id_column, "mp_id"))
    row = np.flatnonzero((mbid != "") & np.isfinite(fold) & np.isfinite(label))
    rows = TaskRows(Path(path), row, mbid[row], mp_id[row], fold[row].astype(np.int64), label[row])
    _check_official(rows, task)
    return rows


def first_by_hash(rows: TaskRows, count: int) -> TaskRows:
    """So many rows, the same ones on every machine and for every order of the table."""
    digests = [hashlib.sha256(str(name).encode()).hexdigest() for name in rows.mbid]
    return rows.take(np.sort(np.argsort(digests, kind="stable")[:count]))


def structures(rows: TaskRows, size: int = 4096) -> Iterator[InputStructure | Failure]:
    """Structures of the rows, in order, streamed; one that is no sound crystal becomes a `Failure`."""
    import pyarrow
    import pyarrow.parquet

    start = done = 0
    for batch in pyarrow.parquet.ParquetFile(rows.path).iter_batches(batch_size=size, columns=list(_STRUCTURE)):
        end = int(np.searchsorted(rows.row, start + batch.num_rows))
        inside = batch.take(pyarrow.array(rows.row[done:end] - start))
        for index, entry in zip(range(done, end), inside.to_pylist(), strict=True):
            yield structure_from_row(entry, str(rows.path), int(rows.row[index]), str(rows.mbid[index]))
        start, done = start + batch.num_rows, end


def _numbers(columns: dict[str, list[Any]], name: str, path: str | Path) -> NDArray[np.float64]:
    try:
        return np.array([np.nan if value is None else value for value in columns[name]], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TargetError(f"column {name} of {path} does not hold numbers; write it again") from error


def _check_official(rows: TaskRows, task: Task) -> None:
    """A fold that is not the official one would compare a model with predictions made for other training data."""
    if not len(rows.row):
        raise TargetError(
            f"{rows.path} has no row with {task.id_column}, {task.fold_column} and {task.property}; "
            "give a table of MatBench crystals"
        )
    names, counts = np.unique(rows.mbid, return_counts=True)
    if counts.max() > 1:
        raise TargetError(f"{names[counts.argmax()]} stands in two rows of {rows.path}; keep the one that is meant")
    official = task.official_folds()
    indices = [task.index(str(name)) for name in rows.mbid]
    official_folds = [None if index is None else int(official[index]) for index in indices]
    wrong = [i for i, fold in enumerate(rows.fold) if official_folds[i] != fold]
    if wrong:
        place = "unknown" if official_folds[wrong[0]] is None else f"in fold {official_folds[wrong[0]]}"
        raise TargetError(
            f"{len(wrong)} rows of {rows.path} are not in their official fold: {rows.mbid[wrong[0]]} is {place} in "
            f"{task.name}, {task.fold_column} says {rows.fold[wrong[0]]}; take the columns from the official split"
        )


def task_of(column: str | None) -> Task | None:
    """The task of a fold column."""
    return next((task for task in TASKS if task.fold_column == column), None)


def official_size(task: Task, folds: Sequence[int]) -> int:
    """Crystals of these official test folds."""
    return sum(task.crystals // FOLDS + (fold < task.crystals % FOLDS) for fold in folds)


def read_columns(
    path: str | Path, names: Sequence[str], optional: Sequence[str] = (), present: Sequence[str] = ()
) -> dict[str, list[Any]]:
    """Whole columns as lists, None where a value is null.

    Raises InputError: no such file, or not a readable Parquet file; TargetError: a column is missing.

    `path`: the table. `names`: columns to read. `optional`: columns to read where there are any; else they are None
    throughout. `present`: columns that must be there but are not read.
    """
    import pyarrow
    import pyarrow.parquet

    if not Path(path).is_file():
        raise InputError(f"no such file: {path}; check the spelling")
    try:
        file = pyarrow.parquet.ParquetFile(path)
        known = set(file.schema_arrow.names)
        missing = [name for name in (*names, *present) if name not in known]
        if missing:
            raise TargetError(f"{path} has no column {', '.join(missing)}; give a table that has")
        read = file.read(columns=[*names, *(name for name in optional if name in known)])
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} is not a readable Parquet file; fetch or write it again") from error
    columns = {name: read.column(name).to_pylist() for name in read.column_names}
    return columns | {name: [None] * read.num_rows for name in optional if name not in known}


def float_columns(path: str | Path) -> list[str]:
    """Names of the columns of floating-point numbers; `path` must be readable."""
    import pyarrow
    import pyarrow.parquet

    return [field.name for field in pyarrow.parquet.read_schema(path) if pyarrow.types.is_floating(field.type)]

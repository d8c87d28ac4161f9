"""ASE databases, SQLite or JSON, row by row: what cannot be decoded spoils one row, and no objects are built.

A row gives its atoms with magnetic moments, charges, tags, masses and momenta, and the results of a calculator that are
arrays or numbers. Key-value pairs and data become info. Of what only some need (results, tags, data, ...) the broken
parts are left out; a row whose atoms or key-value pairs, which hold its id, are broken becomes a failure.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import ase
import numpy as np

from voigt.errors import InputError
from voigt.safe_json import load_json, shallow
from voigt.structures.inputs import Input
from voigt.structures.readers.failures import attempt, unreadable

LABEL = "ASE database"
ROWS_AT_ONCE = 500
"""Rows of a database that are in memory together."""
MOST_BYTES = 1 << 28
"""Of one field of a row."""
_ARRAYS = ("initial_magmoms", "initial_charges", "masses", "tags", "momenta")
_RESULTS = ("energy", "free_energy", "forces", "stress", "dipole", "magmoms", "magmom", "charges")
_WHOLE = ("numbers", "tags")
_SHAPES = {"positions": (-1, 3), "cell": (3, 3), "momenta": (-1, 3), "forces": (-1, 3)}
_FIELDS = ("numbers", "positions", "cell", "pbc", *_ARRAYS, "calculator", *_RESULTS, "key_value_pairs", "data")
_Row = Mapping[str, Any]


def read_database(path: Path) -> Iterator[Input]:
    """Rows of an SQLite database of ASE in the order of their ids."""
    with closing(_open(path)) as connection:
        for row in _rows(connection):
            if isinstance(row, str):
                yield unreadable(row)
            else:
                yield attempt(partial(atoms_of_row, row, f"row {row['id']}"), LABEL)


def count_rows(path: Path) -> int:
    """How many structures an SQLite database of ASE holds; InputError if it is another program's."""
    with closing(_open(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM systems").fetchone()[0])


def read_json_database(text: str) -> Iterator[Input]:
    """Rows of a JSON database of ASE in the order of its list of ids."""
    document = load_json(text)
    ids = revived(document.get("ids"))
    if ids is None:
        ids = sorted((key for key in document if key.isdecimal()), key=lambda key: (len(key), key))
    if not isinstance(ids, (list, np.ndarray)):
        raise InputError("has no list of ids; write the database again")
    for identity in np.asarray(ids).ravel().tolist():
        row = document.get(str(identity))
        if isinstance(row, Mapping):
            yield attempt(partial(atoms_of_row, row, f"row {identity}"), LABEL)
        else:
            yield unreadable(f"has no row {identity}, which its list of ids names; write the database again")


def _open(path: Path) -> sqlite3.Connection:
    """A database that is only read, and whose fields cannot be made up of nothing."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute(
            "PRAGMA writable_schema = ON"
        )  # a damaged index, in a file that is only read, is passed over
        connection.row_factory = sqlite3.Row
        # ASE would add its own tables to a database of another program; a view or a virtual table may never end.
        table = connection.execute("SELECT type, sql FROM sqlite_master WHERE name = 'systems'").fetchone()
        if table is None:
            raise InputError("is an SQLite file but no ASE database; give one that ase.db wrote")
        columns = {
            column["name"] for column in connection.execute("PRAGMA table_xinfo(systems)") if not column["hidden"]
        }
        is_table = table["type"] == "table" and "VIRTUAL" not in str(table["sql"]).upper().split()[:3]
        if not is_table or not columns >= {"id", *_FIELDS}:
            raise InputError("has no table 'systems' such as ASE writes; give one that ase.db wrote")
    except BaseException:
        connection.close()
        raise
    return connection


def _rows(connection: sqlite3.Connection) -> Iterator[_Row | str]:
    """All rows by id; where pages of the file are damaged, a sentence, and then the rows after the damage."""
    query = f"SELECT id, {', '.join(_FIELDS)} FROM systems WHERE id > ? ORDER BY id"
    last = -(1 << 63)
    while True:
        rows, error = _fetched(connection, f"{query} LIMIT {ROWS_AT_ONCE}", last)
        yield from rows
        last = rows[-1]["id"] if rows else last
        if error is not None:
            where = "at its beginning" if last < 0 else f"after row {last}"
            yield f"is damaged {where} ({error}); fetch or write the database again"
            # From the other end up to the damage.
            yield from reversed(_fetched(connection, f"{query} DESC", last)[0])
            return
        if not rows:
            return


def _fetched(connection: sqlite3.Connection, query: str, last: int) -> tuple[list[_Row], sqlite3.Error | None]:
    """Rows up to the first error, or the first id that is out of order, and what it was."""
    rows: list[_Row] = []
    sign = -1 if query.endswith("DESC") else 1
    previous: int | None = last if sign > 0 else None
    try:
        for row in connection.execute(query, (last,)):
            # Damaged pages may lead in circles.
            if not isinstance(row["id"], int) or (previous is not None and (row["id"] - previous) * sign <= 0):
                return rows, sqlite3.DatabaseError("ids out of order")
            previous = row["id"]
            rows.append(dict(row))
    except sqlite3.Error as error:
        return rows, error
    return rows, None


def atoms_of_row(row: _Row, name: str) -> ase.Atoms:
    """Atoms of a row, as its columns or as JSON; `name` is what sentences call it.

    Raises InputError: atoms or key-value pairs cannot be decoded.
    """

    def needed(field: str, default: Any = None) -> Any:
        try:
            return _field(row, field, default)
        except Exception as error:  # garbage fails in many ways
            raise InputError(f"has a {name} whose {field} cannot be decoded; correct or remove this row") from error

    def optional(field: str) -> Any:
        try:
            return _field(row, field, None)
        except Exception:  # see above
            return None

    numbers, positions = needed("numbers"), needed("positions")
    if numbers is None or positions is None or len(numbers) != len(positions):
        raise InputError(f"has a {name} whose numbers and positions do not agree; correct or remove this row")
    atoms = ase.Atoms(numbers, positions, cell=needed("cell"), pbc=needed("pbc", False))
    for field in _ARRAYS:
        values = optional(field)
        if isinstance(values, np.ndarray) and values.dtype.kind in "bif" and len(values) == len(atoms):
            atoms.set_array(field, values, int if field in _WHOLE else float)
    pairs, data = needed("key_value_pairs", {}), optional("data")
    if not isinstance(pairs, dict):
        raise InputError(f"has a {name} whose key_value_pairs cannot be decoded; correct or remove this row")
    atoms.info.update({**(data if isinstance(data, dict) else {}), **pairs})
    results = {field: value for field in _RESULTS if _is_result(field, value := optional(field), len(atoms))}
    if results:
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms.calc = SinglePointCalculator(atoms, **results)
        calculator = optional("calculator")
        atoms.calc.name = calculator if isinstance(calculator, str) else "unknown"
    return atoms


def _is_result(field: str, value: Any, count: int) -> bool:
    if field in ("energy", "free_energy", "magmom"):
        return isinstance(value, (int, float))
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "forces": ((count, 3),),
        "stress": ((6,), (3, 3)),
        "dipole": ((3,),),
        "magmoms": ((count,), (count, 3)),
    }
    return isinstance(value, np.ndarray) and value.dtype.kind in "if" and value.shape in shapes.get(field, ((count,),))


def _field(row: _Row, field: str, default: Any) -> Any:
    """A field as numbers, text, arrays and mappings of them; `default` if it is empty."""
    value = row.get(field)
    if value is None:
        return default
    if field == "pbc":
        flags = [value & bit for bit in (1, 2, 4)] if isinstance(value, int) else revived(value)
        if np.shape(flags) != (3,) or np.asarray(flags).dtype.kind not in "bi":
            raise InputError("is no list of three flags")
        return np.asarray(flags, dtype=bool)
    if field in ("key_value_pairs", "data"):
        return _document(value, default)
    if isinstance(value, bytes):
        kind = np.dtype("<i4" if field in _WHOLE else "<f8")
        return np.frombuffer(value, kind).astype(kind.newbyteorder("=")).reshape(_SHAPES.get(field, (-1,)))
    plain = revived(value)
    if field in _SHAPES and plain is not None:
        return np.asarray(plain, dtype=float).reshape(_SHAPES[field])
    if field in _WHOLE and plain is not None:
        whole = np.asarray(plain)
        if whole.ndim != 1 or whole.dtype.kind not in "iu":
            raise InputError("is no list of whole numbers")
        return whole
    return np.asarray(plain) if isinstance(plain, list) else plain


def _document(value: Any, default: Any) -> Any:
    if isinstance(value, str):
        value = load_json(value)
    elif isinstance(value, bytes):
        return _from_bytes(value) or default
    value = revived(value)
    return default if value is None else value


def _from_bytes(value: bytes) -> Any:
    """What ASE 3.22 and later pack for `data`: where the JSON begins, arrays, JSON that names their places."""
    start = int.from_bytes(value[:8], "little", signed=True)
    if not 8 <= start <= len(value):
        raise InputError("points outside the field")
    with shallow():
        return _unpacked(json.loads(value[start:]), value)


def _unpacked(value: Any, data: bytes) -> Any:
    """JSON whose arrays begin at places of `data`."""

    def array(shape: Sequence[int], kind: np.dtype[Any], start: int) -> Any:
        if start < 0:
            raise InputError("points outside the field")
        size = math.prod((kind.itemsize, *shape))
        return np.frombuffer(data[start : start + size], kind).reshape(shape)

    return _walked(value, array, str)


def revived(value: Any) -> Any:
    """JSON with the arrays and complex numbers that ASE writes into it; objects stay mappings."""

    def array(shape: Sequence[int], kind: np.dtype[Any], entries: Any) -> Any:
        if kind.kind == "c":
            pairs = np.array(entries, dtype=float).reshape(-1, 2)
            return (pairs[:, 0] + 1j * pairs[:, 1]).reshape(shape)
        return np.array(entries, dtype=kind).reshape(shape)

    return _walked(value, array, _key)


def _walked(
    value: Any, array: Callable[[Any, np.dtype[Any], Any], Any], name: Callable[[str], str | int]
) -> Any:
    """A document with what ASE stands for by mappings; `array` from shape, type and content, `name` of keys."""
    if isinstance(value, list):
        return [_walked(entry, array, name) for entry in value]
    if not isinstance(value, dict):
        return value
    if "__complex__" in value:
        return complex(*value["__complex__"])
    if "__ndarray__" in value:
        shape, kind, content = value["__ndarray__"]
        if np.dtype(str(kind)).kind not in "biufcSU":
            raise InputError("holds an array of objects")
        return array(shape, np.dtype(str(kind)), content)
    if value.get("__ase_objtype__") == "cell":
        return _walked(value.get("array"), array, name)
    return {name(key): _walked(entry, array, name) for key, entry in value.items() if key != "__ase_objtype__"}


def _key(key: str) -> str | int:
    """ASE makes numbers of keys that are whole numbers."""
    return int(key) if key.isascii() and key.removeprefix("-").isdigit() and len(key) < 18 else key

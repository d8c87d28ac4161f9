"""Many labeled crystals at little cost: columns of a Parquet table, from which single crystals are made on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from voigt.data.labeled import Crystals, LabeledCrystal, hill_formula, labeled
from voigt.structures import checks
from voigt.structures.cells import MAXIMUM_EDGE, MINIMUM_VOLUME
from voigt.structures.inputs import ID_KEYS, id_in
from voigt.structures.rows import atoms_from_row
from voigt.tensors.properties import get_property

PAIRS_AT_ONCE = 1 << 18  # pairs of atoms that are compared at once: arrays of this size stay in the cache
_ID_COLUMNS = (*ID_KEYS, "mbid")


@dataclass(frozen=True, eq=False)
class LabeledTable(Crystals):
    """Rows of a table as crystals: flat arrays of all atoms, one array per scalar column."""

    source: str
    numbers: NDArray[np.uint8]  # (n_atoms,) atomic numbers of all rows of the file, one row after another
    frac: NDArray[np.floating]  # (n_atoms, 3) fractional coordinates
    cell: NDArray[np.floating]  # (n_rows, 3, 3) rows are lattice vectors, Angstrom
    start: NDArray[np.int64]  # (n_rows + 1,) first atom of every row
    scalars: Mapping[str, Any]  # column name -> Arrow array of length n_rows: strings, numbers, truth values
    rows: NDArray[np.int64]  # which rows are crystals of this table, in order
    properties: tuple[str, ...]  # scalar labels that its crystals have
    functional: str | None  # of crystals that state none

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Sequence[int]) -> LabeledTable:
        return replace(self, rows=self.rows[np.asarray(indices, dtype=np.int64)])

    def _crystal(self, index: int) -> LabeledCrystal:
        row = int(self.rows[index])
        atoms = self.atoms(row)
        info = atoms.info
        targets = {name: np.asarray(info[name], dtype=np.float64) for name in self.properties if name in info}
        return labeled(_identity(row, info), self.source, atoms, targets, self.functional)

    def atoms(self, row: int) -> ase.Atoms:
        """The structure in one row of the file."""
        part = slice(self.start[row], self.start[row + 1])
        values = ((name, column[row].as_py()) for name, column in self.scalars.items())
        info = {name: value for name, value in values if value is not None and value == value}  # NaN: no value
        return atoms_from_row(self.numbers[part], self.cell[row], self.frac[part], info)

    def column(self, key: str) -> list[Any]:
        import pyarrow

        if key not in self.scalars:
            return [None] * len(self)
        values = self.scalars[key].take(pyarrow.array(self.rows)).to_pylist()
        return [value if value == value else None for value in values]

    def ids(self) -> list[str]:
        names = [name for name in _ID_COLUMNS if name in self.scalars]
        columns = [self.column(name) for name in names]
        given = zip(*columns, strict=True) if columns else ((),) * len(self)
        infos = [dict(zip(names, values, strict=True)) for values in given]
        return [_identity(row, info) for row, info in zip(self.rows.tolist(), infos, strict=True)]

    def splits(self) -> list[str]:
        return ["" if value is None else str(value) for value in self.column("split")]

    def functionals(self) -> list[str | None]:
        return [self.functional if value is None else str(value) for value in self.column("functional")]

    def groups(self) -> list[str]:
        crystal, numbers = self._members()
        pairs, counts = np.unique(crystal * 256 + numbers, return_counts=True)
        first = np.searchsorted(pairs, 256 * np.arange(len(self) + 1))
        elements = pairs % 256
        return [hill_formula(elements[a:b], counts[a:b]) for a, b in pairwise(first.tolist())]

    def labels(self, name: str) -> NDArray[np.float64]:
        """(n_crystals,) labels, NaN where absent."""
        import pyarrow

        if name not in self.properties or name not in self.scalars:
            return np.full(len(self), np.nan)
        values: NDArray[np.float64] = self.scalars[name].cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
        return values[self.rows]  # null: NaN

    def without(self, name: str, chosen: NDArray[np.bool_]) -> LabeledTable:
        import pyarrow
        import pyarrow.compute as compute

        if name not in self.scalars:
            return self
        lost = np.zeros(len(self.start) - 1, dtype=bool)
        lost[self.rows[chosen]] = True
        column = compute.if_else(pyarrow.array(lost), None, self.scalars[name])
        return replace(self, scalars={**self.scalars, name: column})

    def has_label(self, name: str) -> bool:
        return bool(np.isfinite(self.labels(name)).any())

    def sizes(self) -> NDArray[np.int64]:
        return (self.start[1:] - self.start[:-1])[self.rows]

    def elements(self) -> tuple[int, ...]:
        return tuple(np.unique(self._members()[1]).tolist())

    def element_counts(self) -> dict[int, int]:
        crystal, numbers = self._members()
        elements, counts = np.unique(np.unique(crystal * 256 + numbers) % 256, return_counts=True)
        return dict(zip(elements.tolist(), counts.tolist(), strict=True))

    def _members(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Crystal (its place in this table) and atomic number of every atom."""
        sizes = self.sizes()
        crystal = np.repeat(np.arange(len(self)), sizes)
        within = np.arange(len(crystal)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return crystal, self.numbers[self.start[self.rows][crystal] + within]


def read_table(
    path: str | Path, properties: Sequence[str], where: str | None, functional: str | None, max_atoms: int | None
) -> LabeledTable | None:
    """Read a Parquet table of sound crystals and scalar labels; arguments as those of `read_labeled`.

    Returns
    -------
    None if the table has any fault or is unusual: then every row must be looked at, to say what is wrong and where.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(path)
        content = file.read() if {"numbers", "cell", "frac"} <= set(file.schema_arrow.names) else None
    except (OSError, pyarrow.ArrowException):
        return None
    if content is None:
        return None
    lists = [_flat(content[name]) for name in ("numbers", "cell", "frac")]
    if any(column is None for column in lists):
        return None
    (numbers, sizes), (cell, nine), (frac, places) = (column for column in lists if column is not None)
    in_order = np.issubdtype(numbers.dtype, np.integer) and len(sizes) > 0 and sizes.min() > 0
    if not in_order or (nine != 9).any() or (places != 3 * sizes).any():
        return None
    if numbers.min() < 1 or numbers.max() >= len(chemical_symbols):
        return None
    if not (np.isfinite(cell).all() and np.isfinite(frac).all()):
        return None
    scalars = {name: column for name in content.column_names if (column := _scalar(content[name])) is not None}
    start = np.concatenate([[0], np.cumsum(sizes)])
    rows = np.arange(len(sizes)) if max_atoms is None else np.flatnonzero(sizes <= max_atoms)
    positions, cells = frac.reshape(-1, 3), cell.reshape(-1, 3, 3)
    declared = tuple(dict.fromkeys(properties))
    arrays = numbers.astype(np.uint8), positions, cells, start
    table = LabeledTable(str(path), *arrays, scalars, rows, declared, functional)
    if any(checks.problems(table.atoms(row)) for row in suspects(positions, cells, sizes).tolist()):
        return None
    if where is not None:
        if where not in scalars:
            return None
        table = table.take([place for place, keep in enumerate(table.column(where)) if keep])
    return table if len(table) and all(_usable(table, scalars, name) for name in declared) else None


def suspects(
    frac: NDArray[np.floating], cell: NDArray[np.floating], sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rows that may hold atoms too close to each other or too small a cell; all others pass `checks.problems`.

    `frac`: (n_atoms, 3) fractional coordinates, one crystal after another. `cell`: (n_crystals, 3, 3) lattice vectors
    in rows, Angstrom. `sizes`: (n_crystals,) atoms of each crystal.
    """
    vectors = cell.astype(np.float64)
    areas = np.cross(vectors[:, [1, 2, 0]], vectors[:, [2, 0, 1]])
    volume = np.abs(np.einsum("ri,ri->r", vectors[:, 0], areas[:, 0]))
    with np.errstate(divide="ignore", invalid="ignore"):
        # Of two atoms closer than d, the fractions differ by less than d / h, h the heights of the cell. To compare
        # fractions takes a second where neighbor lists take many. Above one half the nearest image is not unique.
        heights = volume[:, None] / np.linalg.norm(areas, axis=2)
        limits = np.where(heights > 0, checks.MINIMUM_SEPARATION / heights, np.inf)
    suspect: NDArray[np.bool_] = (volume < 1.001 * MINIMUM_VOLUME * sizes) | (limits.max(axis=1) > 0.499)
    suspect |= (np.abs(vectors).max(axis=(1, 2)) > MAXIMUM_EDGE / 2) | (sizes > checks.CROWD)
    start = np.cumsum(sizes) - sizes
    # Single precision rounds fractions below one by less than 1e-6.
    bounds = (limits + 1e-5).astype(np.float32)
    wrapped = (frac - np.floor(frac)).astype(np.float32).T.copy()
    for size in np.unique(sizes[~suspect]).tolist():
        rows = np.flatnonzero((sizes == size) & ~suspect)
        step = max(PAIRS_AT_ONCE // size, 1)
        for first in range(0, len(rows), step):
            chosen = rows[first : first + step]
            places = wrapped[:, start[chosen][:, None] + np.arange(size)]
            suspect[chosen] = _near(places, bounds[chosen].T[:, :, None])
    return np.flatnonzero(suspect)


def _near(places: NDArray[np.float32], bounds: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Crystals (3, n_crystals, n_atoms) with two atoms whose fractions differ by less than the bounds in all three."""
    near = np.zeros(places.shape[1], dtype=bool)
    size = places.shape[2]
    # Shifts up to half of the atoms, in both directions around the ring, meet every pair.
    for shift in range(1, size // 2 + 1):
        for first, second in ((places[..., shift:], places[..., :-shift]), (places[..., :shift], places[..., -shift:])):
            # Fractions lie between 0 and 1: the nearest image differs by 0 or 1.
            distance = np.abs(first - second)
            near |= (np.minimum(distance, 1 - distance) < bounds).all(axis=0).any(axis=1)
    return near


def _usable(table: LabeledTable, scalars: Mapping[str, Any], name: str) -> bool:
    """Whether a column holds labels of a scalar property: numbers, all finite or absent, not all zero."""
    import pyarrow

    prop = get_property(name)
    if prop.per == "atom" or prop.shape or name not in scalars or not _is_number(scalars[name].type, pyarrow):
        return False
    labels = table.labels(name)
    return bool(not np.isinf(labels).any() and (np.nan_to_num(labels) != 0).any())


def _flat(column: Any) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
    """All entries of a column of lists, and the length of each list; None if one of them is absent."""
    import pyarrow
    import pyarrow.compute as compute

    types, kind = pyarrow.types, column.type
    if not (types.is_list(kind) or types.is_large_list(kind)) or column.null_count:
        return None
    values = compute.list_flatten(column)
    if values.null_count or not _is_number(values.type, pyarrow):
        return None
    return values.to_numpy(), compute.list_value_length(column).to_numpy().astype(np.int64)


def _is_number(kind: Any, pyarrow: Any) -> bool:
    types = pyarrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _scalar(column: Any) -> Any:
    """The column as one Arrow array if it holds text, numbers or truth values, else None."""
    import pyarrow

    types, kind = pyarrow.types, column.type
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if not (types.is_string(kind) or types.is_large_string(kind) or _is_number(kind, pyarrow)):
        return None
    return pyarrow.concat_arrays(column.chunks) if column.num_chunks else pyarrow.array([], kind)


def _identity(row: int, info: Mapping[str, Any]) -> str:
    return id_in(info, _ID_COLUMNS) or str(row)

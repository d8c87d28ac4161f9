"""Many labelled crystals at little cost: columns of a Parquet table, from which single crystals are made on demand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, overload

import ase
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from voigt.data.labelled import LabelledCrystal
from voigt.structures import checks
from voigt.structures.readers.parsed import ID_KEYS
from voigt.tensors.properties import get_property

PAIRS_AT_ONCE = 1 << 18
"""Pairs of atoms that are compared in one go: arrays of this size stay in the cache."""

Label = NDArray[np.float64] | float | None
Labels = Sequence[Label] | NDArray[np.float64]
"""One label per crystal; as an array if all are scalars, NaN where absent."""


class Crystals(Sequence[LabelledCrystal]):
    """Labelled crystals, and what all of them have in common as columns, one entry per crystal."""

    @overload
    def __getitem__(self, index: int) -> LabelledCrystal: ...
    @overload
    def __getitem__(self, index: slice) -> Crystals: ...
    def __getitem__(self, index: int | slice) -> LabelledCrystal | Crystals:
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"crystal {index} of {len(self)}")
        return self._crystal(index % len(self))

    def __iter__(self) -> Iterator[LabelledCrystal]:
        return (self._crystal(index) for index in range(len(self)))

    def _crystal(self, index: int) -> LabelledCrystal:
        raise NotImplementedError  # abstract: lists, tables and joined files keep their crystals differently

    def take(self, indices: Sequence[int]) -> Crystals:
        """Chosen crystals, in the given order."""
        raise NotImplementedError  # abstract, as above

    def ids(self) -> list[str]:
        return [crystal.id for crystal in self]

    def splits(self) -> list[str]:
        return [crystal.split for crystal in self]

    def groups(self) -> list[str]:
        return [crystal.group for crystal in self]

    def functionals(self) -> list[str | None]:
        return [crystal.functional for crystal in self]

    def column(self, key: str) -> list[Any]:
        """Info values of this key; None where absent."""
        return [crystal.atoms.info.get(key) for crystal in self]

    def labels(self, name: str) -> Labels:
        """Labels of a property, Cartesian; None or NaN where absent."""
        return [crystal.targets.get(name) for crystal in self]

    def has_label(self, name: str) -> bool:
        """Whether any crystal has this label."""
        return any(name in crystal.targets for crystal in self)

    def sizes(self) -> NDArray[np.int64]:
        """Number of atoms of every crystal."""
        return np.array([len(crystal.atoms) for crystal in self], dtype=np.int64)

    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return tuple(sorted({int(z) for crystal in self for z in crystal.atoms.numbers}))


class CrystalList(Crystals):
    """Crystals that are in memory one by one."""

    def __init__(self, crystals: Sequence[LabelledCrystal]) -> None:
        self._crystals = crystals

    def __len__(self) -> int:
        return len(self._crystals)

    def _crystal(self, index: int) -> LabelledCrystal:
        return self._crystals[index]

    def take(self, indices: Sequence[int]) -> CrystalList:
        return CrystalList([self._crystals[i] for i in indices])


class JoinedCrystals(Crystals):
    """Crystals of several files, one file after another."""

    def __init__(self, files: Sequence[Crystals], order: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None):
        self._files = tuple(files)
        if order is None:
            sizes = [len(file) for file in files]
            order = np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(size) for size in sizes])
        self._file, self._row = order

    def __len__(self) -> int:
        return len(self._file)

    def _crystal(self, index: int) -> LabelledCrystal:
        return self._files[int(self._file[index])]._crystal(int(self._row[index]))

    def take(self, indices: Sequence[int]) -> JoinedCrystals:
        chosen = np.asarray(indices, dtype=np.int64)
        return JoinedCrystals(self._files, (self._file[chosen], self._row[chosen]))

    def _gather(self, ask: Callable[[Crystals], Iterable[Any]]) -> list[Any]:
        """One column of every file, put in the order of the crystals."""
        values: list[Any] = [None] * len(self)
        for number, file in enumerate(self._files):
            places = np.flatnonzero(self._file == number)
            for place, value in zip(places.tolist(), ask(file.take(self._row[places].tolist())), strict=True):
                values[place] = value
        return values

    def ids(self) -> list[str]:
        return self._gather(lambda crystals: crystals.ids())

    def splits(self) -> list[str]:
        return self._gather(lambda crystals: crystals.splits())

    def groups(self) -> list[str]:
        return self._gather(lambda crystals: crystals.groups())

    def functionals(self) -> list[str | None]:
        return self._gather(lambda crystals: crystals.functionals())

    def column(self, key: str) -> list[Any]:
        return self._gather(lambda crystals: crystals.column(key))

    def labels(self, name: str) -> list[Label]:
        return self._gather(lambda crystals: crystals.labels(name))

    def sizes(self) -> NDArray[np.int64]:
        return np.array(self._gather(lambda crystals: crystals.sizes().tolist()), dtype=np.int64)

    def has_label(self, name: str) -> bool:
        return any(part.has_label(name) for part in self._parts())

    def elements(self) -> tuple[int, ...]:
        return tuple(sorted(set(chain.from_iterable(part.elements() for part in self._parts()))))

    def _parts(self) -> Iterator[Crystals]:
        for number, file in enumerate(self._files):
            yield file.take(self._row[self._file == number].tolist())


class LabelledTable(Crystals):
    """Rows of a table as crystals: flat arrays of all atoms, one array per scalar column.

    Parameters
    ----------
    source
        The file.
    numbers
        (n_atoms,) atomic numbers of all rows of the file, one row after another.
    frac
        (n_atoms, 3) fractional coordinates.
    cell
        (n_rows, 3, 3) rows are lattice vectors, Angstrom.
    start
        (n_rows + 1,) first atom of every row.
    scalars
        Column name -> Arrow array of length n_rows: strings, numbers, truth values.
    rows
        Which rows are crystals of this table, in order.
    properties
        Scalar labels that its crystals have.
    functional
        Of crystals that state none.
    """

    def __init__(
        self,
        source: str,
        numbers: NDArray[np.uint8],
        frac: NDArray[np.floating],
        cell: NDArray[np.floating],
        start: NDArray[np.int64],
        scalars: Mapping[str, Any],
        rows: NDArray[np.int64],
        properties: tuple[str, ...],
        functional: str | None,
    ) -> None:
        self.source = source
        self.rows = rows
        self._numbers, self._frac, self._cell, self._start = numbers, frac, cell, start
        self._scalars = scalars
        self._properties = properties
        self._functional = functional

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Sequence[int]) -> LabelledTable:
        rows = self.rows[np.asarray(indices, dtype=np.int64)]
        return LabelledTable(
            self.source,
            self._numbers,
            self._frac,
            self._cell,
            self._start,
            self._scalars,
            rows,
            self._properties,
            self._functional,
        )

    def _crystal(self, index: int) -> LabelledCrystal:
        row = int(self.rows[index])
        atoms = self.atoms(row)
        info = atoms.info
        targets = {name: np.asarray(info[name], dtype=np.float64) for name in self._properties if name in info}
        return LabelledCrystal(
            id=_identity(row, info),
            source=self.source,
            atoms=atoms,
            targets=targets,
            functional=str(info["functional"]) if "functional" in info else self._functional,
            split=str(info.get("split", "")),
            group=_reduced(*np.unique(atoms.numbers, return_counts=True)),
        )

    def atoms(self, row: int) -> ase.Atoms:
        """The structure in one row of the file."""
        part = slice(self._start[row], self._start[row + 1])
        values = ((name, column[row].as_py()) for name, column in self._scalars.items())
        return ase.Atoms(
            numbers=self._numbers[part],
            cell=self._cell[row].astype(np.float64),
            scaled_positions=self._frac[part].astype(np.float64),
            pbc=True,
            info={name: value for name, value in values if value is not None and value == value},
        )

    def column(self, key: str) -> list[Any]:
        if key not in self._scalars:
            return [None] * len(self)
        values = self._scalars[key].take(_arrow(self.rows)).to_pylist()
        return [value if value == value else None for value in values]

    def ids(self) -> list[str]:
        names = [name for name in (*ID_KEYS, "mbid") if name in self._scalars]
        columns = [self.column(name) for name in names]
        own = zip(*columns, strict=True) if columns else ((),) * len(self)
        return [
            _identity(row, dict(zip(names, values, strict=True)))
            for row, values in zip(self.rows.tolist(), own, strict=True)
        ]

    def splits(self) -> list[str]:
        return ["" if value is None else str(value) for value in self.column("split")]

    def functionals(self) -> list[str | None]:
        return [self._functional if value is None else str(value) for value in self.column("functional")]

    def groups(self) -> list[str]:
        crystal, numbers = self._members()
        pairs, counts = np.unique(crystal * 256 + numbers, return_counts=True)
        first = np.searchsorted(pairs, 256 * np.arange(len(self) + 1))
        elements = pairs % 256
        return [_reduced(elements[a:b], counts[a:b]) for a, b in pairwise(first.tolist())]

    def labels(self, name: str) -> NDArray[np.float64]:
        """(n_crystals,) labels, NaN where absent."""
        if name not in self._properties or name not in self._scalars:
            return np.full(len(self), np.nan)
        return _numeric(self._scalars[name])[self.rows]

    def has_label(self, name: str) -> bool:
        return bool(np.isfinite(self.labels(name)).any())

    def sizes(self) -> NDArray[np.int64]:
        return (self._start[1:] - self._start[:-1])[self.rows]

    def elements(self) -> tuple[int, ...]:
        return tuple(np.unique(self._members()[1]).tolist())

    def _members(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Crystal (its place in this table) and atomic number of every atom."""
        sizes = self.sizes()
        crystal = np.repeat(np.arange(len(self)), sizes)
        within = np.arange(len(crystal)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return crystal, self._numbers[self._start[self.rows][crystal] + within]


def as_crystals(crystals: Sequence[LabelledCrystal]) -> Crystals:
    """Give a plain sequence the columns of `Crystals`."""
    return crystals if isinstance(crystals, Crystals) else CrystalList(crystals)


def read_table(
    path: str | Path, properties: Sequence[str], where: str | None, functional: str | None, max_atoms: int | None
) -> LabelledTable | None:
    """Read a Parquet table of sound crystals and scalar labels; arguments as those of `read_labelled`.

    Returns
    -------
    None if anything about the table is at fault or out of the ordinary: then every row must be looked at, to say what
    and where.
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
    if any(found is None for found in lists):
        return None
    (numbers, sizes), (cell, nine), (frac, places) = (found for found in lists if found is not None)
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
    kind = numbers.astype(np.uint8), frac.reshape(-1, 3), cell.reshape(-1, 3, 3)
    declared = tuple(dict.fromkeys(properties))
    table = LabelledTable(str(path), *kind, start, scalars, rows, declared, functional)
    if any(checks.problems(table.atoms(row)) for row in _suspects(kind[1], kind[2], sizes).tolist()):
        return None
    if where is not None:
        chosen = table.column(where)
        if None in chosen:
            return None
        table = table.take([place for place, keep in enumerate(chosen) if keep])
    return table if len(table) and all(_usable(table, scalars, name) for name in declared) else None


def _usable(table: LabelledTable, scalars: Mapping[str, Any], name: str) -> bool:
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

    kind = column.type
    if not (pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)) or column.null_count:
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


def _numeric(column: Any) -> NDArray[np.float64]:
    import pyarrow

    values: NDArray[np.float64] = column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)  # null: NaN
    return values


def _arrow(rows: NDArray[np.int64]) -> Any:
    import pyarrow

    return pyarrow.array(rows)


def _identity(row: int, info: Mapping[str, Any]) -> str:
    own = next((str(info[key]) for key in ID_KEYS if info.get(key) is not None), None)
    return own or str(info.get("mbid") or row)


def _reduced(numbers: NDArray[Any], counts: NDArray[np.int64]) -> str:
    """Reduced formula in Hill's order as ASE writes it: carbon, hydrogen, then the others by the alphabet."""
    divisor = math.gcd(*counts.tolist())
    parts = sorted(
        ((chemical_symbols[z], n // divisor) for z, n in zip(numbers.tolist(), counts.tolist(), strict=True)),
        key=lambda part: ({"C": 0, "H": 1}.get(part[0], 2), part[0]),
    )
    return "".join(symbol if count == 1 else f"{symbol}{count}" for symbol, count in parts)


def _suspects(
    frac: NDArray[np.floating], cell: NDArray[np.floating], sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rows that may hold atoms too close to each other or too small a cell; all others pass `checks.problems`.

    A vector shorter than d has components along the lattice vectors below d / h, h the heights of the cell. To look
    at these for all rows at once takes a second where whole neighbour lists take many.
    """
    vectors = cell.astype(np.float64)
    areas = np.cross(vectors[:, [1, 2, 0]], vectors[:, [2, 0, 1]])
    volume = np.abs(np.einsum("ri,ri->r", vectors[:, 0], areas[:, 0]))
    with np.errstate(divide="ignore", invalid="ignore"):
        heights = volume[:, None] / np.linalg.norm(areas, axis=2)
        limits = np.where(heights > 0, checks.MINIMUM_SEPARATION / heights, np.inf)
    suspect = (volume < 1.001 * checks.MINIMUM_VOLUME * sizes) | (limits.max(axis=1) > 0.499)
    start = np.cumsum(sizes) - sizes
    # Rounding in single precision: fractions below one err by less than 1e-6.
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
    found = np.zeros(places.shape[1], dtype=bool)
    size = places.shape[2]
    for shift in range(1, size // 2 + 1):
        for first, second in ((places[..., shift:], places[..., :-shift]), (places[..., :shift], places[..., -shift:])):
            # Fractions lie between 0 and 1: the nearest image differs by 0 or 1.
            distance = np.abs(first - second)
            found |= (np.minimum(distance, 1 - distance) < bounds).all(axis=0).any(axis=1)
    return found

"""Reading labeled files: extended XYZ and what ASE reads, crystal by crystal; sound Parquet tables as a whole."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.data.labeled import LabeledCrystal, labeled
from voigt.data.table import read_table
from voigt.errors import InputError, TargetError
from voigt.notes import Failure
from voigt.structures.inputs import Input, InputStructure
from voigt.structures.reading import read
from voigt.structures.rows import structure_from_row
from voigt.tensors.properties import PROPERTIES, Property, get_property


def read_labeled(
    path: str | Path,
    properties: Sequence[str],
    where: str | None = None,
    functional: str | None = None,
    max_atoms: int | None = None,
) -> Sequence[LabeledCrystal]:
    """Read a labeled file. A sound Parquet table stays a table, see `voigt.data.table.LabeledTable`.

    Parameters
    ----------
    path
        Extended XYZ, or any format that keeps `info` and `arrays`; a vasprun.xml with its Born charges and
        permittivity. Labels are found under the property names: per-atom tensors as columns of `arrays`, per-crystal
        ones in `info`, row-major; piezo and elastic tensors as 3x6 and 6x6 in Voigt order xx yy zz yz zx xy. Parquet:
        see `read_parquet`.
    properties
        Which labels to take.
    where
        Keep only crystals whose info key of this name is true, e.g. "closed_shell"; nothing in a row of a table is not.
    functional
        Functional of every crystal that states none itself.
    max_atoms
        Leave out crystals with more atoms.

    Raises
    ------
    InputError
        A crystal is unusable (all of them are listed).
    TargetError
        A label is absent from every crystal, has the wrong shape, is not finite, or is zero in every crystal (all such
        faults are listed); or no crystal is left.
    """
    declared = [get_property(name) for name in properties]
    is_table = Path(path).suffix == ".parquet"
    table = read_table(path, properties, where, functional, max_atoms) if is_table else None
    if table is not None:
        return table
    columns = _columns(path) if is_table else ()
    crystals: list[LabeledCrystal] = []
    problems: list[str] = []
    faults: list[str] = []
    for structure in read_parquet(path) if is_table else read([path]):
        if isinstance(structure, Failure):
            problems.append(structure.reason)
            continue
        atoms, info = structure.atoms, structure.atoms.info
        if max_atoms is not None and len(atoms) > max_atoms:
            continue
        if where is not None and where not in info and where in columns:
            continue
        if where is not None and where not in info:
            problems.append(f"{structure.place}: no info key '{where}' to select by; correct 'where' in the recipe")
            continue
        if where is not None and not info[where]:
            continue
        targets = {}
        for prop in declared:
            try:
                value = label_of(atoms, prop)
            except TargetError as error:
                faults.append(f"{structure.place}: {error}")
                value = np.full(prop.shape, np.nan)  # present, though useless
            if value is not None:
                targets[prop.name] = value
        crystals.append(labeled(structure.id, str(path), atoms, targets, functional))
    if problems:
        raise InputError(_listing("training data hold unusable crystals; correct or remove them", problems))
    if not crystals:
        raise TargetError(f"no crystal of {path} is left to train on; loosen 'where' or 'max_atoms' of this file")
    faults = [fault for prop in declared if (fault := _label_fault(path, crystals, prop))] + faults
    if faults:
        raise TargetError(_listing("labels cannot be used", faults))
    return crystals


def _columns(path: str | Path) -> Collection[str]:
    """Names of the columns of a Parquet file, none if it is no such file."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        return frozenset(parquet.ParquetFile(path).schema_arrow.names)
    except (OSError, pyarrow.ArrowException):
        return frozenset()


def read_parquet(path: str | Path, rows: int = 4096) -> Iterator[Input]:
    """Stream a table with one crystal a row: numbers (list), cell (9, row vectors), frac (3N), any scalar columns.

    The scalar columns become `info` keys; nulls and NaN are left out. So do lists under the name of a property, tensors
    in the layout of files; those of atoms, atom by atom, become arrays. The id is the column id, mp_id, material_id or
    mbid. A row that is no sound crystal becomes a `Failure`.

    Raises
    ------
    InputError
        Not a Parquet file, or one of the three columns is missing.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} is not a readable Parquet file; fetch or write it again") from error
    missing = [name for name in ("numbers", "cell", "frac") if name not in table.schema_arrow.names]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; write one crystal a row with numbers, cell, frac")
    index = 0
    for batch in table.iter_batches(batch_size=rows):
        for row in batch.to_pylist():
            scalars = {key: value for key, value in row.items() if isinstance(value, str | int | float)}
            info: dict[str, Any] = {key: value for key, value in scalars.items() if value == value}  # NaN: no label
            tensors = {name: row[name] for name in PROPERTIES if isinstance(row.get(name), list)}
            info |= {name: value for name, value in tensors.items() if PROPERTIES[name].per == "crystal"}
            structure = structure_from_row(row, str(path), index, str(row.get("mbid") or index), info)
            yield structure if isinstance(structure, Failure) else _with_arrays(structure, tensors)
            index += 1


def _with_arrays(structure: InputStructure, tensors: Mapping[str, list[Any]]) -> Input:
    """With the tensors of atoms; a Failure where their number does not fit."""
    count = len(structure.atoms)
    for name, value in tensors.items():
        if PROPERTIES[name].per == "atom":
            expected = count * math.prod(PROPERTIES[name].stored_shape)
            if len(value) != expected:
                problem = f"has {len(value)} numbers in {name}, expected {expected} for its {count} atoms; correct it"
                return structure.failure("unreadable", problem)
            structure.atoms.set_array(name, np.array(value, dtype=np.float64).reshape(count, -1))
    return structure


def label_of(atoms: ase.Atoms, prop: Property) -> NDArray[np.float64] | None:
    """The Cartesian label of a structure, or None if it has none.

    Raises
    ------
    TargetError
        Not numbers, wrong number of components, or NaN.
    """
    raw = atoms.arrays.get(prop.name) if prop.per == "atom" else atoms.info.get(prop.name)
    if raw is None:
        return None
    try:
        value = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TargetError(f"'{prop.name}' does not consist of numbers; correct or remove the label") from error
    count = len(atoms) if prop.per == "atom" else 1
    stored = prop.stored_shape
    expected = count * math.prod(stored)
    if value.size != expected:
        layout = f"one {stored} per atom" if prop.per == "atom" else stored
        raise TargetError(
            f"'{prop.name}' has {value.size} numbers, expected {expected} ({layout}); correct or remove the label"
        )
    if not np.isfinite(value).all():
        raise TargetError(f"'{prop.name}' is not finite; remove the label or the crystal")
    return prop.from_storage(value.reshape((count, *stored) if prop.per == "atom" else stored))


def _label_fault(path: str | Path, crystals: Sequence[LabeledCrystal], prop: Property) -> str | None:
    labels = [crystal.targets[prop.name] for crystal in crystals if prop.name in crystal.targets]
    if labels:
        if any(np.any(label) for label in labels):
            return None
        return f"the label '{prop.name}' is zero in every crystal of {path}; check how it was written"
    keys = {key for crystal in crystals for key in (*crystal.atoms.info, *crystal.atoms.arrays)}
    present = ", ".join(sorted(keys.intersection(PROPERTIES))) or "none"
    alike = get_close_matches(prop.name, keys.difference(PROPERTIES), n=1)
    hint = f"; rename '{alike[0]}' if that is it" if alike else "; correct the target in the recipe or add the label"
    return f"no crystal of {path} has the label '{prop.name}', labels found: {present}{hint}"


def _listing(summary: str, problems: Sequence[str], shown: int = 10) -> str:
    more = f"\n  ... and {len(problems) - shown} more" if len(problems) > shown else ""
    return summary + ":\n  " + "\n  ".join(problems[:shown]) + more

"""Labelled crystals: structures with known tensors, read from extended XYZ or Parquet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError, TargetError
from voigt.structures import checks
from voigt.structures.readers.parsed import attempt
from voigt.structures.reading import Frame, read
from voigt.tensors.properties import PROPERTIES, Property, get_property
from voigt.tensors.voigt import elastic_from_voigt, piezo_from_voigt


@dataclass(frozen=True)
class LabelledCrystal:
    """One crystal and its labels.

    Attributes
    ----------
    id, source
        Identity of the frame and the file it came from.
    atoms
        The structure; `info` keeps all keys of the file.
    targets
        Property name -> Cartesian tensor, (n_atoms, ...) or (...); absent labels have no key.
    functional
        Label of the functional, None if not stated.
    split
        "train", "val", "test" or "" if the file has no split.
    group
        Reduced formula: crystals of one group never lie on both sides of a split.
    """

    id: str
    source: str
    atoms: ase.Atoms
    targets: Mapping[str, NDArray[np.float64]]
    functional: str | None
    split: str
    group: str


def read_labelled(
    path: str | Path,
    properties: Sequence[str],
    where: str | None = None,
    functional: str | None = None,
    max_atoms: int | None = None,
) -> Sequence[LabelledCrystal]:
    """Read a labelled file; a sound Parquet table stays a table, see `voigt.data.table.LabelledTable`.

    Parameters
    ----------
    path
        Extended XYZ (or any format that keeps `info` and `arrays`). Labels are found under the property names:
        per-atom tensors as columns of `arrays`, per-crystal ones in `info`, row-major; piezo and elastic tensors as
        3x6 and 6x6 in Voigt order xx yy zz yz zx xy. Parquet: see `read_parquet`.
    properties
        Which labels to take.
    where
        Keep only frames whose info key of this name is true, e.g. "closed_shell".
    functional
        Label for every frame that states none itself.
    max_atoms
        Leave out crystals with more atoms.

    Raises
    ------
    InputError
        A frame is unusable (all of them are listed).
    TargetError
        A label is absent from every frame, has the wrong shape, is not finite, or is zero in every frame (all such
        faults are listed); or no frame is left.
    """
    declared = [get_property(name) for name in properties]
    if Path(path).suffix == ".parquet":
        from voigt.data.table import read_table  # which needs LabelledCrystal

        table = read_table(path, properties, where, functional, max_atoms)
        if table is not None:
            return table
    crystals: list[LabelledCrystal] = []
    problems: list[str] = []
    faults: list[str] = []
    for frame in read_parquet(path) if Path(path).suffix == ".parquet" else read([path]):
        if frame.atoms is None:
            problems.append(frame.describe())
            continue
        if max_atoms is not None and len(frame.atoms) > max_atoms:
            continue
        info = frame.atoms.info
        if where is not None and where not in info:
            problems.append(f"{frame.describe()}: no info key '{where}' to select by; correct 'where' in the recipe")
            continue
        if where is not None and not info[where]:
            continue
        targets = {}
        for prop in declared:
            try:
                value = label_of(frame.atoms, prop)
            except TargetError as error:
                faults.append(f"{frame.describe()}: {error}")
                value = np.full(prop.shape, np.nan)  # present, though useless
            if value is not None:
                targets[prop.name] = value
        crystals.append(
            LabelledCrystal(
                id=frame.id,
                source=str(path),
                atoms=frame.atoms,
                targets=targets,
                functional=str(info["functional"]) if "functional" in info else functional,
                split=str(info.get("split", "")),
                group=frame.atoms.symbols.formula.reduce()[0].format("hill"),
            )
        )
    if problems:
        raise InputError(_listing("training data hold unusable frames; mend or remove them", problems))
    if not crystals:
        raise TargetError(f"no frame of {path} is left to train on; loosen 'where' or 'max_atoms' of this file")
    faults = [fault for prop in declared if (fault := _label_fault(path, crystals, prop))] + faults
    if faults:
        raise TargetError(_listing("labels cannot be used", faults))
    return crystals


def read_parquet(path: str | Path, rows: int = 4096) -> Iterator[Frame]:
    """Stream a table with one crystal a row: numbers (list), cell (9, row vectors), frac (3N), any scalar columns.

    The scalar columns become `info` keys; nulls and NaN are left out. The id is the column id, mp_id, material_id or
    mbid. A row that is no sound crystal becomes a frame with a problem.

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
            parsed = attempt(partial(_row_atoms, row), "a row of numbers, cell and frac")
            found = [parsed.problem] if parsed.atoms is None else checks.problems(parsed.atoms)
            name = parsed.id or str(row.get("mbid") or index)
            yield Frame(str(path), index, name, None if found else parsed.atoms, ". ".join(map(str, found)) or None)
            index += 1


def _row_atoms(row: Mapping[str, Any]) -> ase.Atoms:
    return ase.Atoms(
        numbers=row["numbers"],
        cell=np.asarray(row["cell"], dtype=np.float64).reshape(3, 3),
        scaled_positions=np.asarray(row["frac"], dtype=np.float64).reshape(-1, 3),
        pbc=True,
        info={
            key: value
            for key, value in row.items()
            if isinstance(value, str | int | float) and value == value  # NaN: no label
        },
    )


def label_of(atoms: ase.Atoms, prop: Property) -> NDArray[np.float64] | None:
    """The Cartesian label of one frame, or None if it has none.

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
    stored = {"ijk=ikj": (3, 6), "ijkl=jikl=klij": (6, 6)}.get(prop.formula, prop.shape)
    if prop.storage == "cartesian":
        stored = prop.shape
    if value.size != count * int(np.prod(stored)):
        raise TargetError(
            f"'{prop.name}' has {value.size} numbers, expected {count * int(np.prod(stored))} "
            f"({'one ' + str(stored) + ' per atom' if prop.per == 'atom' else stored}); correct or remove the label"
        )
    if not np.isfinite(value).all():
        raise TargetError(f"'{prop.name}' is not finite; remove the label or the frame")
    value = value.reshape((count, *stored) if prop.per == "atom" else stored)
    if prop.storage == "voigt":
        value = piezo_from_voigt(value) if prop.rank == 3 else elastic_from_voigt(value)
    return value


def _label_fault(path: str | Path, crystals: Sequence[LabelledCrystal], prop: Property) -> str | None:
    labels = [crystal.targets[prop.name] for crystal in crystals if prop.name in crystal.targets]
    if labels:
        if any(np.any(label) for label in labels):
            return None
        return f"the label '{prop.name}' is zero in every frame of {path}; check how it was written"
    keys = {key for crystal in crystals for key in (*crystal.atoms.info, *crystal.atoms.arrays)}
    found = ", ".join(sorted(keys.intersection(PROPERTIES))) or "none"
    alike = get_close_matches(prop.name, keys.difference(PROPERTIES), n=1)
    hint = f"; rename '{alike[0]}' if that is it" if alike else "; correct the target in the recipe or add the label"
    return f"no frame of {path} has the label '{prop.name}', labels found: {found}{hint}"


def _listing(summary: str, problems: Sequence[str], shown: int = 10) -> str:
    more = f"\n  ... and {len(problems) - shown} more" if len(problems) > shown else ""
    return summary + ":\n  " + "\n  ".join(problems[:shown]) + more


def file_digest(path: str | Path) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a file: names the data that a model was trained on."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]

"""Labelled crystals: structures with known tensors, read from extended XYZ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError, TargetError
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
) -> list[LabelledCrystal]:
    """Read a labelled file.

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
        A label is absent from every frame, has the wrong shape, is not finite, or is zero in every frame.
    """
    declared = [get_property(name) for name in properties]
    crystals: list[LabelledCrystal] = []
    problems: list[str] = []
    shapes: list[str] = []
    frames = read_parquet(path) if Path(path).suffix == ".parquet" else read([path])
    for frame in frames:
        if frame.atoms is None:
            problems.append(frame.describe())
            continue
        if max_atoms is not None and len(frame.atoms) > max_atoms:
            continue
        info = frame.atoms.info
        if where is not None:
            if where not in info:
                problems.append(f"{path}, frame {frame.index} (id {frame.id}): no info key '{where}' to select by")
                continue
            if not info[where]:
                continue
        targets = {}
        for prop in declared:
            try:
                value = label_of(frame.atoms, prop)
            except TargetError as error:
                shapes.append(f"{path}, frame {frame.index} (id {frame.id}): {error}")
                continue
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
    if shapes:
        raise TargetError(_listing("labels cannot be used", shapes))
    _check_labels(path, crystals, declared)
    return crystals


def read_parquet(path: str | Path, rows: int = 4096) -> Iterator[Frame]:
    """Stream a table with one crystal a row: numbers (list), cell (9, row vectors), frac (3N), any scalar columns.

    The scalar columns become `info` keys; nulls are left out. The id is the column id, mp_id or mbid.
    """
    import pyarrow.parquet as parquet

    index = 0
    for batch in parquet.ParquetFile(path).iter_batches(batch_size=rows):
        for row in batch.to_pylist():
            numbers, cell, frac = row.pop("numbers"), row.pop("cell"), row.pop("frac")
            info = {
                key: value for key, value in row.items() if value is not None and not isinstance(value, (list, dict))
            }
            atoms = ase.Atoms(
                numbers=numbers,
                cell=np.reshape(np.asarray(cell, dtype=np.float64), (3, 3)),
                scaled_positions=np.reshape(np.asarray(frac, dtype=np.float64), (-1, 3)),
                pbc=True,
                info={key: value for key, value in info.items() if value == value},  # NaN: no label
            )
            name = next((str(info[key]) for key in ("id", "mp_id", "mbid") if key in info), str(index))
            yield Frame(str(path), index, name, atoms, None)
            index += 1


def label_of(atoms: ase.Atoms, prop: Property) -> NDArray[np.float64] | None:
    """The Cartesian label of one frame, or None if it has none.

    Raises
    ------
    TargetError
        Wrong number of components, or NaN.
    """
    raw = atoms.arrays.get(prop.name) if prop.per == "atom" else atoms.info.get(prop.name)
    if raw is None:
        return None
    value = np.asarray(raw, dtype=np.float64)
    count = len(atoms) if prop.per == "atom" else 1
    stored = {"ijk=ikj": (3, 6), "ijkl=jikl=klij": (6, 6)}.get(prop.formula, prop.shape)
    if prop.storage == "cartesian":
        stored = prop.shape
    if value.size != count * int(np.prod(stored)):
        raise TargetError(
            f"'{prop.name}' has {value.size} numbers, expected {count * int(np.prod(stored))} "
            f"({'one ' + str(stored) + ' per atom' if prop.per == 'atom' else stored})"
        )
    if not np.isfinite(value).all():
        raise TargetError(f"'{prop.name}' is not finite; remove the label or the frame")
    value = value.reshape((count, *stored) if prop.per == "atom" else stored)
    if prop.storage == "voigt":
        value = piezo_from_voigt(value) if prop.rank == 3 else elastic_from_voigt(value)
    return value


def _check_labels(path: str | Path, crystals: Sequence[LabelledCrystal], declared: Sequence[Property]) -> None:
    problems = []
    for prop in declared:
        labels = [crystal.targets[prop.name] for crystal in crystals if prop.name in crystal.targets]
        if not labels:
            present = sorted(
                {key for c in crystals for key in (*c.atoms.info, *c.atoms.arrays) if key in PROPERTIES}
            )
            problems.append(
                f"no frame of {path} has the label '{prop.name}'; labels found: {', '.join(present) or 'none'}"
            )
        elif not any(np.any(label) for label in labels):
            problems.append(f"the label '{prop.name}' is zero in every frame of {path}; check how it was written")
    if problems:
        raise TargetError("; ".join(problems))


def _listing(summary: str, problems: Sequence[str], shown: int = 10) -> str:
    more = f"\n  ... and {len(problems) - shown} more" if len(problems) > shown else ""
    return summary + ":\n  " + "\n  ".join(problems[:shown]) + more


def file_digest(path: str | Path) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a file: names the data that a model was trained on."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]

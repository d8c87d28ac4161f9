"""Calculations as frames of a training file: labels, an id, and where they come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import ase
import numpy as np

from voigt.calculations.calculation import Calculation, Provenance
from voigt.errors import OutputError
from voigt.files import atomic_write
from voigt.notes import Note
from voigt.tensors.layout import flat
from voigt.tensors.properties import PROPERTIES

SUFFIXES = (".extxyz", ".xyz", ".parquet")
"""Formats of files of frames."""
ROWS = 1024
"""Frames of one row group of Parquet."""


@dataclass(frozen=True)
class Frame:
    """A calculation with the id that no other one of the file has."""

    id: str
    calculation: Calculation

    @property
    def notes(self) -> tuple[Note, ...]:
        """What is doubtful about it."""
        return tuple(Note("doubtful_label", problem) for problem in self.calculation.problems)


def provenance_keys(provenance: Provenance, problems: Sequence[str] = ()) -> dict[str, Any]:
    """Info keys that say where labels come from; what is not known has no key.

    Examples
    --------
    >>> keys = provenance_keys(Provenance(("OUTCAR",), "VASP", "6.4.1", "PBE+U", {"Fe": 5.3}, kpoints=(4, 4, 4)))
    >>> keys["functional"], keys["hubbard_u"], keys["kpoints"]
    ('PBE+U', 'Fe 5.3', '4x4x4')
    """
    keys: dict[str, Any] = {
        "functional": provenance.functional,
        "code": provenance.code,
        "code_version": provenance.version,
        "hubbard_u": ", ".join(f"{symbol} {value:g}" for symbol, value in provenance.hubbard_u.items()),
        "spin": provenance.spin,
        "kpoints": "x".join(map(str, provenance.kpoints)),
        "cutoff": provenance.cutoff,
        "files": "; ".join(provenance.files),
        "conversions": "; ".join(provenance.conversions),
        "problems": "; ".join(problems),
    }
    return {key: value for key, value in keys.items() if value not in ("", None)}


def annotated(frame: Frame) -> ase.Atoms:
    """The structure with labels as training reads them: Born charges as 9 columns, other tensors row-major in info.

    Nothing else that the files hold (forces, velocities, tags) is kept but a charge of the cell.
    """
    source = frame.calculation.atoms
    atoms = ase.Atoms(numbers=source.numbers, positions=source.positions, cell=source.cell.array, pbc=True)
    atoms.info["id"] = frame.id
    if "charge" in source.info:
        atoms.info["charge"] = source.info["charge"]
    for name, value in frame.calculation.targets.items():
        prop = PROPERTIES[name]
        values = flat(prop, value)
        if prop.per == "atom":
            atoms.set_array(name, values)
        else:
            atoms.info[name] = values if prop.rank else float(values[0])
    atoms.info.update(provenance_keys(frame.calculation.provenance, frame.calculation.problems))
    return atoms


def require_format(path: str | Path) -> None:
    """Raise OutputError for a suffix that is none of `SUFFIXES`."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputError(f"cannot write {path}: unknown format '{suffix}'; choose one of {', '.join(SUFFIXES)}")


def write_frames(frames: Iterable[Frame], path: str | Path) -> int:
    """Write frames to .extxyz, .xyz or .parquet, all or nothing; returns their number.

    Parquet: id, numbers, cell (9), frac (3N), charge, the labels as list<double> (scalars as double) in the layout of
    extended XYZ, and the keys of `provenance_keys`.

    Raises
    ------
    OutputError
        Unknown suffix, or the file cannot be written.
    """
    require_format(path)
    if Path(path).suffix.lower() == ".parquet":
        return _write_parquet(frames, path)
    from ase.io.extxyz import write_xyz

    from voigt.writers.readable import readable

    count = 0
    with atomic_write(path) as stream:
        for frame in frames:
            write_xyz(stream, readable(annotated(frame)))
            count += 1
    return count


def _write_parquet(frames: Iterable[Frame], path: str | Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(_fields(pa))
    count = 0
    remaining = iter(frames)
    with atomic_write(path, "wb") as stream, pq.ParquetWriter(stream, schema) as table:
        while group := [_row(frame) for frame in islice(remaining, ROWS)]:
            table.write_table(pa.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count


def _row(frame: Frame) -> dict[str, Any]:
    atoms = annotated(frame)
    row: dict[str, Any] = {
        "numbers": atoms.numbers.tolist(),
        "cell": atoms.cell.array.ravel().tolist(),
        "frac": np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T.ravel().tolist(),
    }
    for key, value in [
        *atoms.info.items(),
        *((name, atoms.arrays.get(name)) for name in PROPERTIES if name in atoms.arrays),
    ]:
        row[key] = np.ravel(value).tolist() if isinstance(value, np.ndarray) else value
    return row


def _fields(pa: Any) -> list[Any]:
    numbers = pa.list_(pa.float64())
    fields = [pa.field("id", pa.string()), pa.field("numbers", pa.list_(pa.uint8()))]
    fields += [pa.field("cell", numbers), pa.field("frac", numbers), pa.field("charge", pa.float64())]
    for name, prop in PROPERTIES.items():
        kind = numbers if prop.rank or prop.per == "atom" else pa.float64()
        fields.append(pa.field(name, kind, metadata={"unit": prop.unit, "meaning": prop.meaning}))
    texts = ("functional", "code", "code_version", "hubbard_u", "spin", "kpoints")
    fields += [
        *(pa.field(name, pa.string()) for name in texts),
        pa.field("cutoff", pa.float64(), metadata={"unit": "eV"}),
    ]
    return [*fields, *(pa.field(name, pa.string()) for name in ("files", "conversions", "problems"))]

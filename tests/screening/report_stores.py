"""Stores of screenings written with pyarrow alone, as their format is described: independent of what writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ase.formula import Formula

from voigt.tensors.properties import PROPERTIES

DIGESTS = {"dielectric": "d1" * 32, "band_gap": "b9" * 32}
COMMANDS = (
    "voigt screen crystals.parquet -o run --properties eps_total,eps_inf,band_gap",
    "voigt screen crystals.parquet -o run --properties eps_total,eps_inf,band_gap --workers 2",
)


def schema(properties: Sequence[str]) -> pa.Schema:
    text, real, reals = pa.string(), pa.float64(), pa.list_(pa.float64())
    fields = [pa.field(name, text) for name in ("id", "source", "formula")]
    fields += [pa.field("spacegroup", pa.int16()), pa.field("num_atoms", pa.int32()), pa.field("volume", real)]
    fields += [pa.field("input_digest", text), pa.field("numbers", pa.list_(pa.int16()))]
    fields += [pa.field("cell", reals), pa.field("frac", reals)]
    for name in properties:
        declared = PROPERTIES[name]
        scalar = declared.rank == 0 and declared.per == "crystal"
        fields.append(pa.field(name, real if scalar else reals,
                               metadata={"unit": declared.unit, "meaning": declared.meaning}))
        fields += [pa.field(f"{name}_model", text), pa.field(f"{name}_functional", text)]
        fields.append(pa.field(f"{name}_spread", real))
        if declared.per == "crystal":
            fields.append(pa.field(f"{name}_members", reals))
        if declared.rank:
            fields.append(pa.field(f"{name}_residual", real))
    strings = pa.list_(text)
    notes = pa.list_(pa.struct([("kind", text), ("properties", strings), ("elements", strings)]))
    fields += [pa.field("likely_metal", pa.bool_()), pa.field("unseen", strings), pa.field("warnings", strings)]
    return pa.schema([*fields, pa.field("notes", notes), pa.field("prefilter", pa.bool_())])


def as_version_0_1(path: Path) -> None:
    """Take out of a part, or a table of failures, what version 0.1 did not store."""
    table = pq.read_table(path)
    new = [name for name in ("notes", "kind", "elements") if name in table.column_names]
    assert new
    pq.write_table(table.drop_columns(new), path)


def warn(row: dict[str, Any], kind: str, text: str, properties: Sequence[str]) -> None:
    """Add a warning to a row: the sentence for people, the note for programs."""
    row["warnings"] = [*row["warnings"], text]
    row["notes"] = [*row["notes"], {"kind": kind, "properties": list(properties), "elements": []}]


def crystal_row(atoms: ase.Atoms, name: str, spacegroup: int) -> dict[str, Any]:
    return {
        "id": name,
        "source": "crystals.parquet",
        "formula": str(Formula.from_dict(atoms.symbols.formula.count()).reduce()[0]),
        "spacegroup": spacegroup,
        "num_atoms": len(atoms),
        "volume": float(atoms.get_volume()),
        "input_digest": name.encode().hex(),
        "numbers": atoms.numbers.tolist(),
        "cell": atoms.cell.array.ravel().tolist(),
        "frac": atoms.get_scaled_positions(wrap=False).ravel().tolist(),
        "likely_metal": False,
        "unseen": [],
        "warnings": [],
        "notes": [],
        "prefilter": None,
    }


def write_store(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    properties: Sequence[str],
    failures: Sequence[Mapping[str, Any]] = (),
    parts: int = 3,
    commands: Sequence[str] = COMMANDS,
    state: str = "complete",
) -> Path:
    (folder / "parts").mkdir(parents=True)
    described = schema(properties)
    for k, share in enumerate(np.array_split(np.arange(len(rows)), parts)):
        table = pa.Table.from_pylist([dict(rows[i]) for i in share], schema=described)
        pq.write_table(table, folder / "parts" / f"part-{k:06d}.parquet")
    if failures:
        (folder / "failed").mkdir()
        table = pa.Table.from_pylist([{"input_digest": "00" * 8, "readable": True, **entry} for entry in failures])
        pq.write_table(table, folder / "failed" / "part-000000.parquet")
    models = [{"name": "dielectric", "sha256": DIGESTS["dielectric"], "properties": ["eps_inf", "eps_total"],
               "functional": "PBEsol"},
              {"name": "band_gap", "sha256": DIGESTS["band_gap"], "properties": ["band_gap"],
               "functional": "PBE"}]
    sessions = [
        {"started": f"2024-05-0{k + 1}T10:00:00+00:00", "ended": f"2024-05-0{k + 1}T11:30:00+00:00",
         "voigt": "0.6.0", "command": command, "crystals": len(rows) // len(commands),
         "failed": len(failures), "seconds": 5400.0}
        for k, command in enumerate(commands)
    ]
    manifest = {
        "format": 1,
        "job": {"properties": list(properties), "model": None, "prefilter": None, "models": models,
                "settings": {"functional": None, "symmetrize": True, "sum_rule": True, "allow_unseen": True}},
        "collection": {"name": "crystals.parquet", "kind": "parquet", "fingerprint": "f00d" * 16,
                       "count": len(rows) + len(failures)},
        "sessions": sessions,
        "state": state,
        "crystals": len(rows),
        "failed": len(failures),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return folder

"""Stores with made-up numbers, in the layout of real ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests import crystals

from voigt.screening.store.rows import schema

PROPERTIES = ("born_charges", "eps_inf", "eps_ionic", "eps_total", "piezo_total", "elastic", "band_gap")
STRUCTURES = (crystals.rocksalt(), crystals.zincblende(), crystals.perovskite(), crystals.lead_titanate())
SPACE_GROUPS = (225, 216, 221, 99)


def positive(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """A positive definite matrix (size, size)."""
    raw = rng.normal(size=(size, size))
    return scale * (raw @ raw.T / size + 0.3 * np.eye(size))


def structure_row(atoms: ase.Atoms, identity: str) -> dict[str, Any]:
    """What a store keeps of a crystal before anything is predicted."""
    return {
        "id": identity,
        "source": "made up",
        "formula": atoms.get_chemical_formula("reduce"),
        "num_atoms": len(atoms),
        "volume": atoms.get_volume(),
        "numbers": atoms.numbers,
        "cell": atoms.cell.array.ravel(),
        "frac": atoms.get_scaled_positions(wrap=False).ravel(),
        "unseen": [],
        "warnings": [],
    }


def scattered(value: Any, spread: float, size: int) -> np.ndarray:
    """Members on a line whose standard deviation (ddof 1), in the Frobenius norm of 3x3 tensors, is `spread`."""
    steps = np.linspace(-1, 1, size)
    direction = np.asarray(value) / np.linalg.norm(value) if np.any(value) else np.ones(np.shape(value))
    return np.concatenate([np.ravel(value + spread / steps.std(ddof=1) * step * direction) for step in steps])


def made_up_rows(count: int, seed: int, missing: float = 0.15) -> list[dict[str, Any]]:
    """Rows of a store; a share of all values is missing, some gaps are zero, and ids are in no order.

    The gap is of one ensemble of three, all else of another of two; some crystals were predicted by single networks.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for place in rng.permutation(count).tolist():
        kind = place % len(STRUCTURES)
        row = structure_row(STRUCTURES[kind], f"mp-{place}") | {"spacegroup": SPACE_GROUPS[kind]}
        inf, ionic = 1 + positive(rng, 3, 2.0), positive(rng, 3, 20.0)
        values = {
            "born_charges": rng.normal(size=9 * row["num_atoms"]),
            "eps_inf": inf.ravel(),
            "eps_ionic": ionic.ravel(),
            "eps_total": (inf + ionic).ravel(),
            "piezo_total": rng.normal(size=18),
            "elastic": positive(rng, 6, 100.0).ravel(),
            "band_gap": float(np.round(max(rng.normal(2, 2), 0), 1)),
        }
        for name, value in values.items():
            if rng.random() > missing:
                row |= {name: value, f"{name}_model": "gap" if name == "band_gap" else "made up"}
                row[f"{name}_spread"] = None if rng.random() < missing else float(rng.uniform(0, 0.3))
                if name != "born_charges" and row[f"{name}_spread"] is not None:
                    row[f"{name}_members"] = scattered(value, row[f"{name}_spread"], 3 if name == "band_gap" else 2)
        rows.append(row)
    return rows


def to_table(rows: Sequence[dict[str, Any]], properties: Sequence[str] = PROPERTIES) -> pa.Table:
    """Rows with the schema that a screening writes."""
    kind = schema(properties)
    return pa.Table.from_pylist([{name: row.get(name) for name in kind.names} for row in rows], schema=kind)


def write_parts(folder: Path, rows: Sequence[dict[str, Any]], per_part: int) -> list[Path]:
    """Parts of a store in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, start in enumerate(range(0, len(rows), per_part)):
        paths.append(folder / f"part-{number:06d}.parquet")
        pq.write_table(to_table(rows[start : start + per_part]), paths[-1])
    return paths

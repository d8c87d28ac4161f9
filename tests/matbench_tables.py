"""Small tables in the layout of the MatBench ones, and models that hold out a fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from ase.build import bulk
from tests.predictions import ELEMENTS

from voigt.evaluation.matbench.tasks import TASKS, Task
from voigt.models.checkpoint import ModelCard, save_model
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivar.model import Equivar

GAP, FORMATION = TASKS
SYSTEMS = ("cubic", "tetragonal", "orthorhombic")


def save_fold_model(
    path: Path,
    fold: object = 0,
    column: str = "gap_fold",
    properties: tuple[str, ...] = ("band_gap",),
    seed: int = 0,
    recipe: Mapping[str, Any] | None = None,
) -> Path:
    """A network with random weights and, unless a recipe is given, one that names the fold."""
    hypers = EquivarHypers(properties=properties, functionals=(), channels=8, interactions=1, cutoff=4.0, hidden=8)
    torch.manual_seed(seed)
    numbers = tuple(sorted(int(ase.Atom(symbol).number) for symbol in ELEMENTS))
    named = {"split": {"kind": "folds", "column": column, "fold": fold}} if recipe is None else recipe
    save_model([Equivar(hypers)], path, ModelCard(elements=numbers, functionals=("PBE",), recipe=named))
    return path


def crystal(index: int) -> ase.Atoms:
    """Rocksalts of three crystal systems, no two alike, as single precision keeps them."""
    atoms = bulk(("MgO", "NaCl", "NaF")[index // 3 % 3], "rocksalt", a=4.2 + 0.05 * index, cubic=True)
    atoms.set_cell(atoms.cell.array * (1.0, (1.0, 1.0, 1.06)[index % 3], (1.0, 1.12, 1.12)[index % 3]), True)
    single = np.float32(atoms.cell.array).astype(np.float64)
    return ase.Atoms(atoms.numbers, cell=single, scaled_positions=atoms.get_scaled_positions(), pbc=True)


def entries(folds: Sequence[int], labels: Sequence[float], task: Task = GAP) -> list[dict[str, Any]]:
    """A row for each fold and label, with official identities: the first ones of its fold."""
    taken = {fold: iter(task.fold_ids(fold)) for fold in set(folds)}
    return [
        {
            "mp_id": f"mp-{index}",
            task.id_column: next(taken[fold]),
            task.fold_column: fold,
            task.property: label,
            **structure(crystal(index)),
        }
        for index, (fold, label) in enumerate(zip(folds, labels, strict=True))
    ]


def structure(atoms: ase.Atoms) -> dict[str, list[float]]:
    """The three columns of a crystal."""
    return {
        "numbers": atoms.numbers.tolist(),
        "cell": atoms.cell.array.ravel().tolist(),
        "frac": atoms.get_scaled_positions().ravel().tolist(),
    }


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Parquet in several row groups, structures in single precision."""
    single = pyarrow.list_(pyarrow.float32())
    types = {"numbers": pyarrow.list_(pyarrow.int16()), "cell": single, "frac": single}
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pyarrow.table({n: pyarrow.array([row.get(n) for row in rows], type=types.get(n)) for n in names})
    pyarrow.parquet.write_table(table, path, row_group_size=4)
    return path


def rival_rows(
    rows: Sequence[Mapping[str, Any]], task: Task = GAP, **predictions: Sequence[float | None]
) -> list[dict[str, Any]]:
    """Rivals that know all of the rows, in reverse order."""
    found = [
        {
            "mbid": row[task.id_column],
            "mp_id": row["mp_id"],
            "task": task.rival_task,
            "fold": row[task.fold_column],
            "target": row[task.property],
            **{name: values[index] for name, values in predictions.items()},
        }
        for index, row in enumerate(rows)
    ]
    return found[::-1]

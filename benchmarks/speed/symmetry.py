"""Time per crystal of `find_symmetry` and of spglib alone, and whether their operations are the same.

VOIGT_DATA=... python -m benchmarks.speed.symmetry [--crystals 10000] [--symprec 1e-3]
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import ase
import numpy as np
import spglib
from benchmarks.tools.timing import log, prepare, table

from voigt.data import read_parquet
from voigt.structures.symmetry import Symmetry, find_symmetry
from voigt.structures.symmetry.search import search_operations

SIZES = ((1, 10), (11, 40), (41, 10_000))
AT_ONCE = 500

Result = TypeVar("Result")


@dataclass(frozen=True)
class Measurement:
    """One crystal: times in ms, whether spglib found the operations after all, whether it found others."""

    system: str
    atoms: int
    ours: float
    spglib: float
    left: bool
    differs: bool


def timed(call: Callable[[], Result]) -> tuple[Result, float]:
    """What a call returns, and its CPU time in ms."""
    start = time.process_time()
    result = call()
    return result, 1e3 * (time.process_time() - start)


def same_operations(atoms: ase.Atoms, found: Symmetry, dataset: spglib.SpglibDataset) -> bool:
    """Whether both are the same set: rotations exactly, every atom at the same place within two tolerances."""
    columns = atoms.cell.array.T
    names = (found.number, found.international, found.point_group)
    if names != (dataset.number, dataset.international, dataset.pointgroup):
        return False
    if found.translations * len(found.rotations) != len(dataset.rotations):
        return False
    rotations = np.rint(np.linalg.inv(columns) @ found.rotations @ columns).astype(int)
    positions = atoms.get_scaled_positions()
    for rotation, translation in zip(dataset.rotations, dataset.translations, strict=True):
        same = np.flatnonzero((rotations == rotation).all(axis=(1, 2)))
        if len(same) == 0:
            return False
        # Ours stands for all that differ by a translation inside the cell: each atom lands on a copy of its image.
        moved = (positions @ rotation.T + translation)[:, None] - positions
        apart = np.linalg.norm((moved - np.rint(moved)) @ columns.T, axis=-1)
        lands = apart.argmin(axis=1)
        copies = found.sites[lands] == found.sites[found.permutations[same]]
        if apart.min(axis=1).max() > 2 * found.symprec or not copies.all(axis=1).any():
            return False
    return True


def measure(crystals: list[ase.Atoms], symprec: float) -> list[Measurement]:
    """Some crystals one after the other with both. Their turns are long enough for each to have the caches."""
    found = [timed(lambda atoms=atoms: find_symmetry(atoms, symprec)) for atoms in crystals]
    described = [(atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers) for atoms in crystals]
    datasets = [timed(lambda one=one: spglib.get_symmetry_dataset(one, symprec=symprec)) for one in described]
    return [
        Measurement(
            symmetry.crystal_system,
            len(atoms),
            ours,
            theirs,
            search_operations(*one, symprec) is None,
            not same_operations(atoms, symmetry, dataset),
        )
        for atoms, one, (symmetry, ours), (dataset, theirs) in zip(crystals, described, found, datasets, strict=True)
    ]


def row(name: str, size: str, chosen: list[Measurement]) -> list[str]:
    """Mean, median and 95th percentile of both, and the counts."""
    cells = [name, size, str(len(chosen))]
    for times in ([one.ours for one in chosen], [one.spglib for one in chosen]):
        cells += [f"{np.mean(times):.2f}", f"{np.median(times):.2f}", f"{np.percentile(times, 95):.2f}"]
    return [*cells, str(sum(one.left for one in chosen)), str(sum(one.differs for one in chosen))]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    parser.add_argument("--crystals", type=int, default=10_000, help="how many, drawn at random; 0: all")
    parser.add_argument("--symprec", type=float, default=1e-3)
    options = parser.parse_args()
    prepare()
    path = Path(options.data) / "scalars" / "mp_scalars.parquet"
    chosen = [frame.atoms for frame in read_parquet(path) if frame.atoms is not None]
    if options.crystals:
        chosen = random.Random(0).sample(chosen, min(options.crystals, len(chosen)))
    measured = []
    for first in range(0, len(chosen), AT_ONCE):
        measured += measure(chosen[first : first + AT_ONCE], options.symprec)
        log(f"{len(measured)} of {len(chosen)}")
    print(f"CPU time per crystal, ms; symprec {options.symprec:g} Angstrom\n")
    rows = []
    for system in ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic"):
        for low, high in SIZES:
            some = [one for one in measured if one.system == system and low <= one.atoms <= high]
            if some:
                rows.append(row(system, f"{low}-{high}" if high < SIZES[-1][1] else f"from {low}", some))
    rows.append(row("all", "", measured))
    times = [f"{who} {what}" for who in ("ours", "spglib") for what in ("mean", "median", "95 %")]
    table(["system", "atoms", "crystals", *times, "left to spglib", "different"], rows)


if __name__ == "__main__":
    main()

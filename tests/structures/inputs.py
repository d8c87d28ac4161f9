"""Small crystals, files of them, and what to expect of the structures that are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from voigt.notes import Failure
from voigt.structures import Input, InputStructure


def rocksalt() -> Atoms:
    return bulk("NaCl", "rocksalt", a=5.64)


def wurtzite() -> Atoms:
    atoms = bulk("ZnO", "wurtzite", a=3.25, c=5.21)
    atoms.rattle(0.05, seed=3)
    return atoms


def labeled(identity: str) -> Atoms:
    """A crystal with targets, as extended XYZ carries them."""
    atoms = wurtzite()
    rng = np.random.default_rng(len(identity))
    atoms.info.update(id=identity, eps_inf=rng.random(9), split="train", closed_shell=True)
    atoms.arrays["born_charges"] = rng.random((len(atoms), 9))
    return atoms


def only(structures: Iterator[Input]) -> Input:
    (structure,) = structures
    return structure


def is_sound(structure: Input) -> bool:
    return isinstance(structure, InputStructure)


def good(structure: Input) -> Atoms:
    assert isinstance(structure, InputStructure), structure
    return structure.atoms


def trouble(structure: Input) -> str:
    assert isinstance(structure, Failure), structure
    assert "\n" not in structure.problem
    return structure.problem


def same_crystal(one: Atoms, other: Atoms, tolerance: float = 1e-6) -> bool:
    difference = one.get_scaled_positions() - other.get_scaled_positions()
    return (
        one.numbers.tolist() == other.numbers.tolist()
        and np.allclose(one.cell.array, other.cell.array, atol=tolerance)
        and np.allclose(difference - np.rint(difference), 0.0, atol=tolerance)
        and bool(one.pbc.all())
    )


def write_structures(path: Path, count: int = 4) -> list[list[str]]:
    """A file of `count` structures of 4 atoms (6 lines each); returns the lines of each."""
    ase.io.write(path, [labeled(f"zno-{k}") for k in range(count)], format="extxyz")
    lines = path.read_text().splitlines(keepends=True)
    return [lines[6 * k : 6 * k + 6] for k in range(count)]


def pymatgen_structure() -> Any:
    core = pytest.importorskip("pymatgen.core")
    return core.Structure(
        core.Lattice.from_parameters(3.1, 4.2, 5.3, 80, 95, 110),
        ["Fe3+", "O2-", "O2-"],
        [[0, 0, 0], [0.5, 0.45, 1.5], [-0.25, 0.7, 0.3]],
        site_properties={"magmom": [4.0, 0.1, 0.2], "forces": np.arange(9.0).reshape(3, 3).tolist()},
    )

"""Many different crystals for benchmarks: test data, or examples in many variations."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import ase

from voigt.structures import InputStructure, read

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RATTLED = 0.01
"""Angstrom; a crystal that was displaced so has no symmetry."""


def mixed_crystals(count: int) -> list[ase.Atoms]:
    """Crystals of VOIGT_DATA, or examples at many volumes: of four one is displaced and one a supercell."""
    data = os.environ.get("VOIGT_DATA")
    if data is not None:
        stored = islice(read(Path(data) / "tensors" / "dielectric.extxyz"), count)
        return [bare(entry.atoms) for entry in stored if isinstance(entry, InputStructure)]
    files = sorted([*EXAMPLES.glob("*.cif"), *EXAMPLES.glob("*.vasp")])
    given = [entry.atoms for entry in read(files) if isinstance(entry, InputStructure)]
    made = []
    for k in range(count):
        atoms = bare(given[k % len(given)])
        turn = k // len(given)
        if turn % 4 == 3:
            atoms = atoms * (1, 1, 2)
        atoms.set_cell(atoms.cell * (1.0 + 1e-4 * turn), scale_atoms=True)
        if turn % 4 == 1:
            atoms.rattle(RATTLED, seed=k)
        made.append(atoms)
    return made


def bare(atoms: ase.Atoms) -> ase.Atoms:
    """A copy of the structure alone."""
    return ase.Atoms(numbers=atoms.numbers, cell=atoms.cell, positions=atoms.positions, pbc=atoms.pbc)

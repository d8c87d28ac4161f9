"""Inputs and outputs of Quantum ESPRESSO (pw.x): ASE parses the cards; lattices that have a number are made here."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.inputs import Input
from voigt.structures.readers.by_ase import crystal

_CARDS = re.compile(r"^[ \t]*(ATOMIC_POSITIONS|ATOMIC_SPECIES|CELL_PARAMETERS)\b", re.MULTILINE | re.IGNORECASE)
_SEPARATOR = re.compile(r"(?<=[^\s,])[ \t]+(?=[A-Za-z_]\w*(?:\(\d+\))?[ \t]*=)")
"""Blanks between two variables of a namelist, which Fortran takes for a comma and ASE for a part of the value."""


def read_espresso_input(text: str) -> Iterator[Input]:
    """The structure of an input of pw.x with ibrav 0, or of one of the lattices without free angles."""

    def build() -> ase.Atoms:
        from ase.io.espresso import get_atomic_positions, get_cell_parameters, label_to_symbol, read_fortran_namelist

        plain = _SEPARATOR.sub(", ", _CARDS.sub(lambda match: match[0].upper().strip(), text))
        data, cards = read_fortran_namelist(io.StringIO(plain))
        system = {str(key).lower(): value for key, value in dict(data.get("system", {})).items()}
        missing = [name for name in ("ibrav", "nat") if not isinstance(system.get(name), int)]
        if missing:
            raise InputError(f"does not say {', '.join(missing)} in &SYSTEM; add it")
        alat = _lattice_parameter(system)
        if system["ibrav"] == 0:
            cell, in_card = get_cell_parameters(cards, alat=alat)
            alat = alat if in_card is None else in_card
        elif alat is None:
            raise InputError("has neither celldm(1) nor A in &SYSTEM; give the lattice parameter")
        else:
            cell = alat * _lattice(system["ibrav"], *_ratios(system, alat))
        if cell is None:
            raise InputError("has no CELL_PARAMETERS, which ibrav = 0 needs; add them")
        if any("crystal_sg" in line.lower() for line in cards):
            raise InputError("lists only the atoms that differ by symmetry (crystal_sg); write all atoms")
        rows = get_atomic_positions(cards, n_atoms=system["nat"], cell=cell, alat=alat)
        if not rows:
            raise InputError("has no ATOMIC_POSITIONS; add them")
        symbols = [label_to_symbol(label) for label, _, _ in rows]
        return ase.Atoms(symbols, [place for _, place, _ in rows], cell=cell, pbc=True)

    yield crystal(build, "Quantum ESPRESSO input")


def read_espresso_output(text: str) -> Iterator[Input]:
    """The last structure of the last run in an output of pw.x, whatever else is in it."""

    def build() -> ase.Atoms:
        from ase.io.espresso import get_atomic_positions, get_cell_parameters, label_to_symbol, parse_pwo_start

        lines = text[text.rfind("Program PWSCF") :].splitlines()
        if not any("positions (alat units)" in line for line in lines):
            raise InputError("holds no structure; give the output of a pw.x that has started, or its input")
        start = parse_pwo_start(lines)
        atoms: ase.Atoms = start["atoms"]
        changes = [number for number, line in enumerate(lines) if line.startswith("ATOMIC_POSITIONS")]
        if not changes:
            return atoms
        cells = [number for number, line in enumerate(lines[: changes[-1]]) if line.startswith("CELL_PARAMETERS")]
        cell = get_cell_parameters(lines[cells[-1] : cells[-1] + 4])[0] if cells else atoms.cell.array
        block = lines[changes[-1] : changes[-1] + len(atoms) + 1]
        rows = get_atomic_positions(block, n_atoms=len(atoms), cell=cell, alat=start["alat"])
        return ase.Atoms([label_to_symbol(row[0]) for row in rows], [row[1] for row in rows], cell=cell, pbc=True)

    yield crystal(build, "Quantum ESPRESSO output")


def _lattice_parameter(system: Mapping[str, Any]) -> float | None:
    """Angstrom."""
    from ase.units import create_units

    if "celldm(1)" in system:
        return float(system["celldm(1)"]) * float(create_units("2006")["Bohr"])
    return float(system["a"]) if "a" in system else None


def _ratios(system: Mapping[str, Any], alat: float) -> tuple[float, float]:
    """b/a and c/a."""
    if "celldm(1)" in system:
        return float(system.get("celldm(2)", 0.0)), float(system.get("celldm(3)", 0.0))
    return float(system.get("b", 0.0)) / alat, float(system.get("c", 0.0)) / alat


def _lattice(ibrav: int, b: float, c: float) -> NDArray[np.float64]:
    """Lattice vectors in units of a, as pw.x defines them."""
    vectors: dict[int, list[list[float]]] = {
        1: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        2: [[-0.5, 0, 0.5], [0, 0.5, 0.5], [-0.5, 0.5, 0]],
        3: [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [-0.5, -0.5, 0.5]],
        -3: [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]],
        4: [[1, 0, 0], [-0.5, 0.75**0.5, 0], [0, 0, c]],
        6: [[1, 0, 0], [0, 1, 0], [0, 0, c]],
        7: [[0.5, -0.5, c / 2], [0.5, 0.5, c / 2], [-0.5, -0.5, c / 2]],
        8: [[1, 0, 0], [0, b, 0], [0, 0, c]],
    }
    if ibrav not in vectors:
        raise InputError(f"has ibrav = {ibrav}, which is not read; write ibrav = 0 and CELL_PARAMETERS")
    if np.linalg.det(vectors[ibrav]) == 0.0:
        raise InputError(f"does not give all lattice parameters of ibrav = {ibrav}; add celldm or B and C")
    return np.array(vectors[ibrav])

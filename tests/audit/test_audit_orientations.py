"""Axes of standards against pymatgen and against what the standard says."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from tests import crystals

from voigt.audit.orientations import ieee_axes, in_words, orientations

CRYSTALS = {
    "cubic": crystals.zincblende(),
    "hexagonal": crystals.wurtzite(),
    "tetragonal": crystals.lead_titanate(),
    "tetragonal, c < a": crystals.rutile(),
    "trigonal": crystals.quartz(),
    "orthorhombic": crystals.calcium_titanate(),
    "monoclinic": crystals.baddeleyite(),
    "triclinic": crystals.copper_tungstate(),
}


def turned_about(atoms: ase.Atoms) -> ase.Atoms:
    copy = atoms.copy()
    copy.rotate(37.0, (1, 2, -1), rotate_cell=True)
    return copy


@pytest.mark.parametrize("name", CRYSTALS)
def test_ieee_axes_are_those_of_pymatgen(name: str) -> None:
    core = pytest.importorskip("pymatgen.core", reason="the extra 'pymatgen' is not installed")
    tensors = pytest.importorskip("pymatgen.core.tensors")
    atoms = turned_about(CRYSTALS[name])
    structure = core.Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.get_scaled_positions())
    theirs = np.array(tensors.Tensor.get_ieee_rotation(structure), dtype=float)
    (ours,) = (entry for entry in orientations(atoms) if entry.name == "ieee as in pymatgen")
    assert pytest.approx(theirs, abs=1e-6) == ours.rotation.T


def test_the_standard_puts_the_fourfold_axis_along_z_whatever_its_length() -> None:
    for c in (2.0, 5.0):
        assert abs(ieee_axes(np.diag([3.0, 3.0, c]), "tetragonal")[2]) == pytest.approx([0, 0, 1])


@pytest.mark.parametrize("name", CRYSTALS)
def test_all_orientations_are_proper_rotations_with_different_names(name: str) -> None:
    found = orientations(turned_about(CRYSTALS[name]))
    for entry in found:
        assert entry.rotation @ entry.rotation.T == pytest.approx(np.eye(3), abs=1e-5), entry.name
        assert np.linalg.det(entry.rotation) == pytest.approx(1.0, abs=1e-5), entry.name
    names = [entry.name for entry in found]
    assert len(set(names)) == len(names)


def test_turning_the_crystal_turns_the_axes_with_it() -> None:
    atoms = crystals.quartz()
    turn = ase.Atoms("H", positions=[[0, 0, 0]], cell=np.eye(3))
    turn.rotate(37.0, (1, 2, -1), rotate_cell=True)
    rotation = turn.cell.array.T
    plain, moved = (
        next(entry.rotation for entry in orientations(a) if entry.name == "ieee") for a in (atoms, turned_about(atoms))
    )
    assert moved == pytest.approx(rotation @ plain, abs=1e-6)


def test_rotations_in_words() -> None:
    assert in_words(np.eye(3)).startswith("0.0 degrees")
    half = np.diag([-1.0, -1.0, 1.0])
    assert in_words(half) in ("180.0 degrees about [0.000 0.000 1.000]", "180.0 degrees about [0.000 0.000 -1.000]")

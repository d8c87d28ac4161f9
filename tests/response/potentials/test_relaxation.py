"""Relaxation: closed forms, the space group of every crystal system, and calculators that fail."""

from __future__ import annotations

from collections.abc import Callable

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from tests import crystals
from tests.response.potentials.toys import Neighbors, Wells, smooth, wells

from voigt.errors import InputError
from voigt.response.potentials.relaxation import Relaxation, relax
from voigt.structures.symmetry import find_symmetry

SIGMA = 2.5
LATTICE = 2 ** (1 / 6) * SIGMA * np.sqrt(2)
"""Angstrom: of the close packing of `Neighbors` at rest."""


def kinds(result: Relaxation) -> list[str]:
    return [note.kind for note in result.notes]


def test_a_close_packing_in_closed_form() -> None:
    atoms = bulk("Ar", "fcc", a=1.02 * LATTICE)
    result = relax(atoms, Neighbors(SIGMA), "cell")
    assert result.converged
    assert result.atoms.cell.volume == pytest.approx(LATTICE**3 / 4, rel=1e-4)
    assert result.volume_change == pytest.approx(1.02**-3 - 1, abs=2e-4)
    assert result.stress is not None
    assert result.stress < 0.02
    assert result.energy == pytest.approx(6 * (Neighbors(SIGMA).parameters.epsilon * (-1 + 4 * (1.35**-6 - 1.35**-12))))
    assert kinds(result) == ["processing"]
    assert result.notes[0].text.endswith("space group Fm-3m kept, volume -5.8 %")


def test_positions_find_the_middle_at_a_fixed_cell() -> None:
    """A chain of two atoms per cell that are not equally far from each other."""
    atoms = ase.Atoms("Ar2", positions=[(0, 0, 0), (0, 0, 2.5)], cell=[20, 20, 5.6], pbc=True)
    atoms.set_constraint(FixAtoms([0]))
    atoms.calc = EMT()
    before = atoms.copy()
    result = relax(atoms, Neighbors(SIGMA))
    assert result.converged
    assert result.force < 1e-3
    assert result.atoms.get_distance(0, 1, mic=True) == pytest.approx(2.8, abs=1e-3)
    np.testing.assert_array_equal(result.atoms.cell.array, before.cell.array)
    assert (result.atoms.calc, result.atoms.constraints) == (None, [])
    assert atoms == before
    assert isinstance(atoms.calc, EMT)
    assert len(atoms.constraints) == 1
    assert result.volume_change == 0


def test_none_only_looks() -> None:
    atoms = ase.Atoms("Ar2", positions=[(0, 0, 0), (0, 0, 2.5)], cell=[20, 20, 5.6], pbc=True)
    result = relax(atoms, Neighbors(SIGMA), "none")
    np.testing.assert_array_equal(result.atoms.positions, atoms.positions)
    atoms.calc = Neighbors(SIGMA)
    assert (result.steps, result.converged, result.notes) == (0, False, ())
    assert result.force == pytest.approx(np.linalg.norm(atoms.get_forces(), axis=1).max())


@pytest.mark.parametrize(
    "make",
    [
        crystals.copper_tungstate,  # triclinic
        crystals.baddeleyite,  # monoclinic
        crystals.calcium_titanate,  # orthorhombic
        crystals.lead_titanate,  # tetragonal, polar
        crystals.quartz,  # trigonal, chiral
        crystals.wurtzite,  # hexagonal
        crystals.fluorite,  # cubic
    ],
)
@pytest.mark.parametrize("what", ["positions", "cell"])
def test_the_space_group_is_kept_and_mended(make: Callable[[], ase.Atoms], what: str) -> None:
    """Also of atoms that are off their sites by less than the tolerance, in turned and sheared axes."""
    rng = np.random.default_rng(0)
    atoms = make()
    before = find_symmetry(atoms)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    atoms = crystals.rotated(atoms, rotation)
    atoms.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ atoms.cell.array)
    atoms.positions += rng.uniform(-1e-4, 1e-4, size=atoms.positions.shape)
    result = relax(atoms, smooth(atoms), what, most_steps=8)  # type: ignore[arg-type]
    after = find_symmetry(result.atoms, 1e-5)
    assert result.steps > 0 or after.number == 225  # where all sites are fixed
    assert after.number == before.number
    moved = result.atoms.get_scaled_positions() - atoms.get_scaled_positions()
    assert len(before.permutations) == len(after.permutations)
    assert np.abs((moved - np.rint(moved)) @ atoms.cell.array).max() > 1e-4 or after.number == 225
    assert np.array_equal(result.atoms.numbers, atoms.numbers)


def test_symmetry_may_rise() -> None:
    """A cation off the center of its cage, whose potential has but one well."""
    atoms = wells()
    atoms.positions[0, 2] += 0.1
    result = relax(atoms, Wells(depth=-1.0), force_limit=1e-6)
    assert result.converged
    assert "which raised the space group from P4mm to Pm-3m" in result.notes[0].text
    np.testing.assert_allclose(result.atoms.positions[1] - result.atoms.positions[0], [2, 2, 2], atol=1e-5)


class Tilted(Neighbors):
    """Pushes the first atom, which nothing in the crystal asks for."""

    push = 0.3

    def calculate(self, *arguments: object, **options: object) -> None:
        super().calculate(*arguments, **options)
        self.results["forces"][0, 0] += self.push


def test_forces_that_break_the_space_group_are_told_and_removed() -> None:
    atoms = bulk("Ar", "fcc", a=LATTICE, cubic=True)
    result = relax(atoms, Tilted(SIGMA), "cell")
    assert result.converged
    assert "asymmetric_forces" in kinds(result)
    (note,) = [note for note in result.notes if note.kind == "asymmetric_forces"]
    assert "Tilted breaks the space group by forces of up to 0.3 eV/Angstrom" in note.text
    assert find_symmetry(result.atoms, 1e-5).number == 225


class Failing(EMT):  # type: ignore[misc]
    """Fails at the third question, in a way of its own."""

    answer: float | None = None

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def calculate(self, *arguments: object, **options: object) -> None:
        super().calculate(*arguments, **options)
        self.asked += 1
        if self.asked >= 3 and self.answer is None:
            raise RuntimeError("out of\nmemory")
        if self.asked >= 3:
            self.results["forces"] = self.results["forces"] * self.answer
            self.results["stress"] = self.results["stress"] * self.answer


class NotANumber(Failing):
    answer = np.nan


class Forceless(Calculator):  # type: ignore[misc]
    implemented_properties = ("energy",)


@pytest.mark.parametrize("what", ["positions", "cell"])
def test_calculators_that_fail_on_the_way(what: str) -> None:
    atoms = bulk("Cu", a=3.5, cubic=True)
    atoms.positions[0, 0] += 0.1
    with pytest.raises(InputError, match=r"Failing.*RuntimeError: out of memory$"):
        relax(atoms, Failing(), what)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"NotANumber.*not finite"):
        relax(atoms, NotANumber(), what)  # type: ignore[arg-type]


def test_questions_that_cannot_be_answered() -> None:
    atoms = bulk("Cu")
    with pytest.raises(InputError, match="Forceless gives no forces"):
        relax(atoms, Forceless())
    with pytest.raises(InputError, match="Forceless has no stress, without which no cell relaxes"):
        relax(atoms, Forceless(), "cell")
    with pytest.raises(InputError, match="relax 'volume': give none, positions or cell"):
        relax(atoms, EMT(), "volume")  # type: ignore[arg-type]


def test_no_rest_within_the_steps_is_a_note() -> None:
    result = relax(bulk("Cu", a=3.4), EMT(), "cell", most_steps=2)
    assert not result.converged
    assert result.steps == 2
    assert kinds(result) == ["processing", "not_relaxed"]
    assert "are left after 2 steps" in result.notes[1].text


def test_a_crystal_that_flies_apart_is_stopped() -> None:
    """Below its minimum at every distance that it reaches: atoms only repel each other."""
    atoms = bulk("Ar", "fcc", a=3.4)
    result = relax(atoms, LennardJones(sigma=6.0, epsilon=1.0, rc=6.0, smooth=False), "cell")
    assert not result.converged
    assert "not_relaxed" in kinds(result)

"""Elastic and piezoelectric tensors from strained cells: closed forms, energies, and ions relaxed by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ase
import numpy as np
import pytest
from ase.build import bulk, make_supercell
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from scipy import constants
from scipy.linalg import sqrtm
from scipy.spatial.transform import Rotation
from tests import crystals
from tests.response.toy_potentials import (
    BENDING,
    LATTICE,
    STRETCHING,
    Blind,
    Counted,
    Toy,
    force_constants,
    glue,
    keating,
)

from voigt.errors import DomainError, InputError
from voigt.response.phonons import (
    StrainResponse,
    internal_displacements,
    internal_strain_by_calculator,
    ionic_piezo,
    relaxed_elastic,
    strained_cells,
    whole_piezo,
)
from voigt.response.phonons.modes import acoustic_pseudo_inverse
from voigt.structures.symmetry import find_symmetry
from voigt.tensors.voigt import elastic_from_voigt, elastic_to_voigt, piezo_from_voigt, piezo_to_voigt

GPA = 160.2176634  # per eV/Angstrom^3
COULOMB_PER_M2 = 16.02176634  # per e/Angstrom^2


def strained(atoms: ase.Atoms, gradient: np.ndarray) -> ase.Atoms:
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ gradient.T, scale_atoms=True)
    return copy


def relaxed(atoms: ase.Atoms, calculator: Calculator, phi: np.ndarray) -> ase.Atoms:
    """Ions without forces, the cell as it is: Newton's method with force constants that are nearly right."""
    copy = atoms.copy()
    copy.calc = calculator
    inverse = acoustic_pseudo_inverse(phi)
    for _ in range(60):
        forces = copy.get_forces()
        if abs(forces).max() < 1e-11:
            break
        copy.positions += np.einsum("ijab,jb->ia", inverse, forces)
    assert abs(copy.get_forces()).max() < 1e-9
    return copy


def assert_second_derivatives(voigt: np.ndarray, atoms: ase.Atoms, calculator: Calculator, tolerance: float) -> None:
    """C (GPa) against energies per volume along Lagrangian strains: the axes and ten random ones; no stress is used."""

    def energy(direction: np.ndarray, step: float) -> float:
        xx, yy, zz, yz, zx, xy = step * direction
        eta = np.array([[xx, xy / 2, zx / 2], [xy / 2, yy, yz / 2], [zx / 2, yz / 2, zz]])
        copy = strained(atoms, np.real(sqrtm(np.eye(3) + 2 * eta)))
        copy.calc = calculator
        return float(copy.get_potential_energy())

    directions = np.concatenate([np.eye(6), np.random.default_rng(8).uniform(-1, 1, size=(10, 6))])
    still, h = energy(directions[0], 0.0), 3e-3
    curvatures = []
    for direction in directions:
        near, far = (energy(direction, s * h) + energy(direction, -s * h) - 2 * still for s in (1, 2))
        curvatures.append((16 * near - far) / (12 * h**2) * GPA / atoms.get_volume())  # of fourth order
    expected = np.array(curvatures)
    np.testing.assert_allclose(
        np.einsum("di,ij,dj->d", directions, voigt, directions), expected, atol=tolerance * abs(expected).max()
    )


def triclinic() -> ase.Atoms:
    """Three atoms without any symmetry, under a stress that is not hydrostatic, ions at rest."""
    atoms = ase.Atoms(
        "MgOAl",
        scaled_positions=[(0, 0, 0), (0.46, 0.43, 0.12), (0.5, 0.85, 0.55)],
        cell=[[3.96, 0.11, 0], [0.55, 4.29, 0.22], [-0.33, 0.44, 4.51]],
        pbc=True,
    )
    atoms.calc = glue()
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=500)
    final = relaxed(atoms, glue(), force_constants(atoms, glue()))
    final.calc = None
    return final


@pytest.fixture(scope="module")
def odd() -> ase.Atoms:
    return triclinic()


@pytest.fixture(scope="module")
def zincblende() -> StrainResponse:
    return strained_cells(crystals.zincblende(), keating())


def turned(tensor: np.ndarray, rotation: np.ndarray, rank: int) -> np.ndarray:
    for axis in range(tensor.ndim - rank, tensor.ndim):
        tensor = np.moveaxis(np.tensordot(rotation, tensor, (1, axis)), 0, axis)
    return tensor


@pytest.mark.parametrize("calculator", [keating(), glue()], ids=["keating", "glue"])
def test_forces_and_stress_of_the_test_potentials_are_slopes_of_their_energy(calculator: Toy) -> None:
    atoms = crystals.zincblende(cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms = strained(atoms, np.eye(3) + 0.01 * np.random.default_rng(2).normal(size=(3, 3)))
    atoms.calc = calculator
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), atol=1e-6)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, 1e-5), atol=1e-7)


def test_elastic_constants_of_keating(zincblende: StrainResponse) -> None:
    """C11 = (a + 3 b)/l, C12 = (a - b)/l; C44 = (a + b)/l with clamped ions and 4 a b/((a + b) l) with free ones."""
    a, b = STRETCHING, BENDING
    atoms = crystals.zincblende()
    expected = np.zeros((6, 6))
    expected[:3, :3] = a - b
    expected[range(3), range(3)] = a + 3 * b
    expected[range(3, 6), range(3, 6)] = a + b
    np.testing.assert_allclose(elastic_to_voigt(zincblende.elastic_clamped), expected * GPA / LATTICE, atol=0.01)
    phi = force_constants(atoms, keating())
    free = relaxed_elastic(zincblende.elastic_clamped, phi, zincblende.internal_strain, atoms.get_volume())
    expected[range(3, 6), range(3, 6)] = 4 * a * b / (a + b)
    np.testing.assert_allclose(elastic_to_voigt(free), expected * GPA / LATTICE, atol=0.01)
    # Kleinman's parameter (a - b)/(a + b): 1 where bonds keep their length. The anion comes nearer to x = 0.
    shift = internal_displacements(phi, zincblende.internal_strain)
    assert (shift[1] - shift[0])[0, 1, 2] == pytest.approx(-(a - b) / (a + b) * LATTICE / 4, rel=1e-4)
    assert zincblende.asymmetry < 1e-6
    assert abs(zincblende.stress).max() < 1e-9
    assert [note.kind for note in zincblende.notes] == ["processing"]


def test_piezoelectricity_of_rigid_ions(zincblende: StrainResponse) -> None:
    """e14 = zeta Z/l^2 of ions that keep their charge; d14 = e14/C44 and the free crystal's permittivity follow."""
    a, b = STRETCHING, BENDING
    atoms, charge = crystals.zincblende(), 1.7
    phi = force_constants(atoms, keating())
    born = charge * np.array([np.eye(3), -np.eye(3)])
    ionic = ionic_piezo(phi, zincblende.internal_strain, born, atoms.get_volume())
    expected = np.zeros((3, 6))
    expected[range(3), range(3, 6)] = (a - b) / (a + b) * charge / LATTICE**2 * COULOMB_PER_M2
    np.testing.assert_allclose(piezo_to_voigt(ionic), expected, atol=1e-4 * expected.max())
    free = relaxed_elastic(zincblende.elastic_clamped, phi, zincblende.internal_strain, atoms.get_volume())
    whole = whole_piezo(piezo_from_voigt(-0.4 * expected), ionic, free, 9 * np.eye(3))
    e14, c44 = 0.6 * expected[0, 3], 4 * a * b / (a + b) * GPA / LATTICE
    np.testing.assert_allclose(piezo_to_voigt(whole.e), 0.6 * expected, atol=1e-4 * e14)
    np.testing.assert_allclose(whole.e, whole.e_clamped + whole.e_ionic)
    assert 2 * whole.d[0, 1, 2] == pytest.approx(1e3 * e14 / c44, rel=1e-3)
    extra = e14**2 / (c44 * 1e9 * constants.epsilon_0)
    np.testing.assert_allclose(whole.eps_free, (9 + extra) * np.eye(3), atol=1e-3 * extra)


def test_ions_relaxed_by_hand(odd: ase.Atoms) -> None:
    """Stress and polarization of strained cells whose ions a minimizer has moved, in a crystal without symmetry."""
    calculator = glue()
    found = strained_cells(odd, calculator, 2e-4)
    phi = force_constants(odd, calculator)
    volume = odd.get_volume()
    free = relaxed_elastic(found.elastic_clamped, phi, found.internal_strain, volume)
    charges = np.random.default_rng(4).normal(size=(3, 3, 3))
    charges -= charges.mean(axis=0)
    piezo = ionic_piezo(phi, found.internal_strain, charges, volume)
    elastic_slope, piezo_slope = np.empty((6, 6)), np.empty((3, 6))
    for column in range(6):
        engineering = np.eye(6)[column] * [1, 1, 1, 0.5, 0.5, 0.5]
        xx, yy, zz, yz, zx, xy = 2e-4 * engineering
        stresses, polarizations = [], []
        for sign in (1, -1):
            gradient = np.eye(3) + sign * np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])
            clamped = strained(odd, gradient)
            final = relaxed(clamped, calculator, phi)
            back = np.linalg.inv(gradient)
            piola = np.linalg.det(gradient) * back @ final.get_stress(voigt=False) @ back.T * GPA
            stresses.append(piola[[0, 1, 2, 1, 2, 0], [0, 1, 2, 2, 0, 1]])
            shift = final.positions - clamped.positions
            polarizations.append(np.einsum("aib,ab->i", charges, shift - shift.mean(axis=0)) * COULOMB_PER_M2 / volume)
        elastic_slope[:, column] = (stresses[0] - stresses[1]) / 4e-4
        piezo_slope[:, column] = (polarizations[0] - polarizations[1]) / 4e-4
    clamped_voigt, voigt = elastic_to_voigt(found.elastic_clamped), elastic_to_voigt(free)
    assert abs(clamped_voigt - voigt).max() > 0.05 * abs(voigt).max()  # relaxation matters
    np.testing.assert_allclose(voigt, elastic_slope, atol=1e-4 * abs(voigt).max())
    np.testing.assert_allclose(piezo_to_voigt(piezo), piezo_slope, atol=1e-4 * abs(piezo_slope).max())
    # Relaxation never stiffens.
    assert np.linalg.eigvalsh(clamped_voigt - voigt).min() > -1e-6 * abs(voigt).max()


def test_elastic_constants_are_second_derivatives_of_the_energy_under_stress(odd: ase.Atoms) -> None:
    found = strained_cells(odd, glue(), 2e-4)
    pressures = np.linalg.eigvalsh(found.stress)
    assert abs(pressures).max() > 1
    assert np.ptp(pressures) > 1
    voigt = elastic_to_voigt(found.elastic_clamped)
    assert_second_derivatives(voigt, odd, glue(), 1e-4)
    assert found.asymmetry < 1e-5
    assert [note.kind for note in found.notes] == ["processing", "not_relaxed"]
    (stressed,) = [note for note in found.notes if note.is_warning]
    assert f"{abs(pressures).max():.2g} GPa" in stressed.text


@pytest.mark.parametrize("axial", [1.0, 1.04])
def test_compressed_argon(axial: float) -> None:
    """Lennard and Jones' potential far from equilibrium: energies, and Cauchy's stress by Birch's coefficients."""
    calculator = LennardJones(sigma=3.4, epsilon=0.0104, rc=9.0, ro=5.4, smooth=True)  # no shell near 5.4 or 9
    atoms = strained(bulk("Ar", "fcc", a=4.9), np.diag([1, 1, axial]))
    found = strained_cells(atoms, calculator, 5e-4)
    atoms.calc = calculator
    np.testing.assert_allclose(found.stress, atoms.get_stress(voigt=False) * GPA, atol=1e-10)
    assert found.stress[0, 0] < -1
    voigt = elastic_to_voigt(found.elastic_clamped)
    assert_second_derivatives(voigt, atoms, calculator, 1e-4)
    assert found.asymmetry < 1e-5
    unit, s = np.eye(3), found.stress
    four = [np.einsum(form, s, unit) for form in ("ik,jl->ijkl", "il,jk->ijkl", "jk,il->ijkl", "jl,ik->ijkl")]
    birch = found.elastic_clamped + sum(four) / 2 - np.einsum("ij,kl->ijkl", s, unit)
    if axial == 1.0:
        np.testing.assert_allclose(birch, birch.transpose(2, 3, 0, 1), atol=1e-9)
    else:  # Birch's coefficients are not symmetric, these are
        assert abs(birch - birch.transpose(2, 3, 0, 1)).max() > 0.1
    strain = 1e-4 * np.array([[0.7, 0.2, -0.4], [0.2, -0.3, 0.5], [-0.4, 0.5, 0.9]])
    stresses = []
    for sign in (1, -1):
        copy = strained(atoms, unit + sign * strain)
        copy.calc = calculator
        stresses.append(copy.get_stress(voigt=False) * GPA)
    slope = (stresses[0] - stresses[1]) / 2
    np.testing.assert_allclose(np.einsum("ijkl,kl->ij", birch, strain), slope, atol=1e-4 * abs(slope).max())


@pytest.mark.parametrize("element", ["Cu", "Al"])
def test_metals_of_effective_medium_theory(element: str) -> None:
    atoms = bulk(element)
    found = strained_cells(atoms, EMT())
    voigt = elastic_to_voigt(found.elastic_clamped)
    assert_second_derivatives(voigt, atoms, EMT(), 2e-3)
    assert voigt[0, 0] > voigt[0, 1] > 0
    np.testing.assert_allclose(found.internal_strain, 0, atol=1e-9)


def test_results_are_flat_in_the_step(odd: ase.Atoms) -> None:
    """Errors grow as the square of the step; between 5e-4 and 5e-3 they do not matter."""
    tiny, fine, middle, coarse = (strained_cells(odd, glue(), step) for step in (1e-4, 5e-4, 2.5e-3, 5e-3))
    for name in ("elastic_clamped", "internal_strain"):
        exact = getattr(tiny, name)
        errors = [abs(getattr(found, name) - exact).max() / abs(exact).max() for found in (fine, middle, coarse)]
        assert errors[2] < 1e-3
        assert errors[2] / errors[1] == pytest.approx(4, rel=0.05)


def test_tensors_turn_with_the_crystal(odd: ase.Atoms) -> None:
    rotation = Rotation.random(random_state=3).as_matrix()
    other = odd.copy()
    other.set_cell(odd.cell.array @ rotation.T, scale_atoms=True)
    before, after = strained_cells(odd, glue(), 2e-4), strained_cells(other, glue(), 2e-4)
    for name, rank in (("internal_strain", 3), ("elastic_clamped", 4), ("stress", 2)):
        expected = turned(getattr(before, name), rotation, rank)
        np.testing.assert_allclose(getattr(after, name), expected, atol=1e-5 * abs(expected).max(), err_msg=name)
    expected = turned(relaxed_elastic_of(odd, before), rotation, 4)
    np.testing.assert_allclose(relaxed_elastic_of(other, after), expected, atol=1e-5 * abs(expected).max())


def relaxed_elastic_of(atoms: ase.Atoms, found: StrainResponse) -> np.ndarray:
    phi = force_constants(atoms, glue())
    return relaxed_elastic(found.elastic_clamped, phi, found.internal_strain, atoms.get_volume())


@pytest.mark.parametrize("matrix", [np.diag([1, 2, 1]), np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 1]])])
def test_a_supercell_is_the_same_crystal(matrix: np.ndarray, odd: ase.Atoms) -> None:
    for atoms, calculator in ((odd, glue()), (crystals.zincblende(), keating())):
        small = strained_cells(atoms, calculator)
        twice = make_supercell(atoms, matrix)
        large = strained_cells(twice, calculator)
        np.testing.assert_allclose(large.elastic_clamped, small.elastic_clamped, rtol=1e-6, atol=1e-4)
        np.testing.assert_allclose(large.stress, small.stress, atol=1e-8)
        original = [
            int(np.flatnonzero(atoms.numbers == number)[0]) for number in twice.numbers
        ]  # one atom of each kind
        np.testing.assert_allclose(large.internal_strain, small.internal_strain[original], atol=1e-6)
    phi = force_constants(twice, keating())
    free = relaxed_elastic(large.elastic_clamped, phi, large.internal_strain, twice.get_volume())
    c44 = 4 * STRETCHING * BENDING / (STRETCHING + BENDING) * GPA / LATTICE
    assert free[1, 2, 1, 2] == pytest.approx(c44, rel=1e-5)


def test_symmetry_saves_calculations() -> None:
    """A cubic crystal has two distinct strains, and a fourfold axis reverses the shear; results are those of all."""
    turn = Rotation.random(random_state=5).as_matrix()
    askew = crystals.zincblende()
    askew.set_cell(askew.cell.array @ turn.T, scale_atoms=True)
    for atoms, most in ((crystals.zincblende(), 4), (askew, 4), (crystals.quartz(), 7), (crystals.wurtzite(), 7)):
        counted = Counted(glue())
        few = strained_cells(atoms, counted)
        assert counted.calls <= most
        all_strains = strained_cells(atoms, glue(), symmetrize=False)
        for name in ("elastic_clamped", "internal_strain", "stress"):
            expected = getattr(all_strains, name)
            np.testing.assert_allclose(getattr(few, name), expected, atol=2e-4 * abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("make", [crystals.quartz, crystals.wurtzite, crystals.lead_titanate, crystals.anatase])
def test_projection_keeps_what_the_crystal_allows(make: Callable[[], ase.Atoms]) -> None:
    """A potential that knows the symmetry gives the same with and without; anything else ends up invariant."""
    atoms = make()
    free, imposed = (strained_cells(atoms, glue(), symmetrize=choice) for choice in (False, True))
    for name in ("internal_strain", "elastic_clamped", "stress"):
        np.testing.assert_allclose(
            getattr(imposed, name), getattr(free, name), atol=1e-5 * abs(free.elastic_clamped).max(), err_msg=name
        )
    assert abs(free.internal_strain).max() > 0.1
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(len(atoms), 3))
    broken = Blind(
        glue(),
        forces=lambda forces, cell: forces + directions * 30 * (cell.get_volume() / atoms.get_volume() - 1),
        stress=lambda stress, cell: stress + np.arange(6) * (cell.cell[0, 0] / atoms.cell[0, 0] - 1),
    )
    found = strained_cells(atoms, broken)
    symmetry = find_symmetry(atoms)
    for rotation, permutation in zip(symmetry.rotations, symmetry.permutations, strict=True):
        scale = abs(found.internal_strain).max()
        image = turned(found.internal_strain, rotation, 3)
        np.testing.assert_allclose(found.internal_strain[permutation], image, atol=1e-3 * scale)
        elastic = turned(found.elastic_clamped, rotation, 4)
        np.testing.assert_allclose(elastic, found.elastic_clamped, atol=1e-3 * abs(elastic).max())
    np.testing.assert_allclose(found.internal_strain.sum(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(found.elastic_clamped, found.elastic_clamped.transpose(2, 3, 0, 1), atol=1e-9)
    assert found.asymmetry > 0.02
    doubts = [note for note in found.notes if note.kind == "asymmetric_forces"]
    assert len(doubts) == 2
    assert "Blind" in doubts[0].text
    assert doubts[1].properties == ("elastic",)
    assert not [note for note in imposed.notes if note.kind == "asymmetric_forces"]


def test_constraints_do_not_act() -> None:
    """FixSymmetry, which a relaxation may leave, would symmetrize what strain has made less symmetric."""
    atoms = crystals.zincblende()
    plain = strained_cells(atoms, keating())
    for constraint in (FixSymmetry(atoms), FixAtoms([0])):
        fixed = atoms.copy()
        fixed.set_constraint(constraint)
        found = strained_cells(fixed, keating())
        np.testing.assert_allclose(found.internal_strain, plain.internal_strain, atol=1e-12)
        np.testing.assert_allclose(found.elastic_clamped, plain.elastic_clamped, atol=1e-9)
        assert len(fixed.constraints) == 1
        np.testing.assert_array_equal(fixed.positions, atoms.positions)


def test_without_stress_the_internal_strain_still_comes(zincblende: StrainResponse) -> None:
    found = strained_cells(crystals.zincblende(), Blind(keating(), ("energy", "forces")))
    assert (found.elastic_clamped, found.stress, found.asymmetry) == (None, None, None)
    np.testing.assert_allclose(found.internal_strain, zincblende.internal_strain, atol=1e-12)
    (missing,) = [note for note in found.notes if note.properties == ("elastic",)]
    assert "gives no stress" in missing.text
    alone = internal_strain_by_calculator(crystals.zincblende(), Blind(keating(), ("forces",)))
    np.testing.assert_array_equal(alone, found.internal_strain)


def test_ions_that_are_not_at_rest_are_reported(odd: ase.Atoms) -> None:
    atoms = odd.copy()
    atoms.positions[1, 0] += 0.05
    (forces,) = [note for note in strained_cells(atoms, glue()).notes if "forces up to" in note.text]
    assert forces.kind == "not_relaxed"


def raising(value: Any, atoms: ase.Atoms) -> Any:
    raise RuntimeError("no parameters for Zn")


def test_calculators_that_fail() -> None:
    atoms = crystals.zincblende()
    with pytest.raises(InputError, match="Blind gives no forces: RuntimeError: no parameters for Zn"):
        strained_cells(atoms, Blind(keating(), ("forces", "stress"), forces=raising))
    with pytest.raises(InputError, match="forces that are not finite"):
        strained_cells(atoms, Blind(keating(), forces=lambda forces, _: forces + np.nan))
    with pytest.raises(InputError, match="stress that is not finite"):
        strained_cells(atoms, Blind(keating(), stress=lambda stress, _: stress + np.inf))
    # Stress on its own request: the forces come, the stress fails.

    class Late(Blind):
        def get_stress(self, atoms: Any = None) -> Any:
            raise MemoryError("out of memory")

    with pytest.raises(InputError, match="Late gives no stress: MemoryError: out of memory"):
        strained_cells(atoms, Late(keating()))


@pytest.mark.parametrize("step", [0.0, -1e-3, 0.1, np.nan])
def test_steps_out_of_bounds(step: float) -> None:
    with pytest.raises(InputError, match="step"):
        strained_cells(crystals.zincblende(), keating(), step)


def test_bad_input_is_one_sentence(zincblende: StrainResponse) -> None:
    with pytest.raises(InputError, match="cell"):
        strained_cells(ase.Atoms("Zn", pbc=True), keating())
    phi = force_constants(crystals.zincblende(), keating())
    elastic, strain = zincblende.elastic_clamped, zincblende.internal_strain
    with pytest.raises(DomainError, match="unstable"):
        relaxed_elastic(elastic, -phi, strain, 40.0)
    with pytest.raises(InputError, match="elastic tensor"):
        relaxed_elastic(elastic_to_voigt(elastic), phi, strain, 40.0)
    with pytest.raises(InputError, match="elastic tensor"):
        relaxed_elastic(np.nan * elastic, phi, strain, 40.0)
    with pytest.raises(InputError, match="volume"):
        relaxed_elastic(elastic, phi, strain, 0.0)
    with pytest.raises(InputError, match="internal strain of 2 atoms"):
        relaxed_elastic(elastic, phi, strain[:1], 40.0)
    e, eps = np.zeros((3, 3, 3)), 5 * np.eye(3)
    with pytest.raises(InputError, match="one crystal"):
        whole_piezo(e, np.zeros((3, 6)), elastic, eps)
    with pytest.raises(InputError, match="not finite"):
        whole_piezo(e, np.nan * e, elastic, eps)
    with pytest.raises(DomainError, match="does not resist"):
        whole_piezo(e, e, elastic_from_voigt(np.diag([100.0, 100, 100, 50, 50, -1])), eps)


@pytest.mark.filterwarnings("ignore")  # of a library that announces what it has not got
def test_sevennet_on_magnesia() -> None:
    """297, 95 and 156 GPa: Sinogeikin and Bass, Phys. Earth Planet. Inter. 120, 43 (2000).

    Universal potentials are soft, Deng et al., npj Comput. Mater. 11, 9 (2025): that is theirs, a factor is ours.
    """
    calculators = pytest.importorskip("sevenn.calculator", reason="sevenn is not installed")
    calculator = calculators.SevenNetCalculator("7net-l3i5", device="cpu")
    atoms = bulk("MgO", "rocksalt", a=4.25)
    atoms.calc = calculator
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=50)
    free, imposed = (strained_cells(atoms, calculator, symmetrize=choice) for choice in (False, True))
    np.testing.assert_allclose(imposed.elastic_clamped, free.elastic_clamped, atol=0.5)
    assert free.asymmetry < 0.01
    assert not [note for note in (*free.notes, *imposed.notes) if note.is_warning]
    ratios = elastic_to_voigt(imposed.elastic_clamped)[[0, 0, 3], [0, 1, 3]] / [297, 95, 156]
    assert ((ratios > 0.7) & (ratios < 1.15)).all(), ratios

"""Relaxed-ion piezoelectricity against finite differences and closed forms of rigid ions."""

from __future__ import annotations

from typing import Any, ClassVar

import ase
import numpy as np
import phonopy
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS
from phonopy.structure.atoms import PhonopyAtoms
from scipy.special import erfc
from tests import crystals
from tests.response.ionic_crystals import random_crystal

from voigt.errors import DomainError, InputError
from voigt.response.phonons.internal_strain import (
    internal_displacements,
    internal_strain_of_force_constants,
    ionic_piezo,
)
from voigt.response.phonons.modes import gamma_force_constants
from voigt.response.phonons.strained_cells import internal_strain_by_calculator
from voigt.response.piezoelectricity import strain_coefficients
from voigt.tensors.voigt import elastic_from_voigt, piezo_to_voigt

COULOMB = 14.399645


class RigidIons(Calculator):
    """Born and Mayer's model: point charges by Ewald's sums and a short repulsion."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, charges: dict[str, float], strength: float, softness: float, cutoff: float) -> None:
        super().__init__()
        self.charges, self.strength, self.softness, self.cutoff = charges, strength, softness, cutoff

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        q = np.array([self.charges[symbol] for symbol in atoms.get_chemical_symbols()])
        forces = np.zeros((len(atoms), 3))
        i, j, r, vector = neighbor_list("ijdD", atoms, self.cutoff)
        # Smooth end of the repulsion, so that strain moves no atom across a step.
        x = r / self.cutoff
        taper = (1 - x**2) ** 3
        # Like ions are larger: without that, tetrahedra of rigid ions are not stable.
        like = np.where(atoms.numbers[i] == atoms.numbers[j], 50.0, 1.0)
        repulsion = self.strength * np.exp(-r / self.softness) * like
        slope = repulsion * (-taper / self.softness - 6 * x / self.cutoff * (1 - x**2) ** 2)
        energy = 0.5 * (repulsion * taper).sum()
        if q.any():
            alpha = 3.6 / self.reach
            i2, j2, r2, vector2 = neighbor_list("ijdD", atoms, self.reach)
            pair = COULOMB * q[i2] * q[j2]
            energy += 0.5 * (pair * erfc(alpha * r2) / r2).sum() - COULOMB * alpha / np.sqrt(np.pi) * (q**2).sum()
            gaussian = 2 * alpha / np.sqrt(np.pi) * np.exp(-((alpha * r2) ** 2))
            slope2 = -pair * (erfc(alpha * r2) / r2 + gaussian) / r2
            np.add.at(forces, i2, (slope2 / r2)[:, None] * vector2)
            energy += self.reciprocal(atoms, q, alpha, forces)
        np.add.at(forces, i, (slope / r)[:, None] * vector)
        self.results = {"energy": energy, "forces": forces}

    reach = 7.0

    def reciprocal(self, atoms: ase.Atoms, q: np.ndarray, alpha: float, forces: np.ndarray) -> float:
        basis = 2 * np.pi * np.linalg.inv(atoms.cell.array).T
        limit = 2 * alpha * 3.8
        most = np.ceil(limit * np.linalg.norm(atoms.cell.array, axis=1) / (2 * np.pi)).astype(int)
        k = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in most]), -1).reshape(-1, 3) @ basis
        square = (k**2).sum(axis=1)
        k, square = k[(square > 1e-9) & (square < limit**2)], square[(square > 1e-9) & (square < limit**2)]
        weight = 2 * np.pi * COULOMB / atoms.get_volume() * np.exp(-square / (4 * alpha**2)) / square
        phase = np.exp(1j * k @ atoms.positions.T)
        structure = phase @ q
        forces += np.einsum("g,gi,ga,a->ai", 2 * weight, k, (phase * structure.conj()[:, None]).imag, q)
        return float((weight * np.abs(structure) ** 2).sum())


def model(charge: float) -> RigidIons:
    return RigidIons({"Zn": charge, "S": -charge}, strength=1000.0, softness=0.35, cutoff=5.2)


def phonons(atoms: ase.Atoms, calculator: Calculator, repeat: tuple[int, int, int], charge: float) -> phonopy.Phonopy:
    """Force constants of a supercell by phonopy's displacements; charges as NAC parameters in vacuum."""
    unit = PhonopyAtoms(atoms.get_chemical_symbols(), cell=atoms.cell.array, positions=atoms.positions)
    phonon = phonopy.Phonopy(unit, np.diag(repeat), primitive_matrix="P")
    phonon.generate_displacements(distance=1e-3, is_plusminus=True)
    forces = []
    for cell in phonon.supercells_with_displacements:
        copy = ase.Atoms(cell.symbols, cell=cell.cell, positions=cell.positions, pbc=True, calculator=calculator)
        forces.append(copy.get_forces())
    phonon.forces = forces
    phonon.produce_force_constants(show_drift=False)
    phonon.symmetrize_force_constants(show_drift=False)
    if charge:
        born = charge * np.array([np.eye(3) * (1 if s == "Zn" else -1) for s in atoms.get_chemical_symbols()])
        phonon.nac_params = {"born": born, "dielectric": np.eye(3), "factor": COULOMB}
    return phonon


def relaxed(atoms: ase.Atoms, calculator: Calculator) -> ase.Atoms:
    """Ions without forces, the cell as it is."""
    copy = atoms.copy()
    copy.calc = calculator
    BFGS(copy, logfile=None).run(fmax=1e-6, steps=200)
    copy.calc = None
    return copy


def test_forces_of_the_test_potential_are_slopes_of_its_energy() -> None:
    atoms = crystals.zincblende()
    atoms.rattle(0.1, seed=1)
    calculator = model(1.2)
    atoms.calc = calculator
    from ase.calculators.fd import calculate_numerical_forces

    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), atol=1e-5)
    # Madelung: 1.6381 for zincblende with reference to the nearest neighbor.
    ideal = crystals.zincblende()
    ideal.calc = RigidIons({"Zn": 1.0, "S": -1.0}, 0.0, 1.0, 3.0)
    assert ideal.get_potential_energy() == pytest.approx(-1.63806 * COULOMB / (5.409 * np.sqrt(3) / 4), rel=1e-5)


CRYSTALS = {
    "zincblende": crystals.zincblende(),
    # The axial ratio is not ideal, so that the cell is under stress.
    "wurtzite": bulk("ZnS", "wurtzite", a=3.82, c=6.35, u=0.375),
}


@pytest.fixture(scope="module")
def wurtzite() -> tuple[ase.Atoms, RigidIons]:
    """Rigid ions without forces."""
    calculator = model(1.2)
    return relaxed(CRYSTALS["wurtzite"], calculator), calculator


@pytest.mark.parametrize(("structure", "charge"), [("zincblende", 0.0), ("wurtzite", 1.2)])
def test_first_moments_are_the_finite_differences(structure: str, charge: float) -> None:
    """Of a short-ranged pair potential, and of rigid ions, whose Coulomb forces no supercell holds."""
    calculator = model(charge)
    atoms = relaxed(CRYSTALS[structure], calculator)
    direct = internal_strain_by_calculator(atoms, calculator)
    phonon = phonons(atoms, calculator, (2, 2, 2) if structure == "wurtzite" else (3, 3, 3), charge)
    found = internal_strain_of_force_constants(phonon)
    assert abs(direct).max() > 0.5
    np.testing.assert_allclose(found.values, direct, atol=2e-3 * abs(direct).max())
    assert found.defect < 2e-3
    if charge:  # the separation of dipoles is what makes it right, and the defect tells when it is missing
        phonon.nac_params = None
        plain = internal_strain_of_force_constants(phonon)
        assert abs(plain.values - direct).max() > 0.02 * abs(direct).max()
        assert plain.defect > 5 * found.defect


def test_relaxing_ions_of_a_strained_crystal_polarize_it(wurtzite: tuple[ase.Atoms, RigidIons]) -> None:
    """dP = sum Z du / V of rigid ions that a minimizer has moved, without force constants."""
    atoms, calculator = wurtzite
    charges = np.array([calculator.charges[symbol] for symbol in atoms.get_chemical_symbols()])
    phi = gamma_force_constants(phonons(atoms, calculator, (1, 1, 1), 0.0))
    strain = internal_strain_by_calculator(atoms, calculator)
    e = ionic_piezo(phi, strain, charges[:, None, None] * np.eye(3), atoms.get_volume())
    eta = 1e-3 * np.array([[0, 0, 0.5], [0, 0, 0], [0.5, 0, 1]])
    polarizations = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * eta), scale_atoms=True)
        final = relaxed(strained, calculator)
        shifts = final.positions - strained.positions
        polarizations.append(charges @ shifts * 16.0217663 / atoms.get_volume())
    slope = (polarizations[0] - polarizations[1]) / 2
    np.testing.assert_allclose(np.einsum("ijk,jk->i", e, eta), slope, atol=2e-3 * abs(slope).max())
    assert (abs(slope[[0, 2]]) > 1e-4).all()
    voigt = piezo_to_voigt(e)
    # Point group 6mm: e31 = e32, e33, e15 = e24 and nothing else.
    independent = np.zeros((3, 6))
    independent[2, :3] = voigt[2, 0], voigt[2, 0], voigt[2, 2]
    independent[0, 4] = independent[1, 3] = voigt[0, 4]
    np.testing.assert_allclose(voigt, independent, atol=2e-3)
    assert voigt[2, 2] * voigt[2, 0] < 0


def test_centrosymmetric_crystal_has_none() -> None:
    calculator = RigidIons({"Na": 1.0, "Cl": -1.0}, 1200.0, 0.32, 4.6)
    atoms = crystals.rocksalt()
    np.testing.assert_allclose(internal_strain_by_calculator(atoms, calculator), 0, atol=1e-8)


def test_displacements_balance_the_forces_of_strain() -> None:
    """A crystal of springs: Phi u + Lambda eta = 0; a shear component belongs to eta_jk = eta_kj."""
    phi, _, born, _, volume = random_crystal(5)
    rng = np.random.default_rng(1)
    strain = rng.normal(size=(4, 3, 3, 3))
    strain -= strain.mean(axis=0)
    eta = rng.normal(size=(3, 3))
    eta += eta.T
    u = np.einsum("abjk,jk->ab", internal_displacements(phi, strain), eta)
    symmetric = (strain + strain.swapaxes(2, 3)) / 2
    np.testing.assert_allclose(np.einsum("ijab,jb->ia", phi, u), -np.einsum("abjk,jk->ab", symmetric, eta), atol=1e-10)
    e = ionic_piezo(phi, strain, born, volume)
    polarization = np.einsum("aib,ab->i", born, u) * 1.602176634e-19 / (volume * 1e-20)
    np.testing.assert_allclose(np.einsum("ijk,jk->i", e, eta), polarization, rtol=1e-9)
    # Against the transposed charges: the first index is the polarization.
    assert abs(ionic_piezo(phi, strain, born.swapaxes(1, 2), volume) - e).max() > 1e-3


def test_strain_coefficients_follow() -> None:
    """d = e S of an isotropic solid: a pure shear only meets the shear modulus, d14 = e14 / C44."""
    e = np.zeros((3, 6))
    e[0, 3] = 0.25
    stiffness = np.diag([100.0, 100.0, 100.0, 40.0, 40.0, 40.0]) + np.pad(20 * (np.ones((3, 3)) - np.eye(3)), (0, 3))
    tensor = np.zeros((3, 3, 3))
    tensor[0, 1, 2] = tensor[0, 2, 1] = 0.25
    d = strain_coefficients(tensor, elastic_from_voigt(stiffness))
    assert 2 * d[0, 1, 2] == pytest.approx(1000 * 0.25 / 40.0)


def test_bad_input_is_one_sentence() -> None:
    phi, _, born, _, volume = random_crystal(5)
    with pytest.raises(DomainError, match="unstable"):
        ionic_piezo(-phi, np.zeros((4, 3, 3, 3)), born, volume)
    with pytest.raises(InputError, match="internal strain of 4 atoms"):
        ionic_piezo(phi, np.zeros((3, 3, 3, 3)), born, volume)
    with pytest.raises(InputError, match="internal strain of 4 atoms"):
        ionic_piezo(phi, np.full((4, 3, 3, 3), np.nan), born, volume)
    with pytest.raises(InputError, match="do not belong"):
        ionic_piezo(phi, np.zeros((4, 3, 3, 3)), born[:3], volume)
    unit = PhonopyAtoms(["Na"], cell=3 * np.eye(3), scaled_positions=[[0, 0, 0]])
    with pytest.raises(InputError, match="no force constants"):
        internal_strain_of_force_constants(phonopy.Phonopy(unit, np.eye(3), primitive_matrix="P"))


def test_calculator_that_fails_is_named() -> None:
    class Broken(Calculator):
        implemented_properties: ClassVar[list[str]] = ["forces"]

        def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
            raise RuntimeError("no parameters for Zn")

    class Blind(Calculator):
        implemented_properties: ClassVar[list[str]] = ["forces"]

        def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
            self.results = {"forces": np.full((len(atoms), 3), np.nan)}

    with pytest.raises(InputError, match="no parameters for Zn"):
        internal_strain_by_calculator(crystals.zincblende(), Broken())
    with pytest.raises(InputError, match="not finite"):
        internal_strain_by_calculator(crystals.zincblende(), Blind())

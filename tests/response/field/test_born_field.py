"""Crystals in a field: index order, conservation laws and closed forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import torch
from ase import units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces
from ase.calculators.harmonic import HarmonicCalculator, HarmonicForceField
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from scipy import constants
from tests import crystals
from tests.conftest import REPOSITORY

import voigt
from voigt.errors import InputError
from voigt.response.field.born_field import BornField, load_state, save_state
from voigt.response.field.forces import field_forces, torch_sim_extras
from voigt.response.field.polarization import polarization_path

FIELD = np.array([0.02, -0.05, 0.03])


def unruly(atoms: ase.Atoms, seed: int = 0) -> np.ndarray:
    """Not symmetric, and not neutral."""
    return np.random.default_rng(seed).normal(size=(len(atoms), 3, 3)) + 0.2 * np.eye(3)


def harmonic(atoms: ase.Atoms, stiffness: float = 2.0) -> HarmonicCalculator:
    """Every atom tied to every other by a spring of this constant (eV/A^2): no force on the whole."""
    count = len(atoms)
    coupling = stiffness * (count * np.eye(count) - 1)
    return HarmonicCalculator(HarmonicForceField(atoms.copy(), np.kron(coupling, np.eye(3))))


def in_field(atoms: ase.Atoms, field: object = FIELD, model: object = None, **options: object) -> ase.Atoms:
    charged = atoms.copy()
    charged.calc = BornField(harmonic(atoms), field, unruly(atoms) if model is None else model, **options)
    return charged


def stirred(atoms: ase.Atoms, speed: float = 0.02, seed: int = 2) -> ase.Atoms:
    """Moving, the whole at rest; A/fs."""
    momenta = np.random.default_rng(seed).normal(scale=speed / units.fs, size=(len(atoms), 3))
    momenta *= atoms.get_masses()[:, None]
    atoms.set_momenta(momenta - momenta.mean(axis=0))
    return atoms


@pytest.fixture
def crystal() -> ase.Atoms:
    return crystals.nameless()


def test_the_force_is_minus_the_gradient_of_minus_e_dot_dipole(crystal: ase.Atoms) -> None:
    """The dipole is written out here; rows of Z are fields, columns displacements."""
    z = unruly(crystal)

    def energy(positions: np.ndarray) -> float:
        dipole = np.zeros(3)
        for atom in range(4):
            for i in range(3):
                for j in range(3):
                    dipole[i] += z[atom, i, j] * (positions - crystal.positions)[atom, j]
        return -float(FIELD @ dipole)

    expected = np.zeros((4, 3))
    for atom, j in np.ndindex(4, 3):
        step = np.zeros((4, 3))
        step[atom, j] = 1e-3
        expected[atom, j] = -(energy(crystal.positions + step) - energy(crystal.positions - step)) / 2e-3
    np.testing.assert_allclose(field_forces(z, FIELD), expected, atol=1e-12)
    assert abs(field_forces(z.transpose(0, 2, 1), FIELD) - expected).max() > 0.01
    charged = in_field(crystal, sum_rule=False)
    np.testing.assert_allclose(charged.get_forces(), expected, atol=1e-12)


def test_forces_are_the_gradient_of_the_energy(crystal: ase.Atoms) -> None:
    atoms = in_field(crystal)
    atoms.get_forces()  # the reference
    atoms.rattle(0.1, seed=1)
    numerical = calculate_numerical_forces(atoms, eps=1e-3)
    np.testing.assert_allclose(atoms.get_forces(), numerical, atol=1e-8)
    np.testing.assert_allclose(atoms.calc.get_property("free_energy", atoms), atoms.get_potential_energy())
    assert abs(atoms.get_forces() - atoms.calc.calculator.get_forces(atoms)).max() > 0.01


def test_the_sum_rule_keeps_the_total_momentum(crystal: ase.Atoms) -> None:
    atoms = stirred(in_field(crystal))
    VelocityVerlet(atoms, 1 * units.fs).run(50)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(atoms.calc.state.charge_drift, unruly(crystal).sum(axis=0))
    free = in_field(crystal, sum_rule=False)
    np.testing.assert_allclose(free.get_forces().sum(axis=0), FIELD @ unruly(crystal).sum(axis=0), atol=1e-12)
    assert abs(free.get_forces().sum(axis=0)).max() > 0.01
    charged = in_field(crystal, total_charge=2.0)
    np.testing.assert_allclose(charged.get_forces().sum(axis=0), 2 * FIELD, atol=1e-12)


def spread_of_energy(
    crystal: ase.Atoms, time_step: float, energy: Callable[[ase.Atoms], float], field: object
) -> float:
    atoms = stirred(in_field(crystal, field))
    dynamics = VelocityVerlet(atoms, time_step * units.fs)
    atoms.calc.follow(dynamics)
    values = []
    dynamics.attach(lambda: values.append(atoms.get_kinetic_energy() + energy(atoms)))
    dynamics.run(round(120 / time_step))
    return float(np.ptp(values))


def test_energy_is_conserved_to_second_order_in_the_time_step(crystal: ase.Atoms) -> None:
    strong = 10 * FIELD
    total = ase.Atoms.get_potential_energy
    coarse, fine = (spread_of_energy(crystal, step, total, strong) for step in (1.0, 0.5))
    assert coarse / fine == pytest.approx(4, rel=0.1)
    # Without the part of the field the energy would not be conserved at all.
    without = spread_of_energy(crystal, 0.5, lambda atoms: atoms.calc.base_energy, strong)
    assert fine < 0.01 * without


def pulse(time: float) -> np.ndarray:
    return 10 * FIELD * np.sin(2 * np.pi * time / 60) ** 2


def test_work_of_a_field_that_varies_accounts_for_the_energy(crystal: ase.Atoms) -> None:
    def remaining(atoms: ase.Atoms) -> float:
        return atoms.calc.base_energy - atoms.calc.state.work

    coarse, fine = (spread_of_energy(crystal, step, remaining, pulse) for step in (1.0, 0.5))
    assert coarse / fine == pytest.approx(4, rel=0.1)
    gained = spread_of_energy(crystal, 0.5, lambda atoms: atoms.calc.base_energy, pulse)
    assert fine < 0.01 * gained


def test_work_in_a_constant_field_is_field_times_dipole(crystal: ase.Atoms) -> None:
    atoms = stirred(in_field(crystal))
    VelocityVerlet(atoms, 1 * units.fs).run(30)
    state = atoms.calc.state
    assert state.work == pytest.approx(FIELD @ state.dipole, rel=1e-12)
    path = polarization_path([crystal, atoms], unruly(crystal), unwrap=False)
    np.testing.assert_allclose(atoms.calc.polarization_change, path.change[1], atol=1e-12)


def pair(charge: float = 2.0) -> tuple[ase.Atoms, np.ndarray, float, float]:
    """Two atoms on one spring k: the whole of it, and reduced mass."""
    atoms = ase.Atoms("MgO", positions=[[0, 0, 0], [2.1, 0, 0]], cell=[4.2, 4.2, 4.2], pbc=True)
    masses = atoms.get_masses()
    return atoms, charge * np.array([np.eye(3), -np.eye(3)]), 10.0, masses.prod() / masses.sum()


def sine_driven(time_step: float) -> tuple[float, float, float]:
    """Stretch of the spring at 90 fs, its closed form when driven from rest by E0 sin(W t), and the static one."""
    atoms, z, stiffness, reduced = pair()
    eigen = np.sqrt(stiffness / reduced) * units.fs  # rad/fs
    drive, top = 0.6 * eigen, 0.05
    reference = atoms.copy()
    atoms.calc = BornField(harmonic(atoms, stiffness), lambda time: [0, 0, top * np.sin(drive * time)], z)
    dynamics = VelocityVerlet(atoms, time_step * units.fs)
    atoms.calc.follow(dynamics)
    dynamics.run(round(90 / time_step))
    stretch = (atoms.positions - reference.positions)[0, 2] - (atoms.positions - reference.positions)[1, 2]
    acceleration = 2.0 * top / reduced * units.fs**2
    expected = acceleration / (eigen**2 - drive**2) * (np.sin(drive * 90) - drive / eigen * np.sin(eigen * 90))
    return stretch, expected, 2.0 * top / stiffness


def test_an_oscillator_driven_from_rest_follows_the_closed_form() -> None:
    """At time 0 the field and all forces are zero, so that the first step leaves every atom where it is."""
    errors = []
    for time_step in (1.0, 0.5, 0.25):
        found, expected, static = sine_driven(time_step)
        errors.append(abs(found - expected))
    assert errors[2] < 2e-3 * static < 0.02 * abs(expected)
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.3)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.3)


def test_each_step_sees_the_field_of_its_own_time() -> None:
    atoms, z, _, _ = pair()
    times: list[float] = []

    def field(time: float) -> list[float]:
        times.append(time)
        return [0, 0, 0.01 + 0.001 * time]

    atoms.calc = BornField(harmonic(atoms), field, z)
    dynamics = VelocityVerlet(atoms, 2 * units.fs)
    atoms.calc.follow(dynamics)
    seen = []
    dynamics.attach(lambda: seen.append((atoms.get_forces(), atoms.calc.state.time)[1]))
    dynamics.run(4)
    dynamics.run(2)
    np.testing.assert_allclose(seen, [0, 2, 4, 6, 8, 10, 12])
    np.testing.assert_allclose(times, [0, 2, 4, 6, 8, 10, 12])  # one evaluation a step


def test_static_displacement_gives_the_ionic_permittivity() -> None:
    """dP / (eps0 E) = e^2 Z^2 / (eps0 V k): what the spring lets the charges do; Born and Huang (1954), section 7."""
    atoms, z, stiffness, _ = pair()
    atoms.calc = BornField(harmonic(atoms, stiffness), [0, 0, 1e-3], z)
    atoms.get_forces()
    BFGS(atoms, logfile=None).run(fmax=1e-8)
    ionic = (
        atoms.calc.polarization_change[2] * constants.e / constants.angstrom**2 / (constants.epsilon_0 * 1e-3 * 1e10)
    )
    si = stiffness * constants.e / constants.angstrom**2  # N/m
    expected = (2 * constants.e) ** 2 / (constants.epsilon_0 * atoms.get_volume() * constants.angstrom**3 * si)
    assert ionic == pytest.approx(expected, rel=1e-4)


class Counted:
    """Charges that grow with the first atom's x, and how often they were asked for."""

    def __init__(self, atoms: ase.Atoms) -> None:
        self.reference = atoms.positions[0, 0]
        self.calls = 0

    def __call__(self, structures: Sequence[ase.Atoms]) -> np.ndarray:
        self.calls += 1
        x = structures[0].positions[0, 0] - self.reference
        return (1 + 3 * x**2) * np.array([[np.eye(3), -np.eye(3)]])


def test_charges_are_renewed_every_n_steps() -> None:
    atoms, _, _, _ = pair()
    source = Counted(atoms)
    atoms.calc = BornField(harmonic(atoms), FIELD, source, every=5, tolerance=None)
    VelocityVerlet(atoms, 1 * units.fs).run(20)
    assert source.calls == atoms.calc.state.updates == 5
    assert atoms.calc.state.steps == 0
    np.testing.assert_allclose(atoms.calc.results["born_effective_charges"], source([atoms])[0])


@pytest.mark.parametrize("every", [1, 4])
def test_energy_counts_the_work_of_the_charges_in_use(every: int) -> None:
    """Also with charges that lag behind: what is left is the error of the integrator."""
    spreads = []
    for time_step in (1.0, 0.5):
        atoms, _, _, _ = pair()
        stirred(atoms, speed=0.03)
        atoms.calc = BornField(harmonic(atoms), 20 * FIELD, Counted(atoms), every=every, tolerance=None)
        dynamics = VelocityVerlet(atoms, time_step * units.fs)
        values: list[tuple[float, float]] = []
        dynamics.attach(
            lambda atoms=atoms, values=values: values.append((atoms.get_total_energy(), atoms.calc.base_energy))
        )
        dynamics.run(round(60 / time_step))
        spreads.append(np.ptp(values, axis=0))
    assert spreads[0][0] / spreads[1][0] == pytest.approx(4, rel=0.15)
    assert spreads[1][0] < 0.005 * spreads[1][1]


def test_energy_depends_on_the_path_where_charges_are_no_derivative_of_a_dipole() -> None:
    """Z[z, y] = x has the dipole int x dy: the area of a loop."""
    atoms, _, _, _ = pair()
    start = atoms.positions[0].copy()

    def curled(structures: Sequence[ase.Atoms]) -> np.ndarray:
        z = np.zeros((1, 2, 3, 3))
        z[0, 0, 2, 1] = structures[0].positions[0, 0] - start[0]
        z[0, 1] = -z[0, 0]
        return z

    atoms.calc = BornField(Nothing(), FIELD, curled, every=1)
    for corner in ([0.4, 0, 0], [0.4, 0.3, 0], [0, 0.3, 0], [0, 0, 0]):
        before = atoms.positions[0].copy()
        for share in np.linspace(0, 1, 5):
            atoms.positions[0] = before + share * (start + corner - before)
            energy = atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.calc.state.dipole, [0, 0, 0.4 * 0.3], atol=1e-12)
    assert energy == pytest.approx(-FIELD[2] * 0.12)


def test_charges_are_renewed_when_an_atom_has_moved() -> None:
    atoms, _, _, _ = pair()
    source = Counted(atoms)
    atoms.calc = BornField(harmonic(atoms), FIELD, source, tolerance=0.1)
    for _ in range(10):
        atoms.get_forces()
        atoms.positions[1, 2] += 0.04  # 3 x 0.04 > 0.1
    atoms.get_forces()
    assert source.calls == 1 + 3
    atoms.get_potential_energy()  # the same geometry is not counted again
    assert atoms.calc.state.steps == 1


def test_dipole_of_varying_charges_is_integrated_by_the_trapezoid() -> None:
    """Z = 1 + 3 x^2 renewed at every step: the dipole is x + x^3."""
    atoms, _, _, _ = pair()
    atoms.calc = BornField(harmonic(atoms), FIELD, Counted(atoms), every=1)
    for _ in range(41):
        atoms.get_forces()
        atoms.positions[0, 0] += 0.0125
    np.testing.assert_allclose(atoms.calc.state.dipole, [0.5 + 0.125, 0, 0], atol=1e-4)
    assert atoms.calc.results["energy"] == pytest.approx(atoms.calc.base_energy - FIELD[0] * 0.625, abs=1e-5)


def test_wrapping_between_steps_changes_nothing() -> None:
    atoms, z, _, _ = pair()
    still, wrapped = atoms.copy(), atoms.copy()
    for crystal in (still, wrapped):
        crystal.calc = BornField(Nothing(), FIELD, z)
        for _ in range(20):
            crystal.get_forces()
            crystal.positions[0, 0] -= 0.5
            if crystal is wrapped:
                crystal.wrap()
        crystal.get_forces()
    assert abs(still.positions - wrapped.positions).max() > 4
    np.testing.assert_allclose(wrapped.calc.state.dipole, still.calc.state.dipole, atol=1e-12)
    np.testing.assert_allclose(wrapped.get_potential_energy(), 2 * FIELD[0] * 10, atol=1e-10)


def test_an_atom_that_is_wrapped_has_not_moved_far() -> None:
    atoms, _, _, _ = pair()
    source = Counted(atoms)
    atoms.calc = BornField(Nothing(), FIELD, source, tolerance=0.1)
    for _ in range(2):
        atoms.get_forces()
        atoms.positions[0, 1] -= 0.04
        atoms.wrap()
    atoms.get_forces()
    assert atoms.positions[0, 1] > 4
    assert source.calls == 1


class Nothing:
    """No interaction at all; the least that BornField asks of a calculator."""

    def get_property(self, name: str, atoms: ase.Atoms) -> float | np.ndarray:
        return {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}[name]


def run_on(atoms: ase.Atoms, steps: int) -> MolecularDynamics:
    dynamics = VelocityVerlet(atoms, 1 * units.fs)
    atoms.calc.follow(dynamics)
    dynamics.run(steps)
    return dynamics


def test_a_restart_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    atoms, _, _, _ = pair()
    options = {"every": 3, "tolerance": None}
    start = stirred(atoms.copy())

    def fresh(crystal: ase.Atoms, **more: object) -> ase.Atoms:
        crystal.calc = BornField(harmonic(atoms), pulse, Counted(atoms), **options, **more)
        return crystal

    whole = fresh(start.copy())
    run_on(whole, 20)
    first = fresh(start.copy())
    run_on(first, 10)
    ase.io.write(tmp_path / "half.traj", first)
    save_state(first.calc.state, tmp_path / "half.npz")
    second = fresh(ase.io.read(tmp_path / "half.traj"), state=load_state(tmp_path / "half.npz"))
    run_on(second, 10)
    np.testing.assert_allclose(second.positions, whole.positions, atol=1e-12)
    assert second.get_potential_energy() == pytest.approx(whole.get_potential_energy(), abs=1e-12)
    for name in ("work", "time", "updates", "steps"):
        assert getattr(second.calc.state, name) == pytest.approx(getattr(whole.calc.state, name), abs=1e-12)
    assert whole.calc.state.time == pytest.approx(20)
    with pytest.raises(InputError, match="holds no state of BornField"):
        load_state(tmp_path / "half.traj")
    with pytest.raises(InputError, match="holds no state of BornField"):
        load_state(tmp_path / "nowhere.npz")


def test_stress_is_refused_with_the_reason(crystal: ase.Atoms, tmp_path: Path) -> None:
    atoms = in_field(crystal)
    with pytest.raises(PropertyNotImplementedError, match="piezoelectric"):
        atoms.get_stress()
    atoms.get_forces()
    ase.io.write(tmp_path / "one.traj", atoms)  # ASE's writers ask for every property
    np.testing.assert_allclose(ase.io.read(tmp_path / "one.traj").get_forces(), atoms.get_forces())


def test_bad_input_is_named(crystal: ase.Atoms) -> None:
    with pytest.raises(InputError, match="1e10 V/m"):
        in_field(crystal, [0, 0, 1e6])
    with pytest.raises(InputError, match="three finite numbers"):
        in_field(crystal, [0, 0.1])
    with pytest.raises(InputError, match="three finite numbers"):
        in_field(crystal, [0, 0, np.nan])
    with pytest.raises(InputError, match="do not fit"):
        in_field(crystal, model=np.zeros((3, 3, 3))).get_forces()
    with pytest.raises(InputError, match="every must be"):
        in_field(crystal, every=0)
    with pytest.raises(InputError, match="seen no geometry"):
        _ = in_field(crystal).calc.state
    with pytest.raises(InputError, match=r"call follow\(dynamics\)"):
        in_field(crystal, pulse).get_forces()


def test_another_crystal_or_cell_is_refused_until_forgotten() -> None:
    atoms, z, _, _ = pair()
    calculator = BornField(Nothing(), FIELD, z)
    atoms.calc = calculator
    atoms.get_forces()
    strained = atoms.copy()
    strained.set_cell(1.01 * atoms.cell, scale_atoms=True)
    other = atoms[[1, 0]]
    torn = atoms.copy()
    torn.positions[0, 2] += 2.05
    for changed, message in ((strained, "the cell has changed"), (other, "not the atoms"), (torn, "moved too far")):
        changed.calc = calculator
        with pytest.raises(InputError, match=message):
            changed.get_forces()
        calculator.forget()
        assert changed.get_potential_energy() == 0
        calculator.forget()
        atoms.get_forces()


def test_the_model_that_ships_gives_the_charges() -> None:
    atoms = ase.io.read(REPOSITORY / "examples" / "MgO.vasp")
    z = voigt.predict(atoms)[0].values["born_charges"]
    atoms.calc = BornField(Nothing(), FIELD)
    np.testing.assert_allclose(atoms.get_forces(), z[:, 0, 0][:, None] * FIELD, atol=1e-3)
    assert z[0, 0, 0] > 1.5  # magnesium follows the field
    np.testing.assert_allclose(atoms.get_forces().sum(axis=0), 0, atol=1e-12)


def test_what_torch_sim_reads(crystal: ase.Atoms) -> None:
    """Shapes and formulas of torch_sim.models.polarization (0.6): forces "imn,im->in", energy -E.M - E.alpha.E / 2."""
    z, eps, volume = unruly(crystal), np.diag([3.0, 4.0, 5.0]), crystal.get_volume()
    extras = torch_sim_extras(z, eps, volume, FIELD, [0.1, 0.2, 0.3])
    assert {name: tuple(value.shape) for name, value in extras.items()} == {
        "born_effective_charges": (4, 3, 3),
        "polarizability": (1, 3, 3),
        "total_polarization": (1, 3),
        "external_E_field": (1, 3),
    }
    assert {value.dtype for value in extras.values()} == {torch.float64}
    field = extras["external_E_field"][torch.zeros(4, dtype=torch.int64)]
    forces = torch.einsum("imn,im->in", extras["born_effective_charges"], field)
    np.testing.assert_allclose(forces, field_forces(z, FIELD), atol=1e-12)
    electronic = torch.einsum(
        "si,sij,sj->s", *(extras[n] for n in ("external_E_field", "polarizability", "external_E_field"))
    )
    # eps0 V E (eps - 1) E in joules, over e: eV
    si = FIELD * 1e10
    joules = constants.epsilon_0 * volume * 1e-30 * si @ (eps - np.eye(3)) @ si
    assert electronic.item() == pytest.approx(joules / constants.e, rel=1e-9)
    assert (extras["external_E_field"] @ extras["total_polarization"].T).item() == pytest.approx(
        FIELD @ [0.1, 0.2, 0.3]
    )

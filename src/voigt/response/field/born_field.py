"""Atoms in a homogeneous electric field: the force e E.Z[a] added to any ASE calculator.

F_aj = e sum_i E_i Z[a, i, j] = -d(-V E.P)/du_aj. Gonze and Lee, Phys. Rev. B 55, 10355 (1997); Umari and Pasquarello,
Phys. Rev. Lett. 89, 157602 (2002). E is the macroscopic field inside the crystal, in V/A (1 V/A = 100 MV/cm): the one
between electrodes that are held at a voltage. First order in E: Z is that at zero field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import ase
import numpy as np
from ase import units
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from numpy.typing import ArrayLike, NDArray

from voigt.errors import InputError
from voigt.files import atomic_write
from voigt.reasons import plain_reason
from voigt.response.arrays import Array, neutralized
from voigt.response.field.charges import Charges, charge_source
from voigt.response.field.forces import checked_field, field_forces
from voigt.response.field.steps import checked_frames, fractional_steps

if TYPE_CHECKING:
    from ase.md.md import MolecularDynamics

Field: TypeAlias = ArrayLike | Callable[[float], ArrayLike]
"""(3,) V/A, or a function of the time in fs that gives it."""

_NO_MOVE = 1e-10
"""A, what wrapping may change by rounding; such a step is left for the next one to count."""


@dataclass(frozen=True)
class FieldState:
    """What `BornField` remembers from one geometry to the next; all it needs to go on after a restart.

    Attributes
    ----------
    positions, anchor
        (n_atoms, 3) of the last geometry, A, continuous where atoms left the cell; those at which Z was determined.
    charges, charge_drift
        (n_atoms, 3, 3) Z in use, after the sum rule; (3, 3) sum of the charges of the cell before it, e.
    cell, numbers, pbc
        Of the crystal.
    dipole
        (3,) change of the cell's dipole since the first geometry, e A: sum_a int Z[a] du_a.
    work
        Done by the field on the atoms since then, eV: int E.d(dipole).
    field
        (3,) V/A at the last geometry.
    time, steps, updates
        Of the last geometry, fs; geometries since Z was determined; how often it was.
    """

    positions: Array
    anchor: Array
    charges: Array
    charge_drift: Array
    cell: Array
    numbers: NDArray[np.int64]
    pbc: NDArray[np.bool_]
    dipole: Array
    work: float
    field: Array
    time: float
    steps: int
    updates: int


def save_state(state: FieldState, path: str | Path) -> None:
    """Write a state to a file of numpy's npz format, which `load_state` reads; raises OutputError."""
    with atomic_write(path, "wb") as stream:
        np.savez(stream, **{field.name: getattr(state, field.name) for field in fields(state)})


def load_state(path: str | Path) -> FieldState:
    """Read what `save_state` wrote; raises InputError."""
    scalars = {"work": float, "time": float, "steps": int, "updates": int}
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {field.name: stored[field.name] for field in fields(FieldState)}
    except (OSError, ValueError, KeyError, EOFError) as error:
        reason = plain_reason(error)
        raise InputError(f"{path} holds no state of BornField ({reason}); write one with save_state") from error
    return FieldState(**{name: scalars[name](value) if name in scalars else value for name, value in arrays.items()})


class BornField(Calculator):
    """Adds the force of a homogeneous field to another calculator.

    Results: `energy`, `free_energy` (eV), `forces` (eV/A), `born_effective_charges` (e, those in use).

    Energy: energy = U - E.M(R), where U is the wrapped calculator's and M = e sum_a int Z[a] du_a accumulates from the
    first geometry on, straight from one geometry to the next with the mean of the charges in use at both.

    * Z constant, E constant: energy is a function of the positions, the forces are minus its gradient, and E_kin +
      energy is conserved in molecular dynamics at constant energy, to the order of the integrator: velocity Verlet's
      error falls as the time step squared.
    * Z recomputed: energy counts the work of the forces as they are, so that E_kin + energy is conserved all the same.
      But it is a function of the path: charges in use lag behind, less so for smaller `every` and `tolerance`, and
      predicted charges need not be the derivative of one dipole. Around a closed loop atoms may gain energy.
    * E depends on time: E_kin + energy changes, as the field does work. E_kin + U - `state.work` is conserved; U is
      `base_energy`.

    The energy of the electrons alone, -eps0 V E.(eps_inf - 1).E / 2, is left out: it is constant as long as eps_inf is.

    Stress: asking for it raises PropertyNotImplementedError. A field adds -sum_i E_i e_ijk (e the proper piezoelectric
    tensor at fixed fractional coordinates), which Z does not contain, so that the cell has to stay fixed.

    Momentum: with the sum rule the forces of the field add up to zero (to total_charge * e E in a charged cell).

    Parameters
    ----------
    calculator
        Any ASE calculator.
    field
        (3,) V/A along the Cartesian axes, or a function of the time in fs; the latter needs `follow`.
    model
        Z as in `polarization_path`; an array (n_atoms, 3, 3) stays as it is.
    every, tolerance
        Determine Z anew at every n-th geometry, or when an atom is further than this (A) from where it was when Z was
        determined; None: never for this reason.
    sum_rule, total_charge
        As in `polarization_path`.
    state
        From `load_state`, to go on.

    Raises
    ------
    InputError
        A field or charges of a wrong shape or unit; another crystal, or another cell, without `forget`; an atom that
        moved too far in one step to tell its periodic image; a field that depends on time without `follow`.
    """

    implemented_properties = ["energy", "free_energy", "forces", "born_effective_charges"]  # noqa: RUF012, ASE's name

    def __init__(
        self,
        calculator: Any,
        field: Field,
        model: Charges = None,
        *,
        every: int | None = None,
        tolerance: float | None = 0.1,
        sum_rule: bool = True,
        total_charge: float = 0.0,
        state: FieldState | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if every is not None and every < 1:
            raise InputError(f"every must be a positive number of steps or None, not {every}")
        self.calculator = calculator
        self.base_energy = 0.0
        self._field = field if callable(field) else checked_field(field)
        self._source = charge_source(model)
        self._every, self._tolerance = every, tolerance
        self._sum_rule, self._total_charge = sum_rule, total_charge
        self._state = state
        self._clock: Callable[[], float] | None = None
        self._time_step = 0.0

    @property
    def state(self) -> FieldState:
        """As of the last geometry; InputError before the first."""
        if self._state is None:
            raise InputError("BornField has seen no geometry yet; ask the atoms for their forces first")
        return self._state

    @property
    def polarization_change(self) -> Array:
        """(3,) change of the polarization by the atoms since the first geometry, e/A^2."""
        return np.asarray(self.state.dipole / abs(np.linalg.det(self.state.cell)))

    def follow(self, dynamics: MolecularDynamics) -> None:
        """Take the time from molecular dynamics, going on from the time of the state."""
        start = 0.0 if self._state is None else self._state.time
        offset = start - dynamics.get_time() / units.fs
        self._clock = lambda: offset + dynamics.get_time() / units.fs
        self._time_step = dynamics.dt / units.fs
        self.reset()  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """Start anew at the next geometry: it becomes the reference of dipole and work."""
        self._state = None
        self.reset()  # type: ignore[no-untyped-call]

    def check_state(self, atoms: ase.Atoms, tol: float = 1e-15) -> list[str]:
        """Also changed if the clock went on while the atoms stood still."""
        changes: list[str] = super().check_state(atoms, tol=tol)  # type: ignore[no-untyped-call]
        if changes or self._state is None or self._clock is None:
            return changes
        late = self._clock() - self._state.time > 1e-6 * self._time_step
        return ["time"] if late and callable(self._field) else []

    def get_property(self, name: str, atoms: ase.Atoms | None = None, allow_calculation: bool = True) -> Any:
        """As every ASE calculator, but for a reason why there is no stress."""
        if name in ("stress", "stresses"):
            raise PropertyNotImplementedError(
                "BornField has no stress: the part of the field, -E.e with the piezoelectric tensor e, does not follow "
                "from Born charges; keep the cell fixed, or ask the wrapped calculator for its part"
            )
        return super().get_property(name, atoms, allow_calculation)  # type: ignore[no-untyped-call]

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = ("positions",),
    ) -> None:
        """All results at once, so that every geometry is counted once."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        atoms = cast(ase.Atoms, self.atoms)
        energy = self.calculator.get_property("energy", atoms)
        forces = self.calculator.get_property("forces", atoms)
        implemented = getattr(self.calculator, "implemented_properties", ())
        free = self.calculator.get_property("free_energy", atoms) if "free_energy" in implemented else energy
        state = self._state = self._advanced(atoms)
        coupling = float(state.field @ state.dipole)
        self.base_energy = float(energy)
        self.results = {
            "energy": float(energy) - coupling,
            "free_energy": float(free) - coupling,
            "forces": forces + field_forces(state.charges, state.field),
            "born_effective_charges": state.charges.copy(),
        }

    def _advanced(self, atoms: ase.Atoms) -> FieldState:
        old = self._state
        if old is None:
            next(checked_frames([atoms]))
            time = 0.0 if self._clock is None else self._clock()
            charges, drift = self._charges(atoms)
            return FieldState(
                positions=atoms.positions.copy(),
                anchor=atoms.positions.copy(),
                charges=charges,
                charge_drift=drift,
                cell=atoms.cell.array.copy(),
                numbers=atoms.numbers.copy(),
                pbc=atoms.pbc.copy(),
                dipole=np.zeros(3),
                work=0.0,
                field=self._field_at(time),
                time=time,
                steps=0,
                updates=1,
            )
        move = _move(old, atoms)
        moved = bool(abs(move).max() > _NO_MOVE)
        time = old.time
        if self._clock is not None:
            # The clock of ASE's dynamics still shows the start of a step when the forces at its end are asked for.
            time = self._clock() + self._time_step if moved else max(self._clock(), old.time)
        new = replace(old, time=time, field=self._field_at(time))
        if not moved:
            return new
        new = replace(new, positions=old.positions + move, steps=old.steps + 1)
        if self._is_stale(new):
            charges, drift = self._charges(atoms)
            updates = old.updates + 1
            new = replace(new, charges=charges, charge_drift=drift, anchor=new.positions, steps=0, updates=updates)
        # Straight from the last geometry, with the mean of the charges at both ends.
        dipole = np.einsum("aij,aj->i", (old.charges + new.charges) / 2, move)
        return replace(new, dipole=old.dipole + dipole, work=old.work + float((old.field + new.field) @ dipole / 2))

    def _field_at(self, time: float) -> Array:
        if not callable(self._field):
            return np.asarray(self._field, dtype=np.float64)
        if self._clock is None:
            raise InputError("the field depends on time: call follow(dynamics) before the dynamics run")
        return checked_field(self._field(time))

    def _is_stale(self, state: FieldState) -> bool:
        if self._every is not None and state.steps >= self._every:
            return True
        farthest = np.linalg.norm(state.positions - state.anchor, axis=1).max()
        return self._tolerance is not None and bool(farthest > self._tolerance)

    def _charges(self, atoms: ase.Atoms) -> tuple[Array, Array]:
        raw = self._source([atoms])[0]
        corrected = neutralized(raw, self._total_charge) if self._sum_rule else np.array(raw)
        return corrected, np.asarray(raw.sum(axis=0))


def _move(old: FieldState, atoms: ase.Atoms) -> Array:
    """(n_atoms, 3) from the last geometry to this one, to the nearest image along periodic directions."""
    if not np.array_equal(atoms.numbers, old.numbers):
        raise InputError("these are not the atoms that BornField has followed so far; call forget() to start with them")
    if abs(atoms.cell.array - old.cell).max() > 1e-6:
        raise InputError("the cell has changed, for which BornField has no energy; keep it fixed, or call forget()")
    before = ase.Atoms(old.numbers, positions=old.positions, cell=old.cell, pbc=old.pbc)
    try:
        return np.asarray(fractional_steps([before, atoms])[0] @ old.cell)
    except InputError as error:
        raise InputError(
            "an atom has moved too far since the last geometry to tell its periodic image; take smaller steps, or call "
            "forget() to start anew"
        ) from error

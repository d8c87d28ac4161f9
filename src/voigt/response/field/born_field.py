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
from scipy import constants

from voigt.errors import InputError
from voigt.files import atomic_write
from voigt.response.field.polarization import Charges, charge_source, checked_frames, fractional_steps, neutralized

if TYPE_CHECKING:
    import torch
    from ase.md.md import MolecularDynamics

Array: TypeAlias = NDArray[np.float64]
Field: TypeAlias = ArrayLike | Callable[[float], ArrayLike]
"""(3,) V/A, or a function of the time in fs that gives it."""

LARGEST_FIELD = 10.0
"""V/A; no crystal stands a tenth of it, so that a larger one is in another unit."""
_NO_MOVE = 1e-10
"""A, what wrapping may change by rounding; such a step is left for the next one to count."""
VACUUM_PERMITTIVITY = constants.epsilon_0 / constants.e * constants.angstrom
"""e / (V A): 0.005526."""


@dataclass(frozen=True)
class FieldState:
    """What `BornField` remembers from one geometry to the next; all it needs to go on after a restart.

    Attributes
    ----------
    positions
        (n_atoms, 3) of the last geometry, A; continuous where atoms left the cell.
    anchor
        (n_atoms, 3) positions at which Z was last determined.
    charges
        (n_atoms, 3, 3) Z in use, after the sum rule.
    charge_drift
        (3, 3) sum of the charges of the cell before the sum rule, e.
    cell, numbers, pbc
        Of the crystal.
    dipole
        (3,) change of the cell's dipole since the first geometry, e A: sum_a int Z[a] du_a.
    work
        Done by the field on the atoms since then, eV: int E.d(dipole).
    field
        (3,) V/A at the last geometry.
    time
        Of the last geometry, fs.
    steps
        Geometries since Z was determined.
    updates
        How often Z was determined.
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
        Z[atom, field, displacement]: an array (n_atoms, 3, 3) that stays as it is, a function from structures to
        charges (n, n_atoms, 3, 3), a model's name, file or object; None: the model that ships.
    every
        Determine Z anew at every n-th geometry; None: never for this reason.
    tolerance
        Determine Z anew when an atom is further than this from where it was when Z was determined, A; None: never.
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
        self._field = field if callable(field) else _checked_field(field)
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
        """(3,) change of the polarisation by the atoms since the first geometry, e/A^2."""
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
        time = self._time_of(moved, old)
        new = replace(old, time=time, field=self._field_at(time))
        if not moved:
            return new
        new = replace(new, positions=old.positions + move, steps=old.steps + 1)
        if self._is_stale(new):
            charges, drift = self._charges(atoms)
            new = replace(
                new, charges=charges, charge_drift=drift, anchor=new.positions, steps=0, updates=old.updates + 1
            )
        dipole = np.einsum("aij,aj->i", (old.charges + new.charges) / 2, move)
        return replace(new, dipole=old.dipole + dipole, work=old.work + float((old.field + new.field) @ dipole / 2))

    def _time_of(self, moved: bool, old: FieldState) -> float:
        """The clock of ASE's dynamics still shows the start of a step when the forces at its end are asked for."""
        if self._clock is None:
            return old.time
        return self._clock() + self._time_step if moved else max(self._clock(), old.time)

    def _field_at(self, time: float) -> Array:
        if not callable(self._field):
            return np.asarray(self._field, dtype=np.float64)
        if self._clock is None:
            raise InputError("the field depends on time: call follow(dynamics) before the dynamics run")
        return _checked_field(self._field(time))

    def _is_stale(self, state: FieldState) -> bool:
        if self._every is not None and state.steps >= self._every:
            return True
        farthest = np.linalg.norm(state.positions - state.anchor, axis=1).max()
        return self._tolerance is not None and bool(farthest > self._tolerance)

    def _charges(self, atoms: ase.Atoms) -> tuple[Array, Array]:
        found = self._source([atoms])[0]
        corrected = neutralized(found, self._total_charge) if self._sum_rule else np.array(found)
        return corrected, np.asarray(found.sum(axis=0))


def field_forces(born_charges: ArrayLike, field: ArrayLike) -> Array:
    """(n_atoms, 3) forces in eV/A, F_aj = e sum_i E_i Z[a, i, j]: the field (V/A) meets the first index of Z."""
    return np.asarray(np.einsum("i,aij->aj", _checked_field(field), np.asarray(born_charges, dtype=np.float64)))


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
        raise InputError(f"{path} holds no state of BornField ({error}); write one with save_state") from error
    return FieldState(**{name: scalars[name](value) if name in scalars else value for name, value in arrays.items()})


def torch_sim_extras(
    born_charges: ArrayLike,
    eps_inf: ArrayLike,
    volume: float,
    field: ArrayLike,
    dipole: ArrayLike = (0.0, 0.0, 0.0),
) -> dict[str, torch.Tensor]:
    """What torch-sim's `UniformPolarizationModel` reads from the state of one crystal, as float64 tensors.

    `SimState(..., **torch_sim_extras(...))` files them as atom and system extras. For several crystals concatenate each
    key along the first axis. torch-sim adds the forces E.Z, the energy -E.M - E.alpha.E / 2, and no stress; energy and
    forces agree as long as M and Z are renewed at every geometry.

    Parameters
    ----------
    born_charges
        (n_atoms, 3, 3) Z[atom, field, displacement] in e; torch-sim has the same index order.
    eps_inf
        (3, 3) relative permittivity.
    volume
        A^3.
    field
        (3,) V/A.
    dipole
        (3,) dipole M of the cell (not per volume) in e A, from any reference, for example `BornField.state.dipole`.

    Returns
    -------
    dict
        born_effective_charges (n_atoms, 3, 3) in e; polarizability (1, 3, 3) = eps0 V (eps_inf - 1) in e A / (V/A) =
        e^2 A^2 / eV; total_polarization (1, 3) in e A; external_E_field (1, 3) in V/A.
    """
    import torch

    electronic = VACUUM_PERMITTIVITY * volume * (np.asarray(eps_inf, dtype=np.float64) - np.eye(3))
    return {
        "born_effective_charges": torch.tensor(np.asarray(born_charges), dtype=torch.float64),
        "polarizability": torch.tensor(electronic[None], dtype=torch.float64),
        "total_polarization": torch.tensor(np.asarray(dipole)[None], dtype=torch.float64),
        "external_E_field": torch.tensor(_checked_field(field)[None], dtype=torch.float64),
    }


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


def _checked_field(field: ArrayLike) -> Array:
    vector = np.asarray(field, dtype=np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise InputError(f"the field must be three finite numbers in V/A, not {field!r}")
    if np.linalg.norm(vector) > LARGEST_FIELD:
        raise InputError(
            f"a field of {np.linalg.norm(vector):.3g} V/A is more than any crystal stands; give it in V/A (1 V/A = "
            "1e10 V/m = 100 MV/cm)"
        )
    return vector

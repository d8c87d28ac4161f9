"""What `respond` returns: every response of one crystal, with where it came from and how far it may be off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from voigt.notes import Note
from voigt.response.arrays import Array
from voigt.response.assembly.settings import ResponseSettings
from voigt.response.elasticity import Moduli
from voigt.response.optics import Optics
from voigt.response.phonons.workflow import InfraredResult, PhononResult

if TYPE_CHECKING:
    import ase

    from voigt.prediction.result import Prediction
    from voigt.response.potentials.relaxation import Relaxation

Route: TypeAlias = Literal["predicted", "potential", "assembled", "combined"]
"""By a trained network alone, by the potential alone, from charges of the one and springs of the other, or as the mean
of the network's answer and the assembled one."""


@dataclass(frozen=True)
class Quantity:
    """One response of the crystal.

    Attributes
    ----------
    value
        Cartesian, in the frame of the relaxed structure.
    unit
        As in tables; empty for pure numbers.
    route
        How it was found.
    origin
        The same in words, with the names of model and potential.
    interval
        Half-width of the 90 % interval, as `Prediction.interval`; None if it is not known.
    """

    value: Array
    unit: str
    route: Route
    origin: str
    interval: Array | None = None


@dataclass(frozen=True, repr=False)
class Response:
    """Everything that a structure gives without a DFT calculation.

    Attributes
    ----------
    id
        Of the structure.
    given, atoms
        The structure as it came, and relaxed: that of all results. Born charges have its order of atoms.
    potential
        Name of the potential.
    settings
        Those of the call.
    relaxation
        What the relaxation did.
    prediction
        What the networks say of the relaxed structure.
    phonons
        At Gamma with LO-TO splitting, bands with and without it.
    infrared
        Modes, strengths, spectra, static permittivity.
    quantities
        By name: born_charges (n_atoms, 3, 3) in e, eps_inf, eps_ionic and eps_total (3, 3), elastic_clamped and elastic
        (3, 3, 3, 3) in GPa, piezo_clamped, piezo_ionic and piezo_total (3, 3, 3) in C/m^2, piezo_d (3, 3, 3) in pm/V,
        eps_free (3, 3) at constant stress, band_gap and formation_energy (). One that is absent is explained by a note.
    routes
        By the same names: each way by itself to a quantity that was found in several, the network's first.
    optics
        Refraction; None for an eps_inf without indices.
    moduli
        Of the elastic tensor; None if it is not stable.
    notes
        What was done, and what puts results in doubt.
    seconds
        Name of a step -> wall time.
    """

    id: str
    given: ase.Atoms
    atoms: ase.Atoms
    potential: str
    settings: ResponseSettings
    relaxation: Relaxation
    prediction: Prediction
    phonons: PhononResult
    infrared: InfraredResult
    quantities: Mapping[str, Quantity]
    routes: Mapping[str, tuple[Quantity, ...]]
    optics: Optics | None
    moduli: Moduli | None
    notes: tuple[Note, ...]
    seconds: Mapping[str, float]

    def __repr__(self) -> str:
        group = self.prediction.symmetry
        names = ", ".join(self.quantities)
        return (
            f"Response {self.id}: {self.atoms.get_chemical_formula()}, {group.international} ({group.number}), "
            f"{len(self.atoms)} atoms, potential {self.potential}\n  {names}"
        )

"""Every response of a crystal by name, from a prediction, phonons and strained cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from voigt.errors import DomainError
from voigt.notes import Note
from voigt.prediction.result import Prediction
from voigt.response.arrays import Array
from voigt.response.assembly.combination import combined, piezo_intervals
from voigt.response.assembly.result import Quantity, Route
from voigt.response.phonons.internal_strain import ionic_piezo
from voigt.response.phonons.modes import gamma_force_constants
from voigt.response.phonons.strained_cells import StrainResponse, relaxed_elastic, whole_piezo
from voigt.response.phonons.workflow import InfraredResult
from voigt.tensors.properties import get_property

PREDICTED = (
    "born_charges", "eps_inf", "eps_ionic", "eps_total", "elastic", "piezo_clamped", "band_gap", "formation_energy"
)  # fmt: skip
"""What networks are asked for."""
COMBINED = ("eps_ionic", "eps_total")


@dataclass(frozen=True)
class Collected:
    """Quantities by name, the single ways to those that have several, and why something is absent."""

    quantities: Mapping[str, Quantity]
    routes: Mapping[str, tuple[Quantity, ...]]
    notes: tuple[Note, ...]


def collect(
    prediction: Prediction, infrared: InfraredResult, strain: StrainResponse | None, potential: str
) -> Collected:
    """All quantities of a crystal, each by the way that is right most often.

    Permittivities: see `combined`. Stiffness: the network's where it knows the elements, since its median error is half
    of the potential's. Piezoelectricity is assembled. docs/reports/assembly.md has the figures.

    Parameters
    ----------
    prediction
        Of the structure at rest.
    infrared, strain
        Of the same structure with the potential; None without strained cells.
    potential
        Its name.
    """
    found = {name: by_network(prediction, name) for name in PREDICTED if name in prediction.values}
    ways: dict[str, list[Quantity]] = {name: [entry] for name, entry in found.items()}
    both = f"charges of model {prediction.models['born_charges']} and potential {potential}"
    notes: list[Note] = []

    def put(name: str, value: ArrayLike, route: Route, interval: Array | None = None) -> Quantity:
        unit = {"piezo_ionic": "C/m^2", "piezo_d": "pm/V", "elastic_clamped": "GPa", "eps_free": "1"}.get(name)
        origin = potential if route == "potential" else both
        entry = Quantity(np.asarray(value), unit or get_property(name).unit, route, origin, interval)
        ways.setdefault(name, []).append(entry)
        return found.setdefault(name, entry)

    response = infrared.response
    if not response.excluded:
        lowest = min((entry.frequency for entry in response.sets if entry.kind == "optical"), default=np.inf)
        for name, value in zip(COMBINED, (response.eps_ionic, response.eps_0), strict=True):
            first = put(name, value, "assembled")
            if first.route != "assembled":
                first = combined(first, ways[name][-1], response.eps_ionic, lowest)
            found[name] = first
    if strain is not None:
        try:
            _add_strained(put, found, infrared, strain)
        except DomainError as error:
            notes.append(Note("unstable_modes", str(error), ("piezo_ionic", "piezo_total", "piezo_d", "eps_free")))
    several = {name: tuple(entries) for name, entries in ways.items() if len(entries) > 1}
    return Collected(found, several, (*notes, *_disagreements(several)))


class _Put(Protocol):
    """Add a quantity by one way."""

    def __call__(self, name: str, value: ArrayLike, route: Route, interval: Array | None = None) -> Quantity: ...


def _add_strained(
    put: _Put,
    found: Mapping[str, Quantity],
    infrared: InfraredResult,
    strain: StrainResponse,
) -> None:
    """Stiffness of the potential, and piezoelectricity; DomainError if modes are unstable."""
    phonon = infrared.project.phonon
    springs, volume = gamma_force_constants(phonon), float(phonon.primitive.volume)
    if strain.elastic_clamped is not None:
        put("elastic_clamped", strain.elastic_clamped, "potential")
        put("elastic", relaxed_elastic(strain.elastic_clamped, springs, strain.internal_strain, volume), "potential")
    charges = infrared.tensors.born_charges
    put("piezo_ionic", ionic_piezo(springs, strain.internal_strain, charges, volume), "assembled")
    if {"piezo_clamped", "elastic", "eps_total"} <= found.keys():
        parts = (found[name].value for name in ("piezo_clamped", "piezo_ionic", "elastic", "eps_total"))
        whole = whole_piezo(*parts)
        widths = piezo_intervals(whole, found["elastic"], found["eps_total"])
        for name, value in (("piezo_total", whole.e), ("piezo_d", whole.d), ("eps_free", whole.eps_free)):
            put(name, value, "assembled", widths.get(name))


def by_network(prediction: Prediction, name: str) -> Quantity:
    """What a network says of a property."""
    functional = prediction.functionals[name]
    origin = f"model {prediction.models[name]}" + (f", functional {functional}" if functional else "")
    return Quantity(prediction.values[name], prediction.units[name], "predicted", origin, prediction.interval.get(name))


def _disagreements(routes: Mapping[str, tuple[Quantity, ...]]) -> tuple[Note, ...]:
    """Notes where another way leads out of the interval of the network."""
    notes = []
    for name, (direct, other, *_) in routes.items():
        distance = float(np.linalg.norm(other.value - direct.value))
        if direct.interval is not None and distance > float(direct.interval):
            share = distance / max(float(np.linalg.norm(direct.value)), 1e-12)
            text = f"{name} of {other.origin} differs from that of {direct.origin} by {100 * share:.0f} %"
            notes.append(Note("routes_disagree", f"{text}, more than the interval of the latter", (name,)))
    return tuple(notes)

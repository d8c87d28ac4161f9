"""What a response comes down to: a dozen numbers, each with its interval and where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voigt.response.elasticity import born_stability, moduli
from voigt.response.phonons.modes import WAVENUMBER
from voigt.structures.formula import reduced_formula
from voigt.writers.markdown import counted, number, unit_symbol
from voigt.writers.phonons import frequency_text
from voigt.writers.response_record import largest_shift, symmetry_pattern, voigt_matrix

if TYPE_CHECKING:
    from voigt.response.assembly import Quantity, Response

ROUTES = {
    "predicted": "network",
    "potential": "potential",
    "assembled": "charges + springs",
    "combined": "mean of both",
}
"""Route of a quantity -> where it comes from, in a table."""
_SAME = 1e-4
"""Principal values that differ by less, relative to the largest, are printed as one."""


@dataclass(frozen=True)
class Fact:
    """One row of the summary.

    Attributes
    ----------
    label, value, unit
        As printed; the value may list several numbers.
    interval
        Half-width of the 90 % interval of each number, as printed; empty where it is not known.
    source
        A word of `ROUTES`, or what it was derived from.
    others
        What each way says by itself, where there are several; else empty.
    concerns
        Names of the quantities behind it.
    """

    label: str
    value: str
    unit: str
    interval: str
    source: str
    others: str
    concerns: tuple[str, ...]


def crystal_text(response: Response) -> str:
    """Formula, space group and size of the cell."""
    symmetry, count = response.prediction.symmetry, len(response.atoms)
    group = f"{symmetry.international} ({symmetry.number})"
    return f"{reduced_formula(response.atoms)}  {group}  {counted(count, 'atom')}"


def relaxation_text(response: Response) -> str:
    """How far relaxation went, and what is left."""
    done, shift = response.relaxation, largest_shift(response.given, response.atoms)
    way = "into a larger cell" if shift is None else f"by up to {shift:.3f} Å"
    state = "" if done.converged else " (not converged)"
    stress = "" if done.stress is None else f", stress {done.stress:.2g} GPa"
    growth = round(100 * done.volume_change, 2) + 0.0
    return (
        f"atoms moved {way}, volume {growth:+.2f} %, {counted(done.steps, 'step')}{state}; left: forces of "
        f"{done.force:.1g} eV/Å{stress}"
    )


def facts(response: Response) -> list[Fact]:
    """The rows of the summary, in the order in which a spectroscopist asks."""
    return [
        *_permittivities(response),
        *_light(response),
        *_scalars(response),
        *_largest_charge(response),
        *_frequencies(response),
        *_moduli(response),
        *_piezo(response),
    ]


def summary_lines(response: Response) -> list[str]:
    """A screenful for the terminal: crystal, relaxation, and the facts as a table."""
    rows = [("", "value", "", "± (90 %)", "from", "each way by itself")]
    rows += [(f.label, f.value, f.unit, f.interval, f.source, f.others) for f in facts(response)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    head = [
        f"{crystal_text(response)}  id {response.id}",
        f"potential {response.potential}: {relaxation_text(response)}",
    ]
    return [*head, "", *lines]


def principal_values(tensor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ascending principal values (3,) of a symmetric tensor, one (1,) if they are the same."""
    values = np.asarray(np.linalg.eigvalsh((tensor + tensor.T) / 2), dtype=np.float64)
    return values[:1] if np.ptp(values) <= _SAME * abs(values).max() else values


def interval_text(width: NDArray[np.float64] | float | None) -> str:
    """Half-width of an interval with two digits; empty where it is not known.

    Examples
    --------
    >>> interval_text(187.6), interval_text(0.0523), interval_text(None)
    ('190', '0.052', '')
    """
    return "" if width is None else f"{float(f'{float(width):.2g}'):g}"


def _permittivities(response: Response) -> Iterator[Fact]:
    for name in ("eps_inf", "eps_ionic", "eps_total", "eps_free"):
        entry = response.quantities.get(name)
        if entry is None:
            continue
        if name == "eps_free" and "eps_total" in response.quantities:
            clamped = response.quantities["eps_total"].value
            if np.allclose(entry.value, clamped, rtol=0, atol=_SAME * abs(clamped).max()):
                continue  # no piezoelectricity
        yield Fact(
            label=name,
            value=_listed(principal_values(entry.value)),
            unit="",
            # Eigenvalues of a symmetric matrix move by no more than its norm (Weyl).
            interval=interval_text(entry.interval),
            source=ROUTES[entry.route],
            others=_ways(response, name),
            concerns=(name,),
        )


def _light(response: Response) -> Iterator[Fact]:
    optics, eps = response.optics, response.quantities["eps_inf"]
    if optics is None:
        return
    isotropic = optics.kind == "isotropic"
    indices = optics.indices[:1] if isotropic else optics.indices
    # n = sqrt(eps): dn = d eps / 2n, largest for the smallest index.
    width = None if eps.interval is None else eps.interval / (2 * optics.indices[0])
    index = Fact("refractive index", _listed(indices), "", interval_text(width), ROUTES[eps.route], "", ("eps_inf",))
    yield index if isotropic else replace(index, label="refractive indices")
    if not isotropic:
        sign = "positive" if optics.sign > 0 else "negative"
        text = f"{number(optics.birefringence)} ({optics.kind}, {sign})"
        yield Fact("birefringence", text, "", "", ROUTES[eps.route], "", ("eps_inf",))


def _scalars(response: Response) -> Iterator[Fact]:
    gap = response.quantities.get("band_gap")
    if gap is not None:
        yield Fact(
            "band gap",
            number(float(gap.value)),
            gap.unit,
            interval_text(gap.interval),
            ROUTES[gap.route],
            "",
            ("band_gap",),
        )


def _largest_charge(response: Response) -> Iterator[Fact]:
    charges = response.quantities["born_charges"]
    atom, place = divmod(_first_largest(abs(charges.value)), 9)
    i, j = divmod(place, 3)
    width = None if charges.interval is None else charges.interval[atom]
    largest = number(float(charges.value[atom, i, j]))
    text = largest if largest == "0" else f"{largest} ({response.atoms.symbols[atom]}, {'xyz'[i]}{'xyz'[j]})"
    yield Fact("largest Born charge", text, "e", interval_text(width), ROUTES[charges.route], "", ("born_charges",))


def _frequencies(response: Response) -> Iterator[Fact]:
    phonons = response.phonons.phonons
    optical = np.flatnonzero(~phonons.rigid)
    if not len(optical):
        return
    lowest = int(optical[phonons.modes.frequencies[optical].argmin()])
    frequency = float(phonons.modes.frequencies[lowest])
    irrep = phonons.labels[lowest]
    yield Fact(
        label="lowest optical mode",
        value=_wavenumber(frequency) + (f" ({irrep})" if irrep else ""),
        unit="cm⁻¹",
        interval="",
        source=ROUTES["potential"],
        others="",
        concerns=("phonons",),
    )
    if phonons.along:
        along = phonons.along[_first_largest(np.array([entry.frequencies[-1] for entry in phonons.along]))]
        text = f"{_wavenumber(float(along.frequencies[-1]))} (q || {along.name})"
        yield Fact("highest LO mode", text, "cm⁻¹", "", ROUTES["assembled"], "", ("phonons", "born_charges", "eps_inf"))


def _moduli(response: Response) -> Iterator[Fact]:
    elastic = response.quantities.get("elastic")
    if elastic is None or response.moduli is None:
        return
    stable = [way for way in response.routes.get("elastic", ()) if born_stability(way.value).stable]
    for label, name in (("bulk modulus", "bulk_hill"), ("shear modulus", "shear_hill")):
        theirs = [f"{ROUTES[way.route]} {number(float(getattr(moduli(way.value), name)))}" for way in stable]
        value = number(float(getattr(response.moduli, name)))
        yield Fact(label, value, "GPa", "", ROUTES[elastic.route], "; ".join(theirs), ("elastic",))


def _piezo(response: Response) -> Iterator[Fact]:
    for name, label in (("piezo_total", "largest |e|"), ("piezo_d", "largest |d|")):
        entry = response.quantities.get(name)
        if entry is None:
            continue
        value = _largest_entry(response, name, entry)
        if not value:
            yield Fact("piezoelectricity", "none by symmetry", "", "", "", "", (name,))
            return
        # No component moves by more than the norm of the error.
        width = interval_text(entry.interval)
        yield Fact(label, value, unit_symbol(entry.unit), width, ROUTES[entry.route], "", (name,))


def _largest_entry(response: Response, name: str, entry: Quantity) -> str:
    """The largest component and its name; empty where symmetry forbids all."""
    rows, columns, matrix = voigt_matrix(name, entry.value)
    pattern = symmetry_pattern(response, entry.value.ndim)
    allowed = np.ones(matrix.shape, dtype=bool) if pattern is None else ~pattern.zero
    if not allowed.any():
        return ""
    i, j = divmod(_first_largest(np.where(allowed, abs(matrix), 0.0)), len(columns))
    return f"{number(abs(float(matrix[i, j])))} ({rows[i]} {columns[j]})"


def _first_largest(values: NDArray[np.float64]) -> int:
    """Place of the largest value, the first of those that symmetry makes equal."""
    return int((values.ravel() >= values.max() * (1 - _SAME)).argmax())


def _wavenumber(frequency: float) -> str:
    return frequency_text(frequency * WAVENUMBER, 1)


def _listed(values: Sequence[float] | NDArray[np.float64]) -> str:
    return ", ".join(number(float(value)) for value in values)


def _ways(response: Response, name: str) -> str:
    """Principal values by each way, shortened to their mean where they are three."""
    means = [(way.route, float(np.trace(way.value)) / 3) for way in response.routes.get(name, ())]
    return "; ".join(f"{ROUTES[route]} {number(mean)}" for route, mean in means)

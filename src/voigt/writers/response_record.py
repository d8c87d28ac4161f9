"""All responses of a crystal as numbers and text: the record for JSON, and rows for CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voigt import __version__
from voigt.prediction.record import plain
from voigt.response.phonons.infrared_modes import KM_PER_MOL
from voigt.response.piezoelectricity import strain_coefficients_to_voigt
from voigt.structures.formula import reduced_formula
from voigt.tensors.layout import AXES, VOIGT, headings, stored
from voigt.tensors.pattern import Pattern, find_pattern
from voigt.tensors.properties import PROPERTIES, Property
from voigt.text import csv_cell
from voigt.writers import infrared, phonons
from voigt.writers.response_repetition import potential_identity

if TYPE_CHECKING:
    import ase

    from voigt.response.assembly import Quantity, Response

STRAIN_COEFFICIENTS = "piezo_d"
"""The one tensor whose shears are doubled in a Voigt matrix."""
_MORE = {
    "elastic_clamped": ("clamped-ion elastic tensor", "C[stress, stress, strain, strain], fractional coordinates kept"),
    "piezo_ionic": ("ionic part of the piezoelectric tensor", "e[polarization, strain, strain] by moving ions"),
    "piezo_d": ("piezoelectric strain coefficients", "d[polarization, stress, stress] = e S, at constant field"),
    "eps_free": ("static dielectric tensor of a free crystal", "relative permittivity at constant stress"),
}
_FORMS = {2: PROPERTIES["eps_inf"], 3: PROPERTIES["piezo_total"], 4: PROPERTIES["elastic"]}
"""Rank of a crystal's tensor -> a property with its index symmetry and layout."""
_VOIGT_PLACES = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_TURNED = 1e-3
"""Fraction of a tensor below which entries count as zero by symmetry: lattice vectors are rounded."""
_PACKAGES = ("phonopy", "ase", "spglib", "torch", "numpy")


@dataclass(frozen=True)
class Component:
    """One number that people compare.

    Attributes
    ----------
    name
        Such as "xx", "x yz" or "xx yy"; empty for a scalar.
    value, interval
        In the unit of its quantity; the interval is that of the tensor as a whole, None if not known.
    atom
        Number of the atom from 0 and its symbol, for Born charges.
    by_symmetry
        "independent", "dependent", "zero", or empty where symmetry is not known.
    """

    name: str
    value: float
    interval: float | None
    atom: tuple[int, str] | None
    by_symmetry: str


def described(name: str) -> tuple[str, str]:
    """Label of a quantity, and what its indices stand for.

    Examples
    --------
    >>> described("piezo_d")[0]
    'piezoelectric strain coefficients'
    """
    return _MORE[name] if name in _MORE else (PROPERTIES[name].label, PROPERTIES[name].meaning)


def voigt_matrix(name: str, value: NDArray[np.float64]) -> tuple[Sequence[str], Sequence[str], NDArray[np.float64]]:
    """Names of rows and columns, and entries of a crystal's tensor as tables print it: 3x3, 3x6 or 6x6.

    Shears of `piezo_d` are doubled, see `voigt.response.piezoelectricity.strain_coefficients_to_voigt`.
    """
    form = _FORMS[value.ndim]
    matrix = strain_coefficients_to_voigt(value) if name == STRAIN_COEFFICIENTS else stored(form, value)
    return *headings(form), matrix


def symmetry_pattern(response: Response, rank: int) -> Pattern | None:
    """What the space group says of the entries of a crystal's tensor; None if its operations are no group."""
    return _pattern(response.prediction.symmetry.rotations, _FORMS[rank])


def components(response: Response, name: str, quantity: Quantity) -> Iterator[Component]:
    """Numbers of a quantity without repetition by index symmetry; Born charges of one atom of each orbit."""
    value, width = quantity.value, quantity.interval
    if name == "born_charges":
        yield from _charges(response, quantity)
        return
    spread = None if width is None else float(width)
    if value.ndim == 0:
        yield Component("", float(value), spread, None, "independent")
        return
    rows, columns, matrix = voigt_matrix(name, value)
    pattern = symmetry_pattern(response, value.ndim)
    for label, place in _places(rows, columns):
        yield Component(label, float(matrix[place]), spread, None, _word(pattern, place))


_ORIGIN = ("chosen", "route", "origin")


def quantity_rows(response: Response) -> list[list[str]]:
    """Header and rows of quantities.csv: every quantity, the other ways to it, refraction and moduli."""
    rows = [["name", "atom", "element", "component", "value", "unit", "interval_90", "by_symmetry", *_ORIGIN]]
    best = response.quantities
    others = (
        (name, way, "0") for name, ways in response.routes.items() for way in ways if way.route != best[name].route
    )
    for name, quantity, chosen in chain(((name, entry, "1") for name, entry in best.items()), others):
        unit = quantity.unit if quantity.unit != "1" else ""
        for entry in components(response, name, quantity):
            place = ["", ""] if entry.atom is None else [str(entry.atom[0]), entry.atom[1]]
            width = "" if entry.interval is None else _digits(entry.interval)
            numbers = [entry.name, _digits(entry.value), unit, width, entry.by_symmetry]
            rows.append([name, *place, *numbers, chosen, quantity.route, csv_cell(quantity.origin)])
    return [*rows, *_derived(response)]


def mode_rows(response: Response) -> list[list[str]]:
    """Header and rows of modes.csv: degenerate modes together, with what light sees of them."""
    pairs = [f"{a}_{pair}" for a in ("strength_e2_per_amu", "share_of_eps_ionic") for pair in VOIGT]
    rows = [["modes", "kind", "irrep", "infrared_active", "THz", "cm-1", "D2_per_A2_amu", "km_per_mol", *pairs]]
    for entry in response.infrared.response.sets:
        numbers = [entry.frequency, entry.wavenumber, entry.intensity, entry.intensity * KM_PER_MOL]
        numbers += [float(tensor[place]) for tensor in (entry.strength, entry.share) for place in _VOIGT_PLACES]
        members = " ".join(str(member + 1) for member in entry.members)
        rows.append([members, entry.kind, entry.irrep or "", str(int(entry.active)), *map(_digits, numbers)])
    return rows


def largest_shift(given: ase.Atoms, relaxed: ase.Atoms) -> float | None:
    """Largest way of an atom by relaxation, Angstrom: fractional coordinates times the relaxed cell, less their mean.

    None for a cell of other atoms, which following a soft mode may make.

    Examples
    --------
    >>> from ase.build import bulk
    >>> moved = bulk("MgO", "rocksalt", 4.21)
    >>> moved.positions[1, 0] += 0.1
    >>> round(largest_shift(bulk("MgO", "rocksalt", 4.21), moved), 6)
    0.05
    """
    if given.numbers.tolist() != relaxed.numbers.tolist():
        return None
    steps = relaxed.get_scaled_positions(wrap=False) - given.get_scaled_positions(wrap=False)
    ways = (steps - np.rint(steps)) @ relaxed.cell.array
    return float(np.linalg.norm(ways - ways.mean(axis=0), axis=1).max())


def as_record(response: Response) -> dict[str, Any]:
    """Everything but the spectrum, for JSON: tensors are nested lists in the Cartesian axes of `relaxed`."""
    prediction, relaxation = response.prediction, response.relaxation
    spectral = infrared.as_record(response.infrared)
    del spectral["spectrum"]  # in a file of its own
    identity, source = potential_identity(response.potential)
    return {
        "id": response.id,
        "formula": reduced_formula(response.atoms),
        "spacegroup": {"number": prediction.symmetry.number, "international": prediction.symmetry.international},
        "potential": {"name": response.potential, "version": identity, "source": source},
        "models": dict(prediction.models),
        "functionals": dict(prediction.functionals),
        "given": _structure(response.given),
        "relaxed": _structure(response.atoms),
        "relaxation": {
            "steps": relaxation.steps,
            "converged": bool(relaxation.converged),
            "largest_force_eV_per_A": _number(relaxation.force),
            "largest_stress_GPa": _number(relaxation.stress),
            "energy_eV": _number(relaxation.energy),
            "volume_change": _number(relaxation.volume_change),
            "largest_shift_A": _number(largest_shift(response.given, response.atoms)),
        },
        "quantities": {name: _quantity(name, entry) for name, entry in response.quantities.items()},
        "routes": {name: [_quantity(name, way) for way in several] for name, several in response.routes.items()},
        "optics": None if response.optics is None else _plain_fields(response.optics),
        "moduli": None if response.moduli is None else _plain_fields(response.moduli),
        "infrared": spectral,
        "phonons": phonons.as_record(response.phonons),
        "notes": [
            {"kind": n.kind, "warning": n.is_warning, "text": n.sentence, "properties": list(n.properties),
             "elements": list(n.elements)}
            for n in response.notes
        ],
        "seconds": {name: round(value, 3) for name, value in response.seconds.items()},
        "versions": {"voigt": __version__, **{name: metadata.version(name) for name in _PACKAGES}},
    }  # fmt: skip


def _quantity(name: str, quantity: Quantity) -> dict[str, Any]:
    label, meaning = described(name)
    crystal = name != "born_charges" and quantity.value.ndim > 2
    return {
        "label": label,
        "meaning": meaning,
        "unit": quantity.unit if quantity.unit != "1" else "",
        "route": quantity.route,
        "origin": quantity.origin,
        "value": plain(quantity.value),
        "voigt": plain(voigt_matrix(name, quantity.value)[2]) if crystal else None,
        "voigt_order": list(VOIGT) if crystal else None,
        "interval_90": None if quantity.interval is None else plain(quantity.interval),
    }


def _structure(atoms: ase.Atoms) -> dict[str, Any]:
    return {
        "elements": atoms.get_chemical_symbols(),
        "cell": atoms.cell.array.tolist(),
        "scaled_positions": atoms.get_scaled_positions(wrap=False).tolist(),
    }


def _plain_fields(entry: Any) -> dict[str, Any]:
    return {
        key: value if value is None or isinstance(value, str | int) else plain(value)
        for key, value in asdict(entry).items()
    }


def _charges(response: Response, quantity: Quantity) -> Iterator[Component]:
    symmetry, prop = response.prediction.symmetry, PROPERTIES["born_charges"]
    symbols = response.atoms.get_chemical_symbols()
    for atom in np.unique(symmetry.orbits).tolist():
        # Operations that leave the atom in its place, up to a translation inside the cell.
        site = symmetry.rotations[symmetry.sites[symmetry.permutations[:, atom]] == symmetry.sites[atom]]
        pattern = _pattern(site, prop)
        width = None if quantity.interval is None else float(quantity.interval[atom])
        for i, j in np.ndindex(3, 3):
            value = float(quantity.value[atom, i, j])
            yield Component(AXES[i] + AXES[j], value, width, (atom, symbols[atom]), _word(pattern, (i, j)))


def _places(rows: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Label and place of every entry that index symmetry does not repeat."""
    if len(columns) == len(AXES):
        yield from zip(VOIGT, _VOIGT_PLACES, strict=True)
        return
    square = len(rows) == len(columns)
    for i, row in enumerate(rows):
        for j in range(i if square else 0, len(columns)):
            yield f"{row} {columns[j]}", (i, j)


def _pattern(rotations: NDArray[np.float64], prop: Property) -> Pattern | None:
    return _pattern_of(np.ascontiguousarray(rotations, dtype=np.float64).tobytes(), prop)


@lru_cache(maxsize=64)  # the same few for every table of a crystal
def _pattern_of(rotations: bytes, prop: Property) -> Pattern | None:
    try:
        return find_pattern(np.frombuffer(rotations).reshape(-1, 3, 3), prop, _TURNED)
    except ValueError:  # operations found with a large tolerance need not be a group
        return None


def _word(pattern: Pattern | None, place: tuple[int, int]) -> str:
    if pattern is None:
        return ""
    return "zero" if pattern.zero[place] else "independent" if pattern.independent[place] else "dependent"


def _derived(response: Response) -> Iterator[list[str]]:
    """Rows of refraction and moduli, with route and origin of the tensors that they follow from."""

    def row(name: str, component: str, value: float, unit: str, source: Quantity) -> list[str]:
        numbers = [component, _digits(value), unit, "", "independent"]
        return [name, "", "", *numbers, "1", source.route, csv_cell(source.origin)]

    if response.optics is not None:
        source = response.quantities["eps_inf"]
        for place, index in enumerate(response.optics.indices, start=1):
            yield row("refractive_index", str(place), float(index), "", source)
        yield row("birefringence", "", response.optics.birefringence, "", source)
    if response.moduli is not None:
        units = {"bulk": "GPa", "shear": "GPa", "young": "GPa"}
        for name, value in asdict(response.moduli).items():
            yield row(name, "", float(value), units.get(name.split("_")[0], ""), response.quantities["elastic"])


def _number(value: float | None) -> Any:
    return None if value is None else plain(value)


def _digits(value: float) -> str:
    """Eight significant digits; nothing of the rounding noise where a number is zero."""
    return f"{round(value, 12) + 0.0:.8g}"

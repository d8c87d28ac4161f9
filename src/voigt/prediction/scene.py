"""What a page needs of a prediction: the crystal, its tensors, what symmetry says of them, and notes, as plain data.

`scene` makes dataclasses of lists, numbers and text alone; `dataclasses.asdict` turns them into JSON. Tensors have the
axes of `cell`, their layout is that of files (see `voigt.tensors.layout`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voigt.notes import Note
from voigt.prediction.record import plain
from voigt.structures.formula import reduced_formula
from voigt.tensors.layout import headings, norm, stored
from voigt.tensors.pattern import find_pattern
from voigt.tensors.properties import PROPERTIES, Property

if TYPE_CHECKING:
    import ase

    from voigt.prediction.result import Prediction
    from voigt.prediction.sheets import Sheet
    from voigt.structures.symmetry import Symmetry

TURNED = 1e-3
"""Fraction of a tensor's norm below which an entry is zero by symmetry; rounding in files turns cells by as much."""

Vector: TypeAlias = list[float]
Matrix: TypeAlias = list[list[float]]
Flags: TypeAlias = list[list[bool]]


@dataclass(frozen=True)
class SceneGroup:
    """Space group: number, Hermann-Mauguin symbol, point group, crystal system."""

    number: int
    international: str
    point_group: str
    crystal_system: str


@dataclass(frozen=True)
class SceneStructure:
    """A crystal to draw.

    Attributes
    ----------
    formula
        Reduced formula.
    cell
        (3, 3) rows are lattice vectors, Angstrom.
    species, positions, scaled_positions
        Symbol, Cartesian position in Angstrom and fractional coordinates of every atom.
    spacegroup
        Of the structure.
    orbits
        Lowest index of the atoms that are equivalent to each atom: symmetry-independent atoms are their own.
    wyckoffs, site_symmetries
        Wyckoff letter and site symmetry of every atom.
    """

    formula: str
    cell: Matrix
    species: list[str]
    positions: Matrix
    scaled_positions: Matrix
    spacegroup: SceneGroup
    orbits: list[int]
    wyckoffs: list[str]
    site_symmetries: list[str]


@dataclass(frozen=True)
class ScenePattern:
    """What symmetry says of one tensor, in the layout of files.

    Attributes
    ----------
    atom
        Index of the symmetry-independent atom that it belongs to; None for a tensor of the crystal.
    zero
        True where symmetry forbids a value.
    independent
        True for the components that determine all others: the first in reading order.
    """

    atom: int | None
    zero: Flags
    independent: Flags


@dataclass(frozen=True)
class SceneProperty:
    """One property.

    Attributes
    ----------
    name, label, meaning, unit
        As declared; the unit is "" for pure numbers.
    per
        "atom" or "crystal".
    rank
        Of one tensor, 0 for a scalar.
    rows, columns
        Headings of the stored tensor, Voigt order xx yy zz yz zx xy; empty for a scalar.
    values
        A number; 3x3, 3x6 (piezoelectric) or 6x6 (elastic) lists; with one more axis in front for atoms.
    interval
        Half-width of the 90 % interval of the error (Frobenius norm): a number, one for each atom, None if not known.
    spread
        Frobenius norm of the standard deviation over an ensemble: a number, one for each atom, None for one network.
    patterns
        For a crystal one entry, for atoms one for each symmetry-independent atom; empty where symmetry is not imposed.
    residual
        |T - P T| / |T| of the raw tensor, P the projector onto the space group; None for scalars.
    model, functional
        Who predicted it, for which functional.
    """

    name: str
    label: str
    meaning: str
    unit: str
    per: Literal["atom", "crystal"]
    rank: int
    rows: list[str]
    columns: list[str]
    values: float | Matrix | list[Matrix]
    interval: float | list[float] | None
    spread: float | list[float] | None
    patterns: list[ScenePattern]
    residual: float | None
    model: str
    functional: str | None


@dataclass(frozen=True)
class SceneNote:
    """A sentence with the properties and elements that it concerns; `warning`: it puts the result in doubt."""

    kind: str
    text: str
    properties: list[str]
    elements: list[str]
    warning: bool


@dataclass(frozen=True)
class SceneSheet:
    """What a sheet or slab in vacuum has instead of a permittivity: see `voigt.prediction.sheets.Sheet`."""

    property: str
    permittivity: Matrix
    polarizability_angstrom: Matrix
    normal: Vector
    thickness_angstrom: float
    height_angstrom: float


@dataclass(frozen=True)
class Scene:
    """One crystal with its tensors and notes; `drift` is the largest component of the raw sum of Born charges, e."""

    id: str
    structure: SceneStructure
    properties: list[SceneProperty]
    notes: list[SceneNote]
    sheets: list[SceneSheet]
    drift: float | None
    symmetrized: bool


def scene(prediction: Prediction) -> Scene:
    """What a page shows of a prediction.

    Examples
    --------
    >>> import voigt
    >>> shown = scene(voigt.predict("examples/MgO.vasp")[0])
    >>> shown.structure.formula, shown.structure.orbits, [entry.name for entry in shown.properties][:2]
    ('MgO', [0, 1], ['born_charges', 'eps_inf'])
    >>> shown.properties[0].patterns[0].zero[0]
    [False, True, True]
    """
    drift = None if prediction.drift is None else float(np.abs(prediction.drift).max())
    return Scene(
        id=prediction.id,
        structure=scene_structure(prediction.atoms, prediction.symmetry),
        properties=[_property(prediction, PROPERTIES[name]) for name in prediction.values],
        notes=scene_notes(prediction.notes),
        sheets=[_sheet(name, entry) for name, entry in prediction.sheets.items()],
        drift=drift,
        symmetrized=prediction.symmetrized,
    )


def scene_structure(atoms: ase.Atoms, symmetry: Symmetry) -> SceneStructure:
    """A crystal and its symmetry as plain data."""
    return SceneStructure(
        formula=reduced_formula(atoms),
        cell=atoms.cell.array.tolist(),
        species=atoms.get_chemical_symbols(),
        positions=atoms.positions.tolist(),
        scaled_positions=atoms.get_scaled_positions(wrap=False).tolist(),
        spacegroup=SceneGroup(symmetry.number, symmetry.international, symmetry.point_group, symmetry.crystal_system),
        orbits=symmetry.orbits.tolist(),
        wyckoffs=list(symmetry.wyckoffs),
        site_symmetries=list(symmetry.site_symmetries),
    )


def scene_notes(notes: Sequence[Note]) -> list[SceneNote]:
    """Notes as plain data, with the remedies of the command line."""
    return [
        SceneNote(n.kind, n.for_command_line().sentence, list(n.properties), list(n.elements), n.is_warning)
        for n in notes
    ]


def _property(prediction: Prediction, prop: Property) -> SceneProperty:
    name = prop.name
    rows, columns = headings(prop) if prop.rank else ((), ())
    spread = prediction.spread.get(name)
    interval = prediction.interval.get(name)
    return SceneProperty(
        name=name,
        label=prop.label,
        meaning=prop.meaning,
        unit="" if prop.unit == "1" else prop.unit,
        per=prop.per,
        rank=prop.rank,
        rows=list(rows),
        columns=list(columns),
        values=plain(stored(prop, prediction.values[name])),
        interval=None if interval is None else plain(interval),
        spread=None if spread is None else plain(norm(prop, spread)),
        patterns=_patterns(prediction, prop),
        residual=prediction.residual.get(name),
        model=prediction.models[name],
        functional=prediction.functionals.get(name),
    )


def _patterns(prediction: Prediction, prop: Property) -> list[ScenePattern]:
    """Of the crystal, or of each symmetry-independent atom under the rotations that leave it where it is."""
    if not prediction.symmetrized or prop.rank == 0:
        return []
    symmetry = prediction.symmetry
    if prop.per == "crystal":
        return _pattern(None, symmetry.rotations, prop)
    found = []
    for atom in np.unique(symmetry.orbits).tolist():
        stays = symmetry.sites[symmetry.permutations[:, atom]] == symmetry.sites[atom]
        found += _pattern(atom, symmetry.rotations[stays], prop)
    return found


def _pattern(atom: int | None, rotations: NDArray[np.float64], prop: Property) -> list[ScenePattern]:
    # Rounded, so that groups of other lattice constants, and other atoms and properties, are found again.
    found = _zero_and_independent((np.round(rotations, 9) + 0.0).tobytes(), prop)
    return [] if found is None else [ScenePattern(atom, *found)]


@lru_cache(maxsize=256)
def _zero_and_independent(rotations: bytes, prop: Property) -> tuple[Flags, Flags] | None:
    """Of a tensor under rotations (n, 3, 3); None where these are no group, as those of a large tolerance may be."""
    try:
        pattern = find_pattern(np.frombuffer(rotations).reshape(-1, 3, 3), prop, TURNED)
    except ValueError:
        return None
    return pattern.zero.tolist(), pattern.independent.tolist()


def _sheet(name: str, sheet: Sheet) -> SceneSheet:
    return SceneSheet(
        property=name,
        permittivity=plain(sheet.permittivity),
        polarizability_angstrom=plain(sheet.polarizability),
        normal=plain(sheet.normal),
        thickness_angstrom=sheet.thickness,
        height_angstrom=sheet.height,
    )

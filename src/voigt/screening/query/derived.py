"""Scalars that conditions and formulas may name: the only place that says what each is and how it is made.

`DERIVED` declares them: most follow from the declarations of properties, so that a new property brings its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.screening.query import invariants
from voigt.screening.query.columns import Ragged, read_column
from voigt.tensors.properties import PROPERTIES, Property

if TYPE_CHECKING:
    import pyarrow

Array: TypeAlias = NDArray[np.float64]

_GRAM_PER_CM3 = 1.66053906660  # one u per cubic Angstrom
_ELEMENT = re.compile("[A-Z][a-z]?")
_HAS = re.compile(r'has\("([A-Z][a-z]?)"\)')


def _same(values: Any) -> Any:
    return values


@dataclass(frozen=True)
class Derived:
    """One scalar of a crystal."""

    # name, unit, meaning: for expressions, tables and documentation
    name: str
    unit: str
    meaning: str
    columns: tuple[str, ...]  # columns of a store that it is made of
    # What it shares with others of the same columns, such as eigenvalues: a function of the arrays of the columns
    prepare: Callable[..., Any] = _same
    compute: Callable[[Any], Array] = _same  # what `prepare` returned -> (n,) values, NaN where missing
    properties: tuple[str, ...] = ()  # declared properties that have to be predicted for it
    # By how much it changes at most if the tensor changes by 1 in the Frobenius norm; None: there is no simple bound
    bound: float | None = None

    @property
    def predicted(self) -> bool:
        """Whether it is made of the values of a property, not of what a store says about their quality."""
        return self.columns == self.properties


def _of_elements(function: Callable[[frozenset[str]], float], formulas: Sequence[str | None]) -> Array:
    """A function of the elements of each formula; NaN where there is none."""
    return np.array([np.nan if text is None else function(elements_in(text)) for text in formulas], dtype=np.float64)


def _density(numbers: Ragged, volume: Array) -> Array:
    from ase.data import atomic_masses

    masses = atomic_masses[numbers.values.astype(np.int64)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(_GRAM_PER_CM3 * numbers.reduced(np.add, masses) / volume)


def _largest_mean(tensors: Ragged) -> Array:
    """Largest |trace / 3| of lists of 3x3 tensors, row-major."""
    means = np.abs(tensors.values.reshape(-1, 9)[:, ::4].mean(axis=1))
    return Ragged(means, tensors.lengths / 9).reduced(np.maximum, means)


def _third_of_trace(tensor: Array) -> Array:
    return np.asarray(np.trace(tensor, axis1=1, axis2=2) / 3)


def _column(place: int) -> Callable[[Array], Array]:
    return lambda values: np.asarray(values[:, place])


def _modulus(key: str) -> Callable[[invariants.Elasticity], Array]:
    return lambda elasticity: np.asarray(getattr(elasticity.moduli, key))


_OF_STRUCTURE = (
    Derived("num_atoms", "1", "atoms in the cell", ("num_atoms",)),
    Derived("num_elements", "1", "different elements", ("formula",), compute=partial(_of_elements, len)),
    Derived("spacegroup", "1", "number of the space group", ("spacegroup",)),
    Derived("volume", "Angstrom^3", "volume of the cell", ("volume",)),
    Derived("volume_per_atom", "Angstrom^3", "volume of the cell / atoms", ("volume", "num_atoms"), np.divide),
    Derived("density", "g/cm^3", "mass per volume", ("numbers", "volume"), _density),
    Derived("likely_metal", "1", "1 if composition or electron count say metal, else 0", ("likely_metal",)),
    Derived("num_unseen", "1", "elements outside a model's training set", ("unseen",), lambda lists: lists.lengths),
)

_Scalar: TypeAlias = tuple[str, str, str, Callable[..., Any], Callable[..., Any], float | None]
"""Name, unit and meaning (which may hold those of a property), `prepare`, `compute` and `bound`."""

_THIRD = 1 / math.sqrt(3)
"""Bound of trace / 3: |tr E| <= sqrt(3) |E|. Others have 1: by Weyl no eigenvalue moves by more than the largest one of
E, for a unit vector |E_ijk n_i n_j n_k| <= |E|, and a norm obeys the triangle inequality."""

_OF_FORMULA: Mapping[tuple[str, str], Sequence[_Scalar]] = {
    ("atom", "ij"): [("{0.name}_max", "{0.unit}", "largest |trace / 3| among the atoms", _same, _largest_mean, None)],
    ("crystal", ""): [("{0.name}", "{0.unit}", "{0.meaning}", _same, _same, 1.0)],
    ("crystal", "ij=ji"): [
        ("{0.name}", "{0.unit}", "{0.meaning}: trace / 3", _same, _third_of_trace, _THIRD),
        ("{0.name}_min", "{0.unit}", "smallest eigenvalue", invariants.eigenvalues, _column(0), 1.0),
        ("{0.name}_mid", "{0.unit}", "middle eigenvalue", invariants.eigenvalues, _column(1), 1.0),
        ("{0.name}_max", "{0.unit}", "largest eigenvalue", invariants.eigenvalues, _column(2), 1.0),
        ("{0.name}_anisotropy", "1", "largest / smallest eigenvalue", invariants.eigenvalues, invariants.anisotropy,
         None),
    ],
    ("crystal", "ijk=ikj"): [
        ("{0.name}_max", "{0.unit}", "largest longitudinal |e|", _same, invariants.largest_longitudinal, 1.0),
        ("{0.name}_norm", "{0.unit}", "Frobenius norm of all components", _same, invariants.frobenius, 1.0),
    ],
}
"""What every property has whose declaration has this `per` and `formula`."""

_INDEX = "mean of the roots of the eigenvalues of eps_inf"
_LOWEST = "smallest eigenvalue of the stiffness; the crystal is stable if it is positive"
_UNIVERSAL = "universal anisotropy, 0 if isotropic"
_PUGH = "bulk / shear modulus; ductile metals lie above 1.75"
_OF_NAME: Mapping[str, Sequence[_Scalar]] = {
    "eps_inf": [
        ("refractive_index", "1", _INDEX, invariants.eigenvalues, invariants.refractive_index, None),
        ("birefringence", "1", "largest minus smallest refractive index", invariants.eigenvalues,
         invariants.birefringence, None),
    ],
    "elastic": [
        ("bulk_modulus", "GPa", "Voigt-Reuss-Hill average", invariants.elasticity, _modulus("bulk_hill"), None),
        ("shear_modulus", "GPa", "Voigt-Reuss-Hill average", invariants.elasticity, _modulus("shear_hill"), None),
        ("youngs_modulus", "GPa", "of the isotropic polycrystal", invariants.elasticity, _modulus("young"), None),
        ("poisson_ratio", "1", "of the isotropic polycrystal", invariants.elasticity, _modulus("poisson"), None),
        ("pugh_ratio", "1", _PUGH, invariants.elasticity, _modulus("pugh"), None),
        ("elastic_anisotropy", "1", _UNIVERSAL, invariants.elasticity, _modulus("universal_anisotropy"), None),
        ("elastic_min", "GPa", _LOWEST, invariants.elasticity, lambda elasticity: elasticity.smallest, 1.0),
    ],
}  # fmt: skip
"""What one property alone has."""


def _of_property(prop: Property, scalars: Sequence[_Scalar]) -> list[Derived]:
    name = (prop.name,)
    return [
        Derived(key.format(prop), unit.format(prop), meaning.format(prop), name, prepare, compute, name, bound)
        for key, unit, meaning, prepare, compute, bound in scalars
    ]


def _quality(prop: Property) -> list[Derived]:
    """What a store says about the values of a property."""
    name, tensor = prop.name, prop.shape != ()
    spread = "standard deviation among models" + ", Frobenius norm" * tensor
    interval = f"half-width of the 90 % interval{', Frobenius norm of the error' * tensor}"
    interval += " (largest of the atoms)" * (prop.per == "atom")
    entries = [
        Derived(f"{name}_spread", prop.unit, spread, (f"{name}_spread",), properties=(name,)),
        Derived(f"{name}_interval", prop.unit, interval, (f"{name}_interval",), properties=(name,)),
    ]
    if tensor:  # symmetry leaves a scalar as it is
        residual = "share of the raw tensor that breaks the symmetry"
        entries.append(Derived(f"{name}_residual", "1", residual, (f"{name}_residual",), properties=(name,)))
    return entries


def _declared() -> Mapping[str, Derived]:
    entries = list(_OF_STRUCTURE)
    for prop in PROPERTIES.values():
        entries += _of_property(prop, _OF_FORMULA.get((prop.per, prop.formula), ())) + _quality(prop)
    for name, scalars in _OF_NAME.items():
        entries += _of_property(PROPERTIES[name], scalars)
    meaning = "Frobenius norm of the sum of the raw Born charges"
    entries.append(Derived("drift", PROPERTIES["born_charges"].unit, meaning, ("drift",), properties=("born_charges",)))
    return MappingProxyType({entry.name: entry for entry in entries})


DERIVED: Mapping[str, Derived] = _declared()
"""Scalars by name."""


def known_names() -> tuple[str, ...]:
    """Names that an expression may use, in the order of tables.

    Examples
    --------
    >>> known_names()[:4]
    ('num_atoms', 'num_elements', 'spacegroup', 'volume')
    """
    return tuple(DERIVED)


def half_widths(name: str, intervals: Mapping[str, Array]) -> Array | None:
    """Half-widths (n,) of the 90 % interval of a scalar; None where none follows from that of its property.

    If a tensor is within r of the true one (Frobenius norm), the scalar is within `bound` r.

    `intervals`: f"{property}_interval" -> (n,) half-widths of the property.

    Examples
    --------
    >>> half_widths("eps_inf", {"eps_inf_interval": np.array([0.3])}).round(3)
    array([0.173])
    """
    entry = DERIVED[name]
    known = intervals.get(f"{entry.properties[0]}_interval") if entry.bound is not None else None
    return None if known is None or entry.bound is None else np.asarray(entry.bound * known)


def diagnostic(name: str) -> bool:
    """Whether a scalar says how good the values of a property are: tables do not list it unasked."""
    return name.endswith(("_spread", "_interval"))


def names_table() -> list[tuple[str, str, str]]:
    """Name, unit and meaning of every scalar, for help texts and documentation.

    Examples
    --------
    >>> next(row for row in names_table() if row[0] == "density")
    ('density', 'g/cm^3', 'mass per volume')
    """
    return [(entry.name, entry.unit, entry.meaning) for entry in DERIVED.values()]


def has(symbol: str) -> str:
    """Key of the column that says whether a crystal contains an element (1 or 0)."""
    return f'has("{symbol}")'


def elements_in(formula: str) -> frozenset[str]:
    """Chemical symbols in a formula.

    Examples
    --------
    >>> sorted(elements_in("BaTiO3"))
    ['Ba', 'O', 'Ti']
    """
    return frozenset(_ELEMENT.findall(formula))


def suggestion(name: str, candidates: Sequence[str] = ()) -> str:
    """What may have been meant by a name that there is not: the scalars of a tensor, or names that look alike."""
    if name in PROPERTIES:
        ready = [entry.name for entry in DERIVED.values() if name in entry.properties and entry.predicted]
        ready = ready or [entry.name for entry in DERIVED.values() if name in entry.properties]
        return f"it is a tensor, choose one of {', '.join(ready)}"
    names = tuple(candidates) or known_names()
    near = get_close_matches(name, names, n=1, cutoff=0.9) or get_close_matches(name, names, n=3)
    return f"did you mean {' or '.join(near)}?" if near else "the documentation of screening lists the names"


def needed_columns(names: Sequence[str]) -> list[str]:
    """Columns of a store that scalars are made of, each once, in the order of the names.

    Raises InputError: a name is not among `known_names()` and not has("...").
    """
    return list(dict.fromkeys(column for name in names for column in _entry_of(name).columns))


def columns_of(table: pyarrow.Table, names: Sequence[str]) -> dict[str, Array]:
    """Scalars (n,) of the rows of a store; what is null there is NaN. The order of `names` is kept.

    Parameters
    ----------
    table
        Rows of a store with at least `needed_columns(names)`.
    names
        Of `known_names()`, or keys has("Pb"), as in `Expression.names`.

    Raises
    ------
    InputError
        The store does not hold what a name needs, or a list has a wrong length.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rows = pa.table({"formula": ["MgO", "BaTiO3"], "volume": [18.8, 64.2], "num_atoms": [2, 5]})
    >>> {name: values.tolist() for name, values in columns_of(rows, ["num_elements", "volume_per_atom"]).items()}
    {'num_elements': [2.0, 3.0], 'volume_per_atom': [9.4, 12.84]}
    """
    for name in names:
        lacking = [column for column in _entry_of(name).columns if column not in table.column_names]
        if lacking:
            wanted = ", ".join(DERIVED[name].properties) if name in DERIVED else ""
            remedy = f"screen with {wanted} among the --properties" if wanted else "screen the collection again"
            raise InputError(f"{name} needs the column {', '.join(lacking)}, which this screening lacks; {remedy}")
    return derive({column: read_column(table, column) for column in needed_columns(names)}, names)


def derive(arrays: Mapping[str, Any], names: Sequence[str]) -> dict[str, Array]:
    """Scalars (n,) from arrays in memory.

    `arrays`: `needed_columns(names)` -> numbers (n,); Cartesian tensors (n, 3, ..., 3) of properties; formulas as list
    of str or None; `Ragged` lists. `names`: as in `columns_of`.
    """
    entries = {name: _entry_of(name) for name in names}
    # Eigenvalues and the like, once for all scalars made of them.
    kinds = {(entry.columns, entry.prepare) for entry in entries.values()}
    prepared = {(columns, prepare): prepare(*(arrays[name] for name in columns)) for columns, prepare in kinds}
    return {
        name: np.asarray(entry.compute(prepared[entry.columns, entry.prepare]), dtype=np.float64)
        for name, entry in entries.items()
    }


def _entry_of(name: str) -> Derived:
    if name in DERIVED:
        return DERIVED[name]
    element = _HAS.fullmatch(name)
    if element is None:
        raise InputError(f"unknown name '{name}'; {suggestion(name)}")
    contains = partial(_of_elements, lambda elements: element[1] in elements)
    return Derived(name, "1", f"contains {element[1]}", ("formula",), compute=contains)

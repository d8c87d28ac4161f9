"""Scalars that conditions and formulas may name: the only place that says what each is and how it is made.

`DERIVED` declares them: most follow from the declarations of properties, so that a new property brings its own.
"""

from __future__ import annotations

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

_GRAM_PER_CM3 = 1.66053906660
"""One u per cubic Angstrom."""
_ELEMENT = re.compile("[A-Z][a-z]?")
_HAS = re.compile(r'has\("([A-Z][a-z]?)"\)')


def _same(values: Any) -> Any:
    return values


@dataclass(frozen=True)
class Derived:
    """One scalar of a crystal.

    Attributes
    ----------
    name, unit, meaning
        For expressions, tables and documentation.
    columns
        Columns of a store that it is made of.
    prepare
        What it shares with others of the same columns, such as eigenvalues: a function of the arrays of the columns.
    compute
        What `prepare` returned -> (n,) values, NaN where missing.
    properties
        Declared properties that have to be predicted for it.
    """

    name: str
    unit: str
    meaning: str
    columns: tuple[str, ...]
    prepare: Callable[..., Any] = _same
    compute: Callable[[Any], Array] = _same
    properties: tuple[str, ...] = ()

    @property
    def predicted(self) -> bool:
        """Whether it is made of the values of a property, not of what a store says about their quality."""
        return self.columns == self.properties


def _of_structure() -> list[Derived]:
    return [
        Derived("num_atoms", "1", "atoms in the cell", ("num_atoms",)),
        Derived("num_elements", "1", "different elements", ("formula",), compute=_num_elements),
        Derived("spacegroup", "1", "number of the space group", ("spacegroup",)),
        Derived("volume", "Angstrom^3", "volume of the cell", ("volume",)),
        Derived("volume_per_atom", "Angstrom^3", "volume of the cell / atoms", ("volume", "num_atoms"), np.divide),
        Derived("density", "g/cm^3", "mass per volume", ("numbers", "volume"), _density),
        Derived("likely_metal", "1", "1 if composition or electron count say metal, else 0", ("likely_metal",)),
        Derived("num_unseen", "1", "elements outside a model's training set", ("unseen",), compute=_lengths),
    ]


def _of_property(prop: Property) -> list[Derived]:
    """What follows from the rank of a property, and what a store says about its quality."""
    name, unit = prop.name, prop.unit

    def scalar(suffix: str, meaning: str, compute: Any, prepare: Any = _same, of_unit: str = unit) -> Derived:
        return Derived(f"{name}{suffix}", of_unit, meaning, (name,), prepare, compute, (name,))

    found = []
    if prop.per == "atom":
        found.append(scalar("_max", "largest |trace / 3| among the atoms", _largest_mean))
    elif prop.rank == 0:
        found.append(scalar("", prop.meaning, _same))
    elif prop.rank == 2:
        found.append(scalar("", f"{prop.meaning}: trace / 3", _third_of_trace))
        for place, (suffix, which) in enumerate((("min", "smallest"), ("mid", "middle"), ("max", "largest"))):
            compute = partial(_entry, place=place)
            found.append(scalar(f"_{suffix}", f"{which} eigenvalue", compute, invariants.eigenvalues))
        meaning = "largest / smallest eigenvalue"
        found.append(scalar("_anisotropy", meaning, invariants.anisotropy, invariants.eigenvalues, "1"))
    elif prop.rank == 3:
        found.append(scalar("_max", "largest longitudinal |e|", invariants.largest_longitudinal))
        found.append(scalar("_norm", "Frobenius norm of all components", invariants.frobenius))
    spread = "standard deviation among models" + (", Frobenius norm" if prop.rank else "")
    found.append(Derived(f"{name}_spread", unit, spread, (f"{name}_spread",), properties=(name,)))
    if prop.rank:
        residual = "share of the raw tensor that breaks the symmetry"
        found.append(Derived(f"{name}_residual", "1", residual, (f"{name}_residual",), properties=(name,)))
    return found


def _of_eps_inf() -> list[Derived]:
    def scalar(name: str, meaning: str, compute: Any) -> Derived:
        return Derived(name, "1", meaning, ("eps_inf",), invariants.eigenvalues, compute, ("eps_inf",))

    return [
        scalar("refractive_index", "mean of the roots of the eigenvalues of eps_inf", invariants.refractive_index),
        scalar("birefringence", "largest minus smallest refractive index", invariants.birefringence),
    ]


def _of_elastic() -> list[Derived]:
    def scalar(name: str, unit: str, meaning: str, compute: Any) -> Derived:
        return Derived(name, unit, meaning, ("elastic",), invariants.elasticity, compute, ("elastic",))

    def modulus(name: str, unit: str, meaning: str, key: str) -> Derived:
        return scalar(name, unit, meaning, partial(_modulus, key=key))

    smallest = "smallest eigenvalue of the stiffness; the crystal is stable if it is positive"
    return [
        modulus("bulk_modulus", "GPa", "Voigt-Reuss-Hill average", "bulk_hill"),
        modulus("shear_modulus", "GPa", "Voigt-Reuss-Hill average", "shear_hill"),
        modulus("youngs_modulus", "GPa", "of the isotropic polycrystal", "young"),
        modulus("poisson_ratio", "1", "of the isotropic polycrystal", "poisson"),
        modulus("pugh_ratio", "1", "bulk / shear modulus; ductile metals lie above 1.75", "pugh"),
        modulus("elastic_anisotropy", "1", "universal anisotropy, 0 if isotropic", "universal_anisotropy"),
        scalar("elastic_min", "GPa", smallest, lambda found: found.smallest),
    ]


def _drift() -> Derived:
    meaning = "Frobenius norm of the sum of the raw Born charges"
    return Derived("drift", PROPERTIES["born_charges"].unit, meaning, ("drift",), properties=("born_charges",))


def _num_elements(formulas: Sequence[str | None]) -> Array:
    return np.array([np.nan if formula is None else len(elements_in(formula)) for formula in formulas], dtype=float)


def _density(numbers: Ragged, volume: Array) -> Array:
    from ase.data import atomic_masses

    masses = atomic_masses[numbers.values.astype(np.int64)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(_GRAM_PER_CM3 * numbers.reduced(np.add, masses) / volume)


def _lengths(lists: Ragged) -> Array:
    return lists.lengths


def _largest_mean(tensors: Ragged) -> Array:
    """Largest |trace / 3| of lists of 3x3 tensors, row-major."""
    means = np.abs(tensors.values.reshape(-1, 9)[:, ::4].mean(axis=1))
    return Ragged(means, tensors.lengths / 9).reduced(np.maximum, means)


def _third_of_trace(tensor: Array) -> Array:
    return np.asarray(np.trace(tensor, axis1=1, axis2=2) / 3)


def _entry(values: Array, place: int) -> Array:
    return np.asarray(values[:, place])


def _modulus(found: invariants.Elasticity, key: str) -> Array:
    return np.asarray(getattr(found.moduli, key))


def _declared() -> Mapping[str, Derived]:
    properties = [entry for prop in PROPERTIES.values() for entry in _of_property(prop)]
    entries = [*_of_structure(), *properties, *_of_eps_inf(), *_of_elastic(), _drift()]
    return MappingProxyType({entry.name: entry for entry in entries})


DERIVED: Mapping[str, Derived] = _declared()


def known_names() -> tuple[str, ...]:
    """Names that an expression may use, in the order of tables."""
    return tuple(DERIVED)


def names_table() -> list[tuple[str, str, str]]:
    """Name, unit and meaning of every scalar, for help texts and documentation."""
    return [(entry.name, entry.unit, entry.meaning) for entry in DERIVED.values()]


def has(symbol: str) -> str:
    """Key of the column that says whether a crystal contains an element (1 or 0)."""
    return f'has("{symbol}")'


def elements_in(formula: str) -> frozenset[str]:
    """Chemical symbols in a formula: BaTiO3 -> Ba, O, Ti."""
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

    Raises
    ------
    InputError
        A name is not among `known_names()` and not has("...").
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

    Parameters
    ----------
    arrays
        `needed_columns(names)` -> numbers (n,); Cartesian tensors (n, 3, ..., 3) of properties; formulas as list of
        str or None; `Ragged` lists.
    names
        As in `columns_of`.
    """
    prepared = _prepared(arrays, names)
    entries = {name: _entry_of(name) for name in names}
    return {
        name: np.asarray(entry.compute(prepared[entry.columns, entry.prepare]), dtype=np.float64)
        for name, entry in entries.items()
    }


def _prepared(arrays: Mapping[str, Any], names: Sequence[str]) -> dict[Any, Any]:
    """Eigenvalues and the like, once for all scalars made of them."""
    kinds = {(entry.columns, entry.prepare) for entry in map(_entry_of, names)}
    return {(columns, prepare): prepare(*(arrays[column] for column in columns)) for columns, prepare in kinds}


def _entry_of(name: str) -> Derived:
    if name in DERIVED:
        return DERIVED[name]
    element = _HAS.fullmatch(name)
    if element is None:
        raise InputError(f"unknown name '{name}'; {suggestion(name)}")
    return Derived(name, "1", f"contains {element[1]}", ("formula",), compute=partial(_contains, symbol=element[1]))


def _contains(formulas: Sequence[str | None], symbol: str) -> Array:
    return np.array(
        [np.nan if formula is None else symbol in elements_in(formula) for formula in formulas], dtype=np.float64
    )

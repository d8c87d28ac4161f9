"""What a property is: the only place that knows shape, index order, symmetry, unit, physical bounds and storage.

Losses, metrics, heads, readers, writers, projections and tables read these declarations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from voigt.errors import TargetError

if TYPE_CHECKING:
    from voigt.tensors.voigt import ArrayT


@dataclass(frozen=True)
class Property:
    """One predictable quantity.

    Attributes
    ----------
    name
        Key in model outputs, extXYZ files, recipes and tables.
    per
        "atom" (one tensor per atom) or "crystal".
    formula
        Index symmetry in e3nn's notation ("ij", "ij=ji", ...); "" is a scalar. All are polar tensors,
        so their parity under inversion is (-1)**rank.
    unit
        Unit of every component.
    meaning
        What each index stands for.
    minimum
        Lower bound of the eigenvalues (rank 2, and rank 4 in Mandel notation) or of the scalar; None if unbounded.
    storage
        Layout in files: "cartesian" (row-major) or "voigt" (3x6 or 6x6, row-major, order xx yy zz yz zx xy).
    label
        Name in figures and tables.
    sum_of
        Properties that add up to this one; a network that predicts the first predicts the sum from its parts.
    insulators_only
        Whether the quantity diverges or does not exist in a metal.
    baseline
        What a prediction that knows only averages gives: the "isotropic" part of the mean, the "mean" of all
        components, or "zero" (a tensor that inversion reverses: its sign is a convention of the axes).

    Examples
    --------
    >>> prop = PROPERTIES["piezo_total"]
    >>> prop.shape, prop.stored_shape, prop.parity
    ((3, 3, 3), (3, 6), -1)
    """

    name: str
    per: Literal["atom", "crystal"]
    formula: str
    unit: str
    meaning: str
    minimum: float | None
    storage: Literal["cartesian", "voigt"]
    label: str
    sum_of: tuple[str, ...] = ()
    insulators_only: bool = True
    baseline: Literal["isotropic", "mean", "zero"] = "isotropic"

    @property
    def rank(self) -> int:
        """Number of Cartesian indices."""
        return len(self.formula.split("=")[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one Cartesian tensor, e.g. (3, 3)."""
        return (3,) * self.rank

    @property
    def parity(self) -> int:
        """+1 or -1: what inversion multiplies the tensor by."""
        return -1 if self.rank % 2 else 1

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of one tensor in files: that of the Cartesian tensor, or (3, 6) and (6, 6) in Voigt notation."""
        if self.storage == "cartesian":
            return self.shape
        # The indices pair up from the right; an odd one in front stays Cartesian.
        return (3,) * (self.rank % 2) + (6,) * (self.rank // 2)

    def to_storage(self, tensor: ArrayT) -> ArrayT:
        """Cartesian tensors (..., 3, ..., 3) as they are stored: (..., *stored_shape), row-major.

        Examples
        --------
        >>> import numpy as np
        >>> PROPERTIES["elastic"].to_storage(np.ones((2, 3, 3, 3, 3))).shape
        (2, 6, 6)
        """
        if self.storage == "cartesian":
            return tensor
        from voigt.tensors.voigt import elastic_to_voigt, piezo_to_voigt

        return piezo_to_voigt(tensor) if self.rank == 3 else elastic_to_voigt(tensor)

    def from_storage(self, array: ArrayT) -> ArrayT:
        """Cartesian tensors (..., 3, ..., 3) from what files hold, (..., *stored_shape); inverse of `to_storage`.

        Examples
        --------
        >>> import numpy as np
        >>> PROPERTIES["piezo_total"].from_storage(np.ones((3, 6))).shape
        (3, 3, 3)
        """
        if self.storage == "cartesian":
            return array
        from voigt.tensors.voigt import elastic_from_voigt, piezo_from_voigt

        return piezo_from_voigt(array) if self.rank == 3 else elastic_from_voigt(array)


_DECLARATIONS = (
    Property("born_charges", "atom", "ij", "e", "Z[atom, field, displacement] = (V/e) dP_field/du_displacement",
             None, "cartesian", "Born effective charges"),
    Property("eps_inf", "crystal", "ij=ji", "1", "relative permittivity with clamped ions", 1.0, "cartesian",
             "high-frequency dielectric tensor"),
    Property("eps_ionic", "crystal", "ij=ji", "1", "lattice contribution to the static permittivity", 0.0, "cartesian",
             "ionic dielectric tensor"),
    Property("eps_total", "crystal", "ij=ji", "1", "static relative permittivity, eps_inf + eps_ionic", 1.0,
             "cartesian", "static dielectric tensor", ("eps_inf", "eps_ionic")),
    Property("piezo_total", "crystal", "ijk=ikj", "C/m^2", "e[polarization, strain, strain], relaxed ions", None,
             "voigt", "piezoelectric tensor", baseline="zero"),
    Property("piezo_clamped", "crystal", "ijk=ikj", "C/m^2", "e[polarization, strain, strain], clamped ions", None,
             "voigt", "clamped-ion piezoelectric tensor", baseline="zero"),
    Property("elastic", "crystal", "ijkl=jikl=klij", "GPa", "C[stress, stress, strain, strain]", 0.0, "voigt",
             "elastic tensor", insulators_only=False, baseline="mean"),
    Property("band_gap", "crystal", "", "eV", "fundamental gap", 0.0, "cartesian", "band gap",
             insulators_only=False, baseline="mean"),
    Property("formation_energy", "crystal", "", "eV/atom", "formation energy from the elements", None, "cartesian",
             "formation energy", insulators_only=False, baseline="mean"),
)

PROPERTIES: Mapping[str, Property] = MappingProxyType({entry.name: entry for entry in _DECLARATIONS})
"""Every property by its name."""


def insulators_only(names: Iterable[str]) -> tuple[str, ...]:
    """Those of some properties that are defined for insulators only.

    Examples
    --------
    >>> insulators_only(["elastic", "eps_inf"])
    ('eps_inf',)
    """
    return tuple(name for name in names if name in PROPERTIES and PROPERTIES[name].insulators_only)


def get_property(name: str) -> Property:
    """Look a property up by name.

    Raises
    ------
    TargetError
        No property has this name; the message lists those that exist.

    Examples
    --------
    >>> get_property("eps_inf").label
    'high-frequency dielectric tensor'
    """
    if name not in PROPERTIES:
        raise TargetError(f"unknown property '{name}'; choose from {', '.join(PROPERTIES)}")
    return PROPERTIES[name]

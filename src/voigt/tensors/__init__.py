"""Property declarations, irreps, Voigt and Mandel notation, projection onto crystal symmetry, sum rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voigt.lazy import lazy_names
from voigt.tensors.properties import PROPERTIES, Property, get_property

if TYPE_CHECKING:
    from voigt.tensors.irreps import cartesian_basis, to_cartesian, to_irreps
    from voigt.tensors.pattern import Pattern, find_pattern
    from voigt.tensors.projection import independent_components, project_atoms, project_crystal, residual, rotate
    from voigt.tensors.sum_rule import acoustic_sum_rule, charge_drift
    from voigt.tensors.voigt import (
        elastic_from_mandel,
        elastic_from_voigt,
        elastic_to_mandel,
        elastic_to_voigt,
        piezo_from_voigt,
        piezo_to_voigt,
        symmetric_from_voigt,
        symmetric_to_voigt,
    )

__all__ = [
    "PROPERTIES",
    "Pattern",
    "Property",
    "acoustic_sum_rule",
    "cartesian_basis",
    "charge_drift",
    "elastic_from_mandel",
    "elastic_from_voigt",
    "elastic_to_mandel",
    "elastic_to_voigt",
    "find_pattern",
    "get_property",
    "independent_components",
    "piezo_from_voigt",
    "piezo_to_voigt",
    "project_atoms",
    "project_crystal",
    "residual",
    "rotate",
    "symmetric_from_voigt",
    "symmetric_to_voigt",
    "to_cartesian",
    "to_irreps",
]

# Declarations are needed where torch, which takes a second to import, is not.
_HOMES = {
    "irreps": ("cartesian_basis", "to_cartesian", "to_irreps"),
    "pattern": ("Pattern", "find_pattern"),
    "projection": ("independent_components", "project_atoms", "project_crystal", "residual", "rotate"),
    "sum_rule": ("acoustic_sum_rule", "charge_drift"),
    "voigt": (
        *("elastic_from_mandel", "elastic_from_voigt", "elastic_to_mandel", "elastic_to_voigt"),
        *("piezo_from_voigt", "piezo_to_voigt", "symmetric_from_voigt", "symmetric_to_voigt"),
    ),
}
__getattr__ = lazy_names(__name__, {name: home for home, names in _HOMES.items() for name in names})

"""Intervals of predictions: how wide a property's 90 % interval is, from what is known when a crystal is predicted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from voigt.safe_json import load_json
from voigt.tensors.properties import PROPERTIES
from voigt.text import MOST_LETTERS, one_line

COVERAGE = 0.9
"""Share of crystals whose error lies within the half-width."""
MOST_FUNCTIONALS = 100
LARGEST_EXPONENT = 100.0
"""Logarithm of the largest half-width, in the unit of its property."""

System: TypeAlias = Literal["cubic", "hexagonal", "trigonal", "tetragonal", "orthorhombic", "monoclinic", "triclinic"]
_Number: TypeAlias = Annotated[float, Field(ge=-1e3, le=1e3, allow_inf_nan=False)]
_Floor: TypeAlias = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
_Limit: TypeAlias = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


@dataclass(frozen=True)
class IntervalRule:
    """How the half-width r of one property's interval follows from spread S and norm V of the prediction:

        log(r + error_floor) = level + spread log(S + spread_floor) + norm log(V + norm_floor) + systems[crystal system]
                               + functionals[functional],

    an offset being 0 for what is not listed; S and V are held between their limits, beyond which nothing is known, and
    r is at least error_floor. r bounds the Frobenius norm of the error of the delivered tensor (for a scalar its size,
    for a property per atom that of each atom) for 90 % of the crystals that are drawn like those of the validation
    split. Fitted in `voigt.prediction.calibration`, see there for the sources.

    Attributes
    ----------
    level, spread, norm
        Constant and exponents.
    systems, functionals
        Offsets by crystal system, and by the functional that is predicted.
    error_floor, spread_floor, norm_floor
        In the property's unit: smaller ones count as about this much.
    spread_limits, norm_limits
        Smallest and largest S and V of the validation crystals.
    crystals
        Validation crystals that it was fitted to.
    """

    level: _Number
    spread: _Number
    norm: _Number
    systems: Mapping[System, _Number]
    functionals: Annotated[Mapping[str, _Number], Field(max_length=MOST_FUNCTIONALS)]
    error_floor: _Floor
    spread_floor: _Floor
    norm_floor: _Floor
    spread_limits: tuple[_Limit, _Limit]
    norm_limits: tuple[_Limit, _Limit]
    crystals: Annotated[int, Field(ge=1)]


_RULES = TypeAdapter(dict[str, IntervalRule])


def half_width(
    rule: IntervalRule,
    norm: NDArray[np.float64],
    spread: NDArray[np.float64] | None,
    system: str,
    functional: str | None,
) -> NDArray[np.float64] | None:
    """Half-widths, in the unit of the property and the shape of `norm`; None if the rule needs a spread and has none.

    Parameters
    ----------
    rule
        Of the property.
    norm, spread
        Frobenius norms of the prediction and of its standard deviation over the ensemble: () or (n_atoms,).
    system
        Crystal system, "cubic" ... "triclinic".
    functional
        The functional that is predicted, None if the model states none.

    Examples
    --------
    >>> rule = IntervalRule(0.0, 1.0, 0.0, {"cubic": 0.7}, {}, 1e-3, 1e-3, 1e-3, (0.0, 2.0), (1.0, 50.0), 100)
    >>> half_width(rule, np.array(6.0), np.array(0.5), "trigonal", None).round(3)
    np.float64(0.5)
    """
    if rule.spread != 0.0 and spread is None:
        return None
    offsets: dict[str, float] = {str(name): value for name, value in rule.systems.items()}
    logarithm = rule.level + rule.norm * np.log(np.clip(norm, *rule.norm_limits) + rule.norm_floor)
    logarithm = logarithm + offsets.get(system, 0.0)
    logarithm = logarithm + (0.0 if functional is None else rule.functionals.get(functional, 0.0))
    if spread is not None:
        logarithm = logarithm + rule.spread * np.log(np.clip(spread, *rule.spread_limits) + rule.spread_floor)
    return np.maximum(np.exp(np.minimum(logarithm, LARGEST_EXPONENT)) - rule.error_floor, rule.error_floor)


def intervals_json(rules: Mapping[str, IntervalRule]) -> str:
    """Rules of a model's properties as JSON, for the metadata of its file."""
    return json.dumps({name: asdict(rule) for name, rule in rules.items()})


def parse_intervals(text: str) -> dict[str, IntervalRule]:
    """Rules from the metadata of a model file.

    Raises
    ------
    ValueError
        It is no JSON, lacks a key, holds a number that is not finite or far too large, an unknown property or crystal
        system, or more functionals than there are. (Pydantic's ValidationError is one.)
    """
    content: Any = load_json(text)
    if not isinstance(content, dict) or len(content) > len(PROPERTIES):
        raise ValueError("the intervals are no properties and rules")
    rules = _RULES.validate_python(content)
    for name, rule in rules.items():
        if name not in PROPERTIES:
            raise ValueError("there are intervals of an unknown property")
        if any(one_line(label) != label or len(label) > MOST_LETTERS for label in rule.functionals):
            raise ValueError("the name of a functional is no text of one line")
    return rules

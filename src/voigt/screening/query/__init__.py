"""Questions to a store: scalars, conditions and formulas, selections, Pareto fronts, spread of a formula."""

from __future__ import annotations

from voigt.screening.query.criteria import Criteria, read_criteria
from voigt.screening.query.derived import DERIVED, columns_of, known_names, names_table
from voigt.screening.query.expressions import Expression, evaluate, parse, unknown
from voigt.screening.query.pareto import pareto_front
from voigt.screening.query.selection import Selection, read_crystals, select, write_selection
from voigt.screening.query.uncertainty import Deviations, deviations

__all__ = [
    "DERIVED",
    "Criteria",
    "Deviations",
    "Expression",
    "Selection",
    "columns_of",
    "deviations",
    "evaluate",
    "known_names",
    "names_table",
    "pareto_front",
    "parse",
    "read_criteria",
    "read_crystals",
    "select",
    "unknown",
    "write_selection",
]

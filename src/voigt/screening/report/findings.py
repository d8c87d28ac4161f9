"""Crystals that a report names, with what there is to say for and against each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.screening.query.derived import DERIVED, half_widths, suggestion
from voigt.screening.query.expressions import parse
from voigt.screening.query.pareto import pareto_front
from voigt.screening.query.selection import Selection
from voigt.screening.query.uncertainty import Deviations, deviations
from voigt.screening.report.survey import Survey

SPREAD_LARGE = 0.25
"""Spread of an ensemble over the norm of the tensor, beyond which its members disagree about the crystal."""

RESIDUAL_LARGE = 0.05
"""Share of a raw tensor that breaks the crystal's symmetry, beyond which the network has not understood it."""

FLAGS: Mapping[str, str] = {
    "U": "an element that a model has not seen in training",
    "M": "probably a metal, for which permittivities and charges are not defined",
    "S": f"members of an ensemble disagree by more than {100 * SPREAD_LARGE:g} % of the tensor",
    "R": f"more than {100 * RESIDUAL_LARGE:g} % of the raw tensor break the crystal's symmetry",
}


@dataclass(frozen=True)
class Material:
    """One crystal of a table."""

    place: int  # from 1
    # id, formula, spacegroup: of the crystal
    id: str
    formula: str
    spacegroup: int
    # Name -> value, standard deviation among the members of ensembles (NaN: unknown, 0: exact)
    values: Mapping[str, tuple[float, float]]
    intervals: Mapping[str, float]  # name -> half-width of the 90 % interval, NaN: unknown
    rank: tuple[float, float] | None  # what it is ordered by and its standard deviation; None without a ranking
    flags: str  # keys of `FLAGS`, in their order


@dataclass(frozen=True)
class Front:
    """The Pareto front of a screening."""

    # names, maximize: the two objectives, and whether more is better
    names: tuple[str, str]
    maximize: tuple[bool, bool]
    mask: NDArray[np.bool_]  # (n,) crystals of the survey on it
    materials: tuple[Material, ...]  # the same, best in the first objective first
    candidates: int  # crystals that satisfy the condition and have both values


def flags_of(survey: Survey, properties: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Flag -> (n,) crystals that have it; spread and residual of the given properties alone."""
    none = np.zeros(len(survey), dtype=bool)
    spread, residual = none.copy(), none.copy()
    for name in properties:
        # NaN (one network, a scalar) is not beyond anything.
        spread |= survey.disagreement.get(name, none) > SPREAD_LARGE
        residual |= survey.residual.get(name, none) > RESIDUAL_LARGE
    return {"U": survey.unseen, "M": survey.metal, "S": spread, "R": residual}


def ranked(survey: Survey, selection: Selection, names: Sequence[str], spread: Deviations) -> tuple[Material, ...]:
    """The crystals of a selection with the scalars `names`, in its order; `spread` is that of these."""
    ranks = None
    if selection.rank is not None and selection.rank_spread is not None:
        ranks = list(zip(selection.rank.tolist(), selection.rank_spread.tolist(), strict=True))
    return _materials(survey, survey.rows_of(selection.ids), names, spread, ranks)


def front_of(survey: Survey, objectives: tuple[str, str], names: Sequence[str], parts: Sequence[Path]) -> Front:
    """The Pareto front of the crystals that match.

    `survey`: with the scalars of both objectives. `objectives`: names, a minus before those of which less is better.
    `names`: scalars of its table. `parts`: of the store, in which the members of ensembles are looked up.
    """
    (first, more), (second, also) = (_direction(text) for text in objectives)
    points = np.stack([survey.scalars[first], survey.scalars[second]], axis=1)
    candidates = np.flatnonzero(survey.matched & ~np.isnan(points).any(axis=1))
    mask = np.zeros(len(survey), dtype=bool)
    mask[candidates] = pareto_front(points[candidates], (more, also))
    rows = np.flatnonzero(mask)
    keys = points[rows] * np.where((more, also), -1, 1)
    rows = rows[np.lexsort((survey.ids[rows].astype(str), keys[:, 1], keys[:, 0]))]
    spread = deviations(parts, survey.ids[rows].tolist(), [parse(name) for name in names])
    return Front((first, second), (more, also), mask, _materials(survey, rows, names, spread, None), len(candidates))


def check_objectives(objectives: tuple[str, str]) -> None:
    """Raise InputError unless both are different known names, a minus allowed before each."""
    names = [_direction(text)[0] for text in objectives]
    for name in names:
        if name not in DERIVED:
            raise InputError(f"unknown objective '{name}' of the Pareto front; {suggestion(name)}")
    if names[0] == names[1]:
        raise InputError(f"a Pareto front needs two different objectives, not {names[0]} twice; name another")


def _direction(text: str) -> tuple[str, bool]:
    return text.removeprefix("-").strip(), not text.startswith("-")


def _materials(
    survey: Survey,
    rows: NDArray[np.int64],
    names: Sequence[str],
    spread: Deviations,
    ranks: Sequence[tuple[float, float]] | None,
) -> tuple[Material, ...]:
    properties = {prop for name in names for prop in DERIVED[name].properties}
    flags = flags_of(survey, sorted(properties))
    nothing = np.full(len(survey), np.nan)
    known = {name: values for name, values in survey.scalars.items() if name.endswith("_interval")}
    widths = {name: nothing if (found := half_widths(name, known)) is None else found for name in names}
    return tuple(
        Material(
            place=k + 1,
            id=survey.ids[row],
            formula=survey.formulas[row],
            spacegroup=int(survey.spacegroups[row]),
            values={
                name: (float(survey.scalars[name][row]), error)
                for name, error in zip(names, spread.values[k].tolist(), strict=True)
            },
            intervals={name: float(values[row]) for name, values in widths.items()},
            rank=None if ranks is None else ranks[k],
            flags="".join(flag for flag, mask in flags.items() if mask[row]),
        )
        for k, row in enumerate(rows)
    )

"""One calculation out of several files of the same run: tensors from one, functional and mesh from another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import ase
import numpy as np

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.calculations.codes.parsing import unreadable
from voigt.notes import Failure

_SAME_PLACE = 2e-3
"""Angstrom: positions that codes round to five digits of a lattice parameter."""
_SAME_VALUE = 0.01
"""Of the largest component: tensors of one run in two files differ by rounding and by the sum rule only."""


def combined(outcomes: Iterable[Outcome], files: Sequence[RunFile], missing: str) -> Iterator[Outcome]:
    """Calculations of one crystal put together, of what both have that of earlier ones; failures as they are.

    Two calculations are of one run if crystal, functional, mesh and cutoff agree as far as they are known, and all
    tensors that both have. One without tensors only lends its provenance. If no file has any, one failure says so.

    Parameters
    ----------
    outcomes
        What was read of the files, the most exact first.
    files
        All files that were looked into.
    missing
        What is missing and what to do, for a folder without tensors.
    """
    groups: list[Calculation] = []
    failures: list[Failure] = []
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            failures.append(outcome)
            continue
        place = next((index for index, group in enumerate(groups) if _is_one_run(group, outcome)), None)
        if place is None:
            groups.append(outcome)
        else:
            groups[place] = _together(groups[place], outcome)
    labeled = [group for group in groups if group.targets]
    yield from labeled
    yield from failures
    if not labeled and not failures and files:
        yield unreadable(files[0], missing)


def _is_one_run(first: Calculation, second: Calculation) -> bool:
    ours, theirs = first.provenance, second.provenance
    pairs = ((ours.functional, theirs.functional), (ours.kpoints, theirs.kpoints))
    if any(one and other and one != other for one, other in pairs):
        return False
    if ours.cutoff and theirs.cutoff and abs(ours.cutoff - theirs.cutoff) > 0.01 * ours.cutoff:
        return False
    if not _is_one_crystal(first.atoms, second.atoms):
        return False
    return all(
        np.abs(first.targets[name] - second.targets[name]).max()
        <= _SAME_VALUE * (1 + np.abs(second.targets[name]).max())
        for name in first.targets.keys() & second.targets.keys()
    )


def _is_one_crystal(first: ase.Atoms, second: ase.Atoms) -> bool:
    if len(first) != len(second) or (first.numbers != second.numbers).any():
        return False
    if not np.allclose(first.cell.array, second.cell.array, atol=_SAME_PLACE, rtol=1e-4):
        return False
    steps = (first.positions - second.positions) @ np.linalg.inv(first.cell.array)
    return bool(np.abs((steps - np.round(steps)) @ first.cell.array).max() < _SAME_PLACE)


def _together(first: Calculation, second: Calculation) -> Calculation:
    """The crystal of the first; tensors and settings of the first, and of the second what the first lacks."""
    added = {name: value for name, value in second.targets.items() if name not in first.targets}
    ours, theirs = first.provenance, second.provenance
    kept = tuple(text for text in theirs.conversions if text.split(":")[0] in added)
    provenance = Provenance(
        files=tuple(dict.fromkeys(ours.files + theirs.files)),
        code=ours.code,
        version=ours.version or theirs.version,
        functional=ours.functional or theirs.functional,
        hubbard_u=ours.hubbard_u or theirs.hubbard_u,
        spin=ours.spin or theirs.spin,
        kpoints=ours.kpoints or theirs.kpoints,
        cutoff=ours.cutoff or theirs.cutoff,
        conversions=ours.conversions + kept,
    )
    problems = tuple(dict.fromkeys(first.problems + second.problems))
    return replace(first, targets={**first.targets, **added}, provenance=provenance, problems=problems)

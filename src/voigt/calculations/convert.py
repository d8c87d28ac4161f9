"""From files of calculations to labeled frames: found, read, held against what a crystal tells, named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from voigt.calculations.calculation import Calculation, Outcome
from voigt.calculations.conventions import doubts, symmetric_part
from voigt.calculations.discovery import Run, discover
from voigt.calculations.frames import Frame
from voigt.errors import InputError
from voigt.notes import Failure
from voigt.structures.checks import problems as faults_of
from voigt.structures.readers.failures import explain
from voigt.tensors.properties import PROPERTIES
from voigt.text import one_line, plain_id, printable

UNEVEN = 0.01
"""Part of a symmetric tensor that may be antisymmetric; more is told."""


def convert(sources: Sequence[str | Path], advance: Callable[[], None] | None = None) -> Iterator[Frame | Failure]:
    """Labeled frames of all calculations in files, folders and archives; what cannot be used is a failure in its place.

    Parameters
    ----------
    sources
        Files, folders and archives, see `voigt.calculations.discovery.discover`.
    advance
        Called after each run.

    Yields
    ------
    Frame or Failure
        Frames have different ids: those that files give, else the path of the folder from the source on, with a number
        where there are several. `problems` of a calculation name what speaks against its labels; nothing is mended in
        silence.

    Raises
    ------
    InputError
        A source does not exist (all of them are named).

    Examples
    --------
    >>> for frame in convert(["runs"]):  # doctest: +SKIP
    ...     print(frame.id, list(frame.calculation.targets))
    """
    return _frames(discover(sources), advance)


def _frames(runs: Iterator[Run | Failure], advance: Callable[[], None] | None) -> Iterator[Frame | Failure]:
    taken: dict[str, int] = {}
    for run in runs:
        if isinstance(run, Failure):
            yield replace(run, source=one_line(run.source), problem=printable(run.problem))
            continue
        outcomes = [_sound(one) if isinstance(one, Calculation) else one for one in _outcomes(run)]
        several = sum(isinstance(outcome, Calculation) for outcome in outcomes) > 1
        number = 0
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                name = plain_id(outcome.id or run.identity)
                yield replace(outcome, source=one_line(outcome.source), id=name, problem=printable(outcome.problem))
                continue
            default = f"{run.identity}:{number}" if several else run.identity
            number += 1
            yield Frame(_free(plain_id(str(outcome.atoms.info.get("id") or default)), taken), outcome)
        if advance is not None:
            advance()


def _outcomes(run: Run) -> Iterator[Outcome]:
    try:
        with np.errstate(all="ignore"):  # NaN and infinity are for the checks that follow
            yield from run.code.read(run.files)
    except Exception as error:  # readers of strangers' files raise anything
        yield Failure(run.files[0].path, 0, "", "unreadable", explain(error, f"an output of {run.code.name}"))


def _free(identity: str, taken: dict[str, int]) -> str:
    """An id that is not taken, with a number behind it if it was."""
    taken[identity] = taken.get(identity, 0) + 1
    if taken[identity] == 1:
        return identity
    return _free(f"{identity}-{taken[identity]}", taken)


def _sound(calculation: Calculation) -> Outcome:
    """The calculation with symmetric tensors, sums and doubts; a failure if it is no crystal or no label is left."""
    source = calculation.provenance.files[0] if calculation.provenance.files else ""
    identity = str(calculation.atoms.info.get("id", ""))
    try:
        with np.errstate(all="ignore"):
            if faults := faults_of(calculation.atoms):
                raise InputError(". ".join(faults))
            return _checked(calculation)
    except Exception as error:  # broken structures fail in many ways; one must not stop the others
        return Failure(source, 0, identity, "unreadable", explain(error, "a labeled crystal"))


def _checked(calculation: Calculation) -> Calculation:
    problems, conversions = list(calculation.problems), list(calculation.provenance.conversions)
    targets = {}
    for name, raw in calculation.targets.items():
        prop, tensor = PROPERTIES[name], np.asarray(raw, dtype=np.float64)
        expected = (len(calculation.atoms), *prop.shape) if prop.per == "atom" else prop.shape
        if tensor.shape != expected or not np.isfinite(tensor).all():
            problems.append(f"{name} has not the shape {expected} or is not finite, and is left out; look at the file")
            continue
        even = symmetric_part(prop, tensor)
        uneven = float(np.linalg.norm(tensor - even)) / max(float(np.linalg.norm(tensor)), 1e-12)
        if uneven > UNEVEN:
            problems.append(
                f"{name} is not symmetric in its indices by {uneven:.0%}: its symmetric part is kept; check the run"
            )
        elif uneven > 0:
            conversions.append(f"{name}: symmetric part, {uneven:.1e} of it dropped")
        targets[name] = even
    if not targets:
        raise InputError(f"holds no label that can be used: {'; '.join(problems)}")
    electrons, ions = targets.get("eps_inf"), targets.get("eps_ionic")
    if electrons is not None and ions is not None and "eps_total" not in targets:
        targets["eps_total"] = electrons + ions
        conversions.append("eps_total: eps_inf and eps_ionic added")
    problems.extend(doubts(calculation.atoms, targets))
    provenance = replace(calculation.provenance, conversions=tuple(conversions))
    return replace(calculation, targets=targets, provenance=provenance, problems=tuple(dict.fromkeys(problems)))

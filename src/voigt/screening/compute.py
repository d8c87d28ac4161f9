"""The work on a few crystals at a time, the same in every process and on every engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch

from voigt.notes import Failure
from voigt.prediction.clock import Clock
from voigt.prediction.domain import with_doubts
from voigt.prediction.pipeline import Crystal
from voigt.prediction.plan import Plan, Share
from voigt.prediction.result import Prediction
from voigt.prediction.stream import finish_share, joined, prepare_share, share_out
from voigt.screening.job import Job, Stages, stages_of
from voigt.screening.query.derived import columns_of
from voigt.screening.query.expressions import Expression, evaluate
from voigt.screening.store.rows import Outcome, failures_table, peak_mib, results_table
from voigt.structures import Input, InputStructure

CRYSTALS = 128  # most crystals of one piece of work, which becomes one part of the store
ATOMS = 6_000  # most atoms of one piece of work, but a larger crystal is a piece of its own
CRYSTAL_ERRORS = (ArithmeticError, LookupError, MemoryError, TypeError, ValueError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]
"""What one unusual crystal may raise in a library; any other error, say of a device, would concern all of them."""


def pieces(structures: Iterable[Input]) -> Iterator[list[Input]]:
    """Cut a stream of structures into pieces of work, in order."""
    piece: list[Input] = []
    atoms = 0
    for entry in structures:
        size = 0 if isinstance(entry, Failure) else len(entry.atoms)
        if piece and (len(piece) == CRYSTALS or atoms + size > ATOMS):
            yield piece
            piece, atoms = [], 0
        piece.append(entry)
        atoms += size
    if piece:
        yield piece


def compute(structures: Sequence[Input], job: Job) -> Outcome:
    """Predict what a job asks for; several models share symmetry and graph, and a prefilter saves the second stage.

    Among very many crystals some raise an error in a library: the piece is halved until the crystal is alone. It is a
    failure, the others are computed.

    Raises VoigtError: the job cannot be done for any structure, see `stages_of`.
    """
    stages = stages_of(job)
    try:
        return _compute(structures, stages)
    except CRYSTAL_ERRORS as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if len(structures) > 1:
        half = len(structures) // 2
        return _together([compute(structures[:half], job), compute(structures[half:], job)])
    (entry,) = structures
    problem = f"unexpected {reason}; compute it alone with voigt predict --debug and report it"
    return replace(crashed(entry, problem, job), peak_mib=peak_mib())


def crashed(entry: Input, problem: str, job: Job) -> Outcome:
    """Outcome for a crystal that only fails."""
    failure = Failure(entry.source, entry.index, entry.id, "crashed", problem)
    return Outcome(results_table([], stages_of(job).plan), failures_table([(entry, failure)]))


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    kinds = dict.fromkeys(kind for entry in outcomes for kind in entry.seconds)
    return Outcome(
        pa.concat_tables([entry.results for entry in outcomes]),
        pa.concat_tables([entry.failures for entry in outcomes]),
        {kind: sum(entry.seconds.get(kind, 0.0) for entry in outcomes) for kind in kinds},
        max(entry.peak_mib for entry in outcomes),
    )


def _compute(structures: Sequence[Input], stages: Stages) -> Outcome:
    clock = Clock(dict.fromkeys(("graphs", "networks", "rows"), 0.0))
    crystals = share_out(structures, stages.plan)
    first = _predict(structures, crystals, stages.first, clock)
    plan = Plan(stages.plan.properties, stages.first)
    answers = [joined(results, plan) for results in first]
    passed: Sequence[bool | None] = [None] * len(structures)
    if stages.prefilter is not None:
        passed = _passed(structures, answers, stages.prefilter, stages.plan)
        chosen = [k for k, good in enumerate(passed) if good]
        second = _predict([structures[k] for k in chosen], [crystals[k] for k in chosen], stages.second, clock)
        for k, results in zip(chosen, second, strict=True):
            early, late = iter(first[k]), iter(results)
            both = [next(early if share in stages.first else late) for share in stages.plan.shares]
            answers[k] = joined(both, stages.plan)
    with clock.measure("networks"):
        answers = with_doubts(structures, crystals, answers, stages.plan)
    with clock.measure("rows"):
        good, bad = [], []
        for entry, answer, mark in zip(structures, answers, passed, strict=True):
            if isinstance(answer, Failure):
                bad.append((entry, answer))
            elif isinstance(entry, InputStructure):
                good.append((entry, answer, mark))
        results, failures = results_table(good, stages.plan), failures_table(bad)
    return Outcome(results, failures, clock.seconds, peak_mib())


def _predict(
    structures: Sequence[Input], crystals: Sequence[Crystal | None], shares: Sequence[Share], clock: Clock
) -> list[tuple[Prediction | Failure, ...]]:
    """Results of every share, structure by structure."""
    by_share = []
    for share in shares:
        with clock.measure("graphs"):
            prepared = prepare_share(structures, crystals, share)
        with clock.measure("networks"):
            by_share.append(finish_share(prepared, share))
    return list(zip(*by_share, strict=True)) if by_share else [() for _ in structures]


def _passed(
    structures: Sequence[Input], answers: Sequence[Prediction | Failure], prefilter: Expression, plan: Plan
) -> list[bool]:
    """Where the prefilter is true; false where what it needs is not known."""
    known, rows = [], []
    for k, (entry, answer) in enumerate(zip(structures, answers, strict=True)):
        if isinstance(answer, Prediction) and isinstance(entry, InputStructure):
            known.append(k)
            rows.append((entry, answer, None))
    table = results_table(rows, plan)
    truth = np.broadcast_to(evaluate(prefilter, columns_of(table, sorted(prefilter.names))), len(known))
    passed = {k for k, value in zip(known, truth, strict=True) if value}
    return [k in passed for k in range(len(structures))]

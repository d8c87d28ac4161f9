"""The work on a few crystals at a time, the same in every process and on every engine."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import torch

from voigt.prediction.pipeline import Crystal
from voigt.prediction.plan import Plan, Share
from voigt.prediction.result import Prediction
from voigt.prediction.stream import Failure, finish_share, joined, prepare_share, share_out
from voigt.screening.job import Job, Stages, stages_of
from voigt.screening.query.derived import columns_of
from voigt.screening.query.expressions import Expression, evaluate
from voigt.screening.store.rows import failures_table, results_table
from voigt.structures.reading import Frame

CRYSTALS = 128
"""Most crystals of one piece of work, which becomes one part of the store."""
ATOMS = 6_000
"""Most atoms of one piece of work, but a larger crystal is a piece of its own."""
STUMBLES = (ArithmeticError, LookupError, MemoryError, TypeError, ValueError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]
"""What one odd crystal may raise in a library; any other error, say of a device, would befall all of them."""


@dataclass(frozen=True)
class Outcome:
    """What became of a few crystals.

    Attributes
    ----------
    results, failures
        Rows as in `voigt.screening.store.rows`; every frame is in one of the two.
    seconds
        Wall-clock time for "graphs" (symmetry, neighbours, frames), "networks" (with projection) and "rows".
    peak_mib
        Largest memory that the process which did this had so far.
    """

    results: pa.Table
    failures: pa.Table
    seconds: dict[str, float] = field(default_factory=dict)
    peak_mib: float = 0.0


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def pieces(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Cut a stream of frames into pieces of work, in order."""
    piece: list[Frame] = []
    atoms = 0
    for frame in frames:
        size = 0 if frame.atoms is None else len(frame.atoms)
        if piece and (len(piece) == CRYSTALS or atoms + size > ATOMS):
            yield piece
            piece, atoms = [], 0
        piece.append(frame)
        atoms += size
    if piece:
        yield piece


def compute(frames: Sequence[Frame], job: Job) -> Outcome:
    """Predict what a job asks for; several models share symmetry and graph, and a prefilter saves the second stage.

    Among very many crystals some make a library stumble: such a one is a failure, and the others go on.

    Raises
    ------
    VoigtError
        The job cannot be done for any frame, see `stages_of`.
    """
    stages = stages_of(job)
    try:
        return _compute(frames, stages)
    except STUMBLES as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if len(frames) > 1:
        half = len(frames) // 2
        return _together([compute(frames[:half], job), compute(frames[half:], job)])
    (frame,) = frames
    place = f"{frame.source}, frame {frame.index}: {frame.id}"
    failure = (frame, f"{place}: unexpected {reason}; compute it alone with voigt predict --debug and report it")
    return Outcome(results_table([], stages.plan), failures_table([failure]), peak_mib=peak_mib())


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    kinds = dict.fromkeys(kind for entry in outcomes for kind in entry.seconds)
    return Outcome(
        pa.concat_tables([entry.results for entry in outcomes]),
        pa.concat_tables([entry.failures for entry in outcomes]),
        {kind: sum(entry.seconds.get(kind, 0.0) for entry in outcomes) for kind in kinds},
        max(entry.peak_mib for entry in outcomes),
    )


def _compute(frames: Sequence[Frame], stages: Stages) -> Outcome:
    clock = _Clock()
    crystals = share_out(frames, stages.plan)
    first = _predict(frames, crystals, stages.first, clock)
    early = Plan(stages.plan.properties, stages.first)
    answers = [joined(frame, results, early) for frame, results in zip(frames, first, strict=True)]
    entries: list[tuple[Frame, Prediction | Failure, bool | None]]
    if stages.prefilter is None:
        entries = [(frame, answer, None) for frame, answer in zip(frames, answers, strict=True)]
    else:
        passed = _passed(frames, answers, stages.prefilter, stages.plan)
        chosen = [k for k, good in enumerate(passed) if good]
        second = _predict([frames[k] for k in chosen], [crystals[k] for k in chosen], stages.second, clock)
        for k, results in zip(chosen, second, strict=True):
            answers[k] = joined(frames[k], _ordered(stages, first[k], results), stages.plan)
        entries = list(zip(frames, answers, passed, strict=True))
    with clock.measure("rows"):
        good_rows = [(frame, answer, mark) for frame, answer, mark in entries if isinstance(answer, Prediction)]
        bad_rows = [(frame, answer.reason) for frame, answer, _ in entries if isinstance(answer, Failure)]
        results, failures = results_table(good_rows, stages.plan), failures_table(bad_rows)
    return Outcome(results, failures, clock.seconds, peak_mib())


def _predict(
    frames: Sequence[Frame], crystals: Sequence[Crystal | None], shares: Sequence[Share], clock: _Clock
) -> list[tuple[Prediction | str, ...]]:
    """Results of every share, frame by frame."""
    by_share = []
    for share in shares:
        with clock.measure("graphs"):
            prepared = prepare_share(frames, crystals, share)
        with clock.measure("networks"):
            by_share.append(finish_share(frames, prepared, share))
    return list(zip(*by_share, strict=True)) if by_share else [() for _ in frames]


def _passed(
    frames: Sequence[Frame], answers: Sequence[Prediction | Failure], prefilter: Expression, plan: Plan
) -> list[bool]:
    """Where the prefilter is true; false where what it needs is not known."""
    known = [k for k, answer in enumerate(answers) if isinstance(answer, Prediction)]
    rows = [(frames[k], answer, None) for k in known if isinstance(answer := answers[k], Prediction)]
    table = results_table(rows, plan)
    truth = np.broadcast_to(evaluate(prefilter, columns_of(table, sorted(prefilter.names))), len(known))
    passed = [False] * len(frames)
    for k, value in zip(known, truth, strict=True):
        passed[k] = bool(value)
    return passed


def _ordered(
    stages: Stages, first: Sequence[Prediction | str], second: Sequence[Prediction | str]
) -> list[Prediction | str]:
    """Results of both stages in the order of the plan's shares."""
    early, late = iter(first), iter(second)
    return [next(early) if share in stages.first else next(late) for share in stages.plan.shares]


@dataclass
class _Clock:
    """Seconds by kind of work."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("graphs", "networks", "rows"), 0.0))

    @contextmanager
    def measure(self, kind: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[kind] += time.perf_counter() - start

"""From a stream of structures to a stream of predictions, in order; one that fails never stops the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import ase

from voigt.models.checkpoint import LoadedModel
from voigt.notes import Failure, Note
from voigt.prediction.clock import Clock
from voigt.prediction.domain import with_doubts
from voigt.prediction.pipeline import Crystal, Prepared, predict_prepared, prepare
from voigt.prediction.plan import Plan, Share, choose_models
from voigt.prediction.result import Prediction, Settings, merge
from voigt.prediction.workers import FEWEST, in_order, processors
from voigt.structures import Input, InputStructure

CHUNK, DEVICE_CHUNK = 256, 2048
"""Structures of a chunk on a CPU, and on a device, whose batches are larger."""


def predict_structures(
    structures: Iterable[Input], model: str | Path | LoadedModel | None, settings: Settings, workers: int = 1
) -> Iterator[Prediction | Failure]:
    """Predict a stream of structures in order; one that fails is returned as a `Failure`, the rest go on.

    `structures` as `voigt.structures.read` gives them, `model` as for `voigt.predict`, `workers` as for
    `predict_planned`.

    Raises
    ------
    TargetError, DomainError, WeightsError
        The request cannot be met for any structure.

    Examples
    --------
    >>> from voigt.structures import read
    >>> results = list(predict_structures(read("examples/MgO.vasp"), "born", Settings()))
    >>> results[0].id, sorted(results[0].values)
    ('MgO', ['born_charges', 'eps_inf', 'eps_ionic', 'eps_total'])
    """
    return predict_planned(structures, choose_models(model, settings), workers=workers)


def predict_planned(
    structures: Iterable[Input], plan: Plan, clock: Clock | None = None, workers: int = 1
) -> Iterator[Prediction | Failure]:
    """Predict a stream of structures with models already chosen, see `voigt.prediction.choose_models`.

    Of several models, a crystal gets the properties of those that can predict it, and a note names the others and says
    why; it is a failure if none can. `clock` gathers the time of each stage.

    With more than one of `workers` (0: one for each processor) long streams are shared out among as many processes: on
    a CPU they predict, otherwise they find symmetry and neighbors for this process, which feeds the device.
    """
    stream, processes = iter(structures), processors(workers)
    if processes > 1 and clock is None:
        first = list(islice(stream, FEWEST))
        stream = chain(first, stream)
        if len(first) == FEWEST:
            yield from _by_processes(stream, plan, processes)
            return
    while chunk := list(islice(stream, _chunk(plan))):
        yield from _predict_chunk(chunk, share_out(chunk, plan), plan, clock)


def _chunk(plan: Plan) -> int:
    """Structures prepared before the network runs: large enough to fill batches, small enough to stream long files."""
    return CHUNK if plan.shares[0].model.device.type == "cpu" else DEVICE_CHUNK


def _predict_chunk(
    chunk: Sequence[Input], crystals: Sequence[Crystal | None], plan: Plan, clock: Clock | None = None
) -> list[Prediction | Failure]:
    # Several models share one search for the space group, which takes longer than a network, and one graph.
    by_model = [finish_share(prepare_share(chunk, crystals, share, clock), share, clock) for share in plan.shares]
    answers = [joined(results, plan) for results in zip(*by_model, strict=True)]
    return with_doubts(chunk, crystals, answers, plan, clock)


def _by_processes(structures: Iterable[Input], plan: Plan, processes: int) -> Iterator[Prediction | Failure]:
    if plan.shares[0].model.device.type == "cpu":
        for piece, answers in in_order(structures, partial(_predicted, plan), processes):
            if answers is None:
                yield from _predict_chunk(piece, share_out(piece, plan), plan)
            else:  # the structures themselves stay here
                yield from (_of_input(*pair) for pair in zip(answers, piece, strict=True))
        return
    chunk: list[Input] = []
    crystals: list[Crystal | None] = []
    for piece, prepared in in_order(structures, partial(_graphs_made, plan), processes):
        chunk += piece
        crystals += share_out(piece, plan) if prepared is None else prepared
        if len(chunk) >= _chunk(plan):
            yield from _predict_chunk(chunk, crystals, plan)
            chunk, crystals = [], []
    if chunk:
        yield from _predict_chunk(chunk, crystals, plan)


def _predicted(plan: Plan, piece: list[Input]) -> list[Prediction | Failure]:
    """Predictions without the structures that they are of."""
    answers = _predict_chunk(piece, share_out(piece, plan), plan)
    none = ase.Atoms()
    return [replace(answer, atoms=none) if isinstance(answer, Prediction) else answer for answer in answers]


def _of_input(answer: Prediction | Failure, entry: Input) -> Prediction | Failure:
    if isinstance(answer, Prediction) and isinstance(entry, InputStructure):
        return replace(answer, atoms=entry.atoms)
    return answer


def _graphs_made(plan: Plan, piece: list[Input]) -> list[Crystal | None]:
    """Symmetry and graphs of all models, kept with each crystal."""
    crystals = share_out(piece, plan)
    for share in (*plan.shares, *([] if plan.gap is None else [plan.gap])):
        prepare_share(piece, crystals, share)
    return crystals


def share_out(structures: Sequence[Input], plan: Plan) -> list[Crystal | None]:
    """What the models of a plan have in common of each crystal; None where there is none."""
    symprec = plan.shares[0].settings.symprec
    return [None if isinstance(entry, Failure) else Crystal(entry.atoms, symprec) for entry in structures]


def prepare_share(
    structures: Sequence[Input], crystals: Sequence[Crystal | None], share: Share, clock: Clock | None = None
) -> list[Prepared | Failure]:
    """Graphs for one model, or the failure."""
    return [
        entry if isinstance(entry, Failure) else prepare(share.model, entry, share.settings, crystal, clock)
        for entry, crystal in zip(structures, crystals, strict=True)
    ]


def finish_share(
    prepared: Sequence[Prepared | Failure], share: Share, clock: Clock | None = None
) -> list[Prediction | Failure]:
    """Predictions of one model from its graphs, or the failure."""
    graphs = [entry for entry in prepared if isinstance(entry, Prepared)]
    predictions = iter(predict_prepared(share.model, graphs, share.settings, clock))
    return [next(predictions) if isinstance(entry, Prepared) else entry for entry in prepared]


def joined(results: Sequence[Prediction | Failure], plan: Plan) -> Prediction | Failure:
    """One crystal's properties from the results of all models of a plan, in the order of its shares."""
    parts = [result for result in results if isinstance(result, Prediction)]
    failures = [result for result in results if isinstance(result, Failure)]
    if not parts:
        return _all_failed(failures)
    notes: list[Note] = []
    for share, result in zip(plan.shares, results, strict=True):
        notes += share.notes if isinstance(result, Prediction) else [result.note()]
    return merge(parts, plan.properties, notes)


def _all_failed(failures: Sequence[Failure]) -> Failure:
    """One failure of all models: every problem once, the elements of all."""
    problems = dict.fromkeys(failure.problem for failure in failures)
    properties = dict.fromkeys(name for failure in failures for name in failure.properties)
    elements = dict.fromkeys(symbol for failure in failures for symbol in failure.elements)
    remedies = dict.fromkeys(failure.remedy for failure in failures if failure.remedy)
    return replace(
        failures[0],
        problem="; ".join(problems),
        properties=tuple(properties),
        elements=tuple(elements),
        remedy="; ".join(remedies),
    )

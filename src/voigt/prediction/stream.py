"""From a stream of structures to a stream of predictions, in order; one that fails never stops the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from voigt.models.checkpoint import LoadedModel
from voigt.notes import Failure, Note
from voigt.prediction.clock import Clock
from voigt.prediction.domain import with_doubts
from voigt.prediction.pipeline import Crystal, Prepared, predict_prepared, prepare
from voigt.prediction.plan import Plan, Share, choose_models
from voigt.prediction.result import Prediction, Settings, merge
from voigt.structures import Input

CHUNK = 256
"""Structures prepared before the network runs: large enough to fill batches, small enough to stream long files."""


def predict_structures(
    structures: Iterable[Input], model: str | Path | LoadedModel | None, settings: Settings
) -> Iterator[Prediction | Failure]:
    """Predict a stream of structures in order; one that fails is returned as a `Failure`, the rest go on.

    `structures` as `voigt.structures.read` gives them, `model` as for `voigt.predict`.

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
    return predict_planned(structures, choose_models(model, settings))


def predict_planned(
    structures: Iterable[Input], plan: Plan, clock: Clock | None = None
) -> Iterator[Prediction | Failure]:
    """Predict a stream of structures with models already chosen, see `voigt.prediction.choose_models`.

    Of several models, a crystal gets the properties of those that can predict it, and a note names the others and says
    why; it is a failure if none can. `clock` gathers the time of each stage.
    """
    chunks = iter(structures)
    while chunk := list(islice(chunks, CHUNK)):
        # Several models share one search for the space group, which takes longer than a network, and one graph.
        crystals = share_out(chunk, plan)
        by_model = [finish_share(prepare_share(chunk, crystals, share, clock), share, clock) for share in plan.shares]
        answers = [joined(results, plan) for results in zip(*by_model, strict=True)]
        yield from with_doubts(chunk, crystals, answers, plan, clock)


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

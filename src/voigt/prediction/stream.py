"""From a stream of structures to a stream of predictions, in order; a structure that fails never stops the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from voigt.errors import VoigtError
from voigt.models.checkpoint import LoadedModel
from voigt.prediction.pipeline import Crystal, Prepared, predict_prepared, prepare
from voigt.prediction.plan import Plan, Share, choose_models
from voigt.prediction.result import Prediction, Settings, merge
from voigt.structures.reading import Frame

CHUNK = 256
"""Frames prepared before the network runs: large enough to fill batches, small enough to stream long files."""


@dataclass(frozen=True)
class Failure:
    """A frame that could not be predicted, with the reason."""

    frame: Frame
    reason: str


def predict_frames(
    frames: Iterable[Frame], model: str | Path | LoadedModel | None, settings: Settings
) -> Iterator[Prediction | Failure]:
    """Predict a stream of frames in order; a frame that fails is returned with its reason, the rest go on.

    `model` as for `predict`.

    Raises
    ------
    TargetError, DomainError, WeightsError
        The request cannot be met for any frame.
    """
    return predict_planned(frames, choose_models(model, settings))


def predict_planned(frames: Iterable[Frame], plan: Plan) -> Iterator[Prediction | Failure]:
    """Predict a stream of frames with models already chosen, see `voigt.prediction.plan.choose_models`.

    Of several models, a crystal gets the properties of those that can predict it, and a warning names the others and
    says why; it is a failure if none can.
    """
    chunks = iter(frames)
    while chunk := list(islice(chunks, CHUNK)):
        # Several models share one search for the space group, which takes longer than a network, and one graph.
        crystals = share_out(chunk, plan)
        by_model = [
            finish_share(chunk, prepare_share(chunk, crystals, share), share) for share in plan.shares
        ]
        for frame, *results in zip(chunk, *by_model, strict=True):
            yield joined(frame, results, plan)


def share_out(frames: Sequence[Frame], plan: Plan) -> list[Crystal | None]:
    """What the models of a plan have in common of each crystal; None for a frame without one."""
    symprec = plan.shares[0].settings.symprec
    return [None if frame.atoms is None else Crystal(frame.atoms, symprec) for frame in frames]


def prepare_share(
    frames: Sequence[Frame], crystals: Sequence[Crystal | None], share: Share
) -> list[Prepared | str]:
    """Graphs for one model, or the reason why there is none."""
    return [_prepare(frame, crystal, share) for frame, crystal in zip(frames, crystals, strict=True)]


def finish_share(frames: Sequence[Frame], prepared: Sequence[Prepared | str], share: Share) -> list[Prediction | str]:
    """Predictions of one model from its graphs, or the reason why there is none."""
    predictions = iter(
        predict_prepared(share.model, [entry for entry in prepared if isinstance(entry, Prepared)], share.settings)
    )
    results: list[Prediction | str] = []
    for frame, entry in zip(frames, prepared, strict=True):
        result = entry if isinstance(entry, str) else next(predictions)
        told = isinstance(result, Prediction) or isinstance(entry, str)
        results.append(result if told else f"{frame.source}, frame {frame.index}: {result}")
    return results


def _prepare(frame: Frame, crystal: Crystal | None, share: Share) -> Prepared | str:
    if frame.atoms is None:
        return frame.describe()
    try:
        return prepare(share.model, frame.atoms, frame.id, share.settings, crystal)
    except VoigtError as error:
        return f"{frame.source}, frame {frame.index}: {error}"


def joined(frame: Frame, results: Sequence[Prediction | str], plan: Plan) -> Prediction | Failure:
    """One crystal's properties from the results of all models of a plan, in the order of its shares."""
    parts = [result for result in results if isinstance(result, Prediction)]
    if not parts:
        return Failure(frame, "; ".join(dict.fromkeys(str(reason) for reason in results)))
    sentences: list[str] = []
    for share, result in zip(plan.shares, results, strict=True):
        sentences += share.warnings if isinstance(result, Prediction) else [_absent(frame, share, result)]
    return merge(parts, plan.properties, sentences)


def _absent(frame: Frame, share: Share, reason: str) -> str:
    names = ", ".join(share.settings.properties or ())
    return f"{names} not predicted: {reason.removeprefix(f'{frame.source}, frame {frame.index}: {frame.id}: ')}"

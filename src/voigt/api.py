"""What a notebook imports: `voigt.predict` and `voigt.load_model`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from voigt.errors import InputError, VoigtError
from voigt.models.checkpoint import LoadedModel, load_model
from voigt.prediction import Prediction, Prepared, Settings, merge, predict_prepared, prepare
from voigt.shipped import Plan, Share, choose_models
from voigt.structures.reading import Frame, read
from voigt.structures.symmetry import Symmetry, find_symmetry

__all__ = ["Failure", "Prediction", "Settings", "load_model", "predict", "predict_frames"]

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
    """Predict a stream of frames with models already chosen, see `voigt.shipped.choose_models`.

    Of several models, a crystal gets the properties of those that can predict it, and a warning names the others and
    says why; it is a failure if none can.
    """
    chunks = iter(frames)
    while chunk := list(islice(chunks, CHUNK)):
        # Several models share one search for the space group, which takes longer than a network.
        symmetries = [_symmetry(frame, plan) for frame in chunk] if len(plan.shares) > 1 else [None] * len(chunk)
        by_model = [_predict_share(chunk, symmetries, share) for share in plan.shares]
        for frame, *results in zip(chunk, *by_model, strict=True):
            yield _joined(frame, results, plan)


def _symmetry(frame: Frame, plan: Plan) -> Symmetry | None:
    """None also where there is none: `prepare` then says why."""
    try:
        return None if frame.atoms is None else find_symmetry(frame.atoms, plan.shares[0].settings.symprec)
    except VoigtError:
        return None


def _predict_share(
    frames: Sequence[Frame], symmetries: Sequence[Symmetry | None], share: Share
) -> list[Prediction | str]:
    """Predictions of one model, or the reason why there is none."""
    prepared = [_prepare(frame, symmetry, share) for frame, symmetry in zip(frames, symmetries, strict=True)]
    predictions = iter(
        predict_prepared(share.model, [entry for entry in prepared if isinstance(entry, Prepared)], share.settings)
    )
    return [entry if isinstance(entry, str) else next(predictions) for entry in prepared]


def _prepare(frame: Frame, symmetry: Symmetry | None, share: Share) -> Prepared | str:
    if frame.atoms is None:
        return frame.describe()
    try:
        return prepare(share.model, frame.atoms, frame.id, share.settings, symmetry)
    except VoigtError as error:
        return f"{frame.source}, frame {frame.index}: {error}"


def _joined(frame: Frame, results: Sequence[Prediction | str], plan: Plan) -> Prediction | Failure:
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


def predict(
    structures: Any,
    model: str | Path | LoadedModel | None = None,
    settings: Settings | None = None,
) -> list[Prediction]:
    """Predict the response tensors of crystals.

    Parameters
    ----------
    structures
        A path, an ase.Atoms, a pymatgen Structure, or an iterable of these.
    model
        Name of a shipped model, a model file, or a loaded model. None: the models that ship and give
        `settings.properties`, or the default model if none are asked for.
    settings
        Properties, functional, corrections; see `Settings`.

    Returns
    -------
    One `Prediction` per crystal, in order; Born charges are Z[atom, field, displacement] in e. Of several models, one
    that cannot predict a crystal leaves its properties out, and a warning says so.

    Raises
    ------
    InputError
        A structure cannot be used or lies outside the model's domain; all problems are listed. To get the good ones
        all the same, use `predict_frames`.
    TargetError, DomainError
        No such property; no model gives it, or the functional.
    WeightsError
        A model cannot be loaded.

    Examples
    --------
    >>> import voigt
    >>> voigt.predict("examples/MgO.vasp")[0].values["born_charges"].shape
    (2, 3, 3)
    """
    results = list(predict_frames(read(structures), model, settings or Settings()))
    failures = [entry.reason for entry in results if isinstance(entry, Failure)]
    if failures:
        raise InputError("; ".join(failures))
    return [entry for entry in results if isinstance(entry, Prediction)]

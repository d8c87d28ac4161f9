"""What a notebook imports: `voigt.predict` and `voigt.load_model`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voigt.errors import InputError, VoigtError
from voigt.models.checkpoint import DEFAULT_MODEL, LoadedModel, load_model
from voigt.prediction import Prediction, Prepared, Settings, predict_prepared, prepare
from voigt.structures.reading import Frame, read

__all__ = ["Failure", "Prediction", "Settings", "load_model", "predict", "predict_frames"]

CHUNK = 256
"""Frames prepared before the network runs: large enough to fill batches, small enough to stream long files."""


@dataclass(frozen=True)
class Failure:
    """A frame that could not be predicted, with the reason."""

    frame: Frame
    reason: str


def predict_frames(
    frames: Iterable[Frame], model: LoadedModel, settings: Settings
) -> Iterator[Prediction | Failure]:
    """Predict a stream of frames in order; a frame that fails is returned with its reason, the rest go on."""
    pending: list[Prepared | Failure] = []
    for frame in frames:
        pending.append(_prepare(frame, model, settings))
        if len(pending) == CHUNK:
            yield from _run(pending, model, settings)
            pending = []
    yield from _run(pending, model, settings)


def _prepare(frame: Frame, model: LoadedModel, settings: Settings) -> Prepared | Failure:
    if frame.atoms is None:
        return Failure(frame, frame.describe())
    try:
        return prepare(model, frame.atoms, frame.id, settings)
    except VoigtError as error:
        return Failure(frame, f"{frame.source}, frame {frame.index}: {error}")


def _run(
    pending: list[Prepared | Failure], model: LoadedModel, settings: Settings
) -> Iterator[Prediction | Failure]:
    predictions = iter(predict_prepared(model, [p for p in pending if isinstance(p, Prepared)], settings))
    for entry in pending:
        yield entry if isinstance(entry, Failure) else next(predictions)


def predict(
    structures: Any,
    model: str | Path | LoadedModel = DEFAULT_MODEL,
    settings: Settings | None = None,
) -> list[Prediction]:
    """Predict the response tensors of crystals.

    Parameters
    ----------
    structures
        A path, an ase.Atoms, a pymatgen Structure, or an iterable of these.
    model
        Name of a shipped model, a model file, or a loaded model.
    settings
        Properties, functional, corrections; see `Settings`.

    Returns
    -------
    One `Prediction` per crystal, in order; Born charges are Z[atom, field, displacement] in e.

    Raises
    ------
    InputError
        A structure cannot be used or lies outside the model's domain; all problems are listed. To get the good ones
        all the same, use `predict_frames`.
    WeightsError
        The model cannot be loaded.

    Examples
    --------
    >>> import voigt
    >>> voigt.predict("examples/MgO.vasp")[0].values["born_charges"].shape
    (2, 3, 3)
    """
    loaded = model if isinstance(model, LoadedModel) else load_model(model)
    results = list(predict_frames(read(structures), loaded, settings or Settings()))
    failures = [entry.reason for entry in results if isinstance(entry, Failure)]
    if failures:
        raise InputError("; ".join(failures))
    return [entry for entry in results if isinstance(entry, Prediction)]

"""What a notebook imports: `voigt.predict`, `voigt.respond` and `voigt.load_model`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from voigt.errors import InputError
from voigt.lazy import lazy_names
from voigt.models.checkpoint import LoadedModel, load_model
from voigt.prediction import Failure, Prediction, Settings, predict_structures
from voigt.structures import read

if TYPE_CHECKING:
    from voigt.response.assembly import Response, ResponseSettings, respond

__all__ = ["Failure", "Prediction", "Response", "ResponseSettings", "Settings", "load_model", "predict", "respond"]

# `predict` starts faster without what phonons need.
__getattr__ = lazy_names("voigt", dict.fromkeys(("Response", "ResponseSettings", "respond"), "response.assembly"))


def predict(
    structures: Any,
    model: str | Path | LoadedModel | None = None,
    settings: Settings | None = None,
    workers: int = 1,
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
        Properties, functional, corrections, device; see `Settings`.
    workers
        Processes that share out the work on many crystals (Linux); 0: one for each processor.

    Returns
    -------
    One `Prediction` per crystal, in order; Born charges are Z[atom, field, displacement] in e. Of several models, one
    that cannot predict a crystal leaves its properties out, and a warning says so.

    Raises
    ------
    InputError
        A structure cannot be used or lies outside the model's domain; all problems are listed. To get the good ones
        all the same, use `voigt.prediction.predict_structures`.
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
    results = list(predict_structures(read(structures), model, settings or Settings(), workers))
    failures = [entry.reason for entry in results if isinstance(entry, Failure)]
    if failures:
        raise InputError("; ".join(failures))
    return [entry for entry in results if isinstance(entry, Prediction)]

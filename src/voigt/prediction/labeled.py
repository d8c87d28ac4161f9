"""Predictions for labeled crystals, to be compared with their labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from voigt.data.labeled import LabeledCrystal
from voigt.models.checkpoint import LoadedModel
from voigt.notes import Failure
from voigt.prediction.result import Prediction, Settings
from voigt.prediction.stream import predict_structures
from voigt.structures import InputStructure


def predict_labeled(
    model: LoadedModel, crystals: Sequence[LabeledCrystal], settings: Settings
) -> Iterator[tuple[int, Prediction | Failure]]:
    """Place among `crystals` and prediction of each, one functional after the other.

    Each is predicted for the functional of its label if the model knows it, for the model's default otherwise. Domains
    are not checked.
    """
    for functional in dict.fromkeys(crystal.functional for crystal in crystals):
        places = [i for i, crystal in enumerate(crystals) if crystal.functional == functional]
        requested = functional if functional in model.hypers.functionals else None
        chosen = (crystals[i] for i in places)
        inputs = (InputStructure(crystal.source, k, crystal.id, crystal.atoms) for k, crystal in enumerate(chosen))
        own = replace(settings, functional=requested, check_domain=False)
        yield from zip(places, predict_structures(inputs, model, own), strict=True)

"""What labeled files hold that a model can learn: properties, split, functionals, elements that are new to it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from voigt.data.labeled import LabeledCrystal, as_crystals
from voigt.data.reading import label_of, read_labeled
from voigt.data.splits import SplitSettings, split_crystals
from voigt.errors import DomainError, TargetError
from voigt.models.checkpoint import LoadedModel
from voigt.prediction.labeled import predict_labeled
from voigt.prediction.result import Prediction, Settings
from voigt.tensors.properties import PROPERTIES

FEWEST = 5
"""Frames below which nothing is left to learn from beside what must judge it."""
MANY_FORMULAS = 10
"""Formulas from which a part of them can be kept for the test."""
SEEDS = 64
COMPARED = 5
"""Frames on which the functionals of the model are compared."""
UNSTATED = "unstated"
"""Functional of labels that state none, in a model that tells functionals apart."""


@dataclass(frozen=True)
class Survey:
    """What the data hold.

    Attributes
    ----------
    files
        Files of the data, absolute.
    labels
        For each file the properties of the model that it has labels of.
    split
        How training, validation and test part are told apart.
    why_split
        The same as a sentence.
    functionals
        Of the labels, the most frequent first; empty if the model does not tell them apart.
    unstated
        Functional of frames that state none; None if there are no such frames.
    starts
        New functional -> the model's functional whose predictions are nearest to its labels.
    new_elements
        Atomic numbers that the model has not seen.
    """

    files: tuple[Path, ...]
    labels: tuple[tuple[str, ...], ...]
    split: SplitSettings
    why_split: str
    functionals: tuple[str, ...]
    unstated: str | None
    starts: dict[str, str]
    new_elements: tuple[int, ...]

    @property
    def properties(self) -> tuple[str, ...]:
        """Properties with labels in any file, in the order of the declarations."""
        return tuple(name for name in PROPERTIES if any(name in names for names in self.labels))


def survey(model: LoadedModel, files: Sequence[str | Path], functional: str | None = None) -> Survey:
    """Look through labeled files.

    Parameters
    ----------
    model
        To be fine-tuned.
    files
        Labeled extended XYZ or Parquet files, see `voigt.data.reading.read_labeled`.
    functional
        Functional of frames that state none.

    Raises
    ------
    InputError, TargetError
        Unusable frames or labels; too few frames; no label that the model gives.
    DomainError
        The network cannot be fine-tuned by this command.
    """
    if model.hypers.axes_options is not None:
        raise DomainError(f"{model.name} works in canonical axes; fine-tune it with a recipe and voigt train")
    paths = tuple(Path(os.path.abspath(path)) for path in files)
    crystals = [list(read_labeled(path, (), None, functional)) for path in paths]
    labels = tuple(_labels(model, frames) for frames in crystals)
    if not any(labels):
        keys = {key for frames in crystals for c in frames for key in (*c.atoms.info, *c.atoms.arrays)}
        found = sorted(keys & set(PROPERTIES))
        raise TargetError(
            f"no frame of {', '.join(path.name for path in paths)} has a label that {model.name} gives "
            f"({', '.join(model.hypers.properties)}), labels found: {', '.join(found) or 'none'}"
        )
    used = [(frames, names) for frames, names in zip(crystals, labels, strict=True) if names]
    every = [crystal for frames, _ in used for crystal in frames]
    split, why = choose_split([frames for frames, _ in used])
    unstated = None
    functionals: tuple[str, ...] = ()
    if model.hypers.functionals:
        if any(crystal.functional is None for crystal in every):
            unstated = UNSTATED
        count = Counter(crystal.functional or UNSTATED for crystal in every)
        functionals = tuple(sorted(count, key=lambda name: (-count[name], name)))
    elements = {int(z) for crystal in every for z in crystal.atoms.numbers}
    known = set(model.card.elements) or elements
    return Survey(
        files=tuple(path for path, names in zip(paths, labels, strict=True) if names),
        labels=tuple(names for names in labels if names),
        split=split,
        why_split=why,
        functionals=functionals,
        unstated=unstated,
        starts=nearest_functionals(model, every, split, functionals),
        new_elements=tuple(sorted(elements - known)),
    )


def _labels(model: LoadedModel, crystals: Sequence[LabeledCrystal]) -> tuple[str, ...]:
    """Properties of the model with a label in some frame. A sum is left out where its parts are not labeled."""
    found = [
        name
        for name in model.hypers.properties
        if any(name in c.atoms.info or name in c.atoms.arrays for c in crystals)
    ]
    return tuple(name for name in found if not set(PROPERTIES[name].sum_of) - set(found))


def choose_split(files: Sequence[Sequence[LabeledCrystal]]) -> tuple[SplitSettings, str]:
    """The split that leaks least of those that the frames allow, and why.

    What the frames state counts. Else frames of many compounds are split by formula, and frames of one or a few by
    blocks of the file, which keep neighbors in time together.

    Raises
    ------
    TargetError
        Too few frames.
    """
    every = [crystal for frames in files for crystal in frames]
    stated = Counter(crystal.split for crystal in every)
    if set(stated) <= {"train", "val", "test"} and stated["train"] and stated["val"]:
        return SplitSettings(kind="stored"), "train, val and test as the frames state them under split"
    if min(len(frames) for frames in files) < FEWEST:
        raise TargetError(
            f"{len(every)} frames are too few: every file needs {FEWEST} at least, to learn from and to be judged by; "
            "label more frames"
        )
    fractions = (0.6, 0.2, 0.2) if len(every) < 30 else (0.7, 0.15, 0.15) if len(every) < 300 else (0.8, 0.1, 0.1)
    formulas = {crystal.group for crystal in every}
    if len(formulas) >= MANY_FORMULAS:
        best = min(range(SEEDS), key=lambda seed: _distance(files, fractions, seed))
        settings = SplitSettings(kind="formula", fractions=fractions, seed=best)
        return settings, f"by formula: no formula of the test part is in the training part ({len(formulas)} formulas)"
    shown = "all frames share one formula" if len(formulas) == 1 else f"the frames share {len(formulas)} formulas"
    return SplitSettings(kind="blocks", fractions=fractions), f"by blocks of the file, since {shown}"


def _distance(files: Sequence[Sequence[LabeledCrystal]], fractions: tuple[float, float, float], seed: int) -> float:
    """How far the shares of a split by formula are from those wanted; infinite if a part is empty."""
    settings = SplitSettings(kind="formula", fractions=fractions, seed=seed)
    counts = np.array([[len(part) for part in split_crystals(as_crystals(f), settings).values()] for f in files])
    if not counts.all():
        return float("inf")
    total = counts.sum(axis=0)
    return float(np.abs(total / total.sum() - fractions).sum())


def nearest_functionals(
    model: LoadedModel, crystals: Sequence[LabeledCrystal], split: SplitSettings, functionals: Sequence[str]
) -> dict[str, str]:
    """New functional -> the one of the model whose predictions are nearest to the labels of some training frames.

    Errors of several properties are compared as shares of the mean size of their labels.
    """
    known = model.hypers.functionals
    new = [name for name in functionals if name not in known]
    if len(known) == 1:
        return dict.fromkeys(new, known[0])
    starts = {}
    for name in new:
        own = [crystal for crystal in crystals if (crystal.functional or UNSTATED) == name]
        parts = split_crystals(as_crystals(own), split) if split.kind == "stored" else {"train": range(len(own))}
        chosen = [own[i] for i in parts["train"]] or own
        chosen = chosen[:: -(-len(chosen) // COMPARED)]
        errors = {base: _relative_error(model, chosen, base) for base in known}
        starts[name] = min(errors, key=lambda base: errors[base])
    return starts


def _relative_error(model: LoadedModel, crystals: Sequence[LabeledCrystal], functional: str) -> float:
    asked = [replace(crystal, functional=functional) for crystal in crystals]
    total = 0.0
    for place, result in predict_labeled(model, asked, Settings(allow_unseen=True)):
        if not isinstance(result, Prediction):
            continue
        for name, value in result.values.items():
            label = label_of(crystals[place].atoms, PROPERTIES[name])
            if label is not None:
                total += float(np.abs(value - label).mean() / max(np.abs(label).mean(), 1e-6))
    return total

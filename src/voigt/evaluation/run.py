"""A model against labelled files: read, pick the split, predict as `voigt predict` does, score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from voigt.data.labelled import LabelledCrystal, file_digest, label_of, read_labelled
from voigt.data.splits import block_split, formula_split
from voigt.errors import DomainError, TargetError
from voigt.evaluation.baselines import apply_baseline, fit_baseline
from voigt.evaluation.evaluation import Evaluation, evaluate_scored
from voigt.evaluation.scored import Scored
from voigt.models.checkpoint import LoadedModel
from voigt.prediction.result import Prediction, Settings
from voigt.prediction.stream import Failure, predict_frames
from voigt.structures.reading import Frame
from voigt.tensors.properties import get_property

Crystals = Sequence[LabelledCrystal]


@dataclass(frozen=True)
class ModelEvaluation:
    """What `evaluate_model` found.

    Attributes
    ----------
    evaluation
        The figures.
    scored
        Every crystal with labels and predictions.
    notes
        Sentences on model, data, baseline and crystals left out.
    """

    evaluation: Evaluation
    scored: tuple[Scored, ...]
    notes: tuple[str, ...]


def evaluate_model(
    model: LoadedModel,
    data: Sequence[str | Path],
    split: str = "test",
    where: str | None = None,
    functional: str | None = None,
    properties: Sequence[str] | None = None,
    baseline: bool = True,
    allow_unseen: bool = False,
    advance: Callable[[], None] | None = None,
) -> ModelEvaluation:
    """Score a model on labelled files.

    A model that is conditioned on the functional predicts each crystal for the functional of its label.

    Parameters
    ----------
    model
        A trained model.
    data
        Labelled files, see `read_labelled`.
    split
        "train", "val" or "test" as the frames say in info key split, or "all". For a file that the model was trained
        on with another kind of split, that split is made again.
    where
        Keep only frames whose info key of this name is true.
    functional
        Functional of frames that state none.
    properties
        What to score; None: all that the model predicts and any frame has as a label.
    baseline
        Score the averages of each file's own training split beside the model.
    allow_unseen
        Predict for elements outside the model's training set; otherwise such crystals are left out, and counted.
    advance
        Called after every prediction.

    Raises
    ------
    InputError, TargetError
        Unusable frames or labels; no crystal in the split.
    DomainError
        A property that the model does not predict.
    """
    names = _checked_names(model, properties)
    scored: list[Scored] = []
    reference: list[Scored] = []
    unfitted: list[str] = []
    notes = [_describe(model)]
    reasons: list[str] = []
    used: set[str] = set()
    for path in data:
        crystals = _read(path, names, where, functional)
        used.update(name for crystal in crystals for name in crystal.targets)
        parts = _parts(path, crystals, model)
        chosen = crystals if split == "all" else parts.get(split, [])
        if not chosen:
            found = ", ".join(sorted(f"{name or 'none'} ({len(members)})" for name, members in parts.items()))
            raise TargetError(f"{path} has no crystal in split '{split}'; it has {found}; choose one or --split all")
        notes.append(_data_note(path, model, where, split, len(chosen)))
        notes += _other_functionals(model, chosen)
        own = _predict(model, chosen, names, allow_unseen, reasons, advance)
        scored += own
        try:
            reference += _baseline(own, parts.get("train", [])) if baseline else []
        except TargetError as error:
            unfitted.append(f"no baseline: {Path(path).name}: {error}")
    if baseline:
        notes += unfitted or ["baseline: averages over the training split of each file"]
    missing = [name for name in names if name not in used]
    if missing and properties is not None:
        raise TargetError(f"no frame has a label '{missing[0]}'; labels found: {', '.join(sorted(used)) or 'none'}")
    notes += _left_out(reasons)
    scored_names = [name for name in names if name in used]
    if not scored_names:
        raise TargetError(f"no frame has a label of {', '.join(names)}, which the model predicts; check the keys")
    evaluation = evaluate_scored(scored, scored_names, reference if baseline and not unfitted else None)
    return ModelEvaluation(evaluation, tuple(scored), tuple(notes))


def _checked_names(model: LoadedModel, properties: Sequence[str] | None) -> list[str]:
    known = model.hypers.properties
    names = [get_property(name).name for name in (known if properties is None else properties)]
    absent = [name for name in names if name not in known]
    if absent:
        raise DomainError(f"model '{model.name}' does not predict {', '.join(absent)}; it predicts {', '.join(known)}")
    return names


def _read(path: str | Path, names: Sequence[str], where: str | None, functional: str | None) -> list[LabelledCrystal]:
    """Crystals with those of the labels that each of them has."""
    crystals = []
    for crystal in read_labelled(path, (), where, functional):
        targets = {}
        for name in names:
            try:
                label = label_of(crystal.atoms, get_property(name))
            except TargetError as error:
                raise TargetError(f"{path} (id {crystal.id}): {error}") from error
            if label is not None:
                targets[name] = label
        crystals.append(replace(crystal, targets=targets))
    for name in names:
        labels = [crystal.targets[name] for crystal in crystals if name in crystal.targets]
        if labels and not any(np.any(label) for label in labels):
            raise TargetError(f"the label '{name}' is zero in every frame of {path}; check how it was written")
    return crystals


def _parts(path: str | Path, crystals: Crystals, model: LoadedModel) -> Mapping[str, Crystals]:
    """Crystals by split: the stored one, or for the model's own training data the one that it was trained with."""
    settings = model.card.recipe.get("split", {})
    kind = settings.get("kind", "stored")
    if kind != "stored" and file_digest(path) in model.card.data.values():
        fractions = tuple(settings["fractions"])
        if kind == "formula":
            indices = formula_split([crystal.group for crystal in crystals], fractions, settings["seed"])
        else:
            indices = block_split(len(crystals), fractions, settings["gap"])
        return {name: [crystals[i] for i in members] for name, members in indices.items()}
    parts: dict[str, list[LabelledCrystal]] = {}
    for crystal in crystals:
        parts.setdefault(crystal.split, []).append(crystal)
    return parts


def _predict(
    model: LoadedModel,
    crystals: Crystals,
    names: Sequence[str],
    allow_unseen: bool,
    reasons: list[str],
    advance: Callable[[], None] | None,
) -> list[Scored]:
    """One `Scored` for each crystal, in order; a crystal that cannot be predicted has none and adds a reason."""
    results: dict[int, Scored] = {}
    for functional in dict.fromkeys(crystal.functional for crystal in crystals):
        members = [i for i, crystal in enumerate(crystals) if crystal.functional == functional]
        asked = functional if functional in model.hypers.functionals else None
        settings = Settings(properties=tuple(names), functional=asked, allow_unseen=allow_unseen)
        frames = (Frame(crystals[i].source, i, crystals[i].id, crystals[i].atoms, None) for i in members)
        for index, result in zip(members, predict_frames(frames, model, settings), strict=True):
            if isinstance(result, Failure):
                # The number of a frame counts the chosen ones only: its id says which it is.
                reasons.append(result.reason.removeprefix(f"{result.frame.source}, frame {result.frame.index}: "))
            results[index] = _scored(crystals[index], result if isinstance(result, Prediction) else None)
            if advance is not None:
                advance()
    return [results[i] for i in range(len(crystals))]


def _scored(crystal: LabelledCrystal, prediction: Prediction | None) -> Scored:
    return Scored(
        id=crystal.id,
        numbers=crystal.atoms.numbers,
        functional=crystal.functional,
        crystal_system=None if prediction is None else prediction.symmetry.crystal_system,
        labels=crystal.targets,
        predicted={} if prediction is None else prediction.values,
        raw={} if prediction is None else prediction.raw,
        spread={} if prediction is None else prediction.spread,
    )


def _baseline(scored: list[Scored], train: Crystals) -> list[Scored]:
    """The same crystals as the averages of the training split have them."""
    names = sorted({name for crystal in scored for name in crystal.labels})
    return apply_baseline(fit_baseline([_scored(crystal, None) for crystal in train], names), scored)


def _describe(model: LoadedModel) -> str:
    count = len(model.members)
    functionals = ", ".join(model.hypers.functionals or model.card.functionals) or "not stated"
    if len(model.hypers.functionals) > 1:
        functionals += " (each crystal is predicted for the functional of its label)"
    return f"model {model.name}: {count} member{'' if count == 1 else 's'}, trained on functional {functionals}"


def _data_note(path: str | Path, model: LoadedModel, where: str | None, split: str, count: int) -> str:
    digest = file_digest(path)
    known = "the file that the model was trained on" if digest in model.card.data.values() else "not a training file"
    condition = f" where {where}" if where is not None else ""
    return f"data {Path(path).name} ({digest}, {known}): split {split}{condition}, {count:,} crystals"


def _other_functionals(model: LoadedModel, crystals: Crystals) -> list[str]:
    """Labels of functionals that a conditioned model does not know are compared with its default."""
    known = model.hypers.functionals
    if not known:
        return []
    counts = Counter(crystal.functional or "none" for crystal in crystals if crystal.functional not in known)
    return [f"{count} crystals labelled {name} are predicted for {known[0]}" for name, count in counts.items()]


def _left_out(reasons: Sequence[str]) -> list[str]:
    """How many crystals could not be predicted, and why the first of each kind could not."""
    kinds: dict[str, list[str]] = {}
    for reason in reasons:
        kinds.setdefault("unseen elements" if "trained on" in reason else "other reasons", []).append(reason)
    counts = Counter({kind: len(examples) for kind, examples in kinds.items()})
    return [f"{count} crystals left out ({kind}), e.g. {kinds[kind][0]}" for kind, count in counts.most_common()]

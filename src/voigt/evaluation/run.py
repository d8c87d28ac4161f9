"""A model against labeled files: read, pick the split, predict as `voigt predict` does, score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from voigt.data.labeled import LabeledCrystal, as_crystals, file_digest
from voigt.data.reading import label_of, read_labeled
from voigt.data.splits import Parts, SplitSettings, recorded_split, split_crystals
from voigt.errors import DomainError, TargetError
from voigt.evaluation.baselines import apply_baseline, fit_baseline
from voigt.evaluation.evaluation import Evaluation, evaluate_scored
from voigt.evaluation.scored import Scored
from voigt.models.checkpoint import LoadedModel, ModelCard
from voigt.notes import MEANING, Failure
from voigt.prediction.labeled import predict_labeled
from voigt.prediction.result import Prediction, Settings
from voigt.tensors.properties import get_property
from voigt.writers.markdown import counted

Crystals = Sequence[LabeledCrystal]


@dataclass(frozen=True)
class ModelEvaluation:
    """Figures of a model, and what they are made of.

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
    """Score a model on labeled files.

    A model that is conditioned on the functional predicts each crystal for the functional of its label.

    Parameters
    ----------
    model
        A trained model.
    data
        Labeled files, see `read_labeled`.
    split
        "train", "val" or "test" as the crystals say in info key split, or "all". For a file that the model was trained
        on with another kind of split, that split is made again. Of a file that states none, "test" is every crystal.
    where
        Keep only crystals whose info key of this name is true.
    functional
        Functional of crystals that state none.
    properties
        What to score; None: all that the model predicts and any crystal has as a label.
    baseline
        Score the averages of each file's own training split beside the model.
    allow_unseen
        Predict for elements outside the model's training set; otherwise such crystals are left out, and counted.
    advance
        Called after every prediction.

    Raises
    ------
    InputError, TargetError
        Unusable crystals or labels; no crystal in the split.
    DomainError
        A property that the model does not predict.
    """
    names = _checked_names(model, properties)
    scored: list[Scored] = []
    reference: list[Scored] = []
    unfitted: list[str] = []
    notes = [_describe(model)]
    failures: list[Failure] = []
    used: set[str] = set()
    for path in data:
        crystals = _read(path, names, where, functional)
        used.update(name for crystal in crystals for name in crystal.targets)
        parts = {
            name: [crystals[i] for i in members] for name, members in crystal_parts(path, crystals, model.card).items()
        }
        undivided = split == "test" and set(parts) == {""}  # such as a vasprun.xml: nothing in it says what it is for
        chosen = crystals if split == "all" or undivided else parts.get(split, [])
        if not chosen:
            known = ", ".join(sorted(f"{name or 'none'} ({len(members)})" for name, members in parts.items()))
            raise TargetError(f"{path} has no crystal in split '{split}'; it has {known}; choose one or --split all")
        notes.append(_data_note(path, model, where, "not stated, all crystals" if undivided else split, len(chosen)))
        notes += _other_functionals(model, chosen)
        predicted = _predict(model, chosen, names, allow_unseen, failures, advance)
        scored += predicted
        try:
            reference += _baseline(predicted, parts.get("train", [])) if baseline else []
        except TargetError as error:
            unfitted.append(f"no baseline: {Path(path).name}: {error}")
    if baseline:
        notes += unfitted or ["baseline: averages over the training split of each file"]
    missing = [name for name in names if name not in used]
    if missing and properties is not None:
        raise TargetError(f"no crystal has a label '{missing[0]}'; labels found: {', '.join(sorted(used)) or 'none'}")
    notes += left_out(failures)
    scored_names = [name for name in names if name in used]
    if not scored_names:
        raise TargetError(f"no crystal has a label of {', '.join(names)}, which the model predicts; check the keys")
    evaluation = evaluate_scored(scored, scored_names, reference if baseline and not unfitted else None)
    return ModelEvaluation(evaluation, tuple(scored), tuple(notes))


def _checked_names(model: LoadedModel, properties: Sequence[str] | None) -> list[str]:
    known = model.hypers.properties
    names = [get_property(name).name for name in (known if properties is None else properties)]
    absent = [name for name in names if name not in known]
    if absent:
        raise DomainError(f"model '{model.name}' does not predict {', '.join(absent)}; it predicts {', '.join(known)}")
    return names


def _read(path: str | Path, names: Sequence[str], where: str | None, functional: str | None) -> list[LabeledCrystal]:
    """Crystals with those of the labels that each of them has."""
    crystals = []
    for crystal in read_labeled(path, (), where, functional):
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
            raise TargetError(f"the label '{name}' is zero in every crystal of {path}; check how it was written")
    return crystals


def crystal_parts(path: str | Path, crystals: Crystals, card: ModelCard) -> Parts:
    """Indices of crystals by split: the stored one, or for a training file of the model the split of its training.

    Raises TargetError: the model was trained with a split that cannot be made again.

    `crystals`: those of the file that are looked at. `card`: of the model.
    """
    digest = file_digest(path)
    settings = recorded_split(card.recipe) if digest in card.data.values() else SplitSettings()
    if settings.kind == "stored":
        parts: Parts = {}
        for index, crystal in enumerate(crystals):
            parts.setdefault(crystal.split, []).append(index)
        return parts
    if settings.kind != "blocks":
        return split_crystals(as_crystals(crystals), settings)
    # Blocks are counted over what training read of the file, which may be other crystals than are looked at here.
    files: Sequence[Mapping[str, Any]] = card.recipe.get("data", ())
    source = next((file for file in files if card.data.get(file["path"]) == digest), {})
    used = as_crystals(read_labeled(path, (), source.get("where"), None, source.get("max_atoms")))
    ids = used.ids()
    if len(set(ids)) < len(ids):
        raise TargetError(f"{path} gives several crystals the same id, so that the blocks of training are unknown")
    part_of = {ids[i]: name for name, members in split_crystals(used, settings).items() for i in members}
    named = [part_of.get(crystal.id) for crystal in crystals]
    return {part: [i for i, name in enumerate(named) if name == part] for part in ("train", "val", "test")}


def _predict(
    model: LoadedModel,
    crystals: Crystals,
    names: Sequence[str],
    allow_unseen: bool,
    failures: list[Failure],
    advance: Callable[[], None] | None,
) -> list[Scored]:
    """One `Scored` for each crystal, in order; one that cannot be predicted has no values and adds a failure."""
    results: dict[int, Scored] = {}
    settings = Settings(properties=tuple(names), allow_unseen=allow_unseen)
    for index, result in predict_labeled(model, crystals, settings):
        if isinstance(result, Failure):
            failures.append(result)
        results[index] = _scored(crystals[index], result if isinstance(result, Prediction) else None)
        if advance is not None:
            advance()
    return [results[i] for i in range(len(crystals))]


def _scored(crystal: LabeledCrystal, prediction: Prediction | None) -> Scored:
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
    functionals = ", ".join(model.hypers.functionals or model.card.functionals) or "not stated"
    if len(model.hypers.functionals) > 1:
        functionals += " (each crystal is predicted for the functional of its label)"
    return f"model {model.name}: {counted(model.ensemble_size, 'member')}, trained on functional {functionals}"


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
    return [f"{count} crystals labeled {name} are predicted for {known[0]}" for name, count in counts.items()]


def left_out(failures: Sequence[Failure]) -> list[str]:
    """How many crystals could not be predicted, and why the first of each kind could not."""
    counts = Counter(failure.kind for failure in failures)
    examples = {failure.kind: failure for failure in reversed(failures)}
    return [
        f"{count:,} crystals left out ({MEANING[kind]}), e.g. {examples[kind].id}: {examples[kind].problem}"
        for kind, count in counts.most_common()
    ]

"""What a screening computes: which properties, with which models and corrections, for which crystals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from voigt.errors import DomainError, WeightsError
from voigt.models.checkpoint import LoadedModel, available_models
from voigt.prediction.plan import Plan, Share, choose_models
from voigt.prediction.result import Settings
from voigt.screening.query.expressions import Expression, parse


@dataclass(frozen=True)
class Job:
    """A screening, complete enough for another process to do its share; hashable.

    Attributes
    ----------
    properties
        What to predict; None: all that the model gives.
    model
        Name of a shipped model or path of a file; None: those that ship and give the properties.
    settings
        Functional and corrections; `properties` in it is ignored.
    prefilter
        Expression over properties: models that it does not need run only for crystals of which it is true.
    device
        Of the networks, as torch names it.
    compile
        Run tensor products through torch.compile. Like the device, it is no part of a job's identity: it changes
        results by rounding.
    digest
        SHA-256 of the file of `model` if it is one, see `pinned`; None: not looked at.
    """

    properties: tuple[str, ...] | None
    model: str | None = None
    settings: Settings = field(default_factory=Settings)
    prefilter: str | None = None
    device: str = "cpu"
    compile: bool = False
    digest: str | None = None


@dataclass(frozen=True)
class Stages:
    """The models of a job in two stages.

    Attributes
    ----------
    plan
        All of them.
    first
        Shares that run for every crystal: those that the prefilter needs, or all.
    second
        Shares that run where the prefilter is true.
    prefilter
        Parsed; None without.
    """

    plan: Plan
    first: tuple[Share, ...]
    second: tuple[Share, ...]
    prefilter: Expression | None


def pinned(job: Job) -> Job:
    """The job bound to its model file as it is now: no process that starts later takes up another."""
    if job.model is None or job.model in available_models():
        return job
    try:
        return replace(job, digest=hashlib.sha256(Path(job.model).read_bytes()).hexdigest())
    except OSError:
        return job  # loading it says what is wrong


@lru_cache(maxsize=2)
def stages_of(job: Job) -> Stages:
    """Load the models of a job, once per process.

    Raises
    ------
    TargetError, DomainError, WeightsError
        See `choose_models`.
    InputError
        The prefilter cannot be read.
    DomainError
        The prefilter needs nothing that is predicted; the device is not there.
    WeightsError
        The model file is another one than that to which the job is `pinned`.
    """
    prefilter = None if job.prefilter is None else parse(job.prefilter, "--prefilter", "truth")
    properties = job.properties
    if prefilter is not None and properties is not None:
        properties = tuple(dict.fromkeys((*properties, *sorted(prefilter.properties))))
    check_device(job.device)
    plan = choose_models(job.model, replace(job.settings, properties=properties))
    for share in plan.shares:
        if job.digest is not None and file_digest(share.model) != job.digest:
            raise WeightsError(f"{job.model} was changed while it was in use; put it back, or screen into a new folder")
        _set_up(share.model, job)
    if prefilter is None:
        return Stages(plan, plan.shares, (), None)
    if not prefilter.properties:
        raise DomainError("--prefilter needs no model and would save none; put the condition into --where")
    absent = sorted(prefilter.properties - set(plan.properties))
    if absent:
        raise DomainError(f"--prefilter needs {', '.join(absent)}, which the model does not predict")
    first = tuple(share for share in plan.shares if prefilter.properties & set(share.settings.properties or ()))
    second = tuple(share for share in plan.shares if share not in first)
    return Stages(plan, first, second, prefilter)


def check_device(name: str) -> None:
    """Find a device that cannot be used before any process starts.

    Raises
    ------
    DomainError
        torch cannot put a tensor there.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DomainError(f"--device {name} cannot be used ({reason}); give cpu or a device that torch sees") from error


def _set_up(model: LoadedModel, job: Job) -> None:
    for member in model.members:
        member.to(torch.device(job.device))
        if job.compile:
            member.compile_products()


def describe(job: Job, stages: Stages) -> dict[str, Any]:
    """What decides the results, as it stands in the manifest: a store takes up the same job only."""
    settings = asdict(replace(job.settings, properties=None))
    del settings["properties"], settings["max_edges"]
    return {
        "properties": list(stages.plan.properties),
        "model": job.model,
        "prefilter": job.prefilter,
        "settings": settings,
        "models": [
            {
                "name": share.model.name,
                "sha256": file_digest(share.model),
                "properties": list(share.settings.properties or ()),
                "functional": next(iter(_functionals(share)), None),
            }
            for share in stages.plan.shares
        ],
    }


def _functionals(share: Share) -> tuple[str, ...]:
    if share.settings.functional is not None:
        return (share.settings.functional,)
    return tuple(share.model.hypers.functionals or share.model.card.functionals)


def file_digest(model: LoadedModel) -> str:
    """SHA-256 of a model's file.

    Raises
    ------
    WeightsError
        The model comes from no file, or the file is gone.
    """
    if model.path is None:
        raise WeightsError(f"model '{model.name}' comes from no file; save it first, a screening notes its digest")
    try:
        return hashlib.sha256(Path(model.path).read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"{model.path}: {error.strerror or error}; put the file back") from error


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One phrase for each thing in which two jobs differ."""
    old, new = was.get("settings", {}), now["settings"]
    pairs = [(key, was.get(key), now[key]) for key in ("properties", "prefilter")]
    pairs += [(key, old.get(key), value) for key, value in new.items()]
    phrases = [f"{key} was {_plain(before)} and is {_plain(after)}" for key, before, after in pairs if before != after]
    models = [{entry["name"]: entry["sha256"] for entry in job.get("models", ())} for job in (was, now)]
    if set(models[0].values()) != set(models[1].values()):
        texts = [", ".join(f"{name} ({digest[:12]})" for name, digest in known.items()) for known in models]
        phrases.append(f"models were {texts[0]} and are {texts[1]}")
    return phrases


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value)
    return "none" if value is None else str(value)

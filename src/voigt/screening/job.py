"""What a screening computes: which properties, with which models and corrections, for which crystals."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from voigt.errors import DomainError, WeightsError
from voigt.models.checkpoint import LoadedModel, available_models
from voigt.prediction.plan import Plan, Share, choose_models
from voigt.prediction.result import Settings
from voigt.screening.query.criteria import Criteria
from voigt.screening.query.expressions import Expression, parse


@dataclass(frozen=True)
class Job:
    """A screening, complete enough for another process to do part of it; hashable.

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
        Of the networks, as torch names it; that of `settings` is ignored.
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
    """The models of a job in two stages."""

    plan: Plan  # all of them
    first: tuple[Share, ...]  # shares that run for every crystal: those that the prefilter needs, or all
    second: tuple[Share, ...]  # shares that run where the prefilter is true
    prefilter: Expression | None  # parsed; None without


def pinned(job: Job) -> Job:
    """The job bound to its model file as it is now: no process that starts later takes up another."""
    if job.model is None or job.model in available_models():
        return job
    try:
        return replace(job, digest=hashlib.sha256(Path(job.model).read_bytes()).hexdigest())
    except OSError:
        return job  # loading it says what is wrong


def for_criteria(job: Job, criteria: Criteria) -> Job:
    """The job pinned, with the properties that the criteria name if it has neither properties nor a model.

    Raises DomainError: there is nothing to predict, or an expression needs a property that the job does not predict;
    VoigtError: the job cannot be done, see `stages_of`.
    """
    if job.properties is None and job.model is None:
        if not criteria.properties:
            raise DomainError(
                "what is to be predicted? Give --properties, --model, or an expression to --where or --rank"
            )
        job = replace(job, properties=criteria.properties)
    job = pinned(job)
    known = stages_of(job).plan.properties
    for option, expression in criteria.by_option:
        absent = sorted(expression.properties - set(known))
        if absent:
            raise DomainError(f"{option} needs {', '.join(absent)}; add it to --properties")
    return job


@lru_cache(maxsize=2)
def stages_of(job: Job) -> Stages:
    """Load the models of a job, once per process.

    Raises TargetError or DomainError or WeightsError: see `choose_models`; InputError: the prefilter cannot be read;
    DomainError: the prefilter needs nothing that is predicted; the device is not there; WeightsError: the model file is
    another one than that to which the job is `pinned`.
    """
    prefilter = None if job.prefilter is None else parse(job.prefilter, "--prefilter", "truth")
    properties = job.properties
    if prefilter is not None and properties is not None:
        properties = tuple(dict.fromkeys((*properties, *sorted(prefilter.properties))))
    plan = choose_models(job.model, replace(job.settings, properties=properties, device=job.device))
    for share in plan.shares:
        if job.digest is not None and file_digest(share.model) != job.digest:
            raise WeightsError(f"{job.model} was changed while it was in use; put it back, or screen into a new folder")
    if job.compile:
        for model in plan.models:
            for member in model.members:
                member.compile_products()
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


def describe(job: Job, stages: Stages) -> dict[str, Any]:
    """Everything that decides the results, for the manifest: a store continues with the same job only."""
    # Of what decides notes alone a store takes no account, and no charge is what earlier releases knew as zero.
    settings = asdict(replace(job.settings, properties=None, total_charge=job.settings.total_charge or 0.0))
    del settings["properties"], settings["max_edges"], settings["check_domain"], settings["device"]
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
                "functional": share.settings.functional or next(iter(known), None),
            }
            for share in stages.plan.shares
            for known in (share.model.hypers.functionals or share.model.card.functionals,)
        ],
    }


def file_digest(model: LoadedModel) -> str:
    """SHA-256 of a model's file.

    Raises WeightsError: the model comes from no file, or the file is gone.
    """
    if model.path is None:
        raise WeightsError(f"model '{model.name}' comes from no file; save it first, a screening notes its digest")
    try:
        return hashlib.sha256(Path(model.path).read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"{model.path}: {error.strerror or error}; put the file back") from error

"""Which models answer a request: the one that was named, or the shipped ones that give the requested properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from voigt.errors import DomainError, WeightsError
from voigt.models.checkpoint import DEFAULT_MODEL, LoadedModel, available_models, load_model
from voigt.models.devices import AUTO, find_device, move
from voigt.notes import Note
from voigt.prediction.pipeline import functionals_of
from voigt.prediction.result import Settings
from voigt.reasons import plain_reason
from voigt.safe_json import load_json
from voigt.tensors.properties import get_property, insulators_only

GAP = "band_gap"
"""Property by which metals are told."""

_TOTAL = (
    "piezo_total is piezo_clamped plus what relaxing ions add, which takes forces: "
    "'voigt infrared --calculator NAME --piezo' gives that part"
)
"""Why there is no such model: direct regression of the sum is hardly better than zero."""


@dataclass(frozen=True)
class Share:
    """What one model contributes to a request.

    Attributes
    ----------
    model
        The model.
    settings
        Those of the request, with the properties that this model gives and a functional that it knows.
    notes
        To add to every crystal.
    """

    model: LoadedModel
    settings: Settings
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Who predicts what.

    Attributes
    ----------
    properties
        All that is predicted, in the requested order.
    shares
        One for each model; no property is in two of them.
    gap
        The gap model, which is asked about metals; None if nothing is predicted that only insulators have, a share
        gives the gap, or domains are not checked.
    """

    properties: tuple[str, ...]
    shares: tuple[Share, ...]
    gap: Share | None = None

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        """All models that run."""
        return tuple(share.model for share in (*self.shares, *([] if self.gap is None else [self.gap])))


def choose_models(model: str | Path | LoadedModel | None, settings: Settings) -> Plan:
    """Models for a request, loaded, and what each of them gives.

    A named model is the only one. Without a name the default model gives all it has; requested properties are shared
    out among the shipped models as `cover` says.

    Parameters
    ----------
    model
        Name of a shipped model, a model file, a loaded model, or None.
    settings
        `properties` and `functional` are the request; the rest is passed on.

    Raises
    ------
    TargetError
        A property that does not exist.
    DomainError
        No model gives a property; no chosen model knows the functional; the device cannot be used.
    WeightsError
        A model cannot be loaded.

    Examples
    --------
    >>> plan = choose_models(None, Settings(properties=("born_charges", "band_gap")))
    >>> [share.model.name for share in plan.shares]
    ['born', 'scalars']
    """
    requested = tuple(dict.fromkeys(get_property(name).name for name in settings.properties or ()))
    if model is None and requested:
        device = find_device(settings.device)
        shared = cover(requested, shipped_properties())
        parts = [(move(load_model(name), device), part) for name, part in shared.items()]
    else:
        loaded = model if isinstance(model, LoadedModel) else load_model(DEFAULT_MODEL if model is None else model)
        if not isinstance(model, LoadedModel) or settings.device != AUTO:
            move(loaded, find_device(settings.device))
        known = loaded.hypers.properties
        absent = [name for name in requested if name not in known]
        if absent:
            raise DomainError(
                f"model '{loaded.name}' does not predict {', '.join(absent)}; it predicts {', '.join(known)}"
            )
        parts = [(loaded, requested or known)]
    _check_functional([entry for entry, _ in parts], settings.functional)
    shares = tuple(_share(loaded, part, settings) for loaded, part in parts)
    return Plan(requested or shares[0].model.hypers.properties, shares, _gap_share(shares, settings))


def _gap_share(shares: Sequence[Share], settings: Settings) -> Share | None:
    predicted = [name for share in shares for name in share.settings.properties or ()]
    if not settings.check_domain or GAP in predicted or not insulators_only(predicted):
        return None
    name = gap_model()
    if name is None:
        return None
    path = available_models()[name]
    model = _gap_model_on(path, path.stat().st_mtime_ns, shares[0].model.device)
    return Share(model, replace(settings, properties=(GAP,), functional=None, check_domain=False))


@lru_cache(maxsize=2)
def _gap_model_on(path: Path, _changed: int, device: torch.device) -> LoadedModel:
    """The gap model on a device. It is kept: to read it takes many times longer than to ask it about a crystal."""
    return move(load_model(path), device)


def gap_model() -> str | None:
    """The model that ships for band gaps; None if there is none."""
    offers = shipped_properties()
    return next(iter(cover((GAP,), offers))) if any(GAP in offer for offer in offers.values()) else None


def cover(properties: Sequence[str], offers: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Divide properties among models: model name -> its properties, in the order of choice.

    Again and again the model that gives most of the properties still missing is taken; of equals the default model,
    then the first in the alphabet. So eps_inf and eps_total requested together come from one model if one gives both,
    and obey eps_total >= eps_inf.

    Parameters
    ----------
    properties
        What is requested.
    offers
        Model name -> what it predicts.

    Raises
    ------
    DomainError
        No model gives a property.

    Examples
    --------
    >>> offers = {"born": ["born_charges", "eps_inf"], "dielectric": ["eps_inf", "eps_total"]}
    >>> cover(["eps_inf", "eps_total"], offers)
    {'dielectric': ('eps_inf', 'eps_total')}
    """
    absent = [name for name in properties if not any(name in offer for offer in offers.values())]
    if absent:
        ships = ", ".join(f"{model} ({', '.join(offer)})" for model, offer in offers.items()) or "none"
        hint = f"; {_TOTAL}" if "piezo_total" in absent else ""
        raise DomainError(
            f"no model that ships predicts {', '.join(absent)}; there are {ships}; "
            f"train one with 'voigt train' and name it as the model{hint}"
        )
    chosen: dict[str, tuple[str, ...]] = {}
    missing = list(properties)
    ranked = sorted(offers, key=lambda name: (name != DEFAULT_MODEL, name))
    while missing:
        best = max(ranked, key=lambda name: len(set(missing) & set(offers[name])))  # of equals the first
        chosen[best] = tuple(name for name in missing if name in offers[best])
        missing = [name for name in missing if name not in offers[best]]
    return chosen


def shipped_properties() -> dict[str, tuple[str, ...]]:
    """Shipped model -> what it predicts, from the headers of the files: no weights are read.

    Raises
    ------
    WeightsError
        A file that ships is damaged.
    """
    return {name: _properties(path) for name, path in available_models().items()}


def _properties(path: Path) -> tuple[str, ...]:
    try:
        with safe_open(path, framework="numpy") as stream:
            metadata = stream.metadata() or {}
        return tuple(load_json(metadata["hypers"])[0]["properties"])
    except (SafetensorError, OSError, KeyError, IndexError, TypeError, ValueError) as error:
        problem = f"{path} is damaged or no Voigt model ({plain_reason(error)})"
        raise WeightsError(f"{problem}; install voigt again") from error


def _check_functional(models: Sequence[LoadedModel], functional: str | None) -> None:
    known = {model.name: functionals_of(model) for model in models}
    if functional is None or any(functional in names for names in known.values()):
        return
    if len(models) == 1:
        listed = ", ".join(known[models[0].name]) or "none"
        raise DomainError(f"model '{models[0].name}' knows no functional {functional}; it knows {listed}")
    listed = "; ".join(f"{name}: {', '.join(names) or 'none'}" for name, names in known.items())
    raise DomainError(f"none of the models knows functional {functional}; they know {listed}")


def _share(model: LoadedModel, properties: tuple[str, ...], settings: Settings) -> Share:
    share = replace(settings, properties=properties)
    known = functionals_of(model)
    if settings.functional is None or settings.functional in known:
        return Share(model, share)
    default = f"predicted for {known[0]}" if known else "of a functional that its model does not state"
    text = f"model '{model.name}' knows no functional {settings.functional}: {', '.join(properties)} {default}"
    return Share(model, replace(share, functional=None), (Note("unknown_functional", text, properties),))

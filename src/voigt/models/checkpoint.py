"""Model files: safetensors with everything needed to use them in the metadata; ensembles in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from voigt import __version__
from voigt.errors import WeightsError
from voigt.files import atomic_write
from voigt.models.hypers import NetworkHypers
from voigt.models.methods import build_network, parse_hypers
from voigt.models.network import Network
from voigt.tensors.properties import PROPERTIES

FORMAT_VERSION = 1
WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
DEFAULT_MODEL = "born"


@dataclass(frozen=True)
class ModelCard:
    """What a model file states about its training.

    Attributes
    ----------
    elements
        Atomic numbers of the training set.
    functionals
        Functionals of the training labels, the default first.
    data
        File name -> digest of the training data.
    metrics
        Figures on the validation split at the time of saving.
    recipe
        The recipe that made it.
    """

    elements: tuple[int, ...]
    functionals: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadedModel:
    """A trained model: one network, or an ensemble whose mean is the prediction and whose spread is reported.

    Attributes
    ----------
    name
        Name of the shipped model, or stem of the file.
    members
        Networks, in evaluation mode.
    card
        What the file states about its training.
    path
        The file; None for networks from memory.
    """

    name: str
    members: tuple[Network, ...]
    card: ModelCard
    path: Path | None = None

    @property
    def hypers(self) -> NetworkHypers:
        return self.members[0].hypers

    @property
    def device(self) -> torch.device:
        """Where the networks are; batches are moved there."""
        return next(self.members[0].parameters()).device


def save_model(members: Sequence[Network], path: str | Path, card: ModelCard) -> None:
    """Write an ensemble (or one network) to a safetensors file, atomically.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    tensors = {
        f"{k}.{name}": parameter.detach().cpu().to(torch.float32).contiguous()
        for k, member in enumerate(members)
        for name, parameter in member.named_parameters()
    }
    metadata = {
        "format": "voigt",
        "format_version": str(FORMAT_VERSION),
        "voigt_version": __version__,
        "torch_version": torch.__version__,
        "hypers": json.dumps([member.hypers.model_dump(mode="json") for member in members]),
        "units": json.dumps({name: PROPERTIES[name].unit for name in members[0].hypers.properties}),
        "card": json.dumps(vars(card)),
    }
    with atomic_write(path, "wb") as stream:
        stream.write(save_tensors(tensors, metadata))


def available_models() -> dict[str, Path]:
    """Models that ship with the package, by name."""
    return {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}


def load_model(name: str | Path = DEFAULT_MODEL) -> LoadedModel:
    """Load a model that ships with the package by name, or any model file by path.

    Raises
    ------
    WeightsError
        No such model; a truncated file; not a Voigt model; a format version that this release cannot read.
    """
    path = available_models().get(str(name), Path(name))
    if not path.is_file():
        raise WeightsError(
            f"no model '{name}': neither a file nor one of the models that ship "
            f"({', '.join(available_models()) or 'none in this installation'})"
        )
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a complete safetensors file ({error}); fetch or train it again") from error
    if metadata.get("format") != "voigt":
        raise WeightsError(f"{path} is not a Voigt model; train one with 'voigt train'")
    version = metadata.get("format_version", "none")
    if version != str(FORMAT_VERSION):
        raise WeightsError(
            f"{path} has format version {version}, this release of voigt reads {FORMAT_VERSION}; "
            "install the release that wrote it or train again"
        )
    try:
        hypers = [parse_hypers(entry) for entry in json.loads(metadata["hypers"])]
        card = _card(json.loads(metadata["card"]))
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise WeightsError(f"{path} holds unreadable metadata ({_first_line(error)}); train it again") from error
    unknown = sorted({name for entry in hypers for name in entry.properties if name not in PROPERTIES})
    if unknown or not hypers:
        fault = f"predicts properties unknown to this release ({', '.join(unknown)})" if unknown else "holds no network"
        raise WeightsError(f"{path} {fault}; install the release that wrote it or train again")
    members = tuple(_restore(build_network(entry), k, tensors, path) for k, entry in enumerate(hypers))
    return LoadedModel(path.stem, members, card, path)


def _card(stored: Mapping[str, Any]) -> ModelCard:
    return ModelCard(
        elements=tuple(stored["elements"]),
        functionals=tuple(stored["functionals"]),
        data=stored["data"],
        metrics=stored["metrics"],
        recipe=stored["recipe"],
    )


def _restore(network: Network, member: int, tensors: Mapping[str, Tensor], path: Path) -> Network:
    parameters: dict[str, nn.Parameter] = dict(network.named_parameters())
    stored = {name: tensors.get(f"{member}.{name}") for name in parameters}
    missing = [name for name, tensor in stored.items() if tensor is None]
    wrong = [name for name, tensor in stored.items() if tensor is not None and tensor.shape != parameters[name].shape]
    if missing or wrong:
        raise WeightsError(
            f"{path}: {len(missing)} parameters are missing and {len(wrong)} have another shape "
            f"(first: {(missing + wrong)[0]}); the file does not belong to its hyper-parameters"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"{member}.{name}"])
    return network.eval()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__

"""Model files: safetensors with everything needed to use them in the metadata; ensembles in one file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors

from voigt import __version__
from voigt.errors import WeightsError
from voigt.files import atomic_write
from voigt.models.elements import NUM_ELEMENTS
from voigt.models.hypers import NetworkHypers
from voigt.models.intervals import IntervalRule, intervals_json, parse_intervals
from voigt.models.methods import build_network, parse_hypers
from voigt.models.network import Network, Pass
from voigt.reasons import plain_reason
from voigt.safe_json import load_json
from voigt.tensors.properties import PROPERTIES
from voigt.text import MOST_LETTERS, one_line, printable

FORMAT_VERSION = 1
WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
DEFAULT_MODEL = "born"
FORMER = {"dielectric": "born", "band_gap": "scalars", "formation_energy": "scalars"}
"""Models of earlier releases -> the one that predicts their properties now."""
MOST_MEMBERS = 100
"""Networks of one file."""
ORDINARY = 512
"""Width up to which a network surely fits into memory."""
MOST_HEADER = 100_000_000
"""Bytes, the limit of safetensors."""
_INTERVALS = "intervals"
"""Key of the metadata; other releases pass over it."""


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
    element_counts
        Atomic number -> training crystals that hold the element; empty in files of older releases.
    """

    elements: tuple[Annotated[int, Field(ge=1, lt=NUM_ELEMENTS)], ...]
    functionals: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    element_counts: Mapping[Annotated[int, Field(ge=1, lt=NUM_ELEMENTS)], Annotated[int, Field(ge=0)]] = field(
        default_factory=dict
    )


_CARD = TypeAdapter(ModelCard)


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
    intervals
        Property -> how wide its 90 % interval is; empty for files of older releases, and without those properties of
        which training had too few validation crystals.
    passes
        How the networks run on each device, made with its first batch (`voigt.models.ensemble.outputs_of`).
    """

    name: str
    members: tuple[Network, ...]
    card: ModelCard
    path: Path | None = None
    intervals: Mapping[str, IntervalRule] = field(default_factory=dict)
    passes: dict[torch.device, Pass] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def hypers(self) -> NetworkHypers:
        return self.members[0].hypers

    @property
    def ensemble_size(self) -> int:
        """Predictions whose mean and spread are reported: of one network each, or of several heads of one network."""
        return sum(member.hypers.ensemble_size for member in self.members)

    @property
    def device(self) -> torch.device:
        """Where the networks are; batches are moved there."""
        return next(self.members[0].parameters()).device


def save_model(members: Sequence[Network], path: str | Path, card: ModelCard, half: bool = False) -> None:
    """Write an ensemble (or one network) to a safetensors file, atomically; `half`: numbers of 16 instead of 32 bits.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    tensors = {
        f"{k}.{name}": parameter.detach().cpu().to(torch.float16 if half else torch.float32).contiguous()
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


def write_intervals(path: str | Path, intervals: Mapping[str, IntervalRule]) -> None:
    """Put intervals into the metadata of a model file in the place of those it had; raises as `write_metadata`."""
    write_metadata(path, {_INTERVALS: intervals_json(intervals)})


def write_counts(path: str | Path, counts: Mapping[int, int]) -> None:
    """Put `ModelCard.element_counts` on the card of a model file; raises as `load_model` and `write_metadata`."""
    card = replace(load_model(path).card, element_counts=dict(counts))
    write_metadata(path, {"card": json.dumps(vars(card))})


def write_metadata(path: str | Path, changes: Mapping[str, str]) -> None:
    """Replace or add texts in the metadata of a model file, atomically.

    All else stays as it is, the tensors byte for byte: a safetensors file is the length of its header (8 bytes, little
    endian), the header as JSON, and the tensors, whose places in the header count from its end.

    Raises
    ------
    WeightsError
        The file cannot be read or is no model.
    OutputError
        It cannot be written; the old one is untouched.
    """
    try:
        with open(path, "rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = load_json(stream.read(min(size, MOST_HEADER)))
            tensors = stream.read()
        header["__metadata__"] = {**header["__metadata__"], **changes}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{path} is no model file ({plain_reason(error)}); fetch or train it again") from error
    written = json.dumps(header, separators=(",", ":")).encode()
    written += b" " * (-len(written) % 8)  # tensors begin at a multiple of 8 bytes
    with atomic_write(path, "wb") as stream:
        stream.write(len(written).to_bytes(8, "little") + written + tensors)


def available_models() -> dict[str, Path]:
    """Models that ship with the package, by name."""
    return {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}


def load_model(name: str | Path = DEFAULT_MODEL) -> LoadedModel:
    """Load a model that ships with the package by name, or any model file by path.

    The name of a model of an earlier release stands for the one that predicts its properties now, unless there is a
    file of that name.

    Raises
    ------
    WeightsError
        No such model; a truncated file; not a Voigt model; a format version that this release cannot read.
    """
    shipped = available_models()
    # A folder of that name is no model; a model that ships needs no stand-in.
    former = FORMER.get(str(name)) if str(name) not in shipped and not os.path.isfile(name) else None
    path = shipped.get(former or str(name), Path(name))
    if not os.path.isfile(path):  # a Path would raise for a name that is too long
        raise WeightsError(
            f"no model '{name}': neither a file nor one of the models that ship "
            f"({', '.join(shipped) or 'none in this installation'})"
        )
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            hypers, card, intervals = _described(path, metadata)
            shapes = {key: _shape(stream.get_slice(key)) for key in stream.keys()}  # noqa: SIM118 - not a dict
            members = []
            for k, entry in enumerate(hypers):
                own = {key.removeprefix(f"{k}."): shape for key, shape in shapes.items() if key.startswith(f"{k}.")}
                if _is_large(entry):
                    with torch.device("meta"):  # names and shapes without memory
                        _compare(build_network(entry), own, path)
                network = build_network(entry)
                _compare(network, own, path)
                members.append(network.eval())
                with torch.no_grad():
                    for name, parameter in network.named_parameters():
                        parameter.copy_(stream.get_tensor(f"{k}.{name}"))
    except (SafetensorError, OSError) as error:
        reason = plain_reason(error)
        raise WeightsError(f"{path} is not a complete safetensors file ({reason}); fetch or train it again") from error
    return LoadedModel(one_line(path.stem), tuple(members), card, path, intervals)


def _described(
    path: Path, metadata: Mapping[str, str]
) -> tuple[list[NetworkHypers], ModelCard, dict[str, IntervalRule]]:
    """Hyper-parameters of the members, the card, and the intervals."""
    if metadata.get("format") != "voigt":
        raise WeightsError(f"{path} is not a Voigt model; train one with 'voigt train'")
    version = metadata.get("format_version", "none")
    if version != str(FORMAT_VERSION):
        raise WeightsError(
            f"{path} has format version {printable(version[:40])}, this release of voigt reads {FORMAT_VERSION}; "
            "install the release that wrote it or train again"
        )
    try:
        entries = load_json(metadata["hypers"])
        if not isinstance(entries, list) or len(entries) > MOST_MEMBERS:
            raise ValueError(f"hyper-parameters are no list of at most {MOST_MEMBERS} members")
        hypers: list[NetworkHypers] = [parse_hypers(entry) for entry in entries]
        card = _card(load_json(metadata["card"]))
        intervals = parse_intervals(metadata.get(_INTERVALS, "{}"))
        labels = [*card.functionals, *(name for entry in hypers for name in entry.functionals)]
        if any(one_line(name) != name or len(name) > MOST_LETTERS for name in labels):
            raise ValueError("the name of a functional is no text of one line")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} holds unreadable metadata ({_reason(error)}); train it again") from error
    unknown = sorted({name for entry in hypers for name in entry.properties if name not in PROPERTIES})
    if unknown or not hypers:
        listed = printable(", ".join(unknown))
        fault = f"predicts properties unknown to this release ({listed})" if unknown else "holds no network"
        raise WeightsError(f"{path} {fault}; install the release that wrote it or train again")
    alike = {(entry.properties, entry.functionals, entry.cutoff, entry.neighbors) for entry in hypers}
    if len(alike) > 1:
        raise WeightsError(f"{path} joins networks that predict different things; train the members from one recipe")
    return hypers, card, intervals


def _card(stored: Any) -> ModelCard:
    if not isinstance(stored, dict):
        raise TypeError("the card has no keys and values")
    optional = {"element_counts"}  # younger than the format
    names = [field.name for field in fields(ModelCard) if field.name not in optional or field.name in stored]
    return _CARD.validate_python({name: stored[name] for name in names})


def _shape(stored: Any) -> tuple[int, ...] | None:
    """Shape of a tensor in a file; None if it holds no floating-point numbers."""
    return tuple(stored.get_shape()) if stored.get_dtype() in ("F64", "F32", "F16", "BF16") else None


def _is_large(hypers: NetworkHypers) -> bool:
    """Whether the network might not fit into memory. Torch needs a second to prepare for counting without memory."""
    sizes = [value for value in hypers.model_dump().values() if isinstance(value, int)]
    return max(sizes, default=0) > ORDINARY


def _compare(network: Network, stored: Mapping[str, tuple[int, ...] | None], path: Path) -> None:
    """Compare names and shapes with those of the file, before anything is read."""
    expected = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    missing = [name for name in expected if name not in stored]
    wrong = [name for name, shape in expected.items() if name in stored and stored[name] != shape]
    more = [name for name in stored if name not in expected]
    if missing or wrong or more:
        unknown = f" and {len(more)} are unknown" if more else ""
        raise WeightsError(
            f"{path}: {len(missing)} parameters are missing and {len(wrong)} have another shape{unknown} "
            f"(first: {printable((missing + wrong + more)[0])}); the file does not belong to its hyper-parameters"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return printable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    return plain_reason(error)

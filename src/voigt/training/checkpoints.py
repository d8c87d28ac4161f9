"""The state of a training on disk: tensors and plain values in a safetensors file, nothing that runs.

`torch.save` writes pickles, and a pickle is a program: with older releases of torch even one that is loaded with
`weights_only`. Here the tensors are those of safetensors and everything else is JSON in its header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from voigt.errors import WeightsError
from voigt.reasons import plain_reason
from voigt.safe_json import load_json

FORMAT = "voigt checkpoint"
VERSION = "1"

_PLAIN = (str, int, float, bool, type(None))


def checkpoint_bytes(state: Mapping[str, Any]) -> bytes:
    """The content of a file that holds `state`: dictionaries, lists and tuples of tensors, numbers, text, None.

    Raises
    ------
    TypeError
        Something else is among them.
    """
    tensors: dict[str, Tensor] = {}
    content = json.dumps(_packed(state, tensors))
    return save_tensors(tensors, {"format": FORMAT, "format_version": VERSION, "state": content})


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """What `checkpoint_bytes` was given, tensors on the CPU, bit for bit.

    Raises
    ------
    WeightsError
        The file is absent, truncated, of another format or release, or made by hand.
    """
    remedy = "start again in another folder"
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            if metadata.get("format") != FORMAT or metadata.get("format_version") != VERSION:
                raise WeightsError(f"{path} is no checkpoint of this release; {remedy}")
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 - not a dict
        state = _unpacked(load_json(metadata["state"]), tensors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = plain_reason(error)[:200]
        raise WeightsError(
            f"{path} is not a complete checkpoint ({reason}), or was written by an earlier release; {remedy}"
        ) from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path} is not a complete checkpoint (no keys and values); {remedy}")
    return state


def _packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON of a value: what JSON does not know becomes a list that begins with its kind."""
    if isinstance(value, Tensor):
        key = str(len(tensors))
        tensors[key] = value.detach().cpu().contiguous().clone()  # safetensors refuses tensors that share memory
        return ["tensor", key]
    if isinstance(value, Mapping):
        return ["dict", [[_plain(key), _packed(entry, tensors)] for key, entry in value.items()]]
    if isinstance(value, list | tuple):
        return ["tuple" if isinstance(value, tuple) else "list", [_packed(entry, tensors) for entry in value]]
    return _plain(value)


def _plain(value: Any) -> Any:
    if not isinstance(value, _PLAIN):
        raise TypeError(f"a checkpoint cannot hold {type(value).__name__}")
    return value


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, list):
        return _plain(value)
    kind, content = value
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_plain(key): _unpacked(entry, tensors) for key, entry in content}
    if kind not in ("list", "tuple"):
        raise ValueError(f"unknown kind of value {str(kind)[:40]!r}")
    entries = [_unpacked(entry, tensors) for entry in content]
    return tuple(entries) if kind == "tuple" else entries

"""Where networks run: the device that is asked for, and how much it holds."""

from __future__ import annotations

import torch

from voigt.errors import DomainError
from voigt.graphs.batch import MAX_EDGES
from voigt.models.checkpoint import LoadedModel

AUTO = "auto"
BYTES_PER_EDGE = 64 * 1024
"""What a network with 128 channels may take for an edge while it computes."""
MOST_EDGES = 500_000
"""Of a batch; more make no device faster."""


def find_device(name: str) -> torch.device:
    """The device of a name that torch knows, such as cpu, cuda:1 or mps; "auto": a CUDA device if there is one, or cpu.

    Raises
    ------
    DomainError
        torch cannot put a tensor there.

    Examples
    --------
    >>> find_device("cpu")
    device(type='cpu')
    """
    if name == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # what torch says of devices it lacks
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DomainError(
            f"device {name} cannot be used ({reason}); give auto, cpu or a device that torch sees"
        ) from error
    return torch.device(name)


def describe(device: torch.device) -> str:
    """Name of a device for people, with that of its maker if there is one."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def move(model: LoadedModel, device: torch.device) -> LoadedModel:
    """The model itself, its networks on a device."""
    before = model.device
    for member in model.members:
        if device.type == "mps":  # which knows no double precision, in which some constants are kept
            member.to(torch.float32)
        member.to(device)
    if model.device != before:
        model.passes.clear()  # recordings read weights where they were
    return model


def edge_budget(device: torch.device, max_edges: int, networks: int = 1) -> int:
    """Edges of a batch: what is asked for, or if that is the default what half of the free memory of a device holds.

    So many `networks` hold their edges there at once.
    """
    if device.type != "cuda" or max_edges != MAX_EDGES:
        return max_edges
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch keeps what it has freed
    return max(min(free // (2 * BYTES_PER_EDGE * networks), MOST_EDGES), MAX_EDGES)

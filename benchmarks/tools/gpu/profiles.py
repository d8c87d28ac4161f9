"""Where the time of a device goes: idle between kernels, in matrix products, in Voigt's kernels, in moving numbers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed.equivar import charges
from benchmarks.tools.gpu.floor import Cost, message_passing, peaks
from benchmarks.tools.gpu.measuring import Table, in_turn, synchronized, times_as
from benchmarks.tools.gpu.networks import device_name, zirconia_batch
from benchmarks.tools.mixed_crystals import mixed_crystals
from benchmarks.tools.timing import Call, training_step, without_grad
from torch import Tensor

from voigt.graphs import build_graph, collate
from voigt.models.checkpoint import load_model
from voigt.models.equivar.hypers import preset
from voigt.models.equivar.model import Equivar
from voigt.structures.symmetry import find_symmetry

ARITHMETIC = ("gemm", "gemv", "cutlass", "cublas", "xmma", "splitk", "dot_kernel")
"""In names of kernels that multiply matrices."""
MESSAGES = ("_messages", "_gradients")
"""Voigt's kernels by Triton: names, perhaps with digits behind them."""
CLASSES = ("matrix products", "messages", "memory")
ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
"""Categories of a trace that keep the device busy."""


@dataclass(frozen=True)
class Shares:
    """Of a traced call.

    Attributes
    ----------
    busy
        Seconds in which the device did something.
    classes
        Seconds by `CLASSES`; at times several kernels run at once, then their sum is more than `busy`.
    kernels
        Seconds by name of the kernel, the longest first.
    """

    busy: float
    classes: dict[str, float]
    kernels: dict[str, float]


def class_of(kernel: str) -> str:
    """One of `CLASSES`.

    Examples
    --------
    >>> class_of("sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize128x64x8_execute_kernel_cublas")
    'matrix products'
    >>> class_of("_messages_0d1d2d3d4d5d")
    'messages'
    >>> class_of("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float> >")
    'memory'
    """
    if any(kernel.startswith(name) for name in MESSAGES):
        return "messages"
    return "matrix products" if any(name in kernel.lower() for name in ARITHMETIC) else "memory"


def shares(events: Sequence[Mapping[str, Any]]) -> Shares:
    """From the events of a Chrome trace, whose times are in microseconds."""
    kernels: dict[str, float] = {}
    spans = []
    for event in events:
        if event.get("cat") in ON_DEVICE and event.get("ph") == "X":
            name, duration = str(event["name"]), float(event["dur"]) / 1e6
            kernels[name] = kernels.get(name, 0.0) + duration
            begin = float(event["ts"]) / 1e6
            spans.append((begin, begin + duration))
    busy, end = 0.0, float("-inf")
    for begin, stop in sorted(spans):
        busy += max(stop - max(begin, end), 0.0)
        end = max(end, stop)
    classes = dict.fromkeys(CLASSES, 0.0)
    for name, seconds in kernels.items():
        classes[class_of(name)] += seconds
    return Shares(busy, classes, dict(sorted(kernels.items(), key=lambda item: -item[1])))


def traced(call: Call, device: torch.device) -> Shares:
    """Shares of one call."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        synchronized(call, device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return shares(json.loads(path.read_text(encoding="utf-8"))["traceEvents"])


def profile(device: torch.device, quick: bool) -> Iterator[Table]:
    """Shares of inference and of a training step of BM2, and of a model that ships.

    Raises
    ------
    ValueError
        The device is none of CUDA.
    """
    profiled = profiled_calls(device, quick)
    calls = {name: call for name, (call, _) in profiled.items()}
    if device.type != "cuda":
        for call in calls.values():
            call()
        raise ValueError("only a CUDA device has a trace of kernels")
    fastest = peaks(device_name(device))
    times, rows, largest = in_turn(calls, device, 5), [], []
    for name, call in calls.items():
        seconds = times[name]
        if isinstance(seconds, str):
            rows.append([name, f"not measured: {seconds}", *["-"] * (2 + len(CLASSES))])
            continue
        traced(call, device)  # the first trace starts the tools of the driver
        found = traced(call, device)
        if not found.busy:
            raise ValueError("the profiler saw no kernel; it may not be allowed to")
        # A trace slows the start of kernels down: what is idle comes from the time without it.
        idle = max(1.0 - found.busy / seconds, 0.0)
        scale = (1.0 - idle) / sum(found.classes.values())
        least = profiled[name][1].seconds(fastest)
        parts = [f"{100 * scale * found.classes[kind]:.0f} %" for kind in CLASSES]
        first = [name, f"{1e3 * seconds:.2f}", times_as(seconds, least), f"{100 * idle:.0f} %"]
        rows.append([*first, *parts])
        for kernel, spent in list(found.kernels.items())[:6]:
            largest.append([name, kernel[:80], f"{100 * spent / sum(found.kernels.values()):.0f} %"])
    note = "Idle: no kernel runs, the device waits for the next one to be started."
    yield Table("Where the time goes", ["", "ms", "times the floor", "idle (launch)", *CLASSES], rows, note)
    yield Table("Largest kernels", ["", "kernel", "share of all kernels"], largest)


def profiled_calls(device: torch.device, quick: bool) -> dict[str, tuple[Call, Cost]]:
    """Name -> call, and what it costs at least."""
    batch = zirconia_batch((1, 1, 1) if quick else (2, 2, 2), 1 if quick else 64, device)
    model = Equivar(preset("bm2")).to(device)
    born = load_model("born").members[0].to(device).eval()
    crystals = mixed_crystals(4 if quick else 256)
    graphs = [build_graph(atoms, born.hypers.cutoff, symmetry=find_symmetry(atoms)) for atoms in crystals]
    mixed = collate(graphs).to(device)

    def forward() -> Tensor:
        return charges(model(batch))

    least = [message_passing(model.hypers, batch, training) for training in (False, True)]
    step = training_step(forward, list(model.parameters()))
    return {
        f"BM2, inference, {len(batch.numbers):,} atoms": (without_grad(forward), least[0]),
        "BM2, training step": (step, least[1]),
        f"born, inference, {len(crystals)} mixed crystals": (
            without_grad(lambda: born(mixed)),
            message_passing(born.hypers, mixed, False),
        ),
    }

"""Timing on one thread: CPU time, interleaved candidates, resident memory, Markdown tables."""

from __future__ import annotations

import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voigt.memory import keep_freed_memory

Call = Callable[[], object]


def prepare() -> None:
    """One thread, in this process and in those that torch.compile starts."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    keep_freed_memory()  # as commands do
    warnings.filterwarnings("ignore", category=UserWarning)


def log(text: str) -> None:
    """Progress, apart from the tables."""
    print(text, file=sys.stderr, flush=True)


def cpu_seconds(call: Call) -> float:
    """CPU time of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def interleaved(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds of every candidate in every round; quick ones run several times a round and count with their median."""
    once = {}
    for name, call in calls.items():
        call()  # e3nn's scripted modules and the allocator settle
        once[name] = min(cpu_seconds(call), cpu_seconds(call))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            repeats = max(1, min(9, int(0.2 / once[name])))
            times[name].append(statistics.median(cpu_seconds(call) for _ in range(repeats)))
    return times


def ratio(slow: list[float], quick: list[float]) -> float:
    """Median over the rounds."""
    return statistics.median(a / b for a, b in zip(slow, quick, strict=True))


def median_ms(times: list[float]) -> float:
    return 1e3 * statistics.median(times)


def without_grad(call: Callable[[], Any]) -> Call:
    def run() -> None:
        with torch.no_grad():
            call()

    return run


def training_step(call: Callable[[], Tensor], parameters: list[torch.nn.Parameter], rate: float = 1e-6) -> Call:
    """Forward, backward of an L1 loss, AdamW step; the weights stay the same for all practical purposes."""
    optimizer = torch.optim.AdamW(parameters, lr=rate)

    def run() -> None:
        optimizer.zero_grad()
        call().abs().mean().backward()
        optimizer.step()

    return run


def table(header: list[str], rows: list[list[str]]) -> None:
    """Print as Markdown."""
    print("| " + " | ".join(header) + " |")
    print("|---" * len(header) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def resident(key: str) -> float:
    """A line of this process's memory account, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return float(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {key}")

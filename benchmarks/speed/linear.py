"""What two choices give on a CPU: the library of the linear maps, and freed memory that a process keeps.

    [VOIGT_DATA=...] python -m benchmarks.speed.linear [--rounds 7] [--crystals 64]

Prints Markdown tables; one thread, CPU time, candidates in turn. Without VOIGT_DATA the crystals are variations of the
examples.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch
from benchmarks.tools import timing
from benchmarks.tools.mixed_crystals import mixed_crystals
from torch import Tensor, nn

from voigt.graphs import build_graph, collate
from voigt.memory import keep_freed_memory
from voigt.models import linear as room
from voigt.models.checkpoint import load_model
from voigt.models.ensemble import one_by_one
from voigt.models.linear import linear
from voigt.structures.symmetry import find_symmetry

CALLS = 20
"""Calls that are measured together: a clock is too coarse for one."""


def rows(*shape: int) -> Tensor:
    return torch.randn(shape)


SHAPES: dict[str, tuple[Tensor, Tensor]] = {
    "strengths of `elastic`, a chunk": (rows(320, 48), rows(1728, 48)),
    "strengths of `elastic`, half a chunk": (rows(160, 48), rows(1728, 48)),
    "strengths of `piezo`, a chunk": (rows(512, 32), rows(1152, 32)),
    "their gradients, of activations": (rows(320, 1728), rows(1728, 48).T),
    "their gradients, of weights": (rows(320, 48).T, rows(320, 1728).T),
    "scalars of 600 atoms": (rows(600, 12, 96)[:, :1], rows(96, 96)),
    "vectors of 600 atoms": (rows(600, 12, 96)[:, 1:4], rows(96, 96).T),
    "quadrupoles of 600 atoms": (rows(600, 12, 96)[:, 7:], rows(96, 96).T),
    "bonds of `scalars`": (rows(6000, 64), rows(64, 128)[:, :64].T),
    "atoms of `scalars`": (rows(600, 448), rows(256, 448)),
}


def library(call: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor) -> timing.Call:
    return timing.without_grad(lambda: [call(x, weight) for _ in range(CALLS)])


def libraries(rounds: int) -> None:
    """Operations per second for shapes that occur in the networks that ship."""
    listing = []
    for name, (x, weight) in SHAPES.items():
        calls = {"MKL": library(nn.functional.linear, x, weight), "oneDNN": library(linear, x, weight)}
        times = timing.interleaved(calls, rounds)
        operations = 2 * CALLS * x.numel() * len(weight)
        speeds = [f"{1e-9 * operations / statistics.median(times[key]):.0f}" for key in calls]
        shape = " x ".join(map(str, x.shape)) + f" -> {len(weight)}"
        listing.append([name, shape, *speeds, f"{timing.ratio(times['MKL'], times['oneDNN']):.2f}"])
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"Linear maps in single precision, {capability}, GFLOP/s:\n")
    timing.table(["linear map", "shape", "MKL", "oneDNN", "times as fast"], listing)
    if not room._agrees():
        print("oneDNN does not serve on this processor: both columns are MKL's.\n")


def prediction_seconds(name: str, crystals: int) -> float:
    """Median CPU time of a model's networks for a batch."""
    torch.set_num_threads(1)
    model = load_model(name)
    structures = mixed_crystals(crystals)
    batch = collate([build_graph(one, model.hypers.cutoff, symmetry=find_symmetry(one)) for one in structures])
    call = timing.without_grad(partial(one_by_one(model.members), batch))
    for _ in range(3):
        call()
    return statistics.median(timing.cpu_seconds(call) for _ in range(7))


def measured_apart(name: str, crystals: int, keep: bool) -> float:
    """`prediction_seconds` in a process of its own, which keeps freed memory or not."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    command = [sys.executable, "-m", "benchmarks.speed.linear", "--crystals", str(crystals), "--model", name]
    command += ["--keep"] if keep else []
    done = subprocess.run(command, env=environment | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def memory(rounds: int, crystals: int) -> None:
    """A batch of predictions with and without `keep_freed_memory`."""
    listing = []
    for name in ("elastic", "scalars"):
        times: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(rounds):
            for keep, found in times.items():
                found.append(measured_apart(name, crystals, keep))
        each = [f"{timing.median_ms(found) / crystals:.2f}" for found in times.values()]
        listing.append([f"`{name}`", *each, f"{timing.ratio(times[False], times[True]):.2f}"])
    print(f"Networks of a model for a batch of {crystals} crystals, ms per crystal:\n")
    timing.table(["model", "memory is given back", "memory is kept", "times as fast"], listing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--crystals", type=int, default=64)
    parser.add_argument("--model", help="print the seconds of this model's networks alone")
    parser.add_argument("--keep", action="store_true", help="with --model: keep freed memory")
    options = parser.parse_args()
    if options.model is not None:
        if options.keep:
            keep_freed_memory()
        print(prediction_seconds(options.model, options.crystals))
        return
    timing.prepare()
    libraries(options.rounds)
    memory(max(options.rounds // 2, 1), options.crystals)


if __name__ == "__main__":
    main()

"""Speed on a CUDA device: Equivar's presets, messages by formulation, training steps of methods, models end to end.

    [VOIGT_DATA=...] python -m benchmarks.speed.gpu [--device cuda] [--crystals 1000] [--quick]

Prints Markdown tables in a few minutes. Times are of the wall clock between synchronizations, medians of rounds in
which candidates run in turn. Without VOIGT_DATA the models that ship predict variations of the examples. --quick
shrinks everything and runs on a CPU too (--device cpu): a test that it runs, which measures nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

import torch
from benchmarks.speed.equivar import PUBLISHED, charges, runs, zirconia
from benchmarks.tools.reference import copy_weights
from benchmarks.tools.timing import Call, table, training_step, without_grad
from torch import Tensor, nn

from voigt.graphs import CrystalBatch, build_graph, collate
from voigt.models.devices import describe, find_device
from voigt.models.equivar.hypers import preset
from voigt.models.equivar.model import Equivar
from voigt.models.equivariant import messages
from voigt.models.equivariant.paths import coupling_paths
from voigt.models.methods import build_network, parse_hypers
from voigt.models.network import Network
from voigt.prediction.plan import choose_models
from voigt.prediction.result import Settings
from voigt.prediction.stream import predict_planned
from voigt.structures import Input, InputStructure, read
from voigt.structures.symmetry import find_symmetry

FAST, FLOPS = 3.35e12, 67e12
"""Bytes and single-precision operations per second of an H100 SXM (data sheet), for the floor."""


def synchronized(call: Call, device: torch.device) -> float:
    """Seconds of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def in_turn(calls: Mapping[str, Call], device: torch.device, rounds: int) -> dict[str, float]:
    """Median seconds of every candidate."""
    for call in calls.values():
        for _ in range(2):
            synchronized(call, device)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(synchronized(call, device))
    return {name: statistics.median(values) for name, values in times.items()}


def as_formulation(name: str, call: Call) -> Call:
    """The call with or without Triton's kernels."""
    fused = messages.is_fused

    def run() -> None:
        if name == "one kernel after the other":
            messages.is_fused = lambda *_: False  # type: ignore[assignment]
        try:
            call()
        finally:
            messages.is_fused = fused  # type: ignore[assignment]

    return run


def floor(model: Equivar, batch: CrystalBatch) -> float:
    """Seconds that inference takes at least: the larger of traffic and arithmetic of the messages and strengths."""
    hypers, edges, atoms = model.hypers, len(batch.edge_source), len(batch.numbers)
    f, paths = hypers.channels, len(coupling_paths(hypers.paths == "published"))
    operations = 2 * edges * paths * hypers.num_radial * f + 2 * edges * f * (44 + 44 + 30)
    numbers = edges * (144 + 2 * paths * f + 12 * f) + 3 * atoms * 12 * f  # strengths are written and read
    return len(model.interactions) * max(4 * numbers / FAST, operations / FLOPS)


def presets(device: torch.device, quick: bool, compiled: bool) -> None:
    """Milliseconds per atom of the published sizes."""
    copies = 1 if quick else 64
    cells = [build_graph(zirconia((1, 1, 1) if quick else (2, 2, 2), seed), 3.0) for seed in range(copies)]
    batch = collate(cells).to(device)
    atoms, rows = len(batch.numbers), []
    for name, (inference, training) in PUBLISHED.items():
        calls: dict[str, Call] = {}
        model = Equivar(preset(name)).to(device)
        kinds = ["fused", "one kernel after the other"] if device.type == "cuda" else ["fused"]
        for kind in [*kinds, *(["compiled"] if compiled else [])]:
            network = model
            if kind == "compiled":
                network = Equivar(preset(name)).to(device)
                network.compile_products()

            def forward(network: Equivar = network) -> Tensor:
                return charges(network(batch))

            step = training_step(forward, list(network.parameters()))
            calls[f"{kind}: inference"] = as_formulation(kind, without_grad(forward))
            calls[f"{kind}: training"] = as_formulation(kind, step)
        times = in_turn(calls, device, 1 if quick else 10)
        for kind, seconds in times.items():
            published = inference if "inference" in kind else training
            least = f"{1e3 * floor(model, batch) / atoms:.5f}" if "inference" in kind else "-"
            rows.append([f"{name.upper()}, {kind}", f"{1e3 * seconds / atoms:.5f}", least, f"{published:.3f}"])
    print(f"### Milliseconds per atom, {atoms} atoms, {len(batch.edge_source)} edges\n")
    table(["network", "ms per atom", "floor (H100)", "published, RTX A6000"], rows)


def against_e3nn(device: torch.device, quick: bool) -> None:
    """The same network with the same weights."""
    batch = collate([build_graph(zirconia((1, 1, 1) if quick else (3, 3, 4)), 3.0)]).to(device)
    torch.manual_seed(0)
    ours = Equivar(preset("bm2"))
    models: dict[str, nn.Module] = {
        "e3nn, plain": copy_weights(ours, "plain").to(device),
        "e3nn, per-edge weights": copy_weights(ours, "contracted").to(device),
        "Voigt": ours.to(device),
    }
    calls = runs(models, batch, False)  # type: ignore[arg-type]
    rounds = 1 if quick else 10
    forward = in_turn({name: without_grad(call) for name, call in calls.items()}, device, rounds)
    steps = {name: training_step(call, list(models[name].parameters())) for name, call in calls.items()}
    step = in_turn(steps, device, rounds)
    plain = "e3nn, plain"
    rows = []
    for name in calls:
        cells = [(f"{1e3 * times[name]:.2f}", f"{times[plain] / times[name]:.1f}x") for times in (forward, step)]
        rows.append([name, *(text for cell in cells for text in cell)])
    print(f"### BM2 against e3nn, {len(batch.edge_source)} edges\n")
    table(["formulation", "forward, ms", "ratio", "training step, ms", "ratio"], rows)


def steps_of_methods(device: torch.device, quick: bool) -> None:
    """A training step of every method with its default hyper-parameters."""
    atoms = [zirconia((1, 1, 1), seed) for seed in range(2 if quick else 64)]
    rows = []
    for method in ("equivar", "goectp", "sen"):
        properties = ["formation_energy"] if method == "sen" else ["eps_inf"]
        network: Network = build_network(parse_hypers({"method": method, "properties": properties})).to(device).train()
        hypers = network.hypers
        options = hypers.axes_options
        graphs = [build_graph(one, hypers.cutoff, symmetry=find_symmetry(one), frame=options) for one in atoms]
        batch = collate(graphs).to(device)

        def forward(network: Network = network, batch: CrystalBatch = batch) -> Tensor:
            outputs, _ = network.training_pass(batch)
            return torch.cat([value.flatten() for value in outputs.values()])

        seconds = in_turn({"step": training_step(forward, list(network.parameters()))}, device, 1 if quick else 10)
        rows.append([method, f"{1e3 * seconds['step']:.2f}", f"{1e3 * seconds['step'] / len(atoms):.3f}"])
    print(f"### Training steps, default networks, {len(atoms)} crystals of 12 atoms\n")
    table(["method", "ms", "ms per crystal"], rows)


def structures(count: int) -> list[Input]:
    """Crystals of the test data, or examples at many volumes."""
    data = os.environ.get("VOIGT_DATA")
    if data is not None:
        return list(islice(read(Path(data) / "tensors" / "dielectric.extxyz"), count))
    examples = [entry for entry in read(sorted(Path("examples").glob("*.cif"))) if isinstance(entry, InputStructure)]
    made = []
    for k in range(count):
        atoms = examples[k % len(examples)].atoms.copy()
        atoms.set_cell(atoms.cell * (1 + 1e-4 * (k // len(examples))), scale_atoms=True)
        made.append(atoms)
    return list(read(made))


def end_to_end(device: torch.device, count: int) -> None:
    """Crystals to tensors, with and without other processes for symmetry and graphs."""
    given, rows = structures(count), []
    for name in ("born", "elastic", "piezo"):
        plan = choose_models(name, Settings(device=str(device), allow_unseen=True))
        list(predict_planned(given[:64], plan))

        def predict(workers: int, plan: object = plan) -> Callable[[], object]:
            return lambda: list(predict_planned(given, plan, workers=workers))  # type: ignore[arg-type]

        times = {number: synchronized(predict(number), device) for number in (1, 0)}
        rows.append([name, *(f"{1e3 * seconds / len(given):.3f}" for seconds in times.values())])
    print(f"### From structures to tensors, {len(given)} crystals, {os.cpu_count()} processors, ms per crystal\n")
    table(["model", "one process", "a process for each processor"], rows)


def profile(device: torch.device, quick: bool) -> None:
    """Where the time of inference goes."""
    if device.type != "cuda":
        return
    batch = collate([build_graph(zirconia((2, 2, 2), seed), 3.0) for seed in range(1 if quick else 64)]).to(device)
    model = Equivar(preset("bm2")).to(device)
    call = without_grad(lambda: model(batch))
    call()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as found:
        seconds = synchronized(call, device)
    kernels = {
        event.key: event.self_device_time_total for event in found.key_averages() if event.self_device_time_total
    }
    busy = sum(kernels.values()) / 1e6
    print(f"### Profile of BM2 inference: {1e3 * seconds:.2f} ms, device busy {100 * min(busy / seconds, 1):.0f} %\n")
    largest = sorted(kernels.items(), key=lambda item: -item[1])[:8]
    table(["kernel", "share"], [[name[:70], f"{100 * value / 1e6 / busy:.1f} %"] for name, value in largest])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--crystals", type=int, default=1000)
    parser.add_argument("--compile", action="store_true", help="also torch.compile, a minute more")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    device = find_device(arguments.device)
    print(f"{describe(device)}, PyTorch {torch.__version__}, float32, TF32 {torch.get_float32_matmul_precision()}.\n")
    presets(device, arguments.quick, arguments.compile)
    against_e3nn(device, arguments.quick)
    steps_of_methods(device, arguments.quick)
    end_to_end(device, 4 if arguments.quick else arguments.crystals)
    profile(device, arguments.quick)


if __name__ == "__main__":
    main()

"""Crystals per second of SEN in training and prediction on one CPU thread, and where the time goes.

    VOIGT_DATA=... python -m benchmarks.speed.sen [--crystals 640] [--graph-store DIR]

The recipe `scalars`, with both its targets, on crystals drawn at random from its training part: steps as training with
--device makes them, from graphs that stay in memory, in batches of 128. Every figure is CPU time (on a GPU: wall time).
With --graph-store (made by a training with the recipe) reading batches from the store is measured too, and the memory
of a process that goes once through all training crystals.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import partial
from importlib.resources import files
from statistics import median
from typing import Any

import numpy as np
import torch
from benchmarks.tools import timing
from torch import Tensor, nn

from voigt.graphs import CrystalBatch, CrystalGraph, collate
from voigt.models.sen.environment import ChannelAttention
from voigt.models.sen.model import SEN
from voigt.prediction.result import Settings
from voigt.structures.symmetry import find_symmetry
from voigt.training.datamodule import CrystalDataModule, read_data, training_graph
from voigt.training.recipe import Recipe, load_recipe
from voigt.training.resident import ResidentGraphs
from voigt.training.start import initial_network
from voigt.training.steps import Stepper

BATCH = 128
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ROUNDS = 3


def seconds(call: Callable[[], object]) -> float:
    """CPU time of a call, or wall time on an accelerator."""
    if DEVICE.type == "cpu":
        return timing.cpu_seconds(call)
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def repeated(call: Callable[[], object]) -> float:
    """Median over some calls, after two that compile and settle."""
    call()
    call()
    return median(seconds(call) for _ in range(ROUNDS))


def network_rows(
    recipe: Recipe, graphs: list[CrystalGraph], compiled: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds per crystal of training and prediction; compiled, also seconds of each part of a step on one batch."""
    network = initial_network(recipe, graphs).to(DEVICE).train()
    if not isinstance(network, SEN):
        raise TypeError("the recipe scalars is of method sen")
    if compiled:
        network.compile_products()
    resident = ResidentGraphs(graphs, recipe.model.functionals, DEVICE)
    step = Stepper(recipe, network)
    step.set_rates(1, 1e-6)  # the weights must stay the same for all practical purposes
    order = np.arange(len(graphs) // BATCH * BATCH).reshape(-1, BATCH)
    batches = [(torch.as_tensor(rows).to(DEVICE), resident.need(rows)) for rows in order]

    def train() -> None:
        for chosen, shape in batches:
            step(resident.batch(chosen, shape))

    @torch.no_grad()
    def predict() -> None:
        for first in range(0, order.size, BATCH):
            network(collate(graphs[first : first + BATCH]).to(DEVICE))

    @torch.no_grad()
    def single() -> None:
        for graph in graphs[:100]:
            network(collate([graph]).to(DEVICE))

    rows = {"training step": repeated(train) / order.size}
    parts = step_parts(network, step, resident.batch(*batches[0])) if compiled else {}
    network.eval()
    rows |= {"prediction": repeated(predict) / order.size, "prediction, one crystal at a time": repeated(single) / 100}
    return rows, parts


def step_parts(network: SEN, step: Stepper, batch: CrystalBatch) -> dict[str, float]:
    """Seconds of each part in a step: forwards and backwards through it alone, from what it is given in the step."""
    parts: dict[str, nn.Module] = {"composition": network.composition, "first vectors of bonds": network.loops.bond}
    parts |= {"pooling of atoms": network.pool_atoms, "pooling of bonds": network.pool_bonds}
    parts |= {"part capsules": network.parts, "object capsules": network.objects}
    names = {module: name for name, module in parts.items()}
    updates = [module for module in network.modules() if isinstance(module, ChannelAttention)]
    names |= dict.fromkeys(updates, "updates of atoms and state")
    names |= {loop.moments: "products of moments" for loop in network.loops.loops if loop.moments is not None}
    names |= dict.fromkeys([*network.readouts.values(), *([] if network.metal is None else [network.metal])], "heads")
    calls: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = []
    hooks = [
        module.register_forward_hook(lambda own, given, _: calls.append((names[own], own, given))) for module in names
    ]
    update = network.loops.update

    def watched(*given: Any) -> Any:
        calls.append(("updates of bonds, with moments", update, given))
        return update(*given)

    network.loops.update = watched
    network.training_pass(batch)
    network.loops.update = update
    for hook in hooks:
        hook.remove()
    result: dict[str, float] = {}
    for name, call, given in calls:
        result[name] = result.get(name, 0.0) + repeated(partial(passed, call, given, step.learned))
    whole = repeated(lambda: step(batch))
    result["optimizer and clipping"] = repeated(partial(moved, step))
    rest = max(whole - sum(result.values()), 0.0)
    return dict(sorted(result.items(), key=lambda item: -item[1])) | {"all else": rest, "whole step": whole}


def moved(step: Stepper) -> None:
    """What a step does with its gradients; those of the last one are still there."""
    torch.nn.utils.clip_grad_norm_(step.learned, step.recipe.optimizer.clip)
    step.optimizer.step()


def passed(call: Callable[..., Any], given: tuple[Any, ...], learned: list[Tensor]) -> None:
    """Forwards, and backwards to what is learned and to inputs with a gradient."""
    own = tuple(_cut(value) for value in given)
    outputs, inputs = _differentiable(call(*own)), _differentiable(own)
    ones = [torch.ones_like(output) for output in outputs]
    torch.autograd.grad(outputs, [*inputs, *learned], ones, allow_unused=True)


def _cut(value: Any) -> Any:
    """The same values, apart from the pass that made them."""
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return value.detach().requires_grad_(value.requires_grad)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _cut(getattr(value, field.name)) for field in fields(value)})
    return value


def _differentiable(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.requires_grad else []
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    return [tensor for part in value for tensor in _differentiable(part)] if isinstance(value, tuple | list) else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", type=int, default=640, help=f"at least {BATCH}")
    parser.add_argument("--graph-store")
    options = parser.parse_args()
    timing.prepare()
    source = load_recipe(str(files("voigt.training") / "recipes" / "scalars.yaml"))
    recipe = source.model_copy(update={"data_root": os.environ["VOIGT_DATA"], "graph_store": options.graph_store})
    start = time.process_time()
    data = read_data(recipe)
    reading = time.process_time() - start
    random = np.random.default_rng(0).permutation(len(data.parts["train"]))
    crystals = list(data.select("train").take(random[: options.crystals].tolist()))
    symprec = recipe.symmetry or Settings().symprec
    rows = {"symmetry": repeated(lambda: [find_symmetry(one.atoms, symprec) for one in crystals[:BATCH]]) / BATCH}
    start = time.process_time()
    graphs = [training_graph(crystal, recipe) for crystal in crystals]
    rows["symmetry and graph"] = (time.process_time() - start) / len(graphs)
    resident = ResidentGraphs(graphs, recipe.model.functionals, DEVICE)
    chosen = np.arange(BATCH)
    shape, there = resident.need(chosen), torch.as_tensor(chosen).to(DEVICE)
    rows[f"batch of {BATCH}"] = repeated(lambda: resident.batch(there, shape)) / BATCH
    for compiled in (False, True):
        found, parts = network_rows(recipe, graphs, compiled)
        rows |= {f"{name}{', compiled' if compiled else ''}": value for name, value in found.items()}
    sizes = np.array([(g.num_atoms, len(g.representative), g.num_edges) for g in graphs]).mean(axis=0)
    print(
        f"{len(graphs)} crystals of {sizes[0]:.1f} atoms, {sizes[1]:.1f} orbits and {sizes[2]:.0f} edges on average; "
        f"{DEVICE.type}, one thread. Reading and splitting {len(data.crystals):,} rows: {reading:.1f} s.\n"
    )
    listing = [[name, f"{1e3 * value:.2f}", f"{1 / value:,.0f}"] for name, value in rows.items()]
    timing.table(["step", "ms per crystal", "crystals per second"], listing)
    print(f"A compiled training step of {BATCH} crystals, {shape.orbits} orbits and {shape.edges:,} edges:\n")
    whole = parts.pop("whole step")
    listing = [[name, f"{1e3 * value:.1f}", f"{100 * value / whole:.1f} %"] for name, value in parts.items()]
    timing.table(["part", "ms", "share"], listing)
    if options.graph_store is not None:
        store_rows(recipe, data, rows["training step, compiled"])


def store_rows(recipe: Recipe, data: Any, step: float) -> None:
    """Reading all training crystals once from the graph store."""
    loader = CrystalDataModule(recipe, data).train_dataloader()
    start, count = time.process_time(), 0
    for batch in loader:
        count += batch.num_crystals
    each = (time.process_time() - start) / count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"From the graph store: {1e3 * each:.2f} ms per crystal into batches, {100 * each / (each + step):.0f} % of "
        f"the training; peak memory after all {count:,} training crystals {peak:.1f} GiB, pages of the store included."
    )


if __name__ == "__main__":
    main()

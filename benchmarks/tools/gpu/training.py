"""Steps of the three methods as `voigt train` makes them, started kernel by kernel and recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import ase
import numpy as np
import torch
from benchmarks.tools.gpu.measuring import Table, in_turn, ms, reason, times_as
from benchmarks.tools.mixed_crystals import mixed_crystals
from benchmarks.tools.timing import Call
from torch import Tensor

from voigt.errors import RecipeError
from voigt.graphs import CrystalGraph, build_graph, collate
from voigt.structures.symmetry import find_symmetry
from voigt.tensors.properties import PROPERTIES
from voigt.training.recipe import Recipe, parse_recipe
from voigt.training.resident import ResidentGraphs
from voigt.training.start import initial_network
from voigt.training.steps import RecordedSteps, Stepper

METHODS = {
    "equivar": (("born_charges", "eps_inf"), 64),
    "goectp": (("eps_inf",), 64),
    "sen": (("band_gap", "formation_energy"), 512),
}
"""Properties, and crystals of a batch as in the recipes that ship."""
STARTED, RECORDED = "started one by one", "recorded"
RATE = 1e-6
"""Learning rate: the weights stay the same for all practical purposes."""


def recipe_of(method: str, properties: Sequence[str], size: int) -> Recipe:
    """Default hyper-parameters and optimizer."""
    content = {
        "name": method,
        "model": {"method": method, "properties": list(properties)},
        "data": [{"path": "none.extxyz"}],
        "targets": {name: {} for name in properties},
        "batch_size": size,
    }
    return parse_recipe(content, "benchmark")


def label(name: str, atoms: int, random: np.random.Generator) -> Tensor:
    """Some value that a property may have."""
    prop = PROPERTIES[name]
    rows, shape = (atoms if prop.per == "atom" else 1), (3,) * prop.rank
    if name == "eps_inf":
        return torch.eye(3).mul(4.0 + random.random()).expand(1, 3, 3)
    return torch.tensor(np.abs(random.normal(size=(rows, *shape))), dtype=torch.float32)


def labeled_graphs(crystals: Sequence[ase.Atoms], recipe: Recipe) -> list[CrystalGraph]:
    """Graphs as the network of a recipe wants them, reduced by symmetry."""
    random, hypers = np.random.default_rng(0), recipe.model
    graphs = []
    for atoms in crystals:
        symmetry, mic = find_symmetry(atoms), hypers.neighbors == "mic"
        graph = build_graph(atoms, hypers.cutoff, mic, symmetry=symmetry, frame=hypers.axes_options)
        graphs.append(replace(graph, targets={name: label(name, len(atoms), random) for name in recipe.targets}))
    return graphs


def steps_of_methods(device: torch.device, quick: bool) -> Iterator[Table]:
    """One optimizer step: loss, gradients, clipping, AdamW, running average."""
    rows = []
    stream = torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else nullcontext()
    with stream:  # nothing can be recorded on the stream that is there from the start
        for method, (properties, most) in METHODS.items():
            size = 4 if quick else most
            recipe = recipe_of(method, properties, size)
            try:
                rows.append(method_row(recipe, labeled_graphs(mixed_crystals(size), recipe), device, quick))
            except Exception as error:  # the other methods go on
                rows.append([method, f"not measured: {reason(error)}", *["-"] * 5])
    header = ["method, default network", "batch", f"{STARTED}, ms", f"{RECORDED}, ms", "times as fast", "crystals/s"]
    note = "Batches are put together on the device in every step, those with canonical axes before on the host."
    yield Table("Training steps", [*header, "not recorded because"], rows, note)


def method_row(recipe: Recipe, graphs: Sequence[CrystalGraph], device: torch.device, quick: bool) -> list[str]:
    """Cells of one method."""
    whole, count = collate(graphs), len(graphs)
    size = f"{count} crystals, {len(whole.numbers):,} atoms, {len(whole.edge_source):,} edges"
    calls: dict[str, Call] = {}
    problem = ""
    try:
        resident = ResidentGraphs(graphs, recipe.model.functionals, device)
        need = resident.need(np.arange(count))
        for kind, shapes in ((STARTED, []), (RECORDED, [need])):  # a shape that is not among them is not recorded
            step = RecordedSteps(resident, stepper_of(recipe, graphs, device), shapes, count)
            calls[kind] = partial(step, torch.arange(count, device=device), need)
    except RecipeError as error:  # canonical axes: batches are put together on the host
        problem = reason(error)
        calls = {STARTED: partial(stepper_of(recipe, graphs, device), whole.to(device))}
    if device.type != "cuda" and calls.pop(RECORDED, None) is not None:
        problem = "only a CUDA device records"
    times = in_turn(calls, device, 1 if quick else 10)
    first, recorded = times[STARTED], times.get(RECORDED, problem)
    problem = recorded if isinstance(recorded, str) else "-"
    best = first if isinstance(recorded, str) else recorded
    rate = "-" if isinstance(best, str) else f"{count / best:,.0f}"
    cells = [size, ms(first, digits=2), "-" if isinstance(recorded, str) else ms(recorded, digits=2)]
    return [recipe.name, *cells, times_as(first, recorded), rate, problem]


def stepper_of(recipe: Recipe, graphs: Sequence[CrystalGraph], device: torch.device) -> Stepper:
    """A network ready to learn, at a rate that changes nothing."""
    stepper = Stepper(recipe, initial_network(recipe, graphs).to(device).train())
    stepper.set_rates(1000, RATE)
    return stepper

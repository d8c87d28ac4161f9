"""Networks of the Equivar paper: presets, and the same function by e3nn and by libraries of kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from benchmarks.speed.equivar import PUBLISHED, charges, layer_ours, layer_reference, zirconia
from benchmarks.tools.gpu.floor import Cost, message_passing, peaks, tensor_product
from benchmarks.tools.gpu.measuring import Table, in_turn, ms, reason, release, times_as
from benchmarks.tools.gpu.tensor_products import (
    MAKERS,
    Graph,
    KernelEquivar,
    Product,
    components_inside,
    components_outside,
    make_graph,
    sorted_batch,
)
from benchmarks.tools.reference import copy_weights
from benchmarks.tools.timing import Call, training_step, without_grad
from torch import Tensor, nn

from voigt.graphs import CrystalBatch, build_graph, collate
from voigt.models.equivar.hypers import EquivarHypers, preset
from voigt.models.equivar.model import Equivar
from voigt.models.equivariant import messages
from voigt.models.equivariant.paths import NUM_ROWS, coupling_paths

PLAIN, PER_EDGE, OURS, COPY = "e3nn, plain", "e3nn, per-edge weights", "Voigt", "copy"
MOST_DIFFERENT = 1e-4
"""Largest difference from e3nn, relative to the largest number, with which something is timed."""
KINDS = {"forward": False, "step": True}
"""What `compare` times, and whether with gradients."""
RATE = 0.0
"""Of learning: models are used again and must stay the same."""
UNFUSED = "one kernel after the other"


def device_name(device: torch.device) -> str:
    """Of its maker; empty for a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def zirconia_batch(repeats: tuple[int, int, int], copies: int, device: torch.device) -> CrystalBatch:
    """Displaced ZrO2 supercells, cutoff 3 A."""
    return collate([build_graph(zirconia(repeats, seed), 3.0) for seed in range(copies)]).to(device)


def as_formulation(name: str, call: Call) -> Call:
    """The call with or without Triton's kernels."""
    fused = messages.is_fused

    def run() -> None:
        if name == UNFUSED:
            messages.is_fused = lambda *_: False
        try:
            call()
        finally:
            messages.is_fused = fused

    return run


def presets(device: torch.device, quick: bool, compiled: bool) -> Iterator[Table]:
    """Milliseconds per atom of the published sizes, and how long they would take at least."""
    batch = zirconia_batch((1, 1, 1) if quick else (2, 2, 2), 1 if quick else 64, device)
    atoms, fastest = len(batch.numbers), peaks(device_name(device))
    size = size_of(batch)
    rows, costs = [], []
    for name, published in PUBLISHED.items():
        model = Equivar(preset(name)).to(device)
        kinds = ["fused", UNFUSED] if device.type == "cuda" else ["chunks"]
        calls: dict[str, tuple[str, Call]] = {}
        for kind in [*kinds, *(["compiled"] if compiled else [])]:
            network = model
            if kind == "compiled":
                network = Equivar(preset(name)).to(device)
                network.compile_products()

            def forward(network: Equivar = network) -> Tensor:
                return charges(network(batch))

            step = training_step(forward, list(network.parameters()))
            calls[f"{kind}: inference"] = ("inference", as_formulation(kind, without_grad(forward)))
            calls[f"{kind}: training"] = ("training", as_formulation(kind, step))
        times = in_turn({key: call for key, (_, call) in calls.items()}, device, 1 if quick else 10)
        cost = {
            "inference": message_passing(model.hypers, batch, False),
            "training": message_passing(model.hypers, batch, True),
        }
        reference = dict(zip(("inference", "training"), published, strict=True))
        for key, seconds in times.items():
            which, _ = calls[key]
            least = cost[which].seconds(fastest)
            row = [ms(seconds, atoms, 5), ms(least, atoms, 6), times_as(seconds, least), f"{reference[which]:.3f}"]
            rows.append([f"{name.upper()}, {key}", *row])
        costs += [floor_row(f"{name.upper()}, {which}", one, batch) for which, one in cost.items()]
    header = ["network", "ms per atom", f"floor ({fastest.name})", "times the floor", "published, RTX A6000"]
    yield Table(f"Milliseconds per atom, {size}", header, rows)
    yield floor_table(size, device, costs)


def floor_row(name: str, cost: Cost, batch: CrystalBatch) -> list[str]:
    """Cells of `floor_table`, on the device of the batch."""
    fastest = peaks(device_name(batch.numbers.device))
    return [
        name,
        f"{cost.operations / 1e9:.2f}",
        f"{cost.bytes / 1e6:.1f}",
        ms(cost.operations / fastest.arithmetic, digits=4),
        ms(cost.bytes / fastest.bandwidth, digits=4),
        ms(cost.least_seconds(fastest), digits=4),
    ]


def floor_table(size: str, device: torch.device, rows: list[list[str]]) -> Table:
    """What arithmetic and memory allow."""
    fastest = peaks(device_name(device))
    header = ["network", "10^9 operations", "MB", "ms of arithmetic", "ms of memory", "ms, strengths never stored"]
    note = (
        f"Floor: {fastest.name}, {fastest.bandwidth / 1e12:.2f} TB/s, {fastest.arithmetic / 1e12:.0f} TFLOP/s in "
        "single precision without tensor cores; operations of the messages and of the maps of the nodes."
    )
    return Table(f"What the device allows, {size}", header, rows, note)


class Candidate(NamedTuple):
    """One way to compute something.

    Attributes
    ----------
    forward
        What is timed, without gradients.
    step
        What is timed with them.
    values
        What it gives, in a layout common to all.
    """

    forward: Call
    step: Call
    values: Callable[[], list[Tensor]]


def relative(found: list[Tensor], expected: list[Tensor]) -> float:
    """Largest difference over the largest number, of the worst of some tensors."""
    pairs = zip(found, expected, strict=True)
    return max(float((one - other).detach().abs().max() / other.detach().abs().max()) for one, other in pairs)


def compare(
    title: str, candidates: Mapping[str, Candidate | str], device: torch.device, rounds: int, least: Mapping[str, Cost]
) -> Table:
    """Times of all candidates in turn; only those are timed that give what the first one gives.

    Parameters
    ----------
    title
        Of the table.
    candidates
        Name -> candidate, or why there is none.
    device, rounds
        Of `in_turn`.
    least
        Cost of "forward" and "step".
    """
    problems: dict[str, str] = {}
    differences: dict[str, float] = {}
    sound: dict[str, Candidate] = {}
    first = ""
    expected: list[Tensor] = []
    for name, one in candidates.items():
        if isinstance(one, str):
            problems[name] = one
            continue
        try:
            values = one.values()
            first, expected = (first, expected) if first else (name, values)
            differences[name] = relative(values, expected)
        except Exception as error:  # out of memory, or whatever another library raises: the others go on
            problems[name] = reason(error)
        else:
            if differences[name] <= MOST_DIFFERENT:
                sound[name] = one
            else:
                problems[name] = f"differs from {first} by {differences[name]:.0e}"
        release(device)
    del expected
    fastest = peaks(device_name(device))
    forward = in_turn({name: one.forward for name, one in sound.items()}, device, rounds)
    step = in_turn({name: one.step for name, one in sound.items()}, device, rounds)
    rows = []
    for name in candidates:
        row = [name]
        for kind, times in (("forward", forward), ("step", step)):
            seconds = times.get(name, problems.get(name, ""))
            row.append("-" if kind == "step" and name in problems else ms(seconds))
            row += [times_as(times.get(first, ""), seconds)]
            row.append(times_as(seconds, least[kind].seconds(fastest)))
        rows.append([*row, "-" if name == first or name not in differences else f"{differences[name]:.0e}"])
    header = ["", "forward, ms", "speed", "times the floor", "with gradients, ms", "speed", "times the floor"]
    note = f"Speed: that of {first} is 1. Difference: largest, relative to the largest number."
    return Table(title, [*header, "difference"], rows, note)


@lru_cache
def references(device: torch.device) -> dict[str, nn.Module]:
    """BM2 in three formulations with the same weights, and one more copy for other tensor products.

    They are kept, since e3nn's modules are compiled while they run for the first time. Features of damped weights stay
    of order one through six blocks of plain sums.
    """
    torch.manual_seed(0)
    model = Equivar(preset("bm2"))
    with torch.no_grad():
        for interaction in model.interactions:
            interaction.linear.weight *= 0.5
    made = {PLAIN: "plain", PER_EDGE: "contracted", COPY: "contracted"}
    found: dict[str, nn.Module] = {name: copy_weights(model, kind).to(device) for name, kind in made.items()}
    return {**found, OURS: model.to(device)}


def formulations(device: torch.device) -> dict[str, nn.Module]:
    """e3nn's two and ours."""
    return {name: references(device)[name] for name in (PLAIN, PER_EDGE, OURS)}


def against_e3nn(device: torch.device, quick: bool) -> Iterator[Table]:
    """One block and the whole network, for a crystal of 432 atoms and for a batch that fills a device."""
    for repeats, copies in [((1, 1, 1), 1)] if quick else [((3, 3, 4), 1), ((2, 2, 2), 64)]:
        batch = zirconia_batch(repeats, copies, device)
        yield blocks(formulations(device), batch, quick)
        yield networks(formulations(device), batch, quick)


def blocks(
    models: Mapping[str, nn.Module | str], batch: CrystalBatch, quick: bool, graph: Graph | None = None
) -> Table:
    """One interaction on features of all types, from edge vectors on."""
    generator = torch.Generator().manual_seed(0)
    device = batch.numbers.device
    rows = torch.randn(len(batch.numbers), NUM_ROWS, 32, generator=generator).to(device)
    found: dict[str, Candidate | str] = {}
    for name, model in models.items():
        if isinstance(model, str):
            found[name] = model
            continue
        inside = name in (PLAIN, PER_EDGE)
        features = (components_inside(rows) if inside else rows.clone()).requires_grad_()

        def forward(model: Any = model, features: Tensor = features) -> Tensor:
            if isinstance(model, Equivar):
                return layer_ours(model, batch, features)
            if not isinstance(model, KernelEquivar) or graph is None:
                return layer_reference(model, batch, features)
            made, radial = model.geometry(batch, graph)
            return model.layer(model.reference.interactions[0], features, radial, made)

        def values(forward: Callable[[], Tensor] = forward, inside: bool = inside) -> list[Tensor]:
            with torch.no_grad():
                result = forward()
            return [components_outside(result) if inside else result]

        whole = model.reference if isinstance(model, KernelEquivar) else model
        parameters = list(whole.get_submodule("interactions.0").parameters())
        found[name] = Candidate(without_grad(forward), training_step(forward, parameters, RATE), values)
    title = f"One interaction of BM2 on dense features, {size_of(batch)}"
    one = preset("bm2").model_copy(update={"interactions": 1})
    return compare(title, found, device, 1 if quick else 10, both_costs(one, batch))


def networks(
    models: Mapping[str, nn.Module | str], batch: CrystalBatch, quick: bool, graph: Graph | None = None
) -> Table:
    """All of BM2."""
    device, found = batch.numbers.device, {}
    for name, model in models.items():
        if isinstance(model, str):
            found[name] = model
            continue

        def forward(model: Any = model) -> Tensor:
            return charges(model(batch, graph) if isinstance(model, KernelEquivar) else model(batch))

        def values(forward: Callable[[], Tensor] = forward) -> list[Tensor]:
            with torch.no_grad():
                return [forward()]

        step = training_step(forward, list(model.parameters()), RATE)
        found[name] = Candidate(without_grad(forward), step, values)
    return compare(f"BM2, {size_of(batch)}", found, device, 1 if quick else 10, both_costs(preset("bm2"), batch))


def size_of(batch: CrystalBatch) -> str:
    """In words."""
    return f"{len(batch.numbers):,} atoms, {len(batch.edge_source):,} edges"


def both_costs(hypers: EquivarHypers, batch: CrystalBatch) -> dict[str, Cost]:
    """For `compare`."""
    return {kind: message_passing(hypers, batch, training) for kind, training in KINDS.items()}


def other_kernels(device: torch.device, quick: bool) -> Iterator[Table]:
    """The tensor product alone, one block and the whole network, where other libraries make the kernels."""
    batch = sorted_batch(zirconia_batch((1, 1, 1) if quick else (2, 2, 2), 1 if quick else 64, device))
    graph, kinds = make_graph(batch), coupling_paths(published=True)
    products: dict[str, Product | str] = {}
    for name, make in MAKERS.items():
        try:
            products[name] = make(kinds, 32, device)
        except Exception as error:  # not installed, or not for this machine
            products[name] = reason(error)
    yield tensor_products(products, batch, graph, quick)
    models: dict[str, nn.Module | str] = dict(formulations(device))
    for name, product in products.items():
        if name not in models:
            copy = references(device)[COPY]
            models[name] = product if isinstance(product, str) else KernelEquivar(copy, product)
    yield blocks(models, batch, quick, graph)
    yield networks(models, batch, quick, graph)


def tensor_products(products: Mapping[str, Product | str], batch: CrystalBatch, graph: Graph, quick: bool) -> Table:
    """Gather, couple, sum, with weights of each edge that are given; with gradients of features and weights."""
    generator = torch.Generator().manual_seed(0)
    device, edges = batch.numbers.device, len(batch.edge_source)
    rows, gradient = (torch.randn(len(batch.numbers), NUM_ROWS, 32, generator=generator).to(device) for _ in range(2))
    paths = len(coupling_paths(published=True))
    given = torch.randn(edges, 32 * paths, generator=generator).to(device)
    found: dict[str, Candidate | str] = {}
    for name, product in products.items():
        if isinstance(product, str):
            found[name] = product
            continue
        features = product.features(rows).requires_grad_()
        weights = given.clone().requires_grad_()
        incoming = product.features(gradient)

        def forward(product: Product = product, features: Tensor = features, weights: Tensor = weights) -> Tensor:
            return product.run(features, weights, graph)

        def step(
            forward: Callable[[], Tensor] = forward,
            features: Tensor = features,
            weights: Tensor = weights,
            incoming: Tensor = incoming,
        ) -> tuple[Tensor, ...]:
            result = forward()
            return result.detach(), *torch.autograd.grad(result, (features, weights), incoming)

        def values(product: Product = product, step: Callable[[], tuple[Tensor, ...]] = step) -> list[Tensor]:
            result, of_features, of_weights = step()
            return [product.rows(result), product.rows(of_features), of_weights]

        found[name] = Candidate(without_grad(forward), step, values)
    title = f"The tensor product with weights of each edge, 32 channels, {paths} couplings, {size_of(batch)}"
    least = {kind: tensor_product(preset("bm2"), batch, with_gradients) for kind, with_gradients in KINDS.items()}
    return compare(title, found, device, 1 if quick else 10, least)

"""Speed of Equivar on one CPU thread: against e3nn formulations of the same network, per atom, with size, by symmetry.

    python -m benchmarks.speed.equivar [--compile] [--naive] [--quick] [--json FILE]

Times are CPU times of the one thread: other programs enter only through shared caches and memory. Candidates that are
compared run in turn, and ratios are medians over the rounds. --compile adds torch.compile (several minutes); --naive
adds e3nn without its optimization of einsum orders, which is on by default; --quick shrinks everything to under a
minute and measures nothing worth quoting. Tables are Markdown.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ase
import e3nn
import numpy as np
import torch
from ase.spacegroup import crystal
from benchmarks.tools.reference import NODE, ReferenceEquivar, copy_weights
from benchmarks.tools.timing import (
    Call,
    interleaved,
    log,
    median_ms,
    prepare,
    ratio,
    resident,
    table,
    training_step,
    without_grad,
)
from torch import Tensor

from voigt.graphs import CrystalBatch, build_graph, collate
from voigt.graphs.neighbors import neighbor_list
from voigt.models.equivar.hypers import EquivarHypers, preset
from voigt.models.equivar.model import Equivar
from voigt.models.equivariant.messages import Edges
from voigt.models.equivariant.paths import NODE_ROWS, NUM_ROWS
from voigt.structures.symmetry import find_symmetry

PUBLISHED = {"bm1": (0.340, 0.493), "bm2": (0.117, 0.156)}
"""Inference and training, ms per atom (and epoch), on one RTX A6000 (Kutana et al. 2025)."""


def zirconia(repeats: tuple[int, int, int], seed: int = 0) -> ase.Atoms:
    """Cubic ZrO2 (a = 5.07 A, 12 atoms a cell), displaced at random by 0.05 A as by thermal motion."""
    atoms = crystal(["Zr", "O"], [(0, 0, 0), (0.25, 0.25, 0.25)], spacegroup=225, cellpar=[5.07] * 3 + [90] * 3)
    atoms = atoms * repeats
    atoms.rattle(0.05, seed=seed)
    return atoms


def symmetric_crystals() -> dict[str, ase.Atoms]:
    """Crystals from their space group and published lattice constants."""

    def cubic(a: float) -> list[float]:
        return [a, a, a, 90, 90, 90]

    return {
        "NaCl, 8 atoms": crystal(["Na", "Cl"], [(0, 0, 0), (0.5, 0.5, 0.5)], spacegroup=225, cellpar=cubic(5.64)),
        "BaTiO3, P4mm, 5 atoms": crystal(
            ["Ba", "Ti", "O", "O"],
            [(0, 0, 0), (0.5, 0.5, 0.5135), (0.5, 0.5, -0.025), (0.5, 0, 0.485)],
            spacegroup=99,
            cellpar=[3.9945, 3.9945, 4.0335, 90, 90, 90],
        ),
        "quartz, 9 atoms": crystal(
            ["Si", "O"],
            [(0.4697, 0, 1 / 3), (0.4135, 0.2669, 0.4524)],
            spacegroup=152,
            cellpar=[4.9134, 4.9134, 5.4052, 90, 90, 120],
        ),
        "spinel MgAl2O4, 56 atoms": crystal(
            ["Mg", "Al", "O"],
            [(0.125, 0.125, 0.125), (0.5, 0.5, 0.5), (0.2624, 0.2624, 0.2624)],
            spacegroup=227,
            setting=2,
            cellpar=cubic(8.083),
        ),
    }


# --- the same network in several formulations ---


def charges(output: Tensor | dict[str, Tensor]) -> Tensor:
    return output["born_charges"] if isinstance(output, dict) else output


def layer_ours(model: Equivar, batch: CrystalBatch, features: Tensor) -> Tensor:
    """Geometry and one interaction of ours on given node features (n_atoms, 12, channels)."""
    distance = torch.linalg.vector_norm(batch.edge_vector, dim=1)
    geometry = (model.radial(distance), model.radial.envelope(distance))
    edges = Edges(batch.edge_source, batch.edge_target, model.frames(batch.edge_vector))
    result: Tensor = model.interactions[0](features, features, batch.numbers, edges, geometry, model.kernels)
    return result


def layer_reference(model: ReferenceEquivar, batch: CrystalBatch, features: Tensor) -> Tensor:
    """The same by e3nn; node features in e3nn's layout."""
    vector = batch.edge_vector
    radial, harmonics = model.radial(vector.norm(dim=1)), model.harmonics(vector)
    result: Tensor = model.interactions[0](features, batch.edge_source, batch.edge_target, radial, harmonics)
    return result


def to_e3nn(features: Tensor) -> Tensor:
    """(n_atoms, 12, channels) -> e3nn's (n_atoms, 12 x channels)."""
    return torch.cat([features[:, NODE_ROWS[kind]].transpose(1, 2).flatten(1) for kind in NODE], dim=1)


def unoptimized(model: Equivar) -> ReferenceEquivar:
    """The plain formulation with every einsum evaluated in one go."""
    before = e3nn.get_optimization_defaults()["optimize_einsums"]
    e3nn.set_optimization_defaults(optimize_einsums=False)
    try:
        return copy_weights(model, "plain")
    finally:
        e3nn.set_optimization_defaults(optimize_einsums=before)


def candidates(interactions: int, compiled: bool, naive: bool = False) -> dict[str, Equivar | ReferenceEquivar]:
    """The paper's F = 32 network, one set of weights, in all formulations."""
    torch.manual_seed(0)
    hypers = preset("bm2").model_copy(update={"interactions": interactions})
    model = Equivar(hypers)
    with torch.no_grad():  # damped, so that six blocks of plain sums keep features of order one
        for interaction in model.interactions:
            interaction.linear.weight *= 0.5
    found: dict[str, Equivar | ReferenceEquivar] = {
        "e3nn, plain": copy_weights(model, "plain"),
        "e3nn, per-edge weights": copy_weights(model, "contracted"),
        "Voigt, eager": model,
    }
    if compiled:
        fast = Equivar(hypers)
        fast.load_state_dict(model.state_dict())
        fast.compile_products()
        found["Voigt, compiled"] = fast
    if naive:
        found["e3nn, plain, einsums not optimized"] = unoptimized(model)
    return found


def runs(
    models: Mapping[str, Equivar | ReferenceEquivar], batch: CrystalBatch, one_layer: bool
) -> dict[str, Callable[[], Tensor]]:
    """The forward pass of every candidate: one interaction on dense node features, or the whole network."""
    features = torch.randn(len(batch.numbers), NUM_ROWS, 32, generator=torch.Generator().manual_seed(0))

    def bind(model: Equivar | ReferenceEquivar) -> Callable[[], Tensor]:
        if not one_layer:
            return lambda: charges(model(batch))
        if isinstance(model, ReferenceEquivar):
            flat = to_e3nn(features)
            return lambda: layer_reference(model, batch, flat)
        return lambda: to_e3nn(layer_ours(model, batch, features))

    return {name: bind(model) for name, model in models.items()}


def comparison_batch(quick: bool) -> CrystalBatch:
    """432 atoms and 4,032 edges (36 atoms and 336 edges)."""
    return collate([build_graph(zirconia((3, 1, 1) if quick else (3, 3, 4)), 3.0)])


def peak_memory(name: str, interactions: int, train: bool, quick: bool, queue: Any) -> None:
    """In a fresh process: MB that one pass needs above what is resident before it (warmed up on a small crystal)."""
    prepare()
    model = candidates(interactions, name == "Voigt, compiled")[name]
    for atoms in (zirconia((2, 1, 1)), None):
        batch = comparison_batch(quick) if atoms is None else collate([build_graph(atoms, 3.0)])
        call = runs({name: model}, batch, False)[name]
        work = training_step(call, list(model.parameters())) if train else without_grad(call)
        if atoms is None:
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls back to what is resident now
            before = resident("VmRSS")
            work()
            queue.put(resident("VmHWM") - before)
        else:
            work()


def measured_peak(name: str, interactions: int, train: bool, quick: bool) -> float | None:
    """`peak_memory` in its own process; None where Linux's /proc is absent."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=peak_memory, args=(name, interactions, train, quick, queue))
    process.start()
    process.join()
    return None if process.exitcode else float(queue.get())


def compare(interactions: int, one_layer: bool, compiled: bool, naive: bool, quick: bool) -> dict[str, Any]:
    """Times, ratios, differences and memory of all formulations."""
    batch = comparison_batch(quick)
    models = candidates(interactions, compiled, naive)
    calls = runs(models, batch, one_layer)
    title = "one interaction on dense features" if one_layer else f"whole network, {interactions} interactions"
    log(f"{title}: {len(batch.numbers)} atoms, {len(batch.edge_source)} edges")
    with torch.no_grad():
        expected = calls["e3nn, plain"]()
        scale = expected.abs().max()
        difference = {name: float((call() - expected).abs().max() / scale) for name, call in calls.items()}
    inference = {name: without_grad(call) for name, call in calls.items()}
    training = {}
    for name, call in calls.items():
        used = models[name].interactions if one_layer else models[name]
        training[name] = training_step(call, list(used.parameters()))
    compile_seconds = None
    if compiled:
        start = time.perf_counter()
        inference["Voigt, compiled"]()
        training["Voigt, compiled"]()
        compile_seconds = time.perf_counter() - start
        log(f"  compiled in {compile_seconds:.0f} s (not in the times below)")
    rounds = 1 if quick else 5 if one_layer else 3
    forward, step = interleaved(inference, rounds), interleaved(training, rounds)
    plain = "e3nn, plain"
    result: dict[str, Any] = {"title": title, "edges": len(batch.edge_source), "compile_seconds": compile_seconds}
    rows = []
    for name in calls:
        memory = None
        if not one_layer and not quick:
            log(f"  memory of {name}")
            memory = [measured_peak(name, interactions, train, quick) for train in (False, True)]
        result[name] = {
            "forward_ms": median_ms(forward[name]),
            "forward_ratio": ratio(forward[plain], forward[name]),
            "step_ms": median_ms(step[name]),
            "step_ratio": ratio(step[plain], step[name]),
            "difference": difference[name],
            "peak_mb": memory,
        }
        entry = result[name]
        digits = 0 if entry["forward_ratio"] >= 0.95 else 2
        rows.append(
            [
                name,
                f"{entry['forward_ms']:.1f}",
                f"{entry['forward_ratio']:.{digits}f}x",
                f"{entry['step_ms']:.1f}",
                f"{entry['step_ratio']:.{digits}f}x",
                f"{entry['difference']:.0e}" if name != plain else "-",
            ]
        )
        if not one_layer:
            rows[-1].append("-" if memory is None or None in memory else f"{memory[0]:.0f} / {memory[1]:.0f}")
    header = ["formulation", "forward, ms", "ratio", "training step, ms", "ratio", "largest difference (relative)"]
    if not one_layer:
        header.append("peak memory forward / step, MB")
    print(f"### Same weights, F = 32, {len(batch.edge_source)} edges: {title}\n")
    table(header, rows)
    if compile_seconds is not None:
        print(f"Compiling (forward and backward, once) took {compile_seconds:.0f} s, not counted above.\n")
    return result


# --- ours alone ---


def per_atom(quick: bool, compiled: bool) -> dict[str, Any]:
    """Milliseconds per atom of the published sizes on ZrO2 supercells of 96 atoms."""
    batch = collate([build_graph(zirconia((2, 2, 2), seed), 3.0) for seed in range(1 if quick else 4)])
    atoms = len(batch.numbers)
    result: dict[str, Any] = {}
    rows = []
    for name, (inference, training) in PUBLISHED.items():
        for mode in ["eager", "compiled"] if compiled else ["eager"]:
            log(f"{name}, {mode}")
            torch.manual_seed(0)
            model = Equivar(preset(name))
            if mode == "compiled":
                model.compile_products()

            def forward(model: Equivar = model) -> Tensor:
                return charges(model(batch))

            calls = {
                "inference": without_grad(forward),
                "training": training_step(forward, list(model.parameters())),
            }
            times = interleaved(calls, 1 if quick else 7)
            entry = {key: median_ms(values) / atoms for key, values in times.items()}
            result[f"{name} {mode}"] = entry
            rows.append(
                [
                    f"{name.upper()}, {mode}",
                    f"{entry['inference']:.3f}",
                    f"{inference:.3f}",
                    f"{entry['training']:.3f}",
                    f"{training:.3f}",
                ]
            )
    print("### Milliseconds per atom, cubic ZrO2 with 96 atoms, cutoff 3 A\n")
    table(
        ["network", "inference, one CPU thread", "published, RTX A6000", "training per epoch", "published, RTX A6000"],
        rows,
    )
    return result


def exponent(sizes: list[int], times: list[float]) -> float:
    """Slope of log(time) against log(size)."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def scaling(quick: bool) -> dict[str, Any]:
    """Cost from 12 to 9,720 atoms."""
    repeats = [(1, 1, 1), (2, 2, 2), (3, 3, 4), (5, 5, 6), (9, 9, 10)]
    torch.manual_seed(0)
    model = Equivar(preset("bm2").model_copy(update={"neighbors": "all"})).eval()
    sizes, network, total, rows = [], [], [], []
    for count in repeats[:3] if quick else repeats:
        atoms = zirconia(count)
        log(f"{len(atoms)} atoms")
        batch = collate([build_graph(atoms, model.hypers.cutoff)])

        def whole(atoms: ase.Atoms = atoms) -> None:
            model(collate([build_graph(atoms, model.hypers.cutoff)]))

        def only_network(batch: CrystalBatch = batch) -> None:
            model(batch)

        def only_neighbors(atoms: ase.Atoms = atoms) -> None:
            neighbor_list(atoms, model.hypers.cutoff)

        calls = {
            "neighbors": only_neighbors,
            "network": without_grad(only_network),
            "total": without_grad(whole),
        }
        times = interleaved(calls, 1 if quick else 3)
        sizes.append(len(atoms))
        network.append(statistics.median(times["network"]))
        total.append(statistics.median(times["total"]))
        rows.append(
            [
                f"{len(atoms):,}",
                f"{len(batch.edge_source):,}",
                f"{median_ms(times['neighbors']):.1f}",
                f"{median_ms(times['network']):.1f}",
                f"{median_ms(times['total']):.1f}",
                f"{1e3 * total[-1] / len(atoms):.3f}",
            ]
        )
    # The smallest crystal costs what it costs to call some hundred small operations, whatever its size.
    result = {
        "atoms": sizes,
        "network_s": network,
        "total_s": total,
        "exponent_network": exponent(sizes[1:], network[1:]),
        "exponent_total": exponent(sizes[1:], total[1:]),
    }
    print("### Cost with size: BM2 network, ZrO2 supercells, inference\n")
    header = ["atoms", "edges", "neighbor list, ms", "network, ms", "structure to tensors, ms", "ms per atom"]
    table(header, rows)
    print(
        f"Time grows as the number of atoms to the power {result['exponent_total']:.2f} from {sizes[1]} atoms on "
        f"(network alone {result['exponent_network']:.2f}).\n"
    )
    return result


def symmetry(quick: bool) -> dict[str, Any]:
    """Our default network with 64 channels, with and without the reduction to one atom per orbit."""
    torch.manual_seed(0)
    model = Equivar(EquivarHypers(channels=64)).eval()
    cutoff = model.hypers.cutoff
    result, rows = {}, []
    for name, atoms in symmetric_crystals().items():
        if quick and len(atoms) > 10:
            continue
        log(name)
        found = find_symmetry(atoms)
        batches = {
            "full": collate([build_graph(atoms, cutoff)]),
            "reduced": collate([build_graph(atoms, cutoff, symmetry=found)]),
        }
        with torch.no_grad():
            values = {key: charges(model(batch)) for key, batch in batches.items()}
        difference = float((values["full"] - values["reduced"]).abs().max())

        def bind(batch: CrystalBatch) -> Call:
            return without_grad(lambda: model(batch))

        def search(atoms: ase.Atoms = atoms) -> None:
            find_symmetry(atoms)

        times = interleaved(
            {**{key: bind(batch) for key, batch in batches.items()}, "search": search}, 1 if quick else 7
        )
        entry = {
            "full_ms": median_ms(times["full"]),
            "reduced_ms": median_ms(times["reduced"]),
            "ratio": ratio(times["full"], times["reduced"]),
            "find_symmetry_ms": median_ms(times["search"]),
            "difference": difference,
            "edges": [len(batch.edge_source) for batch in batches.values()],
        }
        result[name] = entry
        rows.append(
            [
                name,
                f"{entry['edges'][0]} / {entry['edges'][1]}",
                f"{entry['full_ms']:.1f}",
                f"{entry['reduced_ms']:.1f}",
                f"{entry['ratio']:.1f}x",
                f"{entry['find_symmetry_ms']:.1f}",
                f"{difference:.0e}",
            ]
        )
    print(f"### Symmetry reduction: default network, 64 channels, cutoff {cutoff:g} A, inference\n")
    header = [
        "crystal",
        "edges full / reduced",
        "full, ms",
        "reduced, ms",
        "ratio",
        "finding the symmetry, ms",
        "largest difference, e",
    ]
    table(header, rows)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", action="store_true", help="also measure with torch.compile")
    parser.add_argument("--naive", action="store_true", help="also e3nn with unoptimized einsums, one interaction")
    parser.add_argument("--quick", action="store_true", help="small sizes and single rounds: a test that it runs")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()
    prepare()
    print(f"PyTorch {torch.__version__}, one thread, float32, CPU time.\n")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # empty, so that the time of compiling is the first user's
        figures = {
            "layer": compare(1, True, arguments.compile, arguments.naive, arguments.quick),
            "network": compare(6, False, arguments.compile, False, arguments.quick),
            "per_atom": per_atom(arguments.quick, arguments.compile),
            "scaling": scaling(arguments.quick),
            "symmetry": symmetry(arguments.quick),
        }
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""What canonical frames cost, for every backbone, and the time from structure to tensor, on one CPU thread.

    VOIGT_DATA=... python -m benchmarks.speed.goectp [-o FILE.json] [--crystals 128] [--rounds 5] [--models NAMES]

Three parts: the networks on finished graphs (forward, forward plus backward) without frames, with one and with the
mean over all; finding the frames, once per crystal; everything from `ase.Atoms` to delivered tensors. Times are CPU
times of the one thread. Candidates run in turn on every batch, in an order that rotates; times are sums over batches of
medians over rounds, and ratios near one are medians over all batches and rounds with their standard error in brackets.
Weights are fresh except those of models that are found: time does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import ase
import numpy as np
import torch
from benchmarks.tools.timing import Call, cpu_seconds, log, table, without_grad
from benchmarks.tools.timing import prepare as one_thread
from numpy.typing import NDArray
from torch import Tensor

from voigt.graphs import AxesOptions, CrystalBatch, CrystalGraph, build_graph, collate
from voigt.graphs.canonical_axes import canonical_axes
from voigt.graphs.neighbors import neighbor_list
from voigt.models.checkpoint import LoadedModel, ModelCard, available_models, load_model
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivariant.rotation import feature_rotation
from voigt.models.goectp.backbones import EquivarBackbone, HighDegree
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.goectp.model import GoeCTP
from voigt.models.methods import build_network
from voigt.models.network import Network
from voigt.models.readout import bounded
from voigt.prediction import Clock, Prepared, Settings, predict_prepared, prepare
from voigt.structures import InputStructure, read
from voigt.structures.symmetry import Symmetry, find_symmetry
from voigt.structures.symmetry.lattices import standard_lattice
from voigt.tensors.properties import PROPERTIES

REFERENCE_END_TO_END, REFERENCE_NETWORK = 0.080, 0.019
"""Seconds per crystal of GMTNet with its released weights on one CPU thread, measured by us: structure to tensor
(graph, features, symmetry, network), and the network alone. Another machine moves them as it moves our figures."""

BACKBONES = ("ecomformer", "icomformer", "crystalformer", "equivar")
WIDTH, LAYERS = 64, 3
BATCH = 16
EPOCHS = 12
"""Passes of the recipes for dielectric and elastic tensors: frames are found once for all of them."""

BARE, NONE, SINGLE, STOCHASTIC, AVERAGE = "no frame code", "none", "single", "stochastic", "average"

Times = dict[str, NDArray[np.float64]]
"""Candidate -> seconds (n_rounds, n_batches)."""


@dataclass(frozen=True)
class Crystals:
    """Crystals of a validation split with their symmetry, and the size of the training split."""

    path: str
    atoms: list[ase.Atoms]
    symmetries: list[Symmetry]
    training: int


def load(root: Path, path: str, where: str | None, count: int) -> Crystals:
    """A random sample of the validation split of a file."""
    by_split: dict[str, list[ase.Atoms]] = {"train": [], "val": [], "test": []}
    for entry in read([root / path]):
        if isinstance(entry, InputStructure) and (where is None or entry.atoms.info[where]):
            by_split[str(entry.atoms.info["split"])].append(entry.atoms)
    val = by_split["val"]
    chosen = [val[i] for i in np.random.default_rng(0).permutation(len(val))[:count]]
    return Crystals(path, chosen, [find_symmetry(atoms) for atoms in chosen], len(by_split["train"]))


# --- timing in turn ---


def in_turn(calls: Mapping[str, Sequence[Call]], rounds: int) -> Times:
    """Time candidates that have one call per batch: all of them on one batch, then the next; a first round warms up."""
    names, count = list(calls), len(next(iter(calls.values())))
    times = {name: np.zeros((rounds, count)) for name in names}
    for turn in range(-1, rounds):
        for batch in range(count):
            shift = (turn + batch) % len(names)
            for name in names[shift:] + names[:shift]:
                seconds = cpu_seconds(calls[name][batch])
                if turn >= 0:
                    times[name][turn, batch] = seconds
    return times


def total(times: Times, name: str) -> float:
    """Seconds for all batches."""
    return float(np.median(times[name], axis=0).sum())


def against(times: Times, name: str, other: str) -> tuple[float, float]:
    """Ratio of times measured one after the other: median and its standard error."""
    ratios = (times[name] / times[other]).ravel()
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return float(middle), float(0.93 * (high - low) / np.sqrt(len(ratios)))


def percent(times: Times, name: str, other: str) -> str:
    """By how much the first takes longer than the second."""
    middle, error = against(times, name, other)
    return f"{100 * (middle - 1):+.1f} ({100 * error:.1f})"


# --- networks on finished graphs ---


def hypers(backbone: str, name: str, frame: str, directions: str) -> GoeCTPHypers:
    """A network of standard size."""
    size = {"width": WIDTH, "layers": LAYERS, "properties": (name,)}
    view = {"frame": frame, "cell": "none" if frame == NONE else "primitive", "directions": directions}
    return GoeCTPHypers.model_validate({"backbone": backbone, **size, **view})


def fresh(settings: GoeCTPHypers | EquivarHypers) -> Network:
    """The same initial weights for the same sizes."""
    torch.manual_seed(0)
    return build_network(settings)


def equivar(name: str) -> EquivarHypers:
    """The O(3)-equivariant network with a pooled readout."""
    return EquivarHypers(properties=(name,), channels=WIDTH, interactions=LAYERS, self_product=True)


def graphs_of(crystals: Crystals, settings: GoeCTPHypers | EquivarHypers) -> list[CrystalGraph]:
    """Graphs as prediction and training make them."""
    pairs, frame = zip(crystals.atoms, crystals.symmetries, strict=True), settings.axes_options
    return [build_graph(atoms, settings.cutoff, symmetry=symmetry, frame=frame) for atoms, symmetry in pairs]


def batches_of(graphs: Sequence[CrystalGraph], size: int) -> list[CrystalBatch]:
    """Full batches only."""
    return [collate(graphs[k : k + size]) for k in range(0, len(graphs) - size + 1, size)]


def without_frames(network: Network, batch: CrystalBatch) -> Tensor:
    """The same backbone and head with nothing of frames: no views, no canonical components, no turning back."""
    if not isinstance(network, GoeCTP):
        raise TypeError("only GoeCTP has frames to leave out")
    name, backbone = network.hypers.properties[0], network.backbone
    prop, readout = PROPERTIES[name], network.readout(name)
    if isinstance(backbone, EquivarBackbone):
        features = _equivar_without_frames(backbone, batch)
    else:
        features = backbone.network(batch, None)[batch.orbit]
    pooled = features.new_zeros(batch.num_crystals, features.shape[1]).index_add(0, batch.atom_crystal, features)
    pooled = pooled / batch.num_atoms[:, None]
    reference = None
    if readout.reference is not None:
        reference = pooled.new_zeros(batch.num_crystals, readout.reference.embedding_dim)
        reference = reference.index_add(0, batch.atom_crystal, readout.reference(batch.numbers))
        reference = reference / batch.num_atoms[:, None]
    return bounded(readout(pooled, reference), prop)


def _equivar_without_frames(backbone: EquivarBackbone, batch: CrystalBatch) -> Tensor:
    own, turn = backbone.trunk.node_features(batch), batch.rotation
    if backbone.rows == 1:
        return cast(Tensor, backbone.out(backbone.mix(own[:, 0]))[batch.orbit])
    # Atoms of an orbit see the same neighbors from other sides; nothing is turned where every atom is its own orbit.
    full = own[batch.orbit]
    seen = [(full if turn is None else feature_rotation(turn) @ full)[:, : backbone.rows].flatten(1)]
    scalars, radial = own[:, 0].index_select(0, batch.orbit), backbone.trunk.radial
    for layer in [layer for layer in backbone.high if isinstance(layer, HighDegree)]:
        if turn is not None:
            seen.append(layer(scalars, batch, radial, turn, batch.orbit))
            continue
        distance = torch.linalg.vector_norm(batch.edge_vector, dim=1)
        edges = (batch.edge_source, batch.edge_target, batch.edge_vector)
        summed = layer.neighbors(scalars, edges, (radial(distance), radial.envelope(distance)), len(own))
        seen.append(layer.mix(summed)[batch.orbit].flatten(1))
    return cast(Tensor, backbone.out(backbone.mix(torch.cat(seen, dim=1))))


def gradients(network: Network, call: Callable[[], Tensor]) -> Call:
    """Forward and backward of an L1 loss, in training mode."""
    parameters = list(network.parameters())

    def run() -> None:
        for parameter in parameters:
            parameter.grad = None
        call().abs().mean().backward()

    return run


def passes(crystals: Crystals, backbone: str, name: str, directions: str, rounds: int) -> dict[str, Times]:
    """Times of forward (batches of 16 and of 1) and of forward plus backward, for every kind of frame."""
    kinds = [NONE, SINGLE] if directions == "none" else [NONE, SINGLE, STOCHASTIC, AVERAGE]
    every = {kind: hypers(backbone, name, kind, directions) for kind in kinds}
    graphs = {kind: graphs_of(crystals, settings) for kind, settings in every.items()}
    networks = {kind: fresh(settings) for kind, settings in every.items()}
    candidates = {BARE: (networks[NONE], graphs[NONE])} | {kind: (networks[kind], graphs[kind]) for kind in kinds}
    if directions != "none" and backbone == "equivar":
        candidates["equivariant"] = (fresh(equivar(name)), graphs_of(crystals, equivar(name)))

    def call(kind: str, batch: CrystalBatch) -> Callable[[], Tensor]:
        network = candidates[kind][0]
        if kind == BARE:
            return lambda: without_frames(network, batch)
        return lambda: network(batch)[name]

    result = {}
    for title, size in (("forward", BATCH), ("forward, one at a time", 1), ("training step", BATCH)):
        training = title == "training step"
        calls: dict[str, list[Call]] = {}
        for kind, (network, own) in candidates.items():
            if kind == STOCHASTIC and not training:
                continue  # predicts with the mean
            used = own if size > 1 else own[: max(len(own) // 4, 1)]
            bound = [call(kind, batch) for batch in batches_of(used, size)]
            calls[kind] = [gradients(network, one) if training else without_grad(one) for one in bound]
        for network in networks.values():
            network.train(training)
        if not training:
            check_equal(networks[NONE], collate(graphs[NONE][:BATCH]), name)
        result[title] = in_turn(calls, rounds)
    return result


def check_equal(network: Network, batch: CrystalBatch, name: str) -> None:
    """What is compared must be the same network: with the identity as frame, leaving it out changes nothing."""
    with torch.no_grad():
        plain, framed = without_frames(network, batch), network(batch)[name]
    if not torch.allclose(plain, framed, rtol=1e-3, atol=1e-3 * float(framed.abs().max())):
        raise RuntimeError(f"the pass without frames differs by {float((plain - framed).abs().max()):.1e}")


def tables_of_passes(
    found: Mapping[tuple[str, str], dict[str, Times]], crystals: Crystals, finding: Mapping[str, float]
) -> dict[str, Any]:
    """Print the times of all backbones; finding the frames comes from `finding`, milliseconds per crystal."""
    record: dict[str, Any] = {}
    one = [["backbone", "directions", "pass", "identity, ms", "frame, ms", "A, %", "B, %", "C, %"]]
    many = [["backbone", "pass", "one frame, ms", "mean over frames, ms", "ratio", "+ finding them, ratio"]]
    epochs = [["backbone", "directions", "identity, s", "one frame, s", "one at random, s", "mean over frames, s"]]
    for (backbone, directions), by_pass in found.items():
        for title, times in by_pass.items():
            count = times[NONE].shape[1] * (1 if "one at a time" in title else BATCH)
            ms = {kind: 1e3 * total(times, kind) / count for kind in times}
            uses = EPOCHS if title == "training step" else 1
            share = 100 * (finding[SINGLE] / uses) / ms[NONE] + 100 * (against(times, SINGLE, BARE)[0] - 1)
            times_ms = [f"{ms[NONE]:.2f}", f"{ms[SINGLE]:.2f}"]
            added = [percent(times, SINGLE, NONE), percent(times, SINGLE, BARE), f"{share:+.1f}"]
            one.append([backbone, directions, title, *times_ms, *added])
            record[f"{backbone}, directions {directions}, {title}"] = {
                "ms": ms,
                "single_over_none": against(times, SINGLE, NONE),
                "single_over_bare": against(times, SINGLE, BARE),
            }
            if AVERAGE in times:
                ratio = ms[AVERAGE] / ms[SINGLE]
                whole = (ms[AVERAGE] + finding[AVERAGE] / uses) / (ms[SINGLE] + finding[SINGLE] / uses)
                shown = [ms[SINGLE], ms[AVERAGE], ratio, whole]
                many.append([backbone, title, *(f"{value:.2f}" for value in shown)])
            if "equivariant" in times:
                many.append(["Equivar, pooled", title, f"{ms['equivariant']:.2f}", "-", "-", "-"])
            if title == "training step":
                seconds = {kind: 1e-3 * crystals.training * value for kind, value in ms.items()}
                kinds = (NONE, SINGLE, STOCHASTIC, AVERAGE)
                shown = [f"{seconds[kind]:.0f}" if kind in seconds else "-" for kind in kinds]
                epochs.append([backbone, directions, *shown])
                if "equivariant" in seconds:
                    epochs.append(["Equivar, pooled", "-", f"{seconds['equivariant']:.0f}", "-", "-", "-"])
    print("ms per crystal in the axes of the input (frame code with the identity) and in one frame, and what the frame")
    print(
        "adds: A to these, B to a pass with no frame code at all, C as B and finding it (once per prediction, once for"
    )
    print(f"{EPOCHS} epochs of training). Standard errors in brackets.\n")
    table(one[0], one[1:])
    print("The mean over frames, directions harmonics; per crystal.\n")
    table(many[0], many[1:])
    print(f"Forward and backward (no optimizer, no collating), seconds per epoch of {crystals.training:,} crystals.\n")
    table(epochs[0], epochs[1:])
    return record


# --- finding frames ---


def finding_frames(crystals: Crystals, rounds: int) -> dict[str, float]:
    """Milliseconds per crystal of what is done once for each; print them."""
    lattices = [standard_lattice(atoms, "primitive") for atoms in crystals.atoms]

    def for_all(work: Callable[[ase.Atoms, Symmetry, NDArray[np.float64]], object]) -> list[Call]:
        data = list(zip(crystals.atoms, crystals.symmetries, lattices, strict=True))

        def bind(part: list[Any]) -> Call:
            return lambda: [work(*entry) for entry in part]

        return [bind(data[k : k + BATCH]) for k in range(0, len(data), BATCH)]

    options = AxesOptions("average", "primitive")
    pairs = zip(crystals.atoms, crystals.symmetries, strict=True)
    graphs = [build_graph(atoms, 5.0, symmetry=symmetry, frame=options) for atoms, symmetry in pairs]

    def joined(part: list[CrystalGraph]) -> Call:
        return lambda: collate(part)

    calls = {
        "symmetry": for_all(lambda atoms, _s, _l: find_symmetry(atoms)),
        "neighbor list": for_all(lambda atoms, _s, _l: neighbor_list(atoms, 5.0)),
        "graph without frames": for_all(lambda atoms, symmetry, _l: build_graph(atoms, 5.0, symmetry=symmetry)),
        "standard lattice": for_all(lambda atoms, _s, _l: standard_lattice(atoms, "primitive")),
        "of this, Niggli reduction": for_all(lambda atoms, _s, _l: standard_lattice(atoms, "niggli")),
        "one frame of it": for_all(lambda _a, _s, lattice: canonical_axes(lattice, "single")),
        "all frames of it": for_all(lambda _a, s, lattice: canonical_axes(lattice, "average", s.rotations)),
        "collating (every step)": [joined(graphs[k : k + BATCH]) for k in range(0, len(graphs), BATCH)],
    }
    times = in_turn(calls, rounds)
    count = len(crystals.atoms)
    ms = {name: 1e3 * total(times, name) / count for name in calls}
    frames, edges = np.array([len(g.frames) for g in graphs]), np.array([g.num_edges for g in graphs])
    ms |= {
        SINGLE: ms["standard lattice"] + ms["one frame of it"],
        AVERAGE: ms["standard lattice"] + ms["all frames of it"],
    }
    ms |= {"mean frames": float(frames.mean()), "frames per edge": float((frames * edges).sum() / edges.sum())}
    atoms = np.mean([len(a) for a in crystals.atoms])
    alone, spread = 100 * np.mean(frames == 1), f"at most {frames.max()}, weighted by edges {ms['frames per edge']:.2f}"
    print(f"{count} crystals, {atoms:.1f} atoms and {edges.mean():.0f} edges on average (all atoms receiving);")
    print(f"{frames.mean():.2f} frames per crystal (one for {alone:.0f} %, {spread}).\n")
    table(["once per crystal", "ms per crystal"], [[name, f"{ms[name]:.2f}"] for name in calls])
    return ms


# --- from structure to tensor ---


COLUMNS = ("symmetry", "axes", "graph", "network", "corrections", "rest")
"""Stages that the pipeline reports to a `voigt.prediction.Clock`, and what is left of the time."""


def predict(
    model: LoadedModel, structures: Sequence[InputStructure], settings: Settings, together: bool, clock: Clock
) -> None:
    """One crystal at a time, or all of them in batches of the usual edge budget."""
    for part in [structures] if together else [[entry] for entry in structures]:
        prepared = [prepare(model, entry, settings, clock=clock) for entry in part]
        predict_prepared(model, [entry for entry in prepared if isinstance(entry, Prepared)], settings, clock)


def end_to_end(models: Mapping[str, tuple[LoadedModel, Crystals]], rounds: int) -> dict[str, Any]:
    """Print milliseconds per crystal and where they go."""
    record: dict[str, Any] = {}
    rows = []
    settings = Settings(allow_unseen=True)
    for name, (model, crystals) in models.items():
        log(f"from structure to tensor: {name}")
        count = len(crystals.atoms)
        structures = [InputStructure(crystals.path, k, str(k), atoms) for k, atoms in enumerate(crystals.atoms)]
        predict(model, structures[:BATCH], settings, True, Clock())
        found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for _ in range(rounds):
            for together, runs in found.items():
                clock = Clock(now=time.process_time)
                seconds = cpu_seconds(partial(predict, model, structures, settings, together, clock))
                parts = clock.seconds | {"rest": seconds - sum(clock.seconds.values()), "total": seconds}
                runs.append({part: 1e3 * parts.get(part, 0.0) / count for part in (*COLUMNS, "total")})
        for together, runs in found.items():
            ms = {part: float(np.median([run[part] for run in runs])) for part in (*COLUMNS, "total")}
            how = "batches" if together else "one at a time"
            record[f"{name}, {how}"] = ms
            times = [f"{ms[part]:.2f}" for part in (*COLUMNS, "total")]
            whole, alone = (1e3 * REFERENCE_END_TO_END / ms["total"], 1e3 * REFERENCE_NETWORK / ms["network"])
            rows.append([name, Path(crystals.path).stem, how, *times, f"{whole:.1f}x", f"{alone:.1f}x"])
    header = ["model (one network)", "crystals", "how", *COLUMNS, "in all", "GMTNet / this", "GMTNet's network / this"]
    print(f"GMTNet: {1e3 * REFERENCE_END_TO_END:.0f} ms in all, {1e3 * REFERENCE_NETWORK:.0f} ms for the network.\n")
    table(header, rows)
    return record


def models_to_time(names: Sequence[str], crystals: Mapping[str, Crystals]) -> dict[str, tuple[LoadedModel, Crystals]]:
    """First members of the models that exist, and fresh networks."""
    chosen: dict[str, tuple[LoadedModel, Crystals]] = {}
    for name in names:
        if name not in available_models() and not Path(name).is_file():
            log(f"no model {name}: left out")
            continue
        model = load_model(name)
        model = replace(model, members=model.members[:1])  # an ensemble of four takes the network's time four times
        source = next((k for k in ("elastic", "piezo_clamped") if k in model.hypers.properties), "eps_inf")
        chosen[model.name] = (model, crystals[source])
    card = ModelCard(elements=tuple(range(1, 100)))
    for name in ("eps_inf", "elastic"):
        average = hypers("equivar", name, AVERAGE, "harmonics")
        networks: dict[str, GoeCTPHypers | EquivarHypers] = {
            "eComFormer, one frame, no directions": hypers("ecomformer", name, SINGLE, "none"),
            "eComFormer, mean over frames": hypers("ecomformer", name, AVERAGE, "harmonics"),
            "Equivar backbone, one frame": hypers("equivar", name, SINGLE, "harmonics"),
            "Equivar backbone, mean over frames": average,
            "the same and its own readout (the recipes')": average.model_copy(update={"equivariant_readout": True}),
            "Equivar, pooled readout": equivar(name),
        }
        for kind, settings in networks.items():
            title = f"fresh {kind}, {name}"
            chosen[title] = (LoadedModel(title, (fresh(settings).eval(),), card), crystals[name])
    return chosen


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="also write all figures to this JSON file")
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."), help="folder that holds tensors/")
    parser.add_argument("--crystals", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    parser.add_argument("--properties", default="eps_inf,elastic")
    parser.add_argument("--parts", default="frames,networks,end", help="any of frames, networks, end")
    parser.add_argument("--models", default="born,elastic,piezo", help="names or files; absent: left out")
    options = parser.parse_args()
    one_thread()
    parts = options.parts.split(",")
    sources = {
        "eps_inf": ("tensors/dielectric.extxyz", "closed_shell"),
        "elastic": ("tensors/elastic.extxyz", None),
        "piezo_clamped": ("born/mp.extxyz", "trusted"),
    }
    root = Path(options.data)
    crystals = {name: load(root, *source, options.crystals) for name, source in sources.items()}
    print(f"PyTorch {torch.__version__}, one thread, float32, CPU time; width {WIDTH}, {LAYERS} layers.\n")
    figures: dict[str, Any] = {}
    for name in options.properties.split(",") if {"frames", "networks"} & set(parts) else ():
        print(f"### {name}: {Path(crystals[name].path).name}, val\n")
        figures[f"finding, {name}"] = once = finding_frames(crystals[name], options.rounds)
        if "networks" not in parts:
            continue
        found = {}
        for backbone in options.backbones.split(","):
            for directions in ("none", "harmonics"):
                log(f"{name}: {backbone}, directions {directions}")
                found[backbone, directions] = passes(crystals[name], backbone, name, directions, options.rounds)
        figures[f"networks, {name}"] = tables_of_passes(found, crystals[name], once)
    if "end" in parts:
        print("### From structure to tensor, ms per crystal\n")
        figures["end"] = end_to_end(models_to_time(options.models.split(","), crystals), options.rounds)
    if options.output is not None:
        options.output.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

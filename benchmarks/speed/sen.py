"""Crystals per second of SEN in training and prediction on one CPU thread, and where the time goes.

    VOIGT_DATA=... python -m benchmarks.speed.sen [--crystals 640] [--graph-store DIR]

Every figure is CPU time on the same crystals, drawn at random from scalars/mp_scalars.parquet. With --graph-store (made
by a training with the recipe scalars) reading batches from the store is measured too, and the memory of a
process that goes once through all training crystals.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from benchmarks.tools import timing

from voigt.graphs import CrystalBatch, CrystalGraph, build_graph, collate
from voigt.models.methods import build_network
from voigt.models.network import Network
from voigt.prediction.result import Settings
from voigt.structures.symmetry import find_symmetry
from voigt.training.datamodule import CrystalDataModule, read_data
from voigt.training.recipe import Recipe, load_recipe

BATCH = 32
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def training_step(network: Network, optimizer: torch.optim.Optimizer, batch: CrystalBatch, name: str) -> None:
    """One step as the training does it, without the running average."""
    outputs, own = network.training_pass(batch)
    loss = (outputs[name] - batch.targets[name]).nan_to_num().abs().mean() + sum(own.values())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


def seconds(call: Any) -> float:
    """CPU time of a call, or wall time on an accelerator."""
    clock = time.process_time if DEVICE == "cpu" else time.perf_counter
    start = clock()
    call()
    if DEVICE != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def network_rows(recipe: Recipe, graphs: list[CrystalGraph], compiled: bool) -> dict[str, float]:
    """Seconds per crystal of one pass in training and in prediction."""
    torch.manual_seed(0)
    network = build_network(recipe.model).to(DEVICE)
    if compiled:
        network.compile_products()
    name = recipe.model.properties[0]
    batches = [collate(graphs[i : i + BATCH]).to(DEVICE) for i in range(0, len(graphs), BATCH)]
    optimizer = torch.optim.AdamW((p for p in network.parameters() if p.requires_grad), lr=1e-4, fused=True)

    def train() -> None:
        for batch in batches:
            training_step(network, optimizer, batch, name)

    def predict() -> None:
        with torch.no_grad():
            for batch in batches:
                network(batch)

    def single() -> None:
        with torch.no_grad():
            for graph in graphs[:100]:
                network(collate([graph]).to(DEVICE))

    train()  # compiles, for all sizes
    trained = seconds(train) / len(graphs)
    network.eval()
    predict()
    single()
    return {"training step": trained, "prediction": seconds(predict) / len(graphs), "alone": seconds(single) / 100}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", type=int, default=640)
    parser.add_argument("--graph-store")
    options = parser.parse_args()
    timing.prepare()
    source = load_recipe(str(files("voigt.training") / "recipes" / "scalars.yaml"))
    recipe = source.model_copy(update={"graph_store": options.graph_store, "data_root": os.environ["VOIGT_DATA"]})
    reading = time.process_time()
    data = read_data(recipe)
    reading = time.process_time() - reading
    chosen = np.random.default_rng(0).permutation(len(data.parts["train"]))[: options.crystals]
    crystals = data.select("train").take(chosen.tolist())
    atoms = [crystal.atoms for crystal in crystals]
    symprec = recipe.symmetry or Settings().symprec
    symmetries = [find_symmetry(one, symprec) for one in atoms[:20]]
    start = time.process_time()
    symmetries = [find_symmetry(one, symprec) for one in atoms]
    symmetry = (time.process_time() - start) / len(atoms)
    start = time.process_time()
    graphs = [build_graph(one, recipe.model.cutoff, symmetry=own) for one, own in zip(atoms, symmetries, strict=True)]
    building = (time.process_time() - start) / len(atoms)
    label = {"formation_energy": torch.tensor([-1.0]), "band_gap": torch.tensor([1.0])}
    graphs = [replace(graph, rotation=None, targets=label) for graph in graphs]
    start = time.process_time()
    for first in range(0, len(graphs), BATCH):
        collate(graphs[first : first + BATCH])
    joining = (time.process_time() - start) / len(graphs)
    rows = {"symmetry (spglib)": symmetry, "neighbors and graph": building, f"batches of {BATCH}": joining}
    for compiled in (False, True):
        for name, value in network_rows(recipe, graphs, compiled).items():
            rows[f"{name}{', compiled' if compiled else ''}"] = value
    sizes = np.array([(g.num_atoms, len(g.representative), g.num_edges) for g in graphs]).mean(axis=0)
    print(
        f"{len(graphs)} crystals of {sizes[0]:.1f} atoms, {sizes[1]:.1f} orbits and {sizes[2]:.0f} edges on average; "
        f"{DEVICE}, one thread. Reading and splitting {len(data.crystals):,} rows: {reading:.1f} s.\n"
    )
    print("| step | ms per crystal | crystals per second |\n|---|--:|--:|")
    for name, value in rows.items():
        print(f"| {name} | {1e3 * value:.2f} | {1 / value:,.0f} |")
    whole = symmetry + building + rows["prediction"]
    print(f"\nGraph building: {100 * (symmetry + building) / whole:.0f} % of a prediction from the structure", end="")
    print(f" ({100 * building / whole:.0f} % without the search for symmetry).")
    if options.graph_store is not None:
        store_rows(recipe, data, rows["training step, compiled"])


def store_rows(recipe: Recipe, data: Any, step: float) -> None:
    """Reading all training crystals once from the graph store."""
    module = CrystalDataModule(recipe, data)
    loader = module.train_dataloader()
    start, count = time.process_time(), 0
    for batch in loader:
        count += batch.num_crystals
    each = (time.process_time() - start) / count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"\nFrom the graph store: {1e3 * each:.2f} ms per crystal into batches, {100 * each / (each + step):.0f} % of "
        f"the training; peak memory after all {count:,} training crystals {peak:.1f} GiB, pages of the store included."
    )


if __name__ == "__main__":
    main()

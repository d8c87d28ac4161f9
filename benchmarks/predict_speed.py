"""Time from structure to corrected tensors with the model that ships, one CPU thread, and where it goes.

    VOIGT_DATA=... python benchmarks/predict_speed.py [--crystals 300]
"""

from __future__ import annotations

import argparse
import os
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from voigt.graphs.batch import build_graph
from voigt.models.checkpoint import load_model
from voigt.prediction.pipeline import predict_prepared, prepare
from voigt.prediction.result import Settings
from voigt.structures.reading import read
from voigt.structures.symmetry import find_symmetry


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    parser.add_argument("--crystals", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, settings = load_model(), Settings()
    elements = set(model.card.elements)
    frames = (f for f in read(Path(options.data) / "born" / "phonondb.extxyz") if f.atoms is not None)
    known = (f for f in frames if f.atoms is not None and set(f.atoms.numbers.tolist()) <= elements)
    crystals = [(f.id, f.atoms) for f in islice(known, options.crystals) if f.atoms is not None]
    atoms = sum(len(a) for _, a in crystals)
    predict_prepared(model, [prepare(model, a, n, settings) for n, a in crystals[:20]], settings)  # warm up

    start = time.process_time()
    symmetries = [find_symmetry(a) for _, a in crystals]
    after_symmetry = time.process_time()
    for (_, a), symmetry in zip(crystals, symmetries, strict=True):
        build_graph(a, model.hypers.cutoff, symmetry=symmetry)
    after_graphs = time.process_time()
    prepared = [prepare(model, a, n, settings) for n, a in crystals]
    after_preparing = time.process_time()
    predict_prepared(model, prepared, settings)
    done = time.process_time()

    count = len(crystals)
    rows = {
        "symmetry (spglib, permutations, orbits)": after_symmetry - start,
        "neighbor list and graph": after_graphs - after_symmetry,
        f"ensemble of {len(model.members)} networks, projection, sum rule": done - after_preparing,
        "structure to tensors, in all": done - after_graphs,
    }
    print(f"{count} crystals, {atoms / count:.1f} atoms on average, one CPU thread, CPU time.\n")
    print("| step | ms per crystal | ms per atom |\n|---|--:|--:|")
    for name, seconds in rows.items():
        print(f"| {name} | {1e3 * seconds / count:.2f} | {1e3 * seconds / atoms:.3f} |")
    sizes = np.array([len(a) for _, a in crystals])
    print(f"\nAtoms per cell: median {np.median(sizes):.0f}, largest {sizes.max()}.")


if __name__ == "__main__":
    main()

"""Time from structure to corrected tensors with the model that ships, one CPU thread, and where it goes.

    VOIGT_DATA=... python -m benchmarks.speed.predict [--crystals 300]
    VOIGT_DATA=... python -m benchmarks.speed.predict --workers 2 --crystals 1200

With --workers the wall clock of one process and of several, in turn, for two sets of properties.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from voigt.models.checkpoint import LoadedModel, load_model
from voigt.prediction import Clock, Prepared, Settings, predict_prepared, prepare
from voigt.prediction.plan import choose_models
from voigt.prediction.stream import predict_planned
from voigt.structures import InputStructure, read


def predict(model: LoadedModel, crystals: Sequence[InputStructure], settings: Settings, clock: Clock) -> None:
    """All crystals in batches."""
    prepared = [prepare(model, entry, settings, clock=clock) for entry in crystals]
    predict_prepared(model, [entry for entry in prepared if isinstance(entry, Prepared)], settings, clock)


def shared_out(crystals: Sequence[InputStructure], workers: int) -> None:
    """Print milliseconds per crystal of one process and of several."""
    print(f"| | one process, ms per crystal | {workers} processes | times as fast |\n|---|--:|--:|--:|")
    for names in (("born_charges", "eps_inf"), ("elastic",)):
        plan = choose_models(None, Settings(properties=names, allow_unseen=True))
        for _ in predict_planned(crystals[:20], plan):
            pass  # warm up
        for _ in range(2):
            took = []
            for count in (1, workers):
                start = time.perf_counter()
                done = sum(1 for _ in predict_planned(crystals, plan, workers=count))
                took.append(1e3 * (time.perf_counter() - start) / done)
            print(f"| {', '.join(names)} | {took[0]:.2f} | {took[1]:.2f} | {took[0] / took[1]:.2f} |", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    parser.add_argument("--crystals", type=int, default=300)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, settings = load_model(), Settings()
    elements = set(model.card.elements)
    structures = read(Path(options.data) / "born" / "phonondb.extxyz")
    known = (s for s in structures if isinstance(s, InputStructure) and set(s.atoms.numbers.tolist()) <= elements)
    crystals = list(islice(known, options.crystals))
    if options.workers is not None:
        shared_out(crystals, options.workers)
        return
    count, atoms = len(crystals), sum(len(entry.atoms) for entry in crystals)
    predict(model, crystals[:20], settings, Clock())  # warm up

    clock = Clock(now=time.process_time)
    start = time.process_time()
    predict(model, crystals, settings, clock)
    total = time.process_time() - start
    rows = {
        "symmetry (operations, permutations, orbits)": clock.seconds["symmetry"],
        "neighbor list and graph": clock.seconds["graph"],
        f"networks ({len(model.members)}, members {model.ensemble_size})": clock.seconds["network"],
        "projection, sum rule, diagnostics": clock.seconds["corrections"],
        "structure to tensors, in all": total,
    }
    print(f"{count} crystals, {atoms / count:.1f} atoms on average, one CPU thread, CPU time.\n")
    print("| step | ms per crystal | ms per atom |\n|---|--:|--:|")
    for name, seconds in rows.items():
        print(f"| {name} | {1e3 * seconds / count:.2f} | {1e3 * seconds / atoms:.3f} |")
    sizes = np.array([len(entry.atoms) for entry in crystals])
    print(f"\nAtoms per cell: median {np.median(sizes):.0f}, largest {sizes.max()}.")


if __name__ == "__main__":
    main()

"""Members of an ensemble one after the other, and all in one pass, on a CPU.

    [VOIGT_DATA=...] python -m benchmarks.speed.ensembles [--rounds 5]

Prints a Markdown table; one thread, CPU time, both in turn. Without VOIGT_DATA the crystals are variations of the
examples.
"""

from __future__ import annotations

import argparse
from functools import partial

from benchmarks.tools import timing
from benchmarks.tools.mixed_crystals import mixed_crystals

from voigt.graphs import build_graph, collate
from voigt.models.checkpoint import load_model
from voigt.models.ensemble import in_one_pass, one_by_one
from voigt.structures.symmetry import find_symmetry

MODELS = ("elastic", "piezo", "scalars")
BATCHES = (1, 4, 64)


def compare(name: str, rounds: int) -> list[list[str]]:
    """A row for each size of batch: milliseconds per crystal both ways."""
    model = load_model(name)
    structures = mixed_crystals(max(BATCHES))
    graphs = [build_graph(one, model.hypers.cutoff, symmetry=find_symmetry(one)) for one in structures]
    ways = {"one by one": one_by_one(model.members), "one pass": in_one_pass(model.members)}
    found = []
    for count in BATCHES:
        batch = collate(graphs[:count])
        calls = {way: timing.without_grad(partial(run, batch)) for way, run in ways.items()}
        times = timing.interleaved(calls, rounds)
        each = [f"{timing.median_ms(times[way]) / count:.2f}" for way in ways]
        ratio = timing.ratio(times["one by one"], times["one pass"])
        found.append([f"`{name}`, {len(model.members)} networks", f"{count}", *each, f"{ratio:.2f}"])
        timing.log(f"{name}, {count} crystals: {ratio:.2f}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    timing.prepare()
    rows = [row for name in MODELS for row in compare(name, options.rounds)]
    print("Networks of an ensemble, ms per crystal:\n")
    timing.table(["model", "crystals", "one by one", "one pass", "one by one / one pass"], rows)


if __name__ == "__main__":
    main()

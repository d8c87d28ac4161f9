"""Crystals per second of a screening, where the time goes, and how much a plain loop over `voigt.predict` takes.

    VOIGT_DATA=... python -m benchmarks.speed.screening [--crystals 3000] [--properties band_gap,eps_inf]
    VOIGT_DATA=... python -m benchmarks.speed.screening --memory [--properties band_gap]

Crystals are drawn at random from scalars/mp_scalars.parquet. Every process has one thread. Rates are of the wall clock,
without the start of the processes (given apart), candidates taken in turn; the least disturbed round of each counts.
With --memory the whole file is screened, 10,000 crystals and then all, and the peak memory of every process is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import ase.neighborlist
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.tools import timing

import voigt
from voigt.graphs.neighbors import neighbor_list
from voigt.prediction.pipeline import prepare
from voigt.prediction.plan import choose_models
from voigt.prediction.result import Settings
from voigt.screening.job import Job
from voigt.screening.screen import Listener, Resources, screen_collection
from voigt.screening.sources import open_collection
from voigt.structures import InputStructure, read
from voigt.writers.markdown import table

KINDS = ("reading", "graphs", "networks", "rows", "writing")


def sample(source: Path, count: int, folder: Path) -> tuple[Path, list[ase.Atoms]]:
    """Crystals at random as a file of the same layout, and in memory."""
    columns = pq.read_table(source, columns=["mp_id", "numbers", "cell", "frac"])
    rows = columns.take(pa.array(np.random.default_rng(0).permutation(columns.num_rows)[:count]))
    path = folder / "sample.parquet"
    pq.write_table(rows, path)
    atoms = [
        ase.Atoms(
            numbers=row["numbers"],
            cell=np.reshape(row["cell"], (3, 3)),
            scaled_positions=np.reshape(row["frac"], (-1, 3)),
            pbc=True,
        )
        for row in rows.slice(0, 400).to_pylist()
    ]
    return path, atoms


def screened(path: Path, job: Job, workers: int, limit: int | None = None) -> tuple[float, float, dict[str, Any]]:
    """Crystals per second after the first part, seconds until it, and what the manifest says of the session."""
    marks: list[tuple[float, int]] = []

    def advance(count: int) -> None:
        marks.append((time.perf_counter(), count))

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        listener = Listener(timing.log, advance)
        resources = Resources(workers=workers)
        screen_collection(
            open_collection(str(path)), folder, job, resources=resources, limit=limit, listener=listener
        )
        session = json.loads((Path(folder) / "manifest.json").read_text())["sessions"][-1]
    # Several processes deliver their first parts together: the rate counts from the last of these.
    first = min(workers, len(marks) - 1) - 1
    rate = sum(count for _, count in marks[first + 1 :]) / (marks[-1][0] - marks[first][0])
    return rate, marks[0][0] - start, session


def rate_of(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    call()
    return count / (time.perf_counter() - start)


def loops(atoms: list[ase.Atoms], name: str) -> dict[str, Callable[[], float]]:
    """What a user writes without a screening."""
    settings = Settings(properties=(name,), allow_unseen=True)
    model = choose_models(None, settings).shares[0].model

    def by_name() -> float:
        return rate_of(lambda: [voigt.predict(entry, settings=settings) for entry in atoms[:80]], 80)

    def loaded() -> float:
        return rate_of(lambda: [voigt.predict(entry, model, settings) for entry in atoms[:160]], 160)

    def together() -> float:
        return rate_of(lambda: voigt.predict(atoms, model, settings), len(atoms))

    return {
        "loop of `voigt.predict(atoms, settings=...)`": by_name,
        "the same with a loaded model": loaded,
        "`voigt.predict` of a list": together,
    }


def speed(path: Path, atoms: list[ase.Atoms], name: str, rounds: int) -> None:
    """Rates and shares of one property."""
    job = Job((name,), settings=Settings(allow_unseen=True))
    best: dict[str, float] = {}
    starts: dict[str, float] = {}
    work: dict[str, float] = {}
    for turn in range(rounds):
        timing.log(f"{name}: round {turn + 1} of {rounds}")
        for title, call in loops(atoms, name).items():
            best[title] = max(best.get(title, 0.0), call())
        for workers, compiled in ((1, False), (2, False), (2, True)):
            title = f"screening, {workers} process{'es' if workers > 1 else ''}{', `--compile`' if compiled else ''}"
            rate, start, session = screened(path, replace(job, compile=compiled), workers)
            if rate > best.get(title, 0.0):
                best[title], starts[title] = rate, start
                work = session["work"] if workers == 1 else work
    loop = [best[title] for title in list(best)[:2]]
    rows = [[title, f"{rate:.1f}", *(f"{rate / slow:.1f}" for slow in loop)] for title, rate in best.items()]
    model = choose_models(None, Settings(properties=(name,))).shares[0].model
    print(f"\n### {name} (model `{model.name}`)\n")
    print(table(("one thread per process", "crystals/s", "ratio to the loop", "to the loop, model loaded"), rows))
    total = sum(work.values())
    shares = ", ".join(f"{kind} {100 * work[kind] / total:.1f} %" for kind in KINDS)
    print(f"\nOne process spends its time on: {shares}; {1e3 * total / job_size(path):.2f} ms per crystal.")
    firsts = ", ".join(f"{seconds:.1f} s ({title.removeprefix('screening, ')})" for title, seconds in starts.items())
    print(f"First part, start of the processes included, after {firsts}.")


def job_size(path: Path) -> int:
    return int(pq.ParquetFile(path).metadata.num_rows)


def neighbors(atoms: list[ase.Atoms], name: str) -> None:
    """The whole graph of a crystal, symmetry included, against ASE's neighbor list alone."""
    settings = Settings(properties=(name,), allow_unseen=True)
    model = choose_models(None, settings).shares[0].model
    cutoff = model.hypers.cutoff
    few = atoms[:100]
    structures = [entry for entry in read(few) if isinstance(entry, InputStructure)]
    calls = {
        "graph of a screening": lambda: [prepare(model, entry, settings) for entry in structures],
        "of it the neighbor list": lambda: [neighbor_list(entry, cutoff) for entry in few],
        "ASE's neighbor list": lambda: [ase.neighborlist.neighbor_list("ijD", entry, cutoff) for entry in few],
    }
    times = timing.interleaved(calls, 3)
    ours = times["graph of a screening"]
    rows = [
        [title, f"{timing.median_ms(values) / len(few):.2f}", f"{timing.ratio(values, ours):.2f}"]
        for title, values in times.items()
    ]
    print(f"\n### Graphs ({cutoff:g} Angstrom)\n")
    print(table(("CPU time", "ms per crystal", "ratio"), rows))


def memory(source: Path, names: str) -> None:
    """Peak memory of short and long screenings, each a command of its own."""
    rows = []
    for limit in (10_000, job_size(source)):
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                words = ["screen", str(source), "-o", folder, "--properties", names, "--allow-unseen", "--compile"]
                words += ["--limit", str(limit), "--workers", str(workers)]
                run = "from voigt.cli.main import run; run()"
                subprocess.run([sys.executable, "-c", run, *words], check=False)
                session = json.loads((Path(folder) / "manifest.json").read_text())["sessions"][-1]
            peak, done = session["peak_mib"], session["crystals"] + session["failed"]
            title = f"{done:,} crystals, {workers} process{'es' if workers > 1 else ''}"
            cells = [title, str(peak["main"]), str(peak["worker"]), f"{session['seconds']:.0f}"]
            rows.append([*cells, f"{done / session['seconds']:.1f}"])
            timing.log(" ".join(rows[-1]))
    print(f"\n### Memory ({names})\n")
    print(table(("", "peak MiB, reading and writing", "peak MiB, computing", "seconds", "crystals/s"), rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", type=int, default=3000)
    parser.add_argument("--properties", default="band_gap,eps_inf", help="one table each")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="screen the whole file instead")
    options = parser.parse_args()
    timing.prepare()
    source = Path(os.environ.get("VOIGT_DATA", "../shared/data")) / "scalars" / "mp_scalars.parquet"
    names = tuple(options.properties.split(","))
    if options.memory:
        memory(source, options.properties)
        return
    with tempfile.TemporaryDirectory() as folder:
        path, atoms = sample(source, options.crystals, Path(folder))
        for name in names:
            speed(path, atoms, name, options.rounds)
        neighbors(atoms, names[0])


if __name__ == "__main__":
    main()

"""`voigt screen --engine ray` against the engine of one machine, with as many workers. Prints Markdown.

    VOIGT_DATA=... python -m benchmarks.speed.screening_ray [--crystals 3000] [--workers 2] [--rounds 2]

Rounds alternate between the engines, each in a process of its own; the best of each is shown. Steady state is from the
first part that is stored to the last, when some workers may still load their models; processor time is that of the
process and all that it has started, Ray's own included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from voigt.screening.job import Job
from voigt.screening.screen import Engine, Listener, Resources, screen_collection
from voigt.screening.sources import open_collection

ENGINES: tuple[Engine, ...] = ("local", "ray")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Run:
    """One screening; times in seconds.

    Attributes
    ----------
    crystals
        In all, and in the first part.
    wall, processor
        From the start of the process to the first part and to the last, of which `total` includes the end.
    """

    crystals: list[int] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    total: float = 0.0

    def steady(self, times: list[float]) -> float:
        """Crystals per second after the first part."""
        return sum(self.crystals[1:]) / (times[-1] - times[0])

    def overall(self, times: list[float]) -> float:
        """Crystals per second from the start."""
        return sum(self.crystals) / times[-1]


def processor_time(process: int) -> float:
    """Seconds of a process and its descendants that live."""
    times, parents = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        times[int(folder.name)] = (int(fields[11]) + int(fields[12])) / TICKS
        parents[int(folder.name)] = int(fields[1])
    total = 0.0
    for entry, seconds in times.items():
        above = entry
        while above != process and above in parents:
            above = parents[above]
        total += seconds if above == process else 0.0
    return total


def measure(engine: Engine, source: str, workers: int, crystals: int, start: float) -> Run:
    """Screen band gaps in this process; `start` is when it was started (time.time)."""
    run = Run()

    def note(count: int) -> None:
        run.crystals.append(count)
        run.wall.append(time.time() - start)
        run.processor.append(processor_time(os.getpid()))

    job, resources = Job(("band_gap",)), Resources(engine, workers)
    with tempfile.TemporaryDirectory() as folder:
        listener = Listener(lambda _: None, note)
        screen_collection(
            open_collection(source), Path(folder) / "store", job, resources=resources, limit=crystals, listener=listener
        )
    run.total = time.time() - start
    return run


def apart(engine: Engine, source: str, workers: int, crystals: int) -> Run:
    """The same in a process of its own."""
    words = [engine, source, str(workers), str(crystals), repr(time.time())]
    command = [sys.executable, __file__, "--one", *words]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Run(**json.loads(answer.splitlines()[-1]))


def table(runs: dict[Engine, list[Run]]) -> str:
    """Markdown; the loss of Ray is 1 - its best / the best of the other."""
    kinds = {
        "steady state, crystals/s": lambda run: run.steady(run.wall),
        "steady state, crystals/s of processor time": lambda run: run.steady(run.processor),
        "with start, crystals/s": lambda run: run.overall(run.wall),
        "with start, crystals/s of processor time": lambda run: run.overall(run.processor),
    }
    lines = ["| | this machine | Ray | Ray loses |", "|---|---|---|---|"]
    for name, rate in kinds.items():
        local, ray = (max(rate(run) for run in runs[engine]) for engine in ENGINES)
        lines.append(f"| {name} | {local:.1f} | {ray:.1f} | {1 - ray / local:.0%} |")
    for name, moment in (("first part after, s", lambda run: run.wall[0]), ("all, s", lambda run: run.total)):
        local, ray = (min(moment(run) for run in runs[engine]) for engine in ENGINES)
        lines.append(f"| {name} | {local:.1f} | {ray:.1f} | |")
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        engine, source, workers, crystals, start = sys.argv[2:]
        run = measure("ray" if engine == "ray" else "local", source, int(workers), int(crystals), float(start))
        print(json.dumps(asdict(run)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    source = str(Path(os.environ["VOIGT_DATA"]) / "scalars" / "mp_scalars.parquet")
    runs: dict[Engine, list[Run]] = {engine: [] for engine in ENGINES}
    for _ in range(options.rounds):
        for engine in ENGINES:
            runs[engine].append(apart(engine, source, options.workers, options.crystals))
    print(table(runs))


if __name__ == "__main__":
    main()

"""A screening of a million crystals that is killed again and again: what is lost, and whether memory stays flat.

    python -m benchmarks.speed.million [--crystals 1000000] [--kills 7,23,41+,66,88] [--workers 1] -o runs/million

Runs `voigt screen` on made-up crystals (benchmarks/tools/made_crystals.py) with a small random network, looks at the
memory of all its processes, and sends SIGKILL to all of them when so many percent are done ("+": and parts are being
put together); then the same command goes on. At the end every crystal is looked up in the Parquet files. Prints
Markdown. Stopped itself, the same call goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from benchmarks.tools import timing
from benchmarks.tools.made_crystals import fails, number_of, volumes, write_crystals, write_network

from voigt.screening.store.parts import part_files
from voigt.writers.markdown import table

PROPERTIES = "band_gap,eps_inf"
RANK = "eps_inf * band_gap"
PROGRAM = "from voigt.cli.main import run; run()"  # what the console script `voigt` does
MARKS = (0.1, 0.5, 1.0)
"""Shares of the crystals up to which the peak memory is told."""


class Files:
    """What lies in the folder of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.crystals, self.model = folder / "crystals.parquet", folder / "small.safetensors"
        self.store, self.log = folder / "store", folder / "voigt.log"
        self.sessions, self.samples = folder / "sessions.jsonl", folder / "memory.csv"
        self.running = folder / "running.json"
        """Number of the process that runs now."""


@dataclass(frozen=True)
class Session:
    """One life of the command, as seen from outside; times are seconds from its start.

    Attributes
    ----------
    before, after
        Crystals in the Parquet files at its start and its end.
    killed
        Whether it was killed; else it came to its end.
    seconds, cpu
        Of its life, and of the processor.
    opened, first, last
        When it said that it goes on (0 in a new store), when its first and its last part were there.
    start_mib, peak_mib
        Resident memory of all its processes when the first part was there, and the most.
    parts, most_parts
        Files with results at its end, and the most there were.
    halves
        Half-written files that it left.
    """

    before: int
    after: int
    killed: bool
    seconds: float
    cpu: float
    opened: float
    first: float
    last: float
    start_mib: float
    peak_mib: float
    parts: int
    most_parts: int
    halves: int

    @property
    def rate(self) -> float:
        """Crystals per second once it computes."""
        return (self.after - self.before) / (self.last - self.first) if self.last > self.first else float("nan")


@dataclass(frozen=True)
class Kill:
    """When the command is killed: so many crystals are done, and parts are being put together or not."""

    crystals: int
    compacting: bool

    def due(self, done: int, store: Path) -> bool:
        return done >= self.crystals and (not self.compacting or bool(list(store.glob("parts/.part-*-*.parquet.*"))))


def kills_of(text: str, crystals: int) -> list[Kill]:
    """Kills from percents like "7,23+", by ascending number of crystals."""
    words = [word for word in text.split(",") if word]
    kills = [Kill(round(float(word.rstrip("+")) / 100 * crystals), word.endswith("+")) for word in words]
    return sorted(kills, key=lambda kill: kill.crystals)


class Stored:
    """How many crystals and failures the files of a store hold; each file is looked at once."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.rows: dict[Path, int] = {}

    def look(self) -> int:
        rows = {}
        parts = part_files(self.store / "parts")  # without those that others have taken in
        names = {path.name for path in parts}
        for path in [*parts, *(path for path in named(self.store, "failed") if path.name in names)]:
            try:
                rows[path] = self.rows[path] if path in self.rows else pq.read_metadata(path).num_rows
            except FileNotFoundError:  # taken in by another while we look
                continue
        self.rows = rows
        return sum(rows.values())


def named(store: Path, kind: str) -> list[Path]:
    """Files of a store, "parts" with results or tables of "failed" inputs."""
    folder = store / kind
    names = os.listdir(folder) if folder.is_dir() else []
    return [folder / name for name in sorted(names) if name.startswith("part-") and name.endswith(".parquet")]


def processes(group: int) -> dict[int, tuple[float, float]]:
    """Resident memory (MiB; what several share counts in each) and processor time (s) of every process of a group."""
    page, tick = resource.getpagesize() / 2**20, 1.0 / os.sysconf("SC_CLK_TCK")
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            if int(fields[2]) == group:
                found[int(entry)] = (int(fields[21]) * page, (int(fields[11]) + int(fields[12])) * tick)
    return found


def live(files: Files, extra: Sequence[str], kill: Kill | None, every: float) -> Session:
    """Run the command to its end, or until it is killed."""
    words = ["screen", str(files.crystals), "-o", str(files.store), "--model", str(files.model)]
    words += ["--properties", PROPERTIES, *extra]
    stored = Stored(files.store)
    before = done = stored.look()
    older = set(named(files.store, "parts"))
    spoken = files.log.stat().st_size if files.log.exists() else 0
    start = time.time()
    cpu: dict[int, float] = {}
    opened = first = last = start_mib = peak = 0.0
    most_parts, killed = len(older), False
    with files.log.open("ab") as log, files.samples.open("a", newline="") as stream:
        samples = csv.writer(stream)
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words],
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        files.running.write_text(str(process.pid))
        while process.poll() is None:
            seconds = time.time() - start
            now = stored.look()  # while parts are put together some may be missed
            most_parts = max(most_parts, len(named(files.store, "parts")))
            found = processes(process.pid)
            each = [mib for mib, _ in found.values()]
            cpu.update({pid: used for pid, (_, used) in found.items()})
            peak = max(peak, sum(each))
            if not opened and before and b"going on" in files.log.read_bytes()[spoken:]:
                opened = seconds
            if now > done:
                done, last = now, seconds
                if not first:
                    new = [path.stat().st_mtime for path in named(files.store, "parts") if path not in older]
                    first, start_mib = min(new) - start, sum(each)
            samples.writerow([f"{time.time():.2f}", done, f"{sum(each):.1f}", f"{max(each, default=0):.1f}"])
            stream.flush()
            if kill is not None and kill.due(done, files.store):
                os.killpg(process.pid, signal.SIGKILL)
                killed = True
                break
            time.sleep(every)
        process.wait()
    seconds = time.time() - start
    files.running.unlink()
    if not killed and process.returncode not in (0, 1):
        raise SystemExit(f"voigt screen ended with {process.returncode}, see {files.log}")
    if killed:
        new = [path for path in named(files.store, "parts") if path not in older]
        last = max([path.stat().st_mtime - start for path in new], default=0.0)
    return Session(
        before=before,
        after=stored.look(),
        killed=killed,
        seconds=seconds,
        cpu=sum(cpu.values()),
        opened=opened,
        first=first,
        last=last,
        start_mib=start_mib,
        peak_mib=peak,
        parts=len(part_files(files.store / "parts")),
        most_parts=most_parts,
        halves=sum(path.is_file() for path in files.store.rglob(".*")),
    )


def end_left(files: Files) -> None:
    """Kill what an earlier call of this script left running, if it was stopped itself."""
    if not files.running.exists():
        return
    group = int(files.running.read_text())
    words = Path(f"/proc/{group}/cmdline")
    if words.exists() and str(files.store).encode() in words.read_bytes():
        os.killpg(group, signal.SIGKILL)
        while processes(group):
            time.sleep(0.1)
    files.running.unlink()


def lived(files: Files) -> list[Session]:
    """Sessions so far."""
    lines = files.sessions.read_text().splitlines() if files.sessions.exists() else []
    return [Session(**json.loads(line)) for line in lines]


def run(folder: Path, crystals: int, kills: Sequence[Kill], extra: Sequence[str], every: float) -> list[Session]:
    """Screen so many crystals; return how it went.

    Parameters
    ----------
    folder
        For everything; what an earlier call of the same kind did there is kept.
    crystals
        How many.
    kills
        By ascending number of crystals.
    extra
        More words for the command.
    every
        Seconds between two looks at memory and progress.
    """
    files = Files(folder.resolve())
    files.folder.mkdir(parents=True, exist_ok=True)
    if not files.crystals.exists():
        timing.log(f"making {crystals:,} crystals")
        write_crystals(files.crystals, crystals)
    if not files.model.exists():
        write_network(files.model)
    end_left(files)
    sessions = lived(files)
    while not sessions or sessions[-1].killed:
        done = Stored(files.store).look()
        kill = next((one for one in kills if one.crystals > done), None)
        session = live(files, extra, kill, every)
        sessions.append(session)
        with files.sessions.open("a") as stream:
            stream.write(json.dumps(asdict(session)) + "\n")
        timing.log(f"{session.after:,} of {crystals:,} after {session.seconds:.0f} s, killed: {session.killed}")
    return sessions


def faults(store: Path, crystals: int) -> list[str]:
    """What is wrong with a finished store: each crystal must be there once, under its own id, or among the failures."""
    numbers = np.arange(crystals)
    times, failures = np.zeros(crystals, dtype=int), np.zeros(crystals, dtype=int)
    wrong = []
    for path in named(store, "parts"):
        content = pq.read_table(path, columns=["id", "volume"])
        found = np.array([number_of(name) for name in content["id"].to_pylist()], dtype=int)
        np.add.at(times, found, 1)
        if not np.allclose(content["volume"].to_numpy(), volumes(found), rtol=1e-9):
            wrong.append(f"{path} holds other crystals than its ids say")
    for path in named(store, "failed"):
        ids = pq.read_table(path, columns=["id"])["id"].to_pylist()
        np.add.at(failures, np.array([number_of(name) for name in ids], dtype=int), 1)
    expected = fails(numbers)
    for text, count in (
        ("results are missing", times[~expected] == 0),
        ("results are there twice or more", times > 1),
        ("results are of crystals that must fail", times[expected] > 0),
        ("failures are missing", failures[expected] == 0),
        ("failures are there twice or more", failures > 1),
        ("failures are of crystals that must not fail", failures[~expected] > 0),
    ):
        if count.any():
            wrong.append(f"{int(count.sum()):,} {text}")
    return wrong


def peaks(files: Files, crystals: int) -> list[float]:
    """Most memory of all processes until so much of `MARKS` was done, MiB."""
    with files.samples.open(newline="") as stream:
        rows = [(int(done), float(mib)) for _, done, mib, _ in csv.reader(stream)]
    return [max(mib for done, mib in rows if done <= mark * crystals) for mark in MARKS]


def timed(store: Path) -> list[str]:
    """Cells on opening and on ranking a finished store, each in a process of its own."""
    cells = []
    for step in ("open", "rank"):
        words = [sys.executable, "-m", "benchmarks.speed.million", "-o", str(store), "--step", step]
        cells.append(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip())
    return cells


def do_step(store: Path, step: str) -> None:
    """Open a store as a screening does that goes on, or find the best twenty; print how long it took."""
    from voigt.screening import parse, result_parts, select
    from voigt.screening.store.manifest import MANIFEST, read_manifest
    from voigt.screening.store.rows import peak_mib
    from voigt.screening.store.store import open_store

    start = time.perf_counter()
    if step == "open":
        content = (store / MANIFEST).read_bytes()
        manifest = read_manifest(store)
        with open_store(store, manifest["job"], manifest["collection"], "benchmark") as opened:
            seconds, count = time.perf_counter() - start, len(opened.done)
        (store / MANIFEST).write_bytes(content)  # opening it begins a session, which is none here
    else:
        count = select(result_parts(store), None, parse(RANK), 20).looked_at
        seconds = time.perf_counter() - start
    print(f"{seconds:.2f} s for {count:,} crystals, {peak_mib():,.0f} MiB")


def told(files: Files, sessions: Sequence[Session], crystals: int) -> None:
    """The tables."""
    rows = []
    for session in sessions:
        lost = session.seconds - session.last
        rows.append(
            [
                f"{session.before:,} to {session.after:,}",
                "killed" if session.killed else "complete",
                f"{session.opened:.1f}" if session.opened else "–",
                f"{session.first:.1f}",
                f"{session.rate:,.0f}",
                f"{session.start_mib:,.0f}",
                f"{session.peak_mib:,.0f}",
                f"{lost:.2f} s" if session.killed else "–",
                f"{session.halves}",
                f"{session.parts:,}",
            ]
        )
    header = ("crystals", "ended", "open after, s", "first part after, s", "crystals/s", "MiB at first part")
    header += ("most MiB", "work lost", "half files left", "parts")
    print(f"\n### {crystals:,} crystals, killed {sum(session.killed for session in sessions)} times\n")
    print(table(header, rows))
    last, seconds, cpu = sessions[-1], sum(one.seconds for one in sessions), sum(one.cpu for one in sessions)
    memories = ", ".join(
        f"{mib:,.0f} MiB until {100 * mark:.0f} %" for mark, mib in zip(MARKS, peaks(files, crystals), strict=True)
    )
    opened, ranked = timed(files.store)
    summary = [
        ["all sessions", f"{seconds:,.0f} s, {crystals / seconds:,.0f} crystals/s"],
        ["time of the processor", f"{cpu:,.0f} s, {crystals / cpu:,.0f} crystals/s"],
        ["most memory of all processes together", memories],
        ["end: failures gathered, parts put together", f"{last.seconds - last.last:.1f} s"],
        ["files with results", f"{last.most_parts:,} before, {last.parts:,} after"],
        ["open the finished store", opened],
        [f"rank it by {RANK}", ranked],
    ]
    print("\n" + table(("", ""), summary, "ll"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", type=int, default=1_000_000)
    parser.add_argument("--kills", default="7,23,41+,66,88", help="percent, or nothing")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two looks")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/million"))
    parser.add_argument("--step", choices=("open", "rank"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step is not None:
        do_step(options.output, options.step)
        return
    kills = kills_of(options.kills, options.crystals)
    extra = ["--workers", str(options.workers), "--engine", options.engine]
    sessions = run(options.output, options.crystals, kills, extra, options.every)
    files = Files(options.output.resolve())
    wrong = faults(files.store, options.crystals)
    told(files, sessions, options.crystals)
    if wrong:
        raise SystemExit("the store is wrong: " + "; ".join(wrong))
    failed = int(fails(np.arange(options.crystals)).sum())
    print(
        f"\nOf {options.crystals:,} crystals {options.crystals - failed:,} have one result each and {failed:,}, with an"
    )
    print("element that the network does not know, one failure each; none is missing, none is there twice.")


if __name__ == "__main__":
    main()

"""A campaign: workers that are watched and replaced, progress in a file, and the table at the end."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz import actions, projects
from tests.fuzz.cases import KINDS, kind_of, make
from tests.fuzz.worker import SECONDS, work, write_files

WALL = 6.0
"""An input may take this many times its seconds by the clock, on a machine that has other things to do."""
SHARE = 500
"""Inputs that one process works through."""

_FAULTS = ("exception", "signal", "slow", "memory", "lost", "wrong", "executed", "words", "control")
_OTHER = "other"


@dataclass
class Watched:
    """A worker seen from its parent."""

    process: int
    pipe: int
    number: int | None = None
    begun: float = 0.0
    cpu: float = 0.0
    text: bytes = b""
    done: list[dict[str, Any]] = field(default_factory=list)


def _cpu(process: int) -> float:
    """CPU seconds of a process and of the children that it has waited for."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _start(numbers: Sequence[int], seed: int, kind: str | None, folder: Path) -> Watched:
    pipe, channel = os.pipe()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.close(pipe)
            os.setpgid(0, 0)
            work(numbers, seed, kind, folder, channel)
            code = 0
        finally:
            os._exit(code)
    os.close(channel)
    return Watched(process, pipe)


def _receive(worker: Watched) -> bool:
    """Read what the worker says; whether it is still there."""
    chunk = os.read(worker.pipe, 1 << 16)
    *lines, worker.text = (worker.text + chunk).split(b"\n")
    for line in lines:
        message = json.loads(line)
        if "outcome" in message:
            worker.done.append(message)
            worker.number = None
        else:
            worker.number, worker.begun, worker.cpu = message["number"], time.monotonic(), _cpu(worker.process)
    return bool(chunk)


def results(numbers: Sequence[int], seed: int, kind: str | None = None) -> Iterator[dict[str, Any]]:
    """What becomes of each input, in order; one that kills its process or hangs is a fault of its own."""
    left = list(numbers)
    folder = Path(tempfile.mkdtemp(prefix="voigt-fuzz-"))
    try:
        while left:
            worker = _start(left[:SHARE], seed, kind, folder)
            fault, alive = "", True
            while alive:
                if select.select([worker.pipe], [], [], 1.0)[0]:
                    alive = _receive(worker)
                    yield from worker.done
                    left = left[len(worker.done) :]
                    worker.done.clear()
                elif worker.number is not None and not fault:
                    seconds = _cpu(worker.process) - worker.cpu
                    if seconds > SECONDS + 2 or time.monotonic() - worker.begun > WALL * SECONDS:
                        fault = f"slow: killed after {seconds:.0f} s"
                        os.killpg(worker.process, signal.SIGKILL)
            os.close(worker.pipe)
            status = os.waitpid(worker.process, 0)[1]
            if worker.number is not None or status:
                code = os.waitstatus_to_exitcode(status)
                name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                number = worker.number if worker.number is not None else left[0]
                yield {
                    "number": number,
                    "outcome": "died",
                    "faults": [fault or f"signal: {name}"],
                    "seconds": time.monotonic() - worker.begun,
                }
                left.remove(number)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(number: int, seed: int, kind: str | None, report: dict[str, Any], folder: Path) -> None:
    """The files of an input that did harm, with what happened."""
    case = make(seed, number, kind)
    place = folder / f"{number:06d}-{(kind or kind_of(number)).replace(' ', '-').replace(',', '').replace('.', '')}"
    write_files(case, place)
    about = {
        "seed": seed,
        "number": number,
        "kind": kind or kind_of(number),
        "action": case.action,
        "arguments": case.arguments,
        **report,
    }
    (place / "about.json").write_text(json.dumps(about, indent=1))


def prepare() -> None:
    """Seeds, the model file, and the imports that workers share."""
    import torch

    torch.set_num_threads(1)
    actions.MODEL.parent.mkdir(exist_ok=True)
    actions.MODEL.write_bytes(projects.model_file())
    projects.seeds()
    from voigt.cli.main import app  # noqa: F401
    from voigt.prediction import stream  # noqa: F401
    from voigt.screening.report import report  # noqa: F401
    from voigt.writers import writer_of  # noqa: F401


def finish() -> None:
    shutil.rmtree(actions.MODEL.parent, ignore_errors=True)


def table(reports: Iterable[dict[str, Any]], kind: str | None = None) -> str:
    """Markdown: kinds by outcome, faults of each sort, the slowest input."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    slowest: dict[str, float] = defaultdict(float)
    for report in reports:
        name = kind or kind_of(report["number"])
        rows[name]["inputs"] += 1
        rows[name][report["outcome"]] += 1
        for sort in {fault.partition(":")[0] for fault in report["faults"]}:
            rows[name][sort if sort in _FAULTS else _OTHER] += 1
        slowest[name] = max(slowest[name], report["seconds"])
    for counts in list(rows.values()):
        rows["**all**"].update(counts)
    slowest["**all**"] = max(slowest.values(), default=0.0)
    columns = ("inputs", "read", "partly", "refused", "died", *_FAULTS, _OTHER)
    head = [f"| kind | {' | '.join(columns)} | slowest (s) |", f"| --- |{' ---: |' * (len(columns) + 1)}"]
    names = [*(name for name in KINDS if name in rows), "**all**"]
    body = [f"| {n} | {' | '.join(str(rows[n][c]) for c in columns)} | {slowest[n]:.1f} |" for n in names]
    return "\n".join(head + body)


def run(
    count: int, seed: int, folder: Path, kind: str | None = None, step: int = 1, first: int = 0
) -> list[dict[str, Any]]:
    """Work through inputs, going on where an earlier call with the same folder was stopped; all reports so far."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"progress-{seed}.jsonl"
    reports = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {report["number"] for report in reports}
    numbers = [number for number in range(first, count, step) if number not in done]
    start, new = time.monotonic(), 0
    prepare()
    try:
        with log.open("a") as stream:
            for report in results(numbers, seed, kind):
                reports.append(report)
                stream.write(json.dumps(report) + "\n")
                stream.flush()
                new += 1
                if report["faults"]:
                    keep(report["number"], seed, kind, report, folder / "faults")
                    print(
                        f"{report['number']} {kind or kind_of(report['number'])}: {'; '.join(report['faults'])[:400]}",
                        flush=True,
                    )
                if new % 1000 == 0:
                    print(
                        f"{len(reports)} of {count}, {(time.monotonic() - start) / new * 1000:.0f} ms each", flush=True
                    )
    finally:
        finish()
    return reports

"""A process that works through inputs, one after another, under limits; it may die of any of them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz import actions, oracle
from tests.fuzz.actions import Result
from tests.fuzz.cases import Case, make
from tests.fuzz.containers import CANARY

SECONDS = 10.0
MEMORY = 2 << 30


def write_files(case: Case, folder: Path) -> None:
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _memory(key: str) -> int:
    """Bytes of VmSize, VmHWM or VmRSS of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) << 10
    return 0


def _limits() -> None:
    """Beyond twice the memory that an input may take, the system refuses; signals kill without a core."""
    room = _memory("VmSize") + 2 * MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 30, 4 << 30))


class Streams:
    """Standard output and error of this process and its libraries, into files."""

    def __init__(self, folder: Path) -> None:
        self.files = [os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC) for name in ("stdout", "stderr")]
        for target, handle in zip((1, 2), self.files, strict=True):
            os.dup2(handle, target)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)

    def clear(self) -> None:
        for handle in self.files:
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)

    def taken(self) -> list[bytes]:
        sys.stdout.flush()
        sys.stderr.flush()
        found = []
        for handle in self.files:
            os.lseek(handle, 0, os.SEEK_SET)
            found.append(os.read(handle, 1 << 20))
        return found


def run(case: Case, folder: Path, streams: Streams) -> dict[str, Any]:
    """What became of one input: outcome, faults, CPU seconds."""
    place = folder / "outer" / "work"
    shutil.rmtree(folder / "outer", ignore_errors=True)
    place.mkdir(parents=True)
    write_files(case, place)
    given = {name: (place / name).stat().st_mtime_ns for name in case.files}
    os.chdir(place)
    Path("/proc/self/clear_refs").write_text("5")
    before, start = _memory("VmRSS"), time.process_time()
    streams.clear()
    result = actions.perform(case)
    seconds = time.process_time() - start
    faults = list(result.faults)
    output, errors = streams.taken()
    printed = output or b"voigt: " in errors
    action = "models" if case.action == "model" and printed else case.action
    faults += oracle.of_sentences(result.messages)
    faults += oracle.of_streams(output, errors, action)
    if (used := _memory("VmHWM") - before) > MEMORY:
        faults.append(f"memory: {used >> 20} MiB")
    if seconds > SECONDS:
        faults.append(f"slow: {seconds:.1f} s")
    faults += _left_behind(place, case, given)
    os.chdir(folder)
    return {"outcome": _outcome(case, result), "faults": sorted(set(faults))[:10], "seconds": round(seconds, 3)}


def _left_behind(place: Path, case: Case, given: dict[str, int]) -> Iterator[str]:
    """Files that a payload made, that are outside of the folder, or that were changed."""
    if any((folder / CANARY).exists() for folder in (place, place.parent)):
        yield "executed: a payload of the input"
    if len(list(place.parent.iterdir())) > 1:
        yield "outside: something was written beside the folder"
    if case.action in ("read", "network", "collection", "predict", "model", "recipe", "checkpoint", "project"):
        changed = [
            name
            for name, time_ns in given.items()
            if not (place / name).exists() or (place / name).stat().st_mtime_ns != time_ns
        ]
        if changed:
            yield f"changed: the input {changed[0]!a}"
        new = {path.name for path in place.iterdir()} - {name.split("/")[0] for name in case.files}
        if new and case.action != "predict":
            yield f"left: {sorted(new)[0]!a} in the working folder"


def _outcome(case: Case, result: Result) -> str:
    if result.refused:
        return "partly" if result.delivered else "refused"
    return "read"


def work(numbers: Sequence[int], seed: int, kind: str | None, folder: Path, channel: int) -> None:
    """Work through inputs; before and after each of them a line goes into the channel."""
    _limits()
    warnings.resetwarnings()
    warnings.simplefilter("always")
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
    streams = Streams(folder)
    for number in numbers:
        os.write(channel, f"{json.dumps({'number': number})}\n".encode())
        case = make(seed, number, kind)
        os.write(channel, f"{json.dumps({'number': number, 'made': True})}\n".encode())
        try:
            report = run(case, folder, streams)
        except BaseException as error:  # of the harness, or an exit that nothing caught
            report = {"outcome": "refused", "faults": [f"exception: {type(error).__name__}: {error}"], "seconds": 0.0}
        os.write(channel, f"{json.dumps({'number': number, **report})}\n".encode())

"""Sections of a benchmark on a device: each within a time limit, none stops the others, tables printed and kept."""

from __future__ import annotations

import json
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import torch
from benchmarks.tools.timing import Call, table

LONGEST = 4.0
"""Seconds after which `in_turn` makes no more rounds."""


class Table(NamedTuple):
    """What a section prints.

    Attributes
    ----------
    title, header, rows
        Of the table.
    note
        A sentence below it.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""


Section = Callable[[], Iterator[Table]]


class OverTimeError(BaseException):
    """A section took too long; no `except Exception` on the way may take it for its own."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OverTimeError in the block after so many seconds; needs Unix and the main thread.

    The timer of someone else outside, a test runner's, goes on afterwards.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise OverTimeError

    handler = signal.signal(signal.SIGALRM, stop)
    before, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    start = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler)
        if before:
            signal.setitimer(signal.ITIMER_REAL, max(before - (time.monotonic() - start), 0.001))


def reason(error: BaseException) -> str:
    """An error in a line."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:160]}" if text else type(error).__name__


def synchronized(call: Call, device: torch.device) -> float:
    """Seconds of one call."""
    wait(device)
    start = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Until the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_turn(calls: Mapping[str, Call], device: torch.device, rounds: int) -> dict[str, float | str]:
    """Median seconds of every candidate, or why it fails; one at least of `rounds`, no more after `LONGEST`."""
    found: dict[str, float | str] = {}
    for name, call in calls.items():
        try:
            # The first calls compile: scripted modules of e3nn do so in the second one and in the third.
            for _ in range(4 if device.type == "cuda" else 1):
                synchronized(call, device)
        except Exception as error:  # out of memory, or whatever another library raises: the others go on
            found[name] = reason(error)
        release(device)
    times: dict[str, list[float]] = {name: [] for name in calls if name not in found}
    start = time.monotonic()
    for _ in range(rounds):
        for name, values in times.items():
            values.append(synchronized(calls[name], device))
        if time.monotonic() - start > LONGEST:
            break
    return {name: found[name] if name in found else statistics.median(times[name]) for name in calls}


def release(device: torch.device) -> None:
    """Give back the memory that nothing uses any more."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def ms(seconds: float | str, per: float = 1.0, digits: int = 3) -> str:
    """Milliseconds, or why there are none."""
    return f"not measured: {seconds}" if isinstance(seconds, str) else f"{1e3 * seconds / per:.{digits}f}"


def times_as(slow: float | str, quick: float | str) -> str:
    """How many times one takes the other."""
    if isinstance(slow, str) or isinstance(quick, str):
        return "-"
    return f"{slow / quick:.2f}x"


def run_sections(
    sections: Mapping[str, tuple[float, Section]], total: float, device: str, folder: Path | None
) -> dict[str, str]:
    """Run sections one after the other.

    Parameters
    ----------
    sections
        Name -> its time limit in seconds, and itself.
    total
        Seconds for all; what has no time left is skipped.
    device
        What it is, for the file.
    folder
        Where `gpu.json` goes, written anew after every section; None: nowhere.

    Returns
    -------
    Name -> why a section was not measured, or not to its end.
    """
    start = time.monotonic()
    kept: dict[str, object] = {"device": device, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}
    results: dict[str, object] = {}
    missing: dict[str, str] = {}
    for name, (limit, section) in sections.items():
        left, begun, tables = total - (time.monotonic() - start), time.monotonic(), []
        problem = "" if left > 1.0 else f"the {total:.0f} s of all sections are used up"
        try:
            if not problem:
                with limited(min(limit, left)):
                    for one in section():
                        tables.append(one)
                        show(one)
        except OverTimeError:
            problem = f"more than {min(limit, left):.0f} s"
        except Exception as error:  # whatever it is: the other sections go on
            problem = reason(error)
        seconds = time.monotonic() - begun
        if problem:
            missing[name] = problem
            print(f"{name}: not measured: {problem}\n", flush=True)
        print(f"({name}: {seconds:.0f} s)\n", flush=True)
        results[name] = {"seconds": round(seconds, 1), "problem": problem, "tables": [one._asdict() for one in tables]}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "gpu.json").write_text(json.dumps({**kept, "sections": results}, indent=2) + "\n")
    return missing


def show(one: Table) -> None:
    """Print as Markdown."""
    print(f"### {one.title}\n")
    table(one.header, one.rows)
    if one.note:
        print(f"{one.note}\n", flush=True)

"""Shipped models from files to files: agreement with the CPU, time and where it goes, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import ase
import ase.io
import numpy as np
import torch
from benchmarks.tools.gpu.measuring import Table, in_turn, ms, reason, release, synchronized, wait
from benchmarks.tools.mixed_crystals import mixed_crystals
from benchmarks.tools.timing import resident, without_grad

from voigt.graphs import collate
from voigt.graphs.padding import bounded_elements
from voigt.models.captured import Captured, record_on_cuda
from voigt.models.ensemble import in_one_pass, one_by_one
from voigt.models.network import Pass, functional_rows
from voigt.prediction import Clock, Prediction, Settings
from voigt.prediction.pipeline import Prepared, prepare
from voigt.prediction.plan import Plan, choose_models
from voigt.prediction.stream import predict_planned
from voigt.structures import read
from voigt.writers import write_predictions

MODELS = ("born", "elastic", "piezo", "scalars")
FORMS = ("one by one", "one pass", "replayed")
STAGES = ("symmetry", "graph", "network", "corrections")
COMMAND = "from voigt.cli.main import run; run()"
SMALL_BATCH = 5_000
"""Edges of a batch in the table of memory: few crystals fill several."""


def plan_for(model: str | None, device: torch.device, max_edges: int | None = None) -> Plan:
    """A model on a device, whatever the elements."""
    settings = Settings(device=str(device), allow_unseen=True)
    return choose_models(model, settings if max_edges is None else replace(settings, max_edges=max_edges))


def agreement(device: torch.device, quick: bool) -> Iterator[Table]:
    """Largest difference of every property from what the CPU gives, TF32 off."""
    given, rows = list(read(mixed_crystals(4 if quick else 64))), []
    for name in MODELS:
        here, there = (list(predict_planned(given, plan_for(name, place))) for place in (torch.device("cpu"), device))
        rows += differences(name, here, there)
    header = ["model", "property", "crystals", "largest difference", "largest value", "relative"]
    note = f"Products of matrices in single precision: '{torch.get_float32_matmul_precision()}' ('highest': no TF32)."
    yield Table(f"{device} against the CPU, {len(given)} crystals", header, rows, note)


def differences(model: str, expected: Sequence[object], found: Sequence[object]) -> list[list[str]]:
    """Cells of each property of a model, values before and after corrections together.

    Raises
    ------
    ValueError
        One device fails where the other does not.
    """
    pairs = list(zip(expected, found, strict=True))
    if any(isinstance(one, Prediction) != isinstance(other, Prediction) for one, other in pairs):
        raise ValueError(f"model {model} fails for other crystals on this device")
    good = [(one, two) for one, two in pairs if isinstance(one, Prediction) and isinstance(two, Prediction)]
    rows = []
    for name in good[0][0].values:
        kinds = [(one.values[name], two.values[name]) for one, two in good]
        kinds += [(one.raw[name], two.raw[name]) for one, two in good]
        apart = max(float(np.abs(np.asarray(two) - one).max()) for one, two in kinds)
        size = max(float(np.abs(one).max()) for one, _ in kinds)
        rows.append([model, name, f"{len(good)}", f"{apart:.1e}", f"{size:.3g}", f"{apart / max(size, 1e-12):.0e}"])
    return rows


def end_to_end(device: torch.device, quick: bool, count: int) -> Iterator[Table]:
    """From a file of mixed crystals to a Parquet file of tensors."""
    crystals, cores = mixed_crystals(count), len(os.sched_getaffinity(0))
    size = f"{len(crystals):,} crystals, {sum(map(len, crystals)) / len(crystals):.1f} atoms on average"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        file = folder / "crystals.extxyz"
        ase.io.write(file, crystals, format="extxyz")
        rows = []
        for name in MODELS[:1] if quick else MODELS[:3]:
            plan = plan_for(name, device)
            for _ in range(2):  # compilers have done their work, and batches of the same sizes are recorded
                file_to_file(file, folder / "warm.parquet", plan, 1)
            rows.append([name])
            for workers in (1, 0):
                seconds = synchronized(lambda n=workers, p=plan: file_to_file(file, folder / "o.parquet", p, n), device)
                rows[-1].append(ms(seconds, len(crystals)))
        header = ["model", "one process", f"{cores} processes"]
        yield Table(f"From file to written tensors, ms per crystal, {size}", header, rows, "Without the start.")
        yield stages(file, folder / "stages.parquet", plan_for("born", device), size)
        yield commands(file, folder, device, len(crystals), cores, quick)


def file_to_file(source: Path, target: Path, plan: Plan, workers: int) -> int:
    """What `voigt predict SOURCE -o TARGET` does when it is awake; the number of predictions.

    Raises
    ------
    ValueError
        Nothing could be predicted.
    """
    results = predict_planned(read(source), plan, workers=workers)
    count = 0

    def good() -> Iterator[Prediction]:
        nonlocal count
        for result in results:
            if isinstance(result, Prediction):
                count += 1
                yield result

    write_predictions(good(), target, plan.properties)
    if not count:
        raise ValueError("nothing could be predicted")
    return count


def stages(source: Path, target: Path, plan: Plan, size: str) -> Table:
    """Milliseconds per crystal of each stage in one process, waiting for the device at the end of each."""
    device = plan.shares[0].model.device

    def now() -> float:
        wait(device)
        return time.perf_counter()

    clock, start = Clock(now=now), now()
    given = list(read(source))
    at_reading = now()
    results = list(predict_planned(given, plan, clock))
    at_predicting = now()
    predictions = [result for result in results if isinstance(result, Prediction)]
    write_predictions(predictions, target, plan.properties)
    end = now()
    seconds = {"reading": at_reading - start, **{stage: clock.seconds.get(stage, 0.0) for stage in STAGES}}
    seconds["checks and the rest"] = at_predicting - at_reading - sum(clock.seconds.values())
    seconds["writing"] = end - at_predicting
    rows = [[stage, ms(spent, len(given)), f"{100 * spent / (end - start):.0f} %"] for stage, spent in seconds.items()]
    rows.append(["in all", ms(end - start, len(given)), "100 %"])
    note = "Symmetry and graphs are what other processes take over; the rest bounds what they can gain."
    return Table(f"Stages of born in one process, {size}", ["stage", "ms per crystal", "share"], rows, note)


def commands(source: Path, folder: Path, device: torch.device, count: int, cores: int, quick: bool) -> Table:
    """The command, its start included, for one crystal and for all of them."""
    one, rows = folder / "one.extxyz", []
    ase.io.write(one, ase.io.read(source, index=0), format="extxyz")
    cases = [
        ("one crystal", one, 1),
        (f"{count:,} crystals, one process", source, 1),
        (f"{count:,} crystals, {cores} processes", source, 0),
    ]
    for name, file, workers in cases[:1] if quick else cases:
        words = ["predict", str(file), "-o", str(folder / "command.parquet"), "--device", str(device)]
        words += ["--allow-unseen", "--quiet", "--workers", str(workers)]
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        # Exit code 1: some crystals failed, the others are there.
        problem = "" if done.returncode in (0, 1) else f"exit code {done.returncode}: {done.stderr.strip()[-160:]}"
        rows.append([name, f"not measured: {problem}" if problem else f"{seconds:.2f}"])
    return Table("`voigt predict FILE -o OUT.parquet`, start included", ["", "s"], rows)


def ensembles(device: torch.device, quick: bool) -> Iterator[Table]:
    """Networks of a model one after the other, in one pass, and replayed, for a few crystals."""
    rows = []
    for name in MODELS[1:2] if quick else MODELS:
        model = plan_for(name, device).shares[0].model
        candidates: dict[str, Pass] = {"one by one": one_by_one(model.members)}
        if len(model.members) > 1:
            candidates["one pass"] = in_one_pass(model.members)
        best = candidates.get("one pass", candidates["one by one"])
        for count in (1, 2) if quick else (1, 16, 128):
            if device.type == "cuda":  # anew, so that one that cannot be recorded does not spoil the others
                candidates["replayed"] = Captured(best, record_on_cuda())
            prepared = [prepare(model, entry, Settings(allow_unseen=True)) for entry in read(mixed_crystals(count))]
            batch = collate([entry.graph for entry in prepared if isinstance(entry, Prepared)])
            row = functional_rows(batch, model.hypers.functionals)
            there = replace(bounded_elements(batch), functional_row=row).to(device)
            calls = {kind: without_grad(partial(run, there)) for kind, run in candidates.items()}
            seconds = in_turn(calls, device, 1 if quick else 10)
            cells = [ms(seconds[kind], digits=2) if kind in seconds else "-" for kind in FORMS]
            # Where nothing was recorded, all was left to the plain form.
            if "replayed" in candidates and not cast(Captured, candidates["replayed"]).recordings:
                cells[-1] = "not measured: could not be recorded"
            rows.append([name, f"{len(model.members)}", f"{count}", *cells])
    yield Table("Networks of a model, ms for a batch", ["model", "networks", "crystals", *FORMS], rows)


def memory(device: torch.device, quick: bool) -> Iterator[Table]:
    """Largest memory while one, two and four times as many crystals are predicted."""
    base = 8 if quick else 128
    rows = []
    for name in MODELS[:1] if quick else ("born", "elastic"):
        plan = plan_for(name, device, SMALL_BATCH)
        row = [name]
        for times in (1, 1, 2, 4):  # the first warms up
            crystals = mixed_crystals(base) * times
            try:
                row.append(f"{peak(plan, crystals, device):.0f}")
            except (OSError, RuntimeError) as error:
                row.append(f"not measured: {reason(error)}")
        rows.append([row[0], *row[2:]])
    header = ["model", *(f"{base * times} crystals" for times in (1, 2, 4))]
    where = "of the device" if device.type == "cuda" else "resident in the process"
    title = f"Largest memory {where} during predictions, MB, batches of at most {SMALL_BATCH:,} edges"
    yield Table(title, header, rows, "It must not grow with the number of crystals.")


def peak(plan: Plan, crystals: Sequence[ase.Atoms], device: torch.device) -> float:
    """MB while predictions of some crystals pass by."""
    if device.type == "cuda":
        release(device)
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls back to what is resident now
    for _ in predict_planned(read(iter(crystals)), plan):
        pass
    # Reserved: what recordings use is not among what is allocated.
    return torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else resident("VmHWM")

"""Permittivity, elastic and piezoelectric tensors by a trained network, by assembly with a potential, and by both.

    VOIGT_DATA=... python -m benchmarks.accuracy.assembled run eps_total --part test --count 60 -o runs/assembled
    VOIGT_DATA=... python -m benchmarks.accuracy.assembled table eps_total -o runs/assembled

`run` draws crystals of at most 12 atoms (piezo_total: 10) at random from a part of the split, gives each to
`voigt.respond` at the cell of the label with positions relaxed by the potential, and appends both routes and the label
to a file, one line for each crystal; it goes on where it was stopped. Force constants at Gamma take the primitive cell
alone. `table` prints both parts; the rule by which `voigt.respond` combines the routes was chosen on the validation
part.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voigt.data.labeled import LabeledCrystal
from voigt.data.reading import read_labeled
from voigt.errors import VoigtError
from voigt.evaluation.metrics import norms
from voigt.response.assembly import Quantity, Response, ResponseSettings, respond
from voigt.response.assembly.combination import PIEZO, SHARE, SOFT, combined
from voigt.response.potentials import DEFAULT, load_potential
from voigt.tensors.properties import PROPERTIES

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """One question: file below the data, largest cell, a flag that crystals must carry, and the property."""

    file: str
    most_atoms: int
    where: str | None = None
    property: str = ""  # if it is not the name of the task


TASKS = {
    "eps_total": Task("tensors/dielectric.extxyz", 12, "trusted"),
    "eps_ionic": Task("tensors/dielectric.extxyz", 12, "trusted"),
    "elastic": Task("tensors/elastic.extxyz", 12),
    "piezo_total": Task("tensors/piezo.extxyz", 10),
    "piezo_p4mm": Task("tensors/piezo_p4mm_signs.extxyz", 5, "stable", "piezo_total"),
}
CLAMPED_IONIC = ("piezo_clamped", "piezo_ionic")
DIRECT = {"piezo_total": "piezo_clamped"}
"""What the network says where it does not predict the property itself."""


def property_of(task: str) -> str:
    """What a task is about."""
    return TASKS[task].property or task


def drawn(name: str, part: str, functional: str | None) -> Iterator[LabeledCrystal]:
    """Crystals of a part with a label, in random order, always the same."""
    task, name = TASKS[name], property_of(name)
    path = Path(os.environ["VOIGT_DATA"]) / task.file
    crystals = [
        crystal
        for crystal in read_labeled(path, [name], where=task.where, max_atoms=task.most_atoms)
        if crystal.split == part and name in crystal.targets and functional in (None, crystal.functional)
    ]
    for row in np.random.default_rng(0).permutation(len(crystals)):
        yield crystals[row]


def record(crystal: LabeledCrystal, name: str, calculator: Any) -> dict[str, Any]:
    """Both routes and the label of one crystal, or why there is no answer."""
    start = time.perf_counter()
    entry: dict[str, Any] = {
        "id": crystal.id,
        "formula": crystal.group,
        "atoms": len(crystal.atoms),
        "functional": crystal.functional,
        "label": crystal.targets[name].tolist(),
    }
    settings = ResponseSettings(
        calculator=calculator, functional=crystal.functional, dim=(1, 1, 1), allow_metal=True, allow_vacuum=True
    )
    try:
        answer = respond(crystal.atoms, settings)
    except VoigtError as error:
        return {**entry, "problem": str(error), "seconds": time.perf_counter() - start}
    modes = answer.infrared.response.modes.frequencies
    ways = {way.route: way for way in answer.routes.get(name, ())}
    direct = ways.get("predicted") or answer.quantities.get(DIRECT.get(name, name))
    found = ways.get("assembled") or ways.get("potential") or answer.quantities.get(name)
    return {
        **entry,
        "assembled": None if found is None or found.route == "predicted" else found.value.tolist(),
        "direct": None if direct is None else direct.value.tolist(),
        "interval": None if direct is None or direct.interval is None else float(direct.interval),
        "lowest": float(np.sort(modes)[min(3, len(modes) - 1)]),
        "parts": parts(answer),
        "notes": sorted({note.kind for note in answer.notes}),
        "steps": dict(answer.seconds),
        "seconds": time.perf_counter() - start,
    }


def parts(answer: Response) -> dict[str, Any]:
    """What else a combination may look at."""
    wanted = ("eps_inf", "eps_ionic", "piezo_clamped", "piezo_ionic", "elastic_clamped")
    return {name: answer.quantities[name].value.tolist() for name in wanted if name in answer.quantities}


def run(arguments: argparse.Namespace) -> None:
    """Append so many crystals to the file of a property and part."""
    torch.set_num_threads(1)
    path = Path(arguments.output) / f"{arguments.property}-{arguments.part}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {entry["id"] for entry in entries(path)}
    calculator = load_potential(arguments.potential)
    for crystal in drawn(arguments.property, arguments.part, arguments.functional):
        if len(done) >= arguments.count:
            break
        if crystal.id in done:
            continue
        line = json.dumps(record(crystal, property_of(arguments.property), calculator))
        with path.open("a") as stream:
            stream.write(line + "\n")
        done.add(crystal.id)
        print(f"{len(done)}/{arguments.count} {crystal.id} {crystal.group}", file=sys.stderr, flush=True)


def entries(path: Path) -> list[dict[str, Any]]:
    """What a file holds so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def stacked(rows: list[dict[str, Any]], key: str, name: str) -> Array:
    """(n, ...) tensors of the rows."""
    values = [row.get(key, row["parts"].get(key)) for row in rows]
    return np.array(values, dtype=np.float64).reshape(len(rows), *PROPERTIES[name].shape)


def answers(name: str, rows: list[dict[str, Any]]) -> dict[str, Array]:
    """Tensors of each route, and those that `voigt.respond` chooses."""
    direct, assembled = stacked(rows, "direct", name), stacked(rows, "assembled", name)
    if name == "piezo_total":
        return {"zero": np.zeros_like(direct), "clamped ions (network)": direct, "assembled": assembled}
    if name == "elastic":
        return {"network": direct, "potential": assembled}
    ionic = assembled - stacked(rows, "eps_inf", "eps_inf") if name == "eps_total" else assembled
    both = [
        combined(Quantity(one, "", "predicted", ""), Quantity(other, "", "assembled", ""), part, row["lowest"]).value
        for one, other, part, row in zip(direct, assembled, ionic, rows, strict=True)
    ]
    return {"network": direct, "assembled": assembled, "both": np.array(both)}


def errors(name: str, value: Array, label: Array) -> Array:
    """(n,) relative errors; signs of piezoelectric labels are open, so that the better one counts."""
    wrong = norms(value - label)
    wrong = np.minimum(wrong, norms(value + label)) if name == "piezo_total" else wrong
    return np.asarray(wrong / norms(label))


def signs(value: Array, label: Array) -> None:
    """Print how many components of P4mm crystals have the sign of the label, and how many the opposite one."""
    for title, place in {"e33": (2, 2, 2), "e31": (2, 0, 0), "e15": (0, 0, 2)}.items():
        ours, theirs = value[(..., *place)], label[(..., *place)]
        clear = abs(theirs) > 0.1  # C/m^2; below, signs are noise
        same = np.sign(ours[clear]) == np.sign(theirs[clear])
        print(f"{title}: {same.sum()} of {clear.sum()} have the sign of the label, {(~same).sum()} the opposite one")


def calibrated(what: str, ratio: Array, share: float) -> None:
    """Print the conformal 90 % quantile of errors over a scale, and how many lie below the share that is used."""
    place = min(int(np.ceil(0.9 * (len(ratio) + 1))), len(ratio)) - 1
    print(
        f"\n90 % interval {what} ({len(ratio)} crystals): quantile {np.sort(ratio)[place]:.3f}; "
        f"{100 * (ratio <= share).mean():.0f} % are below {share:g}, which is used"
    )


def table(arguments: argparse.Namespace) -> None:
    """Print what the files hold; a crystal that one route cannot answer counts as wrong for it."""
    name = property_of(arguments.property)
    for part in ("val", "test"):
        rows = entries(Path(arguments.output) / f"{arguments.property}-{part}.jsonl")
        whole = [row for row in rows if row.get("assembled") is not None and row.get("direct") is not None]
        if not whole:
            continue
        refused = [f"{row['formula']} ({row['problem']})" for row in rows if "problem" in row]
        print(f"{part}: {len(rows)} crystals, {len(whole)} with both routes; refused: {'; '.join(refused) or 'none'}\n")
        label = stacked(whole, "label", name)
        print("| route | within 25 % | within 10 % | within 5 % | median error |\n|---|--:|--:|--:|--:|")
        found = answers(name, whole)
        for title, value in found.items():
            error = errors(name, value, label)
            shares = " | ".join(f"{100 * (error < percent / 100).mean():.1f}" for percent in (25, 10, 5))
            print(f"| {title} | {shares} | {np.median(error):.3f} |")
        if "both" in found:
            known = np.array([row["interval"] for row in whole], dtype=np.float64)
            mixed = np.array([row["lowest"] >= SOFT for row in whole])
            calibrated(
                "of means: errors over the network's interval", (norms(found["both"] - label) / known)[mixed], SHARE
            )
        if arguments.property == "piezo_total":
            sizes = sum(norms(stacked(whole, part, name)) for part in CLAMPED_IONIC)
            calibrated(
                "of e: errors over |clamped| + |ionic|",
                errors(name, found["assembled"], label) * norms(label) / sizes,
                PIEZO,
            )
        if arguments.property == "piezo_p4mm":
            signs(found["assembled"], label)
        print(f"\nmedian time {np.median([row['seconds'] for row in whole]):.1f} s\nids: ", end="")
        print(", ".join(row["id"] for row in whole) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("property", choices=tuple(TASKS))
    parser.add_argument("--part", choices=("val", "test"), default="val")
    parser.add_argument("--functional")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--potential", default=DEFAULT)
    parser.add_argument("-o", "--output", default="runs/assembled")
    arguments = parser.parse_args()
    {"run": run, "table": table}[arguments.what](arguments)


if __name__ == "__main__":
    main()

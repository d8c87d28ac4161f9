"""What is done with each input, in the folder of its files, and what must hold of the result."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import ase
import numpy as np
from tests.fuzz.cases import Case

from voigt.errors import VoigtError
from voigt.notes import Failure
from voigt.structures import Input

MODEL = Path(tempfile.gettempdir()) / f"voigt-fuzz-model-{os.getpid()}" / "tiny.safetensors"
"""A small model in a file, which the commands are given; written before the workers are forked."""

MOST_CRYSTALS = 20
"""Of what an input delivers so many go through symmetry, graph and network."""


@dataclass
class Result:
    """What an action saw.

    Attributes
    ----------
    delivered
        id -> symbols in rising order.
    messages
        Every sentence that a user would read.
    refused
        How many structures became failures, or 1 if the call was refused.
    faults
        What must not happen, as "kind: words".
    """

    delivered: dict[str, tuple[str, ...]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    refused: int = 0
    faults: list[str] = field(default_factory=list)


def _take(result: Result, structures: Iterable[Input]) -> list[Input]:
    """Note what a reader gives; the first few are handed on."""
    kept: list[Input] = []
    for structure in structures:
        if isinstance(structure, Failure):
            result.refused += 1
            if len(result.messages) < 200:
                result.messages.append(structure.reason)
        else:
            _check_atoms(result, structure.atoms)
            if structure.id in result.delivered:
                result.faults.append(f"twice: id {structure.id!r} is given to two crystals")
            result.delivered[structure.id] = tuple(sorted(structure.atoms.symbols))
            if len(kept) < MOST_CRYSTALS:
                kept.append(structure)
    return kept


def _check_atoms(result: Result, atoms: ase.Atoms) -> None:
    sound = len(atoms) > 0 and np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()
    if not sound or atoms.numbers.min() < 1 or atoms.numbers.max() > 118 or not atoms.pbc.all():
        result.faults.append("unsound: a structure passed the checks that no model can read")


def _through_network(result: Result, structures: Sequence[Input]) -> None:
    """Symmetry, graph, network and corrections; predictions are finite."""
    from voigt.models.checkpoint import load_model
    from voigt.prediction import Settings, predict_structures

    for prediction in predict_structures(structures, load_model(MODEL), Settings(allow_unseen=True)):
        if isinstance(prediction, Failure):
            result.messages.append(prediction.reason)
            continue
        result.messages += [note.text for note in prediction.notes]
        if not all(np.isfinite(value).all() for value in prediction.values.values()):
            result.faults.append("not finite: a prediction")


def _graphs(result: Result, structures: Sequence[Input]) -> None:
    """Symmetry and graph alone."""
    from voigt.models.checkpoint import load_model
    from voigt.prediction import Settings, prepare

    model = load_model(MODEL)
    for structure in structures:
        if isinstance(structure, Failure):
            continue
        prepared = prepare(model, structure, Settings(allow_unseen=True))
        notes = [prepared.reason] if isinstance(prepared, Failure) else [note.text for note in prepared.notes]
        result.messages += notes


# Structures


def read(arguments: Sequence[str], result: Result) -> None:
    from voigt.structures import read as read_structures

    _graphs(result, _take(result, read_structures(list(arguments))))


def network(arguments: Sequence[str], result: Result) -> None:
    from voigt.structures import read as read_structures

    _through_network(result, _take(result, read_structures(list(arguments))))


def collection(arguments: Sequence[str], result: Result) -> None:
    from voigt.screening import open_collection

    found = open_collection(arguments[0])
    _graphs(result, _take(result, found.structures()))
    if found.count is not None and found.count < 0:
        result.faults.append("count: negative")


def memory(arguments: Sequence[str], result: Result) -> None:
    from voigt.structures import read as read_structures

    entries = json.loads(Path(arguments[0]).read_bytes().decode("utf-8", "surrogatepass"))
    _graphs(result, _take(result, read_structures([entry for entry in entries if isinstance(entry, dict)])))


# Commands


def command(arguments: Sequence[str], result: Result) -> int:
    """Run `voigt` in this process; its exit code. What it prints is looked at by the worker."""
    from voigt.cli.main import app

    sys.argv = ["voigt", *arguments]
    try:
        app()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1 if stop.code else 0
    else:
        code = 0
    if code not in (0, 1, 2):
        result.faults.append(f"code: {code}")
    result.refused += code != 0
    return code


def predict(arguments: Sequence[str], result: Result) -> None:
    output = Path(arguments[arguments.index("-o") + 1])
    code = command(["predict", *arguments, "--model", str(MODEL), "--allow-unseen"], result)
    if code == 2 and output.exists():
        result.faults.append("code: 2, but there is an output")
    if output.exists():
        result.delivered = READ_BACK[output.suffix](output)
    elif code == 0:
        result.faults.append("output: none, exit code 0")


def _symbols(formula: str) -> tuple[str, ...]:
    from ase.formula import Formula

    return tuple(sorted(Formula(formula)))


def _back_from_csv(path: Path) -> dict[str, tuple[str, ...]]:
    atoms: dict[str, list[str]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row.get("element"):
                atoms.setdefault(row["id"], []).append(row["element"])
            else:
                atoms.setdefault(row["id"], [])
    return {name: tuple(sorted(symbols)) for name, symbols in atoms.items()}


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _back_from_json(path: Path) -> dict[str, tuple[str, ...]]:
    records = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    return {record["id"]: _symbols_of(record) for record in records}


def _symbols_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    for key in ("symbols", "elements", "numbers"):
        if key in record:
            return tuple(sorted(ase.Atoms(record[key]).symbols))
    return _symbols(record["formula"]) if "formula" in record else ()


def _back_from_extxyz(path: Path) -> dict[str, tuple[str, ...]]:
    import ase.io

    frames = ase.io.read(path, index=":", format="extxyz")
    return {str(frame.info["id"]): tuple(sorted(frame.symbols)) for frame in frames}


def _back_from_parquet(path: Path) -> dict[str, tuple[str, ...]]:
    import pyarrow.parquet as pq

    return {
        row["id"]: tuple(sorted(ase.Atoms(row["numbers"]).symbols)) if "numbers" in row else ()
        for row in pq.read_table(path).to_pylist()
    }


READ_BACK: Mapping[str, Callable[[Path], dict[str, tuple[str, ...]]]] = {
    ".csv": _back_from_csv, ".json": _back_from_json, ".extxyz": _back_from_extxyz, ".parquet": _back_from_parquet,
}  # fmt: skip


# Models, recipes, expressions


def model(arguments: Sequence[str], result: Result) -> None:
    from voigt.models.checkpoint import load_model
    from voigt.prediction import Settings, predict_structures
    from voigt.structures import read as read_structures

    if Path(arguments[0]).stat().st_size % 3 == 0:
        command(["models", arguments[0]], result)
        return
    loaded = load_model(arguments[0])
    atoms = ase.Atoms("MgO", cell=4.2 * np.eye(3)[[1, 2, 0]], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], pbc=True)
    for prediction in predict_structures(read_structures(atoms), loaded, Settings(allow_unseen=True)):
        if isinstance(prediction, Failure):
            result.refused += 1
            result.messages.append(prediction.reason)


def recipe(arguments: Sequence[str], result: Result) -> None:
    from voigt.training.recipe import load_recipe

    load_recipe(arguments[0])


def checkpoint(arguments: Sequence[str], result: Result) -> None:
    from voigt.training.checkpoints import read_checkpoint

    read_checkpoint(arguments[0])


def expression(arguments: Sequence[str], result: Result) -> None:
    from voigt.screening import evaluate, parse

    understood = parse(arguments[0], "--where")
    columns = {name: np.array([0.0, 1.5, -1.0, math.nan, math.inf, 1e308]) for name in understood.names}
    with np.errstate(all="raise"):
        evaluate(understood, columns)


# Phonopy projects


def project(arguments: Sequence[str], result: Result) -> None:
    from voigt.response.phonons import gamma_modes, read_project

    read = read_project(arguments[0])
    result.messages += [note.text for note in read.notes]
    result.delivered["project"] = ()
    if not np.isfinite(gamma_modes(read.phonon).frequencies).all():
        result.faults.append("not finite: frequencies")


def phonons(arguments: Sequence[str], result: Result) -> None:
    code = command(["phonons", arguments[0], "--model", str(MODEL), "--allow-unseen", "-o", "out.json"], result)
    if code in (0, 1) and Path("out.json").exists():
        json.loads(Path("out.json").read_text(encoding="utf-8"), parse_constant=_no_number)


# Screenings


def screen(source: Path, folder: Path) -> None:
    """A screening in this process, in parts of two crystals."""
    from voigt.screening import Job, choose_resources, open_collection, screen_collection
    from voigt.screening import compute as computing

    computing.CRYSTALS = 2
    resources = choose_resources("local", 1, None)
    screen_collection(open_collection(str(source)), folder, Job(None, str(MODEL)), resources=resources)


def resume(arguments: Sequence[str], result: Result) -> None:
    import pyarrow.parquet as pq

    from voigt.screening import result_parts

    screen(Path(arguments[0]), Path(arguments[1]))
    ids = Counter(
        name for part in result_parts(arguments[1]) for name in pq.read_table(part, columns=["id"])["id"].to_pylist()
    )
    from tests.fuzz.crystals import CRYSTALS

    expected = {crystal.id for crystal in CRYSTALS}
    if lost := sorted(expected - set(ids)):
        result.faults.append(f"lost: {', '.join(lost)} not in the store that was gone on with")
    if twice := sorted(name for name, count in ids.items() if count > 1):
        result.faults.append(f"twice: {', '.join(map(str, twice))} in the store")


def store(arguments: Sequence[str], result: Result) -> None:
    from voigt.screening import parse, read_crystals, read_failures, read_manifest, result_parts, select

    read_manifest(arguments[0])
    parts = result_parts(arguments[0])
    selection = select(parts, parse("eps_inf > 0"), parse("eps_inf"), top=5)
    if len(set(selection.ids)) < len(selection.ids):
        result.faults.append("twice: a crystal is selected twice")
    list(islice(read_crystals(parts, selection.ids), 5))
    read_failures(arguments[0])


def report(arguments: Sequence[str], result: Result) -> None:
    command(["screen", "report", arguments[0], "-o", "report", "--rank", "eps_inf"], result)


ACTIONS: Mapping[str, Callable[[Sequence[str], Result], None]] = {
    "read": read, "network": network, "collection": collection, "memory": memory, "predict": predict, "model": model,
    "recipe": recipe,
    "checkpoint": checkpoint, "expression": expression, "project": project, "phonons": phonons, "screen": resume,
    "store": store,
    "report": report,
}  # fmt: skip


def perform(case: Case) -> Result:
    """Do what a case asks for. A VoigtError refuses it; anything else that is raised is a fault."""
    result = Result()
    try:
        ACTIONS[case.action](case.arguments, result)
    except VoigtError as error:
        result.refused += 1
        result.messages.append(str(error))
    except MemoryError:
        result.faults.append("memory: an error that nothing caught")
    except Exception as error:
        result.faults.append(f"exception: {type(error).__name__}: {str(error)[:300]} {_origin(error)}")
    result.faults += _of_delivery(case, result.delivered)
    return result


def _of_delivery(case: Case, delivered: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Good crystals that are missing or have other atoms."""
    if not case.named:
        lost = sum((Counter(case.good.values()) - Counter(delivered.values())).values())
        if lost > case.spare:
            yield f"lost: {lost} of {len(case.good)}, {case.spare} may be"
        return
    missing = [name for name in case.good if name not in delivered]
    if len(missing) > case.spare:
        yield f"lost: {', '.join(missing)}, {case.spare} may be"
    for name, symbols in case.good.items():
        if delivered.get(name, symbols) not in (symbols, ()):
            yield f"wrong: {name} has {delivered[name]}"


def _origin(error: BaseException) -> str:
    """The last places in this package that an exception came through."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if "/voigt/" in f.filename]
    return f"[{' < '.join(reversed(ours[-3:]))}]" if ours else f"[{Path(frames[-1].filename).name}:{frames[-1].lineno}]"

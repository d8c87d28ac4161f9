"""Two thousand spoiled inputs do no harm; and the harness that says so notices every kind of harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import REPOSITORY
from tests.fuzz import actions, campaign, containers, crystals, mutators, oracle, projects
from tests.fuzz.actions import Result
from tests.fuzz.cases import KINDS, Case, good, make
from tests.fuzz.crystals import CRYSTALS, Crystal
from tests.fuzz.worker import SECONDS, write_files

INPUTS, SHARES = 2000, 2


@pytest.mark.parametrize("share", range(SHARES))
def test_spoiled_inputs_do_no_harm(share: int, tmp_path: Path) -> None:
    """Every number below INPUTS once, in processes of their own."""
    words = ["--inputs", INPUTS, "--first", share, "--step", SHARES, "--seed", 13, "--out", tmp_path]
    command = [sys.executable, "-m", "tests.fuzz", *map(str, words)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    reports = [json.loads(line) for line in (tmp_path / "progress-13.jsonl").read_text().splitlines()]
    assert [report["number"] for report in reports] == list(range(share, INPUTS, SHARES))
    outcomes = {report["outcome"] for report in reports}
    assert outcomes == {"read", "partly", "refused"}


# The seeds are sound: what the suite finds is due to what it spoils.


@pytest.fixture(scope="module")
def prepared() -> Iterator[None]:
    campaign.prepare()
    yield
    campaign.finish()


@pytest.fixture
def done(prepared: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case], Result]:
    """What an action gives in a folder of its own, without a process of its own."""

    def perform(case: Case) -> Result:
        write_files(case, tmp_path)
        monkeypatch.chdir(tmp_path)
        return actions.perform(case)

    return perform


TEXTS = [
    ("a.cif", crystals.cif), ("a.mcif", crystals.magnetic_cif), ("POSCAR", crystals.poscar), ("a.xyz", crystals.extxyz),
    ("vasprun.xml", crystals.vasprun), *crystals.FOREIGN.values(),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), TEXTS, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("crystal", CRYSTALS[:4], ids=lambda crystal: crystal.id)
def test_a_sound_text_is_read(
    name: str, text: Callable[[Crystal], str], crystal: Crystal, done: Callable[[Case], Result]
) -> None:
    result = done(Case("read", {name: text(crystal).encode()}, (name,)))
    assert list(result.delivered.values()) == [tuple(sorted(crystal.symbols))], result.messages
    assert result.faults == []


def _store(more: dict[str, bytes]) -> dict[str, bytes]:
    return {**{f"store/{name}": content for name, content in projects.store_files().items()}, **more}


def _lines(record: Callable[[Crystal], object], chosen: Sequence[Crystal] = CRYSTALS) -> bytes:
    return b"\n".join(mutators.json_text(record(crystal)) for crystal in chosen) + b"\n"


SOUND: dict[str, Callable[[], Case]] = {
    "json lines": lambda: Case("read", {"a.jsonl": _lines(crystals.json_line)}, ("a.jsonl",), good(CRYSTALS)),
    "map": lambda: Case("read", {"a.json": mutators.json_text({c.id: crystals.pymatgen(c) for c in CRYSTALS})},
    ("a.json",), good(CRYSTALS)),
    "optimade": lambda: Case("read",
    {"a.json": mutators.json_text({"data": [crystals.optimade(c) for c in CRYSTALS]})}, ("a.json",), good(CRYSTALS)),
    "jarvis": lambda: Case("read", {"a.json": mutators.json_text([crystals.jarvis(c) for c in CRYSTALS])},
    ("a.json",), good(CRYSTALS)),
    "database": lambda: Case("collection", {"a.db": containers.database(CRYSTALS)}, ("a.db",), good(CRYSTALS)),
    "table": lambda: Case("collection", {"a.parquet": containers.parquet(containers.structures_table(CRYSTALS))},
    ("a.parquet",), good(CRYSTALS)),
    "recipe": lambda: Case("recipe", {"r.yaml": projects.RECIPE}, ("r.yaml",)),
    "model": lambda: Case("model", {"m.safetensors": projects.model_file()}, ("m.safetensors",)),
    "checkpoint": lambda: Case("checkpoint", {"last.ckpt": projects.checkpoint_file()}, ("last.ckpt",)),
    "store": lambda: Case("store", _store({}), ("store",)),
    "resumed": lambda: Case("screen", _store({"a.jsonl": projects.collection_file()}), ("a.jsonl", "store")),
    **{
        suffix: lambda suffix=suffix: Case("predict", {"a.jsonl": _lines(crystals.json_line)},
        ("a.jsonl", "-o", f"out.{suffix}"), good(CRYSTALS))
        for suffix in ("csv", "json", "extxyz", "parquet")
    },
    **{
        layout: lambda layout=layout: Case("project",
        {f"p/{name}": data for name, data in {**projects.project_files(layout), "BORN": projects.BORN}.items()}, ("p",))
        for layout in projects.LAYOUTS
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_seed_is_taken(name: str, done: Callable[[Case], Result]) -> None:
    result = done(SOUND[name]())
    assert (result.refused, result.faults) == (0, [])


def test_an_input_is_always_the_same(prepared: None) -> None:
    """In whichever order inputs are made."""
    first = {kind: make(1, 7, kind) for kind in KINDS}
    second = {kind: make(1, 7, kind) for kind in reversed(KINDS)}
    assert [kind for kind in KINDS if first[kind] != second[kind]] == []
    assert make(2, 7, "CIF") != first["CIF"]


# What the harness must notice


def _hang() -> None:
    while True:
        pass


def _die() -> None:
    os.kill(os.getpid(), signal.SIGFPE)


def _grow() -> None:
    kept = [np.ones(1 << 24) for _ in range(3)]
    assert len(kept) == 3


def _raise() -> None:
    raise ValueError("invalid literal for int()")


def _print() -> None:
    os.write(2, b"a library speaks\n")


def _execute() -> None:
    Path(containers.CANARY).touch()


def _leave() -> None:
    Path("../beside").touch()


HARM = {
    _hang: "slow",
    _die: "signal",
    _grow: "memory",
    _raise: "exception",
    _print: "printed",
    _execute: "executed",
    _leave: "outside",
}


@pytest.mark.parametrize("harm", HARM, ids=HARM.values())
def test_harm_is_noticed_and_the_rest_goes_on(
    harm: Callable[[], None], monkeypatch: pytest.MonkeyPatch, prepared: None
) -> None:
    """The second of three inputs does harm."""
    if harm is _hang:
        monkeypatch.setattr(campaign, "SECONDS", 0.2)
    if harm is _grow:  # to 384 MiB: on a busy machine the system takes seconds for each GiB
        monkeypatch.setattr("tests.fuzz.worker.MEMORY", 1 << 28)
    monkeypatch.setattr("tests.fuzz.worker.make", lambda _, number, __: Case("test", {}, (str(number),)))
    monkeypatch.setitem(actions.ACTIONS, "test", lambda arguments, _: harm() if arguments == ("1",) else None)
    start = time.monotonic()
    reports = list(campaign.results(range(3), seed=0))
    assert [report["number"] for report in reports] == [0, 1, 2]
    assert [bool(report["faults"]) for report in reports] == [False, True, False]
    assert [fault.partition(":")[0] for fault in reports[1]["faults"]] == [HARM[harm]]
    assert time.monotonic() - start < 6 * SECONDS


def test_a_lost_crystal_is_noticed(done: Callable[[Case], Result]) -> None:
    """Two good ones are expected of a file that holds one of them."""
    content = {"a.xyz": crystals.extxyz(CRYSTALS[0]).encode()}
    case = Case("read", content, ("a.xyz",), good(CRYSTALS[:2]))
    assert done(case).faults == ["lost: beta, 0 may be"]
    other = Case("read", content, ("a.xyz",), {"alpha": ("Ca", "O")})
    assert done(other).faults == ["wrong: alpha has ('Mg', 'O')"]


def test_an_exit_code_without_an_output_is_noticed(
    done: Callable[[Case], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "command", lambda *_: 0)
    assert done(Case("predict", {}, ("a.xyz", "-o", "out.csv"))).faults == ["output: none, exit code 0"]


@pytest.mark.parametrize(
    ("sentence", "fault"),
    [
        ("a.cif, frame 0 (id a): has no cell; add one", None),
        ("a.cif: \x1b[31mred", "control"),
        ("a.cif: \u202egnp", "control"),
        ("two\nlines", "control"),
        ("a.cif: could not convert string to float: 'x'", "words"),
        ("unexpected KeyError: 'a'", "words"),
        ("/usr/lib/python3/site-packages/ase", "words"),
        ("9" * 10_000, "long"),
        (" ", "empty"),
    ],
)
def test_sentences_that_no_user_should_read(sentence: str, fault: str | None) -> None:
    assert [found.partition(":")[0] for found in oracle.of_sentences([sentence])] == ([] if fault is None else [fault])


def test_the_table_counts_every_input_once() -> None:
    reports = [
        {"number": 0, "outcome": "read", "faults": [], "seconds": 0.1},
        {"number": 1, "outcome": "refused", "faults": ["words: a", "words: b", "left: c"], "seconds": 2.0},
    ]
    *_, last = campaign.table(reports, "CIF").splitlines()
    assert last == "| **all** | 2 | 1 | 0 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 1 | 0 | 1 | 2.0 |"


def test_an_interrupted_campaign_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: None) -> None:
    seen: list[int] = []

    def results(numbers: Sequence[int], seed: int, kind: str | None = None) -> Iterator[dict[str, object]]:
        for number in numbers:
            seen.append(number)
            yield {"number": number, "outcome": "read", "faults": [], "seconds": 0.0}

    monkeypatch.setattr(campaign, "results", results)
    monkeypatch.setattr(campaign, "finish", lambda: None)
    campaign.run(3, 0, tmp_path)
    assert len(campaign.run(5, 0, tmp_path)) == 5
    assert seen == [0, 1, 2, 3, 4]

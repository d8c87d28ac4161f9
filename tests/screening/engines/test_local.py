"""Several processes: the same rows as one, and a process that dies costs the crystal that killed it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.screening.deadly import Deadly, Slow
from tests.screening.screenings import (
    SALTS,
    check,
    collection,
    failures,
    rows,
    run,
    salts,
    same_values,
    unseen,
)

from voigt.errors import DomainError
from voigt.screening.engines import local as engine
from voigt.screening.engines.local import run_local
from voigt.screening.job import Job
from voigt.screening.store.rows import Outcome
from voigt.structures import Input

pytestmark = pytest.mark.usefixtures("small_pieces")


def children() -> set[int]:
    """Living processes that this one has started."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc to see which processes live")
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_text()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z" and "resource_tracker" not in command:
            found.add(int(entry.name))
    return found


def pieces_of(inputs: list[Any], size: int = 1) -> list[list[Input]]:
    structures = list(collection(inputs).structures())
    return [structures[k : k + size] for k in range(0, len(structures), size)]


def test_two_processes_give_the_rows_of_one_and_survive_a_deadly_crystal(tiny: Job, tmp_path: Path) -> None:
    """The one that kills its process is a failure with this reason, the others of its piece are computed."""
    good, bad = salts(7), [unseen("potash"), "no structure"]
    (killer,) = salts(1, start=50)
    inputs = [*bad, *good, Deadly(killer, info={"id": "deadly"})]
    before = children()
    messages: list[str] = []
    summary = run(inputs, tmp_path / "two", tiny, workers=2, messages=messages)
    assert (summary.crystals, summary.failed) == (7, 3)
    assert children() == before
    names = [atoms.info["id"] for atoms in good]
    check(tmp_path / "two", names, ["deadly", "potash", "input:1"])
    reasons = {row["id"]: row["reason"] for row in failures(tmp_path / "two")}
    beginning = "memory, frame 9 (id deadly): the process that computed its 2 atoms was killed, "
    assert reasons["deadly"].startswith(beginning)
    run([*good, *bad], tmp_path / "one", tiny)
    columns = [name for name in rows(tmp_path / "one").column_names if name != "source"]
    same_values(rows(tmp_path / "two").select(columns), rows(tmp_path / "one").select(columns))


def test_a_crystal_that_never_ends_is_named_and_the_others_are_computed(
    tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is killed by the system: a library that does not return runs no Python that could stop it."""
    monkeypatch.setattr(engine, "patience", lambda piece: 3 if any(entry.id == "endless" for entry in piece) else 120)
    (endless,) = salts(1, start=50)
    good = salts(3)
    inputs = [*good, Slow(endless, info={"id": "endless", "seconds": 600.0})]
    before = children()
    summary = run(inputs, tmp_path, tiny, workers=2)
    assert (summary.crystals, summary.failed) == (3, 1)
    assert children() == before
    check(tmp_path, [atoms.info["id"] for atoms in good], ["endless"])
    (failure,) = failures(tmp_path)
    assert failure["kind"] == "crashed"
    assert "or because it took longer than 3 s" in failure["reason"]


def test_patience_grows_with_the_atoms() -> None:
    (small,), (large,) = pieces_of(salts(1)), pieces_of([salts(1)[0].repeat(10)])
    assert engine.patience(small) < engine.patience(large) == engine.PATIENCE + 100


def test_processes_that_cannot_start_are_one_error_and_no_failures(
    tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Say, for lack of memory: else every crystal would be blamed."""
    monkeypatch.setattr(engine, "_start_process", os._exit)
    with pytest.raises(DomainError, match="die at their start; free memory, or go on with --workers 1"):
        run(salts(6), tmp_path, tiny, workers=2)
    assert not list(tmp_path.rglob("part-*"))
    run(salts(6), tmp_path, tiny, workers=1)
    check(tmp_path, [atoms.info["id"] for atoms in salts(6)])


def test_work_is_read_as_it_is_needed_and_stopping_does_not_wait(tiny: Job) -> None:
    """Memory stays flat; an error of the caller (a full disk) ends processes in the middle of long work at once."""
    read: list[int] = []
    slow = [Slow(atoms, info={**atoms.info, "seconds": 30.0 if k else 0.0}) for k, atoms in enumerate(salts(20))]

    def work() -> Iterator[list[Input]]:
        for k, piece in enumerate(pieces_of(slow)):
            read.append(k)
            yield piece

    before = children()
    outcomes = run_local(work(), tiny, 2)
    first = next(outcomes)
    assert first.results["id"].to_pylist() == ["salt-000"]
    assert len(read) == engine.AHEAD * 2
    assert len(children() - before) == 2
    start = time.monotonic()
    outcomes.close()
    assert time.monotonic() - start < 10
    assert children() == before


def test_one_process_computes_by_itself(tiny: Job) -> None:
    read: list[int] = []

    def work() -> Iterator[list[Input]]:
        for k, piece in enumerate(pieces_of([*salts(2), "broken"])):
            read.append(k)
            yield piece

    before = children()
    outcomes = run_local(work(), tiny, 1)
    assert next(outcomes).results["formula"].to_pylist() == [SALTS[0]]
    assert read == [0]
    assert [(outcome.results.num_rows, outcome.failures.num_rows) for outcome in outcomes] == [(1, 0), (0, 1)]
    assert children() == before


def test_suspects_are_halved_down_to_the_one(tiny: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost or computed twice but what was under way when a process died, whichever piece comes first."""
    computed: list[str] = []
    starts: list[int] = []

    @contextmanager
    def processes(count: int) -> Iterator[Callable[..., Future[Any]]]:
        starts.append(count)
        broken = False

        def submit(call: Callable[..., Any], *arguments: Any) -> Future[Any]:
            nonlocal broken
            if broken:
                raise BrokenProcessPool
            future: Future[Any] = Future()
            names = [entry.id for entry in arguments[0]] if call is engine.limited else []
            if {"salt-005", "salt-016"} & set(names):
                broken = True
                future.set_exception(BrokenProcessPool())
            else:
                computed.extend(names)
                future.set_result(call(*arguments))
            return future

        yield submit

    monkeypatch.setattr(engine, "processes", processes)
    outcomes: list[Outcome] = list(run_local(pieces_of(salts(24), 4), tiny, 2))
    done = [name for outcome in outcomes for name in outcome.results["id"].to_pylist()]
    killed = [name for outcome in outcomes for name in outcome.failures["id"].to_pylist()]
    assert sorted(killed) == ["salt-005", "salt-016"]
    assert sorted([*done, *killed]) == [f"salt-{k:03d}" for k in range(24)]
    assert len(computed) - len(set(computed)) <= engine.AHEAD * 2 * 4
    assert starts.count(1) <= 8

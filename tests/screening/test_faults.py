"""Killed at any moment, out of disk, out of memory, on a collection that changes: nothing lost, nothing twice."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ase.io
import pytest
from tests import crystals
from tests.screening.screenings import (
    FullDisk,
    check,
    collection,
    ended,
    failures,
    forked,
    leftovers,
    manifest,
    rows,
    run,
    salts,
    same_values,
    unseen,
)

from voigt.errors import OutputError
from voigt.screening import compute as computing
from voigt.screening.engines import local as engine
from voigt.screening.job import Job
from voigt.screening.sources import open_collection
from voigt.screening.store.parts import result_parts
from voigt.screening.store.rows import Outcome
from voigt.structures import Input

pytestmark = pytest.mark.usefixtures("small_pieces")

REPOSITORY = Path(__file__).resolve().parents[2]


def ids(inputs: Sequence[ase.Atoms]) -> list[str]:
    return [atoms.info["id"] for atoms in inputs]


def logging(monkeypatch: pytest.MonkeyPatch, log: Path, seconds: float = 0.0) -> None:
    """Note every crystal that is computed, in whichever process; some `seconds` of work for each piece."""

    def noted(piece: Sequence[Input], job: Job) -> Outcome:
        with log.open("a") as stream:
            stream.writelines(f"{entry.id}\n" for entry in piece)
        time.sleep(seconds)
        return computing.compute(piece, job)

    monkeypatch.setattr(engine, "compute", noted)


def counted(log: Path) -> Counter[str]:
    return Counter(log.read_text().split())


def test_killed_at_random_moments(tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL again and again: at last each crystal is there once, and for each kill one piece was computed twice."""
    log, folder = tmp_path / "log", tmp_path / "s"
    logging(monkeypatch, log, seconds=0.1)  # else a quick machine is done before it can be killed twice
    good, bad = salts(24), [unseen(f"potash-{k}") for k in range(3)]
    inputs = [*good[:11], bad[0], *good[11:12], bad[1], *good[12:], bad[2]]
    seed = random.Random(3)
    kills = 0
    for _ in range(10):
        child = forked(lambda: run(inputs, folder, tiny))
        time.sleep(seed.uniform(0.05, 0.5))
        os.kill(child, signal.SIGKILL)
        code = ended(child)
        assert code in (0, -signal.SIGKILL)
        kills += code != 0
    assert kills >= 2
    run(inputs, folder, tiny)
    check(folder, ids(good), ids(bad))
    times = counted(log)
    assert set(times) == set(ids(inputs))
    assert sum(times.values()) - len(inputs) <= 2 * kills
    sessions = manifest(folder)["sessions"]
    assert sum(session["crystals"] for session in sessions) == len(good)
    assert sum(session["failed"] for session in sessions) == len(bad)
    assert all(session["seconds"] >= 0 for session in sessions)


STEPS = ("os.replace", "os.fsync", "os.chmod", "tempfile.mkstemp", "os.pwrite", "os.mkdir", "os.unlink")


def dying(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill this process just before its so-and-so-many-th call of the system that changes the disk."""
    left = step

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **words: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **words)

        return counting

    for name in STEPS:
        module, function = {"os": os, "tempfile": tempfile}[name.split(".")[0]], name.split(".")[1]
        monkeypatch.setattr(module, function, wrap(getattr(module, function)))


def test_killed_before_each_step_of_writing(tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is killed, the next run ends with the same store; no step is missing: the last runs to its end."""
    good, bad = salts(5), [unseen("potash")]
    inputs = [*good[:1], *bad, *good[1:]]

    def attempt(step: int) -> None:
        dying(step, monkeypatch)
        run(inputs, tmp_path / str(step), tiny)

    codes = []
    while not codes or codes[-1] != 0:
        folder = tmp_path / str(len(codes) + 1)
        codes.append(ended(forked(lambda: attempt(len(codes) + 1))))
        parts = {path: path.read_bytes() for path in result_parts(folder)}
        run(inputs, folder, tiny)
        assert {path: path.read_bytes() for path in parts} == parts  # what was done is not done again
        check(folder, ids(good), ids(bad))
    assert set(codes[:-1]) == {-signal.SIGKILL}
    assert len(codes) > 25


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_by_a_signal(tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    log, folder = tmp_path / "log", tmp_path / "s"
    logging(monkeypatch, log, seconds=0.2)
    inputs = salts(10)
    child = forked(lambda: run(inputs, folder, tiny))
    while not result_parts(folder):
        time.sleep(0.01)
    os.kill(child, number)
    assert ended(child) == -number
    done = len(result_parts(folder))
    assert 1 <= done < 5
    run(inputs, folder, tiny)
    check(folder, ids(inputs))
    assert sum(counted(log).values()) <= 10 + 2


def test_an_interruption_notes_how_far_it_came(tiny: Job, tmp_path: Path) -> None:
    """Ctrl-C in the middle: the exception goes on to the caller, and the manifest is up to date."""
    inputs = salts(6)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(inputs, tmp_path, tiny, advance=interrupt)
    noted = manifest(tmp_path)
    assert (noted["state"], noted["crystals"], noted["sessions"][0]["crystals"]) == ("running", 2, 2)
    run(inputs, tmp_path, tiny)
    check(tmp_path, ids(inputs))


@pytest.mark.parametrize("free", [10, 3_000, 20_000, 40_000])
def test_a_full_disk_wherever_it_fills(tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """One sentence; what is stored stays; with space again the same call goes on."""
    inputs = [*salts(7), unseen("potash")]
    with monkeypatch.context() as patch:
        FullDisk(patch, free)
        with pytest.raises(OutputError) as caught:
            run(inputs, tmp_path, tiny)
    assert str(caught.value).startswith(f"cannot write {tmp_path}")
    assert str(caught.value).endswith(": No space left on device; free space or choose another place")
    parts = {path: path.read_bytes() for path in result_parts(tmp_path)}
    assert len(parts) < 4
    assert leftovers(tmp_path) in ([], ["failed/part-000003.parquet"])
    messages: list[str] = []
    run(inputs, tmp_path, tiny, messages=messages)
    assert not [sentence for sentence in messages if "damaged" in sentence]
    check(tmp_path, ids(inputs[:7]), ["potash"])
    assert {path: path.read_bytes() for path in parts} == parts


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system of its own needs the superuser")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(tiny: Job, tmp_path: Path) -> None:
    inputs = salts(30)
    with small_disk(tmp_path / "disk", 100) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(20_000))
        with pytest.raises(OutputError, match="No space left on device; free space"):
            run(inputs, disk / "s", tiny)
        parts = {path: path.read_bytes() for path in result_parts(disk / "s")}
        assert 2 <= len(parts) < 15
        assert leftovers(disk / "s") == []
        with ballast.open("ab") as stream, pytest.raises(OSError, match="No space"):
            stream.write(bytes(200_000))
        with pytest.raises(OutputError, match="No space left on device; free space"):  # not even for the manifest
            run(inputs, disk / "s", tiny)
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        run(inputs, disk / "s", tiny)
        check(disk / "s", ids(inputs))
        assert {path: path.read_bytes() for path in parts} == parts


def test_a_limit_on_the_size_of_files(tiny: Job, tmp_path: Path) -> None:
    """What a quota does: the system refuses in the middle of a part."""
    inputs = salts(6)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000))
        run(inputs, tmp_path, tiny)

    assert ended(forked(limited)) == 2
    assert (result_parts(tmp_path), leftovers(tmp_path)) == ([], [])
    run(inputs, tmp_path, tiny)
    check(tmp_path, ids(inputs))


def test_a_collection_that_grew(tiny: Job, tmp_path: Path) -> None:
    """At its end or in its middle: the new crystals are computed, and no others."""
    inputs = [*salts(5), unseen("potash"), "no structure"]
    run(inputs, tmp_path, tiny)
    messages: list[str] = []
    grown = [*inputs, *salts(3, start=5)]
    assert run(grown, tmp_path, tiny, messages=messages).computed == 3
    assert messages[0] == f"files of memory have changed since {tmp_path} was begun: comparing them with what is done"
    assert messages[1] == f"{tmp_path}: 7 crystals are done, 3 of the collection are not"
    check(tmp_path, ids(salts(8)), ["input:6", "potash"])
    between = [*grown[:2], *salts(2, prefix="between"), *grown[2:6], *grown[7:]]
    assert run(between, tmp_path, tiny).computed == 2
    check(tmp_path, [*ids(salts(8)), *ids(salts(2, prefix="between"))], ["potash"])
    assert manifest(tmp_path)["collection"]["count"] == len(between)


def test_files_that_were_only_touched(tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    logging(monkeypatch, log)
    inputs = [*salts(3), unseen("potash")]
    run(collection(inputs, fingerprint="a"), tmp_path / "s", tiny)
    messages: list[str] = []
    summary = run(collection(inputs, fingerprint="b"), tmp_path / "s", tiny, messages=messages)
    assert (summary.computed, summary.complete) == (0, True)
    assert messages[-1].endswith("4 crystals are done, 0 of the collection are not")
    assert set(counted(log).values()) == {1}
    messages.clear()
    run(collection(inputs, fingerprint="b"), tmp_path / "s", tiny, messages=messages)
    assert len(messages) == 1  # compared once


def test_a_collection_that_changed_or_shrank_is_refused(tiny: Job, tmp_path: Path) -> None:
    inputs = salts(6)
    run(inputs, tmp_path, tiny)
    before = manifest(tmp_path)["collection"]
    other = salts(6)
    other[2].positions[1] += 0.01
    for changed, told in (
        (other, "1 crystals differ (first: salt-002), 0 are gone"),
        (inputs[1:], "0 crystals differ, 1 are gone"),
        ([*inputs[:5], "cannot be read any more"], "0 crystals differ, 1 are gone"),
    ):
        with pytest.raises(Exception, match="has changed since") as caught:
            run(changed, tmp_path, tiny)
        assert str(caught.value) == (
            f"memory has changed since {tmp_path} was begun: {told}; put it back or screen into a new folder"
        )
    assert manifest(tmp_path)["collection"] == before
    assert run(inputs, tmp_path, tiny).complete
    check(tmp_path, ids(inputs))


def test_failed_inputs_that_were_mended_are_tried_again(tiny: Job, tmp_path: Path) -> None:
    """One unreadable, one of an unknown element, one that fails again for another reason, one that is taken away."""
    mended, again = salts(2, prefix="mended")
    good = salts(3)
    bad = [unseen("mended-000"), unseen("again"), "half a file", unseen("taken")]
    run([*good, *bad], tmp_path, tiny)
    check(tmp_path, ids(good), ["again", "input:5", "mended-000", "taken"])
    now = [*good, mended, unseen("again", a=5.2), again]
    summary = run(now, tmp_path, tiny)
    assert (summary.crystals, summary.failed, summary.computed) == (5, 1, 3)
    check(tmp_path, [*ids(good), "mended-000", "mended-001"], ["again"])
    # And back: what failed then fails again, once.
    run([*good, mended, unseen("again"), again], tmp_path, tiny)
    check(tmp_path, [*ids(good), "mended-000", "mended-001"], ["again"])


def test_mended_inputs_are_not_forgotten_by_a_kill(
    tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the comparison with the changed collection and before the crystal is computed."""
    good, (mended,) = salts(4), salts(1, prefix="mended")
    run([*good, unseen("mended-000")], tmp_path, tiny)

    def killed() -> None:
        def kill(*_: object) -> Outcome:
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

        monkeypatch.setattr("voigt.screening.store.store.SECONDS", -1.0)  # the manifest is written at every chance
        monkeypatch.setattr(engine, "compute", kill)
        run([*good, mended], tmp_path, tiny)

    assert ended(forked(killed)) == -signal.SIGKILL
    run([*good, mended], tmp_path, tiny)
    check(tmp_path, [*ids(good), "mended-000"])


def test_a_folder_of_files_that_grows_in_its_middle_and_is_mended(tiny: Job, tmp_path: Path) -> None:
    folder = tmp_path / "structures"
    folder.mkdir()
    for k, atoms in enumerate(salts(6)):
        ase.io.write(folder / f"{'abcdef'[k]}.vasp", atoms)
    (folder / "d.vasp").write_text("half a file\n1.0\n")
    (folder / "b.vasp").write_bytes(b"")
    run(open_collection(str(folder)), tmp_path / "s", tiny)
    check(tmp_path / "s", ["a", "c", "e", "f"], ["b", "d"])
    first = {path: path.read_bytes() for path in result_parts(tmp_path / "s")}
    for name, atoms in zip(("d", "bb", "g", "0"), salts(4, start=10), strict=True):
        ase.io.write(folder / f"{name}.vasp", atoms)
    summary = run(open_collection(str(folder)), tmp_path / "s", tiny)
    assert (summary.crystals, summary.failed, summary.computed) == (8, 1, 4)
    check(tmp_path / "s", ["0", "a", "bb", "c", "d", "e", "f", "g"], ["b"])
    assert {path: path.read_bytes() for path in first} == first
    digests = {row["id"]: row["volume"] for row in rows(tmp_path / "s").to_pylist()}
    assert digests["d"] == pytest.approx(salts(1, start=10)[0].get_volume())


PROGRAM = """
import sys
import voigt.screening.compute
from voigt.cli.main import run
if __name__ == "__main__":
    voigt.screening.compute.CRYSTALS = 2
    run()
"""


def stat(pid: int) -> tuple[int, str]:
    """Parent and state of a process."""
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), fields[0]


def children(pid: int) -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent, state = stat(int(entry.name))
        except OSError:
            continue
        if parent == pid and state != "Z":
            found.add(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        return stat(pid)[1] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see which processes live")
def test_workers_end_with_the_main_process(tiny: Job, tmp_path: Path) -> None:
    """SIGKILL to the command with two workers: no orphans, a free lock, and the same command goes on."""
    inputs = salts(400)
    ase.io.write(tmp_path / "salts.extxyz", inputs)
    (tmp_path / "program.py").write_text(PROGRAM)
    words = ["salts.extxyz", "-o", "s", "--model", str(tiny.model), "--workers", "2"]
    command = [sys.executable, "program.py", "screen", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: result_parts(tmp_path / "s") or process.poll() is not None)
        workers = children(process.pid)
        process.kill()
    assert len(workers) >= 2
    wait_until(lambda: not any(alive(pid) for pid in workers), 10.0)
    done = len(rows(tmp_path / "s"))
    assert 0 < done < len(inputs)
    summary = run(open_collection(str(tmp_path / "salts.extxyz")), tmp_path / "s", tiny)
    assert summary.computed == len(inputs) - done
    check(tmp_path / "s", ids(inputs))


def test_a_very_large_cell_among_small_ones(tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5,000 atoms without symmetry: bounded memory, and its neighbors do not suffer."""
    monkeypatch.setattr(computing, "CRYSTALS", 128)
    large = crystals.rocksalt(cubic=True).repeat((9, 9, 8))
    large.rattle(0.02, seed=1)
    large.info = {"id": "large"}
    inputs = [*salts(20), large, *salts(20, start=20)]

    def limited() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run(inputs, tmp_path / "s", tiny)
        (tmp_path / "peak").write_text(str((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))

    assert ended(forked(limited)) == 0
    check(tmp_path / "s", [*ids(salts(40)), "large"])
    assert float((tmp_path / "peak").read_text()) < 1500
    run(salts(40), tmp_path / "small", tiny)
    found = rows(tmp_path / "s")
    mask = [name != "large" for name in found["id"].to_pylist()]
    columns = [name for name in found.column_names if name != "source"]
    same_values(found.filter(mask).select(columns), rows(tmp_path / "small").select(columns))
    assert failures(tmp_path / "s") == []

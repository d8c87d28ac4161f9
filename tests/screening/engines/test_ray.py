"""The engine on Ray against the one of this machine, and what happens when something dies."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ase
import ase.io
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase.build import bulk

from voigt import __version__
from voigt.errors import DomainError, WeightsError
from voigt.notes import Failure
from voigt.screening import compute as work
from voigt.screening.engines.local import run_local
from voigt.screening.job import Job
from voigt.screening.screen import Engine, Listener, Resources, Summary, screen_collection
from voigt.screening.sources import open_collection
from voigt.screening.store.rows import Outcome
from voigt.structures import Input, InputStructure, read

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'voigt[ray]'")

from voigt.screening.engines import ray as ray_engine  # noqa: E402

JOB = Job(("band_gap",))
SMALL = 8
"""Crystals of a piece, so that there are several."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster of two cores, to which this process is connected."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=2**27, logging_level="critical")
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 crystals, of which one has an element that no model knows and one has two atoms in one place."""
    crystals = []
    for k in range(60):
        name, structure = [("NaCl", "rocksalt"), ("ZnS", "zincblende"), ("CsCl", "cesiumchloride")][k % 3]
        atoms = bulk(name, structure, a=5.0 + 0.02 * k)
        if k == 20:
            atoms.symbols[0] = "Og"
        if k == 41:
            atoms.positions[1] = atoms.positions[0]
        atoms.info["id"] = f"crystal-{k:02d}"
        crystals.append(atoms)
    path = tmp_path_factory.mktemp("crystals") / "crystals.extxyz"
    ase.io.write(path, crystals)
    return path


def pieces(file: Path, size: int = SMALL) -> list[list[Input]]:
    structures = list(read(file))
    return [structures[start : start + size] for start in range(0, len(structures), size)]


def gathered(outcomes: list[Outcome]) -> tuple[pa.Table, pa.Table]:
    results = pa.concat_tables([outcome.results for outcome in outcomes]).sort_by("id")
    failures = pa.concat_tables([outcome.failures for outcome in outcomes]).sort_by("id")
    return results, failures


def test_rows_are_those_of_the_local_engine_and_the_source_is_read_as_it_is_needed(cluster: str, file: Path) -> None:
    known, bad = gathered(list(run_local(pieces(file, size=4), JOB, 1)))
    given, seen_at = 0, []

    def source() -> Iterator[list[Input]]:
        nonlocal given
        for piece in pieces(file, size=4):
            given += 1
            yield piece

    outcomes = []
    for outcome in ray_engine.run_ray(source(), JOB, 1, None):
        outcomes.append(outcome)
        seen_at.append(given)
    results, failures = gathered(outcomes)
    assert len(outcomes) == len(seen_at) == 15
    assert max(seen - done for done, seen in enumerate(seen_at)) == ray_engine.AHEAD
    assert results.num_rows == 58
    assert failures["id"].to_pylist() == ["crystal-20", "crystal-41"]
    assert failures.equals(bad)
    assert results.schema.equals(known.schema, check_metadata=True)
    assert results["band_gap"].to_pylist() == pytest.approx(known["band_gap"].to_pylist(), abs=1e-6)
    assert len(set(results["band_gap"].to_pylist())) > 50
    same = [name for name in known.column_names if not name.startswith("band_gap")]
    assert results.select(same).equals(known.select(same))


def run(file: Path, folder: Path, engine: Engine, stop_after: int | None = None) -> Summary:
    parts = 0

    def advance(_: int) -> None:
        nonlocal parts
        parts += 1
        if parts == stop_after:
            raise KeyboardInterrupt

    listener = Listener(lambda _: None, advance)
    collection = open_collection(str(file))
    return screen_collection(collection, folder, JOB, resources=Resources(engine), listener=listener)


@pytest.mark.parametrize(("first", "second"), [("ray", "local"), pytest.param("local", "ray", marks=pytest.mark.slow)])
def test_one_engine_goes_on_where_the_other_was_interrupted(
    cluster: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: Engine, second: Engine
) -> None:
    monkeypatch.setattr(work, "CRYSTALS", SMALL)
    with pytest.raises(KeyboardInterrupt):
        run(file, tmp_path / "store", first, stop_after=2)
    stored = sorted((tmp_path / "store" / "parts").glob("*.parquet"))
    assert len(stored) == 2
    summary = run(file, tmp_path / "store", second)
    parts = sorted((tmp_path / "store" / "parts").glob("*.parquet"))
    ids = [name for part in parts for name in pq.read_table(part)["id"].to_pylist()]
    assert sorted(ids) == [f"crystal-{k:02d}" for k in range(60) if k not in (20, 41)]
    assert (summary.crystals, summary.failed, summary.computed) == (58, 2, 60 - 2 * SMALL)
    assert summary.complete


class Deadly:
    """Kills the process that unpickles it."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return eval, ("__import__('os').kill(__import__('os').getpid(), 9)",)


def test_a_crystal_that_kills_its_worker_is_a_failure_and_the_others_are_computed(
    cluster: str, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = pieces(file)[:3]
    deadly = given[1][3]
    assert isinstance(deadly, InputStructure)
    deadly.atoms.info["deadly"] = Deadly()
    results, failures = gathered(list(ray_engine.run_ray(iter(given), JOB, 1, None)))
    alive = [entry.id for piece in given for entry in piece if entry.id not in (deadly.id, "crystal-20")]
    assert results["id"].to_pylist() == alive
    reasons = dict(zip(failures["id"].to_pylist(), failures["reason"].to_pylist(), strict=True))
    assert set(reasons) == {deadly.id, "crystal-20"}
    assert reasons[deadly.id] == (
        f"{file}, frame 11 (id {deadly.id}): the process that computed its 2 atoms was killed, for lack of memory, "
        "by a fault in a library, or because it took longer than 121 s; check the structure, or use a machine with "
        "more memory"
    )
    assert capfd.readouterr() == ("", "")


def test_one_death_is_forgiven_to_a_crystal_and_what_waited_behind_it_comes_whole() -> None:
    def task(*names: str, deaths: int = 0) -> ray_engine._Task:
        return ray_engine._Task([Failure("file", 0, name, "unreadable", "") for name in names], deaths)

    alone, waiting = task("a"), task("b", "c")
    assert ray_engine._after_death([]) == ([], None)
    again, culprit = ray_engine._after_death([alone, waiting])
    assert culprit is None
    assert sorted(again, key=lambda one: len(one.piece)) == [task("a", deaths=1), waiting]
    assert ray_engine._after_death([task("a", deaths=1), waiting]) == ([waiting], alone.piece[0])
    assert ray_engine._after_death([waiting]) == ([task("b"), task("c")], None)


def test_128_crystals_with_a_deadly_one_cost_few_deaths() -> None:
    piece: list[Input] = [Failure("file", k, str(k), "unreadable", "deadly" if k == 77 else "") for k in range(128)]
    deaths, suspects = 0, [piece]
    while suspects:
        piece = suspects.pop()
        if any(entry.problem for entry in piece):
            deaths += 1
            suspects += ray_engine._smaller(piece) if len(piece) > 1 else []
    assert deaths <= 3


@pytest.mark.slow
def test_an_error_of_the_job_is_that_error(cluster: str, file: Path) -> None:
    with pytest.raises(WeightsError, match=r"^no model '\S*nowhere.safetensors': neither a file nor one of .*\)$"):
        next(ray_engine.run_ray(iter(pieces(file)), Job(None, "nowhere.safetensors"), 1, None))


@pytest.mark.slow
def test_workers_that_die_before_they_have_loaded_the_models_end_it(cluster: str, file: Path) -> None:
    deadly: Any = Deadly()
    message = rf"^the Ray cluster broke down \(.*died.*\); is Voigt {__version__} installed"
    with pytest.raises(DomainError, match=message):
        next(ray_engine.run_ray(iter(pieces(file)), Job(("band_gap",), settings=deadly), 2, None))


@pytest.mark.slow
def test_another_release_on_the_cluster_is_refused(cluster: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = ray_engine.__version__
    monkeypatch.setattr(ray_engine, "__version__", "0.0.1")
    with pytest.raises(DomainError, match=rf"cluster runs Voigt {release} and this is 0\.0\.1; install the same"):
        next(ray_engine.run_ray(iter(pieces(file)), JOB, 1, None))


def test_nothing_is_started_for_no_work_or_an_address_where_nobody_answers(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was started"))
    assert list(ray_engine.run_ray(iter([]), JOB, 2, None)) == []
    with pytest.raises(DomainError, match=r"^no Ray cluster at --address localhost:1 \(.*refused\); start one with"):
        next(ray_engine.run_ray(iter(pieces(file)), JOB, 2, "localhost:1"))


@contextmanager
def command(file: Path, folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`voigt screen --engine ray` in a session of its own, killed in the end."""
    words = ["screen", str(file), "-o", str(folder), "--properties", "band_gap", "--engine", "ray", *options]
    program = "import sys; from voigt.cli.main import run; sys.argv[0] = 'voigt'; run()"
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program, *words], start_new_session=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_the_command_uses_the_cluster_at_an_address_and_is_quiet(cluster: str, file: Path, tmp_path: Path) -> None:
    """Three workers on two cores: two compute."""
    before = len(ray.nodes())
    free = set()
    with command(file, tmp_path / "store", "--address", cluster, "--workers", "3", "-q") as process:
        while process.poll() is None:
            free.add(ray.available_resources().get("CPU", 0.0))
            time.sleep(0.2)
        assert process.communicate() == ("", "")
    assert process.returncode == 1  # some failed
    assert free >= {0.0}
    assert len(ray.nodes()) == before
    assert pq.read_table(tmp_path / "store" / "parts").num_rows == 58


def session_of(leader: int) -> list[str]:
    """Command lines of the processes that a command and its children have started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has just ended
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_sigkill_loses_nothing_and_leaves_nobody_at_work(file: Path, tmp_path: Path) -> None:
    many = [atoms for atoms in ase.io.read(file, ":") if atoms.info["id"] not in ("crystal-20", "crystal-41")]
    path = tmp_path / "many.extxyz"
    ase.io.write(path, [renamed(atoms, f"{atoms.info['id']}-{k}") for k in range(40) for atoms in many])
    stored: list[Path] = []
    with command(path, tmp_path / "store", "--workers", "2") as process:
        while len(stored) < 2 and process.poll() is None:
            time.sleep(0.05)
            stored = sorted((tmp_path / "store" / "parts").glob("part-*.parquet"))
        assert any("raylet" in line for line in session_of(process.pid))
        process.kill()
    done = [name for part in stored for name in pq.read_table(part)["id"].to_pylist()]
    # Ray's agents, which compute nothing, notice only after a minute.
    end = time.monotonic() + 30
    while any("Agent" not in line for line in session_of(process.pid)) and time.monotonic() < end:
        time.sleep(0.2)
    assert [line for line in session_of(process.pid) if "Agent" not in line] == []
    summary = run(path, tmp_path / "store", "local")
    parts = sorted((tmp_path / "store" / "parts").glob("part-*.parquet"))
    ids = [name for part in parts for name in pq.read_table(part)["id"].to_pylist()]
    assert len(ids) == len(set(ids)) == summary.crystals == 40 * 58
    assert 0 < summary.computed <= 40 * 58 - len(done)


def renamed(atoms: ase.Atoms, name: str) -> ase.Atoms:
    copy = atoms.copy()
    copy.info["id"] = name
    return copy

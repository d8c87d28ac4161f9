"""Screenings that put parts together while they run, killed at every step, and the benchmark that kills a long one."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from benchmarks.speed.million import Files, Kill, faults, kills_of, lived, peaks, run
from benchmarks.tools.made_crystals import fails, name_of, number_of, volumes, write_crystals
from tests.screening import screenings
from tests.screening.screenings import check, ended, forked, salts, unseen
from tests.screening.test_faults import dying

from voigt.notes import Failure
from voigt.screening.job import Job
from voigt.screening.sources import open_collection
from voigt.screening.store.compaction import small_parts
from voigt.screening.store.parts import result_parts

CRYSTALS = 1_500


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch, small_pieces: None) -> None:
    """Parts of two crystals, put together by threes."""
    monkeypatch.setattr("voigt.screening.screen.ROUND", 3)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("workers", [1, 2])
def test_small_parts_are_put_together_while_it_runs(tiny: Job, tmp_path: Path, workers: int) -> None:
    inputs = [*salts(11), unseen("potash"), *salts(20)[11:]]
    seen: list[int] = []
    store = tmp_path / "s"
    screenings.run(inputs, store, tiny, workers=workers, advance=lambda _: seen.append(small_parts(store)))
    assert len(seen) == 11  # ten and a half parts, each told before it is put together with others
    assert max(seen) == 3
    large, *small = [pq.read_metadata(path).num_rows for path in result_parts(store)]
    assert (len(small), large + sum(small)) == (2, 20)
    check(store, [atoms.info["id"] for atoms in salts(20)], ["potash"])


@pytest.mark.usefixtures("often")
def test_killed_before_each_step_of_putting_together(
    tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run ends with each crystal once, and puts together what was begun; the last attempt runs to its end."""
    good = salts(5)
    inputs = [*good[:3], unseen("potash"), *good[3:]]

    def attempt(step: int) -> None:
        dying(step, monkeypatch)
        screenings.run(inputs, tmp_path / str(step), tiny)

    codes: list[int] = []
    while not codes or codes[-1] != 0:
        folder = tmp_path / str(len(codes) + 1)
        codes.append(ended(forked(lambda: attempt(len(codes) + 1))))
        screenings.run(inputs, folder, tiny)
        check(folder, [atoms.info["id"] for atoms in good], ["potash"])
        assert len(result_parts(folder)) <= 3
        shutil.rmtree(folder)
    assert set(codes[:-1]) == {-signal.SIGKILL}
    assert len(codes) > 30


def test_made_crystals_are_sound_and_all_different(tmp_path: Path) -> None:
    write_crystals(tmp_path / "made.parquet", CRYSTALS)
    found = list(open_collection(str(tmp_path / "made.parquet")).structures())
    assert not [entry for entry in found if isinstance(entry, Failure)]
    assert [number_of(entry.id) for entry in found] == list(range(CRYSTALS))
    assert name_of(7) == found[7].id
    atoms = [entry.atoms for entry in found if not isinstance(entry, Failure)]
    assert len({(one.get_chemical_formula(), round(one.get_volume(), 6), len(one)) for one in atoms}) == CRYSTALS
    numbers = np.arange(CRYSTALS)
    np.testing.assert_allclose([one.get_volume() for one in atoms], volumes(numbers), rtol=1e-9)
    assert [bool((one.numbers == 54).any()) for one in atoms] == fails(numbers).tolist()
    # Coordination of rock salt, cesium chloride, zincblende, fcc and bcc
    for one, neighbors in zip(atoms, (6, 8, 4, 12, 8), strict=False):
        distances = np.sort(one.repeat((4, 4, 4)).get_all_distances(mic=True)[0])[1:]
        assert int((distances < 1.01 * distances[0]).sum()) == neighbors


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A finished store of a command that was killed twice with all its processes."""
    folder = tmp_path_factory.mktemp("million")
    run(folder, CRYSTALS, kills_of("60,20", CRYSTALS), ("--workers", "1"), 0.05)
    return Files(folder)


def test_a_screening_that_was_killed_has_each_crystal_once(screened: Files) -> None:
    sessions = lived(screened)
    assert [session.killed for session in sessions] == [True, True, False]
    assert [session.before for session in sessions[1:]] == [session.after for session in sessions[:-1]]
    assert sessions[0].after >= 0.2 * CRYSTALS
    assert sessions[-1].after == CRYSTALS
    assert faults(screened.store, CRYSTALS) == []
    assert all(100 < session.peak_mib < 4_000 for session in sessions)
    assert sum(session.seconds for session in sessions) > sum(session.opened for session in sessions) > 0
    # Stopped itself and called again, the script finds that nothing is left to do.
    assert run(screened.folder, CRYSTALS, kills_of("20,60", CRYSTALS), (), 0.05) == sessions
    assert kills_of("60+,20", CRYSTALS) == [Kill(300, False), Kill(900, True)]


def test_faults_are_found(screened: Files, tmp_path: Path) -> None:
    """A crystal away, one twice, one under another's id, a failure away."""

    def copied(name: str) -> Path:
        return Path(shutil.copytree(screened.store, tmp_path / name))

    store = copied("away")
    last = result_parts(store)[-1]
    content = pq.read_table(last)
    pq.write_table(content.slice(1), last)
    assert faults(store, CRYSTALS) == ["1 results are missing"]
    store = copied("twice")
    pq.write_table(content.slice(0, 1), store / "parts" / "part-900000.parquet")
    assert faults(store, CRYSTALS) == ["1 results are there twice or more"]
    store = copied("other")
    swapped = content.set_column(0, content.schema.field("id"), [content["id"].to_pylist()[::-1]])
    pq.write_table(swapped, store / "parts" / last.name)
    assert faults(store, CRYSTALS) == [f"{store / 'parts' / last.name} holds other crystals than its ids say"]
    store = copied("failure")
    next((store / "failed").glob("part-*.parquet")).unlink()
    assert faults(store, CRYSTALS) == ["1 failures are missing"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_memory_does_not_grow_with_the_crystals(tmp_path: Path, workers: int) -> None:
    """In no process; too few parts to be put together, which takes memory of its own."""
    run(tmp_path, 8_000, [], ("--workers", str(workers)), 0.1)
    first, half, all_of_it = peaks(Files(tmp_path), 8_000)
    assert 100 < first <= half <= all_of_it < half + 15 * workers

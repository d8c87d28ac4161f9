"""Small parts put together: nothing lost, nothing twice, whatever happens in the middle."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.screening.report_stores import as_version_0_1
from tests.screening.screenings import check, collection, failures, manifest, rows, run, salts, unseen
from typer.testing import CliRunner

from voigt.cli.main import app
from voigt.errors import InputError
from voigt.screening.job import Job
from voigt.screening.query import parse, select
from voigt.screening.store import compaction
from voigt.screening.store.compaction import compact, small_parts
from voigt.screening.store.done import Done, entries, read_index, write_index
from voigt.screening.store.parts import failed_parts, result_parts
from voigt.screening.store.store import index_of, locked

pytestmark = pytest.mark.usefixtures("small_pieces")

INPUTS = [*salts(5), unseen("potash"), "no structure", *salts(9)[5:]]
IDS = [atoms.info["id"] for atoms in salts(9)]
FAILED = ["input:6", "potash"]


@pytest.fixture
def store(tiny: Job, tmp_path: Path) -> Path:
    run(INPUTS, tmp_path / "s", tiny)
    return tmp_path / "s"


def test_a_compacted_store_holds_the_same_rows(store: Path) -> None:
    before = rows(store)
    ranking = select(result_parts(store), None, parse("eps_inf"), None).ids
    parts = len(result_parts(store))
    assert parts > 4
    assert compact(store) == (parts, 1)
    assert [path.name for path in result_parts(store)] == [f"part-000000-{parts - 1:06d}.parquet"]
    assert [path.name for path in failed_parts(store)] == [path.name for path in result_parts(store)]
    assert rows(store) == before
    assert pq.read_table(store / "parts").num_rows == 9  # any reader finds one table
    assert select(result_parts(store), None, parse("eps_inf"), None).ids == ranking
    check(store, IDS, FAILED)
    assert {row["id"] for row in failures(store)} == set(FAILED)


def test_a_compacted_store_is_complete_and_goes_on(store: Path, tiny: Job) -> None:
    compact(store)
    again = run(INPUTS, store, tiny)
    assert (again.crystals, again.failed, again.computed) == (9, 2, 0)
    more = [*INPUTS, *salts(12)[9:]]
    grown = run(more, store, tiny)
    assert (grown.crystals, grown.failed, grown.computed) == (12, 2, 3)
    compact(store)
    assert len(result_parts(store)) == 1
    check(store, [atoms.info["id"] for atoms in salts(12)], FAILED)


def test_parts_stay_small_enough(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "CRYSTALS", 4)
    compact(store)
    sizes = [pq.read_metadata(path).num_rows for path in result_parts(store)]
    assert max(sizes) == 4
    assert sum(sizes) == 9
    check(store, IDS, FAILED)


def test_a_large_part_is_not_written_again(store: Path, tiny: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones that come later are put together beside it."""
    compact(store)
    (large,) = result_parts(store)
    content = large.read_bytes()
    monkeypatch.setattr(compaction, "LARGE", 9)
    run([*INPUTS, *salts(14)[9:]], store, tiny)
    assert compact(store) == (4, 2)
    first, second = result_parts(store)
    assert (first, first.read_bytes()) == (large, content)
    assert pq.read_metadata(second).num_rows == 5
    check(store, [atoms.info["id"] for atoms in salts(14)], FAILED)


MOMENTS = ["before the part", "before the index", "before the old parts go", "half of them gone"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_at_any_moment_loses_nothing(store: Path, tiny: Job, tmp_path: Path, moment: str) -> None:
    """The folder as it is at four moments of the work, read as it is and then taken up."""
    compacted = tmp_path / "c"
    shutil.copytree(store, compacted)
    compact(compacted)
    (large,) = result_parts(compacted)
    index = index_of(large)
    for source in (compacted / "failed" / large.name, *([] if moment == "before the part" else [large])):
        shutil.copy(source, store / source.relative_to(compacted))
    if moment in ("before the old parts go", "half of them gone"):
        (store / "index").mkdir()
        shutil.copy(index, store / index.relative_to(compacted))
    if moment == "half of them gone":
        for path in sorted((store / "parts").glob("part-??????.parquet"))[::2]:
            path.unlink()
    assert sorted(rows(store)["id"].to_pylist()) == sorted(IDS)
    assert sorted(row["id"] for row in failures(store)) == FAILED
    again = run(INPUTS, store, tiny)
    assert (again.crystals, again.failed, again.computed) == (9, 2, 0)
    assert len(result_parts(store)) == (1 if moment != "before the part" else len(result_parts(store)))
    if moment != "before the part":
        assert not list((store / "parts").glob("part-??????.parquet"))
        assert not list((store / "failed").glob("part-??????.parquet"))
    check(store, IDS, FAILED)


def test_a_damaged_large_part_is_put_aside_and_computed_again(store: Path, tiny: Job) -> None:
    compact(store)
    (large,) = result_parts(store)
    large.write_bytes(large.read_bytes()[:-100])  # another size than the index has noted
    again = run(INPUTS, store, tiny)
    assert (again.crystals, again.failed, again.computed) == (9, 2, 11)
    assert large.with_name(f"{large.name}.damaged").exists()
    check(store, IDS, FAILED)


def test_damaged_small_parts_are_left_to_the_next_screening(store: Path, tiny: Job) -> None:
    first = result_parts(store)[0]
    first.write_bytes(b"no part")
    before = len(result_parts(store))
    after = compact(store)
    assert after == (before, 2)
    assert first in result_parts(store)
    run(INPUTS, store, tiny)
    check(store, IDS, FAILED)


def test_a_lost_or_foreign_index_is_made_again(store: Path, tiny: Job) -> None:
    compact(store)
    (large,) = result_parts(store)
    index = index_of(large)
    whole = read_index(index, large.stat().st_size)
    assert whole is not None
    for content in (None, b"", index.read_bytes()[:50]):
        index.unlink() if content is None else index.write_bytes(content)
        assert run(INPUTS, store, tiny).computed == 0
        again = read_index(index, large.stat().st_size)
        assert again is not None
        assert (again.keys == whole.keys).all()
    write_index(index, entries([b"x" * 8], ["0" * 16], [False]), large.stat().st_size + 1)
    assert run(INPUTS, store, tiny).computed == 0


def test_parts_of_version_0_1_get_the_columns_of_today(store: Path) -> None:
    """Those of parts that have them; null where a part has not."""
    old, *_ = result_parts(store)
    as_version_0_1(old)
    compact(store)
    (large,) = result_parts(store)
    notes = pq.read_table(large, columns=["notes"])["notes"]
    assert notes.null_count == 2
    assert len(notes) == 9


def test_a_failure_that_was_mended_is_computed_in_a_compacted_store(store: Path, tiny: Job) -> None:
    compact(store)
    mended = [*INPUTS[:6], salts(20)[19], *INPUTS[7:]]
    again = run(mended, store, tiny)
    assert (again.crystals, again.failed, again.computed) == (10, 1, 1)
    check(store, [*IDS, "salt-019"], ["potash"])


def test_a_screening_compacts_at_its_end(tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voigt.screening.screen.MANY", 3)
    run(salts(9), tmp_path / "s", tiny)
    assert small_parts(tmp_path / "s") == 0
    assert len(result_parts(tmp_path / "s")) == 1
    assert manifest(tmp_path / "s")["state"] == "complete"
    check(tmp_path / "s", IDS, [])


def test_the_command(store: Path, tmp_path: Path) -> None:
    parts = len(result_parts(store))
    result = CliRunner().invoke(app, ["screen", "compact", str(store)])
    assert result.exit_code == 0
    assert f"{parts} parts before, 1 now" in result.stderr
    result = CliRunner().invoke(app, ["screen", "compact", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no screening" in result.stderr


def test_a_folder_in_use_is_left_alone(store: Path) -> None:
    with locked(store), pytest.raises(InputError, match="is being written by process"):
        compact(store)


def test_keys_are_found_again_and_repeated_ones_refused() -> None:
    done = Done()
    keys = [bytes([k] * 8) for k in (9, 250, 3, 17)]
    digests = [f"{k:016x}" for k in (1, 2, 3, 2**64 - 1)]
    assert done.add(entries(keys, digests, [False, True, False, False]), large=True)
    assert not done.add(entries([keys[2]], digests[:1], [False]), large=False)
    assert done.add(entries([b"\0" * 8], digests[:1], [False]), large=False)
    assert not done.add(entries([b"\0" * 8], digests[:1], [False]), large=True)
    assert not done.add(entries([b"\1" * 8] * 2, digests[:2], [False] * 2), large=False)
    done.settle()
    assert len(done) == 5
    assert all(key in done for key in [*keys, b"\0" * 8])
    assert bytes([4] * 8) not in done
    place = done.place(keys[1])
    assert place is not None
    assert done.entries.failed[place]
    assert int(done.entries.digests[place]) == 2
    with pytest.raises(ValueError, match="another length"):
        entries([b"short"], ["0" * 16], [False])


def test_collections_that_changed_are_compared_with_large_parts(store: Path, tiny: Job) -> None:
    compact(store)
    with pytest.raises(InputError, match=r"0 crystals differ, 1 are gone"):
        run(INPUTS[1:], store, tiny)
    assert collection(INPUTS).count == len(INPUTS)

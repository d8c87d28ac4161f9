"""The folder of a screening: taken up where it was left, held against others, damage found."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.predictions import save_tiny_model
from tests.screening.report_stores import as_version_0_1
from tests.screening.screenings import (
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

from voigt.errors import InputError, OutputError
from voigt.prediction.result import Settings
from voigt.screening.job import Job
from voigt.screening.query import parse, select
from voigt.screening.query.criteria import read_criteria
from voigt.screening.report import read_failures
from voigt.screening.store.manifest import read_manifest
from voigt.screening.store.parts import read_tables, result_parts
from voigt.screening.store.store import open_store

pytestmark = pytest.mark.usefixtures("small_pieces")

SALTS = salts(5)
IDS = [atoms.info["id"] for atoms in SALTS]


def test_a_screening_and_what_its_store_says(tiny: Job, tmp_path: Path) -> None:
    counted: list[int] = []
    summary = run([*SALTS, unseen("potash"), "no structure"], tmp_path / "s", tiny, advance=counted.append)
    assert (summary.crystals, summary.failed, summary.computed, summary.complete) == (5, 2, 7, True)
    assert sum(counted) == 7
    check(tmp_path / "s", IDS, ["input:6", "potash"])
    reasons = {row["id"]: row["reason"] for row in failures(tmp_path / "s")}
    assert "K not among the 10 elements" in reasons["potash"]
    assert reasons["input:6"] == "memory, frame 6 (id input:6): no structure"
    noted = manifest(tmp_path / "s")
    (session,) = noted["sessions"]
    assert (session["crystals"], session["failed"], session["command"]) == (5, 2, "voigt screen memory")
    assert noted["collection"]["count"] == 7
    assert noted["job"]["properties"] == ["born_charges", "eps_inf"]
    assert [len(digest["sha256"]) for digest in noted["job"]["models"]] == [64]
    first = rows(tmp_path / "s").to_pylist()[0]
    assert (first["formula"], first["spacegroup"], first["num_atoms"]) == ("NaCl", 225, 2)
    assert first["volume"] == pytest.approx(4.2**3 / 4)


def test_the_same_call_again_does_nothing_and_says_so(
    tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run([*SALTS, unseen("potash")], tmp_path, tiny)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}

    def forbidden(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("voigt.screening.engines.local.compute", forbidden)
    messages: list[str] = []
    summary = run([*SALTS, unseen("potash")], tmp_path, tiny, messages=messages)
    assert (summary.crystals, summary.failed, summary.computed, summary.complete) == (5, 1, 0, True)
    assert messages == [f"{tmp_path}: 6 crystals are done, which is all of them; nothing to do"]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == before
    check(tmp_path, IDS, ["potash"])
    # A limit below what is done takes nothing away.
    assert run([*SALTS, unseen("potash")], tmp_path, tiny, limit=1).complete
    check(tmp_path, IDS, ["potash"])


def test_a_limit_and_then_the_rest(tiny: Job, tmp_path: Path) -> None:
    summary = run(SALTS, tmp_path, tiny, limit=3)
    assert (summary.crystals, summary.computed, summary.complete) == (3, 3, False)
    check(tmp_path, IDS[:3], state="stopped")
    messages: list[str] = []
    summary = run(SALTS, tmp_path, tiny, messages=messages)
    assert messages == [f"{tmp_path}: 3 crystals are done, going on with the rest"]
    assert (summary.crystals, summary.computed, summary.complete) == (5, 2, True)
    check(tmp_path, IDS)
    assert [session["crystals"] for session in manifest(tmp_path)["sessions"]] == [3, 2]
    # As many as there are is no limit.
    assert run(SALTS, tmp_path / "all", tiny, limit=5).complete


def test_what_is_looked_for_is_noted_for_the_report(tiny: Job, tmp_path: Path) -> None:
    run(SALTS[:1], tmp_path, tiny, criteria=read_criteria("eps_inf > 2", "eps_inf", True))
    assert manifest(tmp_path)["selection"] == {"where": "eps_inf > 2", "rank": "eps_inf", "ascending": True}
    run(SALTS[:1], tmp_path, tiny)
    assert manifest(tmp_path)["selection"]["rank"] == "eps_inf"


def flip(content: bytearray, metadata: pq.FileMetaData, column: str) -> None:
    """Change one bit among the values of a column, which a reader without checksums would not notice."""
    group = metadata.row_group(0)
    chunks = [group.column(k) for k in range(group.num_columns)]
    (chunk,) = [entry for entry in chunks if entry.path_in_schema.split(".")[0] == column]
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content[start + chunk.total_compressed_size - 3] ^= 1


@pytest.mark.parametrize("harm", ["cut", "empty", "flipped", "text", "failures"])
def test_a_damaged_part_is_put_aside_and_computed_again(tiny: Job, tmp_path: Path, harm: str) -> None:
    inputs = [*SALTS, unseen("potash")]
    run(inputs, tmp_path, tiny)
    intact = rows(tmp_path)
    victim = result_parts(tmp_path)[2] if harm == "failures" else result_parts(tmp_path)[1]
    victim = tmp_path / "failed" / victim.name if harm == "failures" else victim
    content = bytearray(victim.read_bytes())
    if harm == "cut":
        victim.write_bytes(content[: len(content) // 2])
    elif harm == "empty":
        victim.write_bytes(b"")
    elif harm == "text":
        victim.write_text("nothing of the kind")
    else:
        flip(content, pq.ParquetFile(victim).metadata, "reason" if harm == "failures" else "eps_inf")
        victim.write_bytes(content)
    messages: list[str] = []
    summary = run(inputs, tmp_path, tiny, messages=messages)
    assert summary.computed == 2
    assert "is damaged and was put aside; its crystals are computed again" in messages[0]
    check(tmp_path, IDS, ["potash"])
    same_values(rows(tmp_path), intact)
    assert len(list(tmp_path.rglob("*.damaged"))) in (1, 2)
    # The number of a part is used once: what was put aside is not overwritten by the next accident.
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.damaged")}
    result_parts(tmp_path)[-1].write_bytes(b"")
    run(inputs, tmp_path, tiny)
    check(tmp_path, IDS, ["potash"])
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_part_that_is_gone_is_computed_again(tiny: Job, tmp_path: Path) -> None:
    run(SALTS, tmp_path, tiny)
    result_parts(tmp_path)[0].unlink()
    assert run(SALTS, tmp_path, tiny).computed == 2
    check(tmp_path, IDS)


def test_what_a_kill_left_is_swept_away(tiny: Job, tmp_path: Path) -> None:
    """Files half written, and failures whose part never came: the next part takes their number."""
    inputs = [unseen("potash"), *SALTS]
    run(inputs, tmp_path, tiny, limit=2)
    (tmp_path / "failed" / "part-000001.parquet").write_bytes((tmp_path / "failed/part-000000.parquet").read_bytes())
    for name in (".manifest.json.a1b2", ".failed.csv.x", "parts/.part-000001.parquet.q", "failed/.part-000001.parquet"):
        (tmp_path / name).write_text("half")
    assert len(leftovers(tmp_path)) == 5
    run(inputs, tmp_path, tiny)
    check(tmp_path, IDS, ["potash"])


def test_a_store_of_version_0_1_is_taken_up(tiny: Job, tmp_path: Path) -> None:
    """Its parts lack columns; they stay as they are, and are read together with new ones."""
    inputs = [unseen("potash"), *SALTS, unseen("sylvite")]
    run(inputs, tmp_path, tiny, limit=4)
    for path in tmp_path.rglob("*.parquet"):
        as_version_0_1(path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    messages: list[str] = []
    summary = run(inputs, tmp_path, tiny, messages=messages)
    assert (summary.crystals, summary.failed, summary.computed, summary.complete) == (5, 2, 3, True)
    assert messages == [f"{tmp_path}: 4 crystals are done, going on with the rest"]
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in before} < {path.name for path in result_parts(tmp_path)}
    ids = [name for path in result_parts(tmp_path) for name in pq.read_table(path)["id"].to_pylist()]
    assert sorted(ids) == sorted(IDS)
    (table,) = read_tables(result_parts(tmp_path), ["id", "notes", "eps_inf"])
    assert [notes is None for notes in table["notes"].to_pylist()] == [True, True, True, False, False]
    assert table["eps_inf"].null_count == 0
    best = select(result_parts(tmp_path), None, parse("eps_inf"), None)
    assert sorted(best.ids) == sorted(IDS)
    failed = read_failures(tmp_path)
    assert (failed.count, failed.unrecorded, failed.refused[19]) == (2, 1, 1)
    # A failure of that time is tried again when its input has changed.
    mended = salts(1, prefix="potash")
    mended[0].info["id"] = "potash"
    assert run([*mended, *SALTS, unseen("sylvite")], tmp_path, tiny).computed == 1
    assert [row["id"] for row in failures(tmp_path)] == ["sylvite"]


def test_a_kill_before_the_first_manifest_leaves_a_folder_to_begin_in(tiny: Job, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "lock").write_text("process 1 on nowhere\n")
    (tmp_path / ".manifest.json.a1b2").write_text("{")
    run(SALTS[:1], tmp_path, tiny)
    check(tmp_path, IDS[:1])


def test_a_folder_of_something_else_is_refused(tiny: Job, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(InputError, match="is not empty and holds no screening; give a new folder"):
        run(SALTS, tmp_path, tiny)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_another_job_is_refused_and_the_difference_named(tiny: Job, tmp_path: Path) -> None:
    run(SALTS, tmp_path, tiny)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    changes = {
        "properties was born_charges, eps_inf and is eps_inf": replace(tiny, properties=("eps_inf",)),
        "symmetrize was True and is False": replace(tiny, settings=Settings(symmetrize=False)),
        "functional was none and is PBE": replace(tiny, settings=Settings(functional="PBE")),
        "symprec was 0.001 and is 0.01": replace(tiny, settings=Settings(symprec=0.01)),
        "prefilter was none and is eps_inf > 2": replace(tiny, prefilter="eps_inf > 2"),
    }
    for phrase, other in changes.items():
        with pytest.raises(InputError, match="another job") as caught:
            run(SALTS, tmp_path, other)
        assert f"({phrase}); give the same options or a new folder" in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    # How large a batch is decides nothing.
    assert run(SALTS, tmp_path, replace(tiny, settings=Settings(max_edges=100))).complete


def test_a_changed_model_is_refused(tiny: Job, tmp_path: Path) -> None:
    """Under the same name, in the same process, which has the other one loaded."""
    path = save_tiny_model(tmp_path / "mine.safetensors", 1)
    job = Job(None, str(path))
    run(SALTS, tmp_path / "s", job)
    twin = shutil.copy(path, tmp_path / "twin.safetensors")
    save_tiny_model(path, 2)
    with pytest.raises(InputError, match=r"models were mine \(\w{12}\) and are mine \(\w{12}\)"):
        run(SALTS, tmp_path / "s", job)
    # Into a new folder it goes, with the digest of what computes: two networks, which have a spread.
    run(SALTS, tmp_path / "new", job)
    assert rows(tmp_path / "new")["eps_inf_spread"].null_count == 0
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [entry["sha256"] for entry in manifest(tmp_path / "new")["job"]["models"]] == [digest]
    # The same model under another name is the same model.
    assert run(SALTS, tmp_path / "s", Job(None, str(twin))).complete


def test_two_jobs_on_one_folder(tiny: Job, tmp_path: Path) -> None:
    """The second is refused and told who holds the folder; when the first is killed, the folder is free at once."""
    reader, writer = os.pipe()

    def hold() -> None:
        with open_store(tmp_path, {}, {}, "holder"):
            os.write(writer, b"x")
            signal.pause()

    holder = forked(hold)
    os.read(reader, 1)
    with pytest.raises(InputError) as caught:
        run(SALTS, tmp_path, tiny)
    assert f"{tmp_path} is being written by process {holder} on {os.uname().nodename}" in str(caught.value)
    os.kill(holder, signal.SIGKILL)
    assert ended(holder) == -9
    (tmp_path / "manifest.json").unlink()  # of another job
    run(SALTS, tmp_path, tiny)
    check(tmp_path, IDS)


def test_a_manifest_that_cannot_be_read(tiny: Job, tmp_path: Path) -> None:
    run(SALTS[:1], tmp_path / "s", tiny)
    path = tmp_path / "s" / "manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(InputError, match="has format 2, this release of voigt reads 1"):
        run(SALTS, tmp_path / "s", tiny)
    path.write_text("{")
    with pytest.raises(InputError, match=r"manifest.json cannot be read .*; screen into a new folder"):
        run(SALTS, tmp_path / "s", tiny)
    with pytest.raises(InputError, match="holds no screening"):
        read_manifest(tmp_path)


def test_where_nothing_can_be_written(tiny: Job, tmp_path: Path) -> None:
    """A path below a file: not even the superuser can write there."""
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=r"cannot write .*; choose another folder"):
            run(SALTS, folder, tiny)
    with pytest.raises(OutputError, match="cannot write"):
        run(SALTS, Path("/proc/screening"), tiny)


def test_a_disk_too_full_for_the_lock(tiny: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OutputError, match="No space left on device; free space or choose another folder"):
            run(SALTS, tmp_path, tiny)
    run(SALTS, tmp_path, tiny)
    check(tmp_path, IDS)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write to a read-only folder")
def test_a_folder_without_permission(tiny: Job, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="Permission denied"):
            run(SALTS, tmp_path / "s", tiny)
    finally:
        tmp_path.chmod(0o700)


def test_ids_of_any_script(tiny: Job, tmp_path: Path) -> None:
    inputs = salts(4)
    names = ["二酸化チタン", "TiO₂ (α)", 'a "quoted", id\nof two lines', "🧂"]
    for atoms, name in zip(inputs, names, strict=True):
        atoms.info["id"] = name
    bad = unseen("сильвин, «K»")
    run([*inputs[:3], bad], tmp_path, tiny)
    run(collection([*inputs, bad]), tmp_path, tiny)
    names[2] = 'a "quoted", id?of two lines'  # the one change that ids undergo
    check(tmp_path, names, ["сильвин, «K»"])

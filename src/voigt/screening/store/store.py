"""The folder of a screening: parts that appear whole or not at all, and a manifest that says what they are.

    DIR/manifest.json                what was screened, with which models, by which commands, how far it is
    DIR/parts/part-000000.parquet    results, about a hundred crystals each
    DIR/parts/part-000000-000499.parquet  of all parts with these numbers, put together
    DIR/index/part-000000-000499.npz which crystals are in it, to open the store quickly
    DIR/failed/part-000000.parquet   what failed in that part, if anything did
    DIR/failed.csv                   all failures, once the run has ended
    DIR/lock                         held by the process that writes

The parts alone say what is done: a part is written under another name and renamed, its failures before it. Nothing
needs to be repaired after a kill at any moment; what it left half done is removed by the next run.

Parts of version 0.1 lack the columns `notes` of results, `kind` and `elements` of failures. Such a store is taken up
like any other: its parts stay as they are, new ones have all columns.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from voigt import __version__
from voigt.errors import InputError, OutputError
from voigt.files import atomic_write
from voigt.reasons import plain_reason
from voigt.screening.store.done import Done, Entries, Mask, count, entries, read_index, write_index
from voigt.screening.store.manifest import MANIFEST, load_manifest
from voigt.screening.store.parts import (
    check_size,
    check_types,
    copies,
    failed_parts,
    named_parts,
    part_files,
    part_range,
    result_parts,
    superseded,
)
from voigt.screening.store.rows import FAILED, Outcome, input_key, peak_mib, schema
from voigt.tensors.properties import PROPERTIES
from voigt.text import csv_cell

SECONDS = 30.0  # between two updates of the counts in the manifest


class _RepeatedError(ValueError):
    """A part holds crystals that it or another part has already."""


@dataclass
class Store:
    """A screening's folder, held by this process; made by `open_store`.

    Attributes
    ----------
    folder
        Of the screening.
    manifest
        Content of manifest.json.
    done
        All inputs that are in the parts or failed.
    damaged
        Parts that could not be read and were put aside: their crystals are computed again.
    complete
        Whether an earlier session did the whole collection, and all of it is still there.
    """

    folder: Path
    manifest: dict[str, Any]
    done: Done = field(default_factory=Done)
    damaged: list[str] = field(default_factory=list)
    complete: bool = False
    _next: int = 0
    _saved_at: float = 0.0

    @property
    def session(self) -> dict[str, Any]:
        """The session that runs, in the manifest."""
        current: dict[str, Any] = self.manifest["sessions"][-1]
        return current

    def write(self, outcome: Outcome) -> None:
        """Add one part; when this returns, it is on disk.

        Raises OutputError: it cannot be written; the store is as before.
        """
        start = time.perf_counter()
        name = f"part-{self._next:06d}.parquet"
        if outcome.failures.num_rows:
            _write_table(outcome.failures, self.folder / "failed" / name)
        _write_table(outcome.results, self.folder / "parts" / name)
        self._next += 1
        self.session["crystals"] += outcome.results.num_rows
        self.session["failed"] += outcome.failures.num_rows
        self.manifest["crystals"] += outcome.results.num_rows
        self.manifest["failed"] += outcome.failures.num_rows
        self.session["peak_mib"]["worker"] = round(max(self.session["peak_mib"]["worker"], outcome.peak_mib))
        self.worked({**outcome.seconds, "writing": time.perf_counter() - start})
        if time.monotonic() - self._saved_at > SECONDS:
            self.save()

    def has_result(self, identity: str) -> bool:
        """Whether the crystal of this id is done, and did not fail."""
        place = self.done.place(input_key(identity, "", 0, True))
        return place is not None and not self.done.entries.failed[place]

    def withdraw(self, lost: Mask) -> None:
        """Forget failures whose inputs have changed or are gone: (n,) in the order of `done.entries`.

        Raises OutputError: a table of failures cannot be replaced.
        """
        if lost.any():
            keys = set(self.done.entries.keys[lost].tolist())
            for path in failed_parts(self.folder):
                table = read_whole(path)
                kept = [int.from_bytes(_row_key(row), "big") not in keys for row in table.to_pylist()]
                if not all(kept):
                    index_of(self.folder / "parts" / path.name).unlink(missing_ok=True)
                    _write_table(table.filter(pa.array(kept)), path)
                    self.manifest["failed"] -= kept.count(False)
            self.done.remove(lost)

    def worked(self, seconds: Mapping[str, float]) -> None:
        """Add to the seconds of the session, by kind of work."""
        total = self.session["work"]
        for kind, more in seconds.items():
            total[kind] = total.get(kind, 0.0) + more

    def save(self, state: Literal["running", "stopped", "complete"] = "running") -> None:
        """Bring manifest.json up to date; "stopped" by a limit, "running" also after a kill."""
        now = datetime.now(UTC)
        started = datetime.fromisoformat(self.session["started"])
        self.session["ended"] = _time(now)
        self.session["seconds"] = round((now - started).total_seconds(), 1)
        self.session["peak_mib"]["main"] = round(peak_mib())
        self.manifest["state"] = state
        with atomic_write(self.folder / MANIFEST) as stream:
            json.dump(self.manifest, stream, indent=1)
            stream.write("\n")
        self._saved_at = time.monotonic()


@contextmanager
def open_store(
    folder: str | Path, job: Mapping[str, Any], collection: Mapping[str, Any], command: str
) -> Iterator[Store]:
    """Begin a screening in `folder`, or take up the one that is there.

    Parameters
    ----------
    folder
        Absent, empty, or a screening of the same job.
    job
        See `voigt.screening.job.describe`.
    collection
        "name", "kind", "fingerprint", "count" of what is screened.
    command
        Words of the call, for the manifest.

    Raises
    ------
    InputError
        The folder holds something else, a screening of another job or of another release, or another process writes
        to it.
    OutputError
        The folder cannot be made or written.
    """
    folder = Path(folder)
    manifest_file = folder / MANIFEST
    try:
        # What a screening leaves that was killed before it had a manifest is no reason to refuse.
        names = [] if manifest_file.exists() or not folder.is_dir() else [entry.name for entry in folder.iterdir()]
        if any(name not in ("parts", "failed", "lock") and not name.startswith(f".{MANIFEST}.") for name in names):
            raise InputError(f"{folder} is not empty and holds no screening; give a new folder to -o")
        for part in ("parts", "failed"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}; choose another folder") from error
    with locked(folder):
        manifest = load_manifest(folder, job, collection)
        store = Store(folder, manifest)
        sweep(folder)
        noted = (manifest["crystals"], manifest["failed"])
        _load_parts(store)
        unchanged = noted == (manifest["crystals"], manifest["failed"])
        store.complete = manifest["state"] == "complete" and unchanged and not store.damaged
        _catch_up(store, *noted)
        session = {"started": _time(datetime.now(UTC)), "ended": None, "voigt": __version__, "command": command}
        counts = {"crystals": 0, "failed": 0, "seconds": 0.0, "work": {}, "peak_mib": {"main": 0, "worker": 0}}
        manifest["sessions"].append({**session, **counts})
        store.save()
        try:
            yield store
        except BaseException:
            with suppress(OutputError):  # a full disk must not hide the error that ended the run
                store.save()
            raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes; the system releases it when this one ends, however it ends.

    Raises InputError: another process holds it; OutputError: the lock cannot be written.
    """
    try:
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}; choose another folder") from error
    try:
        _hold(handle, folder)
        yield
    finally:
        os.close(handle)


def _hold(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
        raise InputError(f"{folder} is being written by {holder}; wait for it or give another folder") from None
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{folder} cannot be locked ({reason}); choose a folder on a local disk") from error
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot write {folder}: {reason}; free space or choose another folder") from error


def write_failures(store: Store) -> None:
    """Gather all failures in DIR/failed.csv (id, source, index, reason).

    Raises OutputError: it cannot be written.
    """
    with atomic_write(store.folder / "failed.csv") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("id", "source", "index", "reason"))
        for path in failed_parts(store.folder):
            rows = read_whole(path).to_pylist()
            table.writerows(
                (csv_cell(row["id"]), csv_cell(row["source"]), row["index"], csv_cell(row["reason"])) for row in rows
            )


def _write_table(table: pa.Table, path: Path) -> None:
    with atomic_write(path, "wb") as stream:
        pq.write_table(table, stream, compression="zstd", write_page_checksum=True)


def read_whole(path: Path) -> pa.Table:
    """A part, all of it, so that its checksums are verified; one thread is quicker for a table this small."""
    file = pq.ParquetFile(path, page_checksum_verification=True)
    check_size(file.metadata)
    table = file.read(use_threads=False)
    check_types(table)
    return table


def index_of(part: Path) -> Path:
    """File of the `Entries` of a part that was put together, not among the parts: they are one table for any reader."""
    return part.parent.parent / "index" / f"{part.stem}.npz"


def _row_key(row: Mapping[str, Any]) -> bytes:
    return input_key(row["id"], row["source"], row["index"], row["readable"])


def sweep(folder: Path) -> None:
    """Remove what a kill left behind: files half written, failures whose part never came."""
    left = {*folder.glob(f".{MANIFEST}.*"), *folder.glob(".failed.csv.*"), *folder.glob("*/.part-*")}
    left.update(superseded(folder / "parts"))
    left.update(set(named_parts(folder / "failed")) - set(failed_parts(folder)))
    left.update({*(folder / "index").glob("*")} - {index_of(path) for path in part_files(folder / "parts")})
    try:
        for path in sorted(left):
            path.unlink()
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror or error}; choose another folder") from error


def _load_parts(store: Store) -> None:
    """Find out what is done; put aside what cannot be read."""
    store.manifest["crystals"] = store.manifest["failed"] = 0
    parts = part_files(store.folder / "parts")
    repeated = copies(parts)
    damaged = [path.with_suffix("") for path in (store.folder / "parts").glob("part-*.parquet.damaged")]
    store._next = max([-1, *(span[1] for span in map(part_range, [*parts, *damaged]) if span is not None)]) + 1
    for path in parts:
        failed = store.folder / "failed" / path.name
        try:
            if path in repeated:
                raise _RepeatedError
            _load_part(store, path, failed)
        except PermissionError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}; ask its owner") from error
        except (pa.ArrowException, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            _put_aside(store, path, failed, error)
    store.done.settle()


def _load_part(store: Store, path: Path, failed: Path) -> None:
    span = part_range(path)
    large = span is not None and span[1] > span[0]
    # Parts that were put together were read and checked then.
    held = read_index(index_of(path), path.stat().st_size) if large else None
    if held is None:
        held = read_entries(path, failed, store.manifest["job"]["properties"])
        if large and not held.repeated:
            write_index(index_of(path), held, path.stat().st_size)
    if not store.done.add(held, large):
        raise _RepeatedError
    results, failures = count([held])
    store.manifest["crystals"] += results
    store.manifest["failed"] += failures


def read_entries(path: Path, failed: Path, properties: Sequence[str]) -> Entries:
    """What a part and its table of failures hold, both read whole and checked.

    Raises ValueError, KeyError, OSError or pyarrow's errors: they are no part of this screening, or damaged.
    """
    results = read_whole(path)
    failures = read_whole(failed) if failed.exists() else FAILED.empty_table()
    _check_columns(results, schema([name for name in properties if name in PROPERTIES]))
    _check_columns(failures, FAILED)
    keys = [input_key(identity, "", 0, True) for identity in results["id"].to_pylist()]
    rows = failures.to_pylist()
    digests = [*results["input_digest"].to_pylist(), *(row["input_digest"] for row in rows)]
    return entries([*keys, *map(_row_key, rows)], digests, [False] * len(keys) + [True] * len(rows))


def _check_columns(table: pa.Table, declared: pa.Schema) -> None:
    """ValueError for columns of other types; KeyError for one that is not there, of those that all versions wrote."""
    for entry in declared:
        younger = entry.name in ("notes", "kind", "elements") or entry.name.endswith("_interval")
        if younger and entry.name not in table.column_names:
            continue
        found = table.schema.field(entry.name).type
        if found != entry.type:
            raise ValueError(f"column '{entry.name}' is {found} instead of {entry.type}")


def _catch_up(store: Store, crystals: int, failed: int) -> None:
    """Count what the last session had on disk, but no time to note in the manifest, when it was killed."""
    more = (store.manifest["crystals"] - crystals, store.manifest["failed"] - failed)
    parts = result_parts(store.folder)
    if not parts or not store.manifest["sessions"] or store.damaged or max(more) <= 0:
        return
    ended = datetime.fromtimestamp(parts[-1].stat().st_mtime, UTC)
    session = store.session
    session["crystals"] += more[0]
    session["failed"] += more[1]
    session["ended"] = _time(ended)
    session["seconds"] = round((ended - datetime.fromisoformat(session["started"])).total_seconds(), 1)


def _put_aside(store: Store, path: Path, failed: Path, error: Exception) -> None:
    try:
        for file in (path, failed):
            if file.exists():
                file.replace(file.with_name(f"{file.name}.damaged"))
    except OSError as trouble:
        reason = trouble.strerror or trouble
        raise OutputError(f"{path} is damaged ({plain_reason(error)}) and cannot be put aside: {reason}") from error
    if isinstance(error, _RepeatedError):
        problem = "holds crystals a second time and was put aside; those that no other part has are computed again"
    else:
        problem = "is damaged and was put aside; its crystals are computed again"
    store.damaged.append(f"{path} {problem}")


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")

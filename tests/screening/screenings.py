"""Small screenings: collections from memory, runs of them, and what must hold of every store."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import pickle
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import ase
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase.build import bulk
from tests import crystals

from voigt.notes import Failure
from voigt.screening.job import Job
from voigt.screening.query.criteria import Criteria
from voigt.screening.screen import Listener, Resources, Summary, screen_collection
from voigt.screening.sources import Collection
from voigt.screening.store.parts import failed_parts, result_parts
from voigt.structures import InputStructure
from voigt.structures.intake import Entry

SALTS = ("NaCl", "NaF", "MgO", "BaO", "ZnO", "TiO")


def salts(count: int, start: int = 0, prefix: str = "salt") -> list[ase.Atoms]:
    """Rock salts of different elements and lattice constants, each with its own id."""
    found = []
    for k in range(start, start + count):
        atoms = bulk(SALTS[k % len(SALTS)], "rocksalt", a=4.2 + 0.013 * k)
        atoms.info["id"] = f"{prefix}-{k:03d}"
        found.append(atoms)
    return found


def unlike() -> list[ase.Atoms]:
    """Crystals of different symmetry and size, all of elements that the small models know."""
    found = [crystals.quartz(), crystals.rocksalt(), crystals.wurtzite(), crystals.corundum(), crystals.rutile()]
    for atoms, name in zip(found, ("quartz", "salt", "zincite", "corundum", "rutile"), strict=True):
        atoms.info["id"] = name
    return found


def unseen(name: str, a: float = 5.1) -> ase.Atoms:
    """A crystal with an element that the small models do not know: it fails."""
    atoms = bulk("KCl", "rocksalt", a=a)
    atoms.info["id"] = name
    return atoms


def collection(inputs: Sequence[ase.Atoms | str], name: str = "memory", fingerprint: str | None = None) -> Collection:
    """Crystals from memory; a text is an input that cannot be read, with this problem."""

    def entries() -> Iterator[Entry]:
        for k, one in enumerate(inputs):
            if isinstance(one, str):
                yield Failure(name, k, "", "unreadable", one), f"input:{k}"
            else:
                yield InputStructure(name, k, one.info.get("id", ""), one), f"input:{k}"

    digest = hashlib.sha256(pickle.dumps([e if isinstance(e, str) else (e.info, e.todict()) for e in inputs]))
    return Collection(name, "memory", fingerprint or digest.hexdigest(), len(inputs), entries)


def run(
    inputs: Sequence[ase.Atoms | str] | Collection,
    folder: Path,
    job: Job,
    *,
    workers: int = 1,
    limit: int | None = None,
    messages: list[str] | None = None,
    advance: Callable[[int], None] = lambda _: None,
    criteria: Criteria | None = None,
) -> Summary:
    members = inputs if isinstance(inputs, Collection) else collection(inputs)
    listener = Listener((messages if messages is not None else []).append, advance)
    return screen_collection(
        members,
        folder,
        job,
        resources=Resources(workers=workers),
        limit=limit,
        criteria=criteria,
        command="voigt screen memory",
        listener=listener,
    )


def rows(folder: Path) -> pa.Table:
    """All results, by id."""
    return pa.concat_tables([pq.read_table(path) for path in result_parts(folder)]).sort_by("id")


def failures(folder: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in failed_parts(folder)]
    return [row for table in tables for row in table.to_pylist()]


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def check(folder: Path, ids: Sequence[str], failed: Sequence[str] = (), state: str = "complete") -> None:
    """Every crystal exactly once, every failure exactly once, and all that the store says of itself agrees."""
    found = rows(folder)
    assert sorted(found["id"].to_pylist()) == sorted(ids)
    assert sorted(row["id"] for row in failures(folder)) == sorted(failed)
    noted = manifest(folder)
    assert (noted["crystals"], noted["failed"], noted["state"]) == (len(ids), len(failed), state)
    with (folder / "failed.csv").open(newline="") as stream:
        listed = list(csv.DictReader(stream))
    assert [(row["id"], row["reason"]) for row in listed] == [(r["id"], r["reason"]) for r in failures(folder)]
    assert leftovers(folder) == []


def leftovers(folder: Path) -> list[str]:
    """Files half written, and failures without their part."""
    hidden = [path for path in folder.rglob(".*") if path.is_file()]
    orphans = set((folder / "failed").glob("part-*.parquet")) - set(failed_parts(folder))
    return sorted(str(path.relative_to(folder)) for path in (*hidden, *orphans))


def same_values(one: pa.Table, other: pa.Table, tolerance: float = 1e-6) -> None:
    """Two tables by id hold the same, numbers up to rounding (in float32, a crystal's company in a batch matters)."""
    assert one.schema.equals(other.schema, check_metadata=True)
    assert one.num_rows == other.num_rows
    for name in one.column_names:
        first, second = one[name].to_pylist(), other[name].to_pylist()
        kind = one.schema.field(name).type
        if pa.types.is_floating(kind) or (pa.types.is_list(kind) and pa.types.is_floating(kind.value_type)):
            for a, b in zip(first, second, strict=True):
                assert (a is None) == (b is None), name
                if a is not None:
                    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=name)
        else:
            assert first == second, name


def forked(action: Callable[[], object]) -> int:
    """Do something in a copy of this process, which has everything loaded; returns the id of the copy.

    The copy ends with 0, 2 for an error of ours (as the command does), 99 for any other.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a process with threads: none of ours are at work
        child = os.fork()
    if child:
        return child
    code = 99
    try:
        from voigt.errors import VoigtError

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.alarm(100)  # a test that fails leaves nothing behind for long
        try:
            action()
            code = 0
        except VoigtError:
            code = 2
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a copy; its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class FullDisk:
    """Writing fails from some byte on, as on a full disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
        self.free = free
        real = os.fdopen

        def opened(handle: int, mode: str, **words: Any) -> IO[Any]:
            stream = real(handle, mode, **words)
            write = stream.write

            def bounded(content: Any) -> int:
                self.free -= len(content)
                if self.free < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return write(content)

            class Bounded:
                def __enter__(self) -> Any:
                    return self

                def __exit__(self, *_: object) -> None:
                    stream.close()

                def __getattr__(self, name: str) -> Any:
                    return bounded if name == "write" else getattr(stream, name)

            return Bounded()  # type: ignore[return-value]

        monkeypatch.setattr(os, "fdopen", opened)

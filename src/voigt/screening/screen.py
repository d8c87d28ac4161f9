"""A screening from its collection to the complete store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from voigt.errors import DomainError, InputError
from voigt.screening.compute import pieces
from voigt.screening.engines.local import run_local
from voigt.screening.job import Job, describe, pinned, stages_of
from voigt.screening.query.criteria import Criteria
from voigt.screening.sources import Collection
from voigt.screening.store.changes import collection_record, compare
from voigt.screening.store.compaction import MANY, ROUND, compact_held, small_parts
from voigt.screening.store.rows import Outcome, key_of
from voigt.screening.store.store import Store, open_store, write_failures
from voigt.structures import Input

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Resources:
    """Where a screening runs; decides nothing about its results.

    Attributes
    ----------
    engine
        "local": this machine; "ray": a Ray cluster.
    workers
        Processes that compute; 1: this one.
    address
        Of a Ray cluster; None: a local one is started.
    """

    engine: Engine = "local"
    workers: int = 1
    address: str | None = None


def _ignore(_: object, /) -> None:
    """Nothing."""


@dataclass(frozen=True)
class Listener:
    """Functions that are called while a screening runs."""

    tell: Callable[[str], None] = _ignore  # takes one sentence
    # Called with the number of crystals that the store has at the start, then of every part that is written
    advance: Callable[[int], None] = _ignore


@dataclass(frozen=True)
class Summary:
    """Result of `screen_collection`.

    Attributes
    ----------
    crystals, failed
        In the store.
    computed
        Crystals and failures of this session.
    complete
        Whether the whole collection is done; false with a limit that was reached.
    """

    crystals: int
    failed: int
    computed: int
    complete: bool

    def sentence(self, folder: str | Path) -> str:
        """The same in words."""
        state = "complete" if self.complete else "stopped at --limit"
        failed = f", {self.failed} failed ({Path(folder) / 'failed.csv'})" if self.failed else ""
        return f"{folder}: {self.crystals} crystals{failed}; {self.computed} of this run; {state}"


def choose_resources(engine: Engine = "local", workers: int | None = None, address: str | None = None) -> Resources:
    """Resources as requested; without a number of workers one for each core that this process may use.

    Raises
    ------
    DomainError
        Ray is not installed.
    """
    if engine == "ray" and find_spec("ray") is None:
        raise DomainError('--engine ray needs Ray: pip install "voigt[ray]", or leave it out for this machine alone')
    # A job scheduler may have limited the cores.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Resources(engine, workers or cores, address)


def check_outside(folder: str | Path, source: str) -> None:
    """Raise InputError if a store in `folder` would become part of the collection `source`."""
    if os.path.isdir(source) and Path(folder).resolve().is_relative_to(Path(source).resolve()):
        raise InputError(f"{folder} lies inside {source} and would become part of it; give a folder outside to -o")


def screen_collection(
    collection: Collection,
    folder: str | Path,
    job: Job,
    *,
    resources: Resources | None = None,
    limit: int | None = None,
    criteria: Criteria | None = None,
    command: str = "voigt.screening.screen_collection",
    listener: Listener | None = None,
) -> Summary:
    """Predict every crystal of a collection that the store in `folder` does not have yet.

    Parameters
    ----------
    collection
        See `voigt.screening.sources.open_collection`.
    folder
        Of the store: new, or one of the same job.
    job
        What is computed.
    resources
        Where; None: in this process.
    limit
        Stop after so many crystals of the collection; None: all.
    criteria
        Noted for the report; None or empty: what was noted before stays.
    command
        Words of the call, for the manifest.
    listener
        Progress and messages; None: silent.

    Raises
    ------
    InputError
        See `open_store` and `voigt.screening.store.changes.compare`.
    OutputError
        The store cannot be written (full disk, no permission); what is stored stays, and the same call goes on.
    TargetError, DomainError, WeightsError
        The job cannot be done.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from voigt.screening import Job, open_collection
    >>> with TemporaryDirectory() as folder:
    ...     summary = screen_collection(open_collection("examples/MgO.vasp"), folder, Job(("band_gap",)))
    >>> summary.crystals, summary.failed, summary.complete
    (1, 0, True)
    """
    resources, listener = resources or Resources(), listener or Listener()
    job = pinned(job)
    record = describe(job, stages_of(job))
    try:
        with open_store(folder, record, collection_record(collection), command) as store:
            if criteria is not None and criteria.given:
                store.manifest["selection"] = criteria.record()
            for sentence in store.damaged:
                listener.tell(sentence)
            grown = compare(store, collection, listener.tell)
            idle = grown is None and store.complete
            if store.done:
                listener.tell(f"{folder}: {_state(store, grown, idle)}")
                listener.advance(len(store.done))
            stream = _Stream(collection, store, limit)
            small = small_parts(store.folder)
            if not idle:
                with closing(_run(pieces(stream.undone()), job, resources)) as outcomes:
                    for outcome in outcomes:
                        store.write(outcome)
                        small += 1
                        listener.advance(outcome.results.num_rows + outcome.failures.num_rows)
                        if small >= ROUND:
                            _compact(store)
                            small = 0
            write_failures(store)
            store.save("stopped" if stream.stopped else "complete")
            if small_parts(store.folder) >= MANY:
                compact_held(store.folder)
            computed = store.session["crystals"] + store.session["failed"]
            return Summary(store.manifest["crystals"], store.manifest["failed"], computed, not stream.stopped)
    except KeyboardInterrupt:
        listener.tell(f"interrupted; what is done is in {folder}, the same command goes on")
        raise


def _compact(store: Store) -> None:
    start = time.perf_counter()
    compact_held(store.folder)
    store.worked({"writing": time.perf_counter() - start})


@dataclass
class _Stream:
    """Structures of a collection that are still to be done, and whether a limit cut it."""

    collection: Collection
    store: Store
    limit: int | None
    stopped: bool = False

    def undone(self) -> Iterator[Input]:
        start = time.perf_counter()
        # Those that are left out would not be counted.
        known = self.store.has_result if self.limit is None and self.store.done else None
        for number, entry in enumerate(self.collection.structures(known)):
            if number == self.limit:
                self.stopped = True
                return
            if key_of(entry) not in self.store.done:
                self.store.worked({"reading": time.perf_counter() - start})
                yield entry
                start = time.perf_counter()


def _run(work: Iterator[list[Input]], job: Job, resources: Resources) -> Generator[Outcome]:
    if resources.engine == "local":
        return run_local(work, job, resources.workers)
    from voigt.screening.engines.ray import run_ray

    return run_ray(work, job, resources.workers, resources.address)


def _state(store: Store, grown: tuple[int, int] | None, idle: bool) -> str:
    done = f"{len(store.done)} crystals are done"
    if idle:
        return f"{done}, which is all of them; nothing to do"
    if grown is None:
        return f"{done}, going on with the rest"
    new, mended = grown
    return f"{done}, {new} of the collection are not" + (f", {mended} that had failed have changed" if mended else "")

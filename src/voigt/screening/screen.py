"""A screening from its collection to the complete store."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from voigt.screening.compute import Outcome, pieces
from voigt.screening.engines.local import run_local
from voigt.screening.job import Job, describe, pinned, stages_of
from voigt.screening.sources.collections import Collection
from voigt.screening.store.changes import Growth, collection_record, compare
from voigt.screening.store.rows import key_of
from voigt.screening.store.store import Store, open_store, write_failures
from voigt.structures.reading import Frame

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Resources:
    """Where a screening runs; decides nothing about its results.

    Attributes
    ----------
    engine
        "local": this machine; "ray": Ray Data.
    workers
        Processes that compute; 1: this one.
    address
        Of a Ray cluster; None: a local one is started.
    """

    engine: Engine = "local"
    workers: int = 1
    address: str | None = None


@dataclass(frozen=True)
class Listener:
    """What the caller wants to hear.

    Attributes
    ----------
    tell
        Takes one sentence.
    advance
        Called with the number of crystals that the store has at the start, then of every part that is written.
    """

    tell: Callable[[str], None]
    advance: Callable[[int], None]


@dataclass(frozen=True)
class Wish:
    """Which crystals are looked for, as written; a report takes it up unless told otherwise.

    Attributes
    ----------
    where, rank
        Expressions, None without.
    ascending
        Whether the smallest rank comes first.
    """

    where: str | None
    rank: str | None
    ascending: bool


@dataclass(frozen=True)
class Summary:
    """How a session ended.

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


def screen(
    collection: Collection,
    folder: str | Path,
    job: Job,
    resources: Resources,
    limit: int | None,
    wish: Wish | None,
    command: str,
    listener: Listener,
) -> Summary:
    """Predict every crystal of a collection that the store in `folder` has not, and store it.

    Parameters
    ----------
    collection
        See `voigt.screening.sources.collections.open_collection`.
    folder
        Of the store: new, or one of the same job.
    job
        What is computed.
    resources
        Where.
    limit
        Stop after so many crystals of the collection; None: all.
    wish
        Noted for the report; None: what was noted before stays.
    command
        Words of the call, for the manifest.
    listener
        Progress and messages.

    Raises
    ------
    InputError
        See `open_store` and `voigt.screening.store.changes.compare`.
    OutputError
        The store cannot be written (full disk, no permission); what is stored stays, and the same call goes on.
    TargetError, DomainError, WeightsError
        The job cannot be done.
    """
    job = pinned(job)
    stages = stages_of(job)
    with open_store(folder, describe(job, stages), collection_record(collection), command) as store:
        if wish is not None:
            store.manifest["selection"] = asdict(wish)
        for sentence in store.damaged:
            listener.tell(sentence)
        grown = compare(store, collection, listener.tell)
        idle = grown is None and store.complete
        if store.done:
            listener.tell(f"{folder}: {_state(store, grown, idle)}")
            listener.advance(len(store.done))
        stream = _Stream(collection, store, limit)
        if not idle:
            with closing(_run(pieces(stream.undone()), job, resources)) as outcomes:
                for outcome in outcomes:
                    store.write(outcome)
                    listener.advance(outcome.results.num_rows + outcome.failures.num_rows)
        write_failures(store)
        store.save("stopped" if stream.stopped else "complete")
        computed = store.session["crystals"] + store.session["failed"]
        return Summary(store.manifest["crystals"], store.manifest["failed"], computed, not stream.stopped)


@dataclass
class _Stream:
    """Frames of a collection that are still to be done, and whether a limit cut it."""

    collection: Collection
    store: Store
    limit: int | None
    stopped: bool = False

    def undone(self) -> Iterator[Frame]:
        start = time.perf_counter()
        for number, frame in enumerate(self.collection.frames()):
            if number == self.limit:
                self.stopped = True
                return
            if key_of(frame) not in self.store.done:
                self.store.worked({"reading": time.perf_counter() - start})
                yield frame
                start = time.perf_counter()


def _run(work: Iterator[list[Frame]], job: Job, resources: Resources) -> Generator[Outcome]:
    if resources.engine == "local":
        return run_local(work, job, resources.workers)
    from voigt.screening.engines.ray import run_ray

    return run_ray(work, job, resources.workers, resources.address)


def _state(store: Store, grown: Growth | None, idle: bool) -> str:
    done = f"{len(store.done)} crystals are done"
    if idle:
        return f"{done}, which is all of them; nothing to do"
    if grown is None:
        return f"{done}, going on with the rest"
    mended = f", {grown.mended} that had failed have changed" if grown.mended else ""
    return f"{done}, {grown.new} of the collection are not{mended}"

"""Long computations: each in a process of its own, with progress; results stay in memory for a while, not on disk."""

from __future__ import annotations

import asyncio
import io
import secrets
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from voigt.app.job_schema import Job, JobFile, Progress
from voigt.app.job_work import Advanced, Done, Failed, JobTask, work
from voigt.app.limits import Limits
from voigt.app.problems import refusal
from voigt.app.processes import Child, LostError, SlowError
from voigt.app.schema import Problem

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]

MOST_KEPT_BYTES = 500_000_000
"""Of all results together; beyond, the oldest is forgotten."""
ALL_FILES = "files.zip"
_LATER_S = "60"
_MEDIA = {
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".png": "image/png",
    ".html": "text/html; charset=utf-8",
    ".extxyz": "chemical/x-xyz",
    ".zip": "application/zip",
}
_TEXT = "text/plain; charset=utf-8"
_TO_JSON = b"null"


@dataclass
class _Entry:
    """A job and all that is known of it."""

    id: str
    client: str
    task: JobTask
    child: Child
    state: State = "queued"
    done: int = 0
    created: float = field(default_factory=time.monotonic)
    started: float | None = None
    ended: float | None = None
    problem: Problem | None = None
    result: bytes = _TO_JSON
    files: dict[str, bytes] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_open(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def size(self) -> int:
        return len(self.result) + sum(map(len, self.files.values()))


class Jobs:
    """Jobs of a server.

    Parameters
    ----------
    workers
        How many run at the same time; the others wait.
    home
        Folder of the server, in which each job has one while it runs.
    limits
        Of the server.
    """

    def __init__(self, workers: int, home: Path, limits: Limits) -> None:
        self.limits = limits
        self._home = home
        self._entries: dict[str, _Entry] = {}
        self._free = asyncio.Semaphore(workers)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="job")
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, task: JobTask, client: str) -> bytes:
        """Queue a job of a client (an address); returns it as JSON.

        Raises
        ------
        RequestError
            There are too many jobs of this client (429), or of all (503).
        """
        self._forget()
        open_jobs = [entry for entry in self._entries.values() if entry.is_open]
        if sum(entry.client == client for entry in open_jobs) >= self.limits.most_jobs_each:
            text = f"{self.limits.most_jobs_each} jobs of yours wait or run; wait for one of them, or cancel it"
            raise refusal(429, "busy", text, {"Retry-After": _LATER_S})
        if len(open_jobs) >= self.limits.most_jobs:
            text = f"{len(open_jobs)} jobs wait or run; try again later"
            raise refusal(503, "busy", text, {"Retry-After": _LATER_S})
        identity = secrets.token_urlsafe(16)
        entry = _Entry(identity, client, task, Child(work, self._home / f"job-{identity}"))
        self._entries[identity] = entry
        running = asyncio.create_task(self._run(entry))
        self._tasks.add(running)
        running.add_done_callback(self._tasks.discard)
        return self._json(entry)

    async def state(self, identity: str, wait: float) -> bytes:
        """A job as JSON, once it is finished or has come further, or after `wait` seconds; RequestError if unknown."""
        entry = self._find(identity)
        if entry.is_open and wait > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(entry.changed.wait(), wait)
        return self._json(entry)

    def cancel(self, identity: str) -> bytes:
        """Stop a job, or forget the result of a finished one; returns it as JSON; RequestError if unknown."""
        entry = self._find(identity)
        if entry.is_open:
            self._end(entry, "cancelled", Problem(kind="cancelled", text="the job was cancelled"))
            entry.child.kill()
        else:
            del self._entries[identity]
        return self._json(entry)

    def file(self, identity: str, name: str) -> tuple[bytes, str]:
        """Content and media type of a file of a finished job; RequestError if there is none."""
        entry = self._find(identity)
        if name == ALL_FILES and entry.files:
            return _packed(entry.files), _MEDIA[".zip"]
        if name not in entry.files:
            listed = ", ".join(entry.files) or "none yet"
            raise refusal(404, "not_found", f"the job has no file {name[:100]!r}; it has {listed}")
        return entry.files[name], _media_type(name)

    def counts(self) -> dict[tuple[str, str], float]:
        """Gauges for the metrics."""
        self._forget()
        states = Counter(entry.state for entry in self._entries.values())
        return {("voigt_jobs", f'state="{state}"'): float(count) for state, count in states.items()}

    async def stop(self) -> None:
        """End all jobs and forget their results."""
        for task in self._tasks:
            task.cancel()
        for entry in self._entries.values():
            entry.child.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._entries.clear()
        self._threads.shutdown(wait=False)

    async def _run(self, entry: _Entry) -> None:
        async with self._free:
            if not entry.is_open:
                return
            entry.state, entry.started = "running", time.monotonic()
            _tell(entry)
            loop = asyncio.get_running_loop()
            try:
                message = await loop.run_in_executor(self._threads, self._work, entry, loop)
            except SlowError:
                text = f"the job took longer than {self.limits.job_s / 60:g} minutes; use the command line"
                message = Failed(Problem(kind="too_slow", text=text))
            except (LostError, OSError):
                text = "the process of the job was killed, for lack of memory or by a fault in a library"
                message = Failed(Problem(kind="crashed", text=f"{text}; try the command line, or a smaller cell"))
            finally:
                entry.child.kill()
            if not entry.is_open:  # cancelled meanwhile
                return
            if isinstance(message, Failed):
                self._end(entry, "failed", message.problem)
                return
            entry.result, entry.files = message.result, message.files
            self._end(entry, "done", None)

    def _work(self, entry: _Entry, loop: asyncio.AbstractEventLoop) -> Done | Failed:
        """In a thread: give the process its task and listen until it has finished."""
        deadline = time.monotonic() + self.limits.job_s
        entry.child.start()
        entry.child.send(entry.task)
        while isinstance(message := entry.child.receive(deadline), Advanced):
            loop.call_soon_threadsafe(_advance, entry)
        if not isinstance(message, Done | Failed):
            raise LostError
        return message

    def _end(self, entry: _Entry, state: State, problem: Problem | None) -> None:
        entry.state, entry.problem, entry.ended = state, problem, time.monotonic()
        _tell(entry)
        self._forget()

    def _forget(self) -> None:
        """Drop results that are old, and the oldest if they are too many."""
        now = time.monotonic()
        finished = [entry for entry in self._entries.values() if entry.ended is not None]
        size = sum(entry.size for entry in finished)
        for entry in sorted(finished, key=lambda entry: entry.ended or 0.0):
            old = now - (entry.ended or 0.0) > self.limits.kept_s
            if old or size > MOST_KEPT_BYTES:
                size -= entry.size
                del self._entries[entry.id]

    def _find(self, identity: str) -> _Entry:
        self._forget()
        if identity not in self._entries:
            kept = f"{self.limits.kept_s / 60:g} minutes"
            raise refusal(404, "not_found", f"there is no such job; results are kept for {kept}")
        return self._entries[identity]

    def _json(self, entry: _Entry) -> bytes:
        """A `Job`; its result is JSON already and may be large."""
        now = time.monotonic()
        queued = [other for other in self._entries.values() if other.state == "queued"]
        before = sum(other.created < entry.created for other in queued)
        end = now if entry.ended is None else entry.ended
        job = Job(
            id=entry.id,
            kind=entry.task.kind,
            state=entry.state,
            position=before if entry.state == "queued" else 0,
            progress=Progress(done=entry.done, total=None, what="supercells"),
            seconds=round(end - (entry.created if entry.started is None else entry.started), 3),
            expires_s=None if entry.ended is None else round(max(0.0, entry.ended + self.limits.kept_s - now), 3),
            error=entry.problem,
            result=None,
            files=[JobFile(name=k, bytes=len(v), media_type=_media_type(k)) for k, v in entry.files.items()],
        )
        head = job.model_dump_json(exclude={"result"}).encode()
        return head[:-1] + b',"result":' + entry.result + b"}"


def _advance(entry: _Entry) -> None:
    entry.done += 1
    _tell(entry)


def _tell(entry: _Entry) -> None:
    """Wake up who waits for news; who comes later waits for the next."""
    entry.changed.set()
    entry.changed = asyncio.Event()


def _media_type(name: str) -> str:
    return _MEDIA.get(Path(name).suffix, _TEXT)


def _packed(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()

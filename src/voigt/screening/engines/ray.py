"""The engine of a cluster: actors of Ray compute what the process that reads and writes hands to them.

    this process --call--> actor, up to `workers` of them --answer--> this process

This process holds back pieces so that no more than `AHEAD` are with each worker: the collection is read as fast as it
is computed, and a worker that dies, or is lost with its node, takes only these along. Another starts in its place,
wherever the cluster has room, and pieces are given only to workers that have loaded the models. So a cluster that
shrinks goes on with those that are left, and one that grows is used as it grows. Ray Data, which Ray has for such work,
does not: its actors come back as often as they die and keep what was given to them, for ever if no node has room.

A worker computes in the order in which it was given pieces: the first that is not answered is the one that may have
killed it. That one comes again in smaller pieces, down to the crystal that kills; the others come as they are.

On a cluster the same release of Voigt must be installed on every node, with the models: `--model FILE` must be a path
that all of them see. The collection and the store are seen by this process alone.
"""

from __future__ import annotations

import math
import pickle
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from voigt import __version__
from voigt.errors import DomainError, VoigtError
from voigt.memory import keep_freed_memory
from voigt.models.checkpoint import available_models
from voigt.screening.engines.local import killed, limited, patience
from voigt.screening.engines.ray_cluster import cluster, quiet, reason
from voigt.screening.job import Job, stages_of
from voigt.screening.store.rows import Outcome
from voigt.structures import Input

AHEAD = 2  # pieces with each worker: one in work, one waiting
STARTS = 3  # workers that may die one after the other before they have loaded the models

Piece = Sequence[Input]


def run_ray(work: Iterator[list[Input]], job: Job, workers: int, address: str | None) -> Generator[Outcome]:
    """Compute pieces of work on a Ray cluster and give each outcome as soon as it is there.

    Parameters
    ----------
    work
        Pieces, read in this process as they are needed.
    job
        See `voigt.screening.job.Job`. With a device "cuda" every worker has a GPU of its own, which Ray chooses.
    workers
        Most processes that compute, each with one core and its own copy of the models. A process that dies is replaced;
        the crystal that kills it is a failure with this reason, the others of its piece are computed.
    address
        Of a running cluster; None: one is started on this machine for `workers` cores and stopped at the end. A
        process that is connected to a cluster already uses that one.

    Raises
    ------
    DomainError
        No cluster answers at `address`, it runs another release of Voigt, or it breaks down.
    VoigtError
        What `compute` raises.
    """
    first = next(work, None)
    if first is None:
        return
    from ray.exceptions import RayError

    try:
        with quiet(), cluster(address, workers), _started(_anywhere(job), workers) as pool:
            yield from _exchange(chain([first], work), job, pool)
    except RayError as error:
        raise DomainError(
            f"the Ray cluster broke down ({reason(error)}); is Voigt {__version__} installed on all its nodes? "
            "What is stored stays, the same command goes on"
        ) from error


@dataclass(frozen=True)
class _Task:
    """A piece, and how many workers died over it."""

    piece: Piece
    deaths: int = 0


@dataclass(eq=False)
class _Worker:
    """An actor, which is replaced when it dies.

    Attributes
    ----------
    start
        Gives an actor, and the reference to its first answer: that it has loaded the models.
    actor
        The present one.
    answers
        References to its answers to come, in order.
    tasks
        What it was given, in the same order.
    loaded
        Whether its first answer has come.
    starts
        Actors since one had loaded the models.
    """

    start: Callable[[], tuple[Any, Any]]
    actor: Any = None
    answers: deque[Any] = field(default_factory=deque)
    tasks: deque[_Task] = field(default_factory=deque)
    loaded: bool = False
    starts: int = 0

    def restart(self) -> list[_Task]:
        """Start another actor; what the one before did not answer."""
        self.stop()
        unanswered = list(self.tasks)
        self.actor, first = self.start()
        self.answers, self.tasks = deque([first]), deque()
        self.loaded = False
        self.starts += 1
        return unanswered

    def give(self, task: _Task) -> None:
        self.tasks.append(task)
        self.answers.append(self.actor.compute.remote(pickle.dumps(task.piece, protocol=5)))

    def stop(self) -> None:
        import ray

        if self.actor is not None:
            ray.kill(self.actor)


@contextmanager
def _started(job: Job, workers: int) -> Iterator[list[_Worker]]:
    """Workers; those for which the cluster has no room now start when it has."""
    import ray

    actor: Any = ray.remote(_Computer)
    actor = actor.options(num_cpus=1, num_gpus=int(job.device.startswith("cuda")))
    data = pickle.dumps(job)

    def start() -> tuple[Any, Any]:
        computer = actor.remote()
        return computer, computer.load.remote(data, __version__)

    pool = [_Worker(start) for _ in range(workers)]
    try:
        for worker in pool:
            worker.restart()
        yield pool
    finally:
        for worker in pool:
            worker.stop()


def _exchange(work: Iterator[Piece], job: Job, pool: Sequence[_Worker]) -> Generator[Outcome]:
    """Hand out pieces as long as there is room, and take the answers."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    again: list[_Task] = []
    fresh = (_Task(piece) for piece in work)

    def feed(worker: _Worker) -> None:
        while len(worker.tasks) < AHEAD:
            task = again.pop() if again else next(fresh, None)
            if task is None:
                return
            worker.give(task)

    while True:
        for worker in pool:
            if worker.loaded:
                feed(worker)
        if not again and not any(worker.tasks for worker in pool):
            again += islice(fresh, 1)
            if not again:
                return
        next_answers = {worker.answers[0]: worker for worker in pool if worker.answers}
        (answered, *_), _ = ray.wait(list(next_answers))
        worker = next_answers[answered]
        try:
            answer = pickle.loads(ray.get(answered))
        except RayTaskError:  # it lives and cannot do what it is asked: another release, say
            raise
        except RayError:
            if worker.starts == STARTS:
                raise
            tasks, culprit = _after_death(worker.restart())
            again += tasks
            if culprit is not None:
                yield killed(culprit, job)
            continue
        if isinstance(answer, Exception):
            raise answer
        worker.answers.popleft()
        if worker.loaded:
            worker.tasks.popleft()
            yield answer
        else:
            worker.loaded, worker.starts = True, 0


def _after_death(unanswered: Sequence[_Task]) -> tuple[list[_Task], Input | None]:
    """What is to be computed again after the death of a worker, and the crystal to blame for it."""
    if not unanswered:
        return [], None
    suspect, *others = unanswered
    if len(suspect.piece) > 1:
        return [*others, *(_Task(piece) for piece in _smaller(suspect.piece))], None
    if suspect.deaths:
        return others, suspect.piece[0]
    # A node that is lost takes crystals along that are not to blame: each may try again.
    return [*others, replace(suspect, deaths=1)], None


def _smaller(piece: Piece) -> Iterator[Piece]:
    """Pieces among which one kills: every death costs the start of a process, so halves would be slow."""
    size = math.isqrt(len(piece)) if len(piece) > 16 else 1
    return (piece[start : start + size] for start in range(0, len(piece), size))


class _Computer:
    """What runs in a worker; answers are pickles of what is to be given or raised."""

    def __init__(self) -> None:
        keep_freed_memory()
        torch.set_num_threads(1)
        self._job: Job

    def load(self, job: bytes, release: str) -> bytes:
        """Load the models of a job, if this is the release that gives it."""

        def load() -> None:
            if release != __version__:
                differ = f"the Ray cluster runs Voigt {__version__} and this is {release}"
                raise DomainError(f"{differ}; install the same release on all its nodes")
            self._job = pickle.loads(job)
            stages_of(self._job)

        return _told(load)

    def compute(self, data: bytes) -> bytes:
        def compute() -> Outcome:
            piece = pickle.loads(data)
            return limited(piece, self._job, patience(piece))

        return _told(compute)


def _told(call: Callable[[], object]) -> bytes:
    """A pickle of what a call returns or raises."""
    try:
        return pickle.dumps(call(), protocol=5)
    except VoigtError as error:
        return pickle.dumps(error)
    except Exception as error:  # a defect: shown where it can be seen, with its traceback
        return pickle.dumps(RuntimeError(f"{error!r} in a worker of Ray\n{traceback.format_exc()}"))


def _anywhere(job: Job) -> Job:
    """The job for a worker, which runs in another folder and sees no GPU but its own."""
    model = job.model
    if model is not None and model not in available_models():
        model = str(Path(model).absolute())
    return replace(job, model=model, device="cuda" if job.device.startswith("cuda") else job.device)

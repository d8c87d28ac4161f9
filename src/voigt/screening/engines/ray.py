"""The engine of a cluster: Ray Data computes what the process that reads and writes hands to it.

Ray Data wants a source that its own workers read, whereas a collection is a stream in one process: what is still to be
done depends on what is stored, and archives, databases and OPTIMADE cannot be read from the middle. So the stream is
the source:

    this process --put--> Mailbox (actor) --take--> read task (generator) --> map_batches(_Computer) --> this process

Each piece of work is a block of one row. This process holds back pieces so that no more than `AHEAD` for each worker
are under way, whatever Ray's own back-pressure allows: the collection is read as fast as it is computed, and the
object store holds some megabytes. The i-th block is piece i however often the read task starts again, so that Ray's
recovery of lost nodes and objects holds.

A piece that kills its worker is given again to the one that Ray starts in its place. That one finds in the mailbox that
the piece was begun before and hands it back; it comes in smaller pieces, down to the crystal that kills.

On a cluster the same release of Voigt must be installed on every node, with the models: `--model FILE` must be a path
that all of them see. The collection and the store are seen by this process alone.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import re
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import torch

from voigt import __version__
from voigt.errors import DomainError, VoigtError
from voigt.models.checkpoint import available_models
from voigt.screening.engines.local import killed, limited, patience
from voigt.screening.engines.mailbox import find_mailbox, read_pieces, row, start_mailbox
from voigt.screening.job import Job
from voigt.screening.store.rows import Outcome
from voigt.structures import Input

if TYPE_CHECKING:
    import pyarrow as pa

AHEAD = 3  # pieces under way for each worker: one in work, one waiting at the worker, one on the way
ANSWER = 20.0  # seconds until a cluster must answer
STORE_BYTES = 256 * 2**20  # object store of a local cluster; Ray's default is a third of the memory

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Nothing is reported to anybody; Ray's C++ does not write to the terminal, what matters comes as exceptions."""

_ERROR = re.compile(r"[\w.]*(Error|Exception)\b.*:")

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
        with _quiet(), _cluster(address, workers):
            name = f"voigt-{uuid4().hex}"
            with start_mailbox(name) as mailbox, closing(_answers(name, _anywhere(job), workers)) as answers:
                yield from _exchange(chain([first], work), job, AHEAD * workers, mailbox, answers)
    except RayError as error:
        raise DomainError(
            f"the Ray cluster broke down ({_reason(error)}); is Voigt {__version__} installed on all its nodes? "
            "What is stored stays, the same command goes on"
        ) from error


def _exchange(
    work: Iterator[Piece], job: Job, room: int, mailbox: Any, answers: Iterator[Mapping[str, Any]]
) -> Generator[Outcome]:
    """Hand out pieces as long as there is room, and take the answers."""
    under_way: dict[int, Piece] = {}
    suspects: list[Piece] = []
    numbers = count()

    def feed() -> None:
        while len(under_way) < room:
            piece = suspects.pop() if suspects else next(work, None)
            if piece is None:
                break
            number = next(numbers)
            under_way[number] = piece
            # A machine that is lost takes crystals along that are not to blame: a single one may try again.
            attempts = 2 if len(piece) == 1 else 1
            mailbox.put.remote(number, pickle.dumps(piece, protocol=5), attempts)
        if not under_way:
            mailbox.close.remote()

    feed()
    for block in answers:
        for number, data in zip(block["number"], block["answer"], strict=True):
            piece = under_way.pop(int(number), None)
            if piece is None:  # lost and computed again by Ray, although it had arrived
                continue
            mailbox.forget.remote(int(number))
            answer = pickle.loads(data)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                yield answer
            elif len(piece) == 1:
                yield killed(piece[0], job)
            else:
                suspects += _smaller(piece)
        feed()


def _smaller(piece: Piece) -> Iterator[Piece]:
    """Pieces among which one kills: every death costs the start of a process, so halves would be slow."""
    size = math.isqrt(len(piece)) if len(piece) > 16 else 1
    return (piece[start : start + size] for start in range(0, len(piece), size))


class _Computer:
    """A worker of Ray Data: the models are loaded with the first piece and stay."""

    def __init__(self, mailbox: str, job: Job, release: str) -> None:
        self._mailbox = find_mailbox(mailbox)
        self._job = job
        self._release = release
        torch.set_num_threads(1)

    def __call__(self, block: pa.Table) -> pa.Table:
        number, piece = block["number"][0].as_py(), block["piece"][0].as_py()
        return row(number, "answer", self._answer(number, piece))

    def _answer(self, number: int, data: bytes) -> bytes:
        """A pickled outcome; the error that ended it; None for a piece that was begun before."""
        import ray

        if not data or not ray.get(self._mailbox.begin.remote(number)):
            return pickle.dumps(None)
        if self._release != __version__:
            differ = f"the Ray cluster runs Voigt {__version__} and this is {self._release}"
            return pickle.dumps(DomainError(f"{differ}; install the same release on all its nodes"))
        try:
            piece = pickle.loads(data)
            return pickle.dumps(limited(piece, self._job, patience(piece)), protocol=5)
        except VoigtError as error:
            return pickle.dumps(error)
        except Exception as error:  # a defect: shown where it can be seen, with its traceback
            return pickle.dumps(RuntimeError(f"{error!r} in a worker of Ray\n{traceback.format_exc()}"))


def _answers(mailbox: str, job: Job, workers: int) -> Generator[Mapping[str, Any]]:
    """Blocks with "number" and "answer", each as soon as it is there."""
    import ray.data

    gpus = int(job.device.startswith("cuda"))
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call, unused-ignore]
    there = int(resources.get("GPU" if gpus else "CPU", 0))
    # By default actors come back as often as they die, and their work is given to them again.
    answers: ray.data.Dataset = read_pieces(mailbox).map_batches(
        _Computer,
        fn_constructor_args=(mailbox, job, __version__),
        batch_size=1,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(min_size=max(1, min(workers, there)), max_size=workers),
        num_cpus=1,
        num_gpus=gpus,
    )
    yield from answers.iter_batches(batch_size=None, prefetch_batches=0)


def _anywhere(job: Job) -> Job:
    """The job for a worker, which runs in another folder and sees no GPU but its own."""
    model = job.model
    if model is not None and model not in available_models():
        model = str(Path(model).absolute())
    return replace(job, model=model, device="cuda" if job.device.startswith("cuda") else job.device)


@contextmanager
def _cluster(address: str | None, workers: int) -> Iterator[None]:
    """A connection to Ray; what is opened here is closed here."""
    import ray

    if ray.is_initialized():
        yield
        return
    if address is not None:
        _check_reachable(address)
    on_sigterm = signal.getsignal(signal.SIGTERM)  # Ray puts another in its place
    try:
        _connect(address, workers)
        yield
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)


def _connect(address: str | None, workers: int) -> None:
    import ray
    from ray.exceptions import RayError

    local: dict[str, Any] = {"num_cpus": workers, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    try:
        with _environment(QUIET), _no_stderr():
            ray.init(
                address=address or "local",  # None would be the cluster of RAY_ADDRESS
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                **(local if address is None else {}),
            )
    except (RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        if address is None:
            raise DomainError(f"no Ray can be started here ({_reason(error)}); go on without --engine ray") from error
        raise DomainError(
            f"no Ray cluster at --address {address} ({_reason(error)}); start one with 'ray start --head', or set "
            "RAY_AUTH_MODE=token if it wants a token"
        ) from error


def _reason(error: Exception) -> str:
    """The line of Ray's message that says most: the last error of a traceback, else the first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return (errors[-1:] or lines[:1] or [type(error).__name__])[0].rstrip(".")


def _check_reachable(address: str) -> None:
    """Ray itself would wait for minutes."""
    place = urlsplit(address if "://" in address else f"//{address}")
    try:
        if place.hostname is not None and place.port is not None:
            socket.create_connection((place.hostname, place.port), timeout=ANSWER).close()
    except (OSError, ValueError) as error:
        raise DomainError(
            f"no Ray cluster at --address {address} ({error}); start one with 'ray start --head' and give its HOST:PORT"
        ) from error


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Variables that the user has not set."""
    missing = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Ray's C++ says there which level of its messages was chosen."""
    sys.stderr.flush()
    before = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no messages of Ray, which go to its log files all the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="ray")
        import ray.data

        context = ray.data.DataContext.get_current()
        changes: list[tuple[Any, str, Any]] = [
            (context, "enable_progress_bars", False),
            (context, "print_on_execution_start", False),
            (context, "target_max_block_size", 1),  # bytes: every row is a block of its own, none waits for others
            # Ray tells standard output of every worker that dies, and has no switch for it.
            (ray._private.worker, "_worker_logs_enabled", False),
        ]
        changes = [change for change in changes if hasattr(change[0], change[1])]
        consoles = [handler for handler in logging.getLogger("ray.data").handlers if handler.name == "console"]
        levels = [handler.level for handler in consoles]
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
        try:
            for owner, name, value in changes:
                setattr(owner, name, value)
            for handler in consoles:
                handler.setLevel(logging.CRITICAL + 1)
            yield
        finally:
            for owner, name, value in before:
                setattr(owner, name, value)
            for handler, level in zip(consoles, levels, strict=True):
                handler.setLevel(level)

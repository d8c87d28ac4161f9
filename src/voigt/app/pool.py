"""Worker processes for predictions: requests that come at about the same time go through the networks together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from voigt.app.limits import Limits
from voigt.app.metrics import Metrics
from voigt.app.predicting import Answer, Predictor, PredictTask, problem_answer
from voigt.app.problems import FAILED, refusal
from voigt.app.processes import Child, LostError, SlowError
from voigt.app.schema import Problem, StructureArrays
from voigt.app.structures import Upload
from voigt.prediction.plan import shipped_properties
from voigt.prediction.result import Settings
from voigt.tensors.properties import PROPERTIES

_START_S = 300.0
"""Seconds that a process may take to start: it imports and loads everything."""
_ABANDONED_S = 5.0
"""Seconds after which a batch that nobody waits for is stopped; the new process costs about as much."""
_LARGE = 500_000
"""Bytes of a batch beyond which nothing is added: large crystals gain nothing together."""
_RETRY_S, _LATER_S = "2", "30"
_READY = "ready"


@dataclass(frozen=True)
class _Waiting:
    task: PredictTask
    future: asyncio.Future[Answer]


class Pool:
    """Processes that predict, and what waits for them."""

    def __init__(self, workers: int, home: Path, limits: Limits, metrics: Metrics, device: str = "auto") -> None:
        self.device = device
        self.limits = limits
        self.metrics = metrics
        self.ready = 0
        self._children = [Child(work, home / f"worker-{k}") for k in range(workers)]
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._suspects: deque[_Waiting] = deque()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._loops: list[asyncio.Task[None]] = []

    @property
    def size(self) -> int:
        """Number of processes."""
        return len(self._children)

    @property
    def waiting(self) -> int:
        """Predictions that no process has taken yet."""
        return self._waiting.qsize()

    async def start(self) -> None:
        """Start the processes; requests may come at once."""
        self._loops = [asyncio.create_task(self._serve(child)) for child in self._children]

    async def stop(self) -> None:
        """End the processes and forget what waits."""
        for loop in self._loops:
            loop.cancel()
        for child in self._children:
            child.kill()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._threads.shutdown(wait=False)

    async def predict(self, task: PredictTask) -> Answer:
        """The answer to a request; if this is cancelled, nobody computes it any more.

        Raises
        ------
        RequestError
            Too many wait already.
        """
        if self.waiting >= self.limits.most_waiting:
            text = f"{self.waiting} predictions wait already; try again in a moment"
            raise refusal(503, "busy", text, {"Retry-After": _RETRY_S})
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(_Waiting(task, future))
        try:
            async with asyncio.timeout(self.limits.wait_s):
                return await future
        except TimeoutError:
            text = f"no worker was free within {self.limits.wait_s:g} s; try again later"
            raise refusal(503, "busy", text, {"Retry-After": _LATER_S}) from None
        except asyncio.CancelledError:
            self.metrics.add("voigt_cancelled_total")
            raise

    async def _serve(self, child: Child) -> None:
        """One process, from batch to batch."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                child.start()
                child.send(self.device)
                if await loop.run_in_executor(self._threads, child.receive, time.monotonic() + _START_S) != _READY:
                    raise LostError
            except (LostError, SlowError, OSError):
                child.kill()
                self.metrics.add("voigt_worker_restarts_total")
                await asyncio.sleep(1.0)
                continue
            self.ready += 1
            try:
                while await self._batch(child, await self._gathered()):
                    pass
            finally:
                self.ready -= 1
                child.kill()
            self.metrics.add("voigt_worker_restarts_total")

    async def _gathered(self) -> list[_Waiting]:
        """The next request, and others that wait or come within a moment; a suspect comes alone."""
        while True:
            if self._suspects:
                return [self._suspects.popleft()]
            batch = [await self._waiting.get()]
            await asyncio.sleep(self.limits.gather_s)
            while len(batch) < self.limits.most_batch and _size(batch) < _LARGE and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            alive = [entry for entry in batch if not entry.future.done()]
            if alive:
                return alive

    async def _batch(self, child: Child, batch: Sequence[_Waiting]) -> bool:
        """Compute a batch; whether the process is still there."""
        self.metrics.add("voigt_batches_total")
        self.metrics.add("voigt_batched_requests_total", len(batch))
        try:
            answers = await self._asked(child, batch)
        except (LostError, SlowError) as error:
            self._lost(batch, error)
            return False
        for entry, answer in zip(batch, answers, strict=True):
            self.metrics.add("voigt_crystals_total", answer.crystals)
            if not entry.future.done():
                entry.future.set_result(answer)
        return True

    async def _asked(self, child: Child, batch: Sequence[_Waiting]) -> list[Answer]:
        """Answers of the process, which is stopped if nobody waits for them any more."""
        started = time.monotonic()
        tasks = [entry.task for entry in batch]

        def ask() -> list[Answer]:
            child.send(tasks)
            found: list[Answer] = child.receive(started + self.limits.predict_s)
            return found

        asking = asyncio.get_running_loop().run_in_executor(self._threads, ask)
        while not (await asyncio.wait({asking}, timeout=1.0))[0]:
            if time.monotonic() - started > _ABANDONED_S and all(entry.future.done() for entry in batch):
                child.kill()
        return await asking

    def _lost(self, batch: Sequence[_Waiting], error: Exception) -> None:
        """One request of a batch has killed the process: each is tried again by itself, a lone one is answered."""
        if len(batch) > 1:
            for entry in batch:
                if not entry.future.done():
                    self._suspects.append(entry)
            return
        (entry,) = batch
        if entry.future.done():
            return
        if isinstance(error, SlowError):
            kind, reason = "too_slow", f"took longer than {self.limits.predict_s:g} s"
        else:
            kind, reason = "crashed", "was killed, for lack of memory or by a fault in a library"
        name = entry.task.upload.name
        text = f"{name}: the process that computed it {reason}; try the command line, or a smaller cell"
        entry.future.set_result(problem_answer(FAILED, Problem(kind=kind, text=text)))


def _size(batch: Sequence[_Waiting]) -> int:
    return sum(entry.task.upload.size for entry in batch)


def work(pipe: Connection, folder: Path) -> None:
    """What a process does: loads the models onto the device that it is told, says so, and answers batches."""
    device: str = pipe.recv()
    predictor = Predictor(folder)
    offers = shipped_properties().values()
    everything = tuple(name for name in PROPERTIES if any(name in offer for offer in offers))
    for properties in (None, everything):
        settings = Settings(properties=properties, device=device)
        predictor.answers([PredictTask(Upload("MgO", arrays=_MGO), None, settings, "json")])
    pipe.send(_READY)
    while True:
        pipe.send(predictor.answers(pipe.recv()))


_MGO = StructureArrays(
    cell=[[0.0, 2.1068, 2.1068], [2.1068, 0.0, 2.1068], [2.1068, 2.1068, 0.0]],
    species=["Mg", "O"],
    positions=[[0.0, 0.0, 0.0], [2.1068, 2.1068, 2.1068]],
)
"""A crystal to begin with."""

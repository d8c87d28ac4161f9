"""Requests on their way to workers: together, bounded, and none lost when a process is."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.app import workers
from tests.app.conftest import quick_start

from voigt.app.limits import Limits
from voigt.app.metrics import Metrics
from voigt.app.pool import Pool
from voigt.app.predicting import Answer, PredictTask
from voigt.app.problems import RequestError
from voigt.app.structures import Upload
from voigt.prediction.result import Settings

LIMITS = Limits(predict_s=2.0, most_waiting=5)
Story = Callable[[Pool], Coroutine[Any, Any, None]]


def task(name: str) -> PredictTask:
    return PredictTask(Upload(name), None, Settings(), "json")


def content(answer: Answer) -> dict[str, Any]:
    return dict(json.loads(answer.content))


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Metrics]:
    """Run a story with a pool of one stand-in."""
    quick_start(monkeypatch)
    monkeypatch.setattr("voigt.app.pool.work", workers.work)

    def run(story: Story, limits: Limits = LIMITS) -> Metrics:
        async def whole() -> Metrics:
            metrics = Metrics()
            pool = Pool(1, tmp_path, limits, metrics)
            await pool.start()
            try:
                await story(pool)
            finally:
                await pool.stop()
            return metrics

        return asyncio.run(whole())

    return run


def test_requests_of_the_same_moment_are_computed_together_and_a_killer_alone(play: Any, tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        first = asyncio.create_task(pool.predict(task("first")))
        await asyncio.sleep(0)  # it waits now: a process that is ready already must not be taken for one that has it
        while pool.ready == 0 or pool.waiting:
            await asyncio.sleep(0.01)
        # While the process is busy, others gather.
        answers = await asyncio.gather(*(pool.predict(task(name)) for name in ("a", "b", "c")))
        assert content(await first)["together"] == 1
        assert [content(answer)["together"] for answer in answers] == [3, 3, 3]

        # One of three kills the process: the other two are answered all the same, each by itself.
        before = content(answers[0])["pid"]
        first = asyncio.create_task(pool.predict(task("first")))
        await asyncio.sleep(0.1)
        good, killer, other = await asyncio.gather(*(pool.predict(task(name)) for name in ("a", "die", "b")))
        await first
        assert [good.status, killer.status, other.status] == [200, 422, 200]
        assert content(killer)["kind"] == "crashed"
        assert content(killer)["text"].startswith("die: the process that computed it was killed")
        assert content(other)["pid"] != before

        # One that takes too long is stopped.
        slow = await pool.predict(task("hang"))
        assert (slow.status, content(slow)["kind"]) == (422, "too_slow")
        assert "took longer than 2 s" in content(slow)["text"]

    metrics = play(story)
    assert metrics.counts["voigt_worker_restarts_total", ""] >= 3
    assert list(tmp_path.iterdir()) == []


def test_a_full_queue_sends_requests_away_and_one_whose_client_left_is_not_computed(play: Any) -> None:
    async def story(pool: Pool) -> None:
        # Before the process is ready everything waits.
        waiting = [asyncio.create_task(pool.predict(task(f"{k}"))) for k in range(LIMITS.most_waiting)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as refused:
            await pool.predict(task("too many"))
        assert (refused.value.status, refused.value.problem.kind) == (503, "busy")
        assert refused.value.headers["Retry-After"] == "2"
        waiting[0].cancel()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert [content(answer)["together"] for answer in answers[1:]] == [4] * 4  # type: ignore[arg-type]

    metrics = play(story)
    assert metrics.counts["voigt_cancelled_total", ""] == 1


def test_a_computation_that_nobody_waits_for_is_stopped(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voigt.app.pool._ABANDONED_S", 0.2)

    async def story(pool: Pool) -> None:
        hanging = asyncio.create_task(pool.predict(task("hang")))
        while pool.ready == 0 or pool.waiting:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        hanging.cancel()
        start = time.monotonic()
        assert (await pool.predict(task("a"))).status == 200
        assert time.monotonic() - start < 60  # the limit of the hanging one is far away

    play(story, replace(LIMITS, predict_s=1000.0))


def test_who_waits_too_long_for_a_worker_is_told_to_come_again(play: Any) -> None:
    async def story(pool: Pool) -> None:
        with pytest.raises(RequestError) as refused:
            await pool.predict(task("a"))
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "30")

    play(story, replace(LIMITS, wait_s=0.01))

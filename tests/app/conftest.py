"""A server with one worker and the models that ship, in a thread of this process, for all tests of the API."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from voigt.app import ServerOptions
from voigt.app.run import listening, server

PATIENCE_S = 120.0


@contextmanager
def serving(options: ServerOptions, ready: bool = True) -> Iterator[str]:
    """A running server; gives its address, once workers are ready if that is wanted."""
    with listening("127.0.0.1", 0) as socket:
        running = server(options)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [socket]})
        thread.start()
        address = f"http://127.0.0.1:{socket.getsockname()[1]}"
        try:
            until(lambda: running.started and (not ready or is_ready(address)))
            yield address
        finally:
            running.should_exit = True
            thread.join()


def is_ready(address: str) -> bool:
    return bool(httpx.get(f"{address}/healthz", timeout=30).json()["status"] == "ok")


def until(condition: Callable[[], Any], patience: float = PATIENCE_S) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def quick_start(patch: pytest.MonkeyPatch) -> None:
    """Stand-ins for workers do without a fresh interpreter each: they are forks of one that has loaded everything."""
    multiprocessing.set_forkserver_preload(["tests.app.workers"])
    patch.setattr("voigt.app.processes.START", "forkserver")


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where the server of all tests is."""
    with serving(ServerOptions()) as found:
        yield found


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as found:
        yield found

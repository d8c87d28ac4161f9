"""A connection to a Ray cluster, its complaints as errors, and its silence."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from voigt.errors import DomainError

ANSWER = 20.0  # seconds until a cluster must answer
STORE_BYTES = 256 * 2**20  # object store of a local cluster; Ray's default is a third of the memory

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""Nothing is reported to anybody; Ray's C++ does not write to the terminal, what matters comes as exceptions."""

_ERROR = re.compile(r"[\w.]*(Error|Exception)\b.*:")


@contextmanager
def cluster(address: str | None, workers: int) -> Iterator[None]:
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
            raise DomainError(f"no Ray can be started here ({reason(error)}); go on without --engine ray") from error
        raise DomainError(
            f"no Ray cluster at --address {address} ({reason(error)}); start one with 'ray start --head', or set "
            "RAY_AUTH_MODE=token if it wants a token"
        ) from error


def reason(error: Exception) -> str:
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
def quiet() -> Iterator[None]:
    """No messages of Ray, which go to its log files all the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="ray")
        from ray._private import worker

        # Ray tells standard output of every worker that dies, and has no switch for it.
        before = getattr(worker, "_worker_logs_enabled", None)
        if before is not None:
            worker._worker_logs_enabled = False
        try:
            yield
        finally:
            if before is not None:
                worker._worker_logs_enabled = before

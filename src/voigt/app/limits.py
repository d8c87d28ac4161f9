"""What requests may hold, how long they may take, and how many may wait."""

from __future__ import annotations

from dataclasses import dataclass

MOST_BYTES = 10_000_000
"""Of the body of a request."""
MOST_UNPACKED = 50_000_000
"""Bytes to which a packed structure file, or all members of a zip together, may unfold."""
MOST_ATOMS = 5_000
"""Of all structures of a request together."""
MOST_STRUCTURES = 20
"""Of a request."""
MOST_MEMBERS = 1_000
"""Files of a zip."""
MOST_LETTERS = 1_000
"""Of a name."""


@dataclass(frozen=True)
class Limits:
    """Times in seconds, and numbers that wait.

    Attributes
    ----------
    upload_s
        For the whole body of a request.
    wait_s
        Until a worker is free for a prediction and has answered.
    predict_s, job_s
        For a prediction once it runs, and for a job.
    kept_s
        How long the result of a job is kept.
    most_waiting
        Predictions that wait for a worker; more are sent away.
    most_jobs
        Jobs that wait or run, of all clients.
    most_jobs_each
        The same of one address.
    gather_s
        How long a worker that is free waits for more requests to join the first.
    most_batch
        Requests that are computed together.
    """

    upload_s: float = 60.0
    wait_s: float = 120.0
    predict_s: float = 60.0
    job_s: float = 3600.0
    kept_s: float = 3600.0
    most_waiting: int = 64
    most_jobs: int = 16
    most_jobs_each: int = 4
    gather_s: float = 0.003
    most_batch: int = 32

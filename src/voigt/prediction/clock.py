"""Where the time of predictions goes: a clock that the pipeline reports to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Seconds by stage of the work.

    `prepare` and `predict_prepared` report the stages "symmetry", "graph", "axes", "network" and "corrections".

    Attributes
    ----------
    seconds
        Stage -> seconds so far.
    now
        The time of a moment, seconds: wall-clock time, or `time.process_time` for that of the processor.

    Examples
    --------
    >>> clock = Clock()
    >>> with clock.measure("graph"):
    ...     pass
    >>> list(clock.seconds)
    ['graph']
    """

    seconds: dict[str, float] = field(default_factory=dict)
    now: Callable[[], float] = time.perf_counter

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        start = self.now()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + self.now() - start

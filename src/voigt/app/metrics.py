"""Counters of the server in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

_NAMES: Mapping[str, tuple[str, str]] = {
    "voigt_requests_total": ("counter", "requests by path and status"),
    "voigt_request_seconds_sum": ("counter", "seconds spent on requests by path"),
    "voigt_crystals_total": ("counter", "crystals predicted"),
    "voigt_batches_total": ("counter", "batches that workers computed"),
    "voigt_batched_requests_total": ("counter", "requests in these batches"),
    "voigt_worker_restarts_total": ("counter", "workers that died or took too long"),
    "voigt_cancelled_total": ("counter", "predictions whose client left"),
    "voigt_waiting": ("gauge", "predictions that wait for a worker"),
    "voigt_jobs": ("gauge", "jobs by state"),
}


@dataclass
class Metrics:
    """What has happened so far: (name, labels) -> number."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Count; `labels` are words of our own, never of a client."""
        text = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        self.counts[name, text] += amount  # type: ignore[assignment]  # floats count as well

    def text(self, gauges: Mapping[tuple[str, str], float]) -> str:
        """All of it, with gauges as they are now."""
        values = {**self.counts, **gauges}
        lines = []
        for name, (kind, meaning) in _NAMES.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
            entries = sorted((labels, value) for (other, labels), value in values.items() if other == name)
            for labels, value in entries or [("", 0.0)]:
                lines.append(f"{name}{{{labels}}} {value:g}" if labels else f"{name} {value:g}")
        return "\n".join(lines) + "\n"
